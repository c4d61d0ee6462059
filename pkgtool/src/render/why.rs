//! Why a process, path or package is as it is.

use model::change::{WhyPackage, WhyPath, WhyProcess, WhyReport};
use model::process::Kind;

use super::{add, chain, count, heading, padded, widest};
use crate::show::Look;

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
    let files = count(one.uses.len(), "file", "files");
    add(out, format_args!("  can load or run {files}:\n"));
    let width = widest(one.uses.iter().map(|used| used.path.as_str()));
    for used in &one.uses {
        let path = padded(used.path.as_str(), width);
        add(
            out,
            format_args!("  {path}  {}\n", look.faint(&used.package)),
        );
        add(
            out,
            format_args!("      {}\n", chain(&used.because, 6, look)),
        );
    }
    for unsure in &one.unsure {
        add(
            out,
            format_args!("  {} {unsure}\n", look.notable("unsure:")),
        );
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
          can load or run 1 file:
          /usr/lib/libssl.so.3  libssl3=3.0.22
              libssl.so.3 ← /usr/sbin/nginx needs it
          unsure: /usr/sbin/nginx calls dlopen, and nobody said what it opens
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
