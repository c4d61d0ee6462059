//! The two ends of a transfer as a command, for the bench of bytes on the wire.
//!
//! ```text
//! bytes store HOME PACKAGE…            imports, publishes; prints the list; HOME/LIST.wants
//! bytes offer HOME OLD NEW SECONDS     makes the patches
//! bytes fetch URL LIST FROM|- WANTS HAVE SPOOL
//! ```
#![allow(clippy::print_stdout, reason = "it is a command")]

use std::error::Error;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::envelope::{Limits, Reader};
use model::wire::{Listed, SoftwareList};
use model::{Digest, Manifest};
use transfer::{Bound, Effort, Fetcher, Order, Settings, Shelf, Source, Want, pairs};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["store", home, packages @ ..] => store(Path::new(home), packages),
        ["offer", home, old, new, seconds] => offer(Path::new(home), (old, new), seconds),
        ["fetch", url, list, from, wants, have, spool] => {
            fetch(url, (list, from), (wants, have), spool).await
        }
        _ => Err("see the head of this file for its words".into()),
    }
}

fn shelf(home: &Path) -> Outcome<Shelf> {
    Ok(Shelf::open(&home.join("public"), &home.join("private"))?)
}

fn store(home: &Path, packages: &[&str]) -> Outcome {
    let shelf = shelf(home)?;
    let mut import = shelf.begin();
    let mut list = SoftwareList::default();
    let mut wants = Vec::new();
    for package in packages {
        let file = BufReader::new(fs_err::File::open(package)?);
        let mut reader = Reader::open(file, Limits::default())?;
        for package in reader.packages() {
            let manifest = Digest::of(&package.bytes);
            import.put(&manifest, package.bytes.len() as u64, &package.bytes[..])?;
            wants.push((manifest, package.bytes.len() as u64));
            list.packages.push(Listed {
                id: package.id.clone(),
                manifest,
                signatures: None,
            });
        }
        wants.extend(reader.objects());
        while let Some(object) = reader.next_object()? {
            let (digest, size) = (object.digest(), object.size());
            import.put(&digest, size, object)?;
        }
    }
    let bytes = serde_json::to_vec(&list)?;
    let digest = Digest::of(&bytes);
    import.put(&digest, bytes.len() as u64, &bytes[..])?;
    wants.push((digest, bytes.len() as u64));
    import.finish()?;
    wants.sort_unstable();
    wants.dedup();
    let objects: Vec<Digest> = wants.iter().map(|(digest, _)| *digest).collect();
    shelf.publish(&digest, &objects)?;
    let mut file = fs_err::File::create(home.join(format!("{digest}.wants")))?;
    for (digest, size) in wants {
        writeln!(file, "{digest} {size}")?;
    }
    println!("{digest}");
    Ok(())
}

/// Documents under names that stay.
type Named = Vec<(String, Digest)>;

/// The list's manifests, and their digests under their packages' names.
fn manifests(shelf: &Shelf, list: &str) -> Outcome<(Vec<Manifest>, Named)> {
    let list: SoftwareList = serde_json::from_reader(shelf.read(&list.parse()?)?)?;
    let (mut all, mut named) = (Vec::new(), Vec::new());
    for listed in list.packages {
        let manifest: Manifest =
            serde_json::from_reader(BufReader::new(shelf.read(&listed.manifest)?))?;
        named.push((manifest.name.to_string(), listed.manifest));
        all.push(manifest);
    }
    Ok((all, named))
}

fn offer(home: &Path, (old, new): (&str, &str), seconds: &str) -> Outcome {
    let shelf = shelf(home)?;
    let began = Instant::now();
    let (old_manifests, old_named) = manifests(&shelf, old)?;
    let (new_manifests, new_named) = manifests(&shelf, new)?;
    let mut all = pairs::files(&old_manifests, &new_manifests);
    all.extend(pairs::named(&old_named, &new_named));
    let effort = Effort {
        threads: 2,
        within: Duration::from_secs(seconds.parse()?),
        ..Effort::default()
    };
    let offered = shelf.offer(&old.parse()?, &new.parse()?, &all, effort)?;
    println!(
        "{offered:?} in {:.1} s, at most {} KiB of memory",
        began.elapsed().as_secs_f64(),
        peak()?
    );
    Ok(())
}

async fn fetch(
    url: &str,
    (list, from): (&str, &str),
    (wants, have): (&str, &str),
    spool: &str,
) -> Outcome {
    let mut all = Vec::new();
    for line in fs_err::read_to_string(wants)?.lines() {
        let (digest, size) = line.split_once(' ').ok_or("DIGEST SIZE")?;
        all.push(Want {
            digest: digest.parse()?,
            bound: Bound::Exactly(size.parse()?),
        });
    }
    let have = PathBuf::from(have);
    all.retain(|want| !have.join(want.digest.to_string()).exists());
    let have = |digest: &Digest| Some(have.join(digest.to_string())).filter(|path| path.exists());
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return Err("there is a crypto provider already".into());
    }
    let source = Source {
        url: url.to_owned(),
        client: reqwest::Client::new(),
    };
    let began = Instant::now();
    let order = Order {
        list: list.parse()?,
        from: from.parse().ok(),
        wants: &all,
        have: &have,
        spool: Path::new(spool),
        progress: &|_| {},
    };
    let report = Fetcher::new(vec![source], Settings::default())
        .fetch(order)
        .await?;
    println!(
        "fetched {} requests {} resumed {} whole {} patched {} seconds {:.2} rss-kib {}",
        report.fetched,
        report.requests,
        report.resumed,
        report.whole,
        report.patched,
        began.elapsed().as_secs_f64(),
        peak()?
    );
    Ok(())
}

/// The most memory that this process had, in KiB.
fn peak() -> Outcome<u64> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let text = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("VmHWM")?;
    Ok(text.parse()?)
}
