//! Nodes that are away, and nodes that are cut off.

use anyhow::{Result, ensure};
use tests::builder::{Built, Workshop};
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, all_run, phase, runs};
use tests::wait;

/// A process that puts `eth0` up, or down, and stays.
const CABLE: &str = r#"#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int c, char **v) {
    struct ifreq of;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    memset(&of, 0, sizeof of);
    strcpy(of.ifr_name, "eth0");
    if (ioctl(fd, SIOCGIFFLAGS, &of)) return 1;
    if (c > 1) of.ifr_flags |= IFF_UP; else of.ifr_flags &= ~IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &of)) return 2;
    for (;;) pause();
}
"#;

/// `cable`: version 1 puts the node's network up, 2 takes it down.
fn cable(workshop: &Workshop, version: &str) -> Result<Built> {
    let up = if version == "1" { ", \"up\"" } else { "" };
    workshop
        .package("cable", version)?
        .requires(&["base"])
        .program("cable", CABLE, &[])?
        .lines(&format!(
            "[[process]]\nname = \"cable\"\nexec = [\"/usr/bin/cable\"{up}]\n"
        ))
        .build()
}

#[test]
fn a_package_that_breaks_the_network_goes_back_by_itself() -> Result<()> {
    let house = House::shared()?;
    let mut fleet = Fleet::start_on_network(None)?;
    house.import(&fleet)?;
    let built = [cable(&house.workshop, "1")?, cable(&house.workshop, "2")?];
    fleet.import(&[&built[0].file, &built[1].file])?;
    fleet.add_nodes(&TWO)?;
    fleet.ok(&["assign", "fleet", "cable=1", "base"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one", "two"], "cable=1")?;
    fleet.ok(&["assign", "node/one", "cable=2"])?;
    let words = ["--all", "--contact-timeout", "3s"];
    let id = fleet.begin(&words)?;
    // Whatever its first report said, the last word counts.
    let view = wait::until("one went back and the master knows it", || {
        let view = fleet.update(id)?;
        let back = ["went-back", "failed"].contains(&phase(&view, "one")?.as_str());
        Ok((back && view["phase"] == "partial").then_some(view))
    })?;
    all_run(&fleet, &["one", "two"], "cable=1")?;
    let shown = fleet.ok(&["show", &id.to_string()])?;
    ensure!(shown.contains("one") && shown.contains("back"), "{shown}");
    ensure!(view["tally"].is_object(), "{view}");
    // It is in contact, runs what is wanted of it now, and is not changed over again by itself.
    fleet.await_presence("one", "connected")?;
    wait::until("one runs what is wanted", || {
        let view = fleet.view("one")?;
        let runs = &view["installed"]["software"];
        Ok((*runs == view["wanted"] && view["rollout"].is_null()).then_some(()))
    })?;
    all_run(&fleet, &["one"], "cable=1")
}

#[test]
fn a_node_whose_cable_is_pulled_runs_on_and_is_asked_itself_when_it_returns() -> Result<()> {
    let fleet = House::shared()?.networked(&TWO)?;
    fleet.network()?.cut("two")?;
    fleet.await_presence("two", "away")?;
    let pid = fleet.node("two")?.pid("app")?;
    let words = ["update", "--all", "--absent", "skip", "--yes", "--wait"];
    fleet.ends(8, &words)?;
    ensure!(runs(&fleet, "one", "g=2")?, "one");
    ensure!(runs(&fleet, "two", "g=1")?, "two was not there");
    ensure!(fleet.node("two")?.pid("app")? == pid, "two runs on");
    fleet.network()?.mend("two")?;
    wait::until("two has it, too", || {
        Ok(runs(&fleet, "two", "g=2")?.then_some(()))
    })?;
    fleet.await_phase(3, "done")?;
    let third = fleet.ok(&["show", "3"])?;
    ensure!(third.contains("two was away in update 2"), "{third}");
    Ok(())
}

#[test]
fn a_node_that_is_away_holds_an_update_until_somebody_decides() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.stop_node("two")?;
    let id = fleet.begin(&["--all", "--vote-timeout", "1s"])?;
    let held = fleet.await_phase(id, "held")?;
    ensure!(phase(&held, "two")? == "absent", "{held}");
    ensure!(runs(&fleet, "one", "g=1")?, "one was touched");
    fleet.wake_node("two")?;
    // It is asked itself when it returns; the decision is still an operator's.
    wait::until("two has answered", || {
        Ok((phase(&fleet.update(id)?, "two")? == "accepted").then_some(()))
    })?;
    if fleet.update(id)?["phase"] == "held" {
        fleet.run(&["decide", &id.to_string(), "--accepting"])?;
    }
    fleet.await_phase(id, "done")?;
    all_run(&fleet, &["one", "two"], "g=2")
}

#[test]
fn a_node_that_is_away_aborts_an_update_that_says_so() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.stop_node("two")?;
    let words = [
        "update",
        "--all",
        "--absent",
        "abort",
        "--vote-timeout",
        "1s",
    ];
    let said = fleet.ends(3, &[&words[..], &["--yes", "--wait"]].concat())?;
    ensure!(said.contains("two"), "{said}");
    ensure!(fleet.update(2)?["phase"] == "aborted", "{said}");
    ensure!(runs(&fleet, "one", "g=1")?, "one was touched");
    fleet.wake_node("two")?;
    ensure!(runs(&fleet, "two", "g=1")?, "nothing was decided for two");
    Ok(())
}
