//! The sections of `package.toml`.

use std::collections::BTreeMap;

use model::Manifest;
use model::manifest::{DlopenUse, Provided, RequiresRemote, RequiresWhen, Setup, Subject};
use model::process::ProcessSpec;
use model::requirement::{Relation, Requirement};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::FileRule;
use super::salvage::{Reading, Value};

/// Kinds of things that leave a package's view; each a list of paths in the package.
const EXPORTS: [&str; 8] = [
    "commands",
    "dbus",
    "logrotate",
    "polkit",
    "sysctl",
    "sysusers",
    "tmpfiles",
    "udev",
];

/// `[package]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Package {
    name: Spanned<String>,
    version: Spanned<String>,
    #[serde(default)]
    summary: String,
    architecture: Option<String>,
    upgrades: Option<Spanned<String>>,
    #[serde(default)]
    requires: Vec<Spanned<String>>,
    #[serde(default)]
    provides: Vec<Spanned<String>>,
    #[serde(default)]
    notes: Vec<String>,
}

/// What was read, where it could be.
pub(super) struct Parts {
    pub(super) draft: Option<Manifest>,
    pub(super) files: Vec<FileRule>,
    pub(super) places: BTreeMap<Subject, usize>,
}

/// Everything that a package declares besides `[package]` and `[files]`.
#[derive(Default)]
struct Rest {
    requires_when: Vec<RequiresWhen>,
    requires_remote: Vec<RequiresRemote>,
    processes: Vec<ProcessSpec>,
    dlopen: Vec<DlopenUse>,
    setup: Setup,
    exports: BTreeMap<String, Vec<String>>,
}

pub(super) fn read<'a>(reading: &mut Reading<'a>, root: DeTable<'a>) -> Parts {
    let mut parts = Parts {
        draft: None,
        files: Vec::new(),
        places: BTreeMap::new(),
    };
    let mut rest = Rest::default();
    let mut seen = false;
    for (key, value) in root {
        let start = value.span().start;
        match key.get_ref().as_ref() {
            "package" => {
                seen = true;
                parts.places.insert(Subject::Package, start);
                parts.draft = package(reading, value);
            }
            "files" => parts.files = super::files::read(reading, value),
            name => rest.section(reading, name, (key.span().start, value), &mut parts.places),
        }
    }
    if !seen {
        reading.wrong(0, "[package] with name and version is missing");
    }
    if let Some(draft) = &mut parts.draft {
        draft.requires_when = rest.requires_when;
        draft.requires_remote = rest.requires_remote;
        draft.processes = rest.processes;
        draft.dlopen = rest.dlopen;
        draft.setup = rest.setup;
        draft.exports = rest.exports;
    }
    parts
}

impl Rest {
    fn section<'a>(
        &mut self,
        reading: &mut Reading<'a>,
        name: &str,
        (key, value): (usize, Value<'a>),
        places: &mut BTreeMap<Subject, usize>,
    ) {
        let place = value.span().start;
        match name {
            "requires-when" => {
                let elements = reading.elements(name, value).into_iter();
                self.requires_when = elements.filter_map(|one| reading.read(one)).collect();
            }
            "requires-remote" => {
                let elements = reading.elements(name, value).into_iter();
                self.requires_remote = elements.filter_map(|one| reading.read(one)).collect();
            }
            "process" => self.processes(reading, value, places),
            "dlopen" => self.dlopen(reading, value, places),
            "setup" => {
                places.insert(Subject::Setup, place);
                self.setup = reading.read(value).unwrap_or_default();
            }
            "exports" => self.exports(reading, value),
            unknown => reading.wrong(
                key,
                format!(
                    "unknown section [{unknown}]: there are package, files, process, dlopen, \
                     requires-when, requires-remote, setup and exports"
                ),
            ),
        }
    }

    fn processes<'a>(
        &mut self,
        reading: &mut Reading<'a>,
        value: Value<'a>,
        places: &mut BTreeMap<Subject, usize>,
    ) {
        for one in reading.elements("process", value) {
            let place = one.span().start;
            if let Some(process) = reading.read::<ProcessSpec>(one) {
                places.insert(Subject::Process(process.name.clone()), place);
                self.processes.push(process);
            }
        }
    }

    fn dlopen<'a>(
        &mut self,
        reading: &mut Reading<'a>,
        value: Value<'a>,
        places: &mut BTreeMap<Subject, usize>,
    ) {
        for one in reading.elements("dlopen", value) {
            let place = one.span().start;
            if let Some(annotation) = reading.read::<DlopenUse>(one) {
                places.insert(Subject::Dlopen(annotation.file.clone()), place);
                self.dlopen.push(annotation);
            }
        }
    }

    fn exports<'a>(&mut self, reading: &mut Reading<'a>, value: Value<'a>) {
        let start = value.span().start;
        let DeValue::Table(table) = value.into_inner() else {
            return reading.wrong(start, "write [exports] as a table");
        };
        for (key, value) in table {
            let name = key.get_ref().to_string();
            if !EXPORTS.contains(&name.as_str()) {
                let known = EXPORTS.join(", ");
                reading.wrong(
                    key.span().start,
                    format!("unknown export {name:?}: there are {known}"),
                );
                continue;
            }
            if let Some(paths) = reading.read::<Vec<String>>(value) {
                self.exports.insert(name, paths);
            }
        }
    }
}

fn package<'a>(reading: &mut Reading<'a>, value: Value<'a>) -> Option<Manifest> {
    let package: Package = reading.read(value)?;
    let name = reading.parse(&package.name);
    let version = reading.parse(&package.version);
    let upgrades = package.upgrades.as_ref().map(|text| reading.parse(text));
    let requires = reading.parse_all(&package.requires);
    let provides = package
        .provides
        .iter()
        .filter_map(|text| provided(reading, text))
        .collect();
    let mut manifest = Manifest::new(name?, version?);
    manifest.summary = package.summary;
    manifest.architecture = package.architecture;
    manifest.upgrades = upgrades.flatten();
    manifest.requires = requires;
    manifest.provides = provides;
    manifest.notes = package.notes;
    Some(manifest)
}

/// `NAME` or `NAME = VERSION`.
fn provided(reading: &mut Reading<'_>, text: &Spanned<String>) -> Option<Provided> {
    let parsed: Requirement = reading.parse(text)?;
    if let [one] = parsed.alternatives() {
        match &one.bounds[..] {
            [] => {
                return Some(Provided {
                    name: one.name.clone(),
                    version: None,
                });
            }
            [(Relation::Equal, version)] => {
                let version = Some(version.clone());
                return Some(Provided {
                    name: one.name.clone(),
                    version,
                });
            }
            _ => {}
        }
    }
    reading.wrong(
        text.span().start,
        format!("{:?} is not NAME or NAME = VERSION", text.get_ref()),
    );
    None
}
