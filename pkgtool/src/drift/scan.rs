//! Looks at every process of the machine: reads `/proc` and the files that it leads to, and
//! nothing else. Processes come and go meanwhile; one that is gone is passed over.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::contents::{Id, Library};
use super::judge::{self, Now, Sight, is_no_file, judge};
use super::maps::{self, Mapped};
use super::places::{Place, Roots, View, link};
use super::units::{Traits, owner};
use super::{Finding, How, Process, Sights};

/// Path, what became of it, and how that was told.
type Found = (String, How, String);

/// Programs that run what they read.
const INTERPRETERS: [&str; 20] = [
    "beam.smp", "bash", "busybox", "dash", "dotnet", "gjs", "guile", "java", "ksh", "lua", "mono",
    "node", "perl", "php", "python", "ruby", "sh", "tclsh", "wish", "zsh",
];

/// More than any kernel prints; the rest of a line is not a path.
const LINE: u64 = 64 << 10;

/// Looks at all processes but this one; `progress` hears how many of how many it has looked at.
pub fn scan(mut progress: impl FnMut(usize, usize)) -> io::Result<Sights> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = fs::open("/proc", flags, Mode::empty())?;
    let own = link(CWD, "/proc/self/ns/mnt")?;
    let mut scanner = Scanner {
        own,
        roots: Roots::default(),
        library: Library::default(),
        users: HashMap::new(),
        sights: Sights {
            old_bytes: may_follow_maps(),
            ..Sights::default()
        },
    };
    let mut pids = Vec::new();
    for entry in fs_err::read_dir("/proc")? {
        pids.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok()),
        );
    }
    pids.sort_unstable();
    for (done, pid) in pids.iter().enumerate() {
        progress(done, pids.len());
        if *pid == std::process::id() {
            continue;
        }
        let Ok(process) = fs::openat(&proc, pid.to_string(), flags, Mode::empty()) else {
            continue;
        };
        scanner.process(*pid, &process);
    }
    Ok(scanner.sights)
}

/// Whether this program may follow the links in `map_files`: it tries with its own.
fn may_follow_maps() -> bool {
    let Ok(maps) = fs_err::File::open("/proc/self/maps") else {
        return false;
    };
    let first = BufReader::new(maps)
        .split(b'\n')
        .map_while(Result::ok)
        .find_map(|line| maps::executable(&line));
    first.is_some_and(|mapped| {
        let path = format!("/proc/self/map_files/{}", mapped.range);
        fs::statat(CWD, path, AtFlags::empty()).is_ok()
    })
}

struct Scanner {
    own: PathBuf,
    roots: Roots,
    library: Library,
    users: HashMap<String, String>,
    sights: Sights,
}

/// One process while it is looked at.
struct Subject<'a> {
    dir: &'a OwnedFd,
    view: View,
    /// Its program, as the kernel tells it.
    program: PathBuf,
    program_id: Option<Id>,
}

impl Scanner {
    fn process(&mut self, pid: u32, dir: &OwnedFd) {
        let program = match link(dir, "exe") {
            Ok(program) => program,
            Err(error) => {
                // Kernel threads and the dead have no command line either.
                let forbidden = error.kind() == io::ErrorKind::PermissionDenied;
                if forbidden && !text(dir, "cmdline").is_empty() {
                    self.sights.unread += 1;
                }
                return;
            }
        };
        let maps = match open(dir, "maps") {
            Ok(maps) => maps,
            Err(error) => {
                // Whoever ended meanwhile is nobody that was passed over.
                let forbidden = error.kind() == io::ErrorKind::PermissionDenied;
                self.sights.unread += usize::from(forbidden);
                return;
            }
        };
        let subject = Subject {
            dir,
            view: self.roots.view(dir, &self.own),
            program_id: stat(dir, "exe").ok(),
            program: unmarked(&program),
        };
        let mut found = Vec::new();
        let Ok(saw_program) = self.maps(&subject, maps, &mut found) else {
            return;
        };
        if !saw_program {
            found.extend(self.program(&subject));
        }
        self.sights.looked_at += 1;
        self.tell(pid, &subject, found);
    }

