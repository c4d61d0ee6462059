//! What the fleets of the tests run: one process that votes, is slow, or is not well, as a test
//! says in files of its node.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Fleet;
use crate::builder::{Built, Workshop};
use crate::node::list;

/// Waits as long as the second file says, then prints the first one's text and refuses, or agrees
/// where there is no such file.
const MAY: &str = r#"#include <stdio.h>
#include <unistd.h>
static int read_file(const char *name, char *text, int size) {
    FILE *file = fopen(name, "r");
    return file && fgets(text, size, file);
}
int main(int c, char **v) {
    char text[200];
    unsigned ms;
    if (c > 2 && read_file(v[2], text, sizeof text) && sscanf(text, "%u", &ms) == 1)
        usleep(ms * 1000);
    if (!read_file(v[1], text, sizeof text)) return 0;
    puts(text);
    return 1;
}
"#;

/// A process that links its library.
const APP: &str = r"#include <unistd.h>
int g(void);
int main(void) { volatile int value = g(); (void)value; for (;;) pause(); }
";

/// How `app` is supervised: it votes by `veto` and `slow`, and is not well where `sick` says why.
const PROCESS: &str = r#"
[[process]]
name = "app"
exec = ["/usr/bin/app"]
evaluate = ["/usr/bin/may", "/var/lib/veto", "/var/lib/slow"]
check = ["/usr/bin/may", "/var/lib/sick"]
"#;

/// Packages: `app` links `g` of `g=1` or `g=2`; `extra` and `base`.
#[derive(Debug)]
pub struct House {
    packages: Vec<Built>,
    /// Where more can be made.
    pub workshop: Workshop,
}

impl House {
    /// The packages, built once for all tests that run at the same time.
    pub fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<House>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(house) = shared.upgrade() {
            return Ok(house);
        }
        let house = Arc::new(Self::build()?);
        *shared = Arc::downgrade(&house);
        Ok(house)
    }

    fn build() -> Result<Self> {
        let workshop = Workshop::new()?;
        let one = library(&workshop, "1")?;
        let app = workshop
            .package("app", "1")?
            .requires(&["g", "base"])
            .program("app", APP, &[one.part("libg.so.1")])?
            .program("may", MAY, &[])?
            .lines(PROCESS)
            .build()?;
        let extra = workshop
            .package("extra", "1")?
            .requires(&["base"])
            .text("extra", "more\n", "/usr/share/extra/")?
            .build()?;
        let packages = vec![workshop.base()?, one, library(&workshop, "2")?, app, extra];
        Ok(Self { packages, workshop })
    }

    /// The file of one of the packages: `app`, `g=2`.
    pub fn file(&self, package: &str) -> Result<PathBuf> {
        let (name, version) = package.split_once('=').unwrap_or((package, ""));
        let start = format!("{name}-{version}");
        let named = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&start)
        };
        let found = self.packages.iter().find(|built| named(&built.file));
        let found = found.with_context(|| format!("no package {package}"))?;
        Ok(found.file.clone())
    }

    /// Brings the packages to a fleet's master.
    pub fn import(&self, fleet: &Fleet) -> Result<()> {
        let files = self.packages.iter().map(|built| built.file.as_path());
        fleet.import(&files.collect::<Vec<&Path>>())
    }

    /// A fleet of these nodes that runs `app` on `g=1`, and is assigned `g=2`.
    pub fn fleet(&self, nodes: &[(&str, &[&str])]) -> Result<Fleet> {
        self.settle(Fleet::start()?, nodes)
    }

    /// The same on a network of its own.
    pub fn networked(&self, nodes: &[(&str, &[&str])]) -> Result<Fleet> {
        self.settle(Fleet::start_on_network(None)?, nodes)
    }

    /// The nodes come into this fleet, and come to run `app` on `g=1`; `g=2` is assigned.
    pub fn settle(&self, mut fleet: Fleet, nodes: &[(&str, &[&str])]) -> Result<Fleet> {
        self.import(&fleet)?;
        fleet.add_nodes(nodes)?;
        fleet.ok(&["assign", "fleet", "app", "g=1", "base"])?;
        fleet.ok(&["update", "--all", "--yes", "--wait"])?;
        for (name, _) in nodes {
            ensure!(runs(&fleet, name, "g=1")?, "{}", fleet.view(name)?);
        }
        fleet.ok(&["assign", "fleet", "g=2"])?;
        Ok(fleet)
    }
}

fn library(workshop: &Workshop, version: &str) -> Result<Built> {
    let code = format!("int g(void) {{ return {version}; }}\n");
    workshop
        .package("g", version)?
        .requires(&["base"])
        .library("libg.so.1", &code, &[])?
        .build()
}

/// Two nodes of one class.
pub const TWO: [(&str, &[&str]); 2] =
    [("one", &["--class", "edge"]), ("two", &["--class", "edge"])];

/// Three nodes of one class.
pub const THREE: [(&str, &[&str]); 3] = [
    ("one", &["--class", "edge"]),
    ("two", &["--class", "edge"]),
    ("three", &["--class", "edge"]),
];

/// Whether a package is active on the node itself, whatever the master says.
pub fn runs(fleet: &Fleet, node: &str, package: &str) -> Result<bool> {
    let status = fleet.node(node)?.json(&["status"])?;
    let active = list(&status["active"])?;
    Ok(active.iter().any(|one| one == package))
}

/// All of these run this, or an error that says who does not.
pub fn all_run(fleet: &Fleet, nodes: &[&str], package: &str) -> Result<()> {
    for node in nodes {
        ensure!(runs(fleet, node, package)?, "{node} does not run {package}");
    }
    Ok(())
}

fn file(fleet: &Fleet, node: &str, name: &str) -> Result<PathBuf> {
    Ok(fleet.node(node)?.root().join("var/lib").join(name))
}

/// `app` objects there from now on, with this reason.
pub fn object(fleet: &Fleet, node: &str, reason: &str) -> Result<()> {
    Ok(fs_err::write(file(fleet, node, "veto")?, reason)?)
}

/// `app` agrees there again.
pub fn agree(fleet: &Fleet, node: &str) -> Result<()> {
    Ok(fs_err::remove_file(file(fleet, node, "veto")?)?)
}

/// `app` takes so many milliseconds for a vote there.
pub fn slow(fleet: &Fleet, node: &str, ms: u32) -> Result<()> {
    Ok(fs_err::write(
        file(fleet, node, "slow")?,
        format!("{ms}\n"),
    )?)
}

/// After the next start `app` is not well there.
pub fn sicken(fleet: &Fleet, node: &str) -> Result<()> {
    Ok(fs_err::write(file(fleet, node, "sick")?, "a test\n")?)
}

/// Where a node's part of an update is.
pub fn phase(view: &Value, node: &str) -> Result<String> {
    let part = Fleet::part(view, node)?;
    let phase = part["phase"].as_str().context("a part without a phase")?;
    Ok(phase.to_owned())
}

/// The names of the nodes of a plan that are in this wave.
pub fn of_wave(plan: &Value, wave: u64) -> Result<Vec<String>> {
    let nodes = list(&plan["nodes"])?.iter();
    let names = nodes.filter(|node| node["wave"] == wave);
    Ok(names
        .filter_map(|node| node["node"].as_str())
        .map(str::to_owned)
        .collect())
}
