//! The directories that a process asks for: state, runtime, cache and logs, made and owned.
//!
//! The process owns them and may put links into them; they are walked without following any.

use std::io;
use std::path::{Path, PathBuf};

use model::ProcessSpec;
use model::process::OwnDirectory;
use rustix::fd::OwnedFd;
use rustix::fs::{Gid, Mode, OFlags, Uid};

use super::places::Places;
use super::spawn::User;

/// Why a directory could not be made.
#[derive(Debug, thiserror::Error)]
#[error("could not make the directory {path}")]
pub struct DirectoryError {
    path: PathBuf,
    source: io::Error,
}

/// Makes all of them; answers the variables that tell the process, each with paths as it sees
/// them, separated by colons.
pub fn make(
    places: &Places,
    spec: &ProcessSpec,
    user: Option<&User>,
) -> Result<Vec<(&'static str, String)>, DirectoryError> {
    let kinds = [
        ("STATE_DIRECTORY", "/var/lib", &spec.state_directory),
        ("RUNTIME_DIRECTORY", "/run", &spec.runtime_directory),
        ("CACHE_DIRECTORY", "/var/cache", &spec.cache_directory),
        ("LOGS_DIRECTORY", "/var/log", &spec.logs_directory),
    ];
    let mut variables = Vec::new();
    for (variable, base, wanted) in kinds
        .into_iter()
        .filter(|(_, _, wanted)| !wanted.is_empty())
    {
        let mut seen = Vec::new();
        for directory in wanted {
            let path = Path::new(base).join(&directory.name);
            let fail = |source| DirectoryError {
                path: path.clone(),
                source,
            };
            make_one(&places.outside(Path::new(base)), directory, user).map_err(fail)?;
            seen.push(path.display().to_string());
        }
        variables.push((variable, seen.join(":")));
    }
    Ok(variables)
}

/// Removes the runtime directories with all that is in them.
pub fn remove_runtime(places: &Places, spec: &ProcessSpec) {
    for directory in &spec.runtime_directory {
        let base = places.outside(Path::new("/run"));
        if parts(&directory.name).is_err() {
            continue;
        }
        let path = base.join(&directory.name);
        match fs_err::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a runtime directory stays");
            }
            _ => {}
        }
    }
}

fn parts(name: &str) -> io::Result<Vec<&str>> {
    let parts: Vec<&str> = name.split('/').collect();
    let bad = |part: &&str| part.is_empty() || *part == "." || *part == "..";
    if parts.iter().any(bad) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its name is not a relative path",
        ));
    }
    Ok(parts)
}

fn make_one(base: &Path, wanted: &OwnDirectory, user: Option<&User>) -> io::Result<()> {
    let mode = wanted
        .mode
        .as_deref()
        .map_or(Ok(0o755), |text| u32::from_str_radix(text, 8));
    let mode =
        mode.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "its mode is not octal"))?;
    fs_err::create_dir_all(base)?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: OwnedFd = rustix::fs::open(base, flags, Mode::empty())?;
    for part in parts(&wanted.name)? {
        match rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o755)) {
            Err(rustix::io::Errno::EXIST) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        at = rustix::fs::openat(&at, part, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    if let Some(user) = user {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::fs::fchown(&at, Some(uid), Some(gid))?;
    }
    Ok(rustix::fs::fchmod(&at, Mode::from_raw_mode(mode))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::config::Config;

    fn places(root: &Path) -> Places {
        Places::new(&Config {
            machine_root: root.into(),
            ..Config::default()
        })
    }

    fn spec(name: &str) -> ProcessSpec {
        let mut spec = ProcessSpec::new("x".parse().unwrap(), vec!["/usr/bin/x".into()]);
        spec.state_directory.push(OwnDirectory {
            name: name.into(),
            mode: Some("0750".into()),
        });
        spec.runtime_directory.push(OwnDirectory {
            name: "x".into(),
            mode: None,
        });
        spec
    }

    #[test]
    fn they_are_made_owned_told_and_the_runtime_ones_removed() {
        let root = tempfile::tempdir().unwrap();
        let user = User {
            uid: 12_345,
            gid: 12_346,
            groups: vec![],
        };
        let variables = make(&places(root.path()), &spec("a/b"), Some(&user)).unwrap();
        let expected = [
            ("STATE_DIRECTORY", "/var/lib/a/b".into()),
            ("RUNTIME_DIRECTORY", "/run/x".into()),
        ];
        assert_eq!(variables, expected);
        let made = fs_err::metadata(root.path().join("var/lib/a/b")).unwrap();
        assert_eq!(
            (made.uid(), made.gid(), made.mode() & 0o7777),
            (12_345, 12_346, 0o750)
        );
        remove_runtime(&places(root.path()), &spec("a/b"));
        assert!(!root.path().join("run/x").exists());
        assert!(root.path().join("var/lib/a/b").exists());
    }

    #[test]
    fn a_link_in_the_way_is_not_followed_and_a_name_cannot_climb() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("var/lib")).unwrap();
        fs_err::os::unix::fs::symlink("/etc", root.path().join("var/lib/a")).unwrap();
        for name in ["a", "a/b", "../x", "", "x//y"] {
            make(&places(root.path()), &spec(name), None).unwrap_err();
        }
    }
}