    /// Looks at every line; whether the program was among them.
    fn maps(
        &mut self,
        subject: &Subject<'_>,
        maps: File,
        found: &mut Vec<Found>,
    ) -> io::Result<bool> {
        let mut maps = BufReader::with_capacity(64 << 10, maps);
        let (mut line, mut last) = (Vec::new(), None);
        let mut saw_program = false;
        loop {
            line.clear();
            if (&mut maps).take(LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(saw_program);
            }
            let end = line.strip_suffix(b"\n").unwrap_or(&line);
            let Some(mapped) = maps::executable(end) else {
                continue;
            };
            saw_program |= mapped.path == subject.program;
            // A file with several executable pieces stands there several times in a row.
            let same = (mapped.device, mapped.inode);
            if last.replace(same) != Some(same) {
                found.extend(self.mapped(subject, &mapped));
            }
        }
    }

    fn mapped(&mut self, subject: &Subject<'_>, mapped: &Mapped) -> Option<Found> {
        let place = self.roots.look(&subject.view, &mapped.path);
        let told = Id {
            device: fs::makedev(mapped.device.0, mapped.device.1),
            inode: mapped.inode,
        };
        if place == Place::File(told) || is_no_file(&mapped.path.to_string_lossy()) {
            return None;
        }
        let range = format!("map_files/{}", mapped.range);
        let is_program = mapped.path == subject.program;
        let (old, through) = match stat(subject.dir, &range) {
            Ok(id) => (Some(id), range),
            Err(Errno::NOENT | Errno::SRCH) => return None,
            Err(_) if is_program => (subject.program_id, "exe".to_owned()),
            Err(_) => (None, range),
        };
        // Some file systems tell maps another device than stat: then only the file itself helps.
        let itself = match old {
            Some(old) => place == Place::File(old),
            None => !mapped.deleted && matches!(place, Place::File(id) if id.inode == mapped.inode),
        };
        if itself {
            return None;
        }
        self.replaced(subject, &mapped.path, place, &through)
    }

    /// The program itself, where it is not among the maps any more.
    fn program(&mut self, subject: &Subject<'_>) -> Option<Found> {
        let place = self.roots.look(&subject.view, &subject.program);
        let itself = subject.program_id.is_none_or(|id| place == Place::File(id));
        if itself || is_no_file(&subject.program.to_string_lossy()) {
            return None;
        }
        self.replaced(subject, &subject.program, place, "exe")
    }

    /// What became of a file that is not the one at its path; its bytes are at `through`.
    fn replaced(
        &mut self,
        subject: &Subject<'_>,
        path: &Path,
        place: Place,
        through: &str,
    ) -> Option<Found> {
        let view = &subject.view;
        let read = self.library.read(open(subject.dir, through));
        let (old_id, old) = match read {
            Ok((id, contents)) => (Some(id), Ok(contents)),
            Err(why) => (None, Err(why)),
        };
        if old.as_ref().is_ok_and(|old| !old.elf) && implies_execute(subject.dir) {
            return None;
        }
        let mut at = path.to_owned();
        let (new_id, now) = match place {
            Place::Nothing => match self.successor(subject, path, old.as_ref().ok()) {
                Some((successor, id, contents)) => {
                    let shown = shown(view.inside(&successor));
                    at = successor;
                    (
                        Some(id),
                        Now::Successor {
                            path: shown,
                            contents,
                        },
                    )
                }
                None => (None, Now::Nothing),
            },
            Place::File(_) => match self.library.read(view.open(path)) {
                Ok((id, _)) if Some(id) == old_id => return None,
                Ok((id, contents)) => (Some(id), Now::Other(contents)),
                Err(why) => (None, Now::Unread(why)),
            },
            Place::NoFile => (None, Now::NoFile),
            Place::Hidden(why) => (None, Now::Unread(why)),
        };
        let path = shown(view.inside(path));
        let sight = Sight {
            path: &path,
            old,
            now,
        };
        let (how, mut reason) = judge(&sight)?;
        if let (How::Changed, Some(old), Some(new)) = (how, old_id, new_id) {
            let files = || Ok((open(subject.dir, through)?, view.open(&at)?));
            let difference = self.library.difference((old, new), files);
            if !difference.is_empty() {
                reason = format!("{reason}: {difference}");
            }
        }
        Some((path, how, reason))
    }

