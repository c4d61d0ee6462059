//! `fleet assign`: what is intended. No node is touched by it.

use std::str::FromStr;

use clap::Args;
use model::change::PackageRef;
use model::wire::{Assignment, BootGate, FleetName, StorePolicy};
use model::{PackageName, Span};

use super::strategy::millis;
use crate::fleet::Master;
use crate::fleet::scope::{self, ScopeText};
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `fleet assign`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The narrowest scope counts: node, location, class, type, fleet. Nothing changes on a node until
`pkgtool fleet update`.")]
pub struct AssignArgs {
    /// `fleet`, or type/NAME, class/NAME, location/NAME, node/NAME
    scope: ScopeText,
    /// Packages to assign, NAME or NAME=VERSION; another version of the name leaves
    packages: Vec<PackageRef>,
    /// Take this package out of the scope's assignment
    #[arg(long, value_name = "NAME")]
    drop: Vec<PackageName>,
    /// Nodes of this scope do not get this package, whatever a wider scope says
    #[arg(long, value_name = "NAME")]
    without: Vec<PackageName>,
    /// Nodes of this scope have this feature: a role
    #[arg(long, value_name = "NAME")]
    feature: Vec<FleetName>,
    /// Take this feature away again
    #[arg(long, value_name = "NAME")]
    drop_feature: Vec<FleetName>,
    /// What is kept on nodes: keep, or memory (loaded at each boot)
    #[arg(long, value_name = "WHAT")]
    store: Option<StoreText>,
    /// What a boot does while the master is away: run, wait, or wait=SPAN
    #[arg(long, value_name = "WHAT")]
    boot_gate: Option<GateText>,
    /// Begin with nothing instead of what is assigned now
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct StoreText(StorePolicy);

impl StoreText {
    pub(super) fn policy(self) -> StorePolicy {
        self.0
    }
}

impl FromStr for StoreText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(Self(StorePolicy::Keep)),
            "memory" => Ok(Self(StorePolicy::Memory)),
            _ => Err(format!("{text:?} is neither keep nor memory")),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct GateText(BootGate);

impl FromStr for GateText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let timeout_ms = match text.split_once('=') {
            None if text == "run" => return Ok(Self(BootGate::Run)),
            None if text == "wait" => None,
            Some(("wait", span)) => {
                let span: Span = span.parse().map_err(|error| format!("{error}"))?;
                Some(millis(span))
            }
            Some(_) | None => return Err(format!("{text:?} is neither run nor wait[=SPAN]")),
        };
        Ok(Self(BootGate::Wait { timeout_ms }))
    }
}

/// Runs it.
pub fn run(args: &AssignArgs, master: &Master, show: &mut Show) -> Result<Outcome, CommandError> {
    let path = format!("/v1/assign/{}", scope::text(&args.scope.0));
    let now: Assignment = master.get(&path)?;
    let next = edited(args, &now);
    if next == now {
        show.answer(&now, |look| {
            render::fleet::lists::assignment(&args.scope.0, &now, look)
        })?;
        return Ok(Outcome::Done);
    }
    let _kept: serde_json::Value = master.put(&path, &next)?;
    show.told(&next, |look| {
        render::fleet::lists::assignment(&args.scope.0, &next, look)
    })?;
    show.note("no node is touched by this: pkgtool fleet update");
    Ok(Outcome::Done)
}

/// The assignment with these edits.
fn edited(args: &AssignArgs, now: &Assignment) -> Assignment {
    let mut next = if args.replace {
        Assignment::default()
    } else {
        now.clone()
    };
    next.packages
        .retain(|package| !args.drop.contains(&package.name));
    for package in &args.packages {
        let same = |one: &&mut PackageRef| one.name == package.name;
        match next.packages.iter_mut().find(same) {
            Some(place) => *place = package.clone(),
            None => next.packages.push(package.clone()),
        }
    }
    let assigned: Vec<PackageName> = (args.packages.iter())
        .map(|package| package.name.clone())
        .collect();
    next.without
        .retain(|name| !args.drop.contains(name) && !assigned.contains(name));
    for name in &args.without {
        next.packages.retain(|package| package.name != *name);
        if !next.without.contains(name) {
            next.without.push(name.clone());
        }
    }
    next.features
        .retain(|feature| !args.drop_feature.contains(feature));
    for feature in &args.feature {
        if !next.features.contains(feature) {
            next.features.push(feature.clone());
        }
    }
    next.store = args.store.map(|text| text.0).or(next.store);
    next.boot_gate = args.boot_gate.map(|text| text.0).or(next.boot_gate);
    next
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        assign: AssignArgs,
    }

    fn assign(line: &str, now: &Assignment) -> Assignment {
        let words = std::iter::once("x").chain(line.split_whitespace());
        edited(&Line::parse_from(words).assign, now)
    }

    fn names(assignment: &Assignment) -> String {
        let texts: Vec<String> = (assignment.packages.iter())
            .map(ToString::to_string)
            .collect();
        texts.join(" ")
    }

    #[test]
    fn another_version_takes_the_place_of_the_one_before() {
        let now = assign("fleet a=1 b", &Assignment::default());
        assert_eq!(names(&assign("fleet a=2 c", &now)), "a=2 b c");
        assert_eq!(names(&assign("fleet --drop a", &now)), "b");
        assert_eq!(names(&assign("fleet --replace d", &now)), "d");
    }

    #[test]
    fn what_is_left_out_is_not_assigned_as_well() {
        let now = assign("class/x a b", &Assignment::default());
        let without = assign("class/x --without a", &now);
        assert_eq!(names(&without), "b");
        assert_eq!(without.without, ["a".parse().unwrap()]);
        let again = assign("class/x a=3", &without);
        assert_eq!((names(&again).as_str(), again.without.len()), ("b a=3", 0));
        let dropped = assign("class/x --drop a", &without);
        assert!(dropped.without.is_empty());
    }

    #[test]
    fn roles_come_and_go_and_no_edit_changes_nothing() {
        let now = assign(
            "node/n1 --feature gateway --store memory --boot-gate wait=30s",
            &Assignment::default(),
        );
        assert_eq!(now.store, Some(StorePolicy::Memory));
        let timeout_ms = Some(30_000);
        assert_eq!(now.boot_gate, Some(BootGate::Wait { timeout_ms }));
        assert_eq!(assign("node/n1", &now), now);
        assert_eq!(assign("node/n1 --feature gateway", &now), now);
        let gone = assign("node/n1 --drop-feature gateway", &now);
        assert!(gone.features.is_empty());
    }
}
