//! What an update would do.

use std::collections::BTreeMap;

use model::wire::{FleetPlan, PlannedNode};

use super::super::{add, count, heading, wrap};
use crate::show::Look;

/// Names of nodes that are told of one change.
const MOST_NAMES: usize = 12;

/// A wave, and what comes and leaves in it.
type Change<'a> = (u32, &'a [String], &'a [String]);

/// Nodes that come to the same by the same packages are told together.
pub fn plan(plan: &FleetPlan, look: Look) -> String {
    let mut out = String::new();
    let mut groups: BTreeMap<Change<'_>, Vec<&PlannedNode>> = BTreeMap::new();
    let mut out_of_it: BTreeMap<&str, Vec<&PlannedNode>> = BTreeMap::new();
    for node in &plan.nodes {
        match &node.left_out {
            Some(why) => out_of_it.entry(why).or_default().push(node),
            None => groups
                .entry((node.wave, &node.comes, &node.leaves))
                .or_default()
                .push(node),
        }
    }
    if groups.is_empty() {
        out.push_str("nothing changes on any node\n");
    }
    for ((wave, comes, leaves), nodes) in &groups {
        let mut head = count(nodes.len(), "node", "nodes");
        if plan.waves > 1 {
            head = format!("{head}, wave {} of {}", wave + 1, plan.waves);
        }
        heading(look, &head, &mut out);
        add(&mut out, format_args!("  {}\n", names(nodes, look)));
        changes(comes, leaves, look, &mut out);
    }
    for (why, nodes) in &out_of_it {
        heading(look, &format!("Left out: {why}"), &mut out);
        add(&mut out, format_args!("  {}\n", names(nodes, look)));
    }
    let away: Vec<&PlannedNode> = (plan.nodes.iter())
        .filter(|node| !node.connected && node.left_out.is_none())
        .collect();
    if !away.is_empty() {
        let (sign, names) = (look.notable('!'), names(&away, look));
        add(&mut out, format_args!("\n{sign} away now: {names}\n"));
    }
    for one in &plan.notes {
        add(&mut out, format_args!("\n{} {one}\n", look.notable('!')));
    }
    if !plan.discrepancies.is_empty() {
        heading(look, "Not met", &mut out);
    }
    for one in &plan.discrepancies {
        add(&mut out, format_args!("  {} {one}\n", look.bad('✗')));
    }
    out
}

fn names(nodes: &[&PlannedNode], look: Look) -> String {
    let mut texts: Vec<String> = (nodes.iter().take(MOST_NAMES))
        .map(|node| node.node.to_string())
        .collect();
    if nodes.len() > MOST_NAMES {
        texts.push(format!("and {} more", nodes.len() - MOST_NAMES));
    }
    wrap(&texts, ", ", 2, look)
}

/// A name that leaves in one version and comes in another is one line.
fn changes(comes: &[String], leaves: &[String], look: Look, out: &mut String) {
    let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let version = |text: &str| {
        text.split_once('=')
            .map_or("", |(_, version)| version)
            .to_owned()
    };
    for one in comes {
        let before = leaves.iter().find(|other| name(other) == name(one));
        match before {
            Some(before) => add(
                out,
                format_args!(
                    "  {} {}  {} → {}\n",
                    look.notable('~'),
                    name(one),
                    version(before),
                    version(one)
                ),
            ),
            None => add(
                out,
                format_args!("  {} {}  {}\n", look.good('+'), name(one), version(one)),
            ),
        }
    }
    for one in leaves {
        if !comes.iter().any(|other| name(other) == name(one)) {
            let (sign, name, version) = (look.bad('-'), name(one), version(one));
            add(out, format_args!("  {sign} {name}  {version}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::Digest;

    use super::*;

    fn node(name: &str, wave: u32, comes: &[&str], leaves: &[&str]) -> PlannedNode {
        let texts = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        PlannedNode {
            node: name.parse().unwrap(),
            wave,
            connected: true,
            base: None,
            target: Digest::of(b"x"),
            comes: texts(comes),
            leaves: texts(leaves),
            left_out: None,
        }
    }

    #[test]
    fn nodes_that_get_the_same_are_told_together() {
        let openssl = ["libssl3=3.0.22"];
        let mut quiet = node("edge9", 0, &[], &[]);
        quiet.left_out = Some("runs it already".to_owned());
        let mut away = node("edge2", 1, &openssl, &["libssl3=3.0.20"]);
        away.connected = false;
        let all = FleetPlan {
            nodes: vec![
                node("edge1", 0, &openssl, &["libssl3=3.0.20"]),
                away,
                node("edge3", 1, &openssl, &["libssl3=3.0.20"]),
                node("router1", 1, &["fwd=2", "ribd=1"], &["old=1"]),
                quiet,
            ],
            waves: 2,
            discrepancies: vec![
                "router1 (ribd=1) needs fwd >= 2.1 on every node of class line-card: card3 has 2.0"
                    .to_owned(),
            ],
            notes: vec!["edge7 runs nothing, and nothing is assigned to it".to_owned()],
        };
        assert_snapshot!(plan(&all, Look::plain(80)), @r"
        1 node, wave 1 of 2
          edge1
          ~ libssl3  3.0.20 → 3.0.22

        1 node, wave 2 of 2
          router1
          + fwd  2
          + ribd  1
          - old  1

        2 nodes, wave 2 of 2
          edge2, edge3
          ~ libssl3  3.0.20 → 3.0.22

        Left out: runs it already
          edge9

        ! away now: edge2

        ! edge7 runs nothing, and nothing is assigned to it

        Not met
          ✗ router1 (ribd=1) needs fwd >= 2.1 on every node of class line-card: card3 has 2.0
        ");
    }

    #[test]
    fn a_plan_that_changes_nothing_says_so() {
        assert_eq!(
            plan(&FleetPlan::default(), Look::plain(80)),
            "nothing changes on any node\n"
        );
    }
}
