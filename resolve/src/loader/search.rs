//! Finding one library.

use model::elf::ElfFacts;
use model::manifest::Node;
use rustc_hash::FxHashMap;

use super::{Rules, View, follow};

/// What a file inherits from the process that loads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Context {
    /// `DT_RPATH` directories of those that loaded it, nearest first, expanded.
    pub rpath: Vec<String>,
    /// `LD_LIBRARY_PATH` of the process, expanded.
    pub library_path: Vec<String>,
}

impl Context {
    /// What the libraries that `facts` at `path` loads inherit.
    #[must_use]
    pub fn below(&self, path: &str, facts: &ElfFacts) -> Self {
        if facts.rpath.is_empty() {
            return self.clone();
        }
        let mut rpath = expand(&facts.rpath, path, &facts.machine);
        let inherited = self.rpath.iter().filter(|one| !rpath.contains(one));
        let inherited: Vec<String> = inherited.cloned().collect();
        rpath.extend(inherited);
        Self {
            rpath,
            library_path: self.library_path.clone(),
        }
    }
}

/// A library that a search found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Found {
    /// The path that the loader opens; often a link, `…/libssl.so.3`.
    pub opened: String,
    /// The regular file that it leads to.
    pub file: String,
}

/// Finds libraries in one tree; remembers what it found.
#[derive(Debug)]
pub struct Finder<'a, V> {
    view: &'a V,
    rules: &'a Rules,
    /// By machine and name: what cache and default directories answer, alike for all.
    common: FxHashMap<String, FxHashMap<String, Option<Found>>>,
    /// Search directories with their links followed.
    directories: FxHashMap<String, Option<String>>,
}

impl<'a, V: View> Finder<'a, V> {
    /// Over this tree.
    pub fn new(view: &'a V, rules: &'a Rules) -> Self {
        Self {
            view,
            rules,
            common: FxHashMap::default(),
            directories: FxHashMap::default(),
        }
    }

    /// What the loader loads for `name`, needed by the file `facts` at `path`.
    pub fn find(
        &mut self,
        name: &str,
        path: &str,
        facts: &ElfFacts,
        context: &Context,
    ) -> Option<Found> {
        let machine = &facts.machine;
        if name.contains('/') {
            let expanded = expand_one(name, path, machine);
            return self.candidate(&expanded, machine);
        }
        let own_rpath = expand(&facts.rpath, path, machine);
        let inherited = if facts.runpath.is_empty() {
            &context.rpath[..]
        } else {
            &[]
        };
        let first = own_rpath
            .iter()
            .chain(inherited)
            .chain(&context.library_path);
        let runpath = expand(&facts.runpath, path, machine);
        for directory in first.chain(&runpath) {
            if let Some(found) = self.in_directory(directory, name, machine) {
                return Some(found);
            }
        }
        self.common(name, machine)
    }

    /// What stands at an absolute path, as an explicit `dlopen` of it gets it.
    pub fn at_path(&self, path: &str, machine: &str) -> Option<Found> {
        self.candidate(path, machine)
    }

    fn common(&mut self, name: &str, machine: &str) -> Option<Found> {
        if let Some(known) = self.common.get(machine).and_then(|names| names.get(name)) {
            return known.clone();
        }
        let cached = self.rules.cache.lookup(name, machine, &self.rules.hwcaps);
        let mut found = cached.and_then(|path| self.candidate(path, machine));
        if found.is_none() {
            let directories = default_directories(machine);
            found = directories
                .iter()
                .find_map(|one| self.in_directory(one, name, machine));
        }
        let names = self.common.entry(machine.to_owned()).or_default();
        names.insert(name.to_owned(), found.clone());
        found
    }

    fn in_directory(&mut self, directory: &str, name: &str, machine: &str) -> Option<Found> {
        let (view, rules) = (self.view, self.rules);
        let real = self
            .directories
            .entry(directory.to_owned())
            .or_insert_with(|| follow(view, directory));
        let real = real.clone()?;
        let levels = rules
            .hwcaps
            .iter()
            .map(|level| format!("{real}/glibc-hwcaps/{level}/{name}"));
        let mut paths = levels.chain([format!("{real}/{name}")]);
        paths.find_map(|path| self.candidate(&path, machine))
    }

    /// The file at `path`, where it is one that this machine's loader takes.
    fn candidate(&self, path: &str, machine: &str) -> Option<Found> {
        let opened = model::path::merged_usr(path);
        let file = follow(self.view, &opened)?;
        let Node::File(regular) = &self.view.entry(&file)?.node else {
            return None;
        };
        let same = |facts: &ElfFacts| facts.machine == *machine || facts.machine.is_empty();
        regular
            .elf
            .as_deref()
            .is_some_and(same)
            .then_some(Found { opened, file })
    }
}

/// The multiarch part of a machine's library directories.
pub fn multiarch(machine: &str) -> String {
    match machine {
        "i386" => "i386-linux-gnu".to_owned(),
        "arm" => "arm-linux-gnueabihf".to_owned(),
        "powerpc64" => "powerpc64le-linux-gnu".to_owned(),
        "riscv" => "riscv64-linux-gnu".to_owned(),
        "s390" => "s390x-linux-gnu".to_owned(),
        other => format!("{other}-linux-gnu"),
    }
}

/// The directories that are searched for every file of a machine, in order.
pub fn default_directories(machine: &str) -> Vec<String> {
    let own = match machine {
        "i386" | "arm" => "/usr/lib32",
        _ => "/usr/lib64",
    };
    vec![
        format!("/usr/lib/{}", multiarch(machine)),
        own.to_owned(),
        "/usr/lib".to_owned(),
    ]
}

fn expand(directories: &[String], path: &str, machine: &str) -> Vec<String> {
    let given = directories.iter().filter(|one| !one.is_empty());
    given.map(|one| expand_one(one, path, machine)).collect()
}

/// A search directory with `$ORIGIN`, `$LIB` and `$PLATFORM` replaced, without `.` and `..`.
fn expand_one(text: &str, path: &str, machine: &str) -> String {
    let origin = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let lib = format!("lib/{}", multiarch(machine));
    let mut out = text.to_owned();
    for (token, value) in [
        ("ORIGIN", origin),
        ("LIB", lib.as_str()),
        ("PLATFORM", machine),
    ] {
        for form in [format!("${{{token}}}"), format!("${token}")] {
            if out.contains(&form) {
                out = out.replace(&form, value);
            }
        }
    }
    normal(&out)
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    model::path::merged_usr(&format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests;
