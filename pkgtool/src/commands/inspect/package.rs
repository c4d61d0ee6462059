//! A package for people.

use std::collections::BTreeMap;

use model::Manifest;
use model::envelope::ReadPackage;
use model::manifest::{FileEntry, FileType, LibraryNeed, Node, RequiresWhen};
use model::process::{Kind, ProcessSpec, Ready, Restart};

use super::contents::Contents;
use super::elf;
use crate::commands::sign::keys_of;
use crate::render::bytes;
use crate::show::Look;

/// Files that are listed without being asked for.
const MOST_FILES: usize = 40;

/// What was asked for besides the usual.
pub(super) struct Asked<'a> {
    pub(super) files: bool,
    pub(super) elf: Option<&'a str>,
}

pub(super) fn text(contents: &Contents, asked: &Asked<'_>, look: Look) -> String {
    let mut parts: Vec<String> = contents
        .packages
        .iter()
        .map(|package| one(package, asked, look))
        .collect();
    let verified = if contents.verified {
        ", each verified"
    } else {
        ""
    };
    parts.push(look.faint(format!(
        "{}: {}, {} with {}{verified}\n",
        contents.path.display(),
        bytes(contents.packed),
        count(contents.objects, "object"),
        bytes(contents.plain),
    )));
    parts.join("\n")
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 {
        return format!("1 {what}");
    }
    match what.strip_suffix('y') {
        Some(stem) => format!("{number} {stem}ies"),
        None if what.ends_with('s') => format!("{number} {what}es"),
        None => format!("{number} {what}s"),
    }
}

fn one(package: &ReadPackage, asked: &Asked<'_>, look: Look) -> String {
    let manifest = &package.manifest;
    if let Some(wanted) = asked.elf {
        return elf::text(manifest, wanted, look);
    }
    let sections = [
        ("Requires", requires(manifest)),
        ("Provides", provides(manifest)),
        (
            "Processes",
            manifest
                .processes
                .iter()
                .flat_map(|one| process(one, look))
                .collect(),
        ),
        ("Opens at run time", dlopen(manifest)),
        ("Set-up", setup(manifest)),
        ("Leaves the view", exports(manifest)),
    ];
    let mut out = head(package, look);
    for (title, lines) in sections {
        if !lines.is_empty() {
            out += &section(title, &lines, look);
        }
    }
    out += &files(manifest, asked.files, look);
    if !manifest.notes.is_empty() {
        out += &section("Notes", &manifest.notes, look);
    }
    out
}

fn section(title: &str, lines: &[String], look: Look) -> String {
    format!("\n{}\n  {}\n", look.strong(title), lines.join("\n  "))
}

fn head(package: &ReadPackage, look: Look) -> String {
    let manifest = &package.manifest;
    let mut lines = vec![format!(
        "{} {}",
        look.strong(&manifest.name),
        manifest.version
    )];
    if !manifest.summary.is_empty() {
        lines.push(manifest.summary.clone());
    }
    let mut facts = vec![("id", package.id.to_string())];
    let architecture = manifest.architecture.clone();
    facts.push((
        "architecture",
        architecture.unwrap_or_else(|| "every".to_owned()),
    ));
    if let Some(upgrades) = &manifest.upgrades {
        facts.push(("upgrades", upgrades.to_string()));
    }
    let keys: Vec<String> = keys_of(package).iter().map(ToString::to_string).collect();
    let signed = match keys.as_slice() {
        [] if package.signature.is_some() => "damaged: pkgtool verify says more".to_owned(),
        [] => "no".to_owned(),
        keys => format!("by key {}, as it says (pkgtool verify)", keys.join(" and ")),
    };
    facts.push(("signed", signed));
    let facts = facts
        .into_iter()
        .map(|(key, value)| format!("{}{value}", look.faint(format!("{key:14}"))));
    lines.extend(facts);
    lines.join("\n") + "\n"
}

