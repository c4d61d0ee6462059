//! `trust.d`: the node's key files.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Keyring;

/// More key files than this are not read.
const MOST_FILES: usize = 1024;
/// A longer key file is not read.
const LONGEST: u64 = 64 << 10;

/// Reads every `*.pub` and `*.revoked` of a directory, in the order of their names.
///
/// Whoever can write a key file can bring software onto the node, so only files of `owners` that
/// nobody else can write count. What does not count is named in [`Keyring::problems`]. A directory
/// that is not there holds no key.
pub fn read(directory: &Path, owners: &[u32]) -> Keyring {
    let mut keyring = Keyring::default();
    let shown = directory.display().to_string();
    let list = match list(directory, owners) {
        Ok(list) => list,
        Err(error) => {
            keyring.problems.push(format!(
                "no key of {shown} is trusted: {}",
                crate::report::Chain(&error)
            ));
            return keyring;
        }
    };
    for (at, path) in list.iter().enumerate() {
        let name = path.display().to_string();
        if at >= MOST_FILES {
            keyring.problem(&name, format_args!("{shown} has more than {MOST_FILES}"));
            break;
        }
        match text(path, owners) {
            Ok(text) => keyring.file(&name, &text),
            Err(error) => keyring.problem(&name, crate::report::Chain(&error)),
        }
    }
    keyring
}

fn list(directory: &Path, owners: &[u32]) -> io::Result<Vec<PathBuf>> {
    let meta = match fs_err::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        meta => meta?,
    };
    guarded(&meta, owners)?;
    let mut found = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        let path = entry?.path();
        let kind = path.extension().and_then(|extension| extension.to_str());
        if matches!(kind, Some("pub" | "revoked")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn text(path: &Path, owners: &[u32]) -> io::Result<String> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !fs_err::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let file = fs_err::File::open(path)?;
    guarded(&file.metadata()?, owners)?;
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 64 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text"))
}

fn guarded(meta: &std::fs::Metadata, owners: &[u32]) -> io::Result<()> {
    if !owners.contains(&meta.uid()) {
        return Err(io::Error::other(format!(
            "it belongs to user {}; chown it to root",
            meta.uid()
        )));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(io::Error::other(
            "others than its owner can write it; chmod go-w",
        ));
    }
    Ok(())
}
