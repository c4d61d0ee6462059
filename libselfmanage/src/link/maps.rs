//! `/proc/self/maps`: what is mapped, by address, device and inode.

use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{ffi::OsStr, io};

use super::Identity;

/// A mapping with a file behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) range: Range<usize>,
    pub(crate) identity: Identity,
    /// Where the file was when it was mapped; without the kernel's ` (deleted)`.
    pub(crate) path: PathBuf,
}

/// The mappings of this process that have files behind them.
pub(crate) fn read() -> io::Result<Vec<Mapping>> {
    Ok(parse(&fs_err::read("/proc/self/maps")?))
}

fn parse(maps: &[u8]) -> Vec<Mapping> {
    maps.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// `START-END PERMS OFFSET MAJOR:MINOR INODE   PATH`; `None` for memory without a file.
fn line(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut field = || {
        fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok())
    };
    let (start, end) = field()?.split_once('-')?;
    let (_permissions, _offset) = (field()?, field()?);
    let (major, minor) = field()?.split_once(':')?;
    let inode: u64 = field()?.parse().ok()?;
    if inode == 0 {
        return None;
    }
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let path = fields.next().unwrap_or_default().trim_ascii_start();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Some(Mapping {
        range: usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?,
        identity: (nix::sys::stat::makedev(hex(major)?, hex(minor)?), inode),
        path: Path::new(OsStr::from_bytes(path)).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_the_rest_is_passed_over() {
        let maps = b"7f00-7f10 r-xp 00001000 fe:01 4242    /usr/lib/a b.so (deleted)\n\
            7f20-7f30 rw-p 00000000 00:00 0 \n\
            7f40-7f50 rw-p 00000000 00:00 0    [heap]\n\
            garbage\n";
        let all = parse(maps);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].range, 0x7f00..0x7f10);
        assert_eq!(all[0].identity, (nix::sys::stat::makedev(0xfe, 1), 4242));
        assert_eq!(all[0].path, Path::new("/usr/lib/a b.so"));
    }
}
