//! Users and groups by the node's own `etc/passwd` and `etc/group`.
//!
//! Read here and not through libc: the node's files may be a sandbox's, and a name service plugin
//! of the machine has no business in this daemon.

use std::path::Path;

use super::places::Places;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// Why somebody cannot be become.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The file could not be read.
    #[error("could not read the node's users")]
    Read(#[from] std::io::Error),
    /// It has no such line.
    #[error("no {what} {name:?} in {file}; a package's [setup] or sysusers.d file creates it")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The file that was read.
        file: std::path::PathBuf,
    },
}

/// The account of `name`, a login name or a number.
pub fn account(places: &Places, name: &str) -> Result<Account, UserError> {
    let file = places.outside(Path::new("/etc/passwd"));
    let text = fs_err::read_to_string(&file)?;
    find_account(&text, name).ok_or_else(|| UserError::Unknown {
        what: "user",
        name: name.to_owned(),
        file,
    })
}

/// The number of the group `name`, a name or a number.
pub fn group(places: &Places, name: &str) -> Result<u32, UserError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let file = places.outside(Path::new("/etc/group"));
    let text = fs_err::read_to_string(&file)?;
    let found = groups(&text)
        .find(|(group, _, _)| *group == name)
        .map(|(_, gid, _)| gid);
    found.ok_or_else(|| UserError::Unknown {
        what: "group",
        name: name.to_owned(),
        file,
    })
}

/// Every group that lists `user` as a member, with `primary` first.
pub fn memberships(places: &Places, user: &str, primary: u32) -> Result<Vec<u32>, UserError> {
    let text = fs_err::read_to_string(places.outside(Path::new("/etc/group")))?;
    let member = |members: &str| members.split(',').any(|member| member.trim() == user);
    let others = groups(&text).filter(|(_, gid, members)| *gid != primary && member(members));
    Ok(std::iter::once(primary)
        .chain(others.map(|(_, gid, _)| gid))
        .collect())
}

fn find_account(text: &str, name: &str) -> Option<Account> {
    let number: Option<u32> = name.parse().ok();
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [login, _, uid, gid, _, home, shell] = fields[..] else {
            return None;
        };
        let uid = uid.parse().ok()?;
        (login == name || number == Some(uid)).then(|| Account {
            name: login.to_owned(),
            uid,
            gid: gid.parse().unwrap_or(uid),
            home: home.to_owned(),
            shell: if shell.is_empty() {
                "/bin/sh".to_owned()
            } else {
                shell.to_owned()
            },
        })
    })
}

fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn accounts_come_from_the_nodes_own_files() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir(root.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad line\nribd:x:901:902::/var/lib/ribd:\n";
        fs_err::write(root.path().join("etc/passwd"), passwd).unwrap();
        let group_file = "ribd:x:902:\nnet:x:903:other,ribd\nlog:x:904:ribd2\n";
        fs_err::write(root.path().join("etc/group"), group_file).unwrap();
        let config = Config {
            machine_root: root.path().into(),
            ..Config::default()
        };
        let places = Places::new(&config);

        let ribd = account(&places, "ribd").unwrap();
        assert_eq!(
            (ribd.uid, ribd.gid, ribd.shell.as_str()),
            (901, 902, "/bin/sh")
        );
        assert_eq!(account(&places, "901").unwrap(), ribd);
        assert_eq!(memberships(&places, "ribd", 902).unwrap(), [902, 903]);
        assert_eq!(group(&places, "log").unwrap(), 904);
        let error = account(&places, "fwdd").unwrap_err().to_string();
        assert!(
            error.contains("fwdd") && error.contains("etc/passwd"),
            "{error}"
        );
    }
}
