//! `/etc/passwd` and `/etc/group` of the machine or sandbox: read, and appended to.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;

use model::manifest::{Setup, SystemUser};

use super::super::clock::Time;
use super::super::rooted::{Access, Root};
use super::super::{Doing, Error};

/// Names and numbers of users and groups.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
    /// Home and primary group are not needed; the members of each group are.
    members: HashMap<String, Vec<String>>,
}

/// System accounts get numbers of this range, from its beginning, as `adduser --system` does.
const SYSTEM: std::ops::RangeInclusive<u32> = 100..=999;

impl Accounts {
    /// Accounts as the two files' texts have them. Lines that are not well formed are passed over.
    pub fn parse(passwd: &str, group: &str) -> Self {
        let number = |line: &str| {
            let mut parts = line.split(':');
            let name = parts.next()?.to_owned();
            let number = parts.nth(1)?.parse().ok()?;
            Some((name, number))
        };
        let members = group.lines().filter_map(|line| {
            let (head, members) = line.rsplit_once(':')?;
            let name = head.split(':').next()?.to_owned();
            let members = members.split(',').filter(|m| !m.is_empty());
            Some((name, members.map(str::to_owned).collect()))
        });
        Self {
            users: passwd.lines().filter_map(number).collect(),
            groups: group.lines().filter_map(number).collect(),
            members: members.collect(),
        }
    }

    /// The accounts below `root`; a missing file has none.
    pub fn read(root: &Root) -> Result<Self, Error> {
        Ok(Self::parse(
            &text(root, "etc/passwd")?,
            &text(root, "etc/group")?,
        ))
    }

    /// A user's number. `root` is always 0; a name of digits alone is a number.
    pub fn uid(&self, name: &str) -> Option<u32> {
        number(&self.users, name)
    }

    /// A group's number. `root` is always 0; a name of digits alone is a number.
    pub fn gid(&self, name: &str) -> Option<u32> {
        number(&self.groups, name)
    }
}

fn number(numbers: &HashMap<String, u32>, name: &str) -> Option<u32> {
    if name == "root" {
        return Some(0);
    }
    numbers.get(name).copied().or_else(|| name.parse().ok())
}

fn text(root: &Root, path: &str) -> Result<String, Error> {
    match root.read(path) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text)
                .doing(|| format!("read {path}"))?;
            Ok(text)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).doing(|| format!("read {path}")),
    }
}

/// Makes the groups and users that are missing; those that are there are left as they are.
/// Answers the names that it made.
///
/// Holds the lock that `lckpwdf(3)`, `useradd` and `systemd-sysusers` hold (`/etc/.pwd.lock`).
pub fn make(root: &Root, setups: &[&Setup]) -> Result<Vec<String>, Error> {
    if setups
        .iter()
        .all(|setup| setup.groups.is_empty() && setup.users.is_empty())
    {
        return Ok(Vec::new());
    }
    let _lock = lock(root)?;
    let mut files = Files::read(root)?;
    for setup in setups {
        for group in &setup.groups {
            files.group(group)?;
        }
        for user in &setup.users {
            files.user(user)?;
        }
    }
    files.write(root)?;
    Ok(files.made)
}

/// Released when the file is closed.
fn lock(root: &Root) -> Result<fs_err::File, Error> {
    let what = || "lock the machine's accounts (/etc/.pwd.lock)".to_owned();
    let path = "etc/.pwd.lock";
    if root.look(path).doing(what)?.is_none() {
        let access = Access {
            mode: 0o600,
            uid: 0,
            gid: 0,
        };
        root.put(path, std::io::empty(), access).doing(what)?;
    }
    // A write lock needs a descriptor that can write; one on a read-only descriptor is refused.
    let file = fs_err::OpenOptions::new()
        .write(true)
        .open(root.shown(path))
        .doing(what)?;
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).doing(what)?;
    Ok(file)
}

struct Files {
    passwd: String,
    group: String,
    shadow: Option<String>,
    gshadow: Option<String>,
    accounts: Accounts,
    made: Vec<String>,
}

