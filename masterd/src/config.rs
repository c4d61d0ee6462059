//! `/etc/changeover/masterd.toml`: where things are, and how much of each there may be.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Span;
use serde::Deserialize;

use crate::api::rates::Rate;
use crate::hooks;
use crate::sys::listen::Limits;
use crate::trust;

/// Where the configuration is looked for where `--config` does not say.
pub const DEFAULT_FILE: &str = "/etc/changeover/masterd.toml";

/// Everything that can be configured, as it is written; every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Input {
    state_dir: PathBuf,
    listen: String,
    mirrors: Vec<String>,
    certificates: Certificates,
    limits: Numbers,
    link: Link,
    hooks: Hook,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Certificates {
    life: Span,
    grace: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Numbers {
    connections: usize,
    handshakes: usize,
    handshake: Span,
    head: Span,
    stop: Span,
    requests_per_second: u32,
    refused_per_minute: u32,
    pending: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Link {
    ping: Span,
    retry_from: Span,
    retry_to: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Hook {
    program: Vec<String>,
    webhook: String,
    timeout: Span,
}

impl Default for Hook {
    fn default() -> Self {
        Self {
            program: Vec::new(),
            webhook: String::new(),
            timeout: Span::seconds(30),
        }
    }
}

impl Default for Input {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/changeover-master".into(),
            listen: "[::]:7443".to_owned(),
            mirrors: Vec::new(),
            certificates: Certificates::default(),
            limits: Numbers::default(),
            link: Link::default(),
            hooks: Hook::default(),
        }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            life: Span::seconds(90 * trust::DAY),
            grace: Span::seconds(90 * trust::DAY),
        }
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            connections: 100_000,
            handshakes: 256,
            handshake: Span::seconds(20),
            head: Span::seconds(30),
            stop: Span::seconds(5),
            requests_per_second: 100,
            refused_per_minute: 60,
            pending: 1000,
        }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self {
            ping: Span::seconds(30),
            retry_from: Span::seconds(1),
            retry_to: Span::seconds(30),
        }
    }
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Store, keys, and what is served.
    pub state_dir: PathBuf,
    /// Where nodes and people reach it.
    pub listen: SocketAddr,
    /// The authority's part.
    pub trust: trust::Settings,
    /// The listener's part.
    pub limits: Limits,
    /// Requests of one caller.
    pub requests: Rate,
    /// Refused requests of one address.
    pub refused: Rate,
    /// How nodes keep their links: milliseconds between pings, and the bounds of a retry.
    pub link: (u64, u64, u64),
    /// Whom people want to be told.
    pub hooks: hooks::Settings,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("could not read the configuration")]
    Read(#[source] std::io::Error),
    /// It is not what is documented.
    #[error("{} is not a configuration of masterd", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, and what is wrong there.
        #[source]
        source: toml::de::Error,
    },
    /// A value makes no sense.
    #[error("{}: {field} {rule}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

impl Config {
    /// Reads `path`, or takes the defaults where it is `None` and the default file is absent.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let file = path.unwrap_or(Path::new(DEFAULT_FILE));
        let input = match fs_err::read_to_string(file) {
            Ok(text) => toml::from_str(&text).map_err(|source| Error::Parse {
                path: file.to_owned(),
                source,
            })?,
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Input::default()
            }
            Err(error) => return Err(Error::Read(error)),
        };
        check(input).map_err(|(field, rule)| Error::Value {
            path: file.to_owned(),
            field,
            rule,
        })
    }
}

type Wrong = (&'static str, &'static str);

fn check(input: Input) -> Result<Config, Wrong> {
    if !input.state_dir.is_absolute() {
        return Err(("state-dir", "must be an absolute path"));
    }
    let wrong = ("listen", "must be an address and a port, as 0.0.0.0:7443");
    let listen = input.listen.parse().map_err(|_| wrong)?;
    let is_url = |mirror: &String| mirror.starts_with("https://") || mirror.starts_with("http://");
    if !input.mirrors.iter().all(is_url) {
        return Err(("mirrors", "must be URLs: https://HOST/PATH"));
    }
    let limits = limits(&input.limits)?;
    let life = seconds(input.certificates.life);
    if life < 60 {
        return Err(("certificates.life", "must be at least a minute"));
    }
    let link = (
        millis(input.link.ping),
        millis(input.link.retry_from),
        millis(input.link.retry_to),
    );
    if link.0 < 1000 || link.1 == 0 || link.1 > link.2 {
        return Err(("link", "must have ping ≥ 1s and 0 < retry-from ≤ retry-to"));
    }
    let (requests, refused) = rates(&input.limits)?;
    Ok(Config {
        state_dir: input.state_dir,
        listen,
        trust: trust::Settings {
            life,
            grace: seconds(input.certificates.grace),
            most_pending: input.limits.pending,
            mirrors: input.mirrors,
            ..trust::Settings::default()
        },
        limits,
        requests,
        refused,
        link,
        hooks: hooks(input.hooks)?,
    })
}

