//! `pkgtool verify`: of files, who has signed them and whether they are what they say; without a
//! file, whether the node's disk and processes are what its active generation says.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use model::bus;
use model::change::{Progress, Thoroughness, VerifyReport};
use model::envelope::ReadPackage;
use model::report::Chain;
use model::trust::{Checked, Finding, Keyring, judge};
use serde::Serialize;

use crate::build::claims::{self, Walked};
use crate::node::Address;
use crate::outcome::{CommandError, Kind, Outcome};
use crate::render::{self, add};
use crate::show::{Look, Show};

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
With FILE: every signature is checked against the key files, every object against its digest, and
what the manifest says of ELF files against their bytes. Exit status 0: a trusted key has signed
every package, and nothing is wrong.

Without FILE: the node's files and the files that its processes have mapped are checked against the
generation that runs. Exit status 0: nothing differs.")]
pub struct VerifyArgs {
    /// Packages or sets of packages; none: the node
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the key files are
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/etc/changeover/trust.d",
        requires = "files"
    )]
    trust: PathBuf,
    /// Of the node: read every byte, instead of looking at sizes, modes and times
    #[arg(long, conflicts_with = "files")]
    full: bool,
}

/// What was found of one file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Verified {
    file: PathBuf,
    /// Whether a trusted key has signed every package, and nothing is wrong.
    sound: bool,
    packages: Vec<VerifiedPackage>,
    objects: u64,
    bytes: u64,
    /// What is not as the package says.
    wrong: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct VerifiedPackage {
    package: String,
    trusted: bool,
    /// Why it is not trusted.
    #[serde(skip_serializing_if = "String::is_empty")]
    against: String,
    signatures: Vec<Checked>,
}

/// Runs it.
pub fn run(args: &VerifyArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    if args.files.is_empty() {
        return of_node(args, node, show);
    }
    let own = nix::unistd::geteuid().as_raw();
    let keyring = model::trust::read(&args.trust, &[0, own]);
    for problem in &keyring.problems {
        show.warn(problem);
    }
    let mut all = Vec::new();
    for file in &args.files {
        all.push(of_file(file, &keyring, show));
    }
    show.answer(&all, |look| {
        all.iter().map(|one| text(one, look)).collect::<String>()
    })?;
    if all.iter().all(|one| one.sound) {
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Ended(Kind::Failed))
}

fn of_node(args: &VerifyArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let node = node.connect()?;
    let how = if args.full {
        Thoroughness::Content
    } else {
        Thoroughness::Metadata
    };
    let how = bus::encode(&how)?;
    let mut line = show.progress();
    let report: VerifyReport =
        node.ask_showing(async |installd| installd.verify(&how).await, &mut line)?;
    show.answer(&report, |look| render::verify::text(&report, look))?;
    if report.differing.is_empty() && report.mapped.is_empty() {
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Ended(Kind::Failed))
}

fn of_file(file: &Path, keyring: &Keyring, show: &Show) -> Verified {
    let mut line = show.progress();
    let mut progress = |done, all| {
        line.step(&Progress {
            phase: "add".to_owned(),
            what: format!("reading {}", file.display()),
            count: Some((done, all)),
        });
    };
    let walked = claims::walk(file, &mut progress);
    line.clear();
    match walked {
        Ok(walked) => judged(file, walked, keyring),
        Err(error) => Verified {
            file: file.to_owned(),
            sound: false,
            packages: Vec::new(),
            objects: 0,
            bytes: 0,
            wrong: vec![Chain(&error).to_string()],
        },
    }
}

fn judged(file: &Path, walked: Walked, keyring: &Keyring) -> Verified {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_secs());
    let packages: Vec<VerifiedPackage> = walked
        .packages
        .iter()
        .map(|one| package(one, keyring, now))
        .collect();
    let bad = |one: &VerifiedPackage| {
        let bad = |one: &Checked| one.finding == Finding::Bad;
        !one.trusted || one.signatures.iter().any(bad)
    };
    Verified {
        file: file.to_owned(),
        sound: walked.lies.is_empty() && !packages.iter().any(bad),
        packages,
        objects: walked.objects,
        bytes: walked.bytes,
        wrong: walked.lies,
    }
}

fn package(package: &ReadPackage, keyring: &Keyring, now: u64) -> VerifiedPackage {
    let signature = package.signature.as_deref();
    let about = (&package.id.name, &*package.bytes);
    let judgement = judge(about, signature, keyring, now);
    VerifiedPackage {
        package: package.id.name_version(),
        trusted: judgement.is_trusted(),
        against: judgement.against(),
        signatures: judgement.signatures,
    }
}

fn text(one: &Verified, look: Look) -> String {
    let mut out = String::new();
    for package in &one.packages {
        let word = if package.trusted {
            look.good("trusted")
        } else {
            look.bad("not trusted")
        };
        add(
            &mut out,
            format_args!("{} {word}\n", look.strong(&package.package)),
        );
        if package.signatures.is_empty() {
            add(&mut out, format_args!("  {}\n", package.against));
        }
        for checked in &package.signatures {
            let mark = match &checked.finding {
                Finding::Good => look.good('✓'),
                Finding::Unknown => look.faint('?'),
                Finding::Bad
                | Finding::Expired { .. }
                | Finding::OutOfScope { .. }
                | Finding::Revoked { .. } => look.bad('✗'),
            };
            add(&mut out, format_args!("  {mark} {checked}\n"));
        }
    }
    for wrong in &one.wrong {
        add(&mut out, format_args!("{}: {wrong}\n", look.bad("wrong")));
    }
    if one.wrong.is_empty() {
        let text = format!(
            "{}: {} objects with {}, each what its manifest says\n",
            one.file.display(),
            one.objects,
            render::bytes(one.bytes)
        );
        out += &look.faint(text);
    }
    out
}
