//! A walk through the steps of a transition: which may begin, and which next when one is done.
//!
//! The order itself is `resolve::steps`, the same that a plan shows.

use resolve::steps::{Graph, Step};

/// A graph of steps, partly done.
#[derive(Debug)]
pub struct Walk {
    steps: Vec<Step>,
    /// For each step how many it waits for.
    waits: Vec<usize>,
    followers: Vec<Vec<usize>>,
    done: usize,
}

impl Walk {
    /// Nothing is done.
    pub fn new(graph: Graph) -> Self {
        let steps = graph.steps;
        let mut followers = vec![Vec::new(); steps.len()];
        for (number, step) in steps.iter().enumerate() {
            for before in &step.after {
                if let Some(list) = followers.get_mut(*before) {
                    list.push(number);
                }
            }
        }
        let waits = steps.iter().map(|step| step.after.len()).collect();
        Self {
            steps,
            waits,
            followers,
            done: 0,
        }
    }

    /// The steps that wait for nothing.
    pub fn first(&self) -> Vec<usize> {
        let open = self
            .waits
            .iter()
            .enumerate()
            .filter(|(_, waits)| **waits == 0);
        open.map(|(number, _)| number).collect()
    }

    /// Notes that step `number` is done; answers the steps that waited for it last.
    pub fn done(&mut self, number: usize) -> Vec<usize> {
        self.done += 1;
        let mut open = Vec::new();
        for follower in self.followers.get(number).cloned().unwrap_or_default() {
            if let Some(waits) = self.waits.get_mut(follower) {
                *waits -= 1;
                if *waits == 0 {
                    open.push(follower);
                }
            }
        }
        open
    }

    /// Step `number`.
    pub fn step(&self, number: usize) -> Option<&Step> {
        self.steps.get(number)
    }

    /// Steps done, and all.
    pub fn count(&self) -> (usize, usize) {
        (self.done, self.steps.len())
    }

    /// Whether every step is done.
    pub fn is_finished(&self) -> bool {
        self.done == self.steps.len()
    }
}

#[cfg(test)]
mod tests {
    use resolve::steps::{Member, graph};

    use super::*;

    fn member(name: &str, after: &[&str]) -> Member {
        Member {
            name: name.parse().unwrap(),
            after: after.iter().map(|name| name.parse().unwrap()).collect(),
            stop: true,
            start: true,
            tell: false,
        }
    }

    #[test]
    fn a_walk_takes_every_step_once_and_none_too_early() {
        let members = [
            member("web", &["app"]),
            member("app", &["db"]),
            member("db", &[]),
        ];
        let mut walk = Walk::new(graph(&members).unwrap());
        let mut open = walk.first();
        let mut taken = Vec::new();
        while let Some(number) = open.pop() {
            let step = walk.step(number).unwrap();
            taken.push(format!("{} {}", step.kind.word(), step.process));
            assert!(!walk.is_finished());
            open.extend(walk.done(number));
        }
        assert!(walk.is_finished());
        let expected = [
            "stop web",
            "stop app",
            "stop db",
            "start db",
            "start app",
            "start web",
        ];
        assert_eq!(taken, expected);
    }
}
