//! Lists: the fleet, nodes, classes, packages, what is assigned, what an import made.

use jiff::Timestamp;
use model::wire::{
    Assignment, BootGate, ClassView, FleetView, ImportedPackage, ModuleVerdict, NodeView,
    PackageView, Presence, RolloutView, Scope, StorePolicy,
};

use super::super::{add, ago, bytes, count, heading};
use super::{joined, or_dash, rollout, short};
use crate::fleet::scope;
use crate::show::Look;

/// `fleet status`: what is wrong first.
pub fn status(fleet: &FleetView, rollouts: &[RolloutView], look: Look) -> String {
    let (nodes, connected, as_wanted) = (fleet.nodes, fleet.connected, fleet.as_wanted);
    let all = |number: u32, words: &str| {
        let text = format!("{number} {words}");
        if number == nodes {
            look.good(text)
        } else {
            look.notable(text)
        }
    };
    if nodes == 0 {
        return "no nodes yet: pkgtool fleet tokens add, then pkgtool join on a node\n".to_owned();
    }
    let head = look.strong(count(nodes as usize, "node", "nodes"));
    let (here, right) = (all(connected, "connected"), all(as_wanted, "as wanted"));
    let mut out = format!("{head}: {here}, {right}\n");
    for one in &fleet.discrepancies {
        add(&mut out, format_args!("{} {one}\n", look.bad('✗')));
    }
    if !fleet.software.is_empty() {
        let head = match fleet.software.len() {
            1 => "Software: all run the same".to_owned(),
            kinds => format!("Software: {kinds} sets"),
        };
        heading(look, &head, &mut out);
    }
    for (digest, nodes) in &fleet.software {
        let nodes = count(*nodes as usize, "node ", "nodes");
        add(&mut out, format_args!("  {nodes:>11}  {}\n", short(digest)));
    }
    if !rollouts.is_empty() {
        heading(look, "Updates", &mut out);
        for one in rollouts {
            add(&mut out, format_args!("  {}\n", rollout::line(one)));
        }
    }
    if !fleet.trials.is_empty() {
        heading(look, "Trials", &mut out);
        for one in &fleet.trials {
            let of = match one.rollout {
                Some(id) => format!("of update {id}: pkgtool fleet commit {id} keeps it"),
                None => "begun at the node".to_owned(),
            };
            add(&mut out, format_args!("  {}  {of}\n", one.node));
        }
    }
    out
}

/// `fleet nodes`.
pub fn nodes(all: &[NodeView], now: Timestamp, look: Look) -> String {
    if all.is_empty() {
        return "no such node\n".to_owned();
    }
    let row = |node: &NodeView| {
        let facts = &node.facts;
        vec![
            presence_sign(&node.presence, look),
            node.name.to_string(),
            presence(&node.presence, now),
            joined(&facts.classes, ","),
            or_dash(facts.node_type.as_ref()),
            or_dash(facts.location.as_ref()),
            facts.arch.clone(),
            software(node, look),
            node.rollout.map_or(String::new(), |id| id.to_string()),
        ]
    };
    let heads = [
        "", "node", "presence", "class", "type", "location", "arch", "software", "update",
    ];
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let mut out = look.table(&heads, &[], &rows);
    for node in all {
        for one in &node.discrepancies {
            add(
                &mut out,
                format_args!("{} {}: {one}\n", look.bad('✗'), node.name),
            );
        }
    }
    out
}

