//! Where things are in a node's directory.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The longest path of a node's directory: socket addresses hold 107 bytes, and the longest
/// socket below it needs this many less.
pub const LONGEST_ROOT: usize = 70;

/// A node's directory and the paths in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below this absolute path.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Makes the directory and what must be in it, as far as it is not there. The node's own
    /// users must be able to pass through.
    pub fn create(root: &Path) -> Result<Self> {
        mkdir(root)?;
        let root = fs_err::canonicalize(root)?;
        let length = root.as_os_str().len();
        if length > LONGEST_ROOT {
            bail!(
                "{}: the path has {length} bytes, and sockets below it allow {LONGEST_ROOT}",
                root.display()
            );
        }
        let layout = Self::new(&root);
        for dir in [
            "etc",
            "run",
            "var/lib",
            "var/log/changeover",
            "var/cache",
            "var/tmp",
            "srv",
            ".sandbox",
        ] {
            mkdir(&root.join(dir))?;
        }
        let everyones = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs_err::set_permissions(root.join("var/tmp"), everyones)?;
        link(&root.join("var/run"), "/run")?;
        link(&root.join("var/lock"), "/run/lock")?;
        for dir in [layout.etc_upper(), layout.etc_work()] {
            mkdir(&dir)?;
        }
        Ok(layout)
    }

    /// The directory itself; absolute, without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The node's `/etc`.
    pub fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    /// What the node's `/etc` has besides the machine's.
    pub fn etc_upper(&self) -> PathBuf {
        self.root.join(".etc/upper")
    }

    /// The overlay's scratch directory.
    pub fn etc_work(&self) -> PathBuf {
        self.root.join(".etc/work")
    }

    /// The node's `/run`, on a tmpfs that only the node sees.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The node's bus socket.
    pub fn bus_socket(&self) -> PathBuf {
        self.root.join("run/dbus/system_bus_socket")
    }

    /// The node's bus as a D-Bus address, escaped as addresses want it.
    pub fn bus_address(&self) -> String {
        use std::fmt::Write as _;
        use std::os::unix::ffi::OsStrExt as _;
        let mut address = "unix:path=".to_owned();
        for byte in self.bus_socket().as_os_str().as_bytes() {
            if byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(byte) {
                address.push(char::from(*byte));
            } else {
                let _ = write!(address, "%{byte:02x}");
            }
        }
        address
    }

    /// Where a daemon's output goes.
    pub fn log(&self, daemon: &str) -> PathBuf {
        self.root
            .join("var/log/changeover")
            .join(format!("{daemon}.log"))
    }

    /// A file of the sandbox's own: locks, configuration, the record of who runs.
    pub fn own(&self, name: &str) -> PathBuf {
        self.root.join(".sandbox").join(name)
    }
}

/// The link is there, made now or before.
fn link(path: &Path, target: &str) -> Result<()> {
    match fs_err::os::unix::fs::symlink(target, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn mkdir(dir: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir);
    made.with_context(|| format!("could not make the directory {}", dir.display()))
}
