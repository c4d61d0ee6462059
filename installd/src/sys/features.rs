//! Feature probes: programs that look at the machine and print the names of what it has.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::wire::FleetName;
use tokio::process::Command;

/// How long one program may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Names that one program may print.
const MOST: usize = 64;

/// Runs every program of the directory, by name; each line of one that ends well names a feature.
/// Answers them sorted, and what went wrong.
pub async fn probe(directory: &Path) -> (Vec<FleetName>, Vec<String>) {
    let (mut features, mut problems) = (Vec::new(), Vec::new());
    for program in programs(directory) {
        match run(&program).await {
            Ok(found) => features.extend(found),
            Err(why) => problems.push(format!("the feature probe {}: {why}", program.display())),
        }
    }
    features.sort();
    features.dedup();
    (features, problems)
}

/// Regular files that may be run.
fn programs(directory: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(directory).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let runs = |path: &PathBuf| {
        let data = fs_err::metadata(path);
        data.is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    let mut all: Vec<PathBuf> = paths.filter(runs).collect();
    all.sort();
    all
}

async fn run(program: &Path) -> Result<Vec<FleetName>, String> {
    let child = Command::new(program).kill_on_drop(true).output();
    let output = tokio::time::timeout(WITHIN, child).await;
    let output = output.map_err(|_| format!("not done within {} s", WITHIN.as_secs()))?;
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    names
        .take(MOST)
        .map(|name| name.parse().map_err(|error| format!("{error}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(dir: &Path, name: &str, text: &str, mode: u32) {
        let path = dir.join(name);
        fs_err::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs_err::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn what_probes_print_is_what_the_node_has_and_a_probe_that_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        program(dir.path(), "10-disk", "echo nvme; echo raid", 0o755);
        program(dir.path(), "20-none", "true", 0o755);
        program(dir.path(), "30-bad", "echo Not A Name", 0o755);
        program(dir.path(), "40-fails", "echo gpu; exit 3", 0o755);
        program(dir.path(), "50-text", "echo gpu", 0o644);
        program(dir.path(), "60-again", "echo nvme", 0o755);
        let (features, problems) = probe(dir.path()).await;
        let names: Vec<_> = features.iter().map(FleetName::as_str).collect();
        assert_eq!(names, ["nvme", "raid"]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        let (none, problems) = probe(Path::new("/nowhere")).await;
        assert!(none.is_empty() && problems.is_empty());
    }
}
