//! One node: what it is, what it is to run, and why.

use jiff::Timestamp;
use model::wire::{Assigned, Hold, MemberState, Membership, NodeView, NodeWhy, Origin};

use super::super::{add, ago, heading, local, widest};
use super::lists::{boot_gate, policy, presence};
use super::{joined, or_dash, short};
use crate::fleet::scope;
use crate::show::Look;

/// `fleet nodes show`.
pub fn node(node: &NodeView, now: Timestamp, look: Look) -> String {
    let facts = &node.facts;
    let mut out = format!(
        "{}  {}\n",
        look.strong(&node.name),
        presence(&node.presence, now)
    );
    let mut field = |name: &str, value: String| {
        if value != "-" && !value.is_empty() {
            add(
                &mut out,
                format_args!("  {:<12}{value}\n", look.faint(name)),
            );
        }
    };
    field("class", joined(&facts.classes, ", "));
    field("type", or_dash(facts.node_type.as_ref()));
    field("location", or_dash(facts.location.as_ref()));
    field("features", joined(&facts.features, ", "));
    let labels: Vec<String> = (node.labels.iter())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    field("labels", joined(&labels, ", "));
    field("machine", format!("{} {}", facts.arch, facts.kernel));
    field("installd", facts.installd.clone());
    let until = node.certificate_until.as_deref().map(local);
    field(
        "certificate",
        until.map_or("-".to_owned(), |until| format!("until {until}")),
    );
    field(
        "wanted",
        node.wanted
            .as_ref()
            .map_or("nothing was decided yet".to_owned(), short),
    );
    field("installed", installed(node, look));
    let update = node.rollout.map_or("-".to_owned(), |id| id.to_string());
    field("update", update);
    for one in &node.discrepancies {
        add(&mut out, format_args!("{} {one}\n", look.bad('✗')));
    }
    if !node.assigned.is_empty() {
        heading(look, "Assigned", &mut out);
        assigned(&node.assigned, look, &mut out);
    }
    if !node.wanted_set.is_empty() {
        heading(look, "Wanted", &mut out);
        for one in &node.wanted_set {
            add(&mut out, format_args!("  {one}\n"));
        }
    }
    out
}

/// `fleet nodes show --why`.
pub fn why(why: &NodeWhy, now: Timestamp, look: Look) -> String {
    let mut out = node(&why.node, now, look);
    let said = |origin: &Option<Origin>| match origin {
        Some(origin) => told(origin),
        None => "said nowhere".to_owned(),
    };
    heading(look, "Why", &mut out);
    for (name, origin) in &why.without {
        add(&mut out, format_args!("  not {name}: {}\n", told(origin)));
    }
    for (feature, origin) in &why.features {
        add(
            &mut out,
            format_args!("  feature {feature}: {}\n", told(origin)),
        );
    }
    let (store, origin) = &why.store;
    add(
        &mut out,
        format_args!("  {}: {}\n", policy(*store), said(origin)),
    );
    let (gate, origin) = &why.boot_gate;
    add(
        &mut out,
        format_args!("  {}: {}\n", boot_gate(*gate), said(origin)),
    );
    for one in &why.because {
        add(&mut out, format_args!("  {one}\n"));
    }
    out
}

fn assigned(all: &[Assigned], look: Look, out: &mut String) {
    let texts: Vec<String> = all.iter().map(|one| one.package.to_string()).collect();
    let width = widest(texts.iter().map(String::as_str));
    for (one, text) in all.iter().zip(&texts) {
        let means = match &one.id {
            Some(id) => format!("={}", id.version),
            None => look.bad("the master has no such package"),
        };
        // What was written with its version means that one.
        let means = if one.package.version.is_some() && one.id.is_some() {
            String::new()
        } else {
            format!("{means}  ")
        };
        let origin = look.faint(told(&one.origin));
        add(out, format_args!("  {text:<width$}  {means}{origin}\n"));
    }
}

