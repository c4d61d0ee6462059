//! A daemon that is killed in the middle of a change: when it is there again, the node runs wholly
//! the old or wholly the new set, every list agrees with every other, and no process was lost,
//! doubled or stopped for nothing.
//!
//! The instants are exact where a program of the test holds the change up at a gate, and else
//! follow a step that was told, chosen by a seed that is printed. `CHANGEOVER_SEED`
//! repeats it, and `CHANGEOVER_CRASH_ROUNDS` says how often.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Child;

use anyhow::{Context, Result, ensure};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;
use tests::house::{Dice, Goods, House, Plan, active, at_once, ended, setting};
use tests::node::Node;
use tests::wait;

/// Where a program of the node stands until it is let through.
struct Gate {
    here: PathBuf,
    go: PathBuf,
    told: File,
}

impl Gate {
    fn close(house: &House, name: &str) -> Result<Self> {
        let dir = house.node.root().join("var/lib/gates");
        let (here, go) = (dir.join(name), dir.join(format!("{name}.go")));
        let everyones = Mode::from_bits_truncate(0o666);
        for path in [&go, &here] {
            drop(fs_err::remove_file(path));
            mkfifo(path, everyones)?;
        }
        let told = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&here)?;
        Ok(Self { here, go, told })
    }

    /// Waits until a program stands there.
    fn reached(&mut self) -> Result<()> {
        let limit = PollTimeout::try_from(wait::LIMIT)?;
        let mut told = [PollFd::new(self.told.as_fd(), PollFlags::POLLIN)];
        ensure!(
            poll(&mut told, limit)? > 0,
            "nobody came to {}",
            self.here.display()
        );
        let mut word = [0];
        self.told.read_exact(&mut word)?;
        Ok(())
    }

    /// Lets through who stands there and who comes.
    fn open(self) -> Result<()> {
        fs_err::remove_file(&self.here)?;
        // Nobody may stand there any more.
        let go = File::options()
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&self.go);
        if let Ok(mut go) = go {
            std::io::Write::write_all(&mut go, b"!")?;
        }
        Ok(())
    }
}

/// One round: `daemon` is killed while a program stands at `gate`; whether the change happened.
fn killed_at(house: &House, daemon: &str, gate: &str) -> Result<bool> {
    let new = active(&house.node.json(&["status"])?)? + 1;
    let before = house.before(new)?;
    let mut gate = Gate::close(house, gate)?;
    let mut client = house.begin(new)?;
    gate.reached()?;
    house.kill(&[daemon])?;
    gate.open()?;
    let happened = house.settle(&before)?;
    ended(&mut client)?;
    Ok(happened)
}

#[test]
fn installd_killed_while_processes_are_asked_leaves_the_old_set() -> Result<()> {
    let house = House::start(3)?;
    assert!(!killed_at(&house, "installd", "ask")?);
    let before = house.before(2)?;
    ended(&mut house.begin(2)?)?;
    assert!(house.settle(&before)?, "the next change goes on");
    Ok(())
}

#[test]
fn sysmgrd_killed_while_processes_are_asked_leaves_the_old_set() -> Result<()> {
    let house = House::start(3)?;
    assert!(!killed_at(&house, "sysmgrd", "ask")?);
    let before = house.before(2)?;
    ended(&mut house.begin(2)?)?;
    assert!(house.settle(&before)?, "the next change goes on");
    Ok(())
}

#[test]
fn a_change_whose_daemon_is_killed_while_a_process_stops_is_finished() -> Result<()> {
    let house = House::start(3)?;
    for daemon in ["installd", "sysmgrd"] {
        assert!(killed_at(&house, daemon, "stop")?, "{daemon}");
    }
    Ok(())
}

#[test]
fn a_change_whose_daemon_is_killed_while_a_process_starts_is_finished() -> Result<()> {
    let house = House::start(3)?;
    for daemon in ["installd", "sysmgrd"] {
        assert!(killed_at(&house, daemon, "start")?, "{daemon}");
    }
    Ok(())
}

