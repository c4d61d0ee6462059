//! Documents as text for people: pure, from a document and a [`Look`] to a string.

pub mod change;
pub mod drift;
pub mod fleet;
pub mod history;
pub mod lists;
pub mod plan;
pub mod record;
pub mod timeline;
pub mod verify;
pub mod why;

use std::fmt::{self, Write as _};

use crate::show::Look;

/// Writes at the end of `out`; a string always takes it.
pub(crate) fn add(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A heading with an empty line before it, unless it is the first.
fn heading(look: Look, text: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&look.strong(text));
    out.push('\n');
}

/// `1 library`, `2 libraries`.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A reason chain, from the cause to the process, wrapped between its links; lines after the
/// first begin with `indent` blanks. What a link repeats of the one before it is left out; the
/// documents (`--json`) have it all.
fn chain(links: &[String], indent: usize, look: Look) -> String {
    let mut told: Vec<String> = Vec::with_capacity(links.len());
    let mut before = "";
    for (i, link) in links.iter().enumerate() {
        let subject = link.split(' ').next().unwrap_or_default();
        let last = i + 1 == links.len();
        if last
            && i > 0
            && link
                .split_once(" runs ")
                .is_some_and(|(_, file)| file == before)
        {
            break;
        }
        let name = file_name(before);
        let needs = link
            .split_once(" needs ")
            .filter(|(_, what)| i > 0 && *what == name);
        told.push(match needs {
            Some((who, _)) => format!("{} needs it", library_name(who)),
            None => library_name(link),
        });
        before = subject;
    }
    wrap(&told, " ← ", indent, look)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A library by its file name, as people know it; everything else as it is.
fn library_name(link: &str) -> String {
    let (path, rest) = link.split_once(' ').unwrap_or((link, ""));
    let name = file_name(path);
    if !path.starts_with('/') || !name.contains(".so") {
        return link.to_owned();
    }
    if rest.is_empty() {
        name.to_owned()
    } else {
        format!("{name} {rest}")
    }
}

/// Parts with `glue` between them, wrapped between the parts.
fn wrap(parts: &[String], glue: &str, indent: usize, look: Look) -> String {
    let mut out = String::new();
    let mut column = indent;
    for (i, part) in parts.iter().enumerate() {
        let glue = if i == 0 { "" } else { glue };
        let length = console::measure_text_width(glue) + console::measure_text_width(part);
        if i > 0 && column.saturating_add(length) > look.width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            let glue = glue.trim_start();
            out.push_str(glue);
            column = indent + console::measure_text_width(glue);
        } else {
            out.push_str(glue);
            column += console::measure_text_width(glue);
        }
        out.push_str(part);
        column += console::measure_text_width(part);
    }
    out
}

/// `text` and blanks up to `width` columns.
fn padded(text: &str, width: usize) -> String {
    let blanks = width.saturating_sub(console::measure_text_width(text));
    format!("{text}{}", " ".repeat(blanks))
}

/// The widest of these.
fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts
        .map(console::measure_text_width)
        .max()
        .unwrap_or_default()
}

/// `1.4 MiB`, as `ls -h` would have it.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut tenths = number.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", tenths / 10)
    }
}

/// `12 ms`, `3.4 s`.
fn millis(number: u64) -> String {
    if number < 10_000 {
        return if number < 1_000 {
            format!("{number} ms")
        } else {
            format!("{}.{} s", number / 1000, number % 1000 / 100)
        };
    }
    format!("{} s", number / 1000)
}

/// How long ago a time in RFC 3339 is, as `ps` would have it: `12 s`, `5 min`, `3 h`, `9 d`. A
/// time that cannot be read is shown as it is.
fn ago(time: &str, now: jiff::Timestamp) -> String {
    let Ok(then) = time.parse::<jiff::Timestamp>() else {
        return time.to_owned();
    };
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6_000 => format!("{} min", seconds / 60),
        6_000..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A time in RFC 3339 as the user's clock has it, to the second.
fn local(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(
        |_| time.to_owned(),
        |then| {
            then.to_zoned_datetime(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (150 << 20, "150 MiB"),
            (3 << 40, "3.0 TiB"),
            (u64::MAX, "1677721 TiB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(millis(999), "999 ms");
        assert_eq!(millis(3_456), "3.4 s");
        assert_eq!(millis(90_000), "90 s");
    }

    #[test]
    fn times_are_told_by_their_distance() {
        let now: jiff::Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        assert_eq!(ago("2026-11-23T11:59:48Z", now), "12 s");
        assert_eq!(ago("2026-11-23T11:30:00Z", now), "30 min");
        assert_eq!(ago("2026-11-20T12:00:00Z", now), "3 d");
        assert_eq!(ago("2026-11-23T12:00:09Z", now), "0 s");
        assert_eq!(ago("yesterday", now), "yesterday");
    }

    #[test]
    fn chains_say_nothing_twice() {
        let links = [
            "/usr/lib/x86_64-linux-gnu/libssl.so.3 changed",
            "/usr/lib/x86_64-linux-gnu/libcurl.so.4 needs libssl.so.3",
            "/usr/bin/fetch needs libcurl.so.4",
            "fetcher runs /usr/bin/fetch",
        ];
        assert_eq!(
            chain(&links.map(str::to_owned), 4, Look::plain(200)),
            "libssl.so.3 changed ← libcurl.so.4 needs it ← /usr/bin/fetch needs it"
        );
        let own = ["/usr/bin/fetch changed", "fetcher runs /usr/bin/fetch"].map(str::to_owned);
        assert_eq!(chain(&own, 4, Look::plain(200)), "/usr/bin/fetch changed");
    }

    #[test]
    fn chains_wrap_between_their_links() {
        let links = [
            "libssl.so.3 changed",
            "libcurl.so.4 needs it",
            "/usr/bin/x needs it",
        ];
        let links = links.map(str::to_owned);
        assert_eq!(
            chain(&links, 4, Look::plain(50)),
            "libssl.so.3 changed ← libcurl.so.4 needs it\n    ← /usr/bin/x needs it"
        );
    }
}
