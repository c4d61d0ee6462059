//! What the node takes of what a master says: functions of what is known, no effects.

use model::Digest;
use model::trust::{Kind, PublicKey, Signed};
use model::wire::{Counter, Epoch, NodeName, Objection, Vote, Wanted};
use resolve::Package;

use crate::engine::Evaluation;

/// What the node knows when a wanted state comes.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// How the node is called.
    pub node: &'a NodeName,
    /// The key that signs wanted states, as a `.pub` file.
    pub master_key: &'a str,
    /// The highest epoch that was seen, and the highest counter of it.
    pub highest: (Epoch, Counter),
    /// The document that came with them.
    pub document: Option<&'a Signed>,
    /// Seconds since 1970.
    pub now: u64,
}

/// Whether a wanted state is the master's, for this node, and not older than one that was seen.
///
/// # Errors
/// The reason, for the log and for the master.
pub fn wanted(signed: &Signed, known: Known<'_>) -> Result<Wanted, String> {
    let (key, _) = PublicKey::parse(known.master_key)
        .map_err(|error| format!("the master's key on this node is of no use: {error}"))?;
    let opened: Result<(Wanted, _), _> = signed.open(Kind::Wanted, &[key]);
    let (wanted, _) =
        opened.map_err(|error| format!("the wanted state is not the master's: {error}"))?;
    if wanted.node != *known.node {
        return Err(format!("the wanted state is for {}", wanted.node));
    }
    let new = (wanted.epoch, wanted.counter);
    let again = known.document.is_some_and(|one| one.text == signed.text);
    if new < known.highest || new == known.highest && !again {
        return Err(format!(
            "the wanted state {}.{} is not newer than {}.{}, which was seen",
            new.0, new.1, known.highest.0, known.highest.1
        ));
    }
    if wanted.expires <= known.now && !again {
        return Err(format!(
            "the wanted state {}.{} has expired: nothing is begun by it",
            new.0, new.1
        ));
    }
    Ok(wanted)
}

/// What the node answers to a question: its own hash of the set must be the master's.
/// `now` is in seconds since 1970.
pub fn vote(evaluation: &Evaluation, own: Digest, masters: Digest, now: u64) -> Vote {
    let report = &evaluation.report;
    if let Some(first) = report.unmet.first() {
        let more = report.unmet.len() - 1;
        let more = if more == 0 {
            String::new()
        } else {
            format!(" (and {more} more)")
        };
        let reason = format!("{} needs {}{more}", first.by, first.needs);
        return Vote::Failed { reason };
    }
    if own != masters {
        return Vote::Failed {
            reason: differs(own, masters),
        };
    }
    if let Some(why) = &evaluation.failed {
        return Vote::Failed {
            reason: why.clone(),
        };
    }
    let objection = |veto: &model::change::Veto| Objection {
        process: veto.process.clone(),
        reason: veto.reason.clone(),
    };
    let objections: Vec<Objection> = evaluation.vetoes.iter().map(objection).collect();
    let asks = |one: &Objection| {
        evaluation
            .later
            .iter()
            .find(|(name, _)| *name == one.process)
    };
    let waits: Option<Vec<u64>> = objections.iter().map(|one| Some(asks(one)?.1)).collect();
    match waits {
        _ if objections.is_empty() => Vote::Accept,
        // Nobody is against it: all that object want another moment.
        Some(waits) => Vote::Later {
            objections,
            not_before: now + waits.into_iter().max().unwrap_or(0).div_ceil(1000),
        },
        None => Vote::Veto { objections },
    }
}

/// Where what the machine itself is started with lies.
const OF_THE_MACHINE: [&str; 2] = ["/boot/", "/usr/lib/modules/"];

/// What of a change counts only when the machine has restarted: another kernel.
pub fn reboot(current: &[Package], target: &[Package]) -> Option<String> {
    let enters = |one: &&Package| !current.iter().any(|known| known.id == one.id);
    let of_machine = |package: &Package| {
        let mut files = package
            .manifest
            .files
            .iter()
            .map(|one| one.path.to_string());
        files.find(|path| OF_THE_MACHINE.iter().any(|start| path.starts_with(start)))
    };
    let found = |one: &Package| {
        let path = of_machine(one)?;
        Some(format!(
            "{} brings {path}, which counts from the machine's next start on",
            one.id.name_version()
        ))
    };
    target.iter().filter(enters).find_map(found)
}

