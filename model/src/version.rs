//! Package versions, ordered as Debian orders them (Debian policy 5.6.12).
//!
//! Written here because the maintained crate brings a regular-expression engine, big integers and a
//! calendar for it; checked against dpkg's own answer. See `docs/decisions/0002-own-version-order.md`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{NameError, text_type};

/// `[EPOCH:]UPSTREAM[-REVISION]`, at most 256 bytes.
///
/// Two versions may be equal in order and differ in text (`1.0` and `1.00`), so [`Ord`] compares
/// the text where the order alone would not tell them apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(Box<str>);

text_type!(Version);

impl FromStr for Version {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |rule| Err(NameError::new("version", rule, text));
        if text.is_empty() || text.len() > 256 {
            return refuse("1 to 256 characters");
        }
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch, rest),
            None => ("0", text),
        };
        if epoch.parse::<u32>().is_err() || !epoch.bytes().all(|c| c.is_ascii_digit()) {
            return refuse("the epoch before ':' is a number");
        }
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b".+-:~".contains(&c);
        if !rest
            .bytes()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric())
        {
            return refuse("it begins with a letter or digit");
        }
        if !rest.bytes().all(allowed) {
            return refuse("letters, digits and '.+-:~'");
        }
        Ok(Self(text.into()))
    }
}

impl Version {
    fn parts(&self) -> (u32, &str, &str) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("0", &self.0));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }

    /// The order alone: [`Ordering::Equal`] for `1.0` and `1.00`.
    pub fn compare(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (self.parts(), other.parts());
        (ours.0.cmp(&theirs.0))
            .then_with(|| compare_part(ours.1, theirs.1))
            .then_with(|| compare_part(ours.2, theirs.2))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares alternating runs of non-digits and digits, from the left.
fn compare_part(ours: &str, theirs: &str) -> Ordering {
    let (mut ours, mut theirs) = (ours.as_bytes(), theirs.as_bytes());
    while !ours.is_empty() || !theirs.is_empty() {
        let (left, right) = (take(&mut ours, |c| !c.is_ascii_digit()), {
            take(&mut theirs, |c| !c.is_ascii_digit())
        });
        let order = compare_text(left, right).then_with(|| {
            let left = take(&mut ours, u8::is_ascii_digit);
            let right = take(&mut theirs, u8::is_ascii_digit);
            compare_number(left, right)
        });
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn take<'a>(text: &mut &'a [u8], wanted: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|c| !wanted(c)).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    *text = tail;
    head
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn weight(c: Option<&u8>) -> i32 {
    match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    }
}

fn compare_text(ours: &[u8], theirs: &[u8]) -> Ordering {
    let length = ours.len().max(theirs.len());
    (0..length)
        .map(|i| weight(ours.get(i)).cmp(&weight(theirs.get(i))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers of any length, without leading zeros.
fn compare_number(ours: &[u8], theirs: &[u8]) -> Ordering {
    let strip =
        |digits: &[u8]| -> Vec<u8> { digits.iter().copied().skip_while(|c| *c == b'0').collect() };
    let (ours, theirs) = (strip(ours), strip(theirs));
    ours.len()
        .cmp(&theirs.len())
        .then_with(|| ours.cmp(&theirs))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn debians_own_examples_are_in_order() {
        let rising = [
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0",
            "1.0-1",
            "1.0-1~deb12u1+b1",
            "1.0-1+b1",
            "1.0a",
            "1.0+x",
            "1.2",
            "1.10",
            "1:0.1",
        ];
        let mut sorted: Vec<Version> = rising.iter().rev().map(|text| version(text)).collect();
        sorted.sort();
        // A revision that begins with '~' precedes none at all, so it is checked on its own.
        assert!(version("1.0-1~x") < version("1.0-1"));
        let found: Vec<String> = sorted.iter().map(ToString::to_string).collect();
        let mut expected: Vec<&str> = rising.to_vec();
        expected.swap(3, 4);
        assert_eq!(found, expected);
    }

    #[test]
    fn bad_versions_are_refused() {
        for bad in [
            "",
            "-1",
            "a:1",
            "1_2",
            "1 2",
            "é",
            ":1",
            "+5:1",
            "99999999999:1",
        ] {
            bad.parse::<Version>().unwrap_err();
        }
    }

    #[test]
    fn leading_zeros_do_not_count_in_the_order() {
        assert_eq!(version("1.0").compare(&version("1.00")), Ordering::Equal);
        assert_ne!(version("1.0").cmp(&version("1.00")), Ordering::Equal);
    }

    fn text() -> impl Strategy<Value = String> {
        "([0-9]:)?[0-9a-z][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,4})?"
    }

    fn dpkg_says(ours: &str, relation: &str, theirs: &str) -> bool {
        let mut dpkg = Command::new("dpkg");
        dpkg.args(["--compare-versions", ours, relation, theirs])
            .status()
            .unwrap()
            .success()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn the_order_is_dpkgs(ours in text(), theirs in text()) {
            let order = version(&ours).compare(&version(&theirs));
            let relation = match order {
                Ordering::Less => "lt",
                Ordering::Equal => "eq",
                Ordering::Greater => "gt",
            };
            prop_assert!(dpkg_says(&ours, relation, &theirs), "{ours} {relation} {theirs}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in text(), b in text(), c in text()) {
            let (a, b, c) = (version(&a), version(&b), version(&c));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            prop_assert_eq!(a.cmp(&b).is_eq(), a == b);
        }
    }
}
