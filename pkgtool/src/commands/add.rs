//! `pkgtool add`: packages into the node's store.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use model::change::AddedPackage;

use crate::node::{Address, Node};
use crate::outcome::{CommandError, Outcome};
use crate::render::lists;
use crate::show::Show;

/// Arguments of `add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Packages or sets of packages; `-` reads one from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take packages that no trusted key has signed; kept with them is who did so
    #[arg(long)]
    allow_unsigned: bool,
}

/// Runs it.
pub fn run(args: &AddArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let node = node.connect()?;
    let mut all = Vec::new();
    for file in &args.files {
        let added = add(&node, file, args.allow_unsigned, show).map_err(|error| {
            let error = error.context(format!("could not add {}", file.display()));
            if all.is_empty() {
                error
            } else {
                error.hint(format!(
                    "the {} files before it were added; give the rest again",
                    all.len()
                ))
            }
        })?;
        all.extend(added);
    }
    show.told(&all, |look| lists::added(&all, look))?;
    Ok(Outcome::Done)
}

fn add(
    node: &Node,
    file: &Path,
    allow_unsigned: bool,
    show: &Show,
) -> Result<Vec<AddedPackage>, CommandError> {
    let descriptor = open(file)?;
    let mut line = show.progress();
    node.ask_showing(
        async |installd| {
            if allow_unsigned {
                installd.add_unsigned(descriptor.into()).await
            } else {
                installd.add(descriptor.into()).await
            }
        },
        &mut line,
    )
}

fn open(file: &Path) -> Result<OwnedFd, CommandError> {
    if file.as_os_str() == "-" {
        let input = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned();
        return Ok(input.context("standard input")?);
    }
    let file = fs_err::File::open(file)?;
    if file.metadata()?.is_dir() {
        let what = format!("{} is a directory", file.path().display());
        return Err(CommandError::failed(what)
            .hint("name package files: pkgtool add DIR/*.pkg")
            .hint("or make a package: pkgtool build DIR/package.toml"));
    }
    let (file, _) = file.into_parts();
    Ok(file.into())
}
