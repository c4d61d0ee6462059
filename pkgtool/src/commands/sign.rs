//! `pkgtool sign`: signatures into packages that are made already.

use std::path::{Path, PathBuf};

use clap::Args;
use model::envelope::ReadPackage;
use model::trust::{KeyId, SecretKey, Signatures};
use serde::Serialize;

use crate::build::claims;
use crate::build::sign::{rewrite, secret_key};
use crate::outcome::{CommandError, Outcome};
use crate::render::add;
use crate::show::{Look, Show};

/// Arguments of `sign`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Each package of a set is signed. The file is replaced by the signed one as a whole; nothing is
compressed again, and the same keys give the same bytes. Before a key signs, every object is held
against the manifest, as `pkgtool verify` does: a signature vouches for all of it.")]
pub struct SignArgs {
    /// Packages or sets of packages
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A secret key that `pkgtool keygen` has made; several sign one after the other
    #[arg(short, long, value_name = "FILE", required_unless_present = "remove")]
    key: Vec<PathBuf>,
    /// Take the signature of this key away; `all`: every one
    #[arg(long, value_name = "KEY-ID")]
    remove: Option<Remove>,
    /// Write the signed package there instead
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
enum Remove {
    All,
    One(KeyId),
}

impl std::str::FromStr for Remove {
    type Err = model::ids::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            id => id.parse().map(Self::One),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Signed {
    file: PathBuf,
    packages: Vec<SignedPackage>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct SignedPackage {
    package: String,
    keys: Vec<KeyId>,
}

/// Runs it.
pub fn run(args: &SignArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    if args.output.is_some() && args.files.len() > 1 {
        return Err(CommandError::usage("--output takes one package at a time"));
    }
    let mut keys = Vec::new();
    for path in &args.key {
        keys.push(secret_key(path)?);
    }
    let mut all = Vec::new();
    for file in &args.files {
        all.push(one(file, args, &keys)?);
    }
    show.told(&all, |look| {
        all.iter().map(|one| text(one, look)).collect::<String>()
    })?;
    Ok(Outcome::Done)
}

fn one(file: &Path, args: &SignArgs, keys: &[SecretKey]) -> Result<Signed, CommandError> {
    if !keys.is_empty() {
        let walked = claims::walk(file, &mut |_, _| ())?;
        if let Some(lie) = walked.lies.first() {
            let text = format!("{}: {lie}", file.display());
            return Err(CommandError::failed(text)
                .hint("build the package again; pkgtool verify names everything that is wrong"));
        }
    }
    let out = args.output.as_deref().unwrap_or(file);
    let packages = rewrite(file, out, &mut |package, signatures| {
        match args.remove {
            Some(Remove::All) => signatures.clear(),
            Some(Remove::One(id)) => drop(signatures.remove(id)),
            None => {}
        }
        keys.iter()
            .try_for_each(|key| signatures.sign(key, &package.bytes))
    })?;
    Ok(Signed {
        file: out.to_owned(),
        packages: packages.iter().map(signed).collect(),
    })
}

fn signed(package: &ReadPackage) -> SignedPackage {
    SignedPackage {
        package: package.id.name_version(),
        keys: keys_of(package),
    }
}

/// The keys that a package's signatures name; whether they hold is not looked at.
pub(crate) fn keys_of(package: &ReadPackage) -> Vec<KeyId> {
    let signatures = Signatures::parse(package.signature.as_deref().unwrap_or_default());
    signatures.map_or_else(|_| Vec::new(), |all| all.iter().map(|(id, _)| id).collect())
}

fn text(one: &Signed, look: Look) -> String {
    let mut out = String::new();
    for package in &one.packages {
        let keys: Vec<String> = package.keys.iter().map(ToString::to_string).collect();
        let (word, by) = match keys.as_slice() {
            [] => (look.notable("unsigned"), String::new()),
            keys => (look.good("signed"), format!(" by {}", keys.join(", "))),
        };
        add(&mut out, format_args!("{word} {}{by}\n", package.package));
    }
    out
}
