//! What the files of a package are and use.
//!
//! ```text
//! staged files ─► spool (each read once: digest, ELF facts, signature, compressed) ─► entries
//! entries ─► the loader's own rules ─► uses, provides and requires of libraries ─► findings
//! ```
//!
//! Every way of making a package comes through here: `build` and `import-deb` differ only in
//! where their staged files and their draft manifest come from.

mod advice;
mod kind;
mod links;

use std::fmt;
use std::path::PathBuf;

pub(crate) use advice::pin_name;

use model::Manifest;
use model::elf::{Examined, examine};
use model::envelope::{Filled, Source, Spool, SpoolError};
use model::manifest::{self, FileEntry, FileType, Node, RegularFile, Subject};
use model::path::PackagePath;
use model::report::Chain;

/// A file, link or directory that shall be in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Where it shall be on the node.
    pub path: PackagePath,
    /// Access mode, set-id bits included; not looked at for links.
    pub mode: u32,
    /// Owner by name; root where absent.
    pub owner: Option<String>,
    /// Group by name; root where absent.
    pub group: Option<String>,
    /// What stands there.
    pub content: Content,
    /// What its author says of it.
    pub declared: Declared,
}

/// What a staged path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes of this file, which is read once.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A symbolic link with this text.
    Link(String),
    /// A directory.
    Directory,
}

/// What cannot be seen in a file's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// What it is for; found by content where absent.
    pub file_type: Option<FileType>,
    /// What it does.
    pub function: Option<String>,
    /// `security.capability` in hexadecimal.
    pub capabilities: Option<String>,
    /// APIs that it provides.
    pub provides_apis: Vec<String>,
    /// APIs that it consumes.
    pub consumes_apis: Vec<String>,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The package would not work: it is not made.
    Error,
    /// Shown, and kept in the package's notes.
    Warning,
}

/// Something found out about a package while it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// What was found and what to do about it.
    pub text: String,
}

impl Finding {
    fn error(subject: Subject, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            subject,
            text: text.into(),
        }
    }

    fn warning(subject: Subject, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            subject,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject != Subject::Package {
            write!(f, "{}: ", self.subject)?;
        }
        self.text.fmt(f)
    }
}

/// A package whose files are known.
#[derive(Debug, Clone)]
pub struct Analysed {
    /// The manifest, complete; warnings are among its notes.
    pub manifest: Manifest,
    /// Errors first. With an error in it the manifest is not to be packed.
    pub findings: Vec<Finding>,
}

impl Analysed {
    /// Whether nothing speaks against packing it.
    pub fn is_sound(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity != Severity::Error)
    }
}

/// Reads every staged file once, into `spool`, and completes `draft` with what they are and use.
///
/// `draft` has everything that was declared: name, version, requirements, processes, annotations,
/// set-up. `progress` is told bytes done and bytes in all.
pub fn analyse(
    draft: Manifest,
    mut staged: Vec<Staged>,
    spool: &mut Spool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Analysed, SpoolError> {
    staged.sort_by(|one, two| one.path.cmp(&two.path));
    let sources = take_sources(&mut staged);
    let look = |_: usize, bytes: &[u8], digest| Seen {
        interpreter: kind::interpreter(bytes),
        examined: examine(bytes, digest),
    };
    let filled = spool.fill(&sources, &look, progress)?;
    let mut analysis = Analysis {
        manifest: draft,
        findings: Vec::new(),
    };
    analysis.manifest.files.clear();
    let mut filled = filled.into_iter();
    for file in staged {
        analysis.entry(file, &mut filled);
    }
    Ok(analysis.finish())
}

/// What was seen in a file's bytes.
struct Seen {
    interpreter: Option<String>,
    examined: Examined,
}

/// The regular files' sources, in their order; what is staged keeps only that it was one.
fn take_sources(staged: &mut [Staged]) -> Vec<Source> {
    let mut sources = Vec::with_capacity(staged.len());
    for file in staged {
        match &mut file.content {
            Content::File(path) => sources.push(Source::Path(std::mem::take(path))),
            Content::Bytes(bytes) => sources.push(Source::Bytes(std::mem::take(bytes))),
            Content::Link(_) | Content::Directory => {}
        }
    }
    sources
}

struct Analysis {
    manifest: Manifest,
    findings: Vec<Finding>,
}

impl Analysis {
    fn entry(&mut self, file: Staged, filled: &mut impl Iterator<Item = Filled<Seen>>) {
        let Staged {
            path,
            mode,
            owner,
            group,
            content,
            declared,
        } = file;
        let root = |name: Option<String>| name.filter(|name| name != "root");
        let (node, mode) = match content {
            Content::Link(target) => (Node::Link { target }, 0),
            Content::Directory => (Node::Directory, mode),
            Content::File(_) | Content::Bytes(_) => {
                let Some(filled) = filled.next() else { return };
                (
                    Node::File(Box::new(self.regular(&path, mode, declared, filled))),
                    mode,
                )
            }
        };
        let entry = FileEntry {
            path,
            mode,
            owner: root(owner),
            group: root(group),
            node,
        };
        self.manifest.files.push(entry);
    }

    fn regular(
        &mut self,
        path: &PackagePath,
        mode: u32,
        declared: Declared,
        filled: Filled<Seen>,
    ) -> RegularFile {
        let Seen {
            interpreter,
            examined,
        } = filled.seen;
        let facts = examined.facts.unwrap_or_else(|error| {
            let text = format!("{}; build it again", Chain(&error));
            self.findings
                .push(Finding::error(Subject::File(path.clone()), text));
            None
        });
        let interpreter = interpreter.filter(|_| mode & 0o111 != 0);
        let found = kind::file_type(path, facts.as_ref(), interpreter.is_some());
        RegularFile {
            digest: filled.digest,
            size: filled.size,
            signature: examined.signature,
            file_type: declared.file_type.unwrap_or(found),
            function: declared.function,
            architecture: facts.as_ref().map(|facts| facts.machine.clone()),
            capabilities: declared.capabilities,
            provides_apis: declared.provides_apis,
            consumes_apis: declared.consumes_apis,
            elf: facts.map(Box::new),
            uses: None,
            interpreter,
        }
    }

    fn finish(mut self) -> Analysed {
        self.findings.extend(kind::architecture(&mut self.manifest));
        self.findings.extend(links::resolve(&mut self.manifest));
        let warnings = advice::advise(&self.manifest);
        self.manifest
            .notes
            .extend(warnings.iter().map(ToString::to_string));
        self.findings.extend(warnings);
        let problems = manifest::check(&self.manifest);
        let problems = problems
            .into_iter()
            .map(|one| Finding::error(one.subject, one.reason));
        self.findings.extend(problems);
        self.findings.sort();
        self.findings.dedup();
        Analysed {
            manifest: self.manifest,
            findings: self.findings,
        }
    }
}

#[cfg(test)]
mod tests;
