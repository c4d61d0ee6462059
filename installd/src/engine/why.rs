//! Why a process, path or package is as it is.

use model::change::{WhyPackage, WhyPath, WhyProcess, WhyReport, WhyUse, WhyUser};
use model::manifest::{FileEntry, Node};
use model::{PackageName, PackagePath, ProcessName};

use super::Engine;
use super::request::Error;

impl Engine {
    /// Takes `what` for a path where it begins with `/`, else for a process, a package, or a
    /// library's file name, in this order.
    pub(super) fn why(&self, what: &str) -> Result<WhyReport, Error> {
        let mut report = WhyReport::default();
        if what.starts_with('/') {
            let path: PackagePath = what.parse().map_err(|error| invalid(&error))?;
            report.path = self.why_path(&path);
        } else {
            if let Ok(name) = what.parse::<ProcessName>() {
                report.process = self.why_process(&name);
            }
            if let (None, Ok(name)) = (&report.process, what.parse::<PackageName>()) {
                report.package = self.why_package(&name);
            }
            if report == WhyReport::default() {
                report.path = self.library(what).and_then(|path| self.why_path(&path));
            }
        }
        if report == WhyReport::default() {
            return Err(Error::Invalid(format!(
                "{what:?} is no process, package, path or library of the active set; `list` and \
                 `ps` show what there is"
            )));
        }
        Ok(report)
    }

    /// Everyone who has this path, in the order that holds.
    fn owners(&self, path: &PackagePath) -> Vec<(&resolve::Package, &FileEntry)> {
        let entry = |package: &'_ resolve::Package| {
            let files = &package.manifest.files;
            files.iter().position(|entry| entry.path == *path)
        };
        let all = self.active.order.iter().filter_map(|package| {
            let found = package.manifest.files.get(entry(package)?)?;
            Some((package, found))
        });
        all.collect()
    }

    fn why_path(&self, path: &PackagePath) -> Option<WhyPath> {
        let owners = self.owners(path);
        let ((winner, entry), shadowed) = owners.split_first()?;
        let file = match &entry.node {
            Node::File(file) => Some(file),
            Node::Link { .. } | Node::Directory => None,
        };
        Some(WhyPath {
            path: path.clone(),
            package: winner.id.name_version(),
            shadowed: shadowed
                .iter()
                .map(|(package, _)| package.id.name_version())
                .collect(),
            digest: file.map(|file| file.digest),
            signature: file.map(|file| file.signature),
            used_by: self
                .active
                .index
                .users(path)
                .into_iter()
                .map(|(process, because)| WhyUser { process, because })
                .collect(),
        })
    }

    fn why_process(&self, name: &ProcessName) -> Option<WhyProcess> {
        let (package, spec) = self.active.order.iter().find_map(|package| {
            let spec = package
                .manifest
                .processes
                .iter()
                .find(|spec| spec.name == *name)?;
            Some((package, spec))
        })?;
        Some(WhyProcess {
            name: name.clone(),
            package: package.id.name_version(),
            kind: spec.kind,
            uses: self.uses_of(name),
            unsure: self.active.index.unsure(name),
        })
    }

    fn uses_of(&self, name: &ProcessName) -> Vec<WhyUse> {
        let index = &self.active.index;
        let uses = index.uses(name).unwrap_or_default();
        let brings = |path: &PackagePath| {
            let found = index.lookup(path.as_str());
            found.map_or_else(String::new, |(package, _)| package.id.name_version())
        };
        uses.into_iter()
            .map(|one| WhyUse {
                package: brings(&one.path),
                path: one.path,
                because: one.because,
            })
            .collect()
    }

    /// The first path with this file name or soname.
    fn library(&self, name: &str) -> Option<PackagePath> {
        let is = |entry: &&FileEntry| {
            let soname = match &entry.node {
                Node::File(file) => file.elf.as_ref().and_then(|elf| elf.soname.as_deref()),
                Node::Link { .. } | Node::Directory => None,
            };
            entry.path.file_name() == name || soname == Some(name)
        };
        let mut files = self
            .active
            .order
            .iter()
            .flat_map(|package| &package.manifest.files);
        files.find(is).map(|entry| entry.path.clone())
    }

    fn why_package(&self, name: &PackageName) -> Option<WhyPackage> {
        let order = &self.active.order;
        let at = order.iter().position(|package| package.id.name == *name);
        let package = at
            .and_then(|at| order.get(at))
            .or_else(|| self.shelf.versions(name).last())?;
        let node = &self.active.index.active().node;
        let required_by = order
            .iter()
            .filter(|other| other.id.name != *name)
            .flat_map(|other| {
                let needs = other.requirements(node);
                needs
                    .filter(|one| package.manifest.answers(one))
                    .map(|one| format!("{}: {one}", other.id.name_version()))
            })
            .collect();
        let answered = |one: &model::Requirement| {
            let by = order.iter().find(|other| other.manifest.answers(one));
            let by = by.map_or_else(|| "nothing".to_owned(), |other| other.id.name_version());
            format!("{one} ← {by}")
        };
        Some(WhyPackage {
            package: package.id.name_version(),
            place: at.map(|at| at as u64 + 1),
            required_by,
            requires: package.requirements(node).map(answered).collect(),
            processes: package
                .manifest
                .processes
                .iter()
                .map(|spec| spec.name.clone())
                .collect(),
        })
    }
}

fn invalid(error: &dyn std::error::Error) -> Error {
    Error::Invalid(error.to_string())
}