/// `fleet classes`.
pub fn classes(all: &[ClassView], look: Look) -> String {
    if all.is_empty() {
        return "no classes: a node's configuration, its token or an assignment names them\n"
            .to_owned();
    }
    let row = |class: &ClassView| {
        let same = match class.software.as_slice() {
            [] => "-".to_owned(),
            [(digest, _)] => format!("all {}", short(digest)),
            many => look.notable(format!("{} sets", many.len())),
        };
        vec![
            class.name.to_string(),
            class.nodes.to_string(),
            class.connected.to_string(),
            same,
            joined(&class.assignment.packages, ", "),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let heads = ["class", "nodes", "connected", "software", "assigned"];
    look.table(&heads, &["nodes", "connected"], &rows)
}

/// `fleet packages`.
pub fn packages(all: &[PackageView], now: Timestamp, look: Look) -> String {
    if all.is_empty() {
        return "no packages: pkgtool fleet import FILE.pkg\n".to_owned();
    }
    let row = |package: &PackageView| {
        vec![
            package.id.name.to_string(),
            package.id.version.to_string(),
            bytes(package.size),
            package.nodes.to_string(),
            ago(&package.imported, now),
            joined(&package.signed_by, ","),
            package.summary.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let heads = [
        "package",
        "version",
        "size",
        "nodes",
        "age",
        "signed by",
        "summary",
    ];
    look.table(&heads, &["size", "nodes", "age"], &rows)
}

/// `fleet assign`.
pub fn assignment(of: &Scope, assignment: &Assignment, look: Look) -> String {
    let head = look.strong(scope::text(of));
    if *assignment == Assignment::default() {
        return format!("{head}: nothing is assigned\n");
    }
    let mut out = format!("{head}\n");
    for package in &assignment.packages {
        add(&mut out, format_args!("  {} {package}\n", look.good('+')));
    }
    for name in &assignment.without {
        add(
            &mut out,
            format_args!("  {} {name} (not here)\n", look.bad('-')),
        );
    }
    if !assignment.features.is_empty() {
        let features = joined(&assignment.features, ", ");
        add(&mut out, format_args!("  features: {features}\n"));
    }
    if let Some(store) = assignment.store {
        add(&mut out, format_args!("  store: {}\n", policy(store)));
    }
    if let Some(gate) = assignment.boot_gate {
        add(&mut out, format_args!("  boot gate: {}\n", boot_gate(gate)));
    }
    out
}

/// `keep` or `memory`, for people.
pub(super) fn policy(policy: StorePolicy) -> &'static str {
    match policy {
        StorePolicy::Keep => "kept on the node",
        StorePolicy::Memory => "loaded into memory at each boot",
    }
}

/// What a boot does, for people.
pub(super) fn boot_gate(gate: BootGate) -> String {
    match gate {
        BootGate::Run => "a boot runs at once what is committed".to_owned(),
        BootGate::Wait { timeout_ms: None } => "a boot waits for the master".to_owned(),
        BootGate::Wait {
            timeout_ms: Some(limit),
        } => format!("a boot waits {} s for the master", limit / 1000),
    }
}

/// `fleet import`.
pub fn imported(all: &[ImportedPackage], files: bool, look: Look) -> String {
    let mut out = String::new();
    let (mut new, mut had) = (0, 0);
    for package in all {
        if !package.new {
            had += 1;
            continue;
        }
        new += 1;
        let of = |verdict| {
            let same = |file: &&model::wire::ImportedFile| file.verdict == verdict;
            package.files.iter().filter(same).count()
        };
        let (fresh, rebuilt, same) = (
            of(ModuleVerdict::New),
            of(ModuleVerdict::SameSignature),
            of(ModuleVerdict::SameBytes),
        );
        let name = format!("{}={}", package.id.name, package.id.version);
        let told = format!("{fresh} new, {rebuilt} rebuilt (same signature), {same} the same");
        let files_in_all = count(package.files.len(), "file", "files");
        add(
            &mut out,
            format_args!("{} {name}  {files_in_all}: {told}\n", look.good('+')),
        );
        if files {
            for file in &package.files {
                let word = match file.verdict {
                    ModuleVerdict::New => look.notable("new      "),
                    ModuleVerdict::SameSignature => "signature".to_owned(),
                    ModuleVerdict::SameBytes => look.faint("same     "),
                };
                add(&mut out, format_args!("    {word}  {}\n", file.path));
            }
        }
    }
    let packages = count(new, "package", "packages");
    let had = if had > 0 {
        format!(", {had} were there")
    } else {
        String::new()
    };
    add(&mut out, format_args!("imported {packages}{had}\n"));
    out
}

fn presence_sign(presence: &Presence, look: Look) -> String {
    match presence {
        Presence::Connected { .. } => look.good('●'),
        Presence::Away { .. } => look.notable('○'),
        Presence::Pending { .. } => look.notable('?'),
        Presence::Quarantined => look.bad('✗'),
        Presence::Retired => look.faint('-'),
    }
}

/// Whether a node is there, in words.
pub(super) fn presence(presence: &Presence, now: Timestamp) -> String {
    match presence {
        Presence::Connected { since } => format!("since {}", ago(since, now)),
        Presence::Away { last: Some(last) } => format!("away for {}", ago(last, now)),
        Presence::Away { last: None } => "away".to_owned(),
        Presence::Pending { fingerprint } => format!("asks to be let in: {fingerprint}"),
        Presence::Quarantined => "two of it: quarantined".to_owned(),
        Presence::Retired => "retired".to_owned(),
    }
}

fn software(node: &NodeView, look: Look) -> String {
    let Some(installed) = &node.installed else {
        return "-".to_owned();
    };
    let hash = installed.software.as_ref().map_or("-".to_owned(), short);
    let mut notes = Vec::new();
    if node.wanted.is_some() && node.wanted != installed.software {
        notes.push(look.notable("differs"));
    }
    if installed.trial {
        notes.push(look.notable("trial"));
    }
    if installed.hold.is_some() {
        notes.push(look.notable("held locally"));
    }
    let notes = notes.join(", ");
    if notes.is_empty() {
        hash
    } else {
        format!("{hash} {notes}")
    }
}
