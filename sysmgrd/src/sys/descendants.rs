//! Members of a process where no control group can be had: this daemon's descendants that carry
//! the process's invocation id. The daemon is a subreaper, so whoever is orphaned stays below it.

use std::collections::{BTreeMap, BTreeSet};

/// How often it is looked again after one has ended under the look: what it left may be missed.
const LOOKS: usize = 5;

/// `main` with everything below it, and every descendant of this daemon with this invocation id.
pub fn of(main: Option<u32>, invocation: &str) -> Vec<u32> {
    let mut found = Vec::new();
    let mut gone_before = BTreeSet::new();
    for _ in 0..LOOKS {
        let (whole, gone);
        (found, whole, gone) = look(main, invocation);
        // One that was listed and had ended when it was read may have left a child that was not
        // listed yet: that nobody is there is believed at the second look only.
        if whole && (!found.is_empty() || gone.is_subset(&gone_before)) {
            break;
        }
        gone_before = gone;
    }
    found
}

/// What one look finds, whether nothing of it ended meanwhile, and who was listed and had ended.
fn look(main: Option<u32>, invocation: &str) -> (Vec<u32>, bool, BTreeSet<u32>) {
    let (children, gone) = children();
    let mut found = BTreeSet::new();
    if let Some(main) = main.filter(|main| is_alive(*main)) {
        found.insert(main);
        below(main, &children, &mut found);
    }
    let mut all = BTreeSet::new();
    below(std::process::id(), &children, &mut all);
    let mark = format!("INVOCATION_ID={invocation}");
    let mut whole = true;
    for pid in all {
        match carries(pid, mark.as_bytes()) {
            Some(true) => {
                found.insert(pid);
            }
            Some(false) => {}
            None => whole = false,
        }
    }
    (found.into_iter().collect(), whole, gone)
}

fn below(root: u32, children: &BTreeMap<u32, Vec<u32>>, found: &mut BTreeSet<u32>) {
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
}

/// Living processes by their parent, and those that were listed and have ended.
fn children() -> (BTreeMap<u32, Vec<u32>>, BTreeSet<u32>) {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return (children, gone);
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        match state_and_parent(pid) {
            Some((state, parent)) if !matches!(state, 'Z' | 'X') => {
                children.entry(parent).or_default().push(pid);
            }
            _ => drop(gone.insert(pid)),
        }
    }
    (children, gone)
}

fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether its environment has this variable; `None`: it has ended.
fn carries(pid: u32, mark: &[u8]) -> Option<bool> {
    let environ = fs_err::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    if environ.is_empty() && !is_alive(pid) {
        return None;
    }
    let mut variables = environ.split(|byte| *byte == 0);
    Some(variables.any(|variable| variable == mark))
}
