//! A network of a fleet's own, whose cables a test pulls, and a disk for its master that can be
//! full.
//!
//! ```text
//! holder (its network: br0, 10.87.0.1) ── cable NAME ──► eth0 of a node's own network, 10.87.0.N
//! ```
//!
//! All of it is in namespaces that end with the holder and the nodes: nothing of the machine's is
//! touched, and nothing is left, however a test ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Where the master is.
pub const MASTER: &str = "10.87.0.1";

/// What the holder does: a bridge, and the disk `$2` of size `$1` where there is to be one.
const HOLD: &str = r#"
ip link set lo up && ip link add br0 type bridge && ip addr add 10.87.0.1/24 dev br0 &&
ip link set br0 up && if [ -n "$1" ]; then mount -t tmpfs -o "size=$1,mode=0700" disk "$2"; fi &&
echo up && exec sleep infinity
"#;

/// The network.
#[derive(Debug)]
pub struct Network {
    holder: Child,
    cables: u32,
}

impl Network {
    /// A switch with nobody on it; with a size, `disk` is a file system of that size for who lives
    /// on it.
    pub fn new(disk: Option<(&str, &Path)>) -> Result<Self> {
        let (size, place) = disk.unwrap_or(("", Path::new("/")));
        let mut holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount"])
            .args(["--propagation", "private", "sh", "-c", HOLD, "hold", size])
            .arg(place)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = holder.stdout.take().context("no standard output")?;
        BufReader::new(output).read_line(&mut line)?;
        let network = Self { holder, cables: 0 };
        ensure!(line == "up\n", "no network could be made");
        Ok(network)
    }

    /// A command that runs the command which follows it on the master's machine.
    pub fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "-m", "--"]);
        command
    }

    /// Where a node begins: a network with nothing in it.
    pub fn outside() -> Command {
        let mut command = Command::new("unshare");
        command.args(["--net", "--"]);
        command
    }

    /// A cable to the network of this process.
    pub fn plug_in(&mut self, name: &str, pid: u32) -> Result<()> {
        self.cables += 1;
        let address = format!("10.87.0.{}/24", self.cables + 1);
        let pid = pid.to_string();
        let peer = ["peer", "name", "eth0", "netns", &pid];
        self.ip(&[&["link", "add", name, "type", "veth"], &peer[..]].concat())?;
        self.ip(&["link", "set", name, "master", "br0", "up"])?;
        for words in [
            &["addr", "add", &address, "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
            &["link", "set", "lo", "up"],
        ] {
            let mut command = Command::new("nsenter");
            done(command.args(["-t", &pid, "-n", "ip"]).args(words))?;
        }
        Ok(())
    }

    /// Pulls a node's cable.
    pub fn cut(&self, name: &str) -> Result<()> {
        self.ip(&["link", "set", name, "down"])
    }

    /// Puts it in again.
    pub fn mend(&self, name: &str) -> Result<()> {
        self.ip(&["link", "set", name, "up"])
    }

    fn ip(&self, words: &[&str]) -> Result<()> {
        done(self.inside().arg("ip").args(words))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// Runs a command that must succeed.
pub fn done(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {} {said}",
        output.status
    );
    Ok(())
}
