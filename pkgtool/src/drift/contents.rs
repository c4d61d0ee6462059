//! What files hold, each read once, by pieces.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

use blake3::Hasher;
use model::Digest;
use model::elf::{self, Verdict};
use rustix::fs::Stat;

use super::judge::Contents;

/// Larger files are not compared: a program is told by less.
const LIMIT: u64 = 4 << 30;

/// Files up to this size are brought into memory, two at a time, to say where they differ.
const EXPLAINED: u64 = 32 << 20;

/// One file on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id {
    /// Device, as `stat` has it.
    pub(super) device: u64,
    /// Inode.
    pub(super) inode: u64,
}

impl From<&Stat> for Id {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Library {
    read: HashMap<Id, Result<Contents, String>>,
    differences: HashMap<(Id, Id), String>,
}

impl Library {
    /// What the file holds; else why that could not be read.
    pub(super) fn read(&mut self, file: io::Result<File>) -> Result<(Id, Contents), String> {
        let file = file.map_err(|error| why(&error))?;
        let about = file.metadata().map_err(|error| why(&error))?;
        let id = Id {
            device: about.dev(),
            inode: about.ino(),
        };
        if !about.is_file() {
            return Err("it is no regular file".to_owned());
        }
        if about.len() > LIMIT {
            return Err("it is larger than 4 GiB".to_owned());
        }
        let contents = self
            .read
            .entry(id)
            .or_insert_with(|| contents(&file).map_err(|error| why(&error)));
        contents.clone().map(|contents| (id, contents))
    }

    /// Which parts of two files differ, for people; empty where that is not known.
    pub(super) fn difference(
        &mut self,
        ids: (Id, Id),
        files: impl FnOnce() -> io::Result<(File, File)>,
    ) -> String {
        let told = self
            .differences
            .entry(ids)
            .or_insert_with(|| files().and_then(difference).unwrap_or_default());
        told.clone()
    }
}

fn contents(file: &File) -> io::Result<Contents> {
    let mut bytes = file.take(LIMIT);
    let mut hasher = Hasher::new();
    hasher.update_reader(&mut bytes)?;
    let digest = Digest::from(hasher.finalize());
    let examined = elf::examine_file(file, digest)?;
    let facts = examined.facts.ok().flatten();
    Ok(Contents {
        digest,
        signature: examined.signature,
        elf: facts.is_some(),
        soname: facts.and_then(|facts| facts.soname),
    })
}

fn difference((old, new): (File, File)) -> io::Result<String> {
    let difference = elf::explain(&bytes(old)?, &bytes(new)?);
    let names: Vec<&str> = difference
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    let parts = match names.as_slice() {
        [] => return Ok(String::new()),
        [one] => format!("{one} differs"),
        [one, two] => format!("{one} and {two} differ"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more parts differ", rest.len()),
    };
    Ok(match difference.verdict {
        Verdict::PathsAndDates => format!("{parts}, only in what looks like paths or dates"),
        Verdict::Identical | Verdict::Rebuilt | Verdict::Substance => parts,
    })
}

fn bytes(mut file: File) -> io::Result<Vec<u8>> {
    if file.metadata()?.len() > EXPLAINED {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(EXPLAINED).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An operating system's error in few words.
pub(super) fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "that needs root".to_owned()
    } else {
        error.to_string()
    }
}
