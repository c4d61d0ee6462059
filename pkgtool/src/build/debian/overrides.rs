//! What an import cannot know: small files, one a package, for what its maintainer scripts do.
//!
//! They ship in the program; `--overrides DIR` adds to them or replaces them by name.

use std::collections::BTreeMap;
use std::path::Path;

use model::manifest::{DlopenUse, Setup};
use model::path::PackagePath;
use model::process::ProcessSpec;
use serde::Deserialize;

use super::{DebError, Result};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// Package names and their overrides' text, as shipped.
        const SHIPPED: &[(&str, &str)] = &[$(
            ($name, include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/../packaging/overrides/", $name, ".toml"
            ))),
        )*];
    };
}

shipped! {
    "cron",
    "debianutils",
    "dnsmasq",
    "dnsmasq-base",
    "e2fsprogs",
    "gawk",
    "haproxy",
    "mawk",
    "memcached",
    "mosquitto",
    "netcat-openbsd",
    "nginx-common",
    "openssh-server",
    "redis-server",
    "redis-tools",
    "rsyslog",
    "unbound",
    "vsftpd",
}

/// What is added to, taken from and changed in one package.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Overrides {
    /// Paths to leave out: exact, or a directory and all below it with `/**` at the end.
    pub drop: Vec<String>,
    /// Files to add, or whose mode and owner to change.
    pub file: Vec<FileOverride>,
    /// Libraries reached by other means than linking.
    pub dlopen: Vec<DlopenUse>,
    /// Users, groups, directories, links.
    pub setup: Setup,
    /// Changes to processes, by their names.
    pub process: BTreeMap<String, ProcessOverride>,
}

/// A file to add or to change.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileOverride {
    /// Where it is on the node.
    pub path: PackagePath,
    /// A copy of this file of the same package.
    pub copy_of: Option<PackagePath>,
    /// This text.
    pub content: Option<String>,
    /// A symbolic link with this text.
    pub link: Option<String>,
    /// Access mode, octal.
    pub mode: Option<String>,
    /// Owner by name.
    pub owner: Option<String>,
    /// Group by name.
    pub group: Option<String>,
}

/// Changes to one process.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ProcessOverride {
    /// It is not to be a process.
    pub drop: bool,
    /// It is to be one although nothing enables its unit.
    pub include: bool,
    /// It is an instance of this template, such as `redis-server@.service`.
    pub instance_of: Option<String>,
    /// Settings to take back to their defaults.
    pub unset: Vec<String>,
    /// Settings with new values, as in `[[process]]` of package.toml.
    pub set: toml::Table,
}

impl ProcessOverride {
    /// The process with the changes made.
    pub fn apply(&self, spec: &ProcessSpec) -> std::result::Result<ProcessSpec, String> {
        let mut value = serde_json::to_value(spec).map_err(|error| error.to_string())?;
        let fields = value.as_object_mut().ok_or("a process is a table")?;
        for name in &self.unset {
            fields.remove(name);
        }
        for (name, new) in &self.set {
            let new = serde_json::to_value(new).map_err(|error| error.to_string())?;
            fields.insert(name.clone(), new);
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

impl Overrides {
    /// Whether `path` is left out.
    pub fn drops(&self, path: &str) -> bool {
        self.drop
            .iter()
            .any(|pattern| match pattern.strip_suffix("/**") {
                Some(directory) => path
                    .strip_prefix(directory)
                    .is_some_and(|rest| rest.starts_with('/')),
                None => pattern == path,
            })
    }
}

/// All overrides that there are.
#[derive(Debug, Clone, Default)]
pub struct AllOverrides {
    texts: BTreeMap<String, String>,
}

impl AllOverrides {
    /// Those that ship with the program.
    pub fn shipped() -> Self {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Self {
            texts: SHIPPED.iter().map(own).collect(),
        }
    }

    /// Adds every `NAME.toml` of a directory.
    pub fn add(&mut self, directory: &Path) -> Result<()> {
        for entry in fs_err::read_dir(directory)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let name = path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                self.texts.insert(name, fs_err::read_to_string(&path)?);
            }
        }
        Ok(())
    }

    /// The text for a package; empty where there is none.
    pub fn text(&self, package: &str) -> &str {
        self.texts.get(package).map_or("", String::as_str)
    }

    /// The overrides for a package, which are empty for most.
    pub fn get(&self, package: &str) -> Result<Overrides> {
        toml::from_str(self.text(package)).map_err(|error| DebError::Overrides {
            file: format!("{package}.toml"),
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_overrides_are_all_well_formed_and_all_there() {
        let all = AllOverrides::shipped();
        for (name, _) in SHIPPED {
            all.get(name).unwrap();
        }
        let mut files = AllOverrides::default();
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/overrides");
        files.add(Path::new(directory)).unwrap();
        assert_eq!(all.texts, files.texts);
    }

    #[test]
    fn a_process_is_changed_field_by_field() {
        let mut spec = ProcessSpec::new("a".parse().unwrap(), vec!["/usr/bin/a".into()]);
        spec.exec_stop = vec![vec!["/usr/bin/stop".into()]];
        let text = "unset = ['exec-stop']\nset = { stop-signal = 'SIGQUIT', stop-timeout = '5s' }";
        let changes: ProcessOverride = toml::from_str(text).unwrap();
        let changed = changes.apply(&spec).unwrap();
        assert!(changed.exec_stop.is_empty());
        assert_eq!(changed.stop_signal, "SIGQUIT");
        assert_eq!(changed.exec, spec.exec);
        let wrong: ProcessOverride = toml::from_str("set = { stop-sgnal = 'x' }").unwrap();
        assert!(wrong.apply(&spec).unwrap_err().contains("stop-sgnal"));
    }

    #[test]
    fn a_pattern_names_a_path_or_all_below_a_directory() {
        let overrides = Overrides {
            drop: vec!["/etc/a".into(), "/etc/b/**".into()],
            ..Overrides::default()
        };
        for (path, dropped) in [
            ("/etc/a", true),
            ("/etc/ab", false),
            ("/etc/b/c/d", true),
            ("/etc/b", false),
        ] {
            assert_eq!(overrides.drops(path), dropped, "{path}");
        }
    }
}
