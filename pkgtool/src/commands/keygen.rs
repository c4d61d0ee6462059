//! `pkgtool keygen`: a key to sign packages with.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use model::trust::{Expiry, KeyId, SecretKey, Trusted};
use serde::Serialize;

use crate::build::sign::write_new;
use crate::outcome::{CommandError, Outcome};
use crate::render::add;
use crate::show::{Look, Show};

/// Arguments of `keygen`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
NAME.sec signs: keep it where packages are made, readable by its owner only, with a copy offline.
NAME.pub goes to every node that is to take the packages: /etc/changeover/trust.d/NAME.pub. Its
lines `packages:` and `expires:` say what the node trusts it for; they are the node's to change.
Renamed to NAME.revoked there, it ends the trust.

Both are files of signify(1); docs/signing.md tells how keys are changed and revoked.")]
pub struct KeygenArgs {
    /// Where the key is to be: NAME.sec and NAME.pub are made
    #[arg(value_name = "NAME")]
    name: PathBuf,
    /// Whose key it is, for people
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// What it is for: patterns of package names, such as `lib*`
    #[arg(long, value_name = "PATTERN")]
    packages: Vec<String>,
    /// Its last day, such as 2027-12-31
    #[arg(long, value_name = "DATE")]
    expires: Option<Expiry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Made {
    key: KeyId,
    secret: PathBuf,
    public: PathBuf,
}

/// Runs it.
pub fn run(args: &KeygenArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gave no randomness")?;
    let comment = args.comment.clone().unwrap_or_else(|| {
        let name = args.name.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    });
    let key = SecretKey::new(&random, &comment);
    let public = public_text(args, &key)?;
    let made = Made {
        key: key.public().id(),
        secret: with_extension(&args.name, "sec"),
        public: with_extension(&args.name, "pub"),
    };
    let again =
        |error| CommandError::from(error).hint("a key is never written over: give it another name");
    if made.public.exists() {
        let taken = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        let text = format!("{} is there already", made.public.display());
        return Err(again(anyhow::Error::new(taken).context(text)));
    }
    write_new(&made.secret, 0o600, &key.to_text()).map_err(|error| again(error.into()))?;
    write_new(&made.public, 0o644, &public).map_err(|error| again(error.into()))?;
    show.told(&made, |look| text(&made, look))?;
    Ok(Outcome::Done)
}

/// The public file, which must be one that a node would trust.
fn public_text(args: &KeygenArgs, key: &SecretKey) -> Result<String, CommandError> {
    let mut text = key.public().to_text();
    if !args.packages.is_empty() {
        add(
            &mut text,
            format_args!("packages: {}\n", args.packages.join(" ")),
        );
    }
    if let Some(expires) = &args.expires {
        add(&mut text, format_args!("expires: {expires}\n"));
    }
    Trusted::parse("", &text).map_err(|error| CommandError::usage(error.to_string()))?;
    Ok(text)
}

/// `NAME.sec`; a dot in the name is not an extension.
fn with_extension(name: &Path, extension: &str) -> PathBuf {
    let mut text = name.as_os_str().to_owned();
    text.push(".");
    text.push(extension);
    text.into()
}

fn text(made: &Made, look: Look) -> String {
    format!(
        "{} key {}\n  {}  signs; keep it secret\n  {}  for {}\n",
        look.good("made"),
        look.strong(made.key),
        made.secret.display(),
        made.public.display(),
        look.faint("/etc/changeover/trust.d of every node that is to take its packages"),
    )
}
