//! The wire to a fleet's master: who it is, who we are, requests, and the link. It decides nothing.
//!
//! Invariant: nothing is said to a server that has not shown that the fleet's CA stands behind it;
//! at enrolment the CA is known by the hash in the token, and looked for in what the server shows.

pub mod http;
pub mod identity;
pub mod link;
pub mod proxy;
pub mod tls;

/// Why the master was not reached, or was not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its address cannot be one.
    #[error("{text:?} is no master's address: write https://HOST[:PORT]")]
    Address {
        /// What was given.
        text: String,
    },
    /// A key or certificate of ours, or the CA, is of no use.
    #[error("{what}")]
    Keys {
        /// What is wrong.
        what: String,
    },
    /// The connection failed.
    #[error("{to} was not reached")]
    Connect {
        /// Host and port.
        to: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A request failed on its way.
    #[error("the master was not reached")]
    Request(#[from] reqwest::Error),
    /// The master refused.
    #[error("the master refused: {0}")]
    Refused(String),
    /// The link could not be opened.
    #[error("the link was not opened")]
    Link(#[source] Box<tokio_tungstenite::tungstenite::Error>),
}

/// Where a master is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `https://HOST[:PORT]`, without a path.
    pub url: String,
    /// For the certificate.
    pub host: String,
    /// 443 where none is said.
    pub port: u16,
}

impl std::str::FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Address {
            text: text.to_owned(),
        };
        let url = reqwest::Url::parse(text).map_err(|_| refuse())?;
        let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
        let host = url.host_str().filter(|_| url.scheme() == "https" && plain);
        let host = host.ok_or_else(refuse)?.to_owned();
        Ok(Self {
            url: text.trim_end_matches('/').to_owned(),
            port: url.port_or_known_default().unwrap_or(443),
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_is_an_https_address_without_a_path() {
        let good: Address = "https://master.example/".parse().unwrap();
        assert_eq!((good.host.as_str(), good.port), ("master.example", 443));
        assert_eq!(good.url, "https://master.example");
        let port: Address = "https://127.0.0.1:8443".parse().unwrap();
        assert_eq!((port.host.as_str(), port.port), ("127.0.0.1", 8443));
        for bad in ["http://master", "https://u@m", "https://m/v1", "m:8443", ""] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
