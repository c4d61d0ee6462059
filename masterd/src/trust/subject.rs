//! Whose a certificate is: a URI among its names, `changeover:node:NAME:GENERATION`.

use std::fmt;
use std::str::FromStr;

use model::wire::{FleetName, NodeName};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::secret::hex;

/// Whose a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A node's.
    Node(NodeName),
    /// An operator's.
    Operator(FleetName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "changeover:node:{name}"),
            Self::Operator(name) => write!(f, "changeover:operator:{name}"),
        }
    }
}

/// What the certificate of a connection says. Its signature was checked in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Whose it is.
    pub subject: Subject,
    /// Of the identity, when it was made.
    pub generation: u64,
    /// Its number, base 16.
    pub serial: String,
    /// Seconds since 1970: its end.
    pub until: u64,
}

impl Peer {
    /// Reads a certificate, DER; `None`: it is none that this master makes.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let uri = names.value.general_names.iter().find_map(|name| {
            // The other kinds of names say nothing here.
            if let GeneralName::URI(uri) = name {
                Some(*uri)
            } else {
                None
            }
        })?;
        let (subject, generation) = parse(uri)?;
        let until = certificate.validity().not_after.timestamp();
        Some(Self {
            subject,
            generation,
            serial: hex(certificate.raw_serial()),
            until: u64::try_from(until).ok()?,
        })
    }
}

/// The name in a certificate.
pub(super) fn uri(subject: &Subject, generation: u64) -> String {
    format!("{subject}:{generation}")
}

fn parse(uri: &str) -> Option<(Subject, u64)> {
    let (head, generation) = uri.rsplit_once(':')?;
    let (kind, name) = head.strip_prefix("changeover:")?.split_once(':')?;
    let subject = match kind {
        "node" => Subject::Node(NodeName::from_str(name).ok()?),
        "operator" => Subject::Operator(FleetName::from_str(name).ok()?),
        _ => return None,
    };
    Some((subject, generation.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_no_other_is() {
        let node = Subject::Node("edge-7".parse().unwrap());
        assert_eq!(parse(&uri(&node, 3)), Some((node, 3)));
        let operator = Subject::Operator("anna".parse().unwrap());
        assert_eq!(parse(&uri(&operator, 0)), Some((operator, 0)));
        for wrong in [
            "changeover:node:edge-7",
            "changeover:node:Edge:1",
            "changeover:node:a:-1",
            "changeover:master:a:1",
            "https://a:1",
            "",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
