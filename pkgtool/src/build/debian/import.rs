//! A Debian package as one of ours: everything but the analysis of its files.

use std::collections::BTreeMap;

use model::manifest::{Setup, SystemUser};
use model::path::PackagePath;
use model::process::ProcessSpec;
use model::{Manifest, Requirement};

use super::files::{self, Documentation, PlacedFile};
use super::overrides::{FileOverride, Overrides};
use super::{DebError, RawNode, RawPackage, Result, control, services, setup, values};

/// A package, ready to be analysed and packed.
#[derive(Debug)]
pub struct Imported {
    /// Complete but for its files and what their analysis finds.
    pub manifest: Manifest,
    /// Every path with its bytes' place.
    pub files: BTreeMap<PackagePath, PlacedFile>,
}

/// How to import.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether documentation is kept.
    pub documentation: Documentation,
    /// What every package with a process requires besides what it says: Debian's packages may use
    /// the essential ones without a word, and a view holds nothing that no package of the set brings.
    pub base: &'static [&'static str],
}

/// Turns `raw` into one of our packages. New files' bytes go into `spool`.
pub fn import(
    raw: RawPackage,
    overrides: &Overrides,
    options: Options,
    spool: &std::path::Path,
) -> Result<Imported> {
    let control = control::parse(&raw.control)?;
    let package = control.name.to_string();
    let mut placed = files::place(raw.entries, options.documentation)?;
    let mut notes = control.notes;
    notes.extend(raw.notes);
    if !raw.scripts.is_empty() {
        notes.push(format!(
            "maintainer scripts are not run: {}",
            raw.scripts.join(", ")
        ));
    }
    notes.append(&mut placed.notes);
    drop_files(&mut placed.files, overrides, &mut notes);
    for (at, change) in overrides.file.iter().enumerate() {
        change_file(
            &package,
            &mut placed.files,
            change,
            &spool.join(format!("new-{at}")),
        )?;
    }
    let services = services::read(&package, &placed.files, &raw.postinst, overrides)?;
    notes.extend(services.notes);
    let mut made = placed.setup;
    notes.extend(shipped_setup(&placed.files, &mut made)?);
    merge(&mut made, &overrides.setup);
    for process in &services.processes {
        own_user(process, &mut made);
    }
    let mut manifest = Manifest::new(control.name, control.version);
    manifest.summary = control.summary;
    manifest.architecture = control::machine(&control.architecture);
    manifest.requires = control.requires;
    manifest.provides = control.provides;
    manifest.processes = services.processes;
    if !manifest.processes.is_empty() {
        require(&mut manifest, options.base)?;
    }
    manifest.dlopen.clone_from(&overrides.dlopen);
    manifest.setup = made;
    manifest.notes = notes;
    Ok(Imported {
        manifest,
        files: placed.files,
    })
}

/// Adds those of `base` that the package does not require yet.
fn require(manifest: &mut Manifest, base: &[&str]) -> Result<()> {
    for name in base {
        let wanted: Requirement = name.parse()?;
        let known = manifest.requires.iter().any(|one| {
            let names = one
                .alternatives()
                .iter()
                .map(|alternative| &alternative.name);
            names.eq(wanted
                .alternatives()
                .iter()
                .map(|alternative| &alternative.name))
        });
        if !known && manifest.name.as_str() != *name {
            manifest.requires.push(wanted);
        }
    }
    Ok(())
}

fn drop_files(
    files: &mut BTreeMap<PackagePath, PlacedFile>,
    overrides: &Overrides,
    notes: &mut Vec<String>,
) {
    files.retain(|path, _| {
        let dropped = overrides.drops(path.as_str());
        if dropped {
            notes.push(format!("{path}: dropped by overrides"));
        }
        !dropped
    });
}

fn change_file(
    package: &str,
    files: &mut BTreeMap<PackagePath, PlacedFile>,
    change: &FileOverride,
    spool: &std::path::Path,
) -> Result<()> {
    let wrong = |reason: &str| DebError::Overrides {
        file: format!("{package}.toml"),
        reason: format!("{}: {reason}", change.path),
    };
    let mut file = match (&change.copy_of, &change.content, &change.link) {
        (Some(from), None, None) => files
            .get(from)
            .cloned()
            .ok_or_else(|| wrong("the package lacks what it copies"))?,
        (None, Some(text), None) => {
            fs_err::write(spool, text).map_err(DebError::Spool)?;
            let content = spool.to_owned();
            let node = RawNode::File {
                content,
                size: text.len() as u64,
                capabilities: None,
            };
            new_file(0o644, node)
        }
        (None, None, Some(text)) => new_file(0, RawNode::Link(text.clone())),
        (None, None, None) => files
            .get(&change.path)
            .cloned()
            .ok_or_else(|| wrong("the package has no such file"))?,
        _ => return Err(wrong("one of copy-of, content and link")),
    };
    if let Some(mode) = &change.mode {
        let mode = values::mode(mode).and_then(|mode| u32::from_str_radix(&mode, 8).ok());
        file.mode = mode.ok_or_else(|| wrong("its mode is not octal"))?;
    }
    if let Some(owner) = &change.owner {
        file.owner.clone_from(owner);
    }
    if let Some(group) = &change.group {
        file.group.clone_from(group);
    }
    files.insert(change.path.clone(), file);
    Ok(())
}

fn new_file(mode: u32, node: RawNode) -> PlacedFile {
    PlacedFile {
        mode,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        node,
    }
}

/// Reads the sysusers.d and tmpfiles.d files that the package ships.
fn shipped_setup(
    files: &BTreeMap<PackagePath, PlacedFile>,
    made: &mut Setup,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (path, file) in files {
        let name = path.file_name();
        if let Some("/usr/lib/sysusers.d") = path
            .as_str()
            .strip_suffix(name)
            .map(|d| d.trim_end_matches('/'))
        {
            notes.extend(setup::sysusers(name, &services::text(file)?, made));
        } else if let Some("/usr/lib/tmpfiles.d") = path
            .as_str()
            .strip_suffix(name)
            .map(|d| d.trim_end_matches('/'))
        {
            notes.extend(setup::tmpfiles(name, &services::text(file)?, made));
        }
    }
    Ok(notes)
}

fn merge(made: &mut Setup, more: &Setup) {
    for group in &more.groups {
        setup::add_group(made, group);
    }
    for user in &more.users {
        setup::add_user(made, user.clone());
    }
    for directory in &more.directories {
        setup::add_directory(made, directory.clone());
    }
    made.links.extend(more.links.clone());
}

/// The user that a process runs as must exist; its state directory is its home.
fn own_user(process: &ProcessSpec, made: &mut Setup) {
    let named =
        |name: &&String| name.as_str() != "root" && !name.bytes().all(|c| c.is_ascii_digit());
    let group = process.group.as_ref().filter(named);
    if let Some(user) = process.user.as_ref().filter(named) {
        let home = process
            .state_directory
            .first()
            .map(|state| format!("/var/lib/{}", state.name));
        let other = group.filter(|group| *group != user);
        setup::add_user(
            made,
            SystemUser {
                name: user.clone(),
                group: other.cloned(),
                home,
                comment: None,
                groups: Vec::new(),
            },
        );
        if let Some(group) = other {
            setup::add_group(made, group);
        }
    } else if let Some(group) = group {
        setup::add_group(made, group);
    }
    for group in process
        .supplementary_groups
        .iter()
        .filter(|group| named(group))
    {
        setup::add_group(made, group);
    }
}