fn hooks(hook: Hook) -> Result<hooks::Settings, Wrong> {
    let is_path = |name: &String| Path::new(name).is_absolute();
    if hook.program.first().is_some_and(|name| !is_path(name)) {
        return Err(("hooks.program", "must begin with an absolute path"));
    }
    let is_url = |it: &String| it.starts_with("https://") || it.starts_with("http://");
    let webhook = Some(hook.webhook).filter(|it| !it.is_empty());
    if webhook.as_ref().is_some_and(|it| !is_url(it)) {
        return Err(("hooks.webhook", "must be a URL: https://HOST/PATH"));
    }
    let within = Duration::from_millis(millis(hook.timeout));
    if within.is_zero() {
        return Err(("hooks.timeout", "must be more than nothing"));
    }
    Ok(hooks::Settings {
        program: hook.program,
        webhook,
        within,
    })
}

fn limits(numbers: &Numbers) -> Result<Limits, Wrong> {
    let most = tokio::sync::Semaphore::MAX_PERMITS;
    if numbers.connections == 0 || numbers.connections > most {
        return Err(("limits.connections", "must be at least 1"));
    }
    if numbers.handshakes == 0 || numbers.handshakes > most {
        return Err(("limits.handshakes", "must be at least 1"));
    }
    let time = |span: Span| Duration::from_millis(millis(span));
    Ok(Limits {
        connections: numbers.connections,
        handshakes: numbers.handshakes,
        handshake: time(numbers.handshake),
        head: time(numbers.head),
        stop: time(numbers.stop),
    })
}

fn rates(numbers: &Numbers) -> Result<(Rate, Rate), Wrong> {
    if numbers.requests_per_second == 0 || numbers.refused_per_minute == 0 {
        return Err(("limits", "must let at least one request through"));
    }
    let requests = f64::from(numbers.requests_per_second);
    let refused = f64::from(numbers.refused_per_minute);
    Ok((
        Rate {
            burst: requests * 4.0,
            per_second: requests,
        },
        Rate {
            burst: refused,
            per_second: refused / 60.0,
        },
    ))
}

/// An hour where there is no limit: nothing here may take for ever.
fn millis(span: Span) -> u64 {
    let limit = span.limit().unwrap_or(Duration::from_hours(1));
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(span: Span) -> u64 {
    span.limit()
        .map_or(100 * 365 * trust::DAY, |limit| limit.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_the_packaged_file_says_exactly_them() {
        let packaged = include_str!("../../packaging/etc/masterd.toml");
        let is_key = |rest: &&str| !rest.starts_with(' ');
        let of_line = |line: &'static str| {
            line.strip_prefix('#')
                .filter(is_key)
                .or_else(|| line.starts_with('[').then_some(line))
        };
        let shown: Vec<&str> = packaged.lines().filter_map(of_line).collect();
        let shown = shown.join("\n");
        let written: Input = toml::from_str(&shown).unwrap();
        assert_eq!(written, Input::default());
        check(written).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, field) in [
            ("state-dir = \"here\"", "state-dir"),
            ("listen = \"localhost\"", "listen"),
            ("mirrors = [\"ftp://a\"]", "mirrors"),
            ("[limits]\nconnections = 0", "limits.connections"),
            ("[limits]\nhandshakes = 0", "limits.handshakes"),
            ("[limits]\nrequests-per-second = 0", "limits"),
            ("[certificates]\nlife = \"1s\"", "certificates.life"),
            ("[hooks]\nprogram = [\"tell\"]", "hooks.program"),
            ("[hooks]\nwebhook = \"ftp://a\"", "hooks.webhook"),
            ("[hooks]\ntimeout = \"0s\"", "hooks.timeout"),
            ("[link]\nping = \"1ms\"", "link"),
            ("[link]\nretry-from = \"1m\"", "link"),
        ] {
            let refused = check(toml::from_str(text).unwrap());
            assert_eq!(refused.unwrap_err().0, field, "{text}");
        }
        assert!(toml::from_str::<Input>("liste = 1").is_err());
    }
}
