//! Small packages with real programs in them, made by `gcc` and `pkgtool build`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::binaries;

/// Where packages are made; gone with this value.
#[derive(Debug)]
pub struct Workshop {
    dir: TempDir,
    multiarch: String,
}

/// A package that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The package.
    pub file: PathBuf,
    dir: PathBuf,
}

impl Built {
    /// A library or program in it, to link against or to look at.
    pub fn part(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Workshop {
    /// An empty one.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("workshop-").tempdir()?;
        let multiarch = run(Command::new("gcc").arg("-print-multiarch"))?
            .trim()
            .to_owned();
        Ok(Self { dir, multiarch })
    }

    /// Where libraries go on a node: `/usr/lib/x86_64-linux-gnu`.
    pub fn library_dir(&self) -> String {
        format!("/usr/lib/{}", self.multiarch)
    }

    /// Begins a package.
    pub fn package(&self, name: &str, version: &str) -> Result<Recipe<'_>> {
        let dir = self.dir.path().join(format!("{name}-{version}"));
        fs_err::create_dir_all(&dir)?;
        Ok(Recipe {
            workshop: self,
            dir,
            head: format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\n"),
            files: String::new(),
            rest: String::new(),
        })
    }

    /// The machine's C library and loader as a package: what every view needs.
    pub fn base(&self) -> Result<Built> {
        let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
        let libc = PathBuf::from(format!("/lib/{}/libc.so.6", self.multiarch));
        self.package("base", "1")?
            .copy(&libc, &format!("{}/", self.library_dir()))?
            .copy(loader, "/usr/lib64/")?
            .build()
    }
}

/// A package in the making.
#[derive(Debug)]
pub struct Recipe<'a> {
    workshop: &'a Workshop,
    dir: PathBuf,
    head: String,
    files: String,
    rest: String,
}

impl Recipe<'_> {
    /// Requires another package.
    #[must_use]
    pub fn requires(mut self, requirements: &[&str]) -> Self {
        let quoted: Vec<String> = requirements.iter().map(|one| format!("{one:?}")).collect();
        let _ = writeln!(self.head, "requires = [{}]", quoted.join(", "));
        self
    }

    /// Compiles a shared library with this soname, linked to `uses`.
    pub fn library(self, soname: &str, code: &str, uses: &[PathBuf]) -> Result<Self> {
        let to = format!("{}/", self.workshop.library_dir());
        let options = ["-shared", "-fPIC", &format!("-Wl,-soname,{soname}")];
        self.compile(soname, code, &options, uses)?.put(soname, &to)
    }

    /// Compiles a program into `/usr/bin`, linked to `uses`.
    pub fn program(self, name: &str, code: &str, uses: &[PathBuf]) -> Result<Self> {
        self.compile(name, code, &[], uses)?.put(name, "/usr/bin/")
    }

    fn compile(self, name: &str, code: &str, options: &[&str], uses: &[PathBuf]) -> Result<Self> {
        let source = self.dir.join(format!("{name}.c"));
        fs_err::write(&source, code)?;
        let mut gcc = Command::new("gcc");
        gcc.args(["-g", "-O2", "-Wl,--allow-shlib-undefined", "-o"])
            .arg(self.dir.join(name));
        run(gcc.args(options).arg(&source).args(uses))?;
        Ok(self)
    }

    /// Puts a file of the machine into the package.
    pub fn copy(self, from: &Path, to: &str) -> Result<Self> {
        let name = from
            .file_name()
            .and_then(|name| name.to_str())
            .context("no file name")?;
        let inside = self.dir.join(name);
        fs_err::copy(from, inside)?;
        let name = name.to_owned();
        self.put(&name, to)
    }

    /// Puts a file with this text into the package.
    pub fn text(self, name: &str, text: &str, to: &str) -> Result<Self> {
        fs_err::write(self.dir.join(name), text)?;
        self.put(name, to)
    }

    /// Puts a file with this text below `/etc`, as configuration.
    pub fn config(mut self, name: &str, text: &str) -> Result<Self> {
        fs_err::write(self.dir.join(name), text)?;
        let to = format!("/etc/{name}");
        writeln!(
            self.files,
            "{name:?} = {{ to = {to:?}, type = \"config\" }}"
        )?;
        Ok(self)
    }

    fn put(mut self, name: &str, to: &str) -> Result<Self> {
        writeln!(self.files, "{name:?} = {to:?}")?;
        Ok(self)
    }

    /// A process that runs a program of `/usr/bin` of the same name.
    #[must_use]
    pub fn process(self, name: &str) -> Self {
        let text = format!("[[process]]\nname = {name:?}\nexec = [\"/usr/bin/{name}\"]\n");
        self.lines(&text)
    }

    /// More of the `package.toml`.
    #[must_use]
    pub fn lines(mut self, text: &str) -> Self {
        self.rest.push_str(text);
        self
    }

    /// Builds it.
    pub fn build(self) -> Result<Built> {
        let toml = self.dir.join("package.toml");
        fs_err::write(
            &toml,
            format!("{}[files]\n{}{}", self.head, self.files, self.rest),
        )?;
        let file = PathBuf::from(format!("{}.pkg", self.dir.display()));
        run(Command::new(binaries::pkgtool()?)
            .arg("build")
            .arg(toml)
            .arg("-o")
            .arg(&file))?;
        Ok(Built {
            file,
            dir: self.dir,
        })
    }
}

/// Runs a tool that must succeed; what it printed.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    bail!(
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )
}
