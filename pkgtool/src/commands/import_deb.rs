//! `pkgtool import-deb`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use model::Manifest;
use model::envelope::Spool;
use model::manifest::Node;
use model::path::{PackagePath, merged_usr};
use model::trust::SecretKey;
use serde::Serialize;

use crate::build::debian::closure::{self, Wanted};
use crate::build::debian::files::Documentation;
use crate::build::debian::import::Options;
use crate::build::debian::installed;
use crate::build::debian::make::{Made, Maker, Origin};
use crate::build::debian::overrides::AllOverrides;
use crate::build::{pack, sign};
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Of more packages than this, only those that were asked for or run something have a line.
const LINES: usize = 12;

/// Arguments of `import-deb`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct ImportDebArgs {
    /// Files (FILE.deb), or packages by name (NAME, NAME=VERSION) that apt downloads
    #[arg(required = true, value_name = "PACKAGE")]
    packages: Vec<String>,
    /// Directory for the packages made, one file each
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    output: PathBuf,
    /// Put all packages into this one file instead
    #[arg(long, value_name = "FILE")]
    set: Option<PathBuf>,
    /// With all that the packages depend on, as apt resolves it or as this machine has it
    #[arg(long)]
    closure: bool,
    /// The version, where one name is given
    #[arg(long, value_name = "VERSION", conflicts_with = "installed")]
    version: Option<String>,
    /// With --closure: what is added that packages use without saying so
    #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
    base: Base,
    /// From this machine's dpkg database and files
    #[arg(long)]
    installed: bool,
    /// Directory for downloaded Debian packages
    #[arg(long, default_value = ".cache/debs", value_name = "DIR")]
    cache: PathBuf,
    /// Directory of NAME.toml files with what maintainer scripts do, before those that ship
    #[arg(long, value_name = "DIR")]
    overrides: Option<PathBuf>,
    /// Leave out documentation, manual pages and translations
    #[arg(long)]
    without_docs: bool,
    /// Sign each package with this secret key, made by `pkgtool keygen`
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// List all that is not carried over
    #[arg(short, long)]
    verbose: bool,
}

impl ImportDebArgs {
    fn base(&self) -> &'static [&'static str] {
        match self.base {
            Base::Minimal => &closure::BASE,
            Base::None => &[],
        }
    }
}

/// What a closure gets besides what its packages depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Base {
    /// A shell and the basic tools.
    #[default]
    Minimal,
    /// Nothing.
    None,
}

/// What was done, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    packages: Vec<Line>,
    /// Programs that processes start and no package of these has.
    missing_programs: Vec<String>,
    /// Libraries that no package of these has.
    missing_libraries: Vec<String>,
}

/// One package.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    name: String,
    version: String,
    file: PathBuf,
    files: usize,
    processes: Vec<String>,
    unchanged: bool,
    notes: Vec<String>,
}

impl Line {
    fn new(manifest: Manifest, file: PathBuf, unchanged: bool) -> Self {
        let processes = manifest.processes.iter();
        Self {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            file,
            files: manifest.files.len(),
            processes: processes.map(|one| one.name.to_string()).collect(),
            unchanged,
            notes: manifest.notes,
        }
    }
}

/// Runs it.
pub fn run(args: &ImportDebArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let key = args.sign.as_deref().map(sign::secret_key).transpose()?;
    let mut overrides = AllOverrides::shipped();
    if let Some(directory) = &args.overrides {
        overrides.add(directory)?;
    }
    let documentation = if args.without_docs {
        Documentation::LeaveOut
    } else {
        Documentation::Keep
    };
    let options = Options {
        documentation,
        base: if args.closure { args.base() } else { &[] },
    };
    let spool = args.set.as_deref().map(pack::spool).transpose()?;
    let mut work = Work {
        args,
        show,
        maker: Maker { overrides, options },
        spool,
        made: Vec::new(),
    };
    work.all()?;
    let made = work.finish()?;
    if let Some(key) = &key {
        sign_all(&made, args, key)?;
    }
    report(made, args, show)?;
    Ok(Outcome::Done)
}

/// Packages that were there already, and are unchanged, are signed too.
fn sign_all(made: &[Done], args: &ImportDebArgs, key: &SecretKey) -> Result<(), CommandError> {
    let files = match &args.set {
        Some(set) => vec![set],
        None => made.iter().map(|done| &done.file).collect(),
    };
    for file in files {
        sign::add(file, key)?;
    }
    Ok(())
}

/// A package, where it came from and where it is now.
struct Done {
    origin: Origin,
    file: PathBuf,
    made: Made,
}

struct Work<'a> {
    args: &'a ImportDebArgs,
    show: &'a Show,
    maker: Maker,
    /// The objects of a set; files of their own need none.
    spool: Option<Spool>,
    made: Vec<Done>,
}