fn requires(manifest: &Manifest) -> Vec<String> {
    let mut lines: Vec<String> = manifest.requires.iter().map(ToString::to_string).collect();
    for when in &manifest.requires_when {
        let packages: Vec<String> = when.packages.iter().map(ToString::to_string).collect();
        lines.push(format!("on {}: {}", condition(when), packages.join("; ")));
    }
    for remote in &manifest.requires_remote {
        let packages: Vec<String> = remote.packages.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "on {} of class {} in the {}: {}",
            remote.quantity,
            remote.class,
            remote.scope,
            packages.join("; ")
        ));
    }
    lines.extend(libraries(&manifest.requires_libraries));
    lines.extend(apis(manifest, Api::Consumes));
    lines
}

fn condition(when: &RequiresWhen) -> String {
    let parts = [
        ("arch", &when.arch),
        ("type", &when.node_type),
        ("class", &when.class),
        ("feature", &when.feature),
        ("location", &when.location),
    ];
    let given = parts
        .iter()
        .filter_map(|(key, value)| Some(format!("{key} {}", value.as_ref()?)));
    given.collect::<Vec<_>>().join(" and ")
}

fn provides(manifest: &Manifest) -> Vec<String> {
    let mut lines: Vec<String> = manifest
        .provides
        .iter()
        .map(|one| match &one.version {
            Some(version) => format!("{} = {version}", one.name),
            None => one.name.to_string(),
        })
        .collect();
    lines.extend(libraries(&manifest.provides_libraries));
    lines.extend(apis(manifest, Api::Provides));
    lines
}

/// A long list of versions is told by its ends.
fn libraries(needs: &[LibraryNeed]) -> impl Iterator<Item = String> + '_ {
    needs.iter().map(|need| match &need.versions[..] {
        [] => need.soname.clone(),
        versions if versions.len() <= 4 => format!("{} ({})", need.soname, versions.join(", ")),
        [first, .., last] => {
            format!(
                "{} ({first} … {last}, {} versions)",
                need.soname,
                need.versions.len()
            )
        }
        [only] => format!("{} ({only})", need.soname),
    })
}

#[derive(Clone, Copy)]
enum Api {
    Provides,
    Consumes,
}

fn apis(manifest: &Manifest, which: Api) -> Vec<String> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in &manifest.files {
        let Node::File(file) = &entry.node else {
            continue;
        };
        let list = match which {
            Api::Provides => &file.provides_apis,
            Api::Consumes => &file.consumes_apis,
        };
        for api in list {
            found.entry(api).or_default().push(entry.path.as_str());
        }
    }
    let line = |(api, paths): (_, Vec<&str>)| format!("API {api} ({})", paths.join(", "));
    found.into_iter().map(line).collect()
}

fn process(process: &ProcessSpec, look: Look) -> Vec<String> {
    let kind = match process.kind {
        Kind::Simple => "Simple",
        Kind::SelfManaging => "Self-Managing",
    };
    let head = format!(
        "{}  {kind}  {}",
        look.strong(&process.name),
        process.exec.join(" ")
    );
    let mut more: Vec<String> = Vec::new();
    let after: Vec<&str> = process
        .after
        .iter()
        .map(model::ProcessName::as_str)
        .collect();
    let mut say = |what: &str, value: String| {
        if !value.is_empty() {
            more.push(format!("{what} {value}"));
        }
    };
    say("after", after.join(", "));
    say("user", process.user.clone().unwrap_or_default());
    say("ready by", ready(process.ready).to_owned());
    say("told of", process.uses_files.join(", "));
    let sockets: Vec<&str> = process
        .sockets
        .iter()
        .map(|socket| socket.listen.as_str())
        .collect();
    say("listens on", sockets.join(", "));
    say("restarted", restart(process.restart).to_owned());
    say("asks", process.evaluate.join(" "));
    say(
        "state version",
        process
            .state_version
            .map_or_else(String::new, |it| it.to_string()),
    );
    vec![head, format!("  {}", look.faint(more.join(" · ")))]
}

fn ready(ready: Ready) -> &'static str {
    match ready {
        Ready::Exec => "exec",
        Ready::Notify => "notify",
        Ready::Descriptor => "descriptor",
        Ready::Socket => "socket",
        Ready::Forking => "forking",
        Ready::Oneshot => "oneshot",
    }
}

fn restart(restart: Restart) -> &'static str {
    match restart {
        Restart::No => "never",
        Restart::OnSuccess => "on success",
        Restart::OnFailure => "on failure",
        Restart::OnAbnormal => "on abnormal end",
        Restart::OnAbort => "on abort",
        Restart::Always => "always",
    }
}