impl Files {
    fn read(root: &Root) -> Result<Self, Error> {
        let optional = |path: &str| -> Result<Option<String>, Error> {
            let there = root.look(path).doing(|| format!("read {path}"))?.is_some();
            if there {
                text(root, path).map(Some)
            } else {
                Ok(None)
            }
        };
        let (passwd, group) = (text(root, "etc/passwd")?, text(root, "etc/group")?);
        let accounts = Accounts::parse(&passwd, &group);
        let (shadow, gshadow) = (optional("etc/shadow")?, optional("etc/gshadow")?);
        Ok(Self {
            passwd,
            group,
            shadow,
            gshadow,
            accounts,
            made: Vec::new(),
        })
    }

    fn group(&mut self, name: &str) -> Result<u32, Error> {
        if let Some(gid) = self.accounts.gid(name) {
            return Ok(gid);
        }
        account_name(name)?;
        let gid = self.free(name)?;
        append(&mut self.group, &format!("{name}:x:{gid}:"));
        if let Some(gshadow) = &mut self.gshadow {
            append(gshadow, &format!("{name}:!*::"));
        }
        self.accounts.groups.insert(name.to_owned(), gid);
        self.made.push(format!("group {name}"));
        Ok(gid)
    }

    fn user(&mut self, user: &SystemUser) -> Result<(), Error> {
        if self.accounts.uid(&user.name).is_none() {
            account_name(&user.name)?;
            let gid = self.group(user.group.as_deref().unwrap_or(&user.name))?;
            let users: BTreeSet<u32> = self.accounts.users.values().copied().collect();
            let uid = if SYSTEM.contains(&gid) && !users.contains(&gid) {
                gid
            } else {
                self.free(&user.name)?
            };
            let comment = field(user.comment.as_deref().unwrap_or(""), "comment", &user.name)?;
            let home = field(
                user.home.as_deref().unwrap_or("/nonexistent"),
                "home",
                &user.name,
            )?;
            let line = format!(
                "{}:x:{uid}:{gid}:{comment}:{home}:/usr/sbin/nologin",
                user.name
            );
            append(&mut self.passwd, &line);
            if let Some(shadow) = &mut self.shadow {
                let days = Time::now().days();
                append(shadow, &format!("{}:!*:{days}::::::", user.name));
            }
            self.accounts.users.insert(user.name.clone(), uid);
            self.made.push(format!("user {}", user.name));
        }
        for group in &user.groups {
            self.group(group)?;
            self.join(&user.name, group);
        }
        Ok(())
    }

    /// Puts a user into a further group.
    fn join(&mut self, user: &str, group: &str) {
        let members = self.accounts.members.entry(group.to_owned()).or_default();
        if members.iter().any(|member| member == user) {
            return;
        }
        members.push(user.to_owned());
        for file in [Some(&mut self.group), self.gshadow.as_mut()]
            .into_iter()
            .flatten()
        {
            let line = |line: &str| {
                if line.split(':').next() != Some(group) {
                    return line.to_owned();
                }
                let comma = if line.ends_with(':') { "" } else { "," };
                format!("{line}{comma}{user}")
            };
            let lines: Vec<String> = file.lines().map(line).collect();
            *file = lines.join("\n") + "\n";
        }
        self.made.push(format!("{user} in group {group}"));
    }

    /// A number that neither a user nor a group has.
    fn free(&self, name: &str) -> Result<u32, Error> {
        let taken: BTreeSet<u32> = self
            .accounts
            .users
            .values()
            .chain(self.accounts.groups.values())
            .copied()
            .collect();
        SYSTEM
            .into_iter()
            .find(|number| !taken.contains(number))
            .ok_or_else(|| {
                Error::Refused(format!(
                    "no number is free for the system account {name:?} between 100 and 999: remove \
                 accounts that nobody uses"
                ))
            })
    }

