//! Names that people give to the parts of a fleet.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{NameError, text_type};

const RULE: &str =
    "at most 63 lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit";

fn parse(what: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    let alnum = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let tail = |c: u8| alnum(c) || b"._-".contains(&c);
    let bytes = text.as_bytes();
    let head = bytes.first().is_some_and(|c| alnum(*c));
    if head && bytes.len() <= 63 && bytes.iter().all(|c| tail(*c)) {
        return Ok(text.into());
    }
    Err(NameError::new(what, RULE, text))
}

macro_rules! fleet_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// `[a-z0-9][a-z0-9._-]*`, at most 63 bytes.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                parse($what, text).map(Self)
            }
        }
        text_type!($name);
    };
}

fleet_name!(
    /// A node: unique in its fleet, and the subject of its certificate.
    NodeName,
    "node name"
);
fleet_name!(
    /// A class of nodes, which may have several architectures.
    ClassName,
    "class name"
);
fleet_name!(
    /// A location, node type, saved group, feature, operator or label of a fleet.
    FleetName,
    "fleet name"
);
