//! `status`, `list`, `ps`, and what `add` and `remove` did.

use jiff::Timestamp;
use model::PackageId;
use model::change::{AddedPackage, ProcessStatus, StatusReport, StoredPackage};
use model::trust::Admitted;

use super::{add, ago, bytes, count, heading, local, widest, wrap};
use crate::show::Look;

/// More active packages than this are only counted in the status.
const ACTIVE: usize = 6;
/// More packages than this are only counted when they are added.
const ADDED: usize = 12;

/// What `add` read.
pub fn added(packages: &[AddedPackage], look: Look) -> String {
    let mut out = String::new();
    if packages.len() > ADDED {
        let new = packages.iter().filter(|one| one.new).count();
        let (head, what) = (look.good("added"), count(new, "package", "packages"));
        let had = match packages.len() - new {
            0 => String::new(),
            had => format!(", had {had} already"),
        };
        return format!("{head} {what}{had}\n");
    }
    for one in packages {
        if one.new {
            let word = match &one.admitted {
                Some(Admitted::Keys { signers }) => {
                    let all: Vec<String> = signers.iter().map(ToString::to_string).collect();
                    look.faint(format_args!(", signed by {}", all.join(" and ")))
                }
                Some(admitted @ Admitted::Person { .. }) => {
                    look.notable(format_args!(", {admitted}"))
                }
                Some(Admitted::Configuration { .. }) | None => String::new(),
            };
            add(
                &mut out,
                format_args!("{} {}{word}\n", look.good("added"), one.package),
            );
        } else {
            out.push_str(&look.faint(format_args!("had   {} already", one.package)));
            out.push('\n');
        }
    }
    out
}

/// What `remove` took out; each is the identity of a package.
pub fn removed(packages: &[String], look: Look) -> String {
    let mut out = String::new();
    for one in packages {
        let name = one
            .parse::<PackageId>()
            .map_or_else(|_| one.clone(), |id| format!("{}={}", id.name, id.version));
        add(&mut out, format_args!("{} {name}\n", look.good("removed")));
    }
    out
}

/// The packages in the store.
pub fn list(packages: &[StoredPackage], look: Look) -> String {
    if packages.is_empty() {
        return format!(
            "{}\n",
            look.faint("the store is empty: pkgtool add FILE.pkg")
        );
    }
    // Where no signature is asked for, a column that says so everywhere says nothing.
    let told = |one: &StoredPackage| {
        one.revoked.is_some()
            || matches!(
                one.admitted,
                Some(Admitted::Keys { .. } | Admitted::Person { .. })
            )
    };
    let with_keys = packages.iter().any(told);
    let rows: Vec<Vec<String>> = packages
        .iter()
        .map(|one| {
            let (name, version) = one.package.split_once('=').unwrap_or((&one.package, ""));
            let mark = if one.active {
                look.good('●')
            } else {
                look.faint('○')
            };
            let mut row = vec![
                format!("{mark} {name}"),
                version.to_owned(),
                bytes(one.size),
                one.summary.clone(),
            ];
            if with_keys {
                row.insert(3, signed(one, look));
            }
            row
        })
        .collect();
    let active = packages.iter().filter(|one| one.active).count();
    let stored = count(packages.len(), "package", "packages");
    let mut heads = vec!["  package", "version", "size", "summary"];
    if with_keys {
        heads.insert(3, "signed");
    }
    let table = look.table(&heads, &["size"], &rows);
    format!(
        "{table}{}\n",
        look.faint(format_args!("{stored}, {active} active"))
    )
}

/// Who vouches for a package, in a column.
fn signed(one: &StoredPackage, look: Look) -> String {
    let word = one.admitted.as_ref().map(Admitted::short);
    let word = word.unwrap_or_default();
    match (&one.revoked, &one.admitted) {
        (Some(_), _) => look.bad(format_args!("{word}, revoked")),
        (None, Some(Admitted::Person { .. })) => look.notable(word),
        (None, _) => word,
    }
}

/// The supervised processes.
pub fn ps(processes: &[ProcessStatus], now: Timestamp, look: Look) -> String {
    if processes.is_empty() {
        return format!("{}\n", look.faint("no process is supervised"));
    }
    let heads = [
        "process", "pid", "state", "gen", "for", "restarts", "package", "status",
    ];
    let rows: Vec<Vec<String>> = processes.iter().map(|one| ps_row(one, now, look)).collect();
    look.table(&heads, &["pid", "gen", "for", "restarts"], &rows)
}

