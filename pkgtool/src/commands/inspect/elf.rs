//! The ELF analysis of each file for people.

use model::Manifest;
use model::elf::ElfFacts;
use model::manifest::{FileEntry, LibraryNeed, Node, RegularFile};

use crate::build::analyse::pin_name;
use crate::show::Look;

pub(super) fn text(manifest: &Manifest, wanted: &str, look: Look) -> String {
    let parts: Vec<String> = manifest
        .files
        .iter()
        .filter(|entry| entry.path.as_str().contains(wanted))
        .filter_map(|entry| one(entry, look))
        .collect();
    if parts.is_empty() {
        return look.faint(format!(
            "{}: no ELF file that the loader takes\n",
            manifest.name
        ));
    }
    parts.join("\n")
}

fn one(entry: &FileEntry, look: Look) -> Option<String> {
    let Node::File(file) = &entry.node else {
        return None;
    };
    let facts = file.elf.as_deref()?;
    let mut lines = vec![look.strong(&entry.path)];
    let facts = rows(file, facts)
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    lines.extend(facts.map(|(key, value)| format!("  {}{value}", look.faint(format!("{key:14}")))));
    Some(lines.join("\n") + "\n")
}

fn rows(file: &RegularFile, facts: &ElfFacts) -> Vec<(&'static str, String)> {
    let what = if facts.program { "program" } else { "library" };
    let mut rows = vec![
        ("is", format!("{what} for {}", facts.machine)),
        ("signature", file.signature.to_string()),
        ("build-id", facts.build_id.clone().unwrap_or_default()),
        ("soname", facts.soname.clone().unwrap_or_default()),
        ("loader", facts.interpreter.clone().unwrap_or_default()),
        ("runpath", facts.runpath.join(":")),
        ("rpath", facts.rpath.join(":")),
        ("needs", facts.needed.join(", ")),
        ("versions", needs(&facts.versions_needed)),
        ("provides", facts.versions_provided.join(", ")),
    ];
    if let Some(uses) = &file.uses {
        let paths = |paths: &[model::PackagePath]| {
            paths
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        rows.push(("uses", paths(&uses.direct)));
        rows.push(("through them", paths(&uses.transitive)));
        rows.push(("of others", uses.others.join(", ")));
    }
    if facts.calls_dlopen {
        let notes: Vec<String> = facts
            .dlopen_notes
            .iter()
            .map(|note| note.soname.join(" or "))
            .collect();
        let unknown = "calls it, and says nothing of what".to_owned();
        rows.push((
            "dlopen",
            if notes.is_empty() {
                unknown
            } else {
                notes.join(", ")
            },
        ));
    }
    let pins: Vec<&str> = facts.pinned_by.iter().map(|pin| pin_name(*pin)).collect();
    rows.push(("stays by", pins.join(", ")));
    rows
}

fn needs(needs: &[LibraryNeed]) -> String {
    let one = |need: &LibraryNeed| format!("{} {}", need.soname, need.versions.join(" "));
    needs.iter().map(one).collect::<Vec<_>>().join(", ")
}
