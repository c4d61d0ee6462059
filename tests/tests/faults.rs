//! A walk over the fault points: a daemon is killed at each of them, another one is started, and the
//! node must be wholly in the old or wholly in the new state; then what was asked for is done again.
//!
//! A clean run of each operation lists the points that it passes. `CHANGEOVER_FAULT_POINTS` says how
//! many of all these are taken (`all`, or a number: so many, chosen by the seed that is printed).
//! `CHANGEOVER_FAULT_ONLY` takes those whose line has this text.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use tests::house::{BAD, Before, Dice, Goods, House, Plan, ended};
use tests::node::{Node, list};
use tests::steer::{Point, Steer};
use tests::wait;

/// How many points a run without [`POINTS`] takes.
const FEW: usize = 12;
/// The environment variable that says how many.
const POINTS: &str = "CHANGEOVER_FAULT_POINTS";

const TRIAL: &[&str] = &[
    "activate",
    "--yes",
    "--trial",
    "--with-config",
    "libanswer=2",
];

/// What is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Activate,
    Deactivate,
    /// The new version does not come up.
    RollBackByItself,
    RollBack,
    /// A change that the next boot forgets.
    Trial,
    /// What makes it stay.
    Commit,
    Add,
    /// With what nobody needs any more.
    Remove,
}

impl Operation {
    const ALL: [Self; 8] = [
        Self::Activate,
        Self::Deactivate,
        Self::RollBackByItself,
        Self::RollBack,
        Self::Trial,
        Self::Commit,
        Self::Add,
        Self::Remove,
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::RollBackByItself => "rollback by itself",
            Self::RollBack => "rollback",
            Self::Trial => "trial",
            Self::Commit => "commit",
            Self::Add => "add",
            Self::Remove => "remove",
        })
    }
}

struct Walk {
    house: House,
    steer: Steer,
    extra: PathBuf,
}

impl Walk {
    fn start() -> Result<Self> {
        let plan = Plan {
            versions: 2,
            told: true,
        };
        let goods = Goods::build(plan)?;
        let extra = goods.extra(1)?;
        let steer = Steer::new()?;
        let house = goods.move_in(node(&steer)?)?;
        let walk = Self {
            house,
            steer,
            extra,
        };
        // From here on each change makes a generation superfluous.
        for version in [2, 1, 2, 1, 2, 1] {
            walk.set_active(version)?;
        }
        Ok(walk)
    }

    /// Another node, where the last one is not to be trusted any more.
    fn start_anew(self) -> Result<Self> {
        let Self {
            house,
            steer,
            extra,
        } = self;
        let house = house.move_out().move_in(node(&steer)?)?;
        Ok(Self {
            house,
            steer,
            extra,
        })
    }

    fn set_active(&self, version: u64) -> Result<()> {
        if self.house.active()? == version {
            return Ok(());
        }
        let report = self
            .house
            .node
            .activate(&[&format!("libanswer={version}")])?;
        ensure!(report["outcome"] == "done", "{report}");
        Ok(())
    }

    fn has_extra(&self) -> Result<bool> {
        let packages = self.house.node.json(&["list"])?;
        let text = packages.to_string();
        Ok(text.contains("\"extra"))
    }

    fn words(&self, operation: Operation) -> Vec<String> {
        let bad = format!("libanswer={BAD}");
        let words: &[&str] = match operation {
            Operation::Activate => &["activate", "--yes", "libanswer=2"],
            Operation::Deactivate => &["deactivate", "--yes", "libanswer=2"],
            Operation::RollBackByItself => &["activate", "--yes", &bad],
            Operation::RollBack => &["rollback", "--yes"],
            Operation::Trial => TRIAL,
            Operation::Commit => &["commit"],
            Operation::Add => &["add", &self.extra.to_string_lossy()],
            Operation::Remove => &["remove", "extra"],
        };
        let words = ["--json"].iter().chain(words);
        words.map(|word| (*word).to_owned()).collect()
    }

    fn is_trial(&self) -> Result<bool> {
        Ok(self.house.node.json(&["status"])?["trial"] == true)
    }

