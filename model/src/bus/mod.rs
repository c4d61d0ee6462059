//! Names, errors and proxies of the two daemons' bus interfaces.
//!
//! Compound values cross the bus as JSON documents in one string: the same documents that
//! `--json` prints, so that a shell, a program on the bus and a fleet master read one shape
//! (`docs/decisions/0003-json-documents-on-the-bus.md`).

pub mod gate;
pub mod installd;
mod polkit;
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
    /// The caller asks too much at once, or says too much; says how much is too much.
    LimitsExceeded(String),
    /// It was tried and failed; nothing changed.
    Failed(String),
}

/// `name` as the last part of an object's path: letters and digits as they are, everything else (and
/// a digit that comes first) as `_` and two hexadecimal digits. `sd_bus_path_encode(3)` does the same.
pub fn path_part(name: &str) -> String {
    let mut part = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            part.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from_digit(u32::from(value), 16);
            part.push('_');
            part.extend(digit(byte >> 4).into_iter().chain(digit(byte & 15)));
        }
    }
    if part.is_empty() {
        "_".to_owned()
    } else {
        part
    }
}

/// The longest document that is read, in bytes; nothing longer is looked at.
pub const LONGEST: usize = 64 * 1024 * 1024;

/// A document as it crosses the bus.
pub fn encode<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Failed(error.to_string()))
}

/// A document that came over the bus, of at most [`LONGEST`] bytes.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    decode_short(text, LONGEST)
}

/// A document of at most `most` bytes: what anybody may say is kept short before it is read.
pub fn decode_short<T: DeserializeOwned>(text: &str, most: usize) -> Result<T, Error> {
    if text.len() > most {
        let length = text.len();
        return Err(Error::LimitsExceeded(format!(
            "a document of {length} bytes is not read: {most} bytes are the most here"
        )));
    }
    serde_json::from_str(text).map_err(|error| Error::Invalid(format!("bad document: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_parts_of_a_path_and_no_two_names_the_same() {
        assert_eq!(path_part("nginx-common=1.2"), "nginx_2dcommon_3d1_2e2");
        assert_eq!(path_part("a_5f"), "a_5f5f");
        assert_eq!(path_part("7zip"), "_37zip");
        assert_eq!(path_part(""), "_");
    }

    #[test]
    fn a_document_that_is_too_long_is_not_read() {
        let error = decode_short::<u32>(&" ".repeat(11), 10).unwrap_err();
        assert!(matches!(error, Error::LimitsExceeded(_)), "{error:?}");
        assert_eq!(decode_short::<u32>("         7", 10).unwrap(), 7);
        let deep = "[".repeat(100_000);
        assert!(decode::<serde_json::Value>(&deep).is_err());
    }
}
