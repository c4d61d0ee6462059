//! What sysusers.d and tmpfiles.d files ask for, as far as a package's `[setup]` can say it.

use model::manifest::{Setup, SetupDirectory, SystemUser};

use super::paths::{self, Place};
use super::specifiers::UnitName;
use super::{values, words};

/// Reads one sysusers.d file into `setup`; returns the lines that are not carried over.
pub fn sysusers(file: &str, text: &str, setup: &mut Setup) -> Vec<String> {
    let mut notes = Vec::new();
    for line in lines(text) {
        let fields = words::split(line).unwrap_or_default();
        let mut fields = fields.iter().map(String::as_str);
        let kind = fields.next().unwrap_or_default();
        let name = fields.next().unwrap_or_default();
        let id = fields.next().filter(|field| *field != "-");
        match kind {
            "u" | "u!" if !name.is_empty() => {
                let group = id.and_then(|id| id.split_once(':')).map(|(_, group)| group);
                let mut rest = fields.map(|field| (field != "-").then(|| field.to_owned()));
                let user = SystemUser {
                    name: name.to_owned(),
                    // A number there only wishes for an id, and the machine gives its own.
                    group: group.filter(|group| !is_number(group)).map(str::to_owned),
                    comment: rest.next().flatten(),
                    home: rest.next().flatten(),
                    groups: Vec::new(),
                };
                add_user(setup, user);
            }
            "g" if !name.is_empty() => add_group(setup, name),
            "m" if id.is_some() => add_member(setup, name, id.unwrap_or_default()),
            _ => notes.push(format!("{file}: {line}")),
        }
    }
    notes
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_digit())
}

/// Adds a user, unless one of that name is there; what was silent is filled in.
pub fn add_user(setup: &mut Setup, user: SystemUser) {
    match setup.users.iter_mut().find(|known| known.name == user.name) {
        Some(known) => {
            known.group = known.group.take().or(user.group);
            known.home = known.home.take().or(user.home);
            known.comment = known.comment.take().or(user.comment);
            for group in user.groups {
                if !known.groups.contains(&group) {
                    known.groups.push(group);
                }
            }
        }
        None => setup.users.push(user),
    }
}

/// Adds a group, unless it is there.
pub fn add_group(setup: &mut Setup, name: &str) {
    if !setup.groups.iter().any(|known| known == name) {
        setup.groups.push(name.to_owned());
    }
}

fn add_member(setup: &mut Setup, user: &str, group: &str) {
    add_group(setup, group);
    let user = SystemUser {
        name: user.to_owned(),
        group: None,
        home: None,
        comment: None,
        groups: vec![group.to_owned()],
    };
    add_user(setup, user);
}

/// Adds a directory; one of the same path takes on what the new one says.
pub fn add_directory(setup: &mut Setup, directory: SetupDirectory) {
    match setup
        .directories
        .iter_mut()
        .find(|known| known.path == directory.path)
    {
        Some(known) => {
            known.mode = directory.mode.or(known.mode.take());
            known.owner = directory.owner.or(known.owner.take());
            known.group = directory.group.or(known.group.take());
        }
        None => setup.directories.push(directory),
    }
}

/// Reads one tmpfiles.d file into `setup`; returns the lines that are not carried over.
pub fn tmpfiles(file: &str, text: &str, setup: &mut Setup) -> Vec<String> {
    let mut notes = Vec::new();
    let unit = UnitName::new("");
    for line in lines(text) {
        if tmpfiles_line(line, &unit, setup).is_none() {
            notes.push(format!("{file}: {line}"));
        }
    }
    notes
}

fn tmpfiles_line(line: &str, unit: &UnitName, setup: &mut Setup) -> Option<()> {
    let fields = words::split(line)?;
    let field = |at: usize| {
        fields
            .get(at)
            .map(String::as_str)
            .filter(|field| *field != "-")
    };
    let kind = fields
        .first()?
        .trim_end_matches(['+', '!', '-', '=', '~', '^', '$']);
    let path = unit.expand(field(1)?).ok()?;
    let path = match paths::place(path.trim_end_matches('/')) {
        Place::State(path) => path,
        Place::Config(path) => path.to_string(),
        // It is there; that its mode be changed is not a package's to ask.
        Place::Given => return Some(()),
        Place::Package(_) | Place::LeftOut(_) => return None,
    };
    match kind {
        "d" | "D" | "v" | "q" | "Q" => {
            let mode = match field(2) {
                Some(mode) => Some(values::mode(mode.trim_start_matches(['~', ':']))?),
                None => None,
            };
            let name = |at| field(at).map(|name: &str| name.trim_start_matches(':').to_owned());
            let (owner, group) = (name(3), name(4));
            add_directory(
                setup,
                SetupDirectory {
                    path,
                    mode,
                    owner,
                    group,
                },
            );
        }
        "L" => {
            let target = match field(6) {
                Some(target) => unit.expand(target).ok()?,
                None => format!("/usr/share/factory{path}"),
            };
            setup.links.insert(path, target);
        }
        _ => return None,
    }
    Some(())
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_come_from_sysusers_files() {
        let mut setup = Setup::default();
        let text = "\
# comment
u redis - \"Redis server\" /var/lib/redis /bin/false
u www-data 33:33
u web 500:www-data
g extra 123
m redis adm
r - 500-900
";
        let notes = sysusers("redis.conf", text, &mut setup);
        assert_eq!(notes, ["redis.conf: r - 500-900"]);
        assert_eq!(setup.groups, ["extra", "adm"]);
        let redis = &setup.users[0];
        assert_eq!(redis.comment.as_deref(), Some("Redis server"));
        assert_eq!(redis.home.as_deref(), Some("/var/lib/redis"));
        assert_eq!(redis.groups, ["adm"]);
        assert_eq!(setup.users[1].group, None);
        assert_eq!(setup.users[2].group.as_deref(), Some("www-data"));
    }

    #[test]
    fn directories_and_links_come_from_tmpfiles_files() {
        let mut setup = Setup::default();
        let text = "\
d /run/memcached 0755 memcache memcache -
D! /var/run/other ~2750 - adm
d %t/third
L /etc/mtab - - - - ../proc/self/mounts
L+ /var/lib/x
d /var/log 0700
d /tmp/x 1777
f /run/file 0644 root root - text
Z /var/lib/y
";
        let notes = tmpfiles("m.conf", text, &mut setup);
        let expected = [
            "m.conf: d /tmp/x 1777",
            "m.conf: f /run/file 0644 root root - text",
            "m.conf: Z /var/lib/y",
        ];
        assert_eq!(notes, expected);
        let found: Vec<_> = setup
            .directories
            .iter()
            .map(|one| {
                (
                    one.path.as_str(),
                    one.mode.as_deref(),
                    one.owner.as_deref(),
                    one.group.as_deref(),
                )
            })
            .collect();
        let expected = [
            (
                "/run/memcached",
                Some("0755"),
                Some("memcache"),
                Some("memcache"),
            ),
            ("/run/other", Some("2750"), None, Some("adm")),
            ("/run/third", None, None, None),
        ];
        assert_eq!(found, expected);
        assert_eq!(setup.links["/etc/mtab"], "../proc/self/mounts");
        assert_eq!(setup.links["/var/lib/x"], "/usr/share/factory/var/lib/x");
    }
}