    fn write(&self, root: &Root) -> Result<(), Error> {
        if self.made.is_empty() {
            return Ok(());
        }
        // Groups before users: a user is never there without its group.
        let files = [
            ("etc/group", Some(&self.group), 0o644),
            ("etc/gshadow", self.gshadow.as_ref(), 0o640),
            ("etc/passwd", Some(&self.passwd), 0o644),
            ("etc/shadow", self.shadow.as_ref(), 0o640),
        ];
        for (path, text, mode) in files {
            let Some(text) = text else { continue };
            let what = || format!("write {path}");
            let found = root.look(path).doing(what)?;
            let access = found.map_or(
                Access {
                    mode,
                    uid: 0,
                    gid: 0,
                },
                |(_, access)| access,
            );
            root.put(path, text.as_bytes(), access).doing(what)?;
        }
        Ok(())
    }
}

fn append(file: &mut String, line: &str) {
    if !file.is_empty() && !file.ends_with('\n') {
        file.push('\n');
    }
    file.push_str(line);
    file.push('\n');
}

/// As `useradd` has it, strictly.
fn account_name(name: &str) -> Result<(), Error> {
    let tail = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-".contains(&c);
    let head = name
        .bytes()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == b'_');
    if head && name.len() <= 31 && name.bytes().all(tail) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{name:?} cannot be an account: lower-case letters, digits, '_' and '-', at most 31"
    )))
}

fn field<'t>(text: &'t str, what: &str, user: &str) -> Result<&'t str, Error> {
    if text.bytes().any(|c| c == b':' || c < b' ') {
        return Err(Error::Refused(format!(
            "the {what} of user {user:?} has a ':' or line break"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("etc")).unwrap();
        for (name, text) in files {
            fs_err::write(dir.path().join("etc").join(name), text).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn user(name: &str) -> SystemUser {
        SystemUser {
            name: name.to_owned(),
            group: None,
            home: None,
            comment: None,
            groups: vec![],
        }
    }

    fn setup(users: Vec<SystemUser>, groups: &[&str]) -> Setup {
        Setup {
            users,
            groups: groups.iter().map(|&g| g.to_owned()).collect(),
            ..Setup::default()
        }
    }

    #[test]
    fn a_new_user_gets_a_free_system_number_and_a_group_of_the_same() {
        let (dir, root) = machine(&[
            (
                "passwd",
                "root:x:0:0::/root:/bin/sh\n_apt:x:100:65534::/:/bin/false\n",
            ),
            ("group", "root:x:0:\nadm:x:4:\n"),
            ("shadow", "root:*:1::::::\n"),
        ]);
        let redis = SystemUser {
            groups: vec!["adm".to_owned()],
            ..user("redis")
        };
        let setup = setup(vec![redis], &["www-data"]);
        let made = make(&root, &[&setup]).unwrap();
        assert_eq!(
            made,
            [
                "group www-data",
                "group redis",
                "user redis",
                "redis in group adm"
            ]
        );
        let read = |name| fs_err::read_to_string(dir.path().join("etc").join(name)).unwrap();
        assert!(read("passwd").ends_with("redis:x:102:102::/nonexistent:/usr/sbin/nologin\n"));
        assert!(
            read("group").contains("adm:x:4:redis\n"),
            "{}",
            read("group")
        );
        assert!(
            read("shadow")
                .lines()
                .nth(1)
                .unwrap()
                .starts_with("redis:!*:")
        );
        assert_eq!(make(&root, &[&setup]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_there_is_left_and_what_would_break_the_file_is_refused() {
        let (dir, root) = machine(&[("passwd", "x:x:7:7::/h:/bin/sh"), ("group", "x:x:7:")]);
        assert!(
            make(&root, &[&setup(vec![user("x")], &["x"])])
                .unwrap()
                .is_empty()
        );
        let evil = SystemUser {
            comment: Some("a:0".to_owned()),
            ..user("y")
        };
        for bad in [evil, user("a:b"), user("A"), user("a\nb"), user("")] {
            make(&root, &[&setup(vec![bad], &[])]).unwrap_err();
        }
        let text = fs_err::read_to_string(dir.path().join("etc/passwd")).unwrap();
        assert_eq!(text, "x:x:7:7::/h:/bin/sh");
    }
}
