//! What an administrator, a unit or a sandbox says of this daemon: `/etc/changeover/sysmgrd.toml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The configuration file that is read where none is named.
pub const DEFAULT_FILE: &str = "/etc/changeover/sysmgrd.toml";

/// Everything that can be said; every field may be silent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Sockets, live state and captured output.
    pub run_dir: PathBuf,
    /// `system`, `none`, or a D-Bus address.
    pub bus: String,
    /// Where `etc/passwd`, `var/lib` and `run` of the supervised processes are.
    pub machine_root: PathBuf,
    /// A directory in a control group file system that belongs to this daemon alone; found by
    /// itself where absent.
    pub cgroup: Option<PathBuf>,
    /// Directories laid over the machine's in every view.
    pub bind: Vec<Bind>,
}

/// A directory of the machine that stands somewhere else in every view.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bind {
    /// Where it is for this daemon.
    pub from: PathBuf,
    /// Where supervised processes see it.
    pub to: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            run_dir: PathBuf::from("/run/changeover"),
            bus: "system".to_owned(),
            machine_root: PathBuf::from("/"),
            cgroup: None,
            bind: Vec::new(),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("could not read the configuration")]
    Read(#[from] std::io::Error),
    /// It says something that nobody understands.
    #[error("{file} is not a sysmgrd configuration")]
    Parse {
        /// The file.
        file: PathBuf,
        /// What is wrong, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A path that must be absolute is not.
    #[error("{file}: {path} must be an absolute path")]
    Relative {
        /// The file.
        file: PathBuf,
        /// The path.
        path: PathBuf,
    },
}

impl Config {
    /// Reads `file`; without a name the default file, which may be absent.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let (file, may_be_absent) = file.map_or((Path::new(DEFAULT_FILE), true), |f| (f, false));
        match fs_err::read_to_string(file) {
            Ok(text) => Self::parse(&text, file),
            Err(error) if may_be_absent && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|source| ConfigError::Parse {
            file: file.into(),
            source: Box::new(source),
        })?;
        let binds = config.bind.iter().flat_map(|bind| [&bind.from, &bind.to]);
        let paths = [&config.run_dir, &config.machine_root]
            .into_iter()
            .chain(&config.cgroup);
        let relative = paths.chain(binds).find(|path| !path.is_absolute()).cloned();
        match relative {
            Some(path) => Err(ConfigError::Relative {
                file: file.into(),
                path,
            }),
            None => Ok(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_file_means_the_machine_itself() {
        assert_eq!(
            Config::parse("", Path::new("x")).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn a_sandbox_says_where_everything_is() {
        let text = "run-dir = '/s/run/changeover'\nbus = 'unix:path=/s/bus'\nmachine-root = '/s'\n\
                    [[bind]]\nfrom = '/s/etc'\nto = '/etc'\n";
        let config = Config::parse(text, Path::new("x")).unwrap();
        assert_eq!(
            config.bind,
            [Bind {
                from: "/s/etc".into(),
                to: "/etc".into()
            }]
        );
        assert_eq!(config.bus, "unix:path=/s/bus");
    }

    #[test]
    fn unknown_words_and_relative_paths_are_refused_with_the_files_name() {
        for bad in [
            "rundir = '/x'",
            "run-dir = 'x'",
            "[[bind]]\nfrom = '/x'\nto = 'y'\n",
        ] {
            let error = Config::parse(bad, Path::new("/etc/sysmgrd.toml")).unwrap_err();
            assert!(error.to_string().contains("/etc/sysmgrd.toml"), "{error}");
        }
    }

    #[test]
    fn the_packaged_file_is_understood_with_every_key_that_it_names() {
        let text = include_str!("../../packaging/etc/sysmgrd.toml");
        let file = Path::new("sysmgrd.toml");
        let plain = Config::parse(text, file).unwrap();
        let cgroup = plain.cgroup.clone();
        assert!(cgroup.is_some());
        let usual = Config {
            cgroup,
            ..Config::default()
        };
        assert_eq!(plain, usual);
        let said = text.replace("\n#", "\n").replace("\n ", "\n# ");
        let said = Config::parse(&said, file).unwrap();
        assert_eq!(said.bind.len(), 1);
        assert_eq!(
            Config {
                bind: Vec::new(),
                ..said
            },
            usual
        );
    }
}
