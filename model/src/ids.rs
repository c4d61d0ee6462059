//! Names and numbers, each checked once where it is parsed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::version::Version;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
    value: String,
}

impl NameError {
    pub(crate) fn new(what: &'static str, rule: &'static str, value: &str) -> Self {
        Self {
            what,
            rule,
            value: value.chars().take(80).collect(),
        }
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl $name {
            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = <Self as FromStr>::Err;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                String::from(&*value.0)
            }
        }
    };
}
pub(crate) use text_type;

/// A package's name, by Debian's rule: `[a-z0-9][a-z0-9+.-]*`, at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName(Arc<str>);

impl FromStr for PackageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tail = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+.-".contains(&c);
        let bytes = text.as_bytes();
        let head = bytes
            .first()
            .is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if head && bytes.len() <= 128 && bytes.iter().all(|c| tail(*c)) {
            return Ok(Self(text.into()));
        }
        let rule = "lower-case letters, digits, '+', '.' and '-', beginning with a letter or digit";
        Err(NameError::new("package name", rule, text))
    }
}
text_type!(PackageName);

/// A supervised process's name: `[A-Za-z0-9][A-Za-z0-9:_.@-]*`, at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProcessName(Arc<str>);

impl FromStr for ProcessName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tail = |c: u8| c.is_ascii_alphanumeric() || b":_.@-".contains(&c);
        let bytes = text.as_bytes();
        let head = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        if head && bytes.len() <= 128 && bytes.iter().all(|c| tail(*c)) {
            return Ok(Self(text.into()));
        }
        let rule = "letters, digits and ':_.@-', beginning with a letter or digit";
        Err(NameError::new("process name", rule, text))
    }
}
text_type!(ProcessName);

/// One exact package: `NAME_VERSION_DIGEST8`, where the digest is that of the manifest's bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageId {
    /// The package's name.
    pub name: PackageName,
    /// The package's version.
    pub version: Version,
    /// First eight hexadecimal digits of the manifest's digest.
    pub digest8: Box<str>,
}

impl PackageId {
    /// The identity of the package whose manifest has these bytes' digest.
    pub fn new(name: PackageName, version: Version, manifest: &Digest) -> Self {
        let digest8 = manifest.to_string()[..8].into();
        Self {
            name,
            version,
            digest8,
        }
    }

    /// `NAME=VERSION`, as people write it.
    pub fn name_version(&self) -> String {
        [self.name.as_str(), "=", self.version.as_str()].concat()
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.name, self.version, self.digest8)
    }
}

impl FromStr for PackageId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NameError::new("package id", "NAME_VERSION_DIGEST8", text);
        let mut parts = text.split('_');
        let (Some(name), Some(version), Some(digest8), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse());
        };
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if digest8.len() != 8 || !digest8.bytes().all(hex) {
            return Err(refuse());
        }
        let version = version.parse().map_err(|_| refuse())?;
        Ok(Self {
            name: name.parse()?,
            version,
            digest8: digest8.into(),
        })
    }
}

impl TryFrom<String> for PackageId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PackageId> for String {
    fn from(id: PackageId) -> Self {
        id.to_string()
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_type! {
    /// A materialised software set's number on its node; the first is 1, 0 means none.
    Generation
}
number_type! {
    /// A change's number in its node's history; the first is 1.
    ChangeId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_are_parsed() {
        for good in ["a", "libssl3", "g++-12", "0ad", "x.y"] {
            assert_eq!(good.parse::<PackageName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a_b", "a/b", "ä", &"a".repeat(129)] {
            bad.parse::<PackageName>().unwrap_err();
        }
        for bad in ["", ".", "../x", "a b", "a/b", "-x"] {
            bad.parse::<ProcessName>().unwrap_err();
        }
    }

    #[test]
    fn a_package_id_reads_back() {
        let text = "libssl3_3.0.20-1~deb12u2_0123abcd";
        assert_eq!(text.parse::<PackageId>().unwrap().to_string(), text);
        for bad in [
            "libssl3_3.0",
            "a_1_0123abc",
            "a_1_0123abcX",
            "a_1_0123abcd_x",
            "a_1_0123ABCD",
        ] {
            bad.parse::<PackageId>().unwrap_err();
        }
    }
}
