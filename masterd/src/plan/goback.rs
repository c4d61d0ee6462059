//! Can this node, class, fleet go back to that version now?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::PackageId;
use model::change::PackageRef;
use model::wire::NodeName;
use resolve::deps::Shelf;
use resolve::fleet::{Discrepancy, NodeSoftware, check, fresh};
use resolve::{Package, deps, order};

/// A node that is asked about.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The node with what it runs.
    pub runs: NodeSoftware,
    /// What its store has besides.
    pub kept: Vec<PackageId>,
}

/// Whether a node can go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It runs that already.
    RunsIt,
    /// It can, and has everything itself.
    FromItsStore,
    /// It can, and has to fetch these from the master.
    Fetching(Vec<PackageId>),
    /// It does not run any version of it.
    HasNone,
    /// It cannot, for these reasons.
    No(Vec<String>),
}

/// Whether each of the nodes can go back to a version of a package, with everything else as it is.
/// `fleet` is every node, those asked about included; `shelf` is what the master has.
pub fn answers(
    to: &PackageRef,
    asked: &[Asked],
    fleet: &[NodeSoftware],
    shelf: &Shelf,
) -> BTreeMap<NodeName, Answer> {
    let mut answers = BTreeMap::new();
    let mut after = BTreeMap::new();
    for one in asked {
        let answer = match sets_after(to, one, shelf) {
            Ok(Some(set)) => {
                let answer = where_from(&set, one);
                after.insert(one.runs.name.clone(), set);
                answer
            }
            Ok(None) => runs_or_has_none(to, one),
            Err(reasons) => Answer::No(reasons),
        };
        answers.insert(one.runs.name.clone(), answer);
    }
    for discrepancy in fresh_between(fleet, &after, shelf) {
        let text = discrepancy.to_string();
        let concerned = after.keys().filter(|node| concerns(&discrepancy, node));
        for node in concerned {
            match answers.get_mut(node) {
                Some(Answer::No(reasons)) => reasons.push(text.clone()),
                Some(answer) => *answer = Answer::No(vec![text.clone()]),
                None => {}
            }
        }
    }
    answers
}

fn runs_or_has_none(to: &PackageRef, asked: &Asked) -> Answer {
    let runs = asked.runs.software.iter().any(|one| one.is_meant_by(to));
    if runs {
        Answer::RunsIt
    } else {
        Answer::HasNone
    }
}

/// The set with that version in the other's place; `None`: there is nothing to change.
fn sets_after(
    to: &PackageRef,
    asked: &Asked,
    shelf: &Shelf,
) -> Result<Option<Arc<[Package]>>, Vec<String>> {
    let now = &asked.runs.software;
    let node = &asked.runs.node;
    if !now.iter().any(|one| one.id.name == to.name) || now.iter().any(|one| one.is_meant_by(to)) {
        return Ok(None);
    }
    let runs = |one: &&Package| {
        let machine = one.manifest.architecture.as_ref();
        one.is_meant_by(to) && machine.is_none_or(|machine| node.runs(machine))
    };
    let Some(old) = shelf.versions(&to.name).iter().rev().find(runs) else {
        return Err(vec![format!(
            "the master has no {to} for {}; import it",
            node.arch
        )]);
    };
    let mut list = now.to_vec();
    let left = order::replace(&mut list, old.clone());
    let set = order::effective(&list, node);
    let known: BTreeSet<_> = deps::check(now, shelf, node)
        .into_iter()
        .map(|one| (one.by, one.needs))
        .collect();
    let mut reasons: Vec<String> = deps::check(&set, shelf, node)
        .into_iter()
        .filter(|one| !known.contains(&(one.by.clone(), one.needs.clone())))
        .map(|one| format!("{} needs {}: {}", one.by, one.needs, one.hint))
        .collect();
    let gone = left.iter().map(|one| one.id.name_version());
    reasons.extend(gone.map(|gone| format!("{gone} is an upgrade that would leave with it")));
    if reasons.is_empty() {
        Ok(Some(set.into()))
    } else {
        Err(reasons)
    }
}

fn where_from(set: &[Package], asked: &Asked) -> Answer {
    let running = |id: &PackageId| asked.runs.software.iter().any(|one| one.id == *id);
    let missing: Vec<PackageId> = set
        .iter()
        .map(|one| one.id.clone())
        .filter(|id| !running(id) && !asked.kept.contains(id))
        .collect();
    if missing.is_empty() {
        Answer::FromItsStore
    } else {
        Answer::Fetching(missing)
    }
}

