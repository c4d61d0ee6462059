//! Exactly the set that a request lists: what a fleet's master has decided for the node.

use std::collections::BTreeSet;

use model::PackageId;
use model::change::{Request, Unmet};
use resolve::Package;

use super::super::World;
use super::{NewSet, arranged, check};

/// The set of these packages and no other; what the store lacks is unmet.
pub(super) fn exactly(world: &World, request: &Request, wanted: &[PackageId]) -> NewSet {
    let (mut list, mut unmet): (Vec<Package>, Vec<Unmet>) = (Vec::new(), Vec::new());
    for id in wanted {
        match world.store.get(id) {
            Some(package) => list.push(package.clone()),
            None => unmet.push(Unmet {
                by: "the wanted set".to_owned(),
                needs: format!("package {id}, which is not in the store"),
                hint: "it comes with the wanted state, from the fleet's master".to_owned(),
            }),
        }
    }
    unmet.extend(twice(&list));
    if !request.actions.is_empty() || request.to.is_some() {
        unmet.push(Unmet {
            by: "the request".to_owned(),
            needs: "either a whole set, activations, or a generation".to_owned(),
            hint: "ask for one of them".to_owned(),
        });
    }
    let mut set = arranged(&world.index, list);
    unmet.extend(check(world, &set));
    set.unmet = unmet;
    // Somebody decided on each of them: nothing leaves because nobody needs it any more.
    set.automatic = BTreeSet::new().into();
    set
}

/// Two versions of one package cannot be in one set.
fn twice(list: &[Package]) -> Vec<Unmet> {
    let mut seen = BTreeSet::new();
    let again = list.iter().filter(|one| !seen.insert(&one.id.name));
    let unmet = |one: &Package| Unmet {
        by: "the wanted set".to_owned(),
        needs: format!("one version of {}, and has two", one.id.name),
        hint: "leave one of them out".to_owned(),
    };
    again.map(unmet).collect()
}
