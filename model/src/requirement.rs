//! What a package asks of others: `NAME`, `NAME >= 4, < 5`, with alternatives `a | b`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{NameError, PackageName};
use crate::version::Version;

/// How a version must stand to the one named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

impl Relation {
    /// Longest first, so that `<=` is not read as `<`.
    const ALL: [(&str, Self); 5] = [
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        ("=", Self::Equal),
        (">", Self::Greater),
    ];

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Greater => order.is_gt(),
        }
    }
}

/// One name with the bounds that its version must keep; no bounds: any version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alternative {
    /// A package's name, or a name that a package provides.
    pub name: PackageName,
    /// Bounds, all of which must hold.
    pub bounds: Vec<(Relation, Version)>,
}

impl Alternative {
    /// Whether a package of this version answers it.
    pub fn admits(&self, version: &Version) -> bool {
        self.bounds
            .iter()
            .all(|(relation, bound)| relation.holds(version.compare(bound)))
    }
}

/// One or more alternatives, any of which will do; the first is preferred.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    /// Never empty.
    alternatives: Vec<Alternative>,
}

impl Requirement {
    /// The alternatives, in order of preference; at least one.
    pub fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }

    /// Whether the package `name` of `version` answers it.
    pub fn admits(&self, name: &PackageName, version: &Version) -> bool {
        self.alternatives
            .iter()
            .any(|one| one.name == *name && one.admits(version))
    }
}

impl FromStr for Requirement {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alternatives = text.split('|').map(alternative).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }
}

fn alternative(text: &str) -> Result<Alternative, NameError> {
    let text = text.trim();
    let end = text
        .find(|c: char| c.is_whitespace() || "<=>".contains(c))
        .unwrap_or(text.len());
    let (name, bounds) = text.split_at(end);
    let bounds = bounds.trim();
    let bounds = if bounds.is_empty() {
        Vec::new()
    } else {
        bounds
            .split(',')
            .map(|one| bound(one, text))
            .collect::<Result<_, _>>()?
    };
    Ok(Alternative {
        name: name.parse()?,
        bounds,
    })
}

fn bound(text: &str, whole: &str) -> Result<(Relation, Version), NameError> {
    let text = text.trim();
    for (sign, relation) in Relation::ALL {
        if let Some(version) = text.strip_prefix(sign) {
            return Ok((relation, version.trim().parse()?));
        }
    }
    Err(NameError::new(
        "requirement",
        "NAME, or NAME >= 4, < 5",
        whole,
    ))
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)?;
        for (i, (relation, version)) in self.bounds.iter().enumerate() {
            let sign = Relation::ALL
                .iter()
                .find(|(_, one)| one == relation)
                .map_or("", |one| one.0);
            write!(f, "{}{sign} {version}", if i == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, one) in self.alternatives.iter().enumerate() {
            write!(f, "{}{one}", if i == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Requirement {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Requirement> for String {
    fn from(requirement: Requirement) -> Self {
        requirement.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_read_back_and_admit_what_they_say() {
        let cases = [
            ("libnet >= 4, < 5", "libnet", "4.9", true),
            ("libnet >= 4, < 5", "libnet", "5", false),
            ("a | b = 2", "b", "2", true),
            ("a | b = 2", "b", "3", false),
            ("a", "a", "0", true),
            ("a", "b", "0", false),
        ];
        for (text, name, version, admitted) in cases {
            let requirement: Requirement = text.parse().unwrap();
            assert_eq!(requirement.to_string(), text);
            let found = requirement.admits(&name.parse().unwrap(), &version.parse().unwrap());
            assert_eq!(found, admitted, "{text} / {name} {version}");
        }
        assert_eq!("a>=1".parse::<Requirement>().unwrap().to_string(), "a >= 1");
        for bad in ["", "a |", "a >=", "a 4", "a >= 4,", "A", "a ~ 4"] {
            bad.parse::<Requirement>().unwrap_err();
        }
    }
}
