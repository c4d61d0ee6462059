//! A whole fleet in one file: packages, boot images, nodes and what they are assigned.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tests::fleet::Fleet;
use tests::fleet::house::{House, all_run, runs};
use tests::fleet::network::done;
use tests::node::list;
use tests::{binaries, wait};

/// `site` in this version, with these packages besides a boot image, two nodes, and their class.
fn image(dir: &Path, version: &str, packages: &[&Path]) -> Result<PathBuf> {
    fs_err::write(dir.join("router.img"), b"opaque")?;
    let paths: Vec<String> = packages
        .iter()
        .map(|path| format!("{:?}", path.display().to_string()))
        .collect();
    let spec = format!(
        r#"
name = "site"
version = "{version}"
packages = [{}]

[[boot]]
file = "router.img"
type = "router"
arch = "aarch64"
version = "6.1"

[[node]]
name = "one"
classes = ["edge"]

[[node]]
name = "two"
classes = ["edge"]

[[assign]]
scope = "class/edge"
packages = ["app", "g", "base"]
"#,
        paths.join(", ")
    );
    let toml = dir.join(format!("site_{version}.toml"));
    fs_err::write(&toml, spec)?;
    let made = dir.join(format!("site_{version}.image"));
    let mut command = Command::new(binaries::pkgtool()?);
    done(command.arg("image").arg(&toml).arg("-o").arg(&made))?;
    Ok(made)
}

/// Two versions of an image at the master: the first with `g=1`, the second with `g=2`.
fn imported(fleet: &Fleet) -> Result<()> {
    let house = House::shared()?;
    let dir = fleet.dir();
    let file = |name: &str| house.file(name);
    let (base, app) = (file("base")?, file("app")?);
    let one = image(dir, "1", &[&base, &app, &file("g=1")?])?;
    let two = image(dir, "2", &[&base, &app, &file("g=2")?])?;
    fleet.import(&[&one, &two])
}

#[test]
fn an_update_by_an_image_shows_and_takes_what_the_image_names_and_goes_back_to_an_older_one()
-> Result<()> {
    let mut fleet = Fleet::start()?;
    imported(&fleet)?;
    fleet.add_nodes(&[("one", &[]), ("other", &[])])?;
    // Imported, it touches nothing and nothing is assigned; a plan shows first.
    let plan = fleet.ok(&["plan", "--image", "site=1"])?;
    for word in ["image site 1", "app=1", "g=1", "6.1 for router", "two"] {
        ensure!(plan.contains(word), "{word}: {plan}");
    }
    ensure!(!plan.contains("other"), "{plan}");
    let view = fleet.view("one")?;
    ensure!(list(&view["assigned"])?.is_empty(), "{view}");

    // Its own versions count, though the master has newer ones; others are not touched.
    fleet.ok(&["update", "--image", "site=1", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "one", "g=1")?, "{}", fleet.view("one")?);
    let other = fleet.view("other")?;
    ensure!(other["wanted"].is_null(), "{other}");
    // What it says of nodes outlives the master, and counts for one that comes later.
    fleet.kill_master()?;
    fleet.start_master()?;
    fleet.add_node("two", &[])?;
    let two = fleet.view("two")?;
    ensure!(
        two["facts"]["classes"] == serde_json::json!(["edge"]),
        "{two}"
    );
    fleet.ok(&["update", "--image", "site", "--yes", "--wait"])?;
    for node in ["one", "two"] {
        ensure!(runs(&fleet, node, "g=2")?, "{}", fleet.view(node)?);
    }
    // Every version is kept: back it goes, by another update with votes.
    fleet.ok(&["update", "--image", "site=1", "--yes", "--wait"])?;
    wait::until("both run the older one", || {
        Ok((runs(&fleet, "one", "g=1")? && runs(&fleet, "two", "g=1")?).then_some(()))
    })?;
    let gone = fleet.run(&["update", "--image", "site=9", "--yes"])?;
    ensure!(!gone.status.success(), "there is no such image");
    Ok(())
}

