//! A Debian package's paths, each put in its place on a node.

use std::collections::{BTreeMap, BTreeSet};

use model::manifest::{Setup, SetupDirectory};
use model::path::PackagePath;

use super::paths::{self, LinkText, Place};
use super::{DebError, RawEntry, RawNode, Result, setup};

/// A file, link or directory in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFile {
    /// Access mode, set-id bits included.
    pub mode: u32,
    /// Owner by name.
    pub owner: String,
    /// Group by name.
    pub group: String,
    /// What stands there.
    pub node: RawNode,
}

impl PlacedFile {
    /// Whether it is a directory as every directory is that nobody names.
    fn is_plain_directory(&self) -> bool {
        self.node == RawNode::Directory
            && self.mode == 0o755
            && self.owner == "root"
            && self.group == "root"
    }
}

/// Everything of a package in its place.
#[derive(Debug, Default)]
pub struct Placed {
    /// What goes into the package; below `/etc` only regular files.
    pub files: BTreeMap<PackagePath, PlacedFile>,
    /// Directories and links of the machine.
    pub setup: Setup,
    /// What goes nowhere.
    pub notes: Vec<String>,
}

/// What is left out on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Documentation {
    /// Documentation and translations are kept, as everything is.
    #[default]
    Keep,
    /// They are left out.
    LeaveOut,
}

impl Documentation {
    /// One word for a package's notes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "kept",
            Self::LeaveOut => "left out",
        }
    }
}

/// Puts each entry in its place.
pub fn place(entries: Vec<RawEntry>, documentation: Documentation) -> Result<Placed> {
    let mut placed = Placed::default();
    let mut left_out = 0;
    for entry in entries {
        match paths::place(&entry.path) {
            Place::Package(path) => {
                if documentation == Documentation::LeaveOut && paths::is_documentation(&path) {
                    left_out += usize::from(entry.node != RawNode::Directory);
                } else {
                    placed.package(path, entry)?;
                }
            }
            Place::Config(path) => placed.config(path, entry)?,
            Place::State(path) => placed.state(path, &entry),
            Place::Given => {}
            Place::LeftOut(why) => placed.leave_out(&entry, why),
        }
    }
    if left_out > 0 {
        placed.notes.push(format!(
            "documentation left out on request: {left_out} files"
        ));
    }
    placed.check_parents()?;
    placed.forget_plain_directories();
    Ok(placed)
}

fn refused(path: &PackagePath, reason: &str) -> DebError {
    DebError::Entry {
        path: path.to_string(),
        reason: reason.to_owned(),
    }
}

impl Placed {
    fn leave_out(&mut self, entry: &RawEntry, why: &str) {
        if entry.node != RawNode::Directory {
            self.notes.push(format!("{}: {why}", entry.path));
        }
    }

    fn package(&mut self, path: PackagePath, entry: RawEntry) -> Result<()> {
        let Some(entry) = self.link(&path, entry)? else {
            return Ok(());
        };
        let RawEntry {
            mode,
            owner,
            group,
            node,
            ..
        } = entry;
        self.insert(
            path,
            PlacedFile {
                mode,
                owner,
                group,
                node,
            },
        )
    }

    /// Regular files below `/etc` are configuration; directories and links are the machine's.
    fn config(&mut self, path: PackagePath, entry: RawEntry) -> Result<()> {
        match entry.node {
            RawNode::File { .. } => return self.package(path, entry),
            RawNode::Directory => self.directory(path.to_string(), &entry),
            RawNode::Link(_) => {
                if let Some(RawEntry {
                    node: RawNode::Link(text),
                    ..
                }) = self.link(&path, entry)?
                {
                    self.setup.links.insert(path.to_string(), text);
                }
            }
        }
        Ok(())
    }

    fn state(&mut self, path: String, entry: &RawEntry) {
        match &entry.node {
            RawNode::Directory => self.directory(path, entry),
            RawNode::Link(text) => {
                self.setup.links.insert(path, text.clone());
            }
            RawNode::File { .. } => self.leave_out(entry, "a file of the machine's state"),
        }
    }

