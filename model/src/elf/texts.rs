//! What looks like a path or a date: the two things that a rebuild puts into strings.

/// Stands for a path. No text has it, and it is never joined with what stands beside it.
const PATH: u8 = 1;
/// Stands for a date or a time of day.
const DATE: u8 = 2;

/// `bytes` with everything that looks like a path or a date replaced by a mark, and runs of NULs
/// (strings end with one, and padding follows) by one.
pub(super) fn without_paths_and_dates(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut inside_word = false;
    while let Some((first, behind)) = rest.split_first() {
        let (mark, length) = if inside_word {
            (*first, 1)
        } else {
            begin(rest)
        };
        if !(mark == 0 && plain.last() == Some(&0)) {
            plain.push(mark);
        }
        inside_word = length == 1 && is_path_character(*first);
        rest = if length == 1 {
            behind
        } else {
            rest.get(length..).unwrap_or_default()
        };
    }
    plain
}

/// The mark for what begins here and how long it is; else the first byte itself.
fn begin(bytes: &[u8]) -> (u8, usize) {
    if let Some(length) = date_length(bytes) {
        return (DATE, length);
    }
    if let Some(length) = path_length(bytes) {
        return (PATH, length);
    }
    (bytes.first().copied().unwrap_or_default(), 1)
}

fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+~@".contains(&byte)
}

/// A path begins with `/`, or has two of them: `a/b` alone may be a media type or a fraction.
fn path_length(bytes: &[u8]) -> Option<usize> {
    let run = bytes
        .iter()
        .take_while(|byte| is_path_character(**byte))
        .count();
    let run = bytes.get(..run)?;
    let rooted = run.first() == Some(&b'/') && run.len() > 2;
    let deep = run.split(|byte| *byte == b'/').nth(2).is_some();
    (rooted || deep).then_some(run.len())
}

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// `9` stands for a digit, `_` for a digit or a space, `M` for a month's name.
const SHAPES: [&str; 4] = ["M _9 9999", "9999-99-99", "9999/99/99", "99:99:99"];

fn date_length(bytes: &[u8]) -> Option<usize> {
    SHAPES.iter().find_map(|shape| shape_length(bytes, shape))
}

fn shape_length(bytes: &[u8], shape: &str) -> Option<usize> {
    let mut at = 0;
    for part in shape.bytes() {
        let byte = *bytes.get(at)?;
        let (fits, length) = match part {
            b'9' => (byte.is_ascii_digit(), 1),
            b'_' => (byte.is_ascii_digit() || byte == b' ', 1),
            b'M' => (MONTHS.contains(&bytes.get(at..at + 3)?), 3),
            exact => (byte == exact, 1),
        };
        if !fits {
            return None;
        }
        at += length;
    }
    Some(at)
}

/// The longest string shown to people.
const SHOWN: usize = 120;

/// The first strings of two parts that differ, for people.
pub(super) fn first_difference(old: &[u8], new: &[u8]) -> Option<(String, String)> {
    let strings = |bytes: &'_ [u8]| -> Vec<Vec<u8>> {
        bytes
            .split(|c| *c == 0)
            .filter(|text| !text.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    };
    let pair = strings(old)
        .into_iter()
        .zip(strings(new))
        .find(|(old, new)| old != new)?;
    Some((shown(&pair.0, &pair.1), shown(&pair.1, &pair.0)))
}

/// The word of `text` around the first byte in which it differs from `other`, made printable.
fn shown(text: &[u8], other: &[u8]) -> String {
    let common = text.iter().zip(other).take_while(|(a, b)| a == b).count();
    let word = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let before = text.get(..common).unwrap_or_default();
    let start = common
        - before
            .iter()
            .rev()
            .take(SHOWN / 2)
            .take_while(|byte| word(byte))
            .count();
    let rest = text.get(start..).unwrap_or_default();
    rest.iter()
        .take_while(|byte| word(byte))
        .take(SHOWN)
        .map(|byte| char::from(*byte))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(old: &str, new: &str) -> bool {
        without_paths_and_dates(old.as_bytes()) == without_paths_and_dates(new.as_bytes())
    }

    #[test]
    fn only_paths_and_dates_are_looked_past() {
        for (old, new) in [
            ("/tmp/a/x.c", "/home/someone/x.c"),
            (
                "built Nov 23 2026 at 10:11:12",
                "built Nov  4 2026 at 23:59:59",
            ),
            ("since 2026-11-23\0\0\0x", "since 2025-01-02\0x"),
            ("src/a/main.rs failed", "lib/b/c/main.rs failed"),
            ("a\0/usr/x/y\0b", "a\0/usr/longer/y\0b"),
        ] {
            assert!(
                same(old, new),
                "{old:?} and {new:?} differ in paths or dates alone"
            );
        }
        for (old, new) in [
            ("hello", "hallo"),
            ("text/html", "text/xml"),
            ("1.2.3", "1.2.4"),
            ("12:34", "12:35"),
            ("/tmp/a b", "/tmp/a c"),
            ("Nov 23 2026 a", "Nov 23 2026 b"),
            ("a\0b", "ab"),
            ("%d/%d", "%d/%s"),
        ] {
            assert!(
                !same(old, new),
                "{old:?} and {new:?} differ in more than paths or dates"
            );
        }
    }

    #[test]
    fn people_see_the_word_that_differs() {
        let shown = first_difference(b"same\0in /tmp/a/x.c\0", b"same\0in /tmp/bb/x.c\0").unwrap();
        assert_eq!(
            shown,
            ("in /tmp/a/x.c".to_owned(), "in /tmp/bb/x.c".to_owned())
        );
        assert_eq!(first_difference(b"a\0", b"a\0\0"), None);
    }
}