#[test]
fn one_version_of_an_image_is_one_content() -> Result<()> {
    let fleet = Fleet::start()?;
    let _packages = House::shared()?;
    imported(&fleet)?;
    // The same again is well; another content under the name and version is refused.
    fleet.import(&[&fleet.dir().join("site_1.image")])?;
    let toml = fleet.dir().join("site_1.toml");
    let text = fs_err::read_to_string(&toml)?.replace("class/edge", "class/core");
    let other = fleet.dir().join("other");
    fs_err::create_dir(&other)?;
    fs_err::write(other.join("router.img"), b"opaque")?;
    fs_err::write(other.join("site.toml"), text)?;
    let made = other.join("site.image");
    let mut command = Command::new(binaries::pkgtool()?);
    done(
        command
            .arg("image")
            .arg(other.join("site.toml"))
            .arg("-o")
            .arg(&made),
    )?;
    let made = made.to_string_lossy().into_owned();
    let said = fleet.run(&["import", &made])?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(
        !said.status.success() && text.contains("another version"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_master_that_begins_with_one_file_has_every_node_store_before_all_start_together() -> Result<()>
{
    let house = House::shared()?;
    let dir = tempfile::tempdir()?;
    let packages = [house.file("base")?, house.file("app")?, house.file("g=1")?];
    let packages: Vec<&Path> = packages.iter().map(PathBuf::as_path).collect();
    let site = image(dir.path(), "1", &packages)?;
    let mut fleet = Fleet::start_from(&site, &["--prepare-all", "--within", "5min"])?;
    // Who is missing is listed, with the time that is left; nobody is touched before all are here.
    fleet.add_node("one", &[])?;
    fleet.kill_master()?;
    fleet.start_master()?;
    fleet.await_presence("one", "connected")?;
    let status = fleet.json(&["status"])?;
    let said = status["discrepancies"].to_string();
    for word in ["prepare all", "site=1", "for two", "until 20"] {
        ensure!(said.contains(word), "{word}: {said}");
    }
    ensure!(list(&status["rollouts"])?.is_empty(), "{status}");
    ensure!(
        !runs(&fleet, "one", "app=1")?,
        "it did not wait for the other"
    );
    fleet.add_node("two", &[])?;
    wait::until("the update of all is there", || {
        Ok(fleet.run(&["show", "1"])?.status.success().then_some(()))
    })?;
    let view = fleet.await_phase(1, "done")?;
    let strategy = &view["update"]["strategy"];
    ensure!(
        strategy["together"] == true && strategy["prefetch"] == true,
        "{view}"
    );
    ensure!(
        view["by"] == "masterd" && view["update"]["image"] == "site=1",
        "{view}"
    );
    all_run(&fleet, &["one", "two"], "g=1")?;
    let status = fleet.json(&["status"])?["discrepancies"].to_string();
    ensure!(!status.contains("prepare all"), "{status}");
    // The next boot needs the master's word only: what it runs is what was decided.
    fleet.stop_node("two")?;
    fleet.wake_node("two")?;
    wait::until("two is up again with what it has stored", || {
        let view = fleet.view("two")?;
        let same = view["installed"]["software"] == view["wanted"];
        Ok((same && runs(&fleet, "two", "app=1")?).then_some(()))
    })?;
    ensure!(
        fleet.run(&["show", "2"])?.status.code() != Some(0),
        "no other update was needed"
    );
    Ok(())
}

#[test]
fn a_master_that_prepares_all_goes_on_at_its_deadline_and_names_who_did_not_come() -> Result<()> {
    let house = House::shared()?;
    let dir = tempfile::tempdir()?;
    let packages = [house.file("base")?, house.file("app")?, house.file("g=1")?];
    let packages: Vec<&Path> = packages.iter().map(PathBuf::as_path).collect();
    let site = image(dir.path(), "1", &packages)?;
    let mut fleet = Fleet::start_from(&site, &["--prepare-all", "--within", "3s"])?;
    fleet.add_node("one", &[])?;
    wait::until("the time is over and the update is there", || {
        Ok(fleet.run(&["show", "1"])?.status.success().then_some(()))
    })?;
    fleet.await_phase(1, "done")?;
    ensure!(runs(&fleet, "one", "app=1")?, "{}", fleet.view("one")?);
    let shown = fleet.ok(&["show", "1"])?;
    ensure!(shown.contains("not enrolled yet: two"), "{shown}");
    Ok(())
}

#[test]
fn a_master_does_not_begin_with_a_package_for_an_image() -> Result<()> {
    let house = House::shared()?;
    let failed = Fleet::start_from(&house.file("app")?, &[]).err();
    let text = failed.map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(text.contains("pkgtool image"), "{text}");
    Ok(())
}
