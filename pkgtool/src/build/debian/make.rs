//! From a Debian package to a file of ours, unless that file is there and still right.

use std::path::{Path, PathBuf};

use fs_err::File;
use model::digest::Digest;
use model::envelope::{self, Reader, Spool, SpoolError};
use model::manifest::{FileType, Node};
use model::{Manifest, PackageName};

use super::files::PlacedFile;
use super::import::{self, Imported, Options};
use super::overrides::AllOverrides;
use super::{DebError, IMPORTER, Limits, RawNode, RawPackage, archive, control, installed};
use crate::build::analyse::{Content, Declared, Finding, Severity, Staged, analyse};
use crate::build::pack::{self, PackError};

/// Where a Debian package is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In this file.
    File(PathBuf),
    /// Installed on this machine, under this name.
    Installed(String),
}

impl Origin {
    /// What its control file recommends and suggests, in that order.
    pub fn recommends(&self) -> Result<Vec<PackageName>, DebError> {
        Ok(control::parse(&control_of(self)?)?.recommends)
    }
}

/// A package made, or found to be there already.
#[derive(Debug)]
pub struct Made {
    /// Its manifest.
    pub manifest: Manifest,
    /// The file was there already, made of the same bytes by the same rules.
    pub unchanged: bool,
}

/// Why a package was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The Debian package is not taken.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// A file could not be read or kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The package could not be written.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Something in it would not work.
    #[error("{package} is not made: {}", list(.findings))]
    Unsound {
        /// The package.
        package: String,
        /// What is wrong with it.
        findings: Vec<Finding>,
    },
}

