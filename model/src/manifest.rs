//! What a package says of itself: `manifest.json` in its envelope and in the store.
//!
//! The manifest is canonical JSON: fields in the order declared here, files sorted by path. The
//! package's identity is the digest of these bytes, so everything a package is hangs on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Signature};
use crate::elf::ElfFacts;
use crate::ids::{PackageId, PackageName};
use crate::path::PackagePath;
use crate::process::ProcessSpec;
use crate::requirement::{Alternative, Requirement};
use crate::version::Version;

mod check;

pub use check::{Problem, Subject, check};

/// The manifest format that this program writes and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A package, complete but for its objects' bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The package's name.
    pub name: PackageName,
    /// The package's version.
    pub version: Version,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// ELF machine name (`x86_64`, `aarch64`, …) of its programs; `None`: for every architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// An upgrade package: overrides a subset of the files of the package that this range admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrades: Option<Requirement>,
    /// What must be in the same software set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// What must be in the same software set on nodes of certain kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires_when: Vec<RequiresWhen>,
    /// What must be on other nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires_remote: Vec<RequiresRemote>,
    /// Other names that it answers to; a bound is the version that it provides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Provided>,
    /// Sonames with the symbol versions that the set's other packages must provide, found at build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires_libraries: Vec<LibraryNeed>,
    /// Sonames with the symbol versions that its libraries provide, found at build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides_libraries: Vec<LibraryNeed>,
    /// Every file, link and directory, sorted by path.
    pub files: Vec<FileEntry>,
    /// Processes to be run and supervised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessSpec>,
    /// Libraries reached by other means than linking.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dlopen: Vec<DlopenUse>,
    /// What a maintainer script would have made.
    #[serde(default, skip_serializing_if = "Setup::is_empty")]
    pub setup: Setup,
    /// Paths of the package that reach the machine outside of the view, by kind: `commands`,
    /// `dbus`, `polkit`, `udev`, `sysusers`, `tmpfiles`, `sysctl`, `logrotate`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exports: BTreeMap<String, Vec<String>>,
    /// Where it came from and what an import did not carry over; for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Manifest {
    /// An empty package.
    pub fn new(name: PackageName, version: Version) -> Self {
        Self {
            format: FORMAT,
            name,
            version,
            summary: String::new(),
            architecture: None,
            upgrades: None,
            requires: Vec::new(),
            requires_when: Vec::new(),
            requires_remote: Vec::new(),
            provides: Vec::new(),
            requires_libraries: Vec::new(),
            provides_libraries: Vec::new(),
            files: Vec::new(),
            processes: Vec::new(),
            dlopen: Vec::new(),
            setup: Setup::default(),
            exports: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// The bytes that are stored, hashed and signed.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The identity of the package whose manifest has exactly these bytes.
    pub fn id(&self, bytes: &[u8]) -> PackageId {
        PackageId::new(self.name.clone(), self.version.clone(), &Digest::of(bytes))
    }

    /// Whether it answers `wanted` by its name or by one that it provides.
    pub fn answers(&self, wanted: &Requirement) -> bool {
        wanted
            .alternatives()
            .iter()
            .any(|one| self.answers_one(one))
    }

    /// Whether it answers this one alternative.
    pub fn answers_one(&self, one: &Alternative) -> bool {
        if one.name == self.name {
            return one.admits(&self.version);
        }
        self.provides.iter().any(|provided| {
            provided.name == one.name
                && match &provided.version {
                    Some(version) => one.admits(version),
                    // As in Debian: an unversioned provision answers only an unversioned wish.
                    None => one.bounds.is_empty(),
                }
        })
    }
}

/// A name that a package answers to besides its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Provided {
    /// The name.
    pub name: PackageName,
    /// The version of that name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}

/// A shared library by its soname and the symbol versions needed or provided.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LibraryNeed {
    /// For example `libssl.so.3`.
    pub soname: String,
    /// For example `OPENSSL_3.0.0`; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
}

