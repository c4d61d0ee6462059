//! Why a process, path or package is as it is.

use std::collections::BTreeMap;

use model::change::{WhyPackage, WhyPath, WhyProcess, WhyReport, WhyUse};
use model::process::Kind;

use super::{add, chain, count, file_name, heading, padded, widest};
use crate::show::Look;

/// More files that one file may open are only counted.
const OPENED: usize = 3;

/// Whichever of the three was asked for.
pub fn why(report: &WhyReport, look: Look) -> String {
    let mut out = String::new();
    if let Some(one) = &report.process {
        process(one, look, &mut out);
    }
    if let Some(one) = &report.path {
        path(one, look, &mut out);
    }
    if let Some(one) = &report.package {
        package(one, look, &mut out);
    }
    out
}

fn process(one: &WhyProcess, look: Look, out: &mut String) {
    let kind = match one.kind {
        Kind::Simple => "simple",
        Kind::SelfManaging => "self-managing",
    };
    heading(
        look,
        &format!("{} ({kind}, from {})", one.name, one.package),
        out,
    );
    let (opened, mut loaded): (Vec<_>, Vec<_>) = one
        .uses
        .iter()
        .partition(|used| opener(&used.because).is_some());
    // The program first, then what it needs, then what that needs.
    loaded.sort_by_key(|used| used.because.len());
    let files = count(loaded.len(), "file", "files");
    add(out, format_args!("  runs or loads {files}:\n"));
    let width = widest(loaded.iter().map(|used| used.path.as_str()));
    for used in loaded {
        let path = padded(used.path.as_str(), width);
        add(
            out,
            format_args!("  {path}  {}\n", look.faint(&used.package)),
        );
        add(out, format_args!("      {}\n", reason(&used.because, look)));
    }
    may_open(&opened, look, out);
    for unsure in &one.unsure {
        add(
            out,
            format_args!("  {} {unsure}\n", look.notable("unsure:")),
        );
    }
}

/// The file that opens what the chain begins with, or opens what needs it.
fn opener(because: &[String]) -> Option<&str> {
    because
        .iter()
        .find_map(|link| Some(link.split_once(" may open ")?.0))
}

/// The chain without its first link, which is the file itself.
fn reason(because: &[String], look: Look) -> String {
    if let [_, runs] = because
        && let Some((process, _)) = runs.split_once(" runs ")
    {
        return format!("{process} runs it");
    }
    let text = chain(because, 6, look);
    match text.split_once(" ← ") {
        Some((first, rest)) if !first.contains('\n') => rest.to_owned(),
        _ => text,
    }
}

/// One line per file that opens others while it runs: libc alone can open some 250 converters.
fn may_open(opened: &[&WhyUse], look: Look, out: &mut String) {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for used in opened {
        let by = opener(&used.because).unwrap_or_default();
        groups
            .entry(file_name(by))
            .or_default()
            .push(file_name(used.path.as_str()));
    }
    if groups.is_empty() {
        return;
    }
    let files = count(opened.len(), "file more", "files more");
    let all = look.faint("(--json lists all, with their chains)");
    add(
        out,
        format_args!("  may open {files} while it runs {all}:\n"),
    );
    let width = widest(groups.keys().copied());
    for (by, files) in groups {
        let by = padded(by, width);
        let some: Vec<&str> = files.iter().take(OPENED).copied().collect();
        let some = some.join(", ");
        if files.len() > OPENED {
            let more = files.len() - OPENED;
            add(out, format_args!("  {by}  {some} and {more} more\n"));
        } else {
            add(out, format_args!("  {by}  {some}\n"));
        }
    }
}

fn path(one: &WhyPath, look: Look, out: &mut String) {
    heading(look, &format!("{} (from {})", one.path, one.package), out);
    for shadowed in &one.shadowed {
        add(
            out,
            format_args!(
                "  {}\n",
                look.faint(format_args!("{shadowed} has it too, and loses it"))
            ),
        );
    }
    if let Some(digest) = &one.digest {
        add(out, format_args!("  bytes      {digest}\n"));
    }
    if let Some(signature) = &one.signature {
        add(out, format_args!("  substance  {signature}\n"));
    }
    if one.used_by.is_empty() {
        out.push_str("  no process can load or run it\n");
    }
    let width = widest(one.used_by.iter().map(|user| user.process.as_str()));
    for user in &one.used_by {
        let name = padded(user.process.as_str(), width);
        let links = chain(&user.because, 2 + width + 2, look);
        add(out, format_args!("  {name}  {links}\n"));
    }
}

