//! `pkgtool inspect`: what is in a package, or what differs between two.

mod contents;
mod differ;
mod elf;
mod graph;
mod layout;
mod package;
mod svg;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

use self::contents::Contents;

pub(crate) use self::package::count as plural;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The package
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Another one: show what differs in it
    #[arg(value_name = "NEW", conflicts_with_all = ["files", "elf", "graph"])]
    pub new: Option<PathBuf>,
    /// List every file, however many there are
    #[arg(long)]
    pub files: bool,
    /// Show the ELF analysis of each file whose path contains TEXT
    #[arg(long, value_name = "TEXT", num_args = 0..=1, default_missing_value = "")]
    pub elf: Option<String>,
    /// Draw which process uses which library
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub graph: Option<GraphFormat>,
    /// Decompress every object and check its digest
    #[arg(long)]
    pub verify: bool,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For Graphviz
    Dot,
    /// For a browser
    Svg,
}

/// Runs it.
pub fn run(args: &InspectArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let contents = Contents::read(&args.file, args.verify)?;
    if let Some(new) = &args.new {
        let new = Contents::read(new, args.verify)?;
        let report = differ::compare(&contents, &new)?;
        show.answer(&report, |look| differ::text(&report, look))?;
        return Ok(Outcome::Done);
    }
    match args.graph {
        Some(format) => {
            let graph = graph::of(contents.packages.iter().map(|package| &package.manifest));
            show.text(&match format {
                GraphFormat::Dot => graph::dot(&graph),
                GraphFormat::Svg => svg::draw(&graph),
            })?;
        }
        None => show.answer(&contents.document(), |look| {
            let asked = package::Asked {
                files: args.files,
                elf: args.elf.as_deref(),
            };
            package::text(&contents, &asked, look)
        })?,
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests;
