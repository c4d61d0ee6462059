//! Names, errors and proxies of the two daemons' bus interfaces.
//!
//! Compound values cross the bus as JSON documents in one string: the same documents that
//! `--json` prints, so that a shell, a program on the bus and a fleet master read one shape
//! (`docs/decisions/0003-json-documents-on-the-bus.md`).

pub mod installd;
pub mod session;
pub mod sysmgrd;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Errors that callers act on; each is `org.changeover.Error.NAME` on the bus.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.changeover.Error")]
pub enum Error {
    /// From the bus itself.
    #[zbus(error)]
    Bus(zbus::Error),
    /// The request is malformed or names something that does not exist.
    Invalid(String),
    /// The software set would have unmet dependencies.
    Unmet(String),
    /// Another change holds the node; says who and since when.
    Busy(String),
    /// The caller may not do this.
    NotAllowed(String),
    /// It was tried and failed; nothing changed.
    Failed(String),
}

/// A document as it crosses the bus.
pub fn encode<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Failed(error.to_string()))
}

/// A document that came over the bus.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Invalid(format!("bad document: {error}")))
}
