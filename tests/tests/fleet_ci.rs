//! What a CI job, and two operators, rely on.

use anyhow::{Result, ensure};
use tests::fleet::house::{House, TWO, all_run, object};

#[test]
fn a_repeated_job_begins_nothing_twice() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    let words = ["--all", "--idempotency-key", "build-7"];
    let id = fleet.begin(&words)?;
    fleet.await_phase(id, "done")?;
    ensure!(fleet.begin(&words)? == id, "the same one");
    let all = fleet.json(&["updates", "--all"])?;
    ensure!(tests::node::list(&all)?.len() == 2, "{all}");
    Ok(())
}

#[test]
fn an_update_of_nodes_that_another_has_is_refused_or_takes_its_place() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "held")?;
    let said = fleet.ends(5, &["update", "--node", "one", "--yes", "--wait"])?;
    ensure!(said.contains(&id.to_string()), "{said}");
    let number = id.to_string();
    let words = ["update", "--node", "one", "--supersede", &number];
    fleet.ok(&[&words[..], &["--yes", "--wait"]].concat())?;
    ensure!(fleet.update(id)?["phase"] == "superseded", "{number}");
    all_run(&fleet, &["one"], "g=2")?;
    all_run(&fleet, &["two"], "g=1")
}

#[test]
fn another_operator_has_to_agree_where_that_is_wanted() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    let id = fleet.begin(&["--all", "--second-person"])?.to_string();
    ensure!(fleet.update(2)?["phase"] == "approval");
    let said = fleet.run(&["approve", &id])?;
    ensure!(
        !said.status.success(),
        "the first person is not a second one"
    );
    let second = fleet.dir().join("second.toml");
    let second = second.to_string_lossy().into_owned();
    let add = [
        "operators",
        "add",
        "bea",
        "--role",
        "operate",
        "--output",
        &second,
    ];
    fleet.ok(&add)?;
    all_run(&fleet, &["one", "two"], "g=1")?;
    fleet.ok(&["--profile", &second, "approve", &id, "--wait"])?;
    all_run(&fleet, &["one", "two"], "g=2")?;
    let audit = fleet.ok(&["audit"])?;
    ensure!(audit.contains("bea"), "{audit}");
    Ok(())
}

#[test]
fn an_update_that_was_asked_for_by_one_who_may_only_read_is_refused() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    let eye = fleet.dir().join("eye.toml").to_string_lossy().into_owned();
    fleet.ok(&[
        "operators",
        "add",
        "eye",
        "--role",
        "read",
        "--output",
        &eye,
    ])?;
    fleet.ok(&["--profile", &eye, "status"])?;
    fleet.ends(
        6,
        &["--profile", &eye, "update", "--all", "--yes", "--wait"],
    )?;
    all_run(&fleet, &["one", "two"], "g=1")
}