    /// Makes the node as it is to be before the operation.
    fn prepare(&self, operation: Operation) -> Result<Before> {
        if self.is_trial()? && operation != Operation::Commit {
            self.house.node.ok(&["pkgtool", "rollback", "--yes"])?;
        }
        match operation {
            Operation::Activate | Operation::Trial => self.set_active(1)?,
            // What is gone back to is what was replaced.
            Operation::Deactivate => self.set_active(2)?,
            Operation::RollBack => {
                self.set_active(1)?;
                self.set_active(2)?;
            }
            Operation::RollBackByItself => {}
            Operation::Commit if self.is_trial()? => {}
            Operation::Commit => {
                self.set_active(1)?;
                self.house.node.json(TRIAL)?;
            }
            Operation::Add => {
                if self.has_extra()? {
                    self.house.node.ok(&["pkgtool", "remove", "extra"])?;
                }
            }
            Operation::Remove => self.house.node.add(&[&self.extra])?,
        }
        let now = self.house.active()?;
        self.house.before(match operation {
            Operation::Activate | Operation::Trial => 2,
            Operation::Deactivate | Operation::RollBack => 1,
            Operation::RollBackByItself
            | Operation::Add
            | Operation::Remove
            | Operation::Commit => now,
        })
    }

    fn run(&self, operation: Operation) -> Result<()> {
        let words = self.words(operation);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ended(&mut self.house.begin_command(&words)?)
    }

    /// Has the act at this point fail; with `stays` every later one too. It is told, or it did no
    /// harm; and when it is over, the node comes by itself to one whole state that nothing is said
    /// against, from which everything goes on. Only a program that could not be started on the way
    /// back is restarted by hand.
    fn fail(
        &mut self,
        operation: Operation,
        point: &Point,
        (error, stays): (i32, bool),
    ) -> Result<()> {
        let before = self.prepare(operation).context("before it")?;
        self.steer.fail(point, error, stays)?;
        let words = self.words(operation);
        let all: Vec<&str> = ["pkgtool"]
            .into_iter()
            .chain(words.iter().map(String::as_str))
            .collect();
        let output = self.house.node.run(&all)?;
        self.steer.withdraw()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        if output.status.code() == Some(9) && !said.contains(r#""unfinished":true"#) {
            self.restart_failed()?;
        }
        let happened = (self.house.settle(&before)).with_context(|| format!("said: {said}"))?;
        self.is_content().with_context(|| format!("said: {said}"))?;
        let named = std::io::Error::from_raw_os_error(error).to_string();
        let told = said.contains(&named);
        // The one that comes back by itself says why: that a program did not come up.
        let usual = operation == Operation::RollBackByItself && output.status.code() == Some(7);
        ensure!(
            output.status.success() || told || usual,
            "{named:?} is not told: {}: {said}",
            output.status
        );
        self.again(operation, happened).context("again")
    }

    /// Starts what sysmgrd was not able to start when everything else had gone back: that is told
    /// with exit code 9, and is all that is left to be done.
    fn restart_failed(&self) -> Result<()> {
        for process in list(&self.house.node.json(&["ps"])?)? {
            if process["state"] == "failed" {
                let name = process["name"].as_str().context("a name")?;
                self.house.node.ok(&["pkgtool", "restart", name])?;
            }
        }
        Ok(())
    }

    /// Waits until the node has nothing to say against itself.
    fn is_content(&self) -> Result<()> {
        let said = RefCell::new(String::new());
        let found = wait::until("no discrepancy is left", || {
            let status = self.house.node.json(&["status"])?;
            let none = list(&status["discrepancies"]).is_ok_and(Vec::is_empty);
            *said.borrow_mut() = status["discrepancies"].to_string();
            Ok((none && status["change"].is_null()).then_some(()))
        });
        found.with_context(|| said.take())
    }

    /// The operation must be possible, and have its effect, now.
    fn again(&self, operation: Operation, happened: bool) -> Result<()> {
        let words = self.words(operation);
        let all: Vec<&str> = ["pkgtool"]
            .into_iter()
            .chain(words.iter().map(String::as_str))
            .collect();
        match operation {
            // It has happened, and so it cannot again.
            Operation::Deactivate | Operation::RollBack if happened => return Ok(()),
            Operation::Remove if !self.has_extra()? => return Ok(()),
            Operation::RollBackByItself => drop(self.house.node.fails(7, &all)?),
            Operation::Activate
            | Operation::Deactivate
            | Operation::RollBack
            | Operation::Trial
            | Operation::Commit
            | Operation::Add
            | Operation::Remove => drop(self.house.node.ok(&all)?),
        }
        let active = self.house.active()?;
        let right = match operation {
            Operation::Activate => active == 2,
            Operation::Trial => active == 2 && self.is_trial()?,
            Operation::Commit => active == 2 && !self.is_trial()?,
            Operation::Deactivate | Operation::RollBack => active == 1,
            Operation::RollBackByItself => active != BAD,
            Operation::Add => self.has_extra()?,
            Operation::Remove => !self.has_extra()?,
        };
        ensure!(right, "done again, it has no effect: {active}");
        Ok(())
    }

