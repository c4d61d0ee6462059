//! The smaller tools of whoever works with a fleet.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::binaries;
use tests::fleet::Fleet;
use tests::fleet::house::{House, runs};
use tests::fleet::network::done;
use tests::node::list;

#[test]
fn a_group_is_saved_used_as_a_target_and_forgotten() -> Result<()> {
    let house = House::shared()?;
    let mut fleet = Fleet::start()?;
    house.import(&fleet)?;
    fleet.add_nodes(&[("one", &["--class", "edge"]), ("two", &[])])?;
    fleet.ok(&["assign", "fleet", "base"])?;
    let none = fleet.ok(&["groups"])?;
    ensure!(none.contains("groups save NAME"), "{none}");
    fleet.ok(&["groups", "save", "night", "--class", "edge"])?;
    let all = fleet.ok(&["groups"])?;
    ensure!(
        all.contains("night") && all.contains("--class edge"),
        "{all}"
    );
    let document = fleet.json(&["groups"])?;
    ensure!(document["night"]["classes"][0] == "edge", "{document}");

    fleet.ok(&["update", "--group", "night", "--yes", "--wait"])?;
    ensure!(
        runs(&fleet, "one", "base=1")? && !runs(&fleet, "two", "base=1")?,
        "only one"
    );
    // A group of a group; one that others name stays; one that names itself means nobody.
    fleet.ok(&["groups", "save", "all-night", "--group", "night"])?;
    let kept = fleet.ends(5, &["groups", "remove", "night"])?;
    ensure!(kept.contains("all-night names it"), "{kept}");
    let circle = fleet.ends(1, &["groups", "save", "night", "--group", "all-night"])?;
    ensure!(circle.contains("mean nobody"), "{circle}");
    fleet.ends(2, &["groups", "save", "empty"])?;
    fleet.ok(&["groups", "remove", "all-night"])?;
    fleet.ok(&["groups", "remove", "night"])?;
    fleet.ends(1, &["groups", "remove", "night"])?;
    fleet.ends(1, &["update", "--group", "night", "--yes"])?;
    Ok(())
}

#[test]
fn images_are_listed_and_removed_and_what_nothing_names_leaves_the_disk() -> Result<()> {
    let house = House::shared()?;
    let fleet = Fleet::start()?;
    let none = fleet.ok(&["images"])?;
    ensure!(none.contains("pkgtool image SPEC.toml"), "{none}");
    let toml = fleet.dir().join("site.toml");
    let text = format!(
        "name = \"site\"\nversion = \"1\"\nsummary = \"a site\"\npackages = [{:?}]\n",
        house.file("base")?.display().to_string()
    );
    fs_err::write(&toml, text)?;
    let image = fleet.dir().join("site.image");
    let mut command = Command::new(binaries::pkgtool()?);
    done(command.arg("image").arg(&toml).arg("-o").arg(&image))?;
    fleet.import(&[&image])?;
    let listed = fleet.ok(&["images"])?;
    ensure!(
        listed.contains("site") && listed.contains("a site"),
        "{listed}"
    );
    ensure!(list(&fleet.json(&["images"])?)?.len() == 1, "{listed}");

    // Its package stays as long as the image has it, then goes by its own command.
    let needed = fleet.ends(5, &["packages", "remove", "base=1"])?;
    ensure!(needed.contains("image site"), "{needed}");
    fleet.ends(2, &["images", "remove", "site"])?;
    fleet.ends(1, &["images", "remove", "site=2"])?;
    fleet.ok(&["images", "remove", "site=1"])?;
    ensure!(list(&fleet.json(&["images"])?)?.is_empty(), "it is gone");
    fleet.ok(&["packages", "remove", "base=1"])?;
    fleet.ends(1, &["packages", "remove", "base=1"])?;
    let freed = fleet.json(&["collect"])?;
    ensure!(freed["objects"].as_u64().context("objects")? > 0, "{freed}");
    let again = fleet.ok(&["collect"])?;
    ensure!(again.contains("nothing to free"), "{again}");
    Ok(())
}

#[test]
fn a_node_without_a_token_is_let_in_by_the_fingerprint_of_its_key_and_by_no_other() -> Result<()> {
    let mut fleet = Fleet::start()?;
    fleet.start_node("one", &[])?;
    let profile = fs_err::read_to_string(fleet.dir().join("operator.toml"))?;
    let begins = profile.find("-----BEGIN CERTIFICATE").context("a CA")?;
    let (ca, _) = (profile.get(begins..).context("a CA")?)
        .split_once("\"\"\"")
        .context("the CA ends")?;
    let url = fleet.url();
    let node = fleet.node("one")?;
    let file = fleet.dir().join("ca.pem");
    fs_err::write(&file, ca)?;
    let file = file.to_string_lossy().into_owned();
    node.ok(&["pkgtool", "join", &url, "--ca", &file, "--name", "one"])?;
    fleet.await_presence("one", "pending")?;
    let view = fleet.view("one")?;
    let print = view["presence"]["fingerprint"]
        .as_str()
        .context("a fingerprint")?;
    let other = fleet.ends(1, &["nodes", "accept", "one", "--fingerprint", "0000"])?;
    ensure!(other.contains("one"), "{other}");
    ensure!(
        fleet.view("one")?["presence"]["state"] == "pending",
        "not in"
    );
    fleet.ok(&["nodes", "accept", "one", "--fingerprint", print])?;
    fleet.await_presence("one", "connected")?;
    Ok(())
}
