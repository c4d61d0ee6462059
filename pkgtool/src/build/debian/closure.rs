//! Debian packages by name, with all that they depend on, by the machine's own apt.
//!
//! apt is asked as if nothing were installed, so that its answer is complete and its choice among
//! alternatives and virtual packages is the one that an administrator would get.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{DebError, Result};

/// What a complete view needs besides what packages depend on: a shell and the basic tools, which
/// every Debian package may use without saying so.
pub const BASE: [&str; 8] = [
    "base-files",
    "bash",
    "coreutils",
    "dash",
    "debianutils",
    "grep",
    "libc-bin",
    "sed",
];

/// `NAME` or `NAME=VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The package.
    pub name: String,
    /// The version; apt's candidate where absent.
    pub version: Option<String>,
}

impl Wanted {
    /// Reads `NAME[=VERSION]`; checked, because it becomes an argument of apt's.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        name.parse::<model::PackageName>()?;
        if let Some(version) = version {
            version.parse::<model::Version>()?;
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }

    fn argument(&self) -> String {
        match &self.version {
            Some(version) => format!("{}={version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// All that `wanted` depend on, themselves and `base` included, each with its version.
///
/// Where a name is wanted in several versions, each is resolved with the others' first one.
pub fn closure(wanted: &[Wanted], base: &[&str]) -> Result<Vec<Wanted>> {
    let mut all: Vec<Wanted> = Vec::new();
    for round in rounds(wanted) {
        let mut arguments: Vec<String> = round.iter().map(Wanted::argument).collect();
        arguments.extend(
            base.iter()
                .filter(|name| !round.iter().any(|one| one.name == **name))
                .map(|name| (*name).to_owned()),
        );
        for found in simulate(&arguments)? {
            if !all.contains(&found) {
                all.push(found);
            }
        }
    }
    Ok(all)
}

/// The names that Debian's policy gives to the package of a library: `libatm.so.1` is in
/// `libatm1`, `libpcre2-8.so.0` in `libpcre2-8-0`.
pub fn library_packages(soname: &str) -> Vec<String> {
    let Some((stem, version)) = soname.split_once(".so.") else {
        return Vec::new();
    };
    let stem = stem.to_lowercase().replace('_', "-");
    let dash = if stem.ends_with(|c: char| c.is_ascii_digit()) {
        "-"
    } else {
        ""
    };
    let name = format!("{stem}{dash}{version}");
    vec![format!("{name}t64"), name]
}

/// Sets in which each name stands once: the first version of each, then the further ones in turn.
fn rounds(wanted: &[Wanted]) -> Vec<Vec<Wanted>> {
    let mut rounds: Vec<Vec<Wanted>> = vec![Vec::new()];
    for one in wanted {
        let free = rounds
            .iter()
            .position(|round| round.iter().all(|known| known.name != one.name));
        match free.and_then(|at| rounds.get_mut(at)) {
            Some(round) => round.push(one.clone()),
            None => rounds.push(vec![one.clone()]),
        }
    }
    let first = rounds.first().cloned().unwrap_or_default();
    for round in rounds.iter_mut().skip(1) {
        let missing = first
            .iter()
            .filter(|one| round.iter().all(|known| known.name != one.name));
        let missing: Vec<Wanted> = missing.cloned().collect();
        round.extend(missing);
    }
    rounds
}

fn simulate(arguments: &[String]) -> Result<Vec<Wanted>> {
    let mut apt = Command::new("apt-get");
    apt.args([
        "-s",
        "-qq",
        "--no-install-recommends",
        "-o",
        "Dir::State::status=/dev/null",
    ]);
    apt.args([
        "-o",
        "Dir::State::extended_states=/dev/null",
        "-o",
        "Debug::NoLocking=1",
        "install",
        "--",
    ]);
    let text = run(apt.args(arguments))?;
    let found: Vec<Wanted> = text.lines().filter_map(installation).collect();
    if found.is_empty() {
        return Err(DebError::Tool {
            command: "apt-get -s install".into(),
            reason: "it names no package".into(),
        });
    }
    Ok(found)
}

/// `Inst NAME [OLD] (VERSION ORIGIN [ARCH])`
fn installation(line: &str) -> Option<Wanted> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    let version = rest.split_once('(')?.1.split_whitespace().next()?;
    // Foreign architectures are `NAME:ARCH`.
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    Some(Wanted {
        name: name.to_owned(),
        version: Some(version.to_owned()),
    })
}

/// The same packages with the version of apt's candidate where none was given.
pub fn candidates(wanted: &[Wanted]) -> Result<Vec<Wanted>> {
    wanted.iter().map(candidate).collect()
}

fn candidate(wanted: &Wanted) -> Result<Wanted> {
    if wanted.version.is_some() {
        return Ok(wanted.clone());
    }
    let text =
        run(Command::new("apt-cache").args(["show", "--no-all-versions", "--", &wanted.name]))?;
    let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
    let version = version.ok_or_else(|| DebError::Tool {
        command: format!("apt-cache show {}", wanted.name),
        reason: "it names no version".into(),
    })?;
    Ok(Wanted {
        name: wanted.name.clone(),
        version: Some(version.to_owned()),
    })
}

/// Puts the packages' files into `cache`, those that are not there yet; where they are, in order.
pub fn download(packages: &[Wanted], cache: &Path) -> Result<Vec<PathBuf>> {
    fs_err::create_dir_all(cache)?;
    let missing: Vec<String> = packages
        .iter()
        .filter(|one| cached(cache, one).is_none())
        .map(Wanted::argument)
        .collect();
    if !missing.is_empty() {
        let mut apt = Command::new("apt-get");
        apt.current_dir(cache)
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download", "--"]);
        run(apt.args(&missing))?;
    }
    packages
        .iter()
        .map(|one| {
            cached(cache, one).ok_or_else(|| DebError::Tool {
                command: format!("apt-get download {}", one.argument()),
                reason: format!("{} has no file of it afterwards", cache.display()),
            })
        })
        .collect()
}

/// apt writes a file under its own name only when it is complete and its hash is right.
fn cached(cache: &Path, wanted: &Wanted) -> Option<PathBuf> {
    let version = wanted.version.as_deref()?.replace(':', "%3a");
    let own = std::env::consts::ARCH;
    let architectures = match own {
        "x86_64" => ["amd64", "all"],
        "aarch64" => ["arm64", "all"],
        other => [other, "all"],
    };
    architectures
        .iter()
        .map(|architecture| cache.join(format!("{}_{version}_{architecture}.deb", wanted.name)))
        .find(|path| path.is_file())
}

fn run(command: &mut Command) -> Result<String> {
    command
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive");
    let shown = || {
        let program = command.get_program().to_string_lossy().into_owned();
        let arguments = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned());
        std::iter::once(program)
            .chain(arguments)
            .take(16)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let shown = shown();
    let failed = |reason: String| DebError::Tool {
        command: shown.clone(),
        reason,
    };
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().filter(|line| line.starts_with("E:")).collect();
    let said = said.join("; ");
    let reason = if said.is_empty() {
        output.status.to_string()
    } else {
        said
    };
    Err(failed(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Wanted {
        Wanted::parse(text).unwrap()
    }

    #[test]
    fn what_apt_would_install_is_read() {
        let line = "Inst libssl3 (3.0.20-1~deb12u2 Debian:12.15/oldstable [amd64]) []";
        assert_eq!(installation(line), Some(wanted("libssl3=3.0.20-1~deb12u2")));
        let upgrade = "Inst redis:amd64 [5:6] (5:7.0-1 Debian [amd64])";
        assert_eq!(installation(upgrade), Some(wanted("redis=5:7.0-1")));
        assert_eq!(installation("Conf libssl3 (3 Debian [amd64])"), None);
    }

    #[test]
    fn a_librarys_package_is_named_by_policy() {
        assert!(library_packages("libatm.so.1").contains(&"libatm1".to_owned()));
        assert!(library_packages("libpcre2-8.so.0").contains(&"libpcre2-8-0".to_owned()));
        assert!(library_packages("plugin.so").is_empty());
    }

    #[test]
    fn several_versions_of_a_name_are_resolved_one_after_the_other() {
        let rounds = rounds(&[wanted("a=1"), wanted("b"), wanted("a=2"), wanted("a=3")]);
        let shown: Vec<String> = rounds
            .iter()
            .map(|round| {
                round
                    .iter()
                    .map(Wanted::argument)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        assert_eq!(shown, ["a=1 b", "a=2 b", "a=3 b"]);
    }

    #[test]
    fn nothing_that_looks_like_an_option_reaches_apt() {
        for bad in ["-o=x", "--help", "a b", "a=-o", "a=1 2", "", "A"] {
            Wanted::parse(bad).unwrap_err();
        }
    }
}
