//! `pkgtool import-deb`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use model::Manifest;
use model::manifest::Node;
use model::path::{PackagePath, merged_usr};
use serde::Serialize;

use crate::build::debian::closure::{self, Wanted};
use crate::build::debian::files::Documentation;
use crate::build::debian::import::Options;
use crate::build::debian::make::{Made, Maker, Origin};
use crate::build::debian::overrides::AllOverrides;
use crate::build::pack;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

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
    /// With all that the packages depend on, as apt resolves it
    #[arg(long, conflicts_with = "installed")]
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
    /// List all that is not carried over
    #[arg(short, long)]
    verbose: bool,
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
struct Report {
    packages: Vec<Line>,
    /// Programs that processes start and no package of these has.
    missing_programs: Vec<String>,
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

/// Runs it.
pub fn run(args: &ImportDebArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let origins = origins(args, show)?;
    let mut overrides = AllOverrides::shipped();
    if let Some(directory) = &args.overrides {
        overrides.add(directory)?;
    }
    let documentation = if args.without_docs {
        Documentation::LeaveOut
    } else {
        Documentation::Keep
    };
    let maker = Maker {
        overrides,
        options: Options { documentation },
    };
    let made = match &args.set {
        Some(file) => as_set(&maker, &origins, file, show)?,
        None => as_files(&maker, &origins, &args.output, show)?,
    };
    report(made, args, show)?;
    Ok(Outcome::Done)
}

/// Where each package is; downloads those that are named.
fn origins(args: &ImportDebArgs, show: &mut Show) -> Result<Vec<Origin>, CommandError> {
    if args.installed {
        return Ok(args
            .packages
            .iter()
            .cloned()
            .map(Origin::Installed)
            .collect());
    }
    let (files, names): (Vec<&String>, Vec<&String>) =
        args.packages.iter().partition(|text| is_file(text));
    let mut origins: Vec<Origin> = files
        .into_iter()
        .map(|file| Origin::File(file.into()))
        .collect();
    if names.is_empty() {
        return Ok(origins);
    }
    let mut wanted = names
        .iter()
        .map(|name| Wanted::parse(name))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(version) = &args.version {
        let [one] = wanted.as_mut_slice() else {
            return Err(CommandError::usage(
                "--version goes with one name; use NAME=VERSION",
            ));
        };
        *one = Wanted::parse(&format!("{}={version}", one.name))?;
    }
    let mut progress = show.progress();
    progress.say("asking apt");
    let found = if args.closure {
        let base: &[&str] = if args.base == Base::Minimal {
            &closure::BASE
        } else {
            &[]
        };
        closure::closure(&wanted, base)
    } else {
        closure::candidates(&wanted)
    };
    let found = found.map_err(|error| apt_failed(error.into()))?;
    progress.say(&format!("downloading {} packages", found.len()));
    let files = closure::download(&found, &args.cache).map_err(|error| apt_failed(error.into()))?;
    origins.extend(files.into_iter().map(Origin::File));
    Ok(origins)
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

type AllMade = Vec<(PathBuf, Made)>;

fn as_files(
    maker: &Maker,
    origins: &[Origin],
    directory: &Path,
    show: &Show,
) -> Result<AllMade, CommandError> {
    fs_err::create_dir_all(directory)?;
    let mut progress = show.progress();
    let mut all = Vec::new();
    let count = origins.len() as u64;
    for (done, origin) in origins.iter().enumerate() {
        progress.count(&shown(origin), done as u64, count);
        all.push(maker.file(origin, directory, &mut |_, _| {})?);
    }
    Ok(all)
}

fn as_set(
    maker: &Maker,
    origins: &[Origin],
    file: &Path,
    show: &Show,
) -> Result<AllMade, CommandError> {
    let mut progress = show.progress();
    let mut spool = pack::spool(file)?;
    let mut manifests: Vec<Manifest> = Vec::new();
    for (done, origin) in origins.iter().enumerate() {
        progress.count(&shown(origin), done as u64, origins.len() as u64);
        manifests.push(maker.part(origin, &mut spool, &mut |_, _| {})?);
    }
    progress.say("writing");
    pack::pack(manifests.clone(), &spool, file)?;
    let made = |manifest| {
        (
            file.to_owned(),
            Made {
                manifest,
                unchanged: false,
            },
        )
    };
    Ok(manifests.into_iter().map(made).collect())
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

fn report(made: AllMade, args: &ImportDebArgs, show: &mut Show) -> Result<(), CommandError> {
    let missing = if args.closure {
        missing_programs(&made)
    } else {
        Vec::new()
    };
    let mut text = String::new();
    let mut notes = 0;
    let mut packages = Vec::new();
    for (
        file,
        Made {
            manifest,
            unchanged,
        },
    ) in made
    {
        text.push_str(&line(&manifest, &file, unchanged));
        if args.verbose {
            for note in &manifest.notes {
                text.push_str("    ");
                text.push_str(note);
                text.push('\n');
            }
        }
        notes += manifest.notes.len();
        packages.push(Line {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            file,
            files: manifest.files.len(),
            processes: manifest
                .processes
                .iter()
                .map(|one| one.name.to_string())
                .collect(),
            unchanged,
            notes: manifest.notes,
        });
    }
    text.push_str(&last_lines(
        packages.len(),
        if args.verbose { 0 } else { notes },
    ));
    for program in &missing {
        show.warn(format_args!(
            "{program} is started by a process, and no package here has it"
        ));
    }
    show.answer(
        &Report {
            packages,
            missing_programs: missing,
        },
        |_| text,
    )?;
    Ok(())
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

/// Programs of processes that no package of a closure has; each with the process.
fn missing_programs(made: &AllMade) -> Vec<String> {
    let manifests = || made.iter().map(|(_, made)| &made.manifest);
    let paths: BTreeSet<&PackagePath> = manifests()
        .flat_map(|manifest| &manifest.files)
        .filter(|file| file.node != Node::Directory)
        .map(|file| &file.path)
        .collect();
    let mut missing = BTreeSet::new();
    for process in manifests().flat_map(|manifest| &manifest.processes) {
        let more = [
            &process.exec_start_pre,
            &process.exec_start_post,
            &process.exec_reload,
            &process.exec_stop,
        ];
        let commands = std::iter::once(&process.exec).chain(more.into_iter().flatten());
        for word in commands.filter_map(|command| command.first()) {
            let path = merged_usr(word.trim_start_matches('-'));
            let found = path
                .parse()
                .is_ok_and(|path: PackagePath| paths.contains(&path));
            if !found {
                missing.insert(format!("{path} ({})", process.name));
            }
        }
    }
    missing.into_iter().collect()
}
