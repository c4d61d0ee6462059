//! Which libraries each ELF file uses, by the loader's own rules inside the package.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::Manifest;
use model::elf::ElfFacts;
use model::manifest::{FileEntry, FileType, LibraryNeed, LibraryUse, Node, RegularFile, Subject};
use model::path::PackagePath;
use resolve::loader::{Context, Finder, Rules, View, default_directories};

use super::Finding;

/// The package's files as the loader would see them.
struct Tree<'a>(HashMap<&'a str, &'a FileEntry>);

impl View for Tree<'_> {
    fn entry(&self, path: &str) -> Option<&FileEntry> {
        self.0.get(path).copied()
    }
}

/// Fills in every file's `uses` and the package's `provides-libraries` and `requires-libraries`.
pub(super) fn resolve(manifest: &mut Manifest) -> Vec<Finding> {
    let tree = Tree(
        manifest
            .files
            .iter()
            .map(|entry| (entry.path.as_str(), entry))
            .collect(),
    );
    let rules = Rules::default();
    let mut links = Links {
        finder: Finder::new(&tree, &rules),
        own: sonames(manifest),
        requires: BTreeMap::new(),
        findings: BTreeSet::new(),
    };
    let mut uses = HashMap::new();
    for (entry, facts) in elf_files(manifest) {
        uses.insert(entry.path.clone(), links.uses(&tree, &entry.path, facts));
    }
    let Links {
        requires, findings, ..
    } = links;
    for entry in &mut manifest.files {
        if let Node::File(file) = &mut entry.node {
            file.uses = uses.remove(&entry.path);
        }
    }
    manifest.provides_libraries = provides(manifest);
    manifest.requires_libraries = needs(requires);
    findings.into_iter().collect()
}

fn elf_files(manifest: &Manifest) -> impl Iterator<Item = (&FileEntry, &ElfFacts)> {
    manifest
        .files
        .iter()
        .filter_map(|entry| Some((entry, facts(entry)?)))
}

fn facts(entry: &FileEntry) -> Option<&ElfFacts> {
    let Node::File(file) = &entry.node else {
        return None;
    };
    file.elf.as_deref()
}

/// Where the package itself has a library, by soname or file name, loader or no loader.
fn sonames(manifest: &Manifest) -> BTreeMap<String, PackagePath> {
    let mut own = BTreeMap::new();
    for (entry, facts) in elf_files(manifest) {
        if facts.program {
            continue;
        }
        let soname = facts.soname.clone();
        let name = soname.unwrap_or_else(|| entry.path.file_name().to_owned());
        own.entry(name).or_insert_with(|| entry.path.clone());
    }
    own
}

fn provides(manifest: &Manifest) -> Vec<LibraryNeed> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in &manifest.files {
        let Node::File(file) = &entry.node else {
            continue;
        };
        if let (FileType::SharedLibrary, Some(soname), Some(facts)) =
            (file.file_type, soname(file), file.elf.as_deref())
        {
            found
                .entry(soname)
                .or_default()
                .extend(facts.versions_provided.iter().cloned());
        }
    }
    needs(found)
}

fn soname(file: &RegularFile) -> Option<String> {
    file.elf.as_ref()?.soname.clone()
}

fn needs(found: BTreeMap<String, BTreeSet<String>>) -> Vec<LibraryNeed> {
    let need = |(soname, versions): (_, BTreeSet<_>)| LibraryNeed {
        soname,
        versions: versions.into_iter().collect(),
    };
    found.into_iter().map(need).collect()
}

struct Links<'a> {
    finder: Finder<'a, Tree<'a>>,
    own: BTreeMap<String, PackagePath>,
    requires: BTreeMap<String, BTreeSet<String>>,
    findings: BTreeSet<Finding>,
}

impl Links<'_> {
    /// Follows everything that the file at `path` makes the loader load.
    fn uses(&mut self, tree: &Tree<'_>, path: &PackagePath, facts: &ElfFacts) -> LibraryUse {
        let (mut direct, mut reached, mut others) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut queue = vec![(path.clone(), facts, Context::default())];
        // Once a library is loaded under its soname, nobody searches for it again.
        let mut loaded: BTreeSet<String> = BTreeSet::new();
        while let Some((at, facts, context)) = queue.pop() {
            let below = context.below(at.as_str(), facts);
            for name in &facts.needed {
                let found = self.finder.find(name, at.as_str(), facts, &context);
                let file = found.and_then(|found| found.file.parse::<PackagePath>().ok());
                let Some(file) = file else {
                    if !loaded.contains(name) {
                        others.insert(name.clone());
                    }
                    continue;
                };
                loaded.insert(name.clone());
                if at == *path {
                    direct.insert(file.clone());
                }
                let next = tree.entry(file.as_str()).and_then(self::facts);
                if let (true, Some(next)) = (reached.insert(file.clone()), next) {
                    self.check_versions((&at, facts), name, (&file, next));
                    queue.push((file, next, below.clone()));
                }
            }
        }
        others.retain(|name| !loaded.contains(name));
        self.own_needs(path, facts, &others);
        reached.remove(path);
        let transitive = reached.difference(&direct).cloned().collect();
        LibraryUse {
            direct: direct.into_iter().collect(),
            transitive,
            others: others.into_iter().collect(),
        }
    }

    /// What this file itself leaves to other packages, and what it wrongly leaves to nobody.
    fn own_needs(&mut self, path: &PackagePath, facts: &ElfFacts, others: &BTreeSet<String>) {
        for name in facts.needed.iter().filter(|name| others.contains(*name)) {
            if let Some(own) = self.own.get(name).cloned() {
                self.unreachable(path, facts, name, &own);
                continue;
            }
            let versions = facts
                .versions_needed
                .iter()
                .filter(|need| need.soname == *name);
            let versions = versions.flat_map(|need| need.versions.iter().cloned());
            self.requires
                .entry(name.clone())
                .or_default()
                .extend(versions);
        }
    }

    fn unreachable(&mut self, path: &PackagePath, facts: &ElfFacts, name: &str, own: &PackagePath) {
        let directory = own
            .parent()
            .map_or_else(String::new, |parent| parent.to_string());
        let subject = Subject::File(path.clone());
        let way = format!(
            "link it with -Wl,-rpath,{directory}, or put the library into {}",
            default_directories(&facts.machine)
                .first()
                .map_or("/usr/lib", String::as_str),
        );
        let fact =
            format!("needs {name}, which is at {own}, where the loader does not look for it");
        self.findings.insert(if facts.program {
            Finding::error(subject, format!("{fact}: {way}"))
        } else {
            // Whoever loads it may have loaded the other one before.
            Finding::warning(
                subject,
                format!("{fact} unless its user has loaded it: {way}"),
            )
        });
    }

    /// A version that the package's own library lacks would stop the program at its start.
    fn check_versions(
        &mut self,
        user: (&PackagePath, &ElfFacts),
        name: &str,
        library: (&PackagePath, &ElfFacts),
    ) {
        let provided = &library.1.versions_provided;
        if provided.is_empty() {
            return;
        }
        let needed = user
            .1
            .versions_needed
            .iter()
            .filter(|need| need.soname == name);
        for version in needed.flat_map(|need| &need.versions) {
            if !provided.contains(version) {
                let text = format!(
                    "needs symbol version {version}, which {} does not provide: build both anew",
                    library.0
                );
                self.findings
                    .insert(Finding::error(Subject::File(user.0.clone()), text));
            }
        }
    }
}
