//! A user namespace for a node whose owner is not root.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, User};

/// Which users a node in a user namespace has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// Root and as many more as its owner's subordinate ranges give.
    Many(u32),
    /// Root alone; why there are no more.
    OnlyRoot(String),
}

/// Moves the calling process into a user namespace of its own, in which it is root. It must have
/// one thread only.
pub fn enter_namespace() -> Result<Users> {
    let (uid, gid) = (Uid::current(), Gid::current());
    let ranges = ranges_of(uid);
    // newuidmap maps only from outside, so it is started here and waits for the namespace.
    let helper = match &ranges {
        Ok((uids, gids)) => Some(waiting_helper(uid, gid, *uids, *gids)?),
        Err(_) => None,
    };
    unshare(CloneFlags::CLONE_NEWUSER).context(
        "could not make a user namespace (the kernel, a sysctl or a security module forbids it)",
    )?;
    let why = match (helper, ranges) {
        (Some(helper), Ok((uids, gids))) => match let_it_map(helper) {
            Ok(()) => return Ok(Users::Many(uids.1.min(gids.1))),
            Err(error) => format!("{error:#}"),
        },
        (_, Err(why)) => why,
        (None, Ok(_)) => String::new(),
    };
    map_only_self(uid, gid)?;
    Ok(Users::OnlyRoot(why))
}

/// The first id of a range, and how many.
type Range = (u32, u32);

/// The caller's subordinate users and groups, each as (first, count), or why there are none.
fn ranges_of(uid: Uid) -> Result<(Range, Range), String> {
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let find = |file: &str| {
        let text = fs_err::read_to_string(file).map_err(|error| error.to_string())?;
        let range = text
            .lines()
            .find_map(|line| range_in(line, name.as_deref(), uid));
        let who = name.clone().unwrap_or_else(|| uid.to_string());
        range.ok_or_else(|| format!("{file} has no range for {who}"))
    };
    Ok((find("/etc/subuid")?, find("/etc/subgid")?))
}

fn range_in(line: &str, name: Option<&str>, uid: Uid) -> Option<Range> {
    let mut parts = line.trim().split(':');
    let (owner, first, count) = (parts.next()?, parts.next()?, parts.next()?);
    let mine = Some(owner) == name || owner.parse() == Ok(uid.as_raw());
    mine.then_some((first.parse().ok()?, count.parse().ok()?))
}

/// A process outside the namespace that maps the ids of this one when it is told to.
fn waiting_helper(uid: Uid, gid: Gid, uids: Range, gids: Range) -> Result<Child> {
    let me = std::process::id();
    let script = format!(
        "read go && newuidmap {me} 0 {uid} 1 1 {} {} && newgidmap {me} 0 {gid} 1 1 {} {}",
        uids.0, uids.1, gids.0, gids.1
    );
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    command
        .stderr(Stdio::piped())
        .spawn()
        .context("could not run /bin/sh")
}

fn let_it_map(mut helper: Child) -> Result<()> {
    if let Some(mut go) = helper.stdin.take() {
        go.write_all(b"go\n").context("newuidmap")?;
    }
    let output = helper.wait_with_output().context("newuidmap")?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "newuidmap: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )
}

fn map_only_self(uid: Uid, gid: Gid) -> Result<()> {
    // A map that newuidmap wrote before newgidmap failed stays; writing again is refused.
    if fs_err::read_to_string("/proc/self/uid_map")?
        .trim()
        .is_empty()
    {
        fs_err::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    }
    fs_err::write("/proc/self/setgroups", "deny")?;
    fs_err::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let uid = Uid::from_raw(1000);
        assert_eq!(
            range_in("ann:100000:65536", Some("ann"), uid),
            Some((100_000, 65_536))
        );
        assert_eq!(
            range_in("1000:100000:65536", None, uid),
            Some((100_000, 65_536))
        );
        assert_eq!(range_in("bob:100000:65536", Some("ann"), uid), None);
        assert_eq!(range_in("", Some("ann"), uid), None);
    }
}
