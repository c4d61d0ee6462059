//! Processes that run something else than what is on the disk.

use super::{add, count, heading, padded, widest, wrap};
use crate::drift::{DriftedFile, Group, How, Process, Report};
use crate::show::Look;

/// What is to be restarted, with its reasons; the rest in few lines, or with `all` as well.
pub fn drift(report: &Report, all: bool, look: Look) -> String {
    let mut out = String::new();
    let of = |wanted: fn(How) -> bool| -> Vec<&Group> {
        report
            .groups
            .iter()
            .filter(|group| wanted(group.how))
            .collect()
    };
    let restart = of(How::is_drift);
    let unknown = of(|how| how == How::Unknown);
    let harmless = of(|how| matches!(how, How::Rebuilt | How::Same | How::Temporary));
    section("To be restarted", &restart, all, look, &mut out);
    section("Could not be told", &unknown, all, look, &mut out);
    if all {
        section("Nothing to restart for", &harmless, all, look, &mut out);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let looked_at = count(report.looked_at, "process", "processes");
    let end = if restart.is_empty() && unknown.is_empty() {
        look.good("nothing to restart:")
    } else {
        look.bad(format_args!(
            "{} to restart:",
            count(restart.len(), "unit", "units")
        ))
    };
    add(&mut out, format_args!("{end} {looked_at} looked at"));
    if !harmless.is_empty() {
        let units = count(harmless.len(), "unit runs", "units run");
        let hint = if all { "" } else { " (--all lists them)" };
        add(
            &mut out,
            format_args!("; {units} what was only rebuilt or copied{hint}"),
        );
    }
    out.push('\n');
    out.push_str(&limits(report, look));
    out
}

fn section(title: &str, groups: &[&Group], all: bool, look: Look, out: &mut String) {
    if groups.is_empty() {
        return;
    }
    heading(look, title, out);
    let width = widest(
        groups
            .iter()
            .map(|group| group.owner.title())
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str),
    );
    for group in groups {
        let title = padded(&group.owner.title(), width.min(40));
        let restart = group.restart.clone().unwrap_or_default();
        let line = match (&restart.command, &restart.note) {
            (Some(command), None) => look.good(command),
            (Some(command), Some(note)) => format!("{}  ({note})", look.good(command)),
            (None, Some(note)) => note.clone(),
            (None, None) => String::new(),
        };
        let line = format!("  {}  {line}", look.strong(title));
        out.push_str(line.trim_end());
        out.push('\n');
        let shown = |file: &&DriftedFile| all || file.how.is_drift() || file.how == How::Unknown;
        for file in group.files.iter().filter(shown) {
            one_file(file, look, out);
        }
    }
}

fn one_file(file: &DriftedFile, look: Look, out: &mut String) {
    let word = padded(file.how.word(), 9);
    let word = match file.how {
        How::Changed | How::Deleted => look.bad(word),
        How::Unknown => look.notable(word),
        How::Rebuilt | How::Same | How::Temporary => look.good(word),
    };
    add(out, format_args!("    {word}  {}\n", file.path));
    add(out, format_args!("               {}\n", file.reason));
    let processes = wrap(&names(&file.processes), ", ", 15, look);
    add(
        out,
        format_args!("               {}\n", look.faint(processes)),
    );
}

/// `nginx (812, 813)`, one for each name.
fn names(processes: &[Process]) -> Vec<String> {
    let mut names: Vec<(&str, Vec<String>)> = Vec::new();
    for process in processes {
        let pid = process.pid.to_string();
        match names.iter_mut().find(|(name, _)| *name == process.name) {
            Some((_, pids)) => pids.push(pid),
            None => names.push((&process.name, vec![pid])),
        }
    }
    let told = names
        .into_iter()
        .map(|(name, pids)| format!("{name} ({})", pids.join(", ")));
    told.collect()
}

/// What was not seen.
fn limits(report: &Report, look: Look) -> String {
    let mut out = String::new();
    if report.unread > 0 {
        let many = count(report.unread, "process", "processes");
        let text = format!("{many} of others not looked at: run it as root");
        add(&mut out, format_args!("{} {text}\n", look.notable("note:")));
    } else if !report.old_bytes {
        let text = "the old bytes of libraries cannot be read here: run it as the machine's root";
        add(&mut out, format_args!("{} {text}\n", look.notable("note:")));
    }
    if !report.blind.is_empty() {
        let programs: Vec<String> = report
            .blind
            .iter()
            .map(|blind| {
                let name = blind.program.rsplit('/').next().unwrap_or(&blind.program);
                format!("{name} ({})", blind.processes.len())
            })
            .collect();
        let text = format!(
            "not seen: scripts and modules that are read, not mapped: {}",
            programs.join(", ")
        );
        add(&mut out, format_args!("{}\n", look.faint(text)));
    }
    out
}