#[test]
fn a_process_that_is_ready_while_no_sysmgrd_runs_is_ready_for_the_next() -> Result<()> {
    let house = House::start(2)?;
    let before = house.before(2)?;
    let (mut starts, mut said) = (Gate::close(&house, "start")?, Gate::close(&house, "said")?);
    let mut client = house.begin(2)?;
    starts.reached()?;
    // Until init goes on no other one is started.
    let init = fs_err::read_to_string(house.node.root().join(".sandbox/running"))?;
    let init = Pid::from_raw(init.trim().parse()?);
    let sysmgrd = house.node.daemon("sysmgrd")?.context("sysmgrd runs")?;
    kill(init, Signal::SIGSTOP)?;
    let told = kill(Pid::from_raw(sysmgrd), Signal::SIGKILL)
        .map_err(anyhow::Error::from)
        .and_then(|()| starts.open())
        .and_then(|()| said.reached());
    kill(init, Signal::SIGCONT)?;
    told?;
    said.open()?;
    assert!(house.settle(&before)?);
    ended(&mut client)
}

#[expect(
    clippy::print_stderr,
    reason = "what was killed when explains a failure"
)]
#[test]
fn daemons_killed_at_any_instant_leave_one_whole_set() -> Result<()> {
    let rounds = setting("CHANGEOVER_CRASH_ROUNDS").unwrap_or(8);
    let mut dice = Dice::new()?;
    eprintln!("CHANGEOVER_CRASH_ROUNDS={rounds}");
    let plan = Plan {
        versions: 2,
        told: true,
    };
    let house =
        Goods::build(plan)?.move_in(Node::start_within(at_once(), &["--restart-daemons"])?)?;
    // An undisturbed one tells how many steps there are.
    let before = house.before(2)?;
    let mut client = house.begin(2)?;
    let steps = steps_until(&mut client, usize::MAX)?;
    ended(&mut client)?;
    assert!(house.settle(&before)?);
    assert!(steps.len() >= 5, "{steps:?}");
    let mut happened = 0;
    for round in 0..rounds {
        let victims: &[&str] = [
            &["installd"][..],
            &["sysmgrd"],
            &["installd", "sysmgrd"],
            &["dbus-daemon"],
        ][dice.below(4)];
        let step = dice.below(steps.len());
        // The steps are some milliseconds apart.
        let later = u8::try_from(dice.below(30))?;
        let before = house.before(3 - active(&house.node.json(&["status"])?)?)?;
        let mut client = house.begin(before.new)?;
        let seen = steps_until(&mut client, step)?;
        poll(&mut [], PollTimeout::from(later))?;
        let told = format!(
            "{round}: {victims:?} killed {later} ms after step {step}: {:?}",
            seen.last()
        );
        eprintln!("{told}");
        house.kill(victims)?;
        happened += u64::from(house.settle(&before).context(told)?);
        ended(&mut client)?;
    }
    eprintln!("{happened} of {rounds} changes happened");
    Ok(())
}

#[test]
fn a_change_goes_on_while_the_bus_is_gone() -> Result<()> {
    let house = House::start(2)?;
    let before = house.before(2)?;
    let mut gate = Gate::close(&house, "stop")?;
    let mut client = house.begin(2)?;
    gate.reached()?;
    house.kill(&["dbus-daemon"])?;
    gate.open()?;
    assert!(house.settle(&before)?, "the daemons speak without it");
    ended(&mut client)
}

/// Reads what a change tells until the step of this number is told, or it has ended.
fn steps_until(client: &mut Child, last: usize) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    let mut lines = BufReader::new(client.stdout.take().context("standard output")?);
    while seen.len() <= last {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            break;
        }
        let document: Value = serde_json::from_str(&line)?;
        if let Some(step) = document.get("progress") {
            seen.push(step.to_string());
        }
    }
    // Whatever follows is not to fail for want of a reader.
    client.stdout = Some(lines.into_inner());
    Ok(seen)
}
