//! `fleet import` and `fleet packages`.

use std::path::PathBuf;

use clap::Args;
use model::wire::{ImportedPackage, PackageView};

use crate::fleet::Master;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Packages (*.pkg) or composite images (*.image)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Name every file of every package, not only how many
    #[arg(long)]
    files_too: bool,
}

/// Arguments of `fleet packages`.
#[derive(Debug, Args)]
pub struct PackagesArgs {
    /// Only packages whose name has this in it
    name: Option<String>,
}

/// Runs `fleet import`.
pub fn run(args: &ImportArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let mut all: Vec<ImportedPackage> = Vec::new();
    for file in &args.files {
        let mut line = show.progress();
        let imported: Vec<ImportedPackage> = master
            .upload("/v1/import", file, &mut line)
            .map_err(|error| error.context(format!("could not import {}", file.display())))?;
        all.extend(imported);
    }
    show.told(&all, |look| {
        render::fleet::lists::imported(&all, args.files_too, look)
    })?;
    Ok(Outcome::Done)
}

/// Runs `fleet packages`.
pub fn packages(
    args: &PackagesArgs,
    master: &Master,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    let mut all: Vec<PackageView> = master.get("/v1/packages")?;
    if let Some(name) = &args.name {
        all.retain(|package| package.id.name.as_str().contains(name.as_str()));
    }
    let now = jiff::Timestamp::now();
    show.answer(&all, |look| render::fleet::lists::packages(&all, now, look))?;
    Ok(Outcome::Done)
}
