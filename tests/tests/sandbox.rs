//! A private node in a directory begins whole and ends without a trace.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::node::Node;
use tests::{binaries, wait};

fn sandbox(root: &Path, options: &[&str], script: &str) -> Result<Output> {
    Ok(Command::new(binaries::pkgtool()?)
        .args(["--quiet", "sandbox", "--root"])
        .arg(root)
        .args(options)
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .output()?)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn room() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("sandbox-").tempdir()?)
}

/// Every process of the machine whose namespace of this kind is this one.
fn members(kind: &str, namespace: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir("/proc")?.flatten() {
        let link = std::fs::read_link(entry.path().join("ns").join(kind));
        if link.is_ok_and(|link| link == Path::new(namespace)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Control groups of sandboxes whose maker is `pid`.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    let parents = [
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup/pids",
    ];
    let name = format!("changeover-sandbox-{pid}");
    parents
        .iter()
        .map(|parent| Path::new(parent).join(&name))
        .filter(|dir| dir.exists())
        .collect()
}

#[test]
fn the_exit_status_is_the_commands() -> Result<()> {
    let room = room()?;
    assert_eq!(sandbox(room.path(), &[], "exit 7")?.status.code(), Some(7));
    assert_eq!(
        sandbox(room.path(), &[], "kill -TERM $$")?.status.code(),
        Some(143)
    );
    assert_eq!(sandbox(room.path(), &[], "exit 0")?.status.code(), Some(0));
    let missing = Command::new(binaries::pkgtool()?)
        .args(["-q", "sandbox", "--", "/no/such/program"])
        .output()?;
    assert_eq!(missing.status.code(), Some(127));
    Ok(())
}

#[test]
fn nothing_is_left_when_the_command_has_ended() -> Result<()> {
    let room = room()?;
    let script = "setsid sleep 98765 >/dev/null 2>&1 & readlink /proc/self/ns/pid";
    let output = sandbox(room.path(), &[], script)?;
    let namespace = text(&output);
    ensure!(namespace.starts_with("pid:["), "{output:?}");
    assert_eq!(members("pid", &namespace)?, Vec::<PathBuf>::new());
    let mounts = fs_err::read_to_string("/proc/self/mountinfo")?;
    assert!(
        !mounts.contains(&*room.path().to_string_lossy()),
        "{mounts}"
    );
    assert_eq!(
        fs_err::read_dir(room.path().join("run"))?.count(),
        0,
        "only the node sees /run"
    );
    Ok(())
}

#[test]
fn nothing_outlives_a_killed_sandbox() -> Result<()> {
    let mut node = Node::start()?;
    let namespace = node
        .ok(&["readlink", "/proc/self/ns/pid"])?
        .trim()
        .to_owned();
    ensure!(
        members("pid", &namespace)?.len() >= 4,
        "the node does not run"
    );
    let pid = node.sandbox_pid();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(pid)?),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    wait::until("the kernel has buried the node", || {
        Ok(members("pid", &namespace)?.is_empty().then_some(()))
    })?;
    node.end()?;
    // Its control group cannot remove itself; the next sandbox on the machine does it.
    let other = room()?;
    sandbox(other.path(), &[], "true")?;
    assert_eq!(groups_of(pid), Vec::<PathBuf>::new());
    // And the directory is as good as after a power cut.
    assert_eq!(sandbox(&node.root(), &[], "exit 5")?.status.code(), Some(5));
    Ok(())
}

#[test]
fn the_control_group_is_removed_with_all_below_it() -> Result<()> {
    let mut node = Node::start()?;
    let pid = node.sandbox_pid();
    let groups = groups_of(pid);
    for group in &groups {
        fs_err::create_dir_all(group.join("a/b"))?;
    }
    node.end()?;
    assert_eq!(groups_of(pid), Vec::<PathBuf>::new());
    Ok(())
}

#[test]
fn a_second_command_enters_the_node_that_runs() -> Result<()> {
    let node = Node::start()?;
    let spaces = "for ns in pid mnt net; do readlink /proc/self/ns/$ns; done";
    let first = node.ok(&["sh", "-c", spaces])?;
    let second = node.ok(&["sh", "-c", spaces])?;
    assert_eq!(first, second);
    let own = fs_err::read_link("/proc/self/ns/pid")?;
    assert!(!first.contains(&*own.to_string_lossy()));
    assert_eq!(node.run(&["sh", "-c", "exit 9"])?.status.code(), Some(9));
    let killed = node.run(&["sh", "-c", "kill -KILL $$"])?;
    assert_eq!(killed.status.code().or(killed.status.signal()), Some(137));
    Ok(())
}

#[test]
fn etc_and_state_stay_and_run_is_gone_after_a_reboot() -> Result<()> {
    let room = room()?;
    let write = "echo kept >$CHANGEOVER_ROOT/etc/changeover-test;
        echo kept >$CHANGEOVER_ROOT/var/lib/kept; echo gone >$CHANGEOVER_ROOT/run/gone";
    assert!(sandbox(room.path(), &[], write)?.status.success());
    assert!(!Path::new("/etc/changeover-test").exists());
    let read = "cd $CHANGEOVER_ROOT; cat etc/changeover-test var/lib/kept; test ! -e run/gone;
        echo $?; grep -c ^root: etc/passwd";
    assert_eq!(text(&sandbox(room.path(), &[], read)?), "kept\nkept\n0\n1");
    Ok(())
}

#[test]
fn a_network_of_its_own_has_nothing_but_a_loopback_that_is_up() -> Result<()> {
    let room = room()?;
    let devices = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; cat /proc/net/fib_trie";
    let own = text(&sandbox(room.path(), &["--net", "own"], devices)?);
    assert_eq!(own.lines().next(), Some("lo"));
    assert!(
        own.lines().nth(1).is_some_and(|line| line.ends_with(':')),
        "{own}"
    );
    assert!(own.contains("127.0.0.1"), "{own}");
    let space = "readlink /proc/self/ns/net";
    let host = text(&sandbox(room.path(), &["--net", "host"], space)?);
    assert_eq!(
        host,
        fs_err::read_link("/proc/self/ns/net")?.to_string_lossy()
    );
    Ok(())
}

#[test]
fn a_daemon_that_dies_is_named_with_what_it_wrote_last() -> Result<()> {
    let room = room()?;
    let script = "kill -KILL $(cat $CHANGEOVER_ROOT/run/installd.pid); sleep 600";
    let output = sandbox(room.path(), &[], script)?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("installd ended (killed by SIGKILL)"),
        "{said}"
    );
    assert!(said.contains("var/log/changeover/installd.log"), "{said}");
    Ok(())
}