fn dlopen(manifest: &Manifest) -> Vec<String> {
    let line = |one: &model::manifest::DlopenUse| {
        let libraries = one.libraries.join(", ");
        let none = "nothing that a package could bring".to_owned();
        let what = if libraries.is_empty() {
            none
        } else {
            libraries
        };
        format!("{}: {what}", one.file)
    };
    manifest.dlopen.iter().map(line).collect()
}

fn setup(manifest: &Manifest) -> Vec<String> {
    let setup = &manifest.setup;
    let mut lines: Vec<String> = Vec::new();
    lines.extend(setup.groups.iter().map(|name| format!("group {name}")));
    lines.extend(setup.users.iter().map(|user| format!("user {}", user.name)));
    lines.extend(
        setup
            .directories
            .iter()
            .map(|one| format!("directory {}", one.path)),
    );
    lines.extend(
        setup
            .links
            .iter()
            .map(|(link, target)| format!("link {link} → {target}")),
    );
    lines
}

fn exports(manifest: &Manifest) -> Vec<String> {
    manifest
        .exports
        .iter()
        .map(|(kind, paths)| format!("{kind}: {}", paths.join(", ")))
        .collect()
}

fn files(manifest: &Manifest, all: bool, look: Look) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut size = 0_u64;
    for entry in &manifest.files {
        *kinds.entry(kind(entry)).or_default() += 1;
        if let Node::File(file) = &entry.node {
            size = size.saturating_add(file.size);
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, number)| count(*number, kind))
        .collect();
    let title = look.strong("Files");
    let head = format!(
        "\n{title} {} ({}): {}\n",
        manifest.files.len(),
        bytes(size),
        kinds.join(", ")
    );
    if manifest.files.len() > MOST_FILES && !all {
        return head + &look.faint("  --files lists them") + "\n";
    }
    if manifest.files.is_empty() {
        return format!("\n{title} none\n");
    }
    let heads = [
        "  mode",
        "type",
        "architecture",
        "size",
        "signature",
        "path",
    ];
    let rows: Vec<Vec<String>> = manifest
        .files
        .iter()
        .map(|entry| row(entry, look))
        .collect();
    head + &look.table(&heads, &["size"], &rows)
}

fn kind(entry: &FileEntry) -> &'static str {
    match &entry.node {
        Node::File(file) => type_name(file.file_type),
        Node::Link { .. } => "link",
        Node::Directory => "directory",
    }
}

pub(super) fn type_name(file_type: FileType) -> &'static str {
    match file_type {
        FileType::SharedLibrary => "library",
        FileType::Executable => "program",
        FileType::Parser => "parser file",
        FileType::Config => "config file",
        FileType::Data => "data file",
    }
}

fn row(entry: &FileEntry, look: Look) -> Vec<String> {
    let set_id = entry.mode & 0o6000 != 0;
    let mode = format!("{:04o}", entry.mode);
    let mode = if set_id { look.notable(mode) } else { mode };
    let owner = |name: &Option<String>| name.clone().unwrap_or_else(|| "root".to_owned());
    let mut path = entry.path.to_string();
    if entry.owner.is_some() || entry.group.is_some() {
        path += &look.faint(format!("  {}:{}", owner(&entry.owner), owner(&entry.group)));
    }
    let kind = kind(entry).to_owned();
    match &entry.node {
        Node::File(file) => {
            let signature: String = file.signature.to_string().chars().take(12).collect();
            if let Some(function) = &file.function {
                path += &look.faint(format!("  {function}"));
            }
            if file.capabilities.is_some() {
                path += &look.notable("  with capabilities");
            }
            let architecture = file.architecture.clone().unwrap_or_default();
            vec![
                format!("  {mode}"),
                kind,
                architecture,
                bytes(file.size),
                signature,
                path,
            ]
        }
        Node::Link { target } => {
            let empty = String::new;
            let path = format!("{path} → {target}");
            vec!["  ".to_owned(), kind, empty(), empty(), empty(), path]
        }
        Node::Directory => {
            let empty = String::new;
            vec![format!("  {mode}"), kind, empty(), empty(), empty(), path]
        }
    }
}
