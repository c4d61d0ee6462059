//! The keys that a node trusts, and those that it does no longer.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{KeyError, KeyId, PublicKey};
use crate::ids::PackageName;
use crate::pattern;

/// When a key's word ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expiry {
    text: String,
    /// Seconds since 1970: the first at which it has expired.
    at: u64,
}

impl Expiry {
    /// Whether it has come.
    pub fn is_past(&self, now: u64) -> bool {
        now >= self.at
    }
}

impl std::str::FromStr for Expiry {
    type Err = String;

    /// `2027-12-31`, of which the whole day is good, or `2027-12-31T12:00:00Z`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole_day = text.len() == 10;
        let instant = if whole_day {
            format!("{text}T00:00:00Z")
        } else {
            text.to_owned()
        };
        let refuse = || format!("{text:?} is no date such as 2027-12-31 or 2027-12-31T12:00:00Z");
        let time = humantime::parse_rfc3339(&instant).map_err(|_| refuse())?;
        let since = time.duration_since(UNIX_EPOCH).map_err(|_| refuse())?;
        let day = Duration::from_secs(if whole_day { 24 * 3600 } else { 0 });
        Ok(Self {
            text: text.to_owned(),
            at: (since + day).as_secs(),
        })
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl TryFrom<String> for Expiry {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Expiry> for String {
    fn from(expiry: Expiry) -> Self {
        expiry.text
    }
}

/// A key with what it is trusted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// The key.
    pub key: PublicKey,
    /// The file that says so, by its name.
    pub file: String,
    /// Patterns of package names; empty: every package.
    pub packages: Vec<String>,
    /// Until when.
    pub expires: Option<Expiry>,
}

impl Trusted {
    /// Reads a `.pub` file of the node: the key, then lines `packages: PATTERN…` and
    /// `expires: DATE`; `#` begins a comment. What is not understood is not trusted.
    pub fn parse(file: &str, text: &str) -> Result<Self, KeyError> {
        let (key, rest) = PublicKey::parse(text)?;
        let mut trusted = Self {
            key,
            file: file.to_owned(),
            packages: Vec::new(),
            expires: None,
        };
        for (line, text) in fields(rest) {
            trusted.field(line, text)?;
        }
        Ok(trusted)
    }

    fn field(&mut self, line: usize, text: &str) -> Result<(), KeyError> {
        let refuse = |rule| {
            Err(KeyError::Line {
                line,
                text: text.to_owned(),
                rule,
            })
        };
        let Some((name, value)) = text.split_once(':') else {
            return refuse("is neither \"packages: PATTERN…\" nor \"expires: DATE\"");
        };
        match name.trim() {
            "packages" => {
                let patterns: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
                let sound =
                    |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+.-*?".contains(&c);
                if patterns.is_empty() || !patterns.iter().all(|one| one.bytes().all(sound)) {
                    return refuse("must name packages, by names in which * and ? may stand");
                }
                self.packages.extend(patterns);
                Ok(())
            }
            "expires" if self.expires.is_none() => match value.trim().parse() {
                Ok(expiry) => {
                    self.expires = Some(expiry);
                    Ok(())
                }
                Err(_) => refuse("must be a date: 2027-12-31 or 2027-12-31T12:00:00Z"),
            },
            "expires" => refuse("comes twice"),
            _ => refuse("is neither \"packages: PATTERN…\" nor \"expires: DATE\""),
        }
    }

    /// Whether it is trusted for this package.
    pub fn covers(&self, package: &PackageName) -> bool {
        self.packages.is_empty()
            || self
                .packages
                .iter()
                .any(|one| pattern::matches(one, package.as_str()))
    }
}

/// Lines with something on them, numbered as in a file whose first two lines are the key.
fn fields(rest: &str) -> impl Iterator<Item = (usize, &str)> {
    (3..)
        .zip(rest.lines().map(str::trim))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// A key whose word counts no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The file that says so, by its name.
    pub file: String,
    /// What its comment says.
    pub comment: String,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    /// Keys that are trusted for something.
    pub keys: Vec<Trusted>,
    /// Keys that are not, whatever [`keys`](Self::keys) says.
    pub revoked: BTreeMap<KeyId, Revoked>,
    /// Files that were passed over, and why.
    pub problems: Vec<String>,
}

impl Keyring {
    /// Takes in the file `name` with this text: `*.pub` trusts a key, `*.revoked`, the same file
    /// under another name, ends that.
    pub fn file(&mut self, name: &str, text: &str) {
        let read = if name.ends_with(".revoked") {
            PublicKey::parse(text).map(|(key, _)| {
                let (file, comment) = (name.to_owned(), key.comment().to_owned());
                self.revoked.insert(key.id(), Revoked { file, comment });
            })
        } else {
            Trusted::parse(name, text).map(|key| self.keys.push(key))
        };
        if let Err(error) = read {
            self.problem(name, error);
        }
    }

    /// Notes that the file `name` was passed over.
    pub fn problem(&mut self, name: &str, reason: impl fmt::Display) {
        let what = if name.ends_with(".revoked") {
            "revokes nothing"
        } else {
            "is not trusted"
        };
        self.problems
            .push(format!("key file {name} {what}: {reason}"));
    }

    /// Of keys that have once admitted a package: why their word counts no longer. `None` while one
    /// of them is not revoked.
    pub fn revoked<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a KeyId>,
    ) -> Option<(KeyId, &Revoked)> {
        let mut first = None;
        for id in keys {
            let revoked = self.revoked.get(id)?;
            first = first.or(Some((*id, revoked)));
        }
        first
    }
}
