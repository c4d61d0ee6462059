//! The plan: what would change, who is reached and why, in which order, at what cost.

use std::collections::BTreeMap;

use model::PackagePath;
use model::change::{FileChanges, PlanReport, ProcessImpact, SetChange, Unmet, Verdict};
use model::process::Kind;

use super::{add, bytes, chain, count, heading, padded, widest, wrap};
use crate::show::Look;

/// More reason chains of one process than this are only counted.
const CHAINS: usize = 2;
/// More unreached processes than this are only counted.
const UNREACHED: usize = 8;
/// More entering or leaving packages than this are only counted.
const PACKAGES: usize = 12;

/// The whole plan.
pub fn plan(report: &PlanReport, look: Look) -> String {
    let mut out = String::new();
    heading(look, "Software set", &mut out);
    out.push_str(&set(&report.set, look));
    if let Some(text) = files(report) {
        heading(look, "Files", &mut out);
        out.push_str(&text);
    }
    heading(look, "Processes", &mut out);
    out.push_str(&processes(&report.processes, look));
    if !report.order.is_empty() {
        heading(look, "Order", &mut out);
        out.push_str(&order(&report.order, look));
    }
    if report.bytes.memory > 0 {
        heading(look, "Memory", &mut out);
        let memory = bytes(report.bytes.memory);
        add(
            &mut out,
            format_args!("  {memory}, until a reboot or a commit\n"),
        );
    } else if report.bytes.store > 0 {
        heading(look, "Disk", &mut out);
        add(
            &mut out,
            format_args!("  {} to write\n", bytes(report.bytes.store)),
        );
    }
    if !report.rollback_points_lost.is_empty() {
        let lost = report.rollback_points_lost.iter();
        let lost: Vec<String> = lost.map(ToString::to_string).collect();
        heading(look, "Cannot be gone back to afterwards", &mut out);
        add(
            &mut out,
            format_args!("  generation {} (pkgtool pin keeps one)\n", lost.join(", ")),
        );
    }
    for warning in &report.warnings {
        add(
            &mut out,
            format_args!("\n{} {warning}\n", look.notable("warning:")),
        );
    }
    if !report.unmet.is_empty() {
        heading(look, "Unmet: this cannot be done", &mut out);
        out.push_str(&unmet(&report.unmet, look));
    }
    out
}

/// Whether it would do anything at all.
pub fn does_something(report: &PlanReport) -> bool {
    report.set.before != report.set.after
        || report
            .processes
            .iter()
            .any(|one| !matches!(one.verdict, Verdict::None | Verdict::Ask))
}

/// Versions by name; a name may stand more than once, as upgrade packages do not.
fn versions(set: &[String]) -> BTreeMap<&str, &str> {
    pairs(set).collect()
}

fn pairs(set: &[String]) -> impl Iterator<Item = (&str, &str)> {
    set.iter()
        .map(|one| one.split_once('=').unwrap_or((one, "")))
}

fn set(change: &SetChange, look: Look) -> String {
    let (before, after) = (versions(&change.before), versions(&change.after));
    // In the order of the set: applications first, so that a long list begins with what was asked for.
    let entering = pairs(&change.after).filter(|(name, _)| !before.contains_key(name));
    let leaving = pairs(&change.before).filter(|(name, _)| !after.contains_key(name));
    let other = after.iter().filter_map(|(name, new)| {
        let old = before.get(name)?;
        (old != new).then_some((*name, *old, *new))
    });
    let (entering, leaving): (Vec<_>, Vec<_>) = (entering.collect(), leaving.collect());
    let other: Vec<_> = other.collect();
    let names = [&entering, &leaving]
        .into_iter()
        .flat_map(|side| side.iter().take(PACKAGES))
        .map(|(name, _)| *name);
    let width = widest(names.chain(other.iter().map(|one| one.0)));
    let mut out = String::new();
    for (name, old, new) in &other {
        let name = padded(name, width);
        add(
            &mut out,
            format_args!("  {} {name}  {old} → {new}\n", look.notable('~')),
        );
    }
    let sides = [
        (&entering, look.good('+'), "more enter"),
        (&leaving, look.bad('-'), "more leave"),
    ];
    for (side, sign, more) in sides {
        for (name, version) in side.iter().take(PACKAGES) {
            add(
                &mut out,
                format_args!("  {sign} {}  {version}\n", padded(name, width)),
            );
        }
        if side.len() > PACKAGES {
            add(
                &mut out,
                format_args!(
                    "  {sign} {} {more} {}\n",
                    side.len() - PACKAGES,
                    look.faint("(--json lists all)")
                ),
            );
        }
    }
    if out.is_empty() {
        let same = count(after.len(), "package", "packages");
        out = format!(
            "  {}\n",
            look.faint(format_args!("stays as it is ({same})"))
        );
    }
    out
}

fn files(report: &PlanReport) -> Option<String> {
    let libraries = kinds(&report.libraries, "library", "libraries");
    let others = difference(&report.files, &report.libraries);
    let others = kinds(&others, "other file", "other files");
    let lines: Vec<String> = [libraries, others]
        .into_iter()
        .flatten()
        .map(|line| format!("  {line}\n"))
        .collect();
    (!lines.is_empty()).then(|| lines.concat())
}

