//! Rules for the paths of a package.

use std::collections::HashMap;

use super::{Files, Found, Subject, is_account};
use crate::digest::{Digest, Signature};
use crate::manifest::{FileEntry, FileType, Manifest, Node, RegularFile};
use crate::path::{PackagePath, merged_usr};

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const ANY_EXECUTE: u32 = 0o111;
const OTHERS_WRITE: u32 = 0o002;

pub(super) fn check(manifest: &Manifest, files: &Files<'_>, found: &mut Found) {
    order(&manifest.files, found);
    sizes(&manifest.files, found);
    for entry in &manifest.files {
        let subject = Subject::File(entry.path.clone());
        below(entry, files, found);
        accounts(entry, &subject, found);
        match &entry.node {
            Node::File(file) => {
                regular(entry, file, &subject, found);
                architecture(manifest, file, &subject, found);
            }
            Node::Link { target } => link(entry, target, &subject, found),
            Node::Directory => directory(entry, &subject, found),
        }
    }
}

fn order(files: &[FileEntry], found: &mut Found) {
    for pair in files.windows(2) {
        let [one, two] = pair else { continue };
        let subject = Subject::File(two.path.clone());
        match one.path.cmp(&two.path) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => found.add(subject, "this path is there twice"),
            std::cmp::Ordering::Greater => {
                found.add(
                    subject,
                    format!("stands after {}: files are sorted by path", one.path),
                );
            }
        }
    }
}

fn sizes(files: &[FileEntry], found: &mut Found) {
    let mut known: HashMap<Digest, u64> = HashMap::new();
    for entry in files {
        let Node::File(file) = &entry.node else {
            continue;
        };
        let size = *known.entry(file.digest).or_insert(file.size);
        found.unless(
            size == file.size,
            &Subject::File(entry.path.clone()),
            || {
                format!(
                    "has {} bytes, and {size} by another entry of the same digest",
                    file.size
                )
            },
        );
    }
}

/// Only directories have something below them.
fn below(entry: &FileEntry, files: &Files<'_>, found: &mut Found) {
    let mut above = entry.path.parent();
    while let Some(path) = above {
        let what = match files.get(&path).map(|entry| &entry.node) {
            Some(Node::File(_)) => Some("file"),
            Some(Node::Link { .. }) => Some("link"),
            Some(Node::Directory) | None => None,
        };
        if let Some(what) = what {
            let reason = format!("lies below {path}, which is a {what} of the same package");
            return found.add(Subject::File(entry.path.clone()), reason);
        }
        above = path.parent();
    }
    let is_root = entry.path.parent().is_none() && !matches!(entry.node, Node::Directory);
    found.unless(!is_root, &Subject::File(entry.path.clone()), || {
        "only a directory can stand here".to_owned()
    });
}

fn accounts(entry: &FileEntry, subject: &Subject, found: &mut Found) {
    for (what, name) in [("owner", &entry.owner), ("group", &entry.group)] {
        if let Some(name) = name {
            found.unless(is_account(name), subject, || {
                format!("{name:?} is no {what}'s name")
            });
        }
    }
}

fn regular(entry: &FileEntry, file: &RegularFile, subject: &Subject, found: &mut Found) {
    let mode = entry.mode;
    found.unless(mode <= 0o7777, subject, || {
        format!("mode {mode:o} is more than 7777")
    });
    found.unless(mode & OTHERS_WRITE == 0, subject, || {
        format!("mode {mode:04o} lets everyone write to it")
    });
    if mode & (SET_UID | SET_GID) != 0 {
        set_id(entry, file, subject, found);
    }
    if let Some(capabilities) = &file.capabilities {
        found.unless(is_capability(capabilities), subject, || {
            format!("capabilities {capabilities:?} are not those bytes in hexadecimal")
        });
        found.unless(mode & ANY_EXECUTE != 0, subject, || {
            "has capabilities and cannot be executed".to_owned()
        });
    }
    let config = file.file_type == FileType::Config;
    found.unless(config == entry.path.is_config(), subject, || {
        if config {
            "is of type config and not below /etc".to_owned()
        } else {
            "is below /etc and not of type config".to_owned()
        }
    });
}

fn set_id(entry: &FileEntry, file: &RegularFile, subject: &Subject, found: &mut Found) {
    let mode = entry.mode;
    let program = file.file_type == FileType::Executable && mode & ANY_EXECUTE != 0;
    found.unless(program, subject, || {
        format!("mode {mode:04o} sets an id on a file that is no program")
    });
    found.unless(file.interpreter.is_none(), subject, || {
        format!("mode {mode:04o} sets an id on a script, which the kernel ignores")
    });
}

fn architecture(manifest: &Manifest, file: &RegularFile, subject: &Subject, found: &mut Found) {
    let elf = file.elf.as_deref();
    if let (Some(package), Some(own)) = (&manifest.architecture, &file.architecture) {
        found.unless(package == own, subject, || {
            format!("is for {own} in a package for {package}")
        });
    }
    if let Some(elf) = elf {
        found.unless(
            file.architecture.as_ref() == Some(&elf.machine),
            subject,
            || format!("is ELF for {} and not said to be", elf.machine),
        );
    }
    let library = file.file_type == FileType::SharedLibrary;
    found.unless(!library || elf.is_some(), subject, || {
        "is of type shared-library and no ELF file that the loader takes".to_owned()
    });
    // Only of ELF files is it known which bytes have no substance.
    let exact = file.signature == Signature::of_exact(file.digest);
    found.unless(elf.is_some() || exact, subject, || {
        "is not ELF, so its signature is its digest, and it is another".to_owned()
    });
}

fn link(entry: &FileEntry, target: &str, subject: &Subject, found: &mut Found) {
    found.unless(entry.mode == 0, subject, || {
        "is a link and has a mode".to_owned()
    });
    let clean = !target.is_empty()
        && target.len() <= 4095
        && !target.bytes().any(|c| c < b' ' || c == 0x7f);
    found.unless(clean && stays(&entry.path, target), subject, || {
        format!(
            "links to {target:?}, which is outside of /usr, /opt, /etc, /run, /var and /dev/null"
        )
    });
}

/// Whether a link at `path` stays in the package tree, or names what the machine answers for.
fn stays(path: &PackagePath, target: &str) -> bool {
    if path.link_target(target).is_some() {
        return true;
    }
    let from = if target.starts_with('/') {
        ""
    } else {
        path.as_str()
    };
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    let whole = merged_usr(&format!("/{}", parts.join("/")));
    let top = parts.first().copied().unwrap_or_default();
    matches!(top, "usr" | "opt" | "etc" | "run" | "var") || whole == "/dev/null"
}

fn directory(entry: &FileEntry, subject: &Subject, found: &mut Found) {
    let mode = entry.mode;
    found.unless(mode <= 0o7777 && mode & SET_UID == 0, subject, || {
        format!("mode {mode:04o} is none for a directory")
    });
    found.unless(
        mode & OTHERS_WRITE == 0 || mode & 0o1000 != 0,
        subject,
        || format!("mode {mode:04o} lets everyone write without the sticky bit"),
    );
}

/// `security.capability`: revision 1, 2 or 3 in the top byte of a little-endian word; 12, 20 or
/// 24 bytes.
fn is_capability(text: &str) -> bool {
    let hex = text
        .bytes()
        .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    hex && matches!(
        (text.get(6..8), text.len()),
        (Some("01"), 24) | (Some("02"), 40) | (Some("03"), 48)
    )
}
