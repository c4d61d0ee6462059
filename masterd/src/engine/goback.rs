//! Can these nodes go back to that version now? Nobody is asked, nothing is changed.

use std::collections::BTreeMap;

use model::wire::{GoBack, GoBackAnswer, GoBackNode, GoBackQuestion, NodeName, Update};

use super::prepare::left_out;
use super::{Engine, Error, Handle};
use crate::plan::goback::{Answer, Asked, answers};

impl Handle {
    /// Answers for every node that is meant.
    pub async fn go_back(&self, question: GoBackQuestion) -> Result<GoBack, Error> {
        self.ask(move |engine| engine.go_back(&question)).await
    }
}

impl Engine {
    fn go_back(&mut self, question: &GoBackQuestion) -> Result<GoBack, Error> {
        let to = &question.to;
        if to.version.is_none() {
            let words = format!("{to} names no version: say which, {to}=VERSION");
            return Err(Error::Invalid(words));
        }
        if question.nodes.is_empty() {
            return Err(Error::Invalid("no node is named: say which".to_owned()));
        }
        let names = self.select(&Update {
            nodes: question.nodes.clone(),
            ..Update::default()
        })?;
        let fleet = self.fleet_now();
        let runs = fleet.iter().filter(|one| names.contains(&one.name));
        let asked: Vec<Asked> = runs
            .map(|runs| Asked {
                runs: runs.clone(),
                kept: self.kept_by(&runs.name),
            })
            .collect();
        let found = answers(to, &asked, &fleet, &self.candidates);
        let nodes = names.into_iter().map(|name| {
            let answer = self.answer_now(&name, &found);
            GoBackNode { node: name, answer }
        });
        let nodes: Vec<GoBackNode> = nodes.collect();
        let count = |is: fn(&GoBackAnswer) -> bool| {
            let those = nodes.iter().filter(|one| is(&one.answer)).count();
            u32::try_from(those).unwrap_or(u32::MAX)
        };
        Ok(GoBack {
            to: to.clone(),
            can: count(|one| matches!(one, GoBackAnswer::Yes { .. })),
            cannot: count(|one| matches!(one, GoBackAnswer::No { .. })),
            run_it: count(|one| matches!(one, GoBackAnswer::RunsIt)),
            have_none: count(|one| matches!(one, GoBackAnswer::HasNone)),
            nodes,
        })
    }

    fn kept_by(&self, name: &NodeName) -> Vec<model::PackageId> {
        let have = self.nodes.get(name).and_then(|node| node.have.as_ref());
        have.map(|have| have.kept.clone()).unwrap_or_default()
    }

    /// The decision over the software, with what stands in its way at this moment.
    fn answer_now(&self, name: &NodeName, found: &BTreeMap<NodeName, Answer>) -> GoBackAnswer {
        let mut answer = match found.get(name) {
            Some(Answer::RunsIt) => return GoBackAnswer::RunsIt,
            Some(Answer::HasNone) if self.has_said_what_it_runs(name) => {
                return GoBackAnswer::HasNone;
            }
            Some(Answer::FromItsStore) => GoBackAnswer::Yes { fetch: Vec::new() },
            Some(Answer::Fetching(missing)) => GoBackAnswer::Yes {
                fetch: missing.clone(),
            },
            Some(Answer::No(reasons)) => GoBackAnswer::No {
                reasons: reasons.clone(),
            },
            Some(Answer::HasNone) | None => GoBackAnswer::No {
                reasons: vec!["it has not said what it runs".to_owned()],
            },
        };
        let now = self.in_its_way(name);
        match &mut answer {
            GoBackAnswer::No { reasons } => reasons.extend(now),
            GoBackAnswer::Yes { .. } if !now.is_empty() => {
                answer = GoBackAnswer::No { reasons: now };
            }
            GoBackAnswer::Yes { .. } | GoBackAnswer::RunsIt | GoBackAnswer::HasNone => {}
        }
        answer
    }

    fn has_said_what_it_runs(&self, name: &NodeName) -> bool {
        let node = self.nodes.get(name);
        node.is_some_and(|node| node.have.is_some() || node.installed.is_some())
    }

    /// What keeps a node from any change at this moment.
    fn in_its_way(&self, name: &NodeName) -> Vec<String> {
        let Some(node) = self.nodes.get(name) else {
            return Vec::new();
        };
        let mut reasons = Vec::new();
        reasons.extend(left_out(node));
        if !node.connected() {
            reasons.push("it is away".to_owned());
        }
        if let Some(id) = self.open_rollout_of(name) {
            reasons.push(format!("update {id} has it and has not ended"));
        }
        reasons
    }
}