impl Work<'_> {
    fn all(&mut self) -> Result<(), CommandError> {
        if self.args.installed {
            let names = self.installed()?;
            return self.make(names.into_iter().map(Origin::Installed).collect());
        }
        let (files, names): (Vec<&String>, Vec<&String>) =
            self.args.packages.iter().partition(|text| is_file(text));
        self.make(
            files
                .into_iter()
                .map(|file| Origin::File(file.into()))
                .collect(),
        )?;
        let mut wanted = self.wanted(&names)?;
        while !wanted.is_empty() {
            let origins = self.download(&wanted)?;
            self.make(origins)?;
            let more = self.plugin_libraries(&wanted)?;
            if more.is_empty() {
                break;
            }
            wanted.extend(more);
        }
        Ok(())
    }

    /// The packages asked for that this machine has, and with a closure all that they depend on.
    fn installed(&self) -> Result<Vec<String>, CommandError> {
        if !self.args.closure {
            return Ok(self.args.packages.clone());
        }
        let mut names: Vec<&str> = self.args.packages.iter().map(String::as_str).collect();
        names.extend(self.args.base());
        Ok(installed::closure(Path::new("/"), &names)?)
    }

    /// The packages asked for by name.
    fn wanted(&self, names: &[&String]) -> Result<Vec<Wanted>, CommandError> {
        let wanted = names.iter().map(|name| Wanted::parse(name));
        let mut wanted = wanted.collect::<Result<Vec<_>, _>>()?;
        if let Some(version) = &self.args.version {
            let [one] = wanted.as_mut_slice() else {
                let text = "--version goes with one name; use NAME=VERSION";
                return Err(CommandError::usage(text));
            };
            *one = Wanted::parse(&format!("{}={version}", one.name))?;
        }
        Ok(wanted)
    }

    /// Where `wanted`, and with a closure all that they depend on, are once apt has them here.
    fn download(&self, wanted: &[Wanted]) -> Result<Vec<Origin>, CommandError> {
        let mut progress = self.show.progress();
        progress.say("asking apt");
        let found = if self.args.closure {
            closure::closure(wanted, self.args.base())
        } else {
            closure::candidates(wanted)
        };
        let found = found.map_err(|error| apt_failed(error.into()))?;
        progress.say(&format!("downloading {} packages", found.len()));
        let files = closure::download(&found, &self.args.cache);
        let files = files.map_err(|error| apt_failed(error.into()))?;
        Ok(files.into_iter().map(Origin::File).collect())
    }

    /// Makes those that are not made yet.
    fn make(&mut self, mut origins: Vec<Origin>) -> Result<(), CommandError> {
        origins.retain(|origin| self.made.iter().all(|done| done.origin != *origin));
        let mut progress = self.show.progress();
        let count = origins.len() as u64;
        for (done, origin) in origins.into_iter().enumerate() {
            progress.step(&model::change::Progress {
                phase: "import".to_owned(),
                what: shown(&origin),
                count: Some((done as u64, count)),
            });
            let (file, made) = match (&mut self.spool, &self.args.set) {
                (Some(spool), Some(file)) => {
                    let manifest = self.maker.part(&origin, spool, &mut |_, _| {})?;
                    let made = Made {
                        manifest,
                        unchanged: false,
                    };
                    (file.clone(), made)
                }
                _ => self
                    .maker
                    .file(&origin, &self.args.output, &mut |_, _| {})?,
            };
            self.made.push(Done { origin, file, made });
        }
        Ok(())
    }

    /// A library that only a plugin needs is in a package that is recommended or suggested; the
    /// set is complete only with it.
    fn plugin_libraries(&self, wanted: &[Wanted]) -> Result<Vec<Wanted>, CommandError> {
        let mut more = Vec::new();
        if !self.args.closure {
            return Ok(more);
        }
        let provided: BTreeSet<&str> = self
            .made
            .iter()
            .flat_map(|done| &done.made.manifest.provides_libraries)
            .map(|library| library.soname.as_str())
            .collect();
        for done in &self.made {
            let needed = &done.made.manifest.requires_libraries;
            for need in needed
                .iter()
                .filter(|need| !provided.contains(need.soname.as_str()))
            {
                let names = closure::library_packages(&need.soname);
                let recommended = done.origin.recommends()?;
                let found = recommended
                    .iter()
                    .find(|name| names.iter().any(|one| one == name.as_str()));
                let Some(name) = found else { continue };
                let one = Wanted::parse(name.as_str())?;
                if !wanted.contains(&one) && !more.contains(&one) {
                    more.push(one);
                }
            }
        }
        Ok(more)
    }

    fn finish(self) -> Result<Vec<Done>, CommandError> {
        if let (Some(spool), Some(file)) = (&self.spool, &self.args.set) {
            let mut progress = self.show.progress();
            progress.say("writing");
            let manifests = self.made.iter().map(|done| done.made.manifest.clone());
            pack::pack(manifests.collect(), spool, file)?;
        }
        Ok(self.made)
    }
}

