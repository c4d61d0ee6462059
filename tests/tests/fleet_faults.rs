//! A fleet while things break: whatever dies, and whenever, nothing that was decided is lost, nothing
//! changes that was not decided, and the master can say where every node stands.
//!
//! Instants are chosen by a seed that is printed; `CHANGEOVER_SEED` repeats it, and
//! `CHANGEOVER_FLEET_ROUNDS` says how often.

use anyhow::{Context, Result, ensure};
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, agree, all_run, object, phase, runs, slow};
use tests::house::{Dice, setting};
use tests::wait;

/// Rounds where nobody says how many.
const FEW: u64 = 3;

const BOTH: [&str; 2] = ["one", "two"];

/// Lets the fleet go on for less than so long.
fn go_on(dice: &mut Dice, below_ms: usize) -> Result<()> {
    let ms = u16::try_from(dice.below(below_ms))?;
    // The chosen instant is the test: nothing is waited for.
    poll(&mut [], PollTimeout::from(ms))?;
    Ok(())
}

/// Kills a daemon of a node as a crash would; the node starts it again.
fn crash(fleet: &Fleet, node: &str, daemon: &str) -> Result<()> {
    let pid = fleet.node(node)?.daemon(daemon)?;
    // It may be on its way up from the last time.
    if let Some(pid) = pid {
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    }
    Ok(())
}

/// What dies in a round.
fn something_dies(fleet: &mut Fleet, dice: &mut Dice) -> Result<()> {
    go_on(dice, 500)?;
    match dice.below(4) {
        0 => crash(fleet, "one", "installd")?,
        1 => crash(fleet, "two", "sysmgrd")?,
        _ => {}
    }
    fleet.kill_master()?;
    go_on(dice, 300)?;
    fleet.start_master()
}

/// What people see of it says where it is, and where each node is.
fn is_explained(fleet: &Fleet, id: u64) -> Result<()> {
    let view = fleet.update(id)?;
    let shown = fleet.ok(&["show", &id.to_string()])?;
    let said = view["phase"].as_str().context("no phase")?.to_owned();
    let is_there = |word: &str| shown.contains(word);
    ensure!(is_there(&format!("update {id}")), "{said}: {shown}");
    ensure!(BOTH.iter().all(|node| is_there(node)), "{shown}");
    for node in BOTH {
        let part = phase(&view, node)?;
        ensure!(!part.is_empty(), "{node}: {view}");
    }
    Ok(())
}

fn ended(fleet: &Fleet, id: u64) -> Result<Value> {
    let found = wait::until(&format!("update {id} has ended"), || {
        let view = fleet.update(id)?;
        let said = view["phase"].as_str().unwrap_or_default().to_owned();
        let over = ["done", "partial", "stopped", "aborted", "taken-back"];
        Ok(over.contains(&said.as_str()).then_some(view))
    });
    found.with_context(|| {
        let shown = fleet.ok(&["show", &id.to_string()]).unwrap_or_default();
        format!("{shown}\n{}", fleet.log())
    })
}

/// Both run it, the master knows it, and nobody is in an update any more.
fn is_whole(fleet: &Fleet, package: &str) -> Result<()> {
    for node in BOTH {
        fleet.await_presence(node, "connected")?;
        wait::until(
            &format!("{node} runs {package} and the master knows"),
            || {
                let view = fleet.view(node)?;
                let same = view["installed"]["software"] == view["wanted"];
                Ok(
                    (same && view["rollout"].is_null() && runs(fleet, node, package)?)
                        .then_some(()),
                )
            },
        )
        .with_context(|| fleet.view(node).unwrap_or_default().to_string())?;
    }
    Ok(())
}

