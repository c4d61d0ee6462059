//! An update: its votes, its nodes, what can be decided.

use jiff::Timestamp;
use model::wire::{Choice, Decision, NodePhase, NodeRollout, Objection, Phase, RolloutView, Tally};

use super::super::{add, ago, count, heading, padded, widest};
use super::joined;
use crate::show::Look;

/// Nodes that are listed one by one; of more, those that need a look.
pub const MOST_NODES: usize = 40;

/// Reasons that are listed.
const MOST_REASONS: usize = 8;

/// `fleet updates`.
pub fn list(all: &[RolloutView], now: Timestamp, look: Look) -> String {
    if all.is_empty() {
        return String::new();
    }
    let row = |one: &RolloutView| {
        vec![
            one.id.to_string(),
            phase(one.phase, look),
            one.by.to_string(),
            ago(&one.began, now),
            votes(&one.tally),
            what(one),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let heads = ["update", "state", "by", "age", "votes", "what"];
    look.table(&heads, &["update", "age"], &rows)
}

/// An update on one line, as it changes.
pub fn line(view: &RolloutView) -> String {
    let paused = if view.paused { " (paused)" } else { "" };
    let mut text = format!("update {}: {}{paused}", view.id, view.phase);
    let counts = counts(view);
    if !counts.is_empty() {
        text = format!("{text}, {counts}");
    }
    match &view.detail {
        Some(detail) => format!("{text}: {detail}"),
        None => text,
    }
}

/// The first lines of an update.
pub fn head(view: &RolloutView, look: Look) -> String {
    let paused = if view.paused {
        look.notable(" (paused)")
    } else {
        String::new()
    };
    let number = look.strong(format_args!("update {}", view.id));
    let mut out = format!(
        "{number} {}{paused}: {}\n",
        phase(view.phase, look),
        meaning(view)
    );
    if let Some(detail) = &view.detail {
        add(&mut out, format_args!("  {detail}\n"));
    }
    add(&mut out, format_args!("  by {}: {}\n", view.by, what(view)));
    if view.wave.1 > 1 {
        let (wave, all) = view.wave;
        add(&mut out, format_args!("  wave {} of {all}\n", wave + 1));
    }
    out
}

/// `fleet show`: at most so many nodes.
pub fn rollout(view: &RolloutView, most: usize, look: Look) -> String {
    let mut out = head(view, look);
    for one in &view.discrepancies {
        add(&mut out, format_args!("  {} {one}\n", look.bad('✗')));
    }
    for one in &view.notes {
        add(&mut out, format_args!("  {} {one}\n", look.notable('!')));
    }
    tally(&view.tally, look, &mut out);
    nodes(view, most, look, &mut out);
    if !view.decisions.is_empty() {
        heading(look, "Decided", &mut out);
        for (by, decision) in &view.decisions {
            add(&mut out, format_args!("  {by}: {}\n", decided(decision)));
        }
    }
    if let Some(next) = next_step(view) {
        add(&mut out, format_args!("\n{next}\n"));
    }
    out
}

/// One screen of at most so many rows.
pub fn live(view: &RolloutView, rows: usize, look: Look) -> String {
    let mut out = head(view, look);
    let all = view.nodes.len();
    let ended = view.nodes.iter().filter(|node| is_settled(&node.phase));
    let ended = ended.count();
    add(&mut out, format_args!("  {}\n", bar(ended, all, look)));
    tally(&view.tally, look, &mut out);
    let left = rows.saturating_sub(out.lines().count() + 3);
    nodes(view, left.max(3), look, &mut out);
    out
}

/// The four buttons and the fifth.
pub fn buttons(view: &RolloutView, look: Look) -> String {
    let accept = view.tally.accept;
    let objecting: Vec<String> = (view.nodes.iter())
        .filter(|node| is_objecting(&node.phase))
        .take(6)
        .map(|node| node.node.to_string())
        .collect();
    let names = joined(&objecting, " ");
    let key = |number: char| look.strong(number);
    let accepting = count(accept as usize, "node", "nodes");
    format!(
        "\n  {}  only those that accept: {accepting}\n  {}  those, and against their veto: {} NODE…  ({names})\n  {}  all, whatever they object\n  {}  none: nothing is touched\n  {}  ask again those that objected or were away\n",
        key('1'),
        key('2'),
        key('2'),
        key('3'),
        key('4'),
        key('5'),
    )
}

fn phase(phase: Phase, look: Look) -> String {
    match phase {
        Phase::Done => look.good(phase),
        Phase::Held | Phase::Stopped | Phase::Partial | Phase::Trial | Phase::Approval => {
            look.notable(phase)
        }
        Phase::Aborted | Phase::TakenBack | Phase::TakingBack => look.bad(phase),
        Phase::Asking | Phase::Rolling | Phase::Soaking | Phase::Superseded => look.strong(phase),
    }
}

fn meaning(view: &RolloutView) -> &'static str {
    let begun = (view.nodes.iter()).any(|node| matters(&node.phase));
    match view.phase {
        Phase::Approval => "another operator has to agree",
        Phase::Asking => "nodes plan and vote, nothing is touched",
        Phase::Held if begun => "not all accept; nothing more is touched until somebody decides",
        Phase::Held => "not all accept; nothing is touched until somebody decides",
        Phase::Rolling => "nodes change over",
        Phase::Soaking => "a wave is done, the next waits",
        Phase::Stopped => "more failed than may; somebody has to decide",
        Phase::TakingBack => "what was done is being taken back",
        Phase::Trial => "all that take part run it as a trial",
        Phase::Done => "every node that takes part runs it",
        Phase::Aborted => "nothing was touched",
        Phase::Partial => "some nodes run it, some do not",
        Phase::TakenBack => "all run what they ran before",
        Phase::Superseded => "another update has taken its place",
    }
}

/// What was asked for, in a few words.
fn what(view: &RolloutView) -> String {
    let update = &view.update;
    let mut parts = Vec::new();
    if let Some(id) = update.back_from {
        parts.push(format!("back from update {id}"));
    }
    if let Some(image) = &update.image {
        parts.push(format!("image {image}"));
    }
    if !update.packages.is_empty() {
        parts.push(joined(&update.packages, " "));
    }
    parts.extend(update.remove.iter().map(|name| format!("without {name}")));
    if parts.is_empty() {
        parts.push("what is assigned".to_owned());
    }
    if !update.reason.is_empty() {
        parts.push(format!("({})", update.reason));
    }
    parts.join(" ")
}

/// `3 accept, 1 veto`.
fn votes(tally: &Tally) -> String {
    let all = [
        (tally.accept, "accept"),
        (tally.veto, "veto"),
        (tally.later, "later"),
        (tally.absent, "absent"),
        (tally.failed, "cannot"),
        (tally.open, "open"),
    ];
    let told = all.iter().filter(|(number, _)| *number > 0);
    let texts: Vec<String> = told
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    joined(&texts, ", ")
}

fn tally(tally: &Tally, look: Look, out: &mut String) {
    if tally.asked == 0 {
        return;
    }
    heading(look, "Votes", out);
    let asked = count(tally.asked as usize, "node asked", "nodes asked");
    add(out, format_args!("  {asked}: {}\n", votes(tally)));
    for one in tally.reasons.iter().take(MOST_REASONS) {
        let nodes = one.nodes;
        let who = joined(&one.processes, ", ");
        add(
            out,
            format_args!("  {nodes:>5} × {}  {}\n", one.reason, look.faint(who)),
        );
    }
    if tally.reasons.len() > MOST_REASONS {
        let more = tally.reasons.len() - MOST_REASONS;
        add(out, format_args!("  and {more} more reasons\n"));
    }
}

/// How many nodes are where, in the order in which they get there.
fn counts(view: &RolloutView) -> String {
    let mut all: Vec<(&'static str, usize)> = Vec::new();
    for node in &view.nodes {
        let word = short_word(&node.phase);
        match all.iter_mut().find(|(other, _)| *other == word) {
            Some((_, number)) => *number += 1,
            None => all.push((word, 1)),
        }
    }
    let texts: Vec<String> = (all.iter())
        .map(|(word, number)| format!("{number} {word}"))
        .collect();
    texts.join(", ")
}

fn nodes(view: &RolloutView, most: usize, look: Look, out: &mut String) {
    if view.nodes.is_empty() {
        return;
    }
    heading(look, "Nodes", out);
    let mut all: Vec<&NodeRollout> = view.nodes.iter().collect();
    let hidden = all.len().saturating_sub(most);
    if hidden > 0 {
        // Those that need a look stand first; among equals the order stays.
        all.sort_by_key(|node| importance(&node.phase));
        all.truncate(most);
    }
    let width = widest(all.iter().map(|node| node.node.as_str()));
    for node in all {
        let (sign, text) = told(node, look);
        let name = padded(node.node.as_str(), width);
        let forced = if node.forced {
            look.notable(" (forced)")
        } else {
            String::new()
        };
        let wave = if view.wave.1 > 1 {
            format!("{:>3}  ", node.wave + 1)
        } else {
            String::new()
        };
        add(out, format_args!("  {sign} {wave}{name}  {text}{forced}\n"));
        details(node, look, out);
    }
    if hidden > 0 {
        let text = format!("and {hidden} more; in all {}", counts(view));
        add(out, format_args!("  {}\n", look.faint(text)));
    }
}

fn details(node: &NodeRollout, look: Look, out: &mut String) {
    if let Some(why) = &node.reboot {
        let text = format!("the machine restarts for it: {why}");
        add(out, format_args!("      {}\n", look.notable(text)));
    }
    if let Some((status, lines)) = &node.check {
        let text = lines.trim_end().replace('\n', "\n        ");
        add(
            out,
            format_args!("      check: exit status {status}\n        {text}\n"),
        );
    }
}

/// What stands before a node, and where it is in words.
fn told(node: &NodeRollout, look: Look) -> (String, String) {
    let busy = |text: &str| {
        let progress = node.progress.as_ref();
        progress.map_or_else(|| text.to_owned(), |now| format!("{text}: {now}"))
    };
    match &node.phase {
        NodePhase::Open => (look.faint('·'), "not asked yet".to_owned()),
        NodePhase::Asked => (look.faint('…'), busy("asked")),
        NodePhase::Accepted => (look.good('+'), "accepts".to_owned()),
        NodePhase::Vetoed { objections } => {
            (look.bad('!'), format!("vetoes: {}", objected(objections)))
        }
        NodePhase::Later { objections, .. } => (
            look.notable('!'),
            format!("asks for another moment: {}", objected(objections)),
        ),
        NodePhase::Absent => (look.notable('○'), "is away".to_owned()),
        NodePhase::Impossible { reason } => (look.bad('✗'), format!("cannot: {reason}")),
        NodePhase::LeftOut { reason } => (look.faint('-'), format!("left out: {reason}")),
        NodePhase::Changing => (look.strong('>'), busy("changes")),
        NodePhase::Waiting => (look.strong('>'), "ready, waits for the others".to_owned()),
        NodePhase::Switched => (look.strong('>'), busy("switched, not heard of since")),
        NodePhase::Trial => (look.notable('✓'), "runs it as a trial".to_owned()),
        NodePhase::Done => (look.good('✓'), "runs it".to_owned()),
        NodePhase::Failed { reason } => (look.bad('✗'), format!("failed: {reason}")),
        NodePhase::GoingBack => (look.notable('<'), busy("goes back")),
        NodePhase::WentBack { reason } => (look.notable('<'), format!("went back: {reason}")),
    }
}

fn short_word(phase: &NodePhase) -> &'static str {
    match phase {
        NodePhase::Open => "not asked",
        NodePhase::Asked => "asked",
        NodePhase::Accepted => "accept",
        NodePhase::Vetoed { .. } => "veto",
        NodePhase::Later { .. } => "later",
        NodePhase::Absent => "away",
        NodePhase::Impossible { .. } => "cannot",
        NodePhase::LeftOut { .. } => "left out",
        NodePhase::Changing => "changing",
        NodePhase::Waiting => "ready",
        NodePhase::Switched => "switched",
        NodePhase::Trial => "in trial",
        NodePhase::Done => "done",
        NodePhase::Failed { .. } => "failed",
        NodePhase::GoingBack => "going back",
        NodePhase::WentBack { .. } => "went back",
    }
}

fn objected(objections: &[Objection]) -> String {
    let texts: Vec<String> = (objections.iter())
        .map(|one| format!("{}: {}", one.process, one.reason))
        .collect();
    texts.join("; ")
}

/// Lower ones are shown first where not all are.
fn importance(phase: &NodePhase) -> u8 {
    match phase {
        NodePhase::Failed { .. } | NodePhase::Impossible { .. } => 0,
        NodePhase::Vetoed { .. } | NodePhase::Later { .. } => 1,
        NodePhase::WentBack { .. } | NodePhase::GoingBack => 2,
        NodePhase::Changing | NodePhase::Switched | NodePhase::Waiting => 3,
        NodePhase::Absent => 4,
        NodePhase::Asked => 5,
        NodePhase::Trial | NodePhase::LeftOut { .. } => 6,
        NodePhase::Accepted | NodePhase::Open | NodePhase::Done => 7,
    }
}

fn is_objecting(phase: &NodePhase) -> bool {
    matches!(phase, NodePhase::Vetoed { .. } | NodePhase::Later { .. })
}

/// Whether the node was touched.
fn matters(phase: &NodePhase) -> bool {
    matches!(
        phase,
        NodePhase::Changing
            | NodePhase::Waiting
            | NodePhase::Switched
            | NodePhase::Trial
            | NodePhase::Done
            | NodePhase::Failed { .. }
            | NodePhase::GoingBack
            | NodePhase::WentBack { .. }
    )
}

/// Whether nothing more comes of the node by itself.
fn is_settled(phase: &NodePhase) -> bool {
    matches!(
        phase,
        NodePhase::Trial
            | NodePhase::Done
            | NodePhase::Failed { .. }
            | NodePhase::WentBack { .. }
            | NodePhase::LeftOut { .. }
            | NodePhase::Impossible { .. }
    )
}

fn bar(done: usize, all: usize, look: Look) -> String {
    const WIDTH: usize = 30;
    let full = (done * WIDTH).checked_div(all).unwrap_or(0).min(WIDTH);
    let bar = look.good("━".repeat(full)) + &look.faint("╌".repeat(WIDTH - full));
    format!("{bar} {done} of {all}")
}

fn decided(decision: &Decision) -> String {
    let mut text = match &decision.choice {
        Choice::Approve => "agreed that it begins".to_owned(),
        Choice::Accepting => "only those that accept".to_owned(),
        Choice::Force(nodes) => format!("those that accept, and by force {}", joined(nodes, ", ")),
        Choice::ForceAll => "all, by force".to_owned(),
        Choice::Abort => "none".to_owned(),
        Choice::AskAgain => "ask again".to_owned(),
        Choice::Pause => "paused".to_owned(),
        Choice::Resume => "resumed".to_owned(),
        Choice::TakeBack => "take it back".to_owned(),
        Choice::Commit => "keep it".to_owned(),
    };
    if !decision.reason.is_empty() {
        text = format!("{text} ({})", decision.reason);
    }
    text
}

/// What can be typed now.
fn next_step(view: &RolloutView) -> Option<String> {
    let id = view.id;
    let objecting = view.nodes.iter().find(|node| is_objecting(&node.phase));
    match view.phase {
        Phase::Held => {
            let force = objecting.map_or(String::new(), |node| {
                format!(", --force {} goes over its veto", node.node)
            });
            Some(format!(
                "pkgtool fleet decide {id} asks what is to be done; --accepting takes those that accept{force}, --abort ends it"
            ))
        }
        Phase::Stopped => Some(format!(
            "pkgtool fleet decide {id} --accepting goes on, pkgtool fleet rollback {id} takes back what was done"
        )),
        Phase::Approval => Some(format!("another operator: pkgtool fleet approve {id}")),
        Phase::Trial => Some(format!(
            "pkgtool fleet commit {id} keeps it, pkgtool fleet rollback {id} takes it back; a reboot of a node does too"
        )),
        Phase::Partial => Some(format!(
            "pkgtool fleet update asks the others again, pkgtool fleet rollback {id} takes back what was done"
        )),
        Phase::Done
        | Phase::Asking
        | Phase::Rolling
        | Phase::Soaking
        | Phase::TakingBack
        | Phase::Aborted
        | Phase::TakenBack
        | Phase::Superseded => None,
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::Digest;
    use model::wire::{RolloutId, TallyReason, Update};

    use super::*;

    fn node(name: &str, phase: NodePhase) -> NodeRollout {
        NodeRollout {
            node: name.parse().unwrap(),
            wave: 0,
            phase,
            forced: false,
            base: None,
            base_list: None,
            target: Digest::of(b"target"),
            list: Digest::of(b"list"),
            counter: None,
            report: None,
            check: None,
            reboot: None,
            progress: None,
        }
    }

    fn objections() -> Vec<Objection> {
        vec![Objection {
            process: "router".parse().unwrap(),
            reason: "call in progress".to_owned(),
        }]
    }

    fn view(phase: Phase, nodes: Vec<NodeRollout>) -> RolloutView {
        RolloutView {
            id: RolloutId(7),
            phase,
            paused: false,
            update: Update {
                packages: vec!["libssl3=3.0.22".parse().unwrap()],
                reason: "security".to_owned(),
                ..Update::default()
            },
            by: "ann".parse().unwrap(),
            began: "2026-11-23T12:00:00Z".to_owned(),
            ended: None,
            tally: Tally::default(),
            wave: (0, 1),
            decisions: Vec::new(),
            discrepancies: Vec::new(),
            notes: Vec::new(),
            detail: None,
            nodes,
        }
    }

    fn held() -> RolloutView {
        let mut held = view(
            Phase::Held,
            vec![
                node("edge1", NodePhase::Accepted),
                node(
                    "edge2",
                    NodePhase::Vetoed {
                        objections: objections(),
                    },
                ),
                node("edge3", NodePhase::Absent),
            ],
        );
        held.tally = Tally {
            asked: 3,
            accept: 1,
            veto: 1,
            absent: 1,
            reasons: vec![TallyReason {
                reason: "call in progress".to_owned(),
                nodes: 1,
                processes: vec!["router".parse().unwrap()],
            }],
            ..Tally::default()
        };
        held
    }

    #[test]
    fn a_held_update_names_who_objects_why_and_what_can_be_decided() {
        assert_snapshot!(rollout(&held(), MOST_NODES, Look::plain(100)), @r"
        update 7 held: not all accept; nothing is touched until somebody decides
          by ann: libssl3=3.0.22 (security)

        Votes
          3 nodes asked: 1 accept, 1 veto, 1 absent
              1 × call in progress  router

        Nodes
          + edge1  accepts
          ! edge2  vetoes: router: call in progress
          ○ edge3  is away

        pkgtool fleet decide 7 asks what is to be done; --accepting takes those that accept, --force edge2 goes over its veto, --abort ends it
        ");
        assert_snapshot!(buttons(&held(), Look::plain(100)), @r"
        1  only those that accept: 1 node
        2  those, and against their veto: 2 NODE…  (edge2)
        3  all, whatever they object
        4  none: nothing is touched
        5  ask again those that objected or were away
        ");
        assert_eq!(line(&held()), "update 7: held, 1 accept, 1 veto, 1 away");
    }

    #[test]
    fn a_partial_end_names_each_node() {
        let mut forced = node("edge2", NodePhase::Done);
        forced.forced = true;
        let mut checked = node(
            "edge3",
            NodePhase::WentBack {
                reason: "its check failed".to_owned(),
            },
        );
        checked.check = Some((3, "no route\nto the hub\n".to_owned()));
        let mut partial = view(
            Phase::Partial,
            vec![node("edge1", NodePhase::Done), forced, checked],
        );
        partial.decisions = vec![(
            "ann".parse().unwrap(),
            Decision {
                choice: Choice::Force(vec!["edge2".parse().unwrap()]),
                reason: "it is a test call".to_owned(),
                carries_over: false,
                signed: None,
            },
        )];
        assert_snapshot!(rollout(&partial, MOST_NODES, Look::plain(100)), @r"
        update 7 partial: some nodes run it, some do not
          by ann: libssl3=3.0.22 (security)

        Nodes
          ✓ edge1  runs it
          ✓ edge2  runs it (forced)
          < edge3  went back: its check failed
              check: exit status 3
                no route
                to the hub

        Decided
          ann: those that accept, and by force edge2 (it is a test call)

        pkgtool fleet update asks the others again, pkgtool fleet rollback 7 takes back what was done
        ");
    }

    #[test]
    fn of_many_nodes_those_that_need_a_look_are_shown() {
        let mut all: Vec<NodeRollout> = (0..100)
            .map(|number| node(&format!("node{number:03}"), NodePhase::Accepted))
            .collect();
        all.push(node(
            "odd",
            NodePhase::Impossible {
                reason: "no room: 12 MiB are missing".to_owned(),
            },
        ));
        let text = rollout(&view(Phase::Asking, all), 2, Look::plain(100));
        assert_snapshot!(text, @r"
        update 7 asking: nodes plan and vote, nothing is touched
          by ann: libssl3=3.0.22 (security)

        Nodes
          ✗ odd      cannot: no room: 12 MiB are missing
          + node000  accepts
          and 99 more; in all 100 accept, 1 cannot
        ");
    }

    #[test]
    fn a_screen_has_as_many_rows_as_the_terminal() {
        let all: Vec<NodeRollout> = (0..1000)
            .map(|number| {
                let phase = if number % 3 == 0 {
                    NodePhase::Done
                } else {
                    NodePhase::Changing
                };
                node(&format!("node{number:04}"), phase)
            })
            .collect();
        let mut rolling = view(Phase::Rolling, all);
        rolling.wave = (1, 3);
        let text = live(&rolling, 12, Look::plain(80));
        assert!(text.lines().count() <= 12, "{text}");
        assert_snapshot!(text, @r"
        update 7 rolling: nodes change over
          by ann: libssl3=3.0.22 (security)
          wave 2 of 3
          ━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 334 of 1000

        Nodes
          >   1  node0001  changes
          >   1  node0002  changes
          >   1  node0004  changes
          >   1  node0005  changes
          >   1  node0007  changes
          and 995 more; in all 334 done, 666 changing
        ");
    }

    #[test]
    fn many_updates_are_a_table() {
        let now = "2026-11-23T12:03:00Z".parse().unwrap();
        let all = [held(), view(Phase::Done, Vec::new())];
        assert_snapshot!(list(&all, now, Look::plain(100)), @r"
        UPDATE  STATE  BY     AGE  VOTES                       WHAT
             7  held   ann  3 min  1 accept, 1 veto, 1 absent  libssl3=3.0.22 (security)
             7  done   ann  3 min  -                           libssl3=3.0.22 (security)
        ");
    }
}