fn ps_row(one: &ProcessStatus, now: Timestamp, look: Look) -> Vec<String> {
    let state = match one.state.as_str() {
        "ready" | "done" => look.good(&one.state),
        "failed" => look.bad(&one.state),
        "starting" | "stopping" | "waiting" => look.notable(&one.state),
        _ => look.faint(&one.state),
    };
    vec![
        one.name.to_string(),
        one.pid
            .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        state,
        one.generation.to_string(),
        ago(&one.since, now),
        one.restarts.to_string(),
        one.package.to_string(),
        one.status.clone().unwrap_or_default(),
    ]
}

/// The node on one screen.
pub fn status(report: &StatusReport, now: Timestamp, look: Look) -> String {
    let mut out = String::new();
    out.push_str(&generations(report, look));
    if let Some(change) = &report.change {
        let head = look.notable(format_args!("change {}", change.change));
        let time = ago(&change.since, now);
        // Nobody asked for this one: a node that begins starts what it has committed.
        let line = if change.change.0 == 0 {
            format!("the committed set is being started (for {time})")
        } else {
            format!(
                "{head} is running: {} (by {}, for {time})",
                change.phase, change.by
            )
        };
        add(&mut out, format_args!("{line}\n"));
    }
    if !report.sysmgrd {
        add(
            &mut out,
            format_args!("{} sysmgrd does not answer\n", look.bad("✗")),
        );
    }
    for discrepancy in &report.discrepancies {
        let text = discrepancy.replace('\n', "\n  ");
        add(&mut out, format_args!("{} {text}\n", look.bad("✗")));
    }
    if !report.processes.is_empty() {
        heading(look, &summary_of(&report.processes), &mut out);
        for line in ps(&report.processes, now, look).lines() {
            add(&mut out, format_args!("  {line}\n"));
        }
    }
    if !report.active.is_empty() {
        out.push_str(&active(&report.active, look));
    }
    heading(look, "Store", &mut out);
    let store = report.store;
    add(
        &mut out,
        format_args!(
            "  {} packages, {} objects, {}\n",
            store.packages,
            store.objects,
            bytes(store.bytes)
        ),
    );
    out
}

/// The active packages: the first of a long set, which are its applications.
fn active(all: &[String], look: Look) -> String {
    let head = count(all.len(), "active package", "active packages");
    let mut some: Vec<String> = all.iter().take(ACTIVE).cloned().collect();
    if all.len() > ACTIVE {
        let more = all.len() - ACTIVE;
        some.push(format!("and {more} more (pkgtool list)"));
    }
    format!(
        "\n{}\n  {}\n",
        look.strong(head),
        wrap(&some, ", ", 2, look)
    )
}

fn generations(report: &StatusReport, look: Look) -> String {
    let mut out = String::new();
    if report.generation.0 == 0 {
        out.push_str("no generation runs yet: pkgtool add FILE.pkg, then pkgtool activate NAME\n");
    } else {
        let number = look.strong(format_args!("generation {}", report.generation));
        let next = if report.trial {
            let (notable, committed) = (look.notable("as a trial"), report.committed);
            let keep = "pkgtool commit keeps it, pkgtool rollback ends it";
            format!("runs {notable}: the next boot runs generation {committed}; {keep}")
        } else if report.committed == report.generation {
            "runs, and is what the next boot runs".to_owned()
        } else {
            format!("runs; the next boot runs generation {}", report.committed)
        };
        add(&mut out, format_args!("{number} {next}\n"));
    }
    let others: Vec<_> = report
        .generations
        .iter()
        .filter(|one| one.generation != report.generation)
        .collect();
    let width = widest(others.iter().map(|one| one.created.as_str()));
    for one in others {
        let processes = match one.processes.len() {
            0 => String::new(),
            n => format!(", {} in it", count(n, "process lives", "processes live")),
        };
        let packages = count(one.set.len(), "package", "packages");
        let created = format!("{:<width$}", local(&one.created));
        let kept = match (one.trial, one.pinned) {
            (true, _) => ", an earlier trial",
            (false, true) => ", pinned",
            (false, false) => "",
        };
        let line = format!(
            "  {:>4}  {created}  {packages}{processes}{kept}",
            one.generation
        );
        add(&mut out, format_args!("{}\n", look.faint(line.trim_end())));
    }
    out
}