#[test]
fn a_daemon_that_dies_is_started_again_where_that_is_asked_for() -> Result<()> {
    let node = Node::start_with(&["--restart-daemons"])?;
    let pid = || node.ok(&["sh", "-c", "cat $CHANGEOVER_ROOT/run/installd.pid"]);
    let before = pid()?;
    node.ok(&["kill", "-KILL", before.trim()])?;
    wait::until("installd runs again", || {
        Ok((pid()? != before).then_some(()))
    })?;
    wait::until("installd answers again", || {
        Ok(node
            .run(&["pkgtool", "status"])?
            .status
            .success()
            .then_some(()))
    })
}

#[test]
fn a_program_that_no_daemon_can_be_found_beside_says_what_to_do() -> Result<()> {
    let room = room()?;
    let lonely = room.path().join("pkgtool");
    fs_err::copy(binaries::pkgtool()?, &lonely)?;
    let output = Command::new(lonely)
        .args(["-q", "sandbox", "--", "true"])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("could not start"), "{said}");
    assert!(said.contains("CHANGEOVER_BIN_DIR"), "{said}");
    Ok(())
}

#[test]
fn who_is_not_root_gets_a_node_in_a_user_namespace() -> Result<()> {
    let room = room()?;
    let bin = room.path().join("bin");
    fs_err::create_dir(&bin)?;
    for name in ["pkgtool", "sysmgrd", "installd"] {
        fs_err::copy(binaries::dir()?.join(name), bin.join(name))?;
    }
    let nobody = nix::unistd::User::from_name("nobody")?.context("no user nobody")?;
    let home = room.path().join("home");
    fs_err::create_dir(&home)?;
    nix::unistd::chown(&home, Some(nobody.uid), Some(nobody.gid))?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(room.path(), open)?;
    let script = "id -u; cat /proc/self/uid_map; pkgtool --json status >/dev/null; echo $?";
    let output = Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"])
        .arg(bin.join("pkgtool"))
        .args(["sandbox", "--root"])
        .arg(home.join("root"))
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .output()?;
    let lines = text(&output);
    let lines: Vec<&str> = lines.lines().map(str::trim).collect();
    assert_eq!(lines.first(), Some(&"0"), "{output:?}");
    assert_eq!(lines.last(), Some(&"0"), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("root only"), "{said}");
    Ok(())
}