fn told(origin: &Origin) -> String {
    let own = scope::text(&origin.scope);
    if origin.over.is_empty() {
        return format!("by {own}");
    }
    let over: Vec<String> = origin.over.iter().map(scope::text).collect();
    format!("by {own}, over {}", over.join(", "))
}

fn installed(node: &NodeView, look: Look) -> String {
    let Some(installed) = &node.installed else {
        return "not heard yet".to_owned();
    };
    let Some(software) = &installed.software else {
        return "nothing".to_owned();
    };
    let mut text = short(software);
    if node.wanted.as_ref() == Some(software) {
        text = format!("{text} {}", look.good("as wanted"));
    } else if node.wanted.is_some() {
        text = format!("{text} {}", look.notable("differs"));
    }
    if installed.trial {
        text = format!("{text}, {}", look.notable("as a trial"));
    }
    if installed
        .committed
        .as_ref()
        .is_some_and(|next| next != software)
        && !installed.trial
    {
        text = format!("{text}; the next boot runs something else");
    }
    if let Some(hold) = &installed.hold {
        text = format!("{text}, {}", held(hold, look));
    }
    text
}

/// The fleet's part of `pkgtool status`.
pub fn fleet_part(fleet: &Membership, now: Timestamp, look: Look) -> String {
    let mut out = String::new();
    heading(look, "Fleet", &mut out);
    let name = or_dash(fleet.node.as_ref());
    let master = or_dash(fleet.url.as_ref());
    let link = match (fleet.state, &fleet.connected_since) {
        (MemberState::Pending, _) => look.notable("waits to be let in"),
        (_, Some(since)) if fleet.connected => {
            look.good(format_args!("connected for {}", ago(since, now)))
        }
        _ => look.notable("not connected"),
    };
    add(&mut out, format_args!("  {name} at {master}: {link}\n"));
    if let Some(problem) = &fleet.problem {
        add(&mut out, format_args!("  {} {problem}\n", look.bad('✗')));
    }
    if let Some(wanted) = &fleet.wanted {
        let runs = if fleet.installed.software.as_ref() == Some(wanted) {
            look.good("and runs here")
        } else {
            look.notable("and does not run here")
        };
        let wanted = short(wanted);
        add(
            &mut out,
            format_args!("  software {wanted} is wanted, {runs}\n"),
        );
    }
    if let Some(change) = &fleet.change {
        let update = change
            .rollout
            .map_or_else(String::new, |one| format!(" of update {one}"));
        add(
            &mut out,
            format_args!("  a change{update} is going on: {}\n", change.phase),
        );
    }
    if let Some(hold) = &fleet.installed.hold {
        let held = held(hold, look);
        add(&mut out, format_args!("  {held}\n"));
    }
    out
}

/// That somebody at the node holds it.
fn held(hold: &Hold, look: Look) -> String {
    let until = Timestamp::from_second(i64::try_from(hold.until).unwrap_or(i64::MAX));
    let until = until.map_or_else(|_| String::new(), |until| local(&until.to_string()));
    let reason = &hold.reason;
    format!("{} until {until}: {reason}", look.notable("held locally"))
}

/// `pkgtool join`, and how a node stands to its fleet.
pub fn membership(membership: &Membership, look: Look) -> String {
    let name = or_dash(membership.node.as_ref());
    let master = or_dash(membership.url.as_ref());
    let mut out = match membership.state {
        MemberState::Alone => "the node is in no fleet\n".to_owned(),
        MemberState::Pending => {
            let print = or_dash(membership.fingerprint.as_ref());
            format!(
                "{} asks the master at {master} to be let in\n  its key: {print}\n  an operator compares it and says: pkgtool fleet nodes accept {name}\n",
                look.strong(&name)
            )
        }
        MemberState::Member => {
            let link = if membership.connected {
                look.good("connected")
            } else {
                look.notable("not connected yet")
            };
            format!(
                "{} is in the fleet of {master}, {link}\n",
                look.strong(&name)
            )
        }
    };
    if let Some(problem) = &membership.problem {
        add(&mut out, format_args!("{} {problem}\n", look.bad('✗')));
    }
    out
}