fn list(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Makes packages by the same rules.
#[derive(Debug, Default)]
pub struct Maker {
    /// What maintainer scripts do.
    pub overrides: AllOverrides,
    /// What is left out.
    pub options: Options,
}

impl Maker {
    /// Makes the package at `origin` as a file of its own in `directory`, whose path is in the
    /// answer. `progress` is told bytes done and bytes in all.
    pub fn file(
        &self,
        origin: &Origin,
        directory: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(PathBuf, Made), MakeError> {
        let text = control_of(origin)?;
        let control = control::parse(&text)?;
        let provenance = self.provenance(origin, &control)?;
        let out = directory.join(file_name(control.name.as_str(), control.version.as_str()));
        if let Some(manifest) = provenance.as_ref().and_then(|mark| existing(&out, mark)) {
            return Ok((
                out,
                Made {
                    manifest,
                    unchanged: true,
                },
            ));
        }
        let mut spool = pack::spool(&out)?;
        let manifest = self.analysed(origin, provenance, &mut spool, progress)?;
        pack::pack(vec![manifest.clone()], &spool, &out)?;
        Ok((
            out,
            Made {
                manifest,
                unchanged: false,
            },
        ))
    }

    /// Makes the package at `origin` ready for a set; its objects go into `spool`.
    pub fn part(
        &self,
        origin: &Origin,
        spool: &mut Spool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Manifest, MakeError> {
        let control = control::parse(&control_of(origin)?)?;
        let provenance = self.provenance(origin, &control)?;
        self.analysed(origin, provenance, spool, progress)
    }

    fn analysed(
        &self,
        origin: &Origin,
        provenance: Option<String>,
        spool: &mut Spool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Manifest, MakeError> {
        let place = tempfile::Builder::new().prefix("import-deb-").tempdir()?;
        let raw = read(origin, place.path())?;
        let name = control::parse(&raw.control)?.name;
        let overrides = self.overrides.get(name.as_str())?;
        let imported = import::import(raw, &overrides, self.options, place.path())?;
        let (mut draft, staged) = stage(imported);
        draft.notes.splice(0..0, provenance);
        let package = format!("{}={}", draft.name, draft.version);
        let mut analysed = analyse(draft, staged, spool, progress)?;
        if analysed.is_sound() {
            let scripts = unknown_scripts(&analysed.manifest);
            analysed.manifest.notes.extend(scripts);
            return Ok(analysed.manifest);
        }
        let mut findings = analysed.findings;
        findings.retain(|finding| finding.severity == Severity::Error);
        Err(MakeError::Unsound { package, findings })
    }

    /// What the package is made of and by which rules; the manifest's first note. `None` for an
    /// installed package, whose files may change at any time.
    fn provenance(
        &self,
        origin: &Origin,
        control: &control::Control,
    ) -> Result<Option<String>, MakeError> {
        let Origin::File(file) = origin else {
            return Ok(None);
        };
        let (digest, _) = Digest::of_reader(File::open(file)?)?;
        let rules = Digest::of(self.overrides.text(control.name.as_str()).as_bytes());
        let rules = rules.to_string();
        Ok(Some(format!(
            "imported from the Debian package {} {} ({}), BLAKE3 {digest}, by importer {IMPORTER}, \
             overrides {}, documentation {}, base {}",
            control.name,
            control.version,
            control.architecture,
            rules.get(..16).unwrap_or_default(),
            self.options.documentation.word(),
            if self.options.base.is_empty() {
                "none"
            } else {
                "minimal"
            },
        )))
    }
}

fn control_of(origin: &Origin) -> Result<String, DebError> {
    match origin {
        Origin::File(file) => archive::control(file, Limits::default()),
        Origin::Installed(name) => installed::control(Path::new("/"), name),
    }
}

fn read(origin: &Origin, spool: &Path) -> Result<RawPackage, DebError> {
    match origin {
        Origin::File(file) => archive::read(file, spool, Limits::default()),
        Origin::Installed(name) => installed::read(Path::new("/"), name),
    }
}

/// `NAME_VERSION.pkg`; a colon would make the file another host's to tar.
pub fn file_name(name: &str, version: &str) -> String {
    format!("{name}_{}.pkg", version.replace(':', "%3a"))
}

/// The manifest of the package in `out`, if that was made just so.
fn existing(out: &Path, provenance: &str) -> Option<Manifest> {
    let reader = Reader::open(File::open(out).ok()?, envelope::Limits::default()).ok()?;
    let [package] = reader.packages() else {
        return None;
    };
    let same = package
        .manifest
        .notes
        .first()
        .is_some_and(|note| note == provenance);
    same.then(|| package.manifest.clone())
}

fn stage(imported: Imported) -> (Manifest, Vec<Staged>) {
    let staged = imported.files.into_iter().map(|(path, file)| {
        let PlacedFile {
            mode,
            owner,
            group,
            node,
        } = file;
        let mut declared = Declared::default();
        let content = match node {
            RawNode::File {
                content,
                capabilities,
                ..
            } => {
                declared.capabilities = capabilities.map(|bytes| hexadecimal(&bytes));
                declared.file_type = path.is_config().then_some(FileType::Config);
                Content::File(content)
            }
            RawNode::Link(target) => Content::Link(target),
            RawNode::Directory => Content::Directory,
        };
        Staged {
            path,
            mode,
            owner: Some(owner),
            group: Some(group),
            content,
            declared,
        }
    });
    let staged = staged.collect();
    (imported.manifest, staged)
}

/// Processes that are started by a script: what that runs in turn cannot be seen in it.
fn unknown_scripts(manifest: &Manifest) -> Vec<String> {
    let script = |path: &str| {
        let entry = manifest
            .files
            .iter()
            .find(|entry| entry.path.as_str() == path);
        matches!(entry.map(|entry| &entry.node), Some(Node::File(file)) if file.interpreter.is_some())
    };
    let declared = |path: &str| manifest.dlopen.iter().any(|one| one.file.as_str() == path);
    let started = manifest.processes.iter().filter_map(|process| {
        let path = process.exec.first()?.trim_start_matches('-');
        let unknown = script(path) && !declared(path);
        unknown.then(|| {
            format!(
                "process {}: {path} is a script; what it runs in turn is not known until \
                 [[dlopen]] in its overrides names it",
                process.name
            )
        })
    });
    started.collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
