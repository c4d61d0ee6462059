//! `pkgtool apply`: a batch of activations and deactivations from a file.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use model::change::Action;
use serde::Deserialize;

use super::change::{ChangeArgs, carry_out};
use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
A batch is lines of `activate NAME[=VERSION] …` and `deactivate NAME[=VERSION] …`, with comments
after `#`; or, in a file that ends in .toml:

    activate = [\"nginx\", \"libssl3=3.0.22\"]
    deactivate = [\"old\"]

All of it is one change.")]
pub struct ApplyArgs {
    /// The batch; `-` reads it from standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to go about it.
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs it.
pub fn run(args: &ApplyArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    carry_out(read(&args.file)?, &args.change, node, show)
}

/// Reads a batch.
pub fn read(file: &Path) -> Result<Vec<Action>, CommandError> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("standard input")?
    } else {
        fs_err::read_to_string(file)?
    };
    let toml = file
        .extension()
        .is_some_and(|extension| extension == "toml");
    let actions = if toml {
        from_toml(&text)
    } else {
        from_lines(&text)
    };
    let actions = actions.map_err(|error| {
        error
            .context(format!("{} is no batch", file.display()))
            .hint("lines of `activate NAME[=VERSION]` and `deactivate NAME[=VERSION]`")
    })?;
    if actions.is_empty() {
        return Err(CommandError::failed(format!(
            "{} asks for nothing",
            file.display()
        )));
    }
    Ok(actions)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    #[serde(default)]
    activate: Vec<model::change::PackageRef>,
    #[serde(default)]
    deactivate: Vec<model::change::PackageRef>,
}

fn from_toml(text: &str) -> Result<Vec<Action>, CommandError> {
    let batch: Batch = toml::from_str(text)?;
    let activate = batch.activate.into_iter().map(Action::Activate);
    Ok(activate
        .chain(batch.deactivate.into_iter().map(Action::Deactivate))
        .collect())
}

/// All that is wrong with it is said at once, each with its line.
fn from_lines(text: &str) -> Result<Vec<Action>, CommandError> {
    let mut actions = Vec::new();
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let action = match words.next() {
            None => continue,
            Some("activate") => Action::Activate,
            Some("deactivate") => Action::Deactivate,
            Some(other) => {
                wrong.push(format!("line {}: {other:?} is not an action", number + 1));
                continue;
            }
        };
        let mut named = false;
        for word in words {
            named = true;
            match word.parse() {
                Ok(package) => actions.push(action(package)),
                Err(error) => wrong.push(format!("line {}: {error}", number + 1)),
            }
        }
        if !named {
            wrong.push(format!("line {}: no package is named", number + 1));
        }
    }
    if wrong.is_empty() {
        Ok(actions)
    } else {
        Err(CommandError::failed(wrong.join("\n  ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::history::actions;

    #[test]
    fn a_batch_of_lines_keeps_its_order() {
        let text = "# both\nactivate a b=1:2-3\n\ndeactivate c # gone\nactivate d\n";
        let batch = from_lines(text).unwrap();
        assert_eq!(
            actions(&batch),
            "activate a b=1:2-3, deactivate c, activate d"
        );
    }

    #[test]
    fn everything_wrong_in_a_batch_is_said_with_its_line() {
        let error = from_lines("activate A\ninstall b\nactivate\n").unwrap_err();
        let text = error.error.to_string();
        for line in ["line 1: ", "line 2: \"install\"", "line 3: no package"] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_batch_in_toml_is_the_same() {
        let batch = from_toml("activate = ['a', 'b=2']\ndeactivate = ['c']\n").unwrap();
        assert_eq!(actions(&batch), "activate a b=2, deactivate c");
        assert!(from_toml("active = []").is_err());
    }
}
