//! A package as this machine has it: dpkg's database, and the files themselves.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::control::{self, Control};
use super::{DebError, RawEntry, RawNode, RawPackage, Result};

/// Reads the installed package `name` from the machine whose root is `root`.
pub fn read(root: &Path, name: &str) -> Result<RawPackage> {
    let database = root.join("var/lib/dpkg");
    let (control, architecture, conffiles) = status(&database, name)?;
    let info = Info {
        database: &database,
        name,
        architecture: &architecture,
    };
    let mut package = RawPackage {
        control,
        conffiles,
        ..RawPackage::default()
    };
    for script in [
        "preinst", "postinst", "prerm", "postrm", "config", "triggers",
    ] {
        if let Some(file) = info.file(script) {
            package.scripts.push(script.to_owned());
            if script == "postinst" {
                let bytes = fs_err::read(file)?;
                package.postinst = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    let list = info
        .file("list")
        .ok_or_else(|| DebError::NotInstalled(name.to_owned()))?;
    let diverted = diversions(&database, name);
    let mut names = Names::default();
    for path in fs_err::read_to_string(list)?
        .lines()
        .filter(|line| *line != "/." && !line.is_empty())
    {
        let real = diverted.get(path).map_or(path, String::as_str);
        let at = root.join(real.trim_start_matches('/'));
        match entry(path, &at, &mut names)? {
            Some(entry) => package.entries.push(entry),
            None => package
                .notes
                .push(format!("{path}: missing on this machine, or no file")),
        }
    }
    Ok(package)
}

/// The control file of the installed package `name`.
pub fn control(root: &Path, name: &str) -> Result<String> {
    Ok(status(&root.join("var/lib/dpkg"), name)?.0)
}

/// All that the installed packages `names` depend on, themselves included, as this machine has it: of
/// alternatives the first that is installed.
pub fn closure(root: &Path, names: &[&str]) -> Result<Vec<String>> {
    let text = fs_err::read_to_string(root.join("var/lib/dpkg/status"))?;
    let installed: Vec<Control> = text
        .split("\n\n")
        .filter(|paragraph| {
            let mut lines = paragraph.lines();
            lines.any(|line| line.starts_with("Status: ") && line.ends_with(" installed"))
        })
        .filter_map(|paragraph| control::parse(paragraph).ok())
        .collect();
    let named = |name: &str| installed.iter().find(|one| one.name.as_str() == name);
    let provider = |name: &str| {
        let provides = |one: &&Control| one.provides.iter().any(|p| p.name.as_str() == name);
        named(name).or_else(|| installed.iter().find(provides))
    };
    let mut found: Vec<&Control> = Vec::new();
    for name in names {
        found.push(named(name).ok_or_else(|| DebError::NotInstalled((*name).to_owned()))?);
    }
    let mut done = 0;
    while let Some(one) = found.get(done) {
        done += 1;
        for requirement in &one.requires {
            let mut alternatives = requirement.alternatives().iter();
            let answer = alternatives.find_map(|wanted| provider(wanted.name.as_str()));
            if let Some(answer) = answer
                && found.iter().all(|known| known.name != answer.name)
            {
                found.push(answer);
            }
        }
    }
    let names = found.into_iter().map(|one| one.name.to_string());
    Ok(names.collect())
}

/// The package's paragraph, its architecture, and its conffiles.
fn status(database: &Path, name: &str) -> Result<(String, String, Vec<String>)> {
    let text = fs_err::read_to_string(database.join("status"))?;
    for paragraph in text.split("\n\n") {
        if paragraph
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("Package: "))
            != Some(name)
        {
            continue;
        }
        let field = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key));
        if field("Status: ").is_some_and(|status| status.ends_with(" installed")) {
            let architecture = field("Architecture: ").unwrap_or_default().to_owned();
            let conffiles = paragraph
                .lines()
                .skip_while(|line| !line.starts_with("Conffiles:"))
                .skip(1)
                .take_while(|line| line.starts_with(' '))
                .filter_map(|line| line.split_whitespace().next())
                .map(str::to_owned)
                .collect();
            return Ok((paragraph.to_owned(), architecture, conffiles));
        }
    }
    Err(DebError::NotInstalled(name.to_owned()))
}

/// A package's files below `info/`, whose names carry the architecture for some.
struct Info<'a> {
    database: &'a Path,
    name: &'a str,
    architecture: &'a str,
}

impl Info<'_> {
    fn file(&self, kind: &str) -> Option<PathBuf> {
        let info = self.database.join("info");
        let plain = info.join(format!("{}.{kind}", self.name));
        let qualified = info.join(format!("{}:{}.{kind}", self.name, self.architecture));
        [qualified, plain].into_iter().find(|path| path.is_file())
    }
}