    /// The points that the operation passes when nothing goes wrong.
    fn points(&mut self, operation: Operation) -> Result<Vec<Point>> {
        self.prepare(operation)?;
        self.steer.record()?;
        self.run(operation)?;
        self.steer.recorded()
    }

    /// Interrupts the operation here; whether it came here.
    fn visit(&mut self, operation: Operation, point: &Point) -> Result<bool> {
        let before = self.prepare(operation).context("before it")?;
        self.steer.abort(point)?;
        self.run(operation)?;
        let came = self.steer.withdraw()?;
        let happened = self.house.settle(&before)?;
        self.again(operation, happened).context("again")?;
        Ok(came)
    }
}

fn node(steer: &Steer) -> Result<Node> {
    Node::start_within(steer.wrapper(), &["--restart-daemons"])
}

/// As many of `all` as are asked for.
fn chosen(mut all: Vec<(Operation, Point)>) -> Result<Vec<(Operation, Point)>> {
    if let Ok(text) = std::env::var("CHANGEOVER_FAULT_ONLY") {
        all.retain(|(operation, point)| format!("{operation}: {point}").contains(&text));
    }
    let few = match std::env::var(POINTS).as_deref() {
        Ok("all") => return Ok(all),
        Ok(number) => number.parse().context(POINTS)?,
        Err(_) => FEW,
    };
    let mut dice = Dice::new()?;
    while all.len() > few {
        all.remove(dice.below(all.len()));
    }
    Ok(all)
}

#[expect(
    clippy::print_stderr,
    reason = "how many points there are is what one wants to know"
)]
#[test]
fn a_daemon_killed_at_a_fault_point_leaves_one_whole_state() -> Result<()> {
    let mut walk = Walk::start()?;
    let mut all = Vec::new();
    for operation in Operation::ALL {
        let points = walk.points(operation)?;
        eprintln!("{operation}: {} points", points.len());
        all.extend(points.into_iter().map(|point| (operation, point)));
    }
    let there = all.len();
    let chosen = chosen(all)?;
    let (mut missed, mut failed) = (0, Vec::new());
    for (operation, point) in &chosen {
        let began = std::time::Instant::now();
        match walk.visit(*operation, point) {
            Ok(came) => {
                let took = began.elapsed().as_millis();
                let note = if came { "" } else { ", not passed this time" };
                eprintln!("{operation}: {point}: {took} ms{note}");
                missed += usize::from(!came);
            }
            Err(error) => {
                eprintln!("FAILED {operation}: {point}: {error:#}");
                failed.push(format!("{operation}: {point}: {error:#}"));
                walk.house.node.show_logs();
                walk = walk.start_anew()?;
            }
        }
    }
    let taken = chosen.len();
    eprintln!(
        "{taken} of {there} points walked, {missed} not passed, {} failed",
        failed.len()
    );
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    ensure!(
        missed * 5 <= taken,
        "{missed} of {taken} points were not passed"
    );
    Ok(())
}

/// ENOSPC, EIO, EROFS.
const ERRORS: [i32; 3] = [28, 5, 30];

#[expect(
    clippy::print_stderr,
    reason = "how many points there are is what one wants to know"
)]
#[test]
fn an_error_of_the_storage_is_told_and_leaves_one_whole_state() -> Result<()> {
    let mut walk = Walk::start()?;
    let mut all = Vec::new();
    for operation in Operation::ALL {
        let points = walk.points(operation)?.into_iter();
        let can_fail = points.filter(|point| point.name.starts_with("before "));
        all.extend(can_fail.map(|point| (operation, point)));
    }
    let there = all.len();
    let chosen = chosen(all)?;
    let mut failed = Vec::new();
    for (number, (operation, point)) in chosen.iter().enumerate() {
        let error = ERRORS[number % ERRORS.len()];
        let stays = number % 2 == 1;
        let what = format!("{operation}: error {error}, stays: {stays}: {point}");
        match walk.fail(*operation, point, (error, stays)) {
            Ok(()) => eprintln!("{what}"),
            Err(wrong) => {
                eprintln!("FAILED {what}: {wrong:#}");
                failed.push(format!("{what}: {wrong:#}"));
                walk.house.node.show_logs();
                walk = walk.start_anew()?;
            }
        }
    }
    eprintln!(
        "{} of {there} points failed on order, {} wrong",
        chosen.len(),
        failed.len()
    );
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}