/// That the node does not come to the master's hash.
pub fn differs(own: Digest, masters: Digest) -> String {
    format!(
        "this node makes software {own} of the list, and the master says {masters}: they do not \
         choose alike, and nothing is changed"
    )
}

#[cfg(test)]
mod tests {
    use model::trust::SecretKey;
    use model::wire::{Facts, Orders};

    use super::*;

    fn document(node: &str, epoch: u64, counter: u64) -> Wanted {
        Wanted {
            node: node.parse().unwrap(),
            epoch: Epoch(epoch),
            counter: Counter(counter),
            issued: 100,
            expires: 200,
            list: Digest::of(b"list"),
            software: Digest::of(b"software"),
            selected_for: Facts::default(),
            releases: Vec::new(),
            orders: Orders::default(),
            store: model::wire::StorePolicy::default(),
            boot_gate: model::wire::BootGate::default(),
        }
    }

    #[test]
    fn a_wanted_state_is_taken_only_from_the_master_for_this_node_and_never_an_older_one() {
        let key = SecretKey::new(&[1; 32], "master");
        let other = SecretKey::new(&[2; 32], "thief");
        let node: NodeName = "n1".parse().unwrap();
        let public = key.public().to_text();
        let sign =
            |key: &SecretKey, wanted: &Wanted| Signed::new(Kind::Wanted, key, wanted).unwrap();
        let seen = sign(&key, &document("n1", 2, 5));
        let at = |now| Known {
            node: &node,
            master_key: &public,
            highest: (Epoch(2), Counter(5)),
            document: Some(&seen),
            now,
        };
        let taken = |signed: &Signed, now| wanted(signed, at(now)).is_ok();
        assert!(taken(&sign(&key, &document("n1", 2, 6)), 150));
        assert!(taken(&sign(&key, &document("n1", 3, 1)), 150));
        assert!(taken(&seen, 150), "the same document again");
        assert!(taken(&seen, 250), "what it began may be gone on with");
        assert!(!taken(&sign(&key, &document("n1", 2, 4)), 150), "older");
        assert!(!taken(&sign(&key, &document("n1", 1, 9)), 150), "epoch");
        assert!(!taken(&sign(&key, &document("n2", 2, 6)), 150), "another's");
        assert!(!taken(&sign(&other, &document("n1", 2, 6)), 150), "forged");
        assert!(!taken(&sign(&key, &document("n1", 2, 6)), 200), "expired");
        let mut same = document("n1", 2, 5);
        same.expires = 300;
        assert!(!taken(&sign(&key, &same), 150), "another of that number");
        let tampered = Signed {
            text: seen.text.replace("\"counter\":5", "\"counter\":7"),
            ..seen.clone()
        };
        assert!(!taken(&tampered, 150));
    }

    #[test]
    fn a_vote_fails_on_a_difference_before_anybody_is_heard() {
        let mut evaluation = Evaluation {
            report: model::change::PlanReport::default(),
            order: Vec::new(),
            vetoes: Vec::new(),
            later: Vec::new(),
            failed: None,
        };
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(vote(&evaluation, a, a, 0), Vote::Accept);
        assert!(matches!(vote(&evaluation, a, b, 0), Vote::Failed { .. }));
        evaluation.vetoes.push(model::change::Veto {
            process: "desk".parse().unwrap(),
            reason: "call in progress".to_owned(),
        });
        assert!(matches!(vote(&evaluation, a, a, 0), Vote::Veto { .. }));
        evaluation.later = vec![("desk".parse().unwrap(), 90_500)];
        let Vote::Later { not_before, .. } = vote(&evaluation, a, a, 1000) else {
            panic!("it only asks for more time");
        };
        assert_eq!(not_before, 1091);
        evaluation.vetoes.push(model::change::Veto {
            process: "phone".parse().unwrap(),
            reason: "no".to_owned(),
        });
        assert!(matches!(vote(&evaluation, a, a, 0), Vote::Veto { .. }));
        evaluation.failed = Some("sysmgrd is away".to_owned());
        assert!(matches!(vote(&evaluation, a, a, 0), Vote::Failed { .. }));
    }
}
