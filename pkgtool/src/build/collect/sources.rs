//! Sources on the disk.

use std::io;
use std::path::{Path, PathBuf};

use model::path::PackagePath;

use super::super::spec::{Destination, FileRule};

/// What a source names, sorted. Links are not followed at the last part.
pub(super) fn matching(directory: &Path, source: &str) -> io::Result<Vec<PathBuf>> {
    let plain = directory.join(source);
    // A file may well have a bracket in its name.
    if fs_err::symlink_metadata(&plain).is_ok() {
        return Ok(vec![without_dot(plain)]);
    }
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let directory = glob::Pattern::escape(&directory.to_string_lossy());
    let pattern = if source.starts_with('/') {
        source.to_owned()
    } else {
        format!("{directory}/{source}")
    };
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // As a shell has it: hidden files are meant only when they are named.
        require_literal_leading_dot: true,
    };
    let found = glob::glob_with(&pattern, options).map_err(invalid)?;
    let found: Result<Vec<PathBuf>, _> = found.collect();
    let mut found: Vec<PathBuf> = found
        .map_err(io::Error::from)?
        .into_iter()
        .map(without_dot)
        .collect();
    found.sort();
    Ok(found)
}

/// One spelling for one file: some tools write `./x`, and some `x`.
fn without_dot(path: PathBuf) -> PathBuf {
    path.strip_prefix(".").map(Path::to_owned).unwrap_or(path)
}

/// Where a rule puts one of its sources.
pub(super) fn destination(
    rule: &FileRule,
    source: &Path,
    several: bool,
) -> Result<PackagePath, String> {
    match &rule.to {
        Destination::Path(path) if several => Err(format!(
            "{:?} matches several files and they cannot all be {path}: end it with '/'",
            rule.source
        )),
        Destination::Path(path) => Ok(path.clone()),
        Destination::Into(directory) => below(directory, source),
    }
}

fn below(directory: &PackagePath, source: &Path) -> Result<PackagePath, String> {
    let name = source.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(format!("{} has no name that is text", source.display()));
    };
    format!("{directory}/{name}")
        .parse()
        .map_err(|error| format!("{}: {error}", source.display()))
}

/// What a directory holds, each with its place.
pub(super) fn children(
    source: &Path,
    path: &PackagePath,
) -> Result<Vec<(PathBuf, PackagePath)>, String> {
    let entries = fs_err::read_dir(source).map_err(|error| error.to_string())?;
    let mut children = Vec::new();
    for entry in entries {
        let source = entry.map_err(|error| error.to_string())?.path();
        let path = below(path, &source)?;
        children.push((source, path));
    }
    Ok(children)
}