/// Where other packages' diversions have put paths: groups of three lines, from, to, by whom.
fn diversions(database: &Path, name: &str) -> BTreeMap<String, String> {
    let text = fs_err::read_to_string(database.join("diversions")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines
        .chunks_exact(3)
        .filter_map(|three| match three {
            [from, to, by] if *by != name => Some(((*from).to_owned(), (*to).to_owned())),
            _ => None,
        })
        .collect()
}

/// `None` where nothing is there, or something that no package ships.
fn entry(path: &str, at: &Path, names: &mut Names) -> Result<Option<RawEntry>> {
    let Ok(metadata) = fs_err::symlink_metadata(at) else {
        return Ok(None);
    };
    let kind = metadata.file_type();
    let node = if kind.is_dir() {
        RawNode::Directory
    } else if kind.is_symlink() {
        RawNode::Link(fs_err::read_link(at)?.to_string_lossy().into_owned())
    } else if kind.is_file() {
        let capabilities = capabilities(at);
        RawNode::File {
            content: at.to_owned(),
            size: metadata.len(),
            capabilities,
        }
    } else {
        return Ok(None);
    };
    Ok(Some(RawEntry {
        path: path.to_owned(),
        mode: metadata.permissions().mode() & 0o7777,
        owner: names.user(metadata.uid()),
        group: names.group(metadata.gid()),
        node,
    }))
}

/// `security.capability`, which few files have.
fn capabilities(at: &Path) -> Option<Vec<u8>> {
    let mut buffer = [0; 64];
    let length = rustix::fs::lgetxattr(at, "security.capability", &mut buffer).ok()?;
    buffer.get(..length).map(<[u8]>::to_vec)
}

/// Names of ids, each asked for once.
#[derive(Default)]
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    fn user(&mut self, id: u32) -> String {
        let ask = || {
            let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(id));
            user.ok()
                .flatten()
                .map_or_else(|| id.to_string(), |user| user.name)
        };
        self.users.entry(id).or_insert_with(ask).clone()
    }

    fn group(&mut self, id: u32) -> String {
        let ask = || {
            let group = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(id));
            group
                .ok()
                .flatten()
                .map_or_else(|| id.to_string(), |group| group.name)
        };
        self.groups.entry(id).or_insert_with(ask).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closure_is_of_what_is_installed() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("var/lib/dpkg")).unwrap();
        let package = |name: &str, rest: &str| {
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: all\n\
                 Version: 1\nDescription: {name}\n{rest}\n"
            )
        };
        let text = [
            package("a", "Depends: absent | b (>= 1), virtual\n"),
            package("b", "Pre-Depends: a\n"),
            package("c", "Provides: virtual\n"),
            package("d", ""),
        ];
        fs_err::write(root.path().join("var/lib/dpkg/status"), text.concat()).unwrap();
        assert_eq!(closure(root.path(), &["a"]).unwrap(), ["a", "b", "c"]);
        assert!(matches!(
            closure(root.path(), &["absent"]),
            Err(DebError::NotInstalled(_))
        ));
    }

    #[test]
    fn an_installed_package_is_read_from_dpkgs_database_and_the_files() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let at = root.path().join(path);
            fs_err::create_dir_all(at.parent().unwrap()).unwrap();
            fs_err::write(at, text).unwrap();
        };
        put("usr/bin/a", "#!/bin/sh\n");
        put("usr/bin/b.distrib", "diverted");
        put("etc/a.conf", "x");
        put(
            "var/lib/dpkg/info/a:amd64.list",
            "/.\n/usr\n/usr/bin\n/usr/bin/a\n/usr/bin/b\n/etc/a.conf\n/usr/gone\n",
        );
        put("var/lib/dpkg/info/a:amd64.postinst", "");
        put(
            "var/lib/dpkg/diversions",
            "/usr/bin/b\n/usr/bin/b.distrib\nother\n",
        );
        put(
            "var/lib/dpkg/status",
            "Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\n\
             Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\n\
             Conffiles:\n /etc/a.conf 0123\nDescription: an a\n",
        );
        let package = read(root.path(), "a").unwrap();
        assert_eq!(package.conffiles, ["/etc/a.conf"]);
        assert_eq!(package.scripts, ["postinst"]);
        let paths: Vec<&str> = package
            .entries
            .iter()
            .map(|entry| entry.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "/usr",
                "/usr/bin",
                "/usr/bin/a",
                "/usr/bin/b",
                "/etc/a.conf"
            ]
        );
        assert!(matches!(
            &package.entries[3].node,
            RawNode::File { size: 8, .. }
        ));
        assert_eq!(
            package.notes,
            ["/usr/gone: missing on this machine, or no file"]
        );
        assert!(matches!(
            read(root.path(), "b"),
            Err(DebError::NotInstalled(_))
        ));
    }
}
