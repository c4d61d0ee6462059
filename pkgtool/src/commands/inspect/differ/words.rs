//! What differs, for people.

use super::super::package::count;
use super::{Change, PackageChange, Report};
use crate::show::Look;

/// Rebuilt files that are named before the rest is only counted.
const MOST_REBUILT: usize = 10;

pub(in super::super) fn text(report: &Report, look: Look) -> String {
    let mut parts: Vec<String> = report
        .packages
        .iter()
        .map(|package| one(package, look))
        .collect();
    if report.packages.is_empty() {
        parts.push("nothing differs\n".to_owned());
    } else if !report.same.is_empty() {
        let same = format!("the same in both: {}\n", report.same.join(", "));
        parts.push(look.faint(same));
    }
    parts.join("\n")
}

fn one(package: &PackageChange, look: Look) -> String {
    let name = look.strong(&package.name);
    match (&package.old, &package.new) {
        (None, Some(new)) => return format!("{name} {} {new}\n", look.good("added")),
        (Some(old), None) => return format!("{name} {} {old}\n", look.bad("removed")),
        _ => {}
    }
    let version = |version: &Option<String>| version.clone().unwrap_or_default();
    let mut out = format!(
        "{name} {} → {}\n",
        version(&package.old),
        version(&package.new)
    );
    out += &change("Requires", &package.requires, look);
    out += &change("Requires libraries", &package.libraries.requires, look);
    out += &change("Provides libraries", &package.libraries.provides, look);
    out += &processes(package, look);
    out += &files(package, look);
    out
}

fn title(text: &str, look: Look) -> String {
    format!("\n{}\n", look.strong(text))
}

fn change(name: &str, change: &Change, look: Look) -> String {
    if change.is_empty() {
        return String::new();
    }
    title(name, look) + &lines(change, look)
}

fn lines(change: &Change, look: Look) -> String {
    let added = change
        .added
        .iter()
        .map(|text| format!("  {} {text}\n", look.good('+')));
    let removed = change
        .removed
        .iter()
        .map(|text| format!("  {} {text}\n", look.bad('-')));
    added.chain(removed).collect()
}

fn processes(package: &PackageChange, look: Look) -> String {
    let processes = &package.processes;
    if processes.change.is_empty() && processes.changed.is_empty() {
        return String::new();
    }
    let mark = look.notable('~');
    let changed = processes.changed.iter();
    let changed: Vec<String> = changed
        .map(|(name, fields)| format!("  {mark} {name}: {}\n", fields.join(", ")))
        .collect();
    title("Processes", look) + &lines(&processes.change, look) + &changed.concat()
}

fn files(package: &PackageChange, look: Look) -> String {
    let files = &package.files;
    let named = Change {
        added: files.added.clone(),
        removed: files.removed.clone(),
    };
    let mut body = vec![lines(&named, look)];
    let mark = look.notable('~');
    let changed = files.changed.iter().chain(&files.described);
    body.extend(changed.map(|file| format!("  {mark} {}: {}\n", file.path, file.why)));
    let mark = look.faint('=');
    let rebuilt = files.rebuilt.iter().take(MOST_REBUILT);
    body.extend(
        rebuilt
            .map(|path| format!("  {mark} {path}: only rebuilt, no process is restarted for it\n")),
    );
    let more = files.rebuilt.len().saturating_sub(MOST_REBUILT);
    if more > 0 {
        body.push(format!(
            "  {mark} {} more only rebuilt\n",
            count(more, "file")
        ));
    }
    let body = body.concat();
    let body = if body.is_empty() {
        "  the same\n"
    } else {
        &body
    };
    title("Files", look) + body
}
