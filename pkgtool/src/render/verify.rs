//! What `verify` found on a node.

use model::change::{DifferingFile, VerifyReport};

use super::{add, bytes, count};
use crate::show::Look;

/// The report, the wrong things first.
pub fn text(report: &VerifyReport, look: Look) -> String {
    let mut out = String::new();
    for one in &report.differing {
        out += &file("differs", one, look);
    }
    for one in &report.mapped {
        let name = look.strong(&one.process);
        add(
            &mut out,
            format_args!(
                "{} {name} (pid {}, generation {}): {}: {}\n",
                look.bad("maps"),
                one.pid,
                one.generation,
                one.path,
                one.how
            ),
        );
    }
    for one in &report.config {
        add(
            &mut out,
            format_args!(
                "{} {} {}\n",
                look.notable("changed here"),
                one.path,
                look.faint(format_args!("{} of {}", one.how, one.package))
            ),
        );
    }
    let read = if report.bytes > 0 {
        format!(", {} read", bytes(report.bytes))
    } else {
        String::new()
    };
    let files = count(
        usize::try_from(report.files).unwrap_or(usize::MAX),
        "file",
        "files",
    );
    let verdict = if report.differing.is_empty() && report.mapped.is_empty() {
        look.good("nothing differs")
    } else {
        look.bad("not as it should be")
    };
    add(
        &mut out,
        format_args!(
            "generation {}: {files}{read}: {verdict}\n",
            report.generation
        ),
    );
    out
}

fn file(word: &str, one: &DifferingFile, look: Look) -> String {
    let of = match one.package.as_str() {
        "" => String::new(),
        package => format!(" of {package}"),
    };
    format!("{} {}{of}: {}\n", look.bad(word), one.path, one.how)
}
