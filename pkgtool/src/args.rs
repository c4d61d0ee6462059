//! The command line, as clap sees it; nothing here acts.

use clap::{Args, Parser, ValueEnum};

use crate::commands::Command;

/// Installs software on running machines and changes it over without rebooting and without
/// guessing.
#[derive(Debug, Parser)]
#[command(
    name = "pkgtool",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_long_help = EXIT_CODES)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing that was not asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
    /// D-Bus address of the node to speak with; the system bus where absent
    #[arg(
        long,
        global = true,
        env = "CHANGEOVER_BUS",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    pub bus: Option<String>,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, nothing changed
  2  wrong usage
  3  vetoed by a process, nothing changed
  4  dependencies unmet, nothing changed
  5  busy: another change is running
  6  not allowed
  7  failed and rolled back
  8  failed and kept
  9  rollback failed";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        for command in Cli::command().get_subcommands() {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(about.len() > 10, "{}", command.get_name());
            let options = command.get_arguments().filter(|one| !one.is_hide_set());
            for option in options {
                let help = option
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    !help.is_empty(),
                    "{} {}",
                    command.get_name(),
                    option.get_id()
                );
            }
        }
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in ["pkgtool --json ps", "pkgtool ps --json"] {
            assert!(Cli::parse_from(line.split(' ')).global.json, "{line}");
        }
        let exec = Cli::parse_from(["pkgtool", "exec", "ls", "--json", "-q"]);
        assert!(
            !exec.global.json,
            "options behind the command are the command's own"
        );
    }
}
