//! `[setup]`: what a maintainer script would have made on the machine. Groups and users before a
//! generation is built, for they own its files; directories and links at the switch. What is
//! there already is left as it is, and nothing of this is undone: as with Debian packages, an
//! account outlives the package that asked for it.

pub mod accounts;

use model::fault;
use model::manifest::{Setup, SetupDirectory};

use self::accounts::Accounts;
use super::rooted::{Access, Root};
use super::{Doing, Error};

/// Makes the directories and links that are missing. Answers what it made.
pub fn directories(root: &Root, setups: &[&Setup]) -> Result<Vec<String>, Error> {
    let accounts = Accounts::read(root)?;
    let mut made = Vec::new();
    fault::before("make directories").doing(|| "make directories".to_owned())?;
    for setup in setups {
        for directory in &setup.directories {
            if make_directory(root, directory, &accounts)? {
                made.push(directory.path.clone());
            }
        }
        for (link, target) in &setup.links {
            if make_link(root, link, target)? {
                made.push(link.clone());
            }
        }
    }
    Ok(made)
}

fn make_directory(
    root: &Root,
    wanted: &SetupDirectory,
    accounts: &Accounts,
) -> Result<bool, Error> {
    let path = below(&wanted.path)?;
    let what = || format!("make the directory {}", wanted.path);
    let mode = match wanted.mode.as_deref() {
        None => 0o755,
        Some(text) => u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| Error::Refused(format!("{}: {text:?} is not a mode", wanted.path)))?,
    };
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "root".to_owned());
    let (owner, group) = (name(&wanted.owner), name(&wanted.group));
    let missing = |who: &str| {
        Error::Refused(format!(
            "{}: there is no account {who:?}; add it to [setup]",
            wanted.path
        ))
    };
    let uid = accounts.uid(&owner).ok_or_else(|| missing(&owner))?;
    let gid = accounts.gid(&group).ok_or_else(|| missing(&group))?;
    if !root.make_directory(path, mode).doing(what)? {
        return Ok(false);
    }
    root.set_owner(path, Access { mode, uid, gid })
        .doing(what)?;
    Ok(true)
}

fn make_link(root: &Root, link: &str, target: &str) -> Result<bool, Error> {
    let path = below(link)?;
    let what = || format!("make the link {link}");
    if root.look(path).doing(what)?.is_some() {
        return Ok(false);
    }
    root.put_link(path, target).doing(what)?;
    Ok(true)
}

/// Where a package may have directories and links made, outside the trees that it fills itself.
const TOPS: [&str; 4] = ["var", "run", "srv", "etc"];

/// `path` without its leading `/`, where it is clean and below one of [`TOPS`].
fn below(path: &str) -> Result<&str, Error> {
    let relative = path.strip_prefix('/').unwrap_or_default();
    let mut parts = relative.split('/');
    let clean =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if parts.clone().all(clean) && parts.next().is_some_and(|top| TOPS.contains(&top)) {
        return Ok(relative);
    }
    Err(Error::Refused(format!(
        "{path:?} is not a clean path below /{}",
        TOPS.join(", /")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_once_and_only_where_they_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let directory = |path: &str, mode: &str| SetupDirectory {
            path: path.to_owned(),
            mode: Some(mode.to_owned()),
            owner: None,
            group: None,
        };
        let setup = Setup {
            directories: vec![directory("/var/cache/x/y", "1770")],
            links: [("/etc/x".to_owned(), "/usr/share/x".to_owned())].into(),
            ..Setup::default()
        };
        assert_eq!(
            directories(&root, &[&setup]).unwrap(),
            ["/var/cache/x/y", "/etc/x"]
        );
        assert!(directories(&root, &[&setup]).unwrap().is_empty());
        let found = root.look("var/cache/x/y").unwrap().unwrap();
        assert_eq!(found.1.mode, 0o1770);
        for bad in ["/usr/x", "/var/../usr", "var/x", "/home/x", "/", "/var//x"] {
            let setup = Setup {
                directories: vec![directory(bad, "755")],
                ..Setup::default()
            };
            directories(&root, &[&setup]).unwrap_err();
        }
    }
}
