//! The two tar archives of a `.deb`, entry by entry.
//!
//! Entries are taken raw, so that long names and extended headers are bounded before they are
//! read. No name in the archive is ever opened.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs_err::File;
use tar::{Entry, EntryType, Header, PaxExtensions};

use super::archive::broken;
use super::{DebError, Limits, RawEntry, RawNode, RawPackage, Result};

/// Most bytes of a long name; a path has at most 4,095.
const NAME_LIMIT: u64 = 16 * 1024;
/// Most bytes of an extended header.
const PAX_LIMIT: u64 = 1 << 20;
/// Where `pax` keeps file capabilities.
const PAX_CAPABILITY: &str = "SCHILY.xattr.security.capability";

/// Reads the control files into `package`.
pub(super) fn read_control(input: impl Read, package: &mut RawPackage) -> Result<()> {
    let mut archive = tar::Archive::new(input);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        match path.trim_start_matches("./") {
            "control" => {
                entry.read_to_string(&mut package.control)?;
            }
            "conffiles" => {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                package.conffiles.extend(conffiles(&text));
            }
            script @ ("preinst" | "postinst" | "prerm" | "postrm" | "config" | "triggers") => {
                package.scripts.push(script.to_owned());
                if script == "postinst" {
                    package.postinst = lossy_text(&mut entry)?;
                }
            }
            _ => {}
        }
    }
    package.scripts.sort();
    Ok(())
}

/// Some scripts are programs, or in another encoding.
fn lossy_text(input: &mut impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    input.take(PAX_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One path a line; a leading flag such as `remove-on-upgrade` names no file of the package.
pub(super) fn conffiles(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .map(str::trim)
        .filter(|line| line.starts_with('/'))
        .map(str::to_owned)
}

/// Reads the data archive; the bytes of regular files go into `spool`, numbered.
pub(super) fn read_data(input: impl Read, spool: &Path, limits: Limits) -> Result<Vec<RawEntry>> {
    let mut archive = tar::Archive::new(input);
    let mut reader = DataReader {
        spool,
        entries: Vec::new(),
        by_path: BTreeMap::new(),
        pending: Pending::default(),
    };
    let mut count = 0;
    for entry in archive.entries()?.raw(true) {
        count += 1;
        if count > limits.entries {
            return Err(DebError::TooMuch {
                what: "archive entries",
                limit: limits.entries,
            });
        }
        reader.take(entry?)?;
    }
    Ok(reader.entries)
}

/// What GNU and pax headers say of the entry that follows them.
#[derive(Default)]
struct Pending {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    owner: Option<String>,
    group: Option<String>,
    capabilities: Option<Vec<u8>>,
}

struct DataReader<'a> {
    spool: &'a Path,
    entries: Vec<RawEntry>,
    by_path: BTreeMap<String, usize>,
    pending: Pending,
}

impl DataReader<'_> {
    fn take<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<()> {
        let kind = entry.header().entry_type();
        if kind == EntryType::GNULongName {
            self.pending.path = Some(long_name(&mut entry)?);
        } else if kind == EntryType::GNULongLink {
            self.pending.link = Some(long_name(&mut entry)?);
        } else if kind == EntryType::XHeader {
            self.extended(&mut entry)?;
        } else if kind != EntryType::XGlobalHeader {
            self.take_file(kind, &mut entry)?;
        }
        Ok(())
    }

    fn extended<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        let bytes = bounded(entry, PAX_LIMIT, "bytes of an extended header")?;
        for extension in PaxExtensions::new(&bytes) {
            let extension = extension?;
            let value = extension.value_bytes();
            let text = || String::from_utf8_lossy(value).into_owned();
            match extension.key() {
                Ok("path") => self.pending.path = Some(value.to_vec()),
                Ok("linkpath") => self.pending.link = Some(value.to_vec()),
                Ok("uname") => self.pending.owner = Some(text()),
                Ok("gname") => self.pending.group = Some(text()),
                Ok(PAX_CAPABILITY) => self.pending.capabilities = Some(value.to_vec()),
                Ok("size") => return Err(broken("a file of more than 8 GiB")),
                _ => {}
            }
        }
        Ok(())
    }

    fn take_file<R: Read>(&mut self, kind: EntryType, entry: &mut Entry<'_, R>) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let raw = pending
            .path
            .unwrap_or_else(|| entry.path_bytes().into_owned());
        let Some(path) = archive_path(&raw)? else {
            return Ok(());
        };
        let link = pending
            .link
            .or_else(|| entry.link_name_bytes().map(Cow::into_owned));
        let header = entry.header();
        let mut taken = RawEntry {
            mode: header.mode()? & 0o7777,
            owner: pending
                .owner
                .unwrap_or_else(|| name_or_id(header.username_bytes(), header.uid())),
            group: pending
                .group
                .unwrap_or_else(|| name_or_id(header.groupname_bytes(), header.gid())),
            node: RawNode::Directory,
            path,
        };
        if kind == EntryType::Symlink {
            taken.node = RawNode::Link(link_text(&taken.path, link)?);
        } else if kind == EntryType::Link {
            self.hard_link(&mut taken, link)?;
        } else if matches!(kind, EntryType::Regular | EntryType::Continuous) {
            let (content, size) = self.keep(entry)?;
            taken.node = RawNode::File {
                content,
                size,
                capabilities: pending.capabilities,
            };
        } else if kind != EntryType::Directory {
            let rule =
                "a package has files, links and directories; no devices, pipes, sparse files";
            return Err(refused(&taken.path, rule));
        }
        self.push(taken)
    }

    /// A hard link becomes a file of its own with the same bytes, owner and mode.
    fn hard_link(&self, taken: &mut RawEntry, link: Option<Vec<u8>>) -> Result<()> {
        let target = link_text(&taken.path, link)?;
        let target = archive_path(target.as_bytes())?.unwrap_or_default();
        let first = self
            .by_path
            .get(&target)
            .and_then(|index| self.entries.get(*index));
        let first = first
            .filter(|first| matches!(first.node, RawNode::File { .. }))
            .ok_or_else(|| refused(&taken.path, "a hard link to no earlier file of the package"))?;
        *taken = RawEntry {
            path: std::mem::take(&mut taken.path),
            ..first.clone()
        };
        Ok(())
    }

    fn keep<R: Read>(&self, entry: &mut Entry<'_, R>) -> Result<(PathBuf, u64)> {
        let path = self.spool.join(self.entries.len().to_string());
        let mut file = File::create(&path).map_err(DebError::Spool)?;
        let mut buffer = vec![0; 128 * 1024];
        let mut size = 0;
        loop {
            let count = entry.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            file.write_all(buffer.get(..count).unwrap_or_default())
                .map_err(DebError::Spool)?;
            size += count as u64;
        }
        if size != entry.header().entry_size()? {
            return Err(broken("it is truncated"));
        }
        Ok((path, size))
    }

    fn push(&mut self, entry: RawEntry) -> Result<()> {
        let directory = entry.node == RawNode::Directory;
        if let Some(first) = self
            .by_path
            .get(&entry.path)
            .and_then(|at| self.entries.get(*at))
        {
            if directory && first.node == RawNode::Directory {
                return Ok(());
            }
            return Err(refused(&entry.path, "it stands twice in the archive"));
        }
        self.by_path.insert(entry.path.clone(), self.entries.len());
        self.entries.push(entry);
        Ok(())
    }
}