/// `2 libraries changed, 4 rebuilt (same substance: kept)`.
fn kinds(changes: &FileChanges, one: &str, many: &str) -> Option<String> {
    let mut parts = Vec::new();
    let lists = [
        (changes.changed.len(), "changed"),
        (changes.added.len(), "added"),
        (changes.removed.len(), "removed"),
        (
            changes.rebuilt.len(),
            "rebuilt (same substance: what runs is kept)",
        ),
    ];
    for (number, what) in lists {
        if number > 0 {
            let noun = if parts.is_empty() {
                count(number, one, many)
            } else {
                number.to_string()
            };
            parts.push(format!("{noun} {what}"));
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn difference(all: &FileChanges, libraries: &FileChanges) -> FileChanges {
    let less = |all: &[PackagePath], some: &[PackagePath]| {
        all.iter()
            .filter(|path| some.binary_search(path).is_err())
            .cloned()
            .collect()
    };
    FileChanges {
        added: less(&all.added, &libraries.added),
        changed: less(&all.changed, &libraries.changed),
        removed: less(&all.removed, &libraries.removed),
        rebuilt: less(&all.rebuilt, &libraries.rebuilt),
    }
}

fn processes(all: &[ProcessImpact], look: Look) -> String {
    let reached: Vec<&ProcessImpact> = all
        .iter()
        .filter(|one| one.verdict != Verdict::None)
        .collect();
    let width = widest(reached.iter().map(|one| one.name.as_str()));
    let mut out = String::new();
    let groups = [
        Verdict::Restart,
        Verdict::Notify,
        Verdict::Start,
        Verdict::Stop,
        Verdict::Ask,
    ];
    for verdict in groups {
        for impact in reached.iter().filter(|one| one.verdict == verdict) {
            out.push_str(&process(impact, width, look));
        }
    }
    out.push_str(&unreached(all, look));
    out
}

/// The word for a verdict in the colour of its weight.
pub(super) fn verdict(verdict: Verdict, look: Look) -> String {
    let word = format!("{verdict:<7}");
    match verdict {
        Verdict::Restart => look.notable(word),
        Verdict::Stop => look.bad(word),
        Verdict::Start => look.good(word),
        Verdict::Notify | Verdict::Ask | Verdict::None => look.strong(word),
    }
}

fn process(impact: &ProcessImpact, width: usize, look: Look) -> String {
    let indent = 2 + 7 + 2 + width + 2;
    let mut reasons: Vec<String> = impact
        .because
        .iter()
        .take(CHAINS)
        .map(|links| chain(links, indent, look))
        .collect();
    if impact.because.len() > CHAINS {
        let more = impact.because.len() - CHAINS;
        let ways = count(more, "more way", "more ways");
        reasons.push(look.faint(format_args!("and in {ways} (--json shows all)")));
    }
    if impact.kind == Kind::SelfManaging {
        let told = "self-managing: told, and handles it without a restart";
        let notify = impact.verdict == Verdict::Notify;
        reasons.push(look.faint(if notify { told } else { "self-managing" }));
    }
    let word = verdict(impact.verdict, look);
    let name = padded(impact.name.as_str(), width);
    let glue = format!("\n{}", " ".repeat(indent));
    format!("  {word}  {name}  {}", reasons.join(&glue))
        .trim_end()
        .to_owned()
        + "\n"
}

fn unreached(all: &[ProcessImpact], look: Look) -> String {
    let names: Vec<String> = all
        .iter()
        .filter(|one| one.verdict == Verdict::None)
        .map(|one| one.name.to_string())
        .collect();
    if names.is_empty() {
        return if all.is_empty() {
            format!("  {}\n", look.faint("none"))
        } else {
            String::new()
        };
    }
    let word = look.faint(format!("{:<7}", "none"));
    let list = if names.len() <= UNREACHED {
        wrap(&names, ", ", 11, look)
    } else {
        format!("{} others keep running, untouched", names.len())
    };
    format!("  {word}  {}\n", look.faint(list))
}

fn order(groups: &[Vec<String>], look: Look) -> String {
    let width = groups.len().to_string().len();
    let mut out = String::new();
    for (i, group) in groups.iter().enumerate() {
        let number = look.faint(format!("{:>width$}", i + 1));
        add(
            &mut out,
            format_args!("  {number}  {}\n", wrap(group, ", ", width + 4, look)),
        );
    }
    out
}

/// What is missing, with what to do about it.
pub fn unmet(all: &[Unmet], look: Look) -> String {
    let mut out = String::new();
    for one in all {
        add(
            &mut out,
            format_args!("  {} {} needs {}\n", look.bad('✗'), one.by, one.needs),
        );
        if !one.hint.is_empty() {
            add(
                &mut out,
                format_args!("    {} {}\n", look.good("try:"), one.hint),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::change::Bytes;

    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn impact(name: &str, kind: Kind, verdict: Verdict, because: &[&[&str]]) -> ProcessImpact {
        ProcessImpact {
            name: name.parse().unwrap(),
            package: name.parse().unwrap(),
            kind,
            verdict,
            because: because.iter().map(|links| texts(links)).collect(),
        }
    }

    fn paths(paths: &[&str]) -> Vec<PackagePath> {
        paths.iter().map(|path| path.parse().unwrap()).collect()
    }

    fn update_of_libssl() -> PlanReport {
        let libraries = FileChanges {
            changed: paths(&["/usr/lib/libcrypto.so.3", "/usr/lib/libssl.so.3"]),
            rebuilt: paths(&[
                "/usr/lib/engines-3/afalg.so",
                "/usr/lib/engines-3/padlock.so",
            ]),
            ..FileChanges::default()
        };
        let mut files = libraries.clone();
        files
            .changed
            .push("/usr/share/doc/libssl3/changelog.gz".parse().unwrap());
        PlanReport {
            set: SetChange {
                before: texts(&["nginx=1.22.1-9", "old=1", "libssl3=3.0.20", "libc6=2.36"]).into(),
                after: texts(&["new=2", "nginx=1.22.1-9", "libssl3=3.0.22", "libc6=2.36"]).into(),
            },
            files,
            libraries,
            processes: reached_processes().into(),
            unmet: Vec::new(),
            order: vec![
                texts(&["ask router"]),
                texts(&["stop old", "stop nginx"]),
                texts(&["start nginx", "move router"]),
            ]
            .into(),
            bytes: Bytes {
                store: 6_543_210,
                ..Bytes::default()
            },
            one_way: Vec::new(),
            rollback_points_lost: Vec::new(),
            superseded: Vec::new(),
            warnings: texts(&["router can reach a dlopen that nobody annotated"]),
        }
    }

    fn reached_processes() -> Vec<ProcessImpact> {
        vec![
            impact("memcached", Kind::Simple, Verdict::None, &[]),
            impact(
                "nginx",
                Kind::Simple,
                Verdict::Restart,
                &[
                    &["libssl.so.3 changed", "/usr/sbin/nginx needs it"],
                    &[
                        "libcrypto.so.3 changed",
                        "libssl.so.3 needs it",
                        "/usr/sbin/nginx needs it",
                    ],
                    &["libcrypto.so.3 changed", "/usr/sbin/nginx needs it"],
                ],
            ),
            impact(
                "router",
                Kind::SelfManaging,
                Verdict::Notify,
                &[&[
                    "libssl.so.3 changed",
                    "plugin tls.so needs it",
                    "router opens it",
                ]],
            ),
            impact(
                "old",
                Kind::Simple,
                Verdict::Stop,
                &[&["old leaves the set"]],
            ),
        ]
    }

    #[test]
    fn a_plan_shows_who_is_reached_and_why() {
        assert_snapshot!(plan(&update_of_libssl(), Look::plain(72)), @r"
        Software set
          ~ libssl3  3.0.20 → 3.0.22
          + new      2
          - old      1

        Files
          2 libraries changed, 2 rebuilt (same substance: what runs is kept)
          1 other file changed

        Processes
          restart  nginx   libssl.so.3 changed ← /usr/sbin/nginx needs it
                           libcrypto.so.3 changed ← libssl.so.3 needs it
                           ← /usr/sbin/nginx needs it
                           and in 1 more way (--json shows all)
          notify   router  libssl.so.3 changed ← plugin tls.so needs it
                           ← router opens it
                           self-managing: told, and handles it without a restart
          stop     old     old leaves the set
          none     memcached

        Order
          1  ask router
          2  stop old, stop nginx
          3  start nginx, move router

        Disk
          6.2 MiB to write

        warning: router can reach a dlopen that nobody annotated
        ");
    }

    #[test]
    fn a_plan_that_does_nothing_says_so() {
        let set = texts(&["libc6=2.36"]);
        let report = PlanReport {
            set: SetChange {
                before: set.clone().into(),
                after: set.into(),
            },
            processes: vec![impact("nginx", Kind::Simple, Verdict::None, &[])].into(),
            ..PlanReport::default()
        };
        assert!(!does_something(&report));
        assert_snapshot!(plan(&report, Look::plain(72)), @r"
        Software set
          stays as it is (1 package)

        Processes
          none     nginx
        ");
    }

    #[test]
    fn what_is_unmet_comes_with_the_way_out() {
        let report = PlanReport {
            set: SetChange {
                before: model::Later::default(),
                after: texts(&["nginx=1"]).into(),
            },
            unmet: vec![Unmet {
                by: "/usr/sbin/nginx".into(),
                needs: "libssl.so.3 (OPENSSL_3.0.0)".into(),
                hint: "pkgtool activate libssl3=3.0.22".into(),
            }],
            ..PlanReport::default()
        };
        assert_snapshot!(plan(&report, Look::plain(72)), @r"
        Software set
          + nginx  1

        Processes
          none

        Unmet: this cannot be done
          ✗ /usr/sbin/nginx needs libssl.so.3 (OPENSSL_3.0.0)
            try: pkgtool activate libssl3=3.0.22
        ");
    }
}
