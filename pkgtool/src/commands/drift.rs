//! `pkgtool drift`: processes of this machine that run something else than what is on the disk.

use clap::Args;
use model::change::Progress;

use crate::drift::{How, report, scan};
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

const EXIT_CODES: &str = "\
Looks at every process of the machine, needs no package and no daemon, and changes nothing. Without
root it looks at the user's own processes only.

  changed    another program or library is at the path now
  deleted    nothing is there now
  unknown    another file is there, and the old bytes could not be read: that needs root
  rebuilt    other bytes of the same substance are there: nothing to restart for
  same       a byte-identical copy is there: nothing to restart for
  temporary  a library that a program made for itself and deleted

It cannot see what a process has read and not mapped: scripts, modules, classes, configuration.

Exit codes:
   0  no process runs anything that differs from what is on the disk
   1  failed
  10  a process runs something that was changed or deleted
  11  nothing known was changed, but something could not be told";

/// The exit code where something is to be restarted.
const DRIFT: u8 = 10;
/// The exit code where it could not be told whether something is.
const UNKNOWN: u8 = 11;

/// Arguments of `drift`.
#[derive(Debug, Args)]
#[command(after_long_help = EXIT_CODES)]
pub struct DriftArgs {
    /// List also what was only rebuilt or copied
    #[arg(short, long)]
    all: bool,
}

/// Runs it.
pub fn run(args: &DriftArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let mut line = show.progress();
    let began = std::time::Instant::now();
    let sights = scan::scan(|done, all| {
        // Who is ready within a second needs no line.
        if began.elapsed().as_millis() > 1_000 {
            line.step(&Progress {
                phase: "drift".to_owned(),
                what: "looking at processes".to_owned(),
                count: Some((done as u64, all as u64)),
            });
        }
    })?;
    line.clear();
    let report = report(sights);
    show.answer(&report, |look| {
        render::drift::drift(&report, args.all, look)
    })?;
    Ok(match report.how {
        Some(How::Changed | How::Deleted) => Outcome::Status(DRIFT),
        Some(How::Unknown) => Outcome::Status(UNKNOWN),
        Some(How::Rebuilt | How::Same | How::Temporary) | None => Outcome::Done,
    })
}
