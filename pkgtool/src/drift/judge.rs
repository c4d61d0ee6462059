//! The decision: what became of one file, from what was read of it.

use model::{Digest, Signature};

use super::How;

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Of its bytes.
    pub digest: Digest,
    /// Of its substance.
    pub signature: Signature,
    /// Whether it is a program or a library for the loader.
    pub elf: bool,
    /// The name that its users ask for.
    pub soname: Option<String>,
}

/// What is at a mapped file's path now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// The very file.
    Itself,
    /// Nothing.
    Nothing,
    /// Nothing, but under the library's own name there is this file.
    Successor {
        /// Its path.
        path: String,
        /// What was read of it.
        contents: Contents,
    },
    /// Another file.
    Other(Contents),
    /// A directory, a device …
    NoFile,
    /// It could not be read; this is why.
    Unread(String),
}

/// All that was seen of one mapped file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight<'a> {
    /// Its path, as in the process's root.
    pub path: &'a str,
    /// What it holds; else why that could not be read.
    pub old: Result<Contents, String>,
    /// What is there now.
    pub now: Now,
}

/// What became of the file, and how that was told; `None`: nothing that matters.
pub fn judge(sight: &Sight<'_>) -> Option<(How, String)> {
    if sight.now == Now::Itself || is_no_file(sight.path) {
        return None;
    }
    let of_one_program = is_temporary(sight.path);
    let old = match &sight.old {
        Ok(old) if of_one_program && !old.elf => return None,
        Err(_) if of_one_program => return None,
        Ok(old) => old,
        Err(why) => return Some((How::Unknown, unread(&sight.now, why))),
    };
    Some(match &sight.now {
        Now::Itself => return None,
        Now::Nothing if of_one_program => (
            How::Temporary,
            "deleted from a place for temporary files".to_owned(),
        ),
        Now::Nothing => (How::Deleted, "nothing is there now".to_owned()),
        Now::NoFile => (
            How::Deleted,
            "what is there now is no regular file".to_owned(),
        ),
        Now::Unread(why) => (
            How::Unknown,
            format!("the file that is there now could not be read: {why}"),
        ),
        Now::Other(new) => compared(old, new, "the file that is there now"),
        Now::Successor { path, contents } => compared(old, contents, path),
    })
}

fn compared(old: &Contents, new: &Contents, what: &str) -> (How, String) {
    if old.digest == new.digest {
        (How::Same, format!("{what} has the same bytes"))
    } else if old.signature == new.signature {
        (
            How::Rebuilt,
            format!("{what} is a rebuild of the same substance"),
        )
    } else {
        (How::Changed, format!("{what} is another one"))
    }
}

fn unread(now: &Now, why: &str) -> String {
    let there = match now {
        Now::Nothing => "nothing is there now",
        Now::Itself | Now::Successor { .. } | Now::Other(_) | Now::NoFile | Now::Unread(_) => {
            "another file is there now"
        }
    };
    format!("{there}; the old bytes could not be read: {why}")
}

/// What looks like a path in a map and never was a file that could be replaced.
pub fn is_no_file(path: &str) -> bool {
    const BEGINNINGS: [&str; 7] = [
        "/memfd:",
        "/SYSV",
        "/drm",
        "/i915",
        "/anon_hugepage",
        "/dev/",
        "/[",
    ];
    !path.starts_with("/dev/shm/") && BEGINNINGS.iter().any(|one| path.starts_with(one))
}

/// Whether files there are made by a program for itself and deleted while they are mapped.
fn is_temporary(path: &str) -> bool {
    const PLACES: [&str; 5] = ["/tmp/", "/var/tmp/", "/run/", "/var/run/", "/dev/shm/"];
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_numbered = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    // The Oil Runtime Compiler, Java Native Access, and O_TMPFILE's nameless files.
    let by_name = name.starts_with("orcexec.")
        || name.strip_prefix('#').is_some_and(is_numbered)
        || (name.starts_with("jna") && name.to_ascii_lowercase().ends_with(".tmp"));
    by_name || PLACES.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> blake3::Hash {
        blake3::hash(text.as_bytes())
    }

    fn contents(bytes: &str, substance: &str) -> Contents {
        Contents {
            digest: hash(bytes).into(),
            signature: hash(substance).into(),
            elf: true,
            soname: None,
        }
    }

    fn data(bytes: &str) -> Contents {
        Contents {
            elf: false,
            ..contents(bytes, bytes)
        }
    }

    #[test]
    fn only_another_substance_is_a_change() {
        let old = || contents("a", "1");
        let successor = |contents| Now::Successor {
            path: "/usr/lib/libx.so.1".to_owned(),
            contents,
        };
        let cases = [
            (Ok(old()), Now::Itself, None),
            (Ok(old()), Now::Other(contents("a", "1")), Some(How::Same)),
            (
                Ok(old()),
                Now::Other(contents("b", "1")),
                Some(How::Rebuilt),
            ),
            (
                Ok(old()),
                Now::Other(contents("b", "2")),
                Some(How::Changed),
            ),
            (Ok(old()), Now::Other(data("text")), Some(How::Changed)),
            (Ok(old()), successor(contents("b", "2")), Some(How::Changed)),
            (Ok(old()), successor(contents("b", "1")), Some(How::Rebuilt)),
            (Ok(old()), Now::Nothing, Some(How::Deleted)),
            (Ok(old()), Now::NoFile, Some(How::Deleted)),
            (Ok(old()), Now::Unread("no".to_owned()), Some(How::Unknown)),
            (Err("no".to_owned()), Now::Nothing, Some(How::Unknown)),
            (
                Err("no".to_owned()),
                Now::Other(contents("a", "1")),
                Some(How::Unknown),
            ),
            (Err("no".to_owned()), Now::Itself, None),
        ];
        for (old, now, how) in cases {
            let sight = Sight {
                path: "/usr/lib/libx.so.1.2",
                old,
                now,
            };
            assert_eq!(judge(&sight).map(|(how, _)| how), how, "{sight:?}");
        }
    }

    #[test]
    fn what_was_never_a_file_is_passed_over() {
        for path in [
            "/memfd:runc_cloned:/proc/self/exe",
            "/SYSV00000000",
            "/dev/zero",
            "/[aio]",
            "/drm mm object",
        ] {
            let sight = Sight {
                path,
                old: Ok(contents("a", "1")),
                now: Now::Nothing,
            };
            assert_eq!(judge(&sight), None, "{path}");
        }
    }

    #[test]
    fn files_that_a_program_made_for_itself_count_only_as_libraries() {
        let cases = [
            ("/tmp/orcexec.ab12", Ok(data("code")), Now::Nothing, None),
            ("/run/user/0/orcexec.x", Err("no"), Now::Nothing, None),
            ("/home/me/#1234", Ok(data("code")), Now::Nothing, None),
            (
                "/tmp/jna123.tmp",
                Ok(contents("a", "1")),
                Now::Nothing,
                Some(How::Temporary),
            ),
            (
                "/tmp/build/server",
                Ok(contents("a", "1")),
                Now::Other(contents("b", "2")),
                Some(How::Changed),
            ),
            (
                "/dev/shm/plugin.so",
                Ok(contents("a", "1")),
                Now::Nothing,
                Some(How::Temporary),
            ),
            (
                "/opt/tmp/lib.so",
                Ok(contents("a", "1")),
                Now::Nothing,
                Some(How::Deleted),
            ),
        ];
        for (path, old, now, how) in cases {
            let old = old.map_err(str::to_owned);
            let sight = Sight { path, old, now };
            assert_eq!(judge(&sight).map(|(how, _)| how), how, "{path}");
        }
    }
}