/// One update during which things die; in one round of three a node objects, and a person decides.
fn round(fleet: &mut Fleet, dice: &mut Dice, (old, new): (&str, &str)) -> Result<()> {
    fleet.ok(&["assign", "fleet", new])?;
    let is_vetoed = dice.below(3) == 0;
    if is_vetoed {
        object(fleet, "two", "call in progress")?;
    }
    let id = fleet.begin(&["--all"])?;
    something_dies(fleet, dice)?;
    is_explained(fleet, id)?;
    if is_vetoed {
        fleet.await_phase(id, "held")?;
        is_explained(fleet, id)?;
        all_run(fleet, &BOTH, old).context("changed before anybody decided")?;
        agree(fleet, "two")?;
        fleet.ok(&[
            "decide",
            &id.to_string(),
            "--force-all",
            "--reason",
            "a test",
        ])?;
        something_dies(fleet, dice)?;
        is_explained(fleet, id)?;
    }
    let view = ended(fleet, id)?;
    is_explained(fleet, id)?;
    let audit = fleet.ok(&["audit"])?;
    ensure!(!is_vetoed || audit.contains("a test"), "{audit}");
    if view["phase"] != "done" {
        // A node whose daemon died in its change went back, and says so: told again, it follows.
        ensure!(
            view["phase"] == "partial" || view["phase"] == "stopped",
            "{view}"
        );
        let again = fleet.begin(&["--all"])?;
        ensure!(ended(fleet, again)?["phase"] == "done", "{view}");
    }
    is_whole(fleet, new)
}

#[test]
fn masters_and_nodes_that_die_at_random_lose_nothing_and_change_nothing_undecided() -> Result<()> {
    let mut dice = Dice::new()?;
    let mut fleet = House::shared()?.fleet(&TWO)?;
    let rounds = setting("CHANGEOVER_FLEET_ROUNDS").unwrap_or(FEW);
    let versions = ["g=1", "g=2"];
    for number in 0..rounds {
        let at = usize::from(number % 2 == 0);
        let change = (versions[1 - at], versions[at]);
        round(&mut fleet, &mut dice, change)
            .with_context(|| format!("round {number}\n{}", fleet.log()))?;
    }
    Ok(())
}

#[test]
fn a_master_whose_disk_is_full_refuses_with_the_reason_and_goes_on_when_there_is_room() -> Result<()>
{
    let house = House::shared()?;
    let fleet = house.settle(Fleet::start_on_network(Some("48m"))?, &TWO)?;
    let filler = fleet.state().join("filler");
    let of = format!("of={}", filler.display());
    let fill = ["if=/dev/zero", &of, "bs=4k", "status=none"];
    // It ends where nothing more fits.
    ensure!(!fleet.on_master("dd").args(fill).output()?.status.success());
    let refused = fleet.run(&["update", "--all", "--yes"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success(),
        "it took an update that it cannot keep"
    );
    ensure!(said.contains("full") || said.contains("space"), "{said}");
    all_run(&fleet, &BOTH, "g=1")?;
    tests::fleet::network::done(fleet.on_master("rm").arg(&filler))?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &BOTH, "g=2")
}

#[test]
fn a_cable_that_is_pulled_and_put_in_again_during_an_update_loses_nothing() -> Result<()> {
    let mut dice = Dice::new()?;
    let fleet = House::shared()?.networked(&TWO)?;
    let id = fleet.begin(&["--all"])?;
    go_on(&mut dice, 400)?;
    fleet.network()?.cut("two")?;
    is_explained(&fleet, id)?;
    go_on(&mut dice, 3000)?;
    is_explained(&fleet, id)?;
    fleet.network()?.mend("two")?;
    let view = wait::until("it has ended, or a person is asked", || {
        let view = fleet.update(id)?;
        let said = view["phase"].as_str().unwrap_or_default().to_owned();
        Ok((!["asking", "rolling"].contains(&said.as_str())).then_some(view))
    })?;
    is_explained(&fleet, id)?;
    if view["phase"] == "held" {
        fleet.ok(&["decide", &id.to_string(), "--again"])?;
    }
    ensure!(ended(&fleet, id)?["phase"] == "done", "{view}");
    is_whole(&fleet, "g=2")
}

#[test]
fn a_node_that_is_slow_is_waited_for_or_named_and_nothing_is_touched_meanwhile() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    slow(&fleet, "two", 4000)?;
    let id = fleet.begin(&["--all", "--vote-timeout", "1s"])?;
    fleet.await_phase(id, "held")?;
    is_explained(&fleet, id)?;
    all_run(&fleet, &BOTH, "g=1")?;
    slow(&fleet, "two", 0)?;
    // Its first question is still being answered there for a while, and so it may be named again.
    let again = ["decide", &id.to_string(), "--again"];
    wait::until("it is done", || {
        let view = fleet.update(id)?;
        if view["phase"] == "held" {
            fleet.run(&again)?;
        }
        Ok((view["phase"] == "done").then_some(()))
    })?;
    is_whole(&fleet, "g=2")
}
