//! A whole fleet in one file: packages, boot images, nodes and what they are assigned.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tests::fleet::Fleet;
use tests::fleet::house::{House, runs};
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
