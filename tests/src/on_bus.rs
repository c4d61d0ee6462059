//! Both daemons on a bus of their own, without a node around them: for what callers may ask.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{binaries, wait};

/// Where the project's own rules for the bus are.
const POLICY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../packaging/dbus/org.changeover.conf"
);
/// A user who is nobody in particular.
pub const STRANGER: u32 = 65_534;

/// A bus with both daemons on it; all end with this.
#[derive(Debug)]
pub struct OnBus {
    dir: tempfile::TempDir,
    /// The bus's address.
    pub address: String,
    children: Vec<Child>,
}

impl Drop for OnBus {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl OnBus {
    /// Starts the bus, under the packaged rules, and the daemons; returns when both answer.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("on-bus-")
            .tempdir_in("/tmp")?;
        // Another user must reach the bus, and nothing else.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs_err::set_permissions(dir.path(), mode)?;
        let address = format!("unix:path={}", dir.path().join("bus").display());
        let mut on_bus = Self {
            dir,
            address,
            children: Vec::new(),
        };
        on_bus.bus()?;
        on_bus.daemon("sysmgrd", &on_bus.sysmgrd()?)?;
        on_bus.daemon("installd", &on_bus.installd()?)?;
        for name in ["org.changeover.SysMgr1", "org.changeover.Install1"] {
            wait::until(&format!("{name} is on the bus"), || {
                let mut call = on_bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus");
                call.arg("org.freedesktop.DBus.GetNameOwner");
                let output = call.arg(format!("string:{name}")).output()?;
                Ok(output.status.success().then_some(()))
            })?;
        }
        Ok(on_bus)
    }

    /// The directory that everything of it is in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn bus(&mut self) -> Result<()> {
        let address = &self.address;
        // As Debian's system bus has it, and polkit's own rules.
        let rules = format!(
            "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN' \
             'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'><busconfig>\
             <type>system</type><listen>{address}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow user='*'/><deny own='*'/>\
             <deny send_type='method_call'/><allow send_type='signal'/>\
             <allow send_requested_reply='true' send_type='method_return'/>\
             <allow send_requested_reply='true' send_type='error'/><allow receive_type='method_call'/>\
             <allow receive_type='method_return'/><allow receive_type='error'/>\
             <allow receive_type='signal'/><allow send_destination='org.freedesktop.DBus'/>\
             <allow send_destination='org.freedesktop.PolicyKit1'/></policy>\
             <policy user='root'><allow own='org.freedesktop.PolicyKit1'/></policy>\
             <include>{POLICY}</include></busconfig>"
        );
        let file = self.dir.path().join("bus.conf");
        fs_err::write(&file, rules)?;
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--nofork", "--print-address=1", "--config-file"])
            .arg(file);
        let mut bus = bus
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("dbus-daemon")?;
        let output = bus.stdout.take();
        self.children.push(bus);
        // It prints its address when it listens.
        output.context("its output")?.read_exact(&mut [0])?;
        Ok(())
    }

    fn installd(&self) -> Result<String> {
        let dir = self.dir.path();
        for part in ["root/etc", "root/var", "root/run", "run"] {
            fs_err::create_dir_all(dir.join(part))?;
        }
        fs_err::write(dir.join("root/etc/passwd"), "root:x:0:0::/root:/bin/sh\n")?;
        fs_err::write(dir.join("root/etc/group"), "root:x:0:\n")?;
        let (dir, bus) = (dir.display(), &self.address);
        Ok(format!(
            "state-dir = '{dir}/state'\nrun-dir = '{dir}/run'\nmachine-root = '{dir}/root'\n\
             bus = '{bus}'\n[trust]\nunsigned = 'accept'\n"
        ))
    }

    fn sysmgrd(&self) -> Result<String> {
        let (dir, bus) = (self.dir.path().display(), &self.address);
        fs_err::create_dir_all(self.dir.path().join("root"))?;
        Ok(format!(
            "run-dir = '{dir}/run'\nmachine-root = '{dir}/root'\nbus = '{bus}'\n\
             cgroup = '{dir}/not-a-cgroup'\n"
        ))
    }

    fn daemon(&mut self, name: &str, config: &str) -> Result<()> {
        let file = self.dir.path().join(format!("{name}.toml"));
        fs_err::write(&file, config)?;
        let log = fs_err::File::create(self.dir.path().join(format!("{name}.log")))?;
        let mut command = Command::new(binaries::dir()?.join(name));
        command.arg("--config").arg(file).stderr(log.into_file());
        self.children.push(command.spawn().context("a daemon")?);
        Ok(())
    }

    /// What a daemon wrote.
    pub fn log(&self, daemon: &str) -> String {
        fs_err::read_to_string(self.dir.path().join(format!("{daemon}.log"))).unwrap_or_default()
    }

    /// The most memory that a daemon has had, in MiB.
    pub fn peak(&self, daemon: &str) -> Result<u64> {
        let index = ["bus", "sysmgrd", "installd"]
            .iter()
            .position(|one| *one == daemon);
        let child = index
            .and_then(|index| self.children.get(index))
            .context("which daemon")?;
        let status = fs_err::read_to_string(format!("/proc/{}/status", child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().next())
            .context("VmHWM")?
            .parse()?;
        Ok(kib / 1024)
    }

    /// `dbus-send` to a destination and path, to be completed with a member and arguments.
    pub fn call(&self, destination: &str, path: &str) -> Command {
        let mut command = Command::new("dbus-send");
        command.arg(format!("--bus={}", self.address));
        command.args(["--print-reply", "--reply-timeout=20000"]);
        command.arg(format!("--dest={destination}")).arg(path);
        command
    }
}

/// Runs `work` on a thread of its own that belongs to `uid` for good.
pub fn as_user<T: Send + 'static>(
    uid: u32,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let thread = std::thread::spawn(move || {
        let (user, group) = (
            rustix::process::Uid::from_raw(uid),
            rustix::process::Gid::from_raw(uid),
        );
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
        work()
    });
    match thread.join() {
        Ok(done) => done,
        Err(_) => bail!("the work of user {uid} panicked"),
    }
}

/// A package with one file of data, `data` 1, as a file below `dir`.
pub fn package(dir: &Path) -> Result<std::path::PathBuf> {
    let folder = dir.join("data");
    fs_err::create_dir_all(&folder)?;
    fs_err::write(folder.join("text"), "text")?;
    fs_err::write(
        folder.join("package.toml"),
        "[package]\nname = \"data\"\nversion = \"1\"\nsummary = \"Some data\"\n\n[files]\n\
         \"text\" = \"/usr/share/data/text\"\n",
    )?;
    let out = dir.join("data_1.pkg");
    let mut build = Command::new(binaries::pkgtool()?);
    build
        .args(["--quiet", "build"])
        .arg(&folder)
        .arg("-o")
        .arg(&out);
    let output = build.output()?;
    if !output.status.success() {
        bail!("pkgtool build: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(out)
}
