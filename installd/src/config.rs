//! `/etc/changeover/installd.toml`: where things are on this node, and what the node is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Span;
use serde::Deserialize;

/// Where the configuration is looked for where `--config` does not say.
pub const DEFAULT_FILE: &str = "/etc/changeover/installd.toml";

/// Everything that can be configured; every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Store, generations and database.
    pub state_dir: PathBuf,
    /// Sockets; gone at reboot.
    pub run_dir: PathBuf,
    /// `system`, or a D-Bus address.
    pub bus: String,
    /// Where the machine's `etc`, `var`, `run` and `srv` are; a sandbox has its own.
    pub machine_root: PathBuf,
    /// How many generations stay on the disk, the running one among them; at least 1.
    pub keep_generations: usize,
    /// Memory that a trial may take.
    pub trial_max: Size,
    /// What the node is.
    pub node: Node,
    /// How long processes may take to answer.
    pub timeouts: Timeouts,
    /// Whose packages are taken.
    pub trust: Trust,
    /// What a fleet may know of the node.
    pub fleet: Fleet,
    /// The start waits for the fleet's master; not in the file, but in what it has signed.
    #[serde(skip)]
    pub hold_boot: bool,
    /// Where the kernel says which boot this is.
    pub boot_id_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/changeover".into(),
            run_dir: "/run/changeover".into(),
            bus: "system".to_owned(),
            machine_root: "/".into(),
            keep_generations: 5,
            trial_max: Size(256 << 20),
            node: Node::default(),
            timeouts: Timeouts::default(),
            trust: Trust::default(),
            fleet: Fleet::default(),
            hold_boot: false,
            boot_id_file: "/proc/sys/kernel/random/boot_id".into(),
        }
    }
}

/// The node's characteristics, by which files and dependencies are chosen for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Node {
    /// ELF machine name; this machine's by default.
    pub arch: String,
    /// What kind of node it is.
    #[serde(rename = "type")]
    pub node_type: Option<String>,
    /// The classes that it is in.
    pub class: Vec<String>,
    /// What it has.
    pub features: Vec<String>,
    /// Where it is.
    pub location: Option<String>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            arch: std::env::consts::ARCH.to_owned(),
            node_type: None,
            class: Vec::new(),
            features: Vec::new(),
            location: None,
        }
    }
}

/// A number of bytes: `64M`, `1G` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub struct Size(u64);

impl Size {
    /// How many.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl TryFrom<Written> for Size {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Number(bytes) => return Ok(Self(bytes)),
            Written::Text(text) => text,
        };
        let wrong = || format!("{text:?} is not a size: write 64M, 1G or a number of bytes");
        let digits = text.trim_end_matches(|one: char| !one.is_ascii_digit());
        let shift = match &text[digits.len()..] {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

/// Whose packages are taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Trust {
    /// What is done with packages that no trusted key has signed.
    pub unsigned: Unsigned,
    /// Where the key files are.
    pub directory: PathBuf,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            unsigned: Unsigned::Refuse,
            directory: "/etc/changeover/trust.d".into(),
        }
    }
}

/// What a fleet may know of the node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Fleet {
    /// Programs that print the names of features that the node has, one a line.
    pub features: PathBuf,
    /// Keys of the operators, without whose signature no master may force, remove, or go below the
    /// floor; where there is none, that holds only for nodes whose class has a release.
    pub operators: PathBuf,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            features: "/etc/changeover/features.d".into(),
            operators: "/etc/changeover/operators.d".into(),
        }
    }
}

/// What is done with packages that no trusted key has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unsigned {
    /// They are not taken, unless root allows one.
    Refuse,
    /// They are taken.
    Accept,
}

/// Limits on the answers of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Until silence is a veto.
    pub ask: Span,
    /// What a process may get beyond that which asks for more time, once.
    pub more_time: Span,
    /// Until a process that is not ready and waiting aborts the change.
    pub prepare: Span,
    /// Until sysmgrd, where it is away, must be back.
    pub sysmgrd: Span,
    /// For which started processes must stay up before a change is done.
    pub settling: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            ask: Span::seconds(5),
            more_time: Span::seconds(30),
            prepare: Span::seconds(30),
            sysmgrd: Span::seconds(30),
            settling: Span::seconds(10),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("could not read the configuration")]
    Read(#[source] std::io::Error),
    /// It is not what is documented.
    #[error("{} is not a configuration of installd", path.display())]
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
        let text = match fs_err::read_to_string(file) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::Read(error)),
        };
        let config: Self = toml::from_str(&text).map_err(|source| Error::Parse {
            path: file.to_owned(),
            source,
        })?;
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Path) -> Result<(), Error> {
        let refuse = |field, rule| {
            Err(Error::Value {
                path: file.to_owned(),
                field,
                rule,
            })
        };
        let absolute = [
            ("state-dir", &self.state_dir),
            ("run-dir", &self.run_dir),
            ("machine-root", &self.machine_root),
            ("trust.directory", &self.trust.directory),
            ("fleet.features", &self.fleet.features),
        ];
        for (field, path) in absolute {
            if !path.is_absolute() {
                return refuse(field, "must be an absolute path");
            }
        }
        if self.keep_generations == 0 {
            return refuse("keep-generations", "must be at least 1");
        }
        Ok(())
    }

    /// The limit of `span` in milliseconds; an hour where it has none.
    pub fn millis(span: Span) -> u64 {
        let limit = span.limit().unwrap_or(Duration::from_hours(1));
        u64::try_from(limit.as_millis()).unwrap_or(3_600_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Error> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("installd.toml");
        fs_err::write(&file, text).unwrap();
        Config::load(Some(&file))
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn what_is_said_is_taken_and_what_is_unknown_is_refused() {
        let config = parse(
            "state-dir = '/s'\nkeep-generations = 2\ntrial-max = '64M'\n[node]\ntype = 'router'\n[timeouts]\nask = '1s'\n",
        )
        .unwrap();
        assert_eq!(config.state_dir, Path::new("/s"));
        assert_eq!(config.node.node_type.as_deref(), Some("router"));
        assert_eq!(config.trial_max.bytes(), 64 << 20);
        assert_eq!(config.timeouts.ask, Span::seconds(1));
        assert_eq!(config.trust.unsigned, Unsigned::Refuse);
        let open = parse("[trust]\nunsigned = 'accept'\ndirectory = '/keys'\n").unwrap();
        assert_eq!(open.trust.unsigned, Unsigned::Accept);
        for bad in [
            "stat-dir = '/s'",
            "state-dir = 's'",
            "keep-generations = 0",
            "trial-max = '1T'",
            "[node]\nkind = 1",
            "[trust]\nunsigned = 'perhaps'",
            "[trust]\ndirectory = 'keys'",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_packaged_file_says_the_defaults() {
        let text = include_str!("../../packaging/etc/installd.toml");
        assert_eq!(parse(text).unwrap(), Config::default());
        // Keys stand right behind their #, words for people after a space.
        let said: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let said = parse(&said).unwrap();
        assert!(said.node.node_type.is_some(), "the keys are there");
        let node = Node::default();
        assert_eq!(Config { node, ..said }, Config::default());
    }
}