fn package(one: &WhyPackage, look: Look, out: &mut String) {
    let place = match one.place {
        Some(place) => format!("active, number {place} in the set"),
        None => "not active".to_owned(),
    };
    heading(look, &format!("{} ({place})", one.package), out);
    let lists = [
        ("required by", &one.required_by),
        ("requires", &one.requires),
    ];
    for (what, list) in lists {
        for (i, entry) in list.iter().enumerate() {
            let what = if i == 0 { what } else { "" };
            add(out, format_args!("  {what:<12} {entry}\n"));
        }
    }
    if one.required_by.is_empty() && one.place.is_some() {
        out.push_str("  required by  nothing: it is in the set because it was activated\n");
    }
    for (i, name) in one.processes.iter().enumerate() {
        let what = if i == 0 { "processes" } else { "" };
        add(out, format_args!("  {what:<12} {name}\n"));
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::change::{WhyUse, WhyUser};

    use super::*;

    #[test]
    fn a_process_shows_every_file_with_its_chain() {
        let report = WhyReport {
            process: Some(WhyProcess {
                name: "nginx".parse().unwrap(),
                package: "nginx=1.22".into(),
                kind: Kind::Simple,
                uses: vec![WhyUse {
                    path: "/usr/lib/libssl.so.3".parse().unwrap(),
                    package: "libssl3=3.0.22".into(),
                    because: vec!["libssl.so.3".into(), "/usr/sbin/nginx needs it".into()],
                }],
                unsure: vec!["/usr/sbin/nginx calls dlopen, and nobody said what it opens".into()],
            }),
            ..WhyReport::default()
        };
        assert_snapshot!(why(&report, Look::plain(80)), @r"
        nginx (simple, from nginx=1.22)
          runs or loads 1 file:
          /usr/lib/libssl.so.3  libssl3=3.0.22
              /usr/sbin/nginx needs it
          unsure: /usr/sbin/nginx calls dlopen, and nobody said what it opens
        ");
    }

    #[test]
    fn files_that_may_be_opened_are_one_line_per_opener() {
        let used = |path: &str, because: &[&str]| WhyUse {
            path: path.parse().unwrap(),
            package: "libc6=2.36".into(),
            because: because.iter().map(|link| (*link).to_owned()).collect(),
        };
        let mut uses: Vec<WhyUse> = ["A.so", "B.so", "C.so", "D.so", "E.so"]
            .map(|name| format!("/usr/lib/gconv/{name}"))
            .iter()
            .map(|path| {
                let opens = format!("/usr/lib/libc.so.6 may open {path}");
                used(path, &[path, &opens, "/usr/bin/hello needs libc.so.6"])
            })
            .collect();
        uses.push(used(
            "/usr/lib/libc.so.6",
            &["/usr/lib/libc.so.6", "/usr/bin/hello needs libc.so.6"],
        ));
        uses.push(used(
            "/usr/bin/hello",
            &["/usr/bin/hello", "hello runs /usr/bin/hello"],
        ));
        let report = WhyReport {
            process: Some(WhyProcess {
                name: "hello".parse().unwrap(),
                package: "hello=1.0".into(),
                kind: Kind::Simple,
                uses,
                unsure: Vec::new(),
            }),
            ..WhyReport::default()
        };
        assert_snapshot!(why(&report, Look::plain(80)), @r"
        hello (simple, from hello=1.0)
          runs or loads 2 files:
          /usr/lib/libc.so.6  libc6=2.36
              /usr/bin/hello needs it
          /usr/bin/hello      libc6=2.36
              hello runs it
          may open 5 files more while it runs (--json lists all, with their chains):
          libc.so.6  A.so, B.so, C.so and 2 more
        ");
    }

    #[test]
    fn a_path_shows_who_uses_it() {
        let report = WhyReport {
            path: Some(WhyPath {
                path: "/usr/lib/libssl.so.3".parse().unwrap(),
                package: "libssl3=3.0.22".into(),
                shadowed: vec!["base=1".into()],
                digest: None,
                signature: None,
                used_by: vec![WhyUser {
                    process: "nginx".parse().unwrap(),
                    because: vec!["libssl.so.3".into(), "/usr/sbin/nginx needs it".into()],
                }],
            }),
            ..WhyReport::default()
        };
        assert_snapshot!(why(&report, Look::plain(80)), @r"
        /usr/lib/libssl.so.3 (from libssl3=3.0.22)
          base=1 has it too, and loses it
          nginx  libssl.so.3 ← /usr/sbin/nginx needs it
        ");
    }
}