    /// The file that a library's own name leads to, where its file is gone: an upgrade from
    /// `libx.so.1.2` to `libx.so.1.3` leaves nothing under the old name.
    fn successor(
        &mut self,
        subject: &Subject<'_>,
        path: &Path,
        old: Option<&judge::Contents>,
    ) -> Option<(PathBuf, Id, judge::Contents)> {
        let soname = old?.soname.as_deref()?;
        if soname.is_empty() || soname.contains('/') {
            return None;
        }
        let path = path.parent()?.join(soname);
        if !matches!(self.roots.look(&subject.view, &path), Place::File(_)) {
            return None;
        }
        let (id, contents) = self.library.read(subject.view.open(&path)).ok()?;
        Some((path, id, contents))
    }

    fn tell(&mut self, pid: u32, subject: &Subject<'_>, found: Vec<Found>) {
        let program = shown(subject.view.inside(&subject.program));
        let process = || Process {
            pid,
            name: clean(text(subject.dir, "comm").trim_end()),
        };
        if is_interpreter(&program) {
            self.sights.blind.push((program.clone(), process()));
        }
        if found.is_empty() {
            return;
        }
        let process = process();
        let cgroup = text(subject.dir, "cgroup");
        let traits = Traits {
            cgroup: &cgroup,
            pid,
            program: &program,
            name: &process.name,
        };
        let numbers: Vec<String> = numbers_of_users(&cgroup);
        for number in numbers {
            self.users
                .entry(number)
                .or_insert_with_key(|number| user(number));
        }
        let users = &self.users;
        let named = |number: &str| {
            users
                .get(number)
                .cloned()
                .unwrap_or_else(|| number.to_owned())
        };
        let owner = owner(&traits, named);
        for (path, how, reason) in found {
            self.sights.findings.push(Finding {
                process: process.clone(),
                owner: owner.clone(),
                path,
                how,
                reason,
            });
        }
    }
}

fn numbers_of_users(cgroup: &str) -> Vec<String> {
    let words = cgroup.split(['/', '\n', '-', '@', '.']);
    let numbers = words.filter(|word| word.parse::<u32>().is_ok());
    numbers.map(str::to_owned).collect()
}

fn user(number: &str) -> String {
    let id = number.parse::<u32>().ok();
    let user = id.and_then(|id| User::from_uid(Uid::from_raw(id)).ok().flatten());
    user.map_or_else(|| number.to_owned(), |user| user.name)
}

/// Whether this process's readable mappings are all executable, by an old habit of the kernel.
fn implies_execute(process: &OwnedFd) -> bool {
    const READ_IMPLIES_EXEC: u32 = 0x0040_0000;
    let personality = text(process, "personality");
    u32::from_str_radix(personality.trim(), 16).is_ok_and(|bits| bits & READ_IMPLIES_EXEC != 0)
}

fn is_interpreter(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    INTERPRETERS.iter().any(|one| {
        name.strip_prefix(one).is_some_and(|rest| {
            rest.chars()
                .all(|c| c.is_ascii_digit() || c == '.' || c == 'w')
        })
    })
}

fn unmarked(program: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let bytes = program.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

fn open(process: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(File::from(fs::openat(process, name, flags, Mode::empty())?))
}

fn stat(process: &OwnedFd, name: &str) -> Result<Id, Errno> {
    fs::statat(process, name, AtFlags::empty()).map(|stat| Id::from(&stat))
}

/// A small file of a process; empty where it cannot be read.
fn text(process: &OwnedFd, name: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = open(process, name) {
        drop(file.take(LINE).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(path: &Path) -> String {
    clean(&path.to_string_lossy())
}

/// Names come from strangers: what a terminal would obey is told, not done.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