    fn directory(&mut self, path: String, entry: &RawEntry) {
        let named = |name: &str| (name != "root").then(|| name.to_owned());
        let directory = SetupDirectory {
            path,
            mode: (entry.mode != 0o755).then(|| format!("{:04o}", entry.mode)),
            owner: named(&entry.owner),
            group: named(&entry.group),
        };
        setup::add_directory(&mut self.setup, directory);
    }

    /// Checks a link and corrects its text; `None` where it is left out.
    fn link(&mut self, path: &PackagePath, mut entry: RawEntry) -> Result<Option<RawEntry>> {
        let RawNode::Link(text) = &entry.node else {
            return Ok(Some(entry));
        };
        match paths::link_text(&entry.path, path, text) {
            LinkText::Text(text) => {
                entry.node = RawNode::Link(text);
                entry.mode = 0;
                Ok(Some(entry))
            }
            LinkText::ToItself => {
                self.notes.push(format!(
                    "{}: a link to itself where /usr is merged",
                    entry.path
                ));
                Ok(None)
            }
            LinkText::Leaves => {
                self.notes
                    .push(format!("{} -> {text}: outside the system", entry.path));
                Ok(None)
            }
            LinkText::Climbs => Err(refused(path, "its link climbs above the root")),
        }
    }

    /// Two entries that become one path where `/usr` is merged must be equal.
    fn insert(&mut self, path: PackagePath, file: PlacedFile) -> Result<()> {
        let Some(first) = self.files.get(&path) else {
            self.files.insert(path, file);
            return Ok(());
        };
        let same = match (&first.node, &file.node) {
            (RawNode::Directory, RawNode::Directory) => true,
            (RawNode::Link(ours), RawNode::Link(theirs)) => ours == theirs,
            (
                RawNode::File { content: ours, .. },
                RawNode::File {
                    content: theirs, ..
                },
            ) => fs_err::read(ours)? == fs_err::read(theirs)?,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(refused(
            &path,
            "the package has it twice, once below /usr and once not, and they differ",
        ))
    }

    /// No file may lie below a link or a file of the same package.
    fn check_parents(&self) -> Result<()> {
        for path in self.files.keys() {
            let mut parent = path.parent();
            while let Some(at) = parent {
                if self
                    .files
                    .get(&at)
                    .is_some_and(|file| file.node != RawNode::Directory)
                {
                    return Err(refused(
                        path,
                        "it lies below a link or a file of the package",
                    ));
                }
                parent = at.parent();
            }
        }
        Ok(())
    }

    /// Directories that files imply need not be named; nor need those in `/etc` that hold
    /// configuration.
    fn forget_plain_directories(&mut self) {
        let mut implied: BTreeSet<PackagePath> = BTreeSet::new();
        for (path, file) in &self.files {
            let mut parent = path.parent();
            while let Some(at) = parent.filter(|_| !file.is_plain_directory()) {
                parent = at.parent();
                implied.insert(at);
            }
        }
        // A directory that holds only empty directories is implied by those.
        let directories: Vec<PackagePath> = self.files.keys().cloned().collect();
        for path in directories {
            implied.extend(path.parent());
        }
        self.files
            .retain(|path, file| !(file.is_plain_directory() && implied.contains(path)));
        self.setup.directories.retain(|directory| {
            let plain =
                directory.mode.is_none() && directory.owner.is_none() && directory.group.is_none();
            let in_etc = directory
                .path
                .parse()
                .is_ok_and(|path| implied.contains(&path));
            !(plain && in_etc)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, mode: u32, node: RawNode) -> RawEntry {
        RawEntry {
            path: path.into(),
            mode,
            owner: "root".into(),
            group: "root".into(),
            node,
        }
    }

    fn file(spool: &std::path::Path, text: &str) -> RawNode {
        let content = spool.join(text);
        fs_err::write(&content, text).unwrap();
        RawNode::File {
            content,
            size: text.len() as u64,
            capabilities: None,
        }
    }

    fn names(placed: &Placed) -> Vec<&str> {
        placed.files.keys().map(PackagePath::as_str).collect()
    }

    #[test]
    fn each_kind_of_path_goes_to_its_own_place() {
        let spool = tempfile::tempdir().unwrap();
        let mut log = entry("/var/log/a", 0o2750, RawNode::Directory);
        log.group = "adm".into();
        let entries = vec![
            entry("/lib", 0o755, RawNode::Directory),
            entry("/lib/x", 0o755, RawNode::Directory),
            entry("/lib/x/l.so", 0o644, file(spool.path(), "l")),
            entry("/usr/share/empty", 0o755, RawNode::Directory),
            entry("/usr/share/shut", 0o700, RawNode::Directory),
            entry("/usr/share/shut/f", 0o4755, file(spool.path(), "f")),
            entry("/etc/a", 0o755, RawNode::Directory),
            entry("/etc/a/a.conf", 0o640, file(spool.path(), "c")),
            entry("/etc/a/empty.d", 0o755, RawNode::Directory),
            entry("/etc/a/link", 0o777, RawNode::Link("/usr/share/a".into())),
            entry("/etc/init.d/a", 0o755, file(spool.path(), "i")),
            log,
            entry("/var/lib/a/data", 0o644, file(spool.path(), "d")),
            entry("/home/x", 0o644, file(spool.path(), "h")),
            entry("/usr/bin/tmp", 0o777, RawNode::Link("/tmp/x".into())),
        ];
        let placed = place(entries, Documentation::Keep).unwrap();
        let expected = [
            "/etc/a/a.conf",
            "/usr/lib/x/l.so",
            "/usr/share/empty",
            "/usr/share/shut",
            "/usr/share/shut/f",
        ];
        assert_eq!(names(&placed), expected);
        assert_eq!(
            placed.files[&"/usr/share/shut/f".parse().unwrap()].mode,
            0o4755
        );
        let directories: Vec<_> = placed
            .setup
            .directories
            .iter()
            .map(|one| one.path.as_str())
            .collect();
        assert_eq!(directories, ["/etc/a/empty.d", "/var/log/a"]);
        assert_eq!(placed.setup.directories[1].mode.as_deref(), Some("2750"));
        assert_eq!(placed.setup.directories[1].group.as_deref(), Some("adm"));
        assert_eq!(placed.setup.links["/etc/a/link"], "/usr/share/a");
        assert_eq!(placed.notes.len(), 4, "{:?}", placed.notes);
    }

    #[test]
    fn a_path_that_is_there_twice_once_usr_is_merged_must_be_the_same_file() {
        let spool = tempfile::tempdir().unwrap();
        let two = |second: &str| {
            vec![
                entry("/bin/which", 0o755, file(spool.path(), "which")),
                entry("/usr/bin/which", 0o755, file(spool.path(), second)),
            ]
        };
        let same = place(two("which"), Documentation::Keep).unwrap();
        assert_eq!(names(&same), ["/usr/bin/which"]);
        let error = place(two("other"), Documentation::Keep).unwrap_err();
        assert!(error.to_string().contains("/usr/bin/which"), "{error}");
        let link = vec![
            entry("/bin/which", 0o777, RawNode::Link("/usr/bin/which".into())),
            entry("/usr/bin/which", 0o755, file(spool.path(), "which")),
        ];
        let placed = place(link, Documentation::Keep).unwrap();
        assert_eq!(names(&placed), ["/usr/bin/which"]);
        assert_eq!(placed.notes.len(), 1);
    }

    #[test]
    fn files_below_a_link_and_links_above_the_root_are_refused() {
        let spool = tempfile::tempdir().unwrap();
        let below = vec![
            entry("/usr/lib/evil", 0o777, RawNode::Link("/etc".into())),
            entry("/usr/lib/evil/passwd", 0o644, file(spool.path(), "p")),
        ];
        place(below, Documentation::Keep).unwrap_err();
        let climbs = vec![entry(
            "/usr/a",
            0o777,
            RawNode::Link("../../../etc/x".into()),
        )];
        place(climbs, Documentation::Keep).unwrap_err();
    }

    #[test]
    fn documentation_is_left_out_only_on_request() {
        let spool = tempfile::tempdir().unwrap();
        let entries = || {
            vec![entry(
                "/usr/share/doc/a/copyright",
                0o644,
                file(spool.path(), "c"),
            )]
        };
        assert_eq!(
            names(&place(entries(), Documentation::Keep).unwrap()).len(),
            1
        );
        let without = place(entries(), Documentation::LeaveOut).unwrap();
        assert!(without.files.is_empty());
        assert_eq!(
            without.notes,
            ["documentation left out on request: 1 files"]
        );
    }
}
