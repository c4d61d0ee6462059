//! `ld.so.cache`, as glibc writes it since 2.2 (`glibc-ld.so.cache1.1`).

use model::path::merged_usr;
use rustc_hash::FxHashMap;

/// The machine's cache: for each soname the paths in the order in which they stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cache {
    by_name: FxHashMap<String, Vec<CachePath>>,
}

/// One line of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePath {
    /// Absolute path, `/lib` written as `/usr/lib`.
    pub path: String,
    /// The machine that its flags stand for; empty where they say none that is known.
    pub machine: &'static str,
}

/// Why a cache could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not an ld.so.cache that can be read ({0}); run ldconfig to write it anew")]
pub struct CacheError(&'static str);

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// No machine has a tenth of this; a damaged count must not cost memory.
const MAX_ENTRIES: usize = 1 << 20;

impl Cache {
    /// From pairs of soname and path, in order, for one machine.
    pub fn of<'a>(
        machine: &'static str,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut cache = Self::default();
        for (soname, path) in entries {
            cache.put(soname, path, machine);
        }
        cache
    }

    /// From the bytes of the file.
    ///
    /// # Errors
    /// Bytes that are no cache, or one that is cut short. An old-format part before is skipped.
    pub fn parse(bytes: &[u8]) -> Result<Self, CacheError> {
        let bytes = if bytes.starts_with(OLD_MAGIC) {
            let at = bytes
                .windows(MAGIC.len())
                .position(|window| window == MAGIC);
            at.map_or(&[][..], |at| &bytes[at..])
        } else {
            bytes
        };
        if !bytes.starts_with(MAGIC) {
            return Err(CacheError("no known magic"));
        }
        let count = word(bytes, 20).ok_or(CacheError("no header"))? as usize;
        if count > MAX_ENTRIES {
            return Err(CacheError("too many entries"));
        }
        let mut cache = Self::default();
        for i in 0..count {
            let at = HEADER + i * ENTRY;
            let words = (word(bytes, at), word(bytes, at + 4), word(bytes, at + 8));
            let (Some(flags), Some(key), Some(value)) = words else {
                return Err(CacheError("it is cut short"));
            };
            let (Some(soname), Some(path)) = (text(bytes, key), text(bytes, value)) else {
                return Err(CacheError("a name leads outside of it"));
            };
            cache.put(soname, path, machine_of(flags));
        }
        Ok(cache)
    }

    fn put(&mut self, soname: &str, path: &str, machine: &'static str) {
        let entry = CachePath {
            path: merged_usr(path),
            machine,
        };
        self.by_name
            .entry(soname.to_owned())
            .or_default()
            .push(entry);
    }

    /// The one path that the loader takes from the cache for a name: that of the best hardware
    /// level, else the first. It does not look for a second one where this is missing.
    pub fn lookup(&self, soname: &str, machine: &str, hwcaps: &[String]) -> Option<&str> {
        let all = self.by_name.get(soname)?.iter();
        let mut usable = all.filter(|one| one.machine.is_empty() || one.machine == machine);
        let rank = |path: &str| match path.split_once("/glibc-hwcaps/") {
            None => Some(hwcaps.len()),
            Some((_, rest)) => {
                let level = rest.split('/').next().unwrap_or_default();
                hwcaps.iter().position(|one| one == level)
            }
        };
        let mut best: Option<(usize, &str)> = None;
        for one in usable.by_ref() {
            if let Some(rank) = rank(&one.path)
                && best.is_none_or(|(best, _)| rank < best)
            {
                best = Some((rank, &one.path));
            }
        }
        best.map(|(_, path)| path)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

fn text(bytes: &[u8], at: u32) -> Option<&str> {
    let rest = bytes.get(at as usize..)?;
    let end = rest.iter().take(4096).position(|c| *c == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The high byte of an entry's flags, by glibc's `ldconfig.h`.
fn machine_of(flags: u32) -> &'static str {
    match flags >> 8 & 0xff {
        0x00 if flags & 0xff == 3 => "i386",
        0x03 => "x86_64",
        0x0a => "aarch64",
        0x05 => "powerpc64",
        0x0f | 0x10 => "riscv",
        0x04 => "s390",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache as ldconfig writes it.
    fn bytes(entries: &[(&str, &str, u32)]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(u32::try_from(entries.len()).unwrap().to_le_bytes());
        out.resize(HEADER, 0);
        let mut strings: Vec<u8> = Vec::new();
        let base = HEADER + entries.len() * ENTRY;
        for (name, path, flags) in entries {
            out.extend(flags.to_le_bytes());
            for text in [name, path] {
                out.extend(u32::try_from(base + strings.len()).unwrap().to_le_bytes());
                strings.extend(text.bytes().chain([0]));
            }
            out.extend([0; 12]);
        }
        out.extend(strings);
        out
    }

    #[test]
    fn the_best_hardware_level_wins_and_other_machines_do_not_count() {
        let cache = Cache::parse(&bytes(&[
            ("libx.so.1", "/lib/i386-linux-gnu/libx.so.1", 0x0003),
            (
                "libx.so.1",
                "/usr/lib/glibc-hwcaps/x86-64-v4/libx.so.1",
                0x0303,
            ),
            (
                "libx.so.1",
                "/usr/lib/glibc-hwcaps/x86-64-v2/libx.so.1",
                0x0303,
            ),
            ("libx.so.1", "/lib/libx.so.1", 0x0303),
        ]))
        .unwrap();
        let v2 = ["x86-64-v3".to_owned(), "x86-64-v2".to_owned()];
        let find = |hwcaps| cache.lookup("libx.so.1", "x86_64", hwcaps);
        assert_eq!(find(&v2), Some("/usr/lib/glibc-hwcaps/x86-64-v2/libx.so.1"));
        assert_eq!(find(&[]), Some("/usr/lib/libx.so.1"));
        assert_eq!(
            cache.lookup("libx.so.1", "i386", &[]),
            Some("/usr/lib/i386-linux-gnu/libx.so.1")
        );
        assert_eq!(cache.lookup("liby.so.1", "x86_64", &[]), None);
    }

    #[test]
    fn damaged_caches_are_refused() {
        let good = bytes(&[("a", "/lib/a", 0x0303)]);
        Cache::parse(&good).unwrap();
        for cut in 0..good.len() {
            assert!(Cache::parse(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut huge = good;
        huge[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        Cache::parse(&huge).unwrap_err();
    }

    #[test]
    fn the_machines_own_cache_can_be_read() {
        let Ok(bytes) = fs_err::read("/etc/ld.so.cache") else {
            return;
        };
        let cache = Cache::parse(&bytes).unwrap();
        let machine = std::env::consts::ARCH;
        assert!(
            cache
                .lookup("libc.so.6", machine, &[])
                .is_some_and(|p| p.ends_with("/libc.so.6"))
        );
    }
}
