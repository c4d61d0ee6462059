//! Operators, tokens, the audit log.

use model::wire::{AuditEntry, OperatorView, TokenView};

use super::super::{add, local};
use super::joined;
use crate::show::Look;

/// `fleet tokens`.
pub fn tokens(all: &[TokenView], look: Look) -> String {
    if all.is_empty() {
        return "no tokens: pkgtool fleet tokens add\n".to_owned();
    }
    let rows: Vec<Vec<String>> = (all.iter())
        .map(|one| {
            vec![
                one.id.clone(),
                one.uses.to_string(),
                local(&one.until),
                joined(&one.classes, ", "),
                one.by.to_string(),
            ]
        })
        .collect();
    look.table(&["id", "uses", "until", "classes", "by"], &["uses"], &rows)
}

/// `fleet operators`.
pub fn operators(all: &[OperatorView], look: Look) -> String {
    let rows: Vec<Vec<String>> = (all.iter())
        .map(|one| {
            let classes = if one.classes.is_empty() {
                "all".to_owned()
            } else {
                joined(&one.classes, ", ")
            };
            vec![
                one.name.to_string(),
                one.role.to_string(),
                classes,
                local(&one.created),
            ]
        })
        .collect();
    look.table(&["name", "role", "classes", "since"], &[], &rows)
}

/// `fleet audit`: a line for each.
pub fn audit(all: &[AuditEntry], look: Look) -> String {
    let mut out = String::new();
    for one in all {
        let on = one.on.as_ref().map_or(String::new(), |on| format!(" {on}"));
        let reason = if one.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", one.reason)
        };
        let (at, by) = (look.faint(local(&one.at)), look.strong(&one.by));
        let (seq, what) = (one.seq, &one.what);
        add(
            &mut out,
            format_args!("{seq:>5}  {at}  {by} {what}{on}{reason}\n"),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use model::wire::Role;

    use super::*;

    #[test]
    fn who_may_what() {
        let all = [
            OperatorView {
                name: "ann".parse().unwrap(),
                role: Role::Admin,
                classes: Vec::new(),
                created: "not a time".to_owned(),
            },
            OperatorView {
                name: "night-shift".parse().unwrap(),
                role: Role::Operate,
                classes: vec!["edge".parse().unwrap(), "lab".parse().unwrap()],
                created: "not a time".to_owned(),
            },
        ];
        assert_snapshot!(operators(&all, Look::plain(80)), @r"
        NAME         ROLE     CLASSES    SINCE
        ann          admin    all        not a time
        night-shift  operate  edge, lab  not a time
        ");
    }

    #[test]
    fn the_audit_log_says_who_what_and_why() {
        let entry = AuditEntry {
            seq: 7,
            at: "not a time".to_owned(),
            by: "ann".to_owned(),
            what: "decide force-all".to_owned(),
            on: Some("update 3".to_owned()),
            reason: "the calls are tests".to_owned(),
        };
        assert_snapshot!(audit(&[entry], Look::plain(80)), @r"
            7  not a time  ann decide force-all update 3 (the calls are tests)
        ");
    }
}