fn summary_of(processes: &[ProcessStatus]) -> String {
    let ready = processes
        .iter()
        .filter(|one| matches!(one.state.as_str(), "ready" | "done"));
    format!(
        "{}, {} up",
        count(processes.len(), "process", "processes"),
        ready.count()
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::Generation;
    use model::change::StoreStatus;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn process(name: &str, pid: Option<u32>, state: &str) -> ProcessStatus {
        ProcessStatus {
            name: name.parse().unwrap(),
            package: name.parse().unwrap(),
            pid,
            state: state.to_owned(),
            generation: Generation(2),
            since: "2026-11-23T11:58:00Z".to_owned(),
            restarts: 1,
            registered: false,
            status: (state == "failed").then(|| "exit status 1".to_owned()),
        }
    }

    #[test]
    fn processes_are_a_table() {
        let all = [
            process("nginx", Some(4711), "ready"),
            process("redis-server", None, "failed"),
        ];
        assert_snapshot!(ps(&all, now(), Look::plain(100)), @r"
        PROCESS        PID  STATE   GEN    FOR  RESTARTS  PACKAGE       STATUS
        nginx         4711  ready     2  2 min         1  nginx
        redis-server     -  failed    2  2 min         1  redis-server  exit status 1
        ");
    }

    #[test]
    fn the_store_is_a_table() {
        let package = |name: &str, active| StoredPackage {
            package: name.to_owned(),
            id: "x_1_01234567".parse().unwrap(),
            active,
            size: 6_000_000,
            summary: "Secure Sockets Layer toolkit".to_owned(),
            added: "2026-11-23T11:58:00Z".to_owned(),
            admitted: None,
            revoked: None,
        };
        let all = [
            package("libssl3=3.0.20", false),
            package("libssl3=3.0.22", true),
        ];
        assert_snapshot!(list(&all, Look::plain(100)), @r"
          PACKAGE  VERSION     SIZE  SUMMARY
        ○ libssl3  3.0.20   5.7 MiB  Secure Sockets Layer toolkit
        ● libssl3  3.0.22   5.7 MiB  Secure Sockets Layer toolkit
        2 packages, 1 active
        ");
    }

    #[test]
    fn what_was_removed_is_named_as_it_is_typed() {
        let ids = ["nginx_1.22.1-9_26baf53e".to_owned()];
        assert_eq!(removed(&ids, Look::plain(80)), "removed nginx=1.22.1-9\n");
    }

    #[test]
    fn many_packages_are_counted() {
        let packages: Vec<AddedPackage> = (0..20)
            .map(|number| AddedPackage {
                package: format!("p{number}=1"),
                id: "x_1_01234567".parse().unwrap(),
                new: number > 2,
                admitted: None,
            })
            .collect();
        assert_eq!(
            added(&packages, Look::plain(80)),
            "added 17 packages, had 3 already\n"
        );
        let names: Vec<String> = packages.into_iter().map(|one| one.package).collect();
        assert_snapshot!(active(&names, Look::plain(80)), @r"

        20 active packages
          p0=1, p1=1, p2=1, p3=1, p4=1, p5=1, and 14 more (pkgtool list)
        ");
    }

    #[test]
    fn the_status_says_what_is_wrong_first() {
        let report = StatusReport {
            generation: Generation(2),
            committed: Generation(2),
            active: vec!["nginx=1.22".into(), "libc6=2.36".into()],
            discrepancies: vec!["nginx needs libssl.so.3, which no package brings".into()],
            processes: vec![process("nginx", Some(4711), "ready")],
            sysmgrd: true,
            store: StoreStatus {
                packages: 2,
                objects: 1234,
                bytes: 50_000_000,
            },
            ..StatusReport::default()
        };
        assert_snapshot!(status(&report, now(), Look::plain(80)), @r"
        generation 2 runs, and is what the next boot runs
        ✗ nginx needs libssl.so.3, which no package brings

        1 process, 1 up
          PROCESS   PID  STATE  GEN    FOR  RESTARTS  PACKAGE  STATUS
          nginx    4711  ready    2  2 min         1  nginx

        2 active packages
          nginx=1.22, libc6=2.36

        Store
          2 packages, 1234 objects, 47 MiB
        ");
    }
}
