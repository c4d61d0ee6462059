//! Prints how fast signatures are made on one core: `signature_speed [FILE …]`; without files,
//! over the largest libraries of this machine. Build with `--release`.

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::path::PathBuf;
use std::time::Instant;

use model::Digest;
use model::elf;

fn main() -> std::io::Result<()> {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        files = largest()?;
    }
    println!(
        "{:>9}  {:>9}  {:>9}  {:>9}  file",
        "MiB", "in memory", "from disk", "digest"
    );
    let mut total = (0.0, 0.0);
    for file in files {
        let bytes = fs_err::read(&file)?;
        let digest = Digest::of(&bytes);
        let in_memory = fastest(|| drop(std::hint::black_box(elf::examine(&bytes, digest))));
        let stored = fs_err::File::open(&file)?;
        let from_disk = fastest(|| drop(elf::examine_file(stored.file(), digest)));
        let plain = fastest(|| {
            std::hint::black_box(Digest::of(&bytes));
        });
        let size = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        total = (total.0 + size, total.1 + in_memory);
        let rate = |seconds: f64| format!("{:.2} GB/s", size / seconds / 1e9);
        println!(
            "{:>9.1}  {:>9}  {:>9}  {:>9}  {}",
            size / 1_048_576.0,
            rate(in_memory),
            rate(from_disk),
            rate(plain),
            file.display()
        );
    }
    println!(
        "all: {:.2} GB/s on one core, facts and signature",
        total.0 / total.1 / 1e9
    );
    Ok(())
}

/// Seconds of the fastest of some runs.
fn fastest(work: impl Fn()) -> f64 {
    let run = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..7).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// The largest shared libraries below the usual directories.
fn largest() -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/usr/lib"), PathBuf::from("/opt")];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs_err::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            let library = entry.file_name().to_string_lossy().contains(".so");
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() && library {
                found.push((entry.metadata()?.len(), entry.path()));
            }
        }
    }
    found.sort();
    Ok(found
        .into_iter()
        .rev()
        .take(5)
        .map(|(_, path)| path)
        .collect())
}
