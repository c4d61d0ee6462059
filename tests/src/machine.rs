//! A machine to upgrade: the real one, with whatever is written to it kept apart.
//!
//! In a mount namespace of its own `/usr` and apt's directories are overlays and `/etc` is a copy, in
//! memory. Real `apt-get` and `dpkg` work there, a node runs there, and nothing of it is left when
//! the node has ended.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use tempfile::TempDir;

/// `$1`: a scratch directory; what follows is run.
const APART: &str = r#"
scratch=$1; shift
mount -t tmpfs none "$scratch"
for dir in usr var/lib/dpkg var/lib/apt var/cache var/log; do
	mkdir -p "$scratch/$dir/up" "$scratch/$dir/work"
	mount -t overlay overlay -o \
		"lowerdir=/$dir,upperdir=$scratch/$dir/up,workdir=$scratch/$dir/work" "/$dir"
done
cp -a /etc "$scratch/etc"
mount --bind "$scratch/etc" /etc
exec "$@"
"#;

/// The private machine's directory and repository.
#[derive(Debug)]
pub struct Machine {
    dir: TempDir,
}

impl Machine {
    /// One whose apt knows these Debian packages, and no other source.
    pub fn with_repository(packages: &[PathBuf]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("machine-").tempdir()?;
        let machine = Self { dir };
        fs_err::create_dir_all(machine.scratch())?;
        let repository = machine.dir.path().join("repository");
        fs_err::create_dir_all(&repository)?;
        let mut index = String::new();
        for (number, package) in packages.iter().enumerate() {
            let name = format!("{number}.deb");
            fs_err::copy(package, repository.join(&name))?;
            let control = run(Command::new("dpkg-deb").arg("-f").arg(package))?;
            let sum = run(Command::new("sha256sum").arg(package))?;
            let sum = sum.split_whitespace().next().unwrap_or_default();
            let size = fs_err::metadata(package)?.len();
            let control = control.trim_end();
            write!(
                index,
                "{control}\nFilename: ./{name}\nSize: {size}\nSHA256: {sum}\n\n"
            )?;
        }
        fs_err::write(repository.join("Packages"), index)?;
        let list = format!("deb [trusted=yes] file:{} ./\n", repository.display());
        fs_err::write(machine.sources(), list)?;
        Ok(machine)
    }

    fn scratch(&self) -> PathBuf {
        self.dir.path().join("scratch")
    }

    fn sources(&self) -> PathBuf {
        self.dir.path().join("sources.list")
    }

    /// Runs what follows it on this machine, as the first thing that does: in a fresh namespace.
    pub fn wrapper(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            APART,
            "sh",
        ]);
        command.arg(self.scratch());
        command
    }

    /// Runs a command that must succeed on the machine where process `pid` lives; what it printed.
    pub fn run(pid: u32, words: &[&str]) -> Result<String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{pid}/ns/mnt")).arg("--");
        command
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C");
        run(&mut command)
    }

    /// Runs `apt-get` there, with this repository only.
    pub fn apt_get(&self, pid: u32, words: &[&str]) -> Result<String> {
        let sources = format!("Dir::Etc::sourcelist={}", self.sources().display());
        let mut all = vec!["apt-get", "-y", "-o", &sources];
        all.extend(["-o", "Dir::Etc::sourceparts=/dev/null"]);
        all.extend(["-o", "APT::Sandbox::User=root"]);
        all.extend(words);
        Self::run(pid, &all)
    }
}

/// Builds a Debian package of `files` (path and the file to put there) with this control file.
pub fn build_deb(control: &str, files: &[(&str, &Path)], to: &Path) -> Result<PathBuf> {
    let tree = to.with_extension("tree");
    let debian = tree.join("DEBIAN");
    fs_err::create_dir_all(&debian)?;
    fs_err::write(debian.join("control"), control)?;
    fs_err::write(debian.join("triggers"), "activate-noawait ldconfig\n")?;
    for (path, from) in files {
        let inside = tree.join(path.trim_start_matches('/'));
        if let Some(parent) = inside.parent() {
            fs_err::create_dir_all(parent)?;
        }
        fs_err::copy(from, inside)?;
    }
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .arg(&tree)
        .arg(to))?;
    Ok(to.to_owned())
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(said.into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    bail!("{command:?}: {}\n{said}{errors}", output.status)
}