/// Dependencies that hold only on nodes which match every field given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RequiresWhen {
    /// The node's ELF machine name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// The node's type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<String>,
    /// A class that the node is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// A feature that the node has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// The node's location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// What must then be in the set.
    pub packages: Vec<Requirement>,
}

/// Dependencies on other nodes of the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RequiresRemote {
    /// The class of nodes that is asked for.
    pub class: String,
    /// `all`, `any` or a number.
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub quantity: String,
    /// `fleet` or `location`.
    #[serde(default = "fleet", skip_serializing_if = "is_fleet")]
    pub scope: String,
    /// What those nodes must have.
    pub packages: Vec<Requirement>,
}

fn any() -> String {
    "any".to_owned()
}

fn is_any(text: &str) -> bool {
    text == "any"
}

fn fleet() -> String {
    "fleet".to_owned()
}

fn is_fleet(text: &str) -> bool {
    text == "fleet"
}

/// What a file is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum FileType {
    /// A shared library (ELF, `ET_DYN` without a program's entry).
    SharedLibrary,
    /// A program: ELF executable or script.
    Executable,
    /// Data that a parser reads.
    Parser,
    /// Configuration, written to the machine's `/etc`.
    Config,
    /// Everything else.
    #[default]
    Data,
}

/// One path of a package.
// Unknown fields are refused by `Node`, which takes all that are not named here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileEntry {
    /// Where it is on the node.
    pub path: PackagePath,
    /// Access mode, set-id bits included; of a link 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mode: u32,
    /// Owner by name; root where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group by name; root where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What stands there.
    #[serde(flatten)]
    pub node: Node,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum Node {
    /// A regular file.
    File(Box<RegularFile>),
    /// A symbolic link with this text.
    Link {
        /// The link's text, as it is.
        target: String,
    },
    /// A directory that is there even when empty.
    Directory,
}

/// A regular file's contents and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegularFile {
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// BLAKE3 of the substance.
    pub signature: Signature,
    /// What it is for.
    #[serde(rename = "type")]
    pub file_type: FileType,
    /// What it does, in its author's words (`cli`, `routing protocol`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// ELF machine name; `None`: neutral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// File capabilities, as the bytes of `security.capability`, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
    /// APIs that it provides, by declaration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides_apis: Vec<String>,
    /// APIs that it consumes, by declaration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consumes_apis: Vec<String>,
    /// For ELF files that the loader takes: what they say of themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elf: Option<Box<ElfFacts>>,
    /// For ELF files: the libraries that they use, as far as the package itself can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<LibraryUse>,
    /// For a script: the interpreter on its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
}

/// The shared libraries that an executable or library uses, found at build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LibraryUse {
    /// Libraries of this package that it names itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub direct: Vec<PackagePath>,
    /// Libraries of this package that those name in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitive: Vec<PackagePath>,
    /// Sonames, over all of these, that are left to other packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// Libraries that a file opens at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DlopenUse {
    /// The file that opens them; its users inherit the use.
    pub file: PackagePath,
    /// Sonames, absolute paths, or patterns of absolute paths. Empty: it opens nothing that a
    /// package could bring (a reviewed statement).
    pub libraries: Vec<String>,
}

/// What a maintainer script would have made on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Setup {
    /// Groups to exist, before the users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Users to exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<SystemUser>,
    /// Directories to exist outside `/usr`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<SetupDirectory>,
    /// Symbolic links to exist below `/etc`, `/var`, `/run` or `/srv`, link to target; what
    /// already stands there stays.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}

impl Setup {
    /// Whether there is nothing to make.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A system user, as sysusers.d has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SystemUser {
    /// Login name; its own group has the same name where `group` is absent.
    pub name: String,
    /// Primary group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Home directory; `/nonexistent` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Further groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// A directory, as tmpfiles.d has it, below `/var`, `/run`, `/srv` or `/etc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetupDirectory {
    /// Absolute path.
    pub path: String,
    /// Access mode, octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Owner by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}