/// What would not be met any more, on any node, if all that can go back did.
fn fresh_between(
    fleet: &[NodeSoftware],
    after: &BTreeMap<NodeName, Arc<[Package]>>,
    shelf: &Shelf,
) -> Vec<Discrepancy> {
    let changed = |one: &NodeSoftware| match after.get(&one.name) {
        Some(set) => NodeSoftware {
            software: Arc::clone(set),
            ..one.clone()
        },
        None => one.clone(),
    };
    let then: Vec<NodeSoftware> = fleet.iter().map(changed).collect();
    fresh(&check(fleet, shelf), &check(&then, shelf))
}

/// Whether a node is at one of the two ends.
fn concerns(discrepancy: &Discrepancy, node: &NodeName) -> bool {
    let other = match &discrepancy.others {
        resolve::fleet::Others::Same(_) => false,
        resolve::fleet::Others::Class { lacking, .. } => lacking.contains(node),
    };
    other || discrepancy.nodes.contains(node)
}

#[cfg(test)]
mod tests {
    use model::Manifest;
    use model::manifest::RequiresRemote;
    use resolve::Characteristics;

    use super::*;

    fn made(name: &str, version: &str, edit: impl FnOnce(&mut Manifest)) -> Package {
        let mut manifest = Manifest::new(name.parse().unwrap(), version.parse().unwrap());
        edit(&mut manifest);
        let id = manifest.id(&manifest.to_bytes().unwrap());
        Package::new(id, Arc::new(manifest))
    }

    fn plain(name: &str, version: &str) -> Package {
        made(name, version, |_| {})
    }

    fn node(name: &str, class: &str, software: &[Package]) -> Asked {
        Asked {
            runs: NodeSoftware {
                name: name.parse().unwrap(),
                node: Arc::new(Characteristics {
                    classes: vec![class.to_owned()],
                    ..Characteristics::of_arch("x86_64")
                }),
                software: software.to_vec().into(),
            },
            kept: Vec::new(),
        }
    }

    fn ask(to: &str, asked: &[Asked], others: &[Asked], shelf: &[Package]) -> Vec<Answer> {
        let fleet: Vec<_> = asked
            .iter()
            .chain(others)
            .map(|one| one.runs.clone())
            .collect();
        let shelf = Shelf::new(shelf.iter().cloned());
        answers(&to.parse().unwrap(), asked, &fleet, &shelf)
            .into_values()
            .collect()
    }

    #[test]
    fn it_can_where_the_master_or_its_own_store_has_it() {
        let (old, new) = (plain("db", "1"), plain("db", "2"));
        let mut one = node("n1", "db", std::slice::from_ref(&new));
        let shelf = [old.clone(), new.clone()];
        assert_eq!(
            ask("db=1", &[one.clone()], &[], &shelf),
            [Answer::Fetching(vec![old.id.clone()])]
        );
        one.kept.push(old.id.clone());
        assert_eq!(
            ask("db=1", &[one.clone()], &[], &shelf),
            [Answer::FromItsStore]
        );
        assert_eq!(ask("db=2", &[one.clone()], &[], &shelf), [Answer::RunsIt]);
        assert_eq!(ask("web=1", &[one.clone()], &[], &shelf), [Answer::HasNone]);
        let [Answer::No(reasons)] = &ask("db=0", &[one], &[], &shelf)[..] else {
            panic!()
        };
        assert!(reasons[0].contains("no db=0"), "{reasons:?}");
    }

    #[test]
    fn it_cannot_where_its_own_or_another_nodes_software_needs_the_new_one() {
        let (old, new) = (plain("db", "1"), plain("db", "2"));
        let shelf = [old, new.clone()];
        let user = made("tool", "1", |one| {
            one.requires.push("db >= 2".parse().unwrap());
        });
        let one = node("n1", "db", &[user, new.clone()]);
        let [Answer::No(reasons)] = &ask("db=1", &[one], &[], &shelf)[..] else {
            panic!()
        };
        assert!(reasons[0].contains("tool 1 needs db >= 2"), "{reasons:?}");

        let web = made("web", "3", |one| {
            one.requires_remote.push(RequiresRemote {
                class: "db".into(),
                quantity: "all".into(),
                scope: "fleet".into(),
                packages: vec!["db >= 2".parse().unwrap()],
            });
        });
        let one = node("n1", "db", &[new]);
        let other = node("w1", "web", &[web]);
        let [Answer::No(reasons)] = &ask("db=1", &[one], &[other], &shelf)[..] else {
            panic!()
        };
        assert!(reasons[0].contains("w1: web 3 needs db >= 2") && reasons[0].contains("n1"));
    }
}
