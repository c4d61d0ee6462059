//! What a node's bus and daemons are told.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::layout::Layout;
use super::{NodeFacts, Plan};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Sysmgrd {
    run_dir: PathBuf,
    bus: String,
    machine_root: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<PathBuf>,
    bind: Vec<Bind>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Bind {
    from: PathBuf,
    to: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Installd {
    state_dir: PathBuf,
    run_dir: PathBuf,
    bus: String,
    machine_root: PathBuf,
    boot_id_file: PathBuf,
    timeouts: Timeouts,
    trust: Trust,
    node: NodeFacts,
    fleet: Fleet,
}

#[derive(Serialize)]
struct Fleet {
    features: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Trust {
    unsigned: &'static str,
    directory: PathBuf,
}

#[derive(Serialize)]
struct Timeouts {
    settling: String,
}

/// For an interactive bash: everything that the user has, and a prompt that says where one is.
const BASHRC: &str = r#"[ -f ~/.bashrc ] && . ~/.bashrc
PS1="(changeover) $PS1"
"#;

/// Writes all of it, and a boot id: to a node, each start is a boot.
pub fn write(layout: &Layout, plan: &Plan) -> Result<()> {
    let run_dir = layout.run().join("changeover");
    let bind = |inside: &str| Bind {
        from: layout.root().join(inside.trim_start_matches('/')),
        to: inside.into(),
    };
    let sysmgrd = Sysmgrd {
        run_dir: run_dir.clone(),
        bus: layout.bus_address(),
        machine_root: layout.root().to_owned(),
        cgroup: plan.cgroup.clone(),
        bind: ["/etc", "/var", "/srv", "/run"].map(bind).into(),
    };
    let installd = Installd {
        state_dir: layout.root().join("var/lib/changeover"),
        run_dir,
        bus: layout.bus_address(),
        machine_root: layout.root().to_owned(),
        boot_id_file: layout.run().join("boot-id"),
        // Somebody waits, and nothing depends on it.
        timeouts: Timeouts {
            settling: std::env::var("CHANGEOVER_SETTLING").unwrap_or_else(|_| "1s".to_owned()),
        },
        trust: Trust {
            unsigned: if plan.signatures { "refuse" } else { "accept" },
            directory: layout.root().join("etc/changeover/trust.d"),
        },
        node: facts(layout, plan)?,
        fleet: Fleet {
            features: layout.root().join("etc/changeover/features.d"),
        },
    };
    fs_err::copy("/proc/sys/kernel/random/uuid", layout.run().join("boot-id"))?;
    let text = toml::to_string(&sysmgrd).context("sysmgrd.toml")?;
    fs_err::write(layout.own("sysmgrd.toml"), text)?;
    let text = toml::to_string(&installd).context("installd.toml")?;
    fs_err::write(layout.own("installd.toml"), text)?;
    fs_err::write(layout.own("bashrc"), BASHRC)?;
    fs_err::write(layout.own("bus.conf"), bus(&layout.bus_socket()))?;
    Ok(())
}

/// What the node was said to be now, or else at an earlier start.
fn facts(layout: &Layout, plan: &Plan) -> Result<NodeFacts> {
    let file = layout.own("node.toml");
    if let Some(facts) = &plan.facts {
        fs_err::write(&file, toml::to_string(facts).context("node.toml")?)?;
        return Ok(facts.clone());
    }
    match fs_err::read_to_string(&file) {
        Ok(text) => toml::from_str(&text).context("node.toml"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(NodeFacts::default()),
        Err(error) => Err(error.into()),
    }
}

/// A system bus: root owns names, anyone may speak, and the daemons judge who may do what.
fn bus(socket: &Path) -> String {
    let socket = socket.to_string_lossy();
    let socket = socket
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_sender="*" eavesdrop="false"/>
  </policy>
  <policy user="root">
    <allow own="*"/>
  </policy>
</busconfig>
"#
    )
}
