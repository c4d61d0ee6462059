//! `fleet goback`: who can, who cannot and why.

use model::wire::{GoBack, GoBackAnswer, GoBackNode};

use super::super::{add, count};
use crate::show::Look;

/// The sum, then the nodes: those that cannot first, since they are what there is to do.
pub fn answer(all: &GoBack, most: usize, look: Look) -> String {
    let nodes = count(all.nodes.len(), "node", "nodes");
    let mut out = format!("{} on {nodes}: {}\n", look.strong(&all.to), sum(all));
    let mut rows: Vec<&GoBackNode> = all.nodes.iter().collect();
    rows.sort_by_key(|one| rank(&one.answer));
    let shown = rows.iter().take(most);
    shown.for_each(|one| row(one, look, &mut out));
    let left = rows.len().saturating_sub(most);
    if left > 0 {
        add(&mut out, format_args!("  … and {left} more: --long\n"));
    }
    if all.can > 0 && all.cannot == 0 {
        let to = &all.to;
        let next = format!("pkgtool fleet update {to} with the same selection goes back");
        add(&mut out, format_args!("{}\n", look.faint(next)));
    }
    out
}

fn sum(all: &GoBack) -> String {
    let parts = [
        (all.can, "can go back"),
        (all.cannot, "cannot"),
        (all.run_it, "run it already"),
        (all.have_none, "run no version of it"),
    ];
    let told = parts.iter().filter(|(number, _)| *number > 0);
    let told: Vec<String> = told
        .map(|(number, words)| format!("{number} {words}"))
        .collect();
    told.join(", ")
}

fn rank(answer: &GoBackAnswer) -> u8 {
    match answer {
        GoBackAnswer::No { .. } => 0,
        GoBackAnswer::Yes { .. } => 1,
        GoBackAnswer::RunsIt => 2,
        GoBackAnswer::HasNone => 3,
    }
}

fn row(one: &GoBackNode, look: Look, out: &mut String) {
    let node = &one.node;
    match &one.answer {
        GoBackAnswer::No { reasons } => {
            let sign = look.bad('✗');
            add(
                out,
                format_args!("  {sign} {node}  no: {}\n", reasons.join("; ")),
            );
        }
        GoBackAnswer::Yes { fetch } => {
            let sign = look.good('✓');
            let from = if fetch.is_empty() {
                "its store has everything".to_owned()
            } else {
                let names: Vec<String> = fetch.iter().map(model::PackageId::name_version).collect();
                format!("it fetches {}", names.join(", "))
            };
            add(out, format_args!("  {sign} {node}  yes: {from}\n"));
        }
        GoBackAnswer::RunsIt => add(out, format_args!("  = {node}  runs it\n")),
        GoBackAnswer::HasNone => add(out, format_args!("  - {node}  runs no version of it\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_cannot_come_first_with_their_reasons_and_all_are_summed() {
        let one = |name: &str, answer| GoBackNode {
            node: name.parse().unwrap(),
            answer,
        };
        let reasons = vec!["it is away".to_owned()];
        let all = GoBack {
            to: "g=1".parse().unwrap(),
            can: 1,
            cannot: 1,
            run_it: 1,
            have_none: 0,
            nodes: vec![
                one("a", GoBackAnswer::RunsIt),
                one("b", GoBackAnswer::Yes { fetch: Vec::new() }),
                one("c", GoBackAnswer::No { reasons }),
            ],
        };
        let text = answer(&all, 2, Look::plain(100));
        let lines: Vec<&str> = text.lines().collect();
        let head = "g=1 on 3 nodes: 1 can go back, 1 cannot, 1 run it already";
        assert_eq!(lines[0], head);
        assert_eq!(lines[1], "  ✗ c  no: it is away");
        assert_eq!(lines[2], "  ✓ b  yes: its store has everything");
        assert_eq!(lines[3], "  … and 1 more: --long");
    }
}