fn refused(path: &str, reason: &str) -> DebError {
    DebError::Entry {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The absolute form of a name in the archive; `None` for the root itself.
fn archive_path(raw: &[u8]) -> Result<Option<String>> {
    let raw = raw.split(|c| *c == 0).next().unwrap_or_default();
    let shown = String::from_utf8_lossy(raw).into_owned();
    let text = std::str::from_utf8(raw).map_err(|_| refused(&shown, "its name is not UTF-8"))?;
    if text.len() > 4095 {
        return Err(refused(&shown, "its path has more than 4,095 bytes"));
    }
    if text.starts_with('/') {
        return Err(refused(&shown, "an archive's paths are relative"));
    }
    let mut path = String::with_capacity(text.len() + 1);
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refused(&shown, "no '..' in a path")),
            part if part.bytes().any(|c| c < b' ' || c == 0x7f) => {
                return Err(refused(&shown, "no control characters in a path"));
            }
            part => {
                path.push('/');
                path.push_str(part);
            }
        }
    }
    Ok((!path.is_empty()).then_some(path))
}

fn link_text(path: &str, link: Option<Vec<u8>>) -> Result<String> {
    let mut link = link.unwrap_or_default();
    link.truncate(link.iter().position(|c| *c == 0).unwrap_or(link.len()));
    let text = String::from_utf8(link).map_err(|_| refused(path, "its link is not UTF-8"))?;
    if text.is_empty() || text.len() > 4095 {
        return Err(refused(
            path,
            "its link is empty or has more than 4,095 bytes",
        ));
    }
    if text.bytes().any(|c| c < b' ' || c == 0x7f) {
        return Err(refused(path, "no control characters in a link"));
    }
    Ok(text)
}

fn name_or_id(name: Option<&[u8]>, id: io::Result<u64>) -> String {
    match name
        .and_then(|name| std::str::from_utf8(name).ok())
        .filter(|name| !name.is_empty())
    {
        Some(name) => name.to_owned(),
        None => id.map_or_else(
            |_| "root".to_owned(),
            |id| {
                if id == 0 {
                    "root".to_owned()
                } else {
                    id.to_string()
                }
            },
        ),
    }
}

fn long_name<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<u8>> {
    bounded(entry, NAME_LIMIT, "bytes of a name")
}

fn bounded<R: Read>(entry: &mut Entry<'_, R>, limit: u64, what: &'static str) -> Result<Vec<u8>> {
    if size_of_entry(entry.header())? > limit {
        return Err(DebError::TooMuch { what, limit });
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn size_of_entry(header: &Header) -> Result<u64> {
    Ok(header.entry_size()?)
}
