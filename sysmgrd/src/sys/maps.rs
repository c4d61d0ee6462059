//! Which files processes have mapped, by device and inode: what plans are made from, and the proof
//! after a change.

use std::collections::HashMap;
use std::io::Read;

use super::parallel::in_parts;

pub use model::mappings::MappedFile;

/// A file that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path as the kernel shows it.
    pub path: String,
    /// Its device, as `stat` has it.
    pub dev: u64,
    /// Its inode.
    pub inode: u64,
}

/// Every file that `pid` has mapped, in the order of addresses; nothing where the process is gone.
pub fn of(pid: u32) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    let mut text = Vec::new();
    read(pid, &mut text);
    for one in parse(&String::from_utf8_lossy(&text)) {
        if !files.iter().any(|known| one.is(known)) {
            files.push(File {
                path: one.path.to_owned(),
                dev: one.dev,
                inode: one.inode,
            });
        }
    }
    files
}

/// Every file that these processes have mapped, with the places of those who have it in `pids`.
pub fn of_all(pids: &[u32]) -> Vec<MappedFile> {
    let parts = in_parts(pids, |before, part| {
        let mut gathered = Gathered::default();
        let mut text = Vec::new();
        for (at, pid) in (before..).zip(part) {
            read(*pid, &mut text);
            for one in parse(&String::from_utf8_lossy(&text)) {
                gathered.put(one, &[number(at)]);
            }
        }
        gathered
    });
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    // Parts follow each other, so the places stay sorted.
    for file in parts.flat_map(|part| part.files) {
        let place = Mapping {
            path: &file.path,
            dev: file.dev,
            inode: file.inode,
        };
        all.put(place, &file.by);
    }
    all.files
}

/// Files that were found so far.
#[derive(Default)]
struct Gathered {
    files: Vec<MappedFile>,
    /// By inode the places of its files: one that has two paths is two of them.
    known: HashMap<(u64, u64), Vec<usize>>,
}

impl Gathered {
    fn put(&mut self, one: Mapping<'_>, by: &[u32]) {
        let same = self.known.entry((one.dev, one.inode)).or_default();
        for at in same.iter() {
            if let Some(file) = self.files.get_mut(*at)
                && file.path == one.path
            {
                if file.by.last() != by.last() {
                    file.by.extend_from_slice(by);
                }
                return;
            }
        }
        same.push(self.files.len());
        self.files.push(MappedFile {
            path: one.path.to_owned(),
            dev: one.dev,
            inode: one.inode,
            by: by.to_vec(),
        });
    }
}

/// A node has far fewer processes than this can count.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Reads what `pid` has mapped into `text`; nothing where the process is gone.
fn read(pid: u32, text: &mut Vec<u8>) {
    text.clear();
    // Its size is not known beforehand: with room from the start it takes one call a page.
    text.reserve(16 * 1024);
    let file = fs_err::File::open(format!("/proc/{pid}/maps"));
    if file.and_then(|mut file| file.read_to_end(text)).is_err() {
        text.clear();
    }
}

/// One mapping of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapping<'t> {
    path: &'t str,
    dev: u64,
    inode: u64,
}

impl Mapping<'_> {
    fn is(&self, file: &File) -> bool {
        (self.dev, self.inode) == (file.dev, file.inode) && self.path == file.path
    }
}

/// The mappings of files, those that follow each other once.
fn parse(text: &str) -> impl Iterator<Item = Mapping<'_>> {
    let mut last = None;
    let all = text.lines().filter_map(mapping);
    all.filter(move |one| last.replace(*one) != Some(*one))
}

fn mapping(line: &str) -> Option<Mapping<'_>> {
    let mut rest = line;
    let mut field = || {
        let (field, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(field)
    };
    let (_range, _access, _offset, device, inode) =
        (field()?, field()?, field()?, field()?, field()?);
    let inode: u64 = inode.parse().ok().filter(|inode| *inode != 0)?;
    let path = rest.trim_start();
    path.starts_with('/').then_some(())?;
    let (major, minor) = device.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    Some(Mapping {
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
        let files: Vec<_> = parse(text).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(
            (files[0].path, files[0].inode),
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

    #[test]
    fn each_file_is_told_once_with_all_who_have_it() {
        let own = std::process::id();
        // One that is gone has nothing; the others are the same process, so all have the same.
        let mut pids = vec![own; 40];
        pids[20] = u32::MAX;
        let expected: Vec<u32> = (0..40).filter(|at| *at != 20).collect();
        let exe = fs_err::read_link("/proc/self/exe").unwrap();
        let files = of_all(&pids);
        let program = files.iter().find(|file| *file.path == *exe).unwrap();
        assert_eq!(program.by, expected);
        let mut paths: Vec<_> = files
            .iter()
            .map(|file| (&file.path, file.dev, file.inode))
            .collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), files.len());
    }

    #[test]
    fn one_inode_at_two_paths_is_two_files() {
        let mut gathered = Gathered::default();
        for (path, by) in [("/a", 1), ("/b", 1), ("/a", 1), ("/a", 2)] {
            let one = Mapping {
                path,
                dev: 1,
                inode: 2,
            };
            gathered.put(one, &[by]);
        }
        let found = gathered.files.iter();
        let found: Vec<_> = found.map(|one| (one.path.as_str(), &*one.by)).collect();
        assert_eq!(found, [("/a", &[1, 2][..]), ("/b", &[1][..])]);
    }
}
