//! `fleet import` and `fleet packages`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::change::PackageRef;
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
#[command(args_conflicts_with_subcommands = true)]
pub struct PackagesArgs {
    #[command(subcommand)]
    what: Option<PackagesCommand>,
    /// Only packages whose name has this in it
    name: Option<String>,
}

#[derive(Debug, Subcommand)]
enum PackagesCommand {
    /// Take a version away that nobody runs, wants or may go back to
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// NAME=VERSION
    #[arg(value_name = "NAME=VERSION")]
    package: PackageRef,
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
    if let Some(PackagesCommand::Remove(args)) = &args.what {
        return remove(&args.package, master, show);
    }
    let mut all: Vec<PackageView> = master.get("/v1/packages")?;
    if let Some(name) = &args.name {
        all.retain(|package| package.id.name.as_str().contains(name.as_str()));
    }
    let now = jiff::Timestamp::now();
    show.answer(&all, |look| render::fleet::lists::packages(&all, now, look))?;
    Ok(Outcome::Done)
}

fn remove(package: &PackageRef, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    if package.version.is_none() {
        return Err(CommandError::usage(format!("{package} names no version"))
            .hint(format!("pkgtool fleet packages {package} lists them")));
    }
    let mut all: Vec<PackageView> = master.get("/v1/packages")?;
    let meant = |id: &model::PackageId| {
        id.name == package.name && Some(&id.version) == package.version.as_ref()
    };
    all.retain(|one| meant(&one.id));
    if all.is_empty() {
        return Err(CommandError::failed(format!("the master has no {package}"))
            .hint("pkgtool fleet packages"));
    }
    // One version may be there for several machines.
    for one in &all {
        master.delete(&format!("/v1/packages/{}", one.id))?;
    }
    let gone: Vec<_> = all.iter().map(|one| &one.id).collect();
    show.told(&gone, |_| {
        format!("{package} is gone; pkgtool fleet collect frees the disk\n")
    })?;
    Ok(Outcome::Done)
}
