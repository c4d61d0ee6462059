//! The files that `package.toml` names, found and checked.

mod sources;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::manifest::Subject;
use model::path::PackagePath;

use super::analyse::{Content, Staged};
use super::spec::{FileRule, Mistake, Mistakes, Spec};

const SET_ID: u32 = 0o6000;

/// Finds every file that `spec` names, and remembers in it where each is declared.
///
/// # Errors
/// Everything that is wrong, in the order of the package.toml's lines.
pub fn collect(spec: &mut Spec) -> Result<Vec<Staged>, Mistakes> {
    let directory = spec.directory().to_owned();
    let mut collecting = Collecting {
        spec,
        found: BTreeMap::new(),
        mistakes: Vec::new(),
    };
    // A name says more than a pattern, so it comes first and a pattern passes over it.
    let rules = collecting.spec.files.clone();
    let (patterns, names): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.is_pattern());
    for rule in names.into_iter().chain(patterns) {
        collecting.rule(&directory, rule);
    }
    let Collecting {
        found, mistakes, ..
    } = collecting;
    if !mistakes.is_empty() {
        return Err(Mistakes::new(&spec.path, mistakes));
    }
    for (path, found) in &found {
        spec.places.insert(Subject::File(path.clone()), found.place);
    }
    Ok(found.into_values().map(|found| found.staged).collect())
}

struct Found {
    staged: Staged,
    source: PathBuf,
    place: usize,
}

struct Collecting<'a> {
    spec: &'a Spec,
    found: BTreeMap<PackagePath, Found>,
    mistakes: Vec<Mistake>,
}

impl Collecting<'_> {
    fn wrong(&mut self, rule: &FileRule, text: impl Into<String>) {
        let line = self.spec.lines.of(rule.place);
        self.mistakes.push(Mistake {
            line,
            text: text.into(),
        });
    }

    fn rule(&mut self, directory: &Path, rule: &FileRule) {
        let sources = match sources::matching(directory, &rule.source) {
            Ok(sources) if sources.is_empty() => {
                let text = format!(
                    "nothing matches {:?} in {}",
                    rule.source,
                    directory.display()
                );
                return self.wrong(rule, text);
            }
            Ok(sources) => sources,
            Err(error) => return self.wrong(rule, error.to_string()),
        };
        let several = sources.len() > 1;
        for source in sources {
            match sources::destination(rule, &source, several) {
                Ok(path) => self.tree(rule, &source, path),
                Err(text) => self.wrong(rule, text),
            }
        }
    }

    /// One source; a directory with all below it.
    fn tree(&mut self, rule: &FileRule, source: &Path, path: PackagePath) {
        let mut pending = vec![(source.to_owned(), path)];
        while let Some((source, path)) = pending.pop() {
            match self.content(rule, &source) {
                Ok(Some((Content::Directory, mode))) => {
                    match sources::children(&source, &path) {
                        Ok(children) if !children.is_empty() => pending.extend(children),
                        // Only a directory that nothing else implies is worth an entry.
                        Ok(_) => self.stage(rule, source, path, (Content::Directory, mode)),
                        Err(text) => self.wrong(rule, text),
                    }
                }
                Ok(Some(found)) => self.stage(rule, source, path, found),
                Ok(None) => {}
                Err(error) => self.wrong(rule, error.to_string()),
            }
        }
    }

    /// What stands at a source, with the mode that it gets.
    fn content(
        &mut self,
        rule: &FileRule,
        source: &Path,
    ) -> std::io::Result<Option<(Content, u32)>> {
        let metadata = fs_err::symlink_metadata(source)?;
        let kind = metadata.file_type();
        let own = metadata.permissions().mode();
        if kind.is_symlink() {
            let target = fs_err::read_link(source)?;
            let Some(target) = target.to_str() else {
                self.wrong(rule, format!("the link {} is no text", source.display()));
                return Ok(None);
            };
            return Ok(Some((Content::Link(target.to_owned()), 0)));
        }
        if kind.is_dir() {
            return Ok(Some((Content::Directory, 0o755)));
        }
        if !kind.is_file() {
            self.wrong(rule, format!("{} is {}", source.display(), special(kind)));
            return Ok(None);
        }
        if own & SET_ID != 0 && rule.mode.is_none() {
            let text = format!(
                "{} has mode {:04o}, which sets an id: spell it out with mode = \"{:04o}\", or take \
                 it away with chmod",
                source.display(),
                own & 0o7777,
                own & 0o7777
            );
            self.wrong(rule, text);
            return Ok(None);
        }
        // Of a source's mode only this is intent; the rest is its builder's umask.
        let usual = if own & 0o100 == 0 { 0o644 } else { 0o755 };
        Ok(Some((
            Content::File(source.to_owned()),
            rule.mode.unwrap_or(usual),
        )))
    }

    fn stage(
        &mut self,
        rule: &FileRule,
        source: PathBuf,
        path: PackagePath,
        (content, mode): (Content, u32),
    ) {
        let staged = Staged {
            path: path.clone(),
            mode,
            owner: rule.owner.clone(),
            group: rule.group.clone(),
            content,
            declared: rule.declared.clone(),
        };
        let (first, first_place) = match self.found.entry(path) {
            Entry::Vacant(vacant) => {
                vacant.insert(Found {
                    staged,
                    source,
                    place: rule.place,
                });
                return;
            }
            Entry::Occupied(first) => {
                let first = first.get();
                // Names came first: where one has said all of a file, a pattern adds nothing.
                if first.source == source && (rule.is_pattern() || first.staged == staged) {
                    return;
                }
                (first.source.clone(), first.place)
            }
        };
        let text = format!(
            "{} is there twice: from {} and, by line {}, from {}",
            staged.path,
            source.display(),
            self.spec.lines.of(first_place),
            first.display()
        );
        self.wrong(rule, text);
    }
}

fn special(kind: std::fs::FileType) -> &'static str {
    if kind.is_fifo() {
        "a pipe: a package has files, links and directories"
    } else if kind.is_socket() {
        "a socket: a package has files, links and directories"
    } else {
        "a device node: a package has files, links and directories"
    }
}

#[cfg(test)]
mod tests;
