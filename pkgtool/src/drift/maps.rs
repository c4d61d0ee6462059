//! Lines of `/proc/PID/maps`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A file that a process has mapped to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    /// Its name in `map_files`.
    pub(super) range: String,
    /// Device, as the kernel prints it: major and minor.
    pub(super) device: (u32, u32),
    /// Inode.
    pub(super) inode: u64,
    /// Its path, without the mark.
    pub(super) path: PathBuf,
    /// Whether the kernel marks it as deleted.
    pub(super) deleted: bool,
}

const MARK: &[u8] = b" (deleted)";

/// The executable, file-backed mapping of a line; `None` for all others.
pub(super) fn executable(line: &[u8]) -> Option<Mapped> {
    let mut rest = line;
    let mut word = || {
        let start = rest.iter().position(|c| *c != b' ')?;
        let text = rest.get(start..)?;
        let end = text.iter().position(|c| *c == b' ').unwrap_or(text.len());
        rest = text.get(end..)?;
        std::str::from_utf8(text.get(..end)?).ok()
    };
    let (range, access, _offset, device, inode) = (word()?, word()?, word()?, word()?, word()?);
    if access.as_bytes().get(2) != Some(&b'x') || inode == "0" {
        return None;
    }
    let start = rest.iter().position(|c| *c != b' ')?;
    let path = rest.get(start..).filter(|path| path.starts_with(b"/"))?;
    let (path, deleted) = match path.strip_suffix(MARK) {
        Some(path) => (path, true),
        None => (path, false),
    };
    let (major, minor) = device.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let (from, to) = range.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapped {
        // Here addresses have leading zeros, and names in map_files do not.
        range: format!("{:x}-{:x}", address(from)?, address(to)?),
        device: (number(major)?, number(minor)?),
        inode: inode.parse().ok()?,
        path: PathBuf::from(OsString::from_vec(unescaped(path))),
        deleted,
    })
}

/// A line end in a path is written as `\012`.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, more @ ..] = rest {
        if let Some(more) = rest.strip_prefix(b"\\012") {
            out.push(b'\n');
            rest = more;
        } else {
            out.push(*first);
            rest = more;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_files_count() {
        let line = b"00400000-00401000 r-xp 00001000 fe:00 18504      /usr/bin/a b (deleted)";
        let mapped = executable(line).unwrap();
        assert_eq!(mapped.range, "400000-401000");
        assert_eq!((mapped.device, mapped.inode), ((0xfe, 0), 18504));
        assert_eq!(mapped.path, PathBuf::from("/usr/bin/a b"));
        assert!(mapped.deleted);
        for none in [
            "7f0000000000-7f0000001000 r--p 00000000 fe:00 18504 /usr/lib/libc.so.6",
            "7f0000000000-7f0000001000 r-xp 00000000 00:00 0",
            "7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0 [vdso]",
            "7f0000000000-7f0000001000 rwxp 00000000 00:0e 33 anon_inode:bpf",
            "7f0000000000-7f0000001000 r-xp 00000000 fe:00",
            "",
            "garbage",
        ] {
            assert_eq!(executable(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn paths_may_hold_anything() {
        let line = b"1000-2000 r-xp 0 08:01 9 /odd\\012name \xff";
        let path = executable(line).unwrap().path;
        assert_eq!(path.as_os_str().as_encoded_bytes(), b"/odd\nname \xff");
    }
}