fn apt_failed(error: CommandError) -> CommandError {
    error.hint("apt-get update, if apt does not know a package or its file is gone")
}

fn is_file(text: &str) -> bool {
    let deb = Path::new(text)
        .extension()
        .is_some_and(|extension| extension == "deb");
    deb || text.contains('/')
}

fn shown(origin: &Origin) -> String {
    match origin {
        Origin::File(file) => file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        Origin::Installed(name) => name.clone(),
    }
}

fn report(all: Vec<Done>, args: &ImportDebArgs, show: &mut Show) -> Result<(), CommandError> {
    let missing = if args.closure {
        missing(&all)
    } else {
        Missing::default()
    };
    let brief = !args.verbose && all.len() > LINES;
    let mut text = String::new();
    let (mut notes, mut more) = (0, 0);
    let mut packages = Vec::new();
    for Done { file, made, .. } in all {
        let Made {
            manifest,
            unchanged,
        } = made;
        if brief && manifest.processes.is_empty() && !asked_for(args, &manifest) {
            more += 1;
        } else {
            text.push_str(&line(&manifest, &file, unchanged));
        }
        if args.verbose {
            for note in &manifest.notes {
                text.push_str("    ");
                text.push_str(note);
                text.push('\n');
            }
        }
        notes += manifest.notes.len();
        packages.push(Line::new(manifest, file, unchanged));
    }
    if more > 0 {
        text.push_str("and ");
        text.push_str(&more.to_string());
        text.push_str(" more, which these depend on (--verbose shows all)\n");
    }
    text.push_str(&last_lines(
        packages.len(),
        if args.verbose { 0 } else { notes },
    ));
    for program in &missing.programs {
        show.warn(format_args!(
            "{program} is started by a process, and no package here has it"
        ));
    }
    for library in &missing.libraries {
        show.warn(format_args!("{library}, and no package here has it"));
    }
    let report = Report {
        packages,
        missing_programs: missing.programs,
        missing_libraries: missing.libraries,
    };
    show.told(&report, |_| text)?;
    Ok(())
}

/// Whether the command line names this package.
fn asked_for(args: &ImportDebArgs, manifest: &Manifest) -> bool {
    args.packages.iter().any(|text| {
        let name = text.split('=').next().unwrap_or_default();
        name == manifest.name.as_str()
    })
}

fn last_lines(packages: usize, notes: usize) -> String {
    let what = if packages == 1 { "package" } else { "packages" };
    match notes {
        0 => format!("{packages} {what}\n"),
        _ => format!(
            "{packages} {what}; {notes} notes on what is not carried over or is to be known (--verbose)\n"
        ),
    }
}

fn line(manifest: &Manifest, file: &Path, unchanged: bool) -> String {
    let processes = match manifest.processes.len() {
        0 => String::new(),
        1 => ", 1 process".to_owned(),
        count => format!(", {count} processes"),
    };
    let unchanged = if unchanged { " (unchanged)" } else { "" };
    format!(
        "{} {} → {}: {} files{processes}{unchanged}\n",
        manifest.name,
        manifest.version,
        file.display(),
        manifest.files.len(),
    )
}

/// What a closure ought to have and has not.
#[derive(Debug, Default)]
struct Missing {
    programs: Vec<String>,
    libraries: Vec<String>,
}

fn missing(all: &[Done]) -> Missing {
    let manifests: Vec<&Manifest> = all.iter().map(|done| &done.made.manifest).collect();
    let paths: BTreeSet<&PackagePath> = manifests
        .iter()
        .flat_map(|manifest| &manifest.files)
        .filter(|file| file.node != Node::Directory)
        .map(|file| &file.path)
        .collect();
    let has = |path: &str| {
        path.parse()
            .is_ok_and(|path: PackagePath| paths.contains(&path))
    };
    let mut programs = BTreeSet::new();
    for process in manifests.iter().flat_map(|manifest| &manifest.processes) {
        let more = [
            &process.exec_start_pre,
            &process.exec_start_post,
            &process.exec_reload,
            &process.exec_stop,
        ];
        let commands = std::iter::once(&process.exec).chain(more.into_iter().flatten());
        for word in commands.filter_map(|command| command.first()) {
            let path = merged_usr(word.trim_start_matches('-'));
            if !has(&path) {
                programs.insert(format!("{path} ({})", process.name));
            }
        }
    }
    let sonames = |manifest: &&Manifest| {
        let libraries = manifest.provides_libraries.iter();
        libraries
            .map(|library| library.soname.clone())
            .collect::<Vec<_>>()
    };
    let provided: BTreeSet<String> = manifests.iter().flat_map(sonames).collect();
    let mut libraries = Vec::new();
    for manifest in &manifests {
        let needed = manifest.requires_libraries.iter();
        for need in needed.filter(|need| !provided.contains(&need.soname)) {
            libraries.push(format!("{} needs {}", manifest.name, need.soname));
        }
    }
    Missing {
        programs: programs.into_iter().collect(),
        libraries,
    }
}
