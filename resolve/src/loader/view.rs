//! A tree as the loader sees it.

use model::manifest::{FileEntry, Node};

/// Something with paths in it. Directories need not be listed.
pub trait View {
    /// What stands at exactly this path, links not followed.
    fn entry(&self, path: &str) -> Option<&FileEntry>;
}

/// Links in a row before it is a circle, as the kernel has it.
const MAX_LINKS: usize = 40;

/// The path that `path` leads to when every link on the way is followed: that of a file, or of a
/// directory that may not be listed. `None`: it leads out of the tree or round in circles.
pub fn follow(view: &impl View, path: &str) -> Option<String> {
    let mut path = model::path::merged_usr(path);
    for _ in 0..MAX_LINKS {
        match first_link(view, &path) {
            None => return Some(path),
            Some(next) => path = next,
        }
    }
    None
}

/// `path` with its first link replaced by what it says; `None`: there is no link in it.
fn first_link(view: &impl View, path: &str) -> Option<String> {
    // Most paths name a plain file: no need to look at its directories.
    if view
        .entry(path)
        .is_some_and(|entry| !matches!(entry.node, Node::Link { .. }))
    {
        return None;
    }
    let ends = path
        .char_indices()
        .skip(1)
        .filter(|(_, c)| *c == '/')
        .map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let (head, tail) = path.split_at(end);
        let Some(entry) = view.entry(head) else {
            continue;
        };
        if let Node::Link { target } = &entry.node {
            // A link that leads out of what a package may own leads to nothing in the tree.
            let target = entry.path.link_target(target).map(String::from);
            return Some(target.map_or_else(|| "/dev/null/outside".to_owned(), |t| t + tail));
        }
    }
    None
}
