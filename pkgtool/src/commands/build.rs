//! `pkgtool build`: a package from a package.toml, or a set from several.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use model::change::Progress;
use model::envelope::Spool;
use model::manifest::{FileType, Node};
use model::{Manifest, PackageId};
use serde::Serialize;

use super::inspect::plural;
use crate::build::analyse::{self, Analysed, Severity};
use crate::build::spec::{Mistake, Mistakes, Spec};
use crate::build::{collect, pack, sign, spec};
use crate::outcome::{CommandError, Outcome};
use crate::render::bytes;
use crate::show::{Look, Show};

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// A package.toml, or a directory that has one; several make a set
    #[arg(default_value = ".", value_name = "DIR|package.toml")]
    pub sources: Vec<PathBuf>,
    /// Where to write the package [default: `NAME_VERSION.pkg`]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Sign it with this secret key, made by `pkgtool keygen`
    #[arg(long, value_name = "KEY")]
    pub sign: Option<PathBuf>,
}

/// What was built; `--json` shows it.
#[derive(Debug, Serialize)]
struct Built {
    file: PathBuf,
    bytes: u64,
    packages: Vec<BuiltPackage>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BuiltPackage {
    id: PackageId,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Serialize)]
struct Counts {
    files: usize,
    bytes: u64,
    libraries: usize,
    programs: usize,
    processes: usize,
}

/// Runs it.
pub fn run(args: &BuildArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let key = args.sign.as_deref().map(sign::secret_key).transpose()?;
    let mut specs = Vec::new();
    for source in &args.sources {
        specs.push(read_spec(source)?);
    }
    let output = output(args, &specs)?;
    let mut spool = pack::spool(&output)?;
    let mut manifests = Vec::new();
    let mut warnings = Vec::new();
    for mut spec in specs {
        let staged = collect::collect(&mut spec)?;
        let analysed = analysed(&spec, staged, &mut spool, show)?;
        warnings.extend(warnings_of(&analysed));
        manifests.push(analysed.manifest);
    }
    let counts: Vec<Counts> = manifests.iter().map(count).collect();
    let ids = pack::pack(manifests, &spool, &output)?;
    if let Some(key) = &key {
        sign::add(&output, key)?;
    }
    let packages = ids
        .into_iter()
        .zip(counts)
        .map(|(id, counts)| BuiltPackage { id, counts })
        .collect();
    let size = fs_err::metadata(&output)?.len();
    let built = Built {
        file: output,
        bytes: size,
        packages,
        warnings,
    };
    for warning in &built.warnings {
        show.warn(warning);
    }
    show.told(&built, |look| text(&built, look))?;
    Ok(Outcome::Done)
}

fn read_spec(source: &Path) -> Result<Spec, CommandError> {
    let path = match source.is_dir() {
        true if source == Path::new(".") => PathBuf::from("package.toml"),
        true => source.join("package.toml"),
        false => source.to_owned(),
    };
    let text = fs_err::read_to_string(&path).map_err(|error| {
        CommandError::from(error)
            .hint("give a package.toml, or a directory that has one; docs/tutorial.md shows one")
    })?;
    Ok(spec::parse(&path, &text)?)
}

fn output(args: &BuildArgs, specs: &[Spec]) -> Result<PathBuf, CommandError> {
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    match specs {
        [one] => Ok(PathBuf::from(file_name(&one.draft))),
        _ => Err(CommandError::usage("a set has no name of its own")
            .hint("-o FILE says where to write it")),
    }
}

/// Epochs have a colon, which many tools and file systems take for something else.
fn file_name(manifest: &Manifest) -> String {
    format!("{}_{}.pkg", manifest.name, manifest.version).replace(':', "%3a")
}

fn analysed(
    spec: &Spec,
    staged: Vec<analyse::Staged>,
    spool: &mut Spool,
    show: &Show,
) -> Result<Analysed, CommandError> {
    let start = Instant::now();
    let mut line = None;
    let mut progress = |done: u64, all: u64| {
        // What is done at once needs no line.
        if start.elapsed() > Duration::from_secs(1) {
            let line = line.get_or_insert_with(|| show.progress());
            line.step(&Progress {
                // Counted in bytes, as adding a package is.
                phase: "add".to_owned(),
                what: format!("reading {}", spec.draft.name),
                count: Some((done, all)),
            });
        }
    };
    let analysed = analyse::analyse(spec.draft.clone(), staged, spool, &mut progress)?;
    if analysed.is_sound() {
        return Ok(analysed);
    }
    let errors = analysed
        .findings
        .iter()
        .filter(|one| one.severity == Severity::Error);
    let list = errors.map(|one| Mistake {
        line: spec.line(&one.subject),
        text: one.to_string(),
    });
    Err(Mistakes::new(&spec.path, list.collect()).into())
}

fn warnings_of(analysed: &Analysed) -> Vec<String> {
    let warnings = analysed
        .findings
        .iter()
        .filter(|one| one.severity == Severity::Warning);
    warnings
        .map(|one| format!("{}: {one}", analysed.manifest.name))
        .collect()
}

fn count(manifest: &Manifest) -> Counts {
    let mut built = Counts {
        files: manifest.files.len(),
        bytes: 0,
        libraries: 0,
        programs: 0,
        processes: manifest.processes.len(),
    };
    for entry in &manifest.files {
        let Node::File(file) = &entry.node else {
            continue;
        };
        built.bytes += file.size;
        built.libraries += usize::from(file.file_type == FileType::SharedLibrary);
        built.programs += usize::from(file.file_type == FileType::Executable);
    }
    built
}

fn text(built: &Built, look: Look) -> String {
    let packages = built.packages.iter().map(|BuiltPackage { id, counts }| {
        let parts = [
            (counts.files, "file"),
            (counts.libraries, "library"),
            (counts.programs, "program"),
            (counts.processes, "process"),
        ];
        let given = parts.into_iter().filter(|(number, _)| *number > 0);
        let given: Vec<String> = given.map(|(number, what)| plural(number, what)).collect();
        let name = look.strong(&id.name);
        format!(
            "{name} {}: {} in {}\n",
            id.version,
            bytes(counts.bytes),
            given.join(", ")
        )
    });
    let file = format!(
        "{} {}\n",
        look.good(built.file.display()),
        bytes(built.bytes)
    );
    packages.chain([file]).collect()
}

#[cfg(test)]
mod tests;
