//! Which files a process has mapped, by device and inode: the proof after a change.

use std::collections::BTreeSet;
use std::io::Read;

use serde::Serialize;

/// A file that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MappedFile {
    /// Its path as the kernel shows it.
    pub path: String,
    /// Its device, as `stat` has it.
    pub dev: u64,
    /// Its inode.
    pub inode: u64,
}

/// Every file that `pid` has mapped; nothing where the process is gone.
pub fn of(pid: u32) -> Vec<MappedFile> {
    let mut text = Vec::with_capacity(16 * 1024);
    // Its size is not known beforehand: with room from the start it takes one call a page.
    let read = fs_err::File::open(format!("/proc/{pid}/maps"))
        .and_then(|mut file| file.read_to_end(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    parse(&String::from_utf8_lossy(&text))
}

fn parse(text: &str) -> Vec<MappedFile> {
    let files: BTreeSet<MappedFile> = text.lines().filter_map(mapping).collect();
    files.into_iter().collect()
}

fn mapping(line: &str) -> Option<MappedFile> {
    let mut rest = line;
    let mut field = || {
        let (field, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(field)
    };
    let (_range, _access, _offset, device, inode) =
        (field()?, field()?, field()?, field()?, field()?);
    let (major, minor) = device.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let inode: u64 = inode.parse().ok().filter(|inode| *inode != 0)?;
    let path = rest.trim_start().to_owned();
    path.starts_with('/').then_some(())?;
    Some(MappedFile {
        path,
        dev: rustix::fs::makedev(number(major)?, number(minor)?),
        inode,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn mappings_without_a_file_are_none() {
        let text = "7f0000-7f1000 r-xp 00000000 fe:01 42                         /usr/lib/a b.so (deleted)\n\
                    7f1000-7f2000 rw-p 00001000 fe:01 42                         /usr/lib/a b.so (deleted)\n\
                    7f2000-7f3000 rw-p 00000000 00:00 0 \n\
                    7f3000-7f4000 rw-p 00000000 00:00 0                          [heap]\n\
                    7f4000-7f5000 rw-s 00000000 00:01 7                          socket:[7]\n";
        let files = parse(text);
        assert_eq!(files.len(), 1);
        assert_eq!(
            (files[0].path.as_str(), files[0].inode),
            ("/usr/lib/a b.so (deleted)", 42)
        );
    }

    #[test]
    fn device_and_inode_are_those_of_stat() {
        let own = fs_err::metadata("/proc/self/exe").unwrap();
        let files = of(std::process::id());
        assert!(
            files
                .iter()
                .any(|file| (file.dev, file.inode) == (own.dev(), own.ino()))
        );
    }
}
