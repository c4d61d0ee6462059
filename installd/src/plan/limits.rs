//! What a change takes, and whether there is that much: disk, or memory for a trial.

use model::change::{Bytes, Request, Unmet};
use model::manifest::{FileEntry, Node};
use rustc_hash::FxHashSet;

use super::diff::{Difference, NewTree};
use super::{How, World};

/// What a directory of a generation takes on disk.
const DIRECTORY: u64 = 4096;
/// Left free for the journal, the database and the copies of what stood below `/etc`.
const RESERVE: u64 = 4 << 20;

/// What the change writes. Objects are in the store already: a generation on disk is directories
/// and links, and what is below `/etc`; a trial copies what differs into memory.
pub(super) fn bytes(tree: &NewTree<'_>, request: &Request) -> Bytes {
    let mut objects = FxHashSet::default();
    let mut bytes = Bytes::default();
    let new = tree.differences.iter();
    for (one, entry) in new.filter_map(|one| Some((one, one.new?.1))) {
        let Node::File(file) = &entry.node else {
            continue;
        };
        let object = one.keeps.unwrap_or(file.digest);
        if writes(one) && objects.insert(object) {
            bytes.store += file.size;
        }
        if writes(one) && one.path.is_config() {
            bytes.disk += on_disk(entry);
        }
    }
    if request.trial {
        bytes.memory = bytes.store;
        bytes.disk = 0;
    } else if !tree.differences.is_empty() {
        let directories = u64::try_from(tree.index.tree.directories.len()).unwrap_or(u64::MAX);
        bytes.disk = bytes
            .disk
            .saturating_add(directories.saturating_mul(DIRECTORY));
    }
    bytes
}

fn writes(one: &Difference<'_>) -> bool {
    matches!(one.how, How::Added | How::Changed)
}

fn on_disk(entry: &FileEntry) -> u64 {
    match &entry.node {
        Node::File(file) => file.size.next_multiple_of(DIRECTORY),
        Node::Link { .. } | Node::Directory => 0,
    }
}

/// What there is not enough of, and what a trial may not do.
pub(super) fn unmet(
    world: &World,
    tree: &NewTree<'_>,
    request: &Request,
    bytes: Bytes,
) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    if request.trial && bytes.memory > world.trial_max {
        unmet.push(Unmet {
            by: "the trial".to_owned(),
            needs: format!(
                "{} of memory, more than trial-max ({})",
                size(bytes.memory),
                size(world.trial_max)
            ),
            hint: "raise trial-max in installd.toml, or activate without --trial".to_owned(),
        });
    }
    if request.trial && !request.with_config {
        unmet.extend(config(tree));
    }
    if let Some(free) = world.free.filter(|_| bytes.disk > 0)
        && bytes.disk.saturating_add(RESERVE) > free
    {
        unmet.push(Unmet {
            by: "the new generation".to_owned(),
            needs: format!(
                "{} on the store's file system with {} to spare, but {} are free",
                size(bytes.disk),
                size(RESERVE),
                size(free)
            ),
            hint: "remove packages (pkgtool remove), keep fewer generations, or enlarge it"
                .to_owned(),
        });
    }
    unmet
}

/// A trial that would change `/etc`.
fn config(tree: &NewTree<'_>) -> Option<Unmet> {
    let below_etc = tree.differences.iter();
    let mut below_etc = below_etc.filter(|one| one.path.is_config() && one.how != How::Rebuilt);
    let first = below_etc.next()?.path;
    let more = match below_etc.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(Unmet {
        by: "the trial".to_owned(),
        needs: format!("to change {first}{more}, which is on persistent storage"),
        hint: "allow it with --with-config: the next boot undoes it before anything starts"
            .to_owned(),
    })
}

fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")];
    let fits = UNITS.iter().find(|(power, _)| bytes >> (10 * power) > 0);
    match fits {
        Some((power, unit)) => {
            let tenths = (bytes >> (10 * (power - 1))).saturating_mul(10) >> 10;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}
