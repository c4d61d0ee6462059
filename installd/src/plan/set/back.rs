//! The way back: the set of a generation that is kept.

use model::Generation;
use model::change::{Request, Unmet};
use resolve::Package;

use super::super::World;
use super::super::world::KeptGeneration;
use super::{NewSet, arranged, check};

/// The set of `generation`, planned as any other; the active one where that cannot be.
pub(super) fn gone_back(world: &World, request: &Request, generation: Generation) -> NewSet {
    let stay = |unmet: Unmet| {
        let mut set = arranged(&world.index, world.index.active().list.clone());
        set.automatic = (*world.automatic).clone().into();
        set.unmet.push(unmet);
        set
    };
    if !request.actions.is_empty() {
        return stay(both(generation));
    }
    match world.generations.get(&generation) {
        Some(kept) => set_of(world, generation, kept),
        None => stay(not_kept(world, generation)),
    }
}

fn set_of(world: &World, generation: Generation, kept: &KeptGeneration) -> NewSet {
    let (mut list, mut unmet): (Vec<Package>, Vec<Unmet>) = (Vec::new(), Vec::new());
    for id in &kept.list {
        match world.store.get(id) {
            Some(package) => list.push(package.clone()),
            None => unmet.push(Unmet {
                by: format!("generation {generation}"),
                needs: format!("package {id}, which is not in the store"),
                hint: "add exactly that package again: pkgtool add FILE".to_owned(),
            }),
        }
    }
    let mut set = arranged(&world.index, list);
    unmet.extend(check(world, &set));
    set.unmet = unmet;
    set.automatic = kept.automatic.clone().into();
    set.kept.clone_from(&kept.kept);
    set
}

fn both(generation: Generation) -> Unmet {
    Unmet {
        by: "the request".to_owned(),
        needs: format!("either generation {generation} or activations, not both"),
        hint: "go back first, then activate".to_owned(),
    }
}

fn not_kept(world: &World, generation: Generation) -> Unmet {
    let others = world.generations.keys().filter(|one| **one != world.active);
    let others: Vec<String> = others.map(Generation::to_string).collect();
    let hint = match others.join(", ") {
        none if none.is_empty() => "no other generation is kept".to_owned(),
        kept => format!("these can be gone back to: {kept}"),
    };
    Unmet {
        by: "the request".to_owned(),
        needs: format!("generation {generation}, which is not kept"),
        hint,
    }
}
