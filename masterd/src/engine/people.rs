//! What people see, edit and decide.

use std::collections::BTreeMap;

use model::change::PackageRef;
use model::wire::{
    Assignment, ClassName, ClassView, Decision, FleetName, FleetPlan, FleetView, ImportedPackage,
    NodeEdit, NodeName, NodeView, NodeWhy, RolloutId, RolloutView, Scope, Selector, Update,
};

use super::node::Node;
use super::records;
use super::writes::{Effect, Rank};
use super::{Engine, Error, Handle};
use crate::audit::Note;
use crate::plan::rollout::{Event, Window};

impl Handle {
    /// The fleet in one document.
    pub async fn fleet(&self) -> Result<FleetView, Error> {
        self.ask(|engine| Ok(engine.fleet_view())).await
    }

    /// Every node, by name.
    pub async fn nodes(&self) -> Result<Vec<NodeView>, Error> {
        self.ask(|engine| Ok(engine.node_views())).await
    }

    /// One node.
    pub async fn node(&self, name: NodeName) -> Result<NodeView, Error> {
        self.ask(move |engine| engine.node_view(&name)).await
    }

    /// Why a node is to run what it is to run.
    pub async fn why(&self, name: NodeName) -> Result<NodeWhy, Error> {
        self.ask(move |engine| engine.why(&name)).await
    }

    /// Labels, and what an operator says of a node against its own word.
    pub async fn edit_node(
        &self,
        name: NodeName,
        edit: NodeEdit,
        note: Note,
    ) -> Result<NodeView, Error> {
        self.ask(move |engine| {
            let view = engine.edit_node(&name, edit)?;
            engine.pending.note(Rank::Plain, records::node(&name), note);
            Ok(view)
        })
        .await
    }

    /// An operator has found out which of two nodes is the one.
    pub async fn unquarantine(&self, name: NodeName, note: Note) -> Result<NodeView, Error> {
        self.ask(move |engine| {
            let view = engine.unquarantine(&name)?;
            engine.pending.note(Rank::Plain, records::node(&name), note);
            Ok(view)
        })
        .await
    }

    /// Ends a node's link, with a reason for its log.
    pub async fn cut(&self, name: NodeName, reason: &'static str) -> Result<(), Error> {
        self.ask(move |engine| {
            engine.pending.effect(Effect::Cut(name, reason));
            Ok(())
        })
        .await
    }

    /// Every class that has nodes or an assignment.
    pub async fn classes(&self) -> Result<Vec<ClassView>, Error> {
        self.ask(|engine| Ok(engine.class_views())).await
    }

    /// What is intended for a scope.
    pub async fn assignment(&self, scope: Scope) -> Result<Assignment, Error> {
        self.ask(move |engine| Ok(engine.assignments.get(&scope).cloned().unwrap_or_default()))
            .await
    }

    /// Changes what is intended for a scope; no node is touched.
    pub async fn assign(
        &self,
        scope: Scope,
        assignment: Assignment,
        note: Note,
    ) -> Result<Assignment, Error> {
        self.ask(move |engine| {
            let key = records::assign(&scope);
            let assigned = engine.assign(scope, assignment)?;
            engine.pending.note(Rank::Plain, key, note);
            Ok(assigned)
        })
        .await
    }

    /// Saved groups.
    pub async fn groups(&self) -> Result<BTreeMap<FleetName, Selector>, Error> {
        self.ask(|engine| Ok(engine.groups.clone())).await
    }

    /// Saves a group; an empty selection takes it away.
    pub async fn save_group(
        &self,
        name: FleetName,
        selector: Selector,
        note: Note,
    ) -> Result<(), Error> {
        self.ask(move |engine| {
            let key = format!("group/{name}");
            engine.save_group(name, selector)?;
            engine.pending.note(Rank::Plain, key, note);
            Ok(())
        })
        .await
    }

    /// What an update would do.
    pub async fn plan(&self, update: Update) -> Result<FleetPlan, Error> {
        check(&update)?;
        self.ask(move |engine| engine.plan(&update)).await
    }

    /// Begins an update.
    pub async fn update(&self, update: Update, by: FleetName) -> Result<RolloutView, Error> {
        check(&update)?;
        let note = Note::new(&by, "update").because(&update.reason);
        self.ask(move |engine| {
            let first = engine.next_rollout;
            let view = engine.update(update, by)?;
            // A key that was used before begins nothing.
            if view.id.0 >= first {
                let note = note.on(format!("update {}", view.id));
                engine
                    .pending
                    .note(Rank::Head, records::rollout(view.id), note);
            }
            Ok(view)
        })
        .await
    }

    /// The classes of all nodes that an update means, for whoever may only touch some classes.
    pub async fn classes_of(&self, update: Update) -> Result<Vec<Vec<ClassName>>, Error> {
        self.ask(move |engine| {
            let names = engine.select(&update)?;
            let nodes = names.iter().filter_map(|name| engine.nodes.get(name));
            Ok(nodes.map(Node::classes).collect())
        })
        .await
    }

    /// The classes of all nodes of an update.
    pub async fn classes_of_rollout(&self, id: RolloutId) -> Result<Vec<Vec<ClassName>>, Error> {
        self.ask(move |engine| {
            let rollout = engine.rollouts.get(&id);
            let rollout = rollout.ok_or_else(|| Error::no("update", &id))?;
            let nodes = rollout
                .parts()
                .keys()
                .filter_map(|name| engine.nodes.get(name));
            Ok(nodes.map(Node::classes).collect())
        })
        .await
    }

    /// All updates that are kept, the newest first, without their nodes.
    pub async fn rollouts(&self) -> Result<Vec<RolloutView>, Error> {
        self.ask(|engine| Ok(engine.rollout_views())).await
    }

    /// One update.
    pub async fn rollout(&self, id: RolloutId) -> Result<RolloutView, Error> {
        self.ask(move |engine| engine.rollout(id)).await
    }

    /// An operator decides.
    pub async fn decide(
        &self,
        id: RolloutId,
        decision: Decision,
        by: FleetName,
    ) -> Result<RolloutView, Error> {
        self.ask(move |engine| engine.decide(id, decision, by))
            .await
    }
}

impl Engine {
    /// The line of an import stands at the last of its packages: when that is there, all are.
    pub(super) fn note_import(&mut self, imported: &[ImportedPackage], note: Note) {
        let new = imported.iter().filter(|one| one.new);
        let mut new: Vec<String> = new.map(|one| one.id.name_version()).collect();
        new.sort();
        let last = imported.iter().map(|one| records::package(&one.id)).max();
        let key = last.unwrap_or_else(|| "meta/import".to_owned());
        self.pending.note(Rank::Plain, key, note.on(new.join(" ")));
    }

    fn assign(&mut self, scope: Scope, assignment: Assignment) -> Result<Assignment, Error> {
        if let Some(unknown) = assignment
            .packages
            .iter()
            .find(|one| !self.has_package(one))
        {
            return Err(Error::no("package", unknown));
        }
        let key = records::assign(&scope);
        if assignment == Assignment::default() {
            self.assignments.remove(&scope);
            self.pending.delete(Rank::Plain, key);
        } else {
            self.pending.put(Rank::Plain, key, &assignment);
            self.assignments.insert(scope, assignment.clone());
        }
        Ok(assignment)
    }

    fn has_package(&self, package: &PackageRef) -> bool {
        let versions = self.candidates.versions(&package.name);
        versions.iter().any(|one| one.is_meant_by(package))
    }

    fn save_group(&mut self, name: FleetName, selector: Selector) -> Result<(), Error> {
        let key = format!("group/{name}");
        if selector.is_empty() {
            if !self.groups.contains_key(&name) {
                return Err(Error::no("group", &name));
            }
            let mut others = self.groups.iter();
            if let Some((other, _)) = others.find(|(_, one)| one.group.as_ref() == Some(&name)) {
                let words = format!("group {name} stays: group {other} names it");
                return Err(Error::Conflict(words));
            }
            self.groups.remove(&name);
            self.pending.delete(Rank::Plain, key);
            return Ok(());
        }
        self.leads_somewhere(&name, &selector)?;
        self.pending.put(Rank::Plain, key, &selector);
        self.groups.insert(name, selector);
        Ok(())
    }

    /// Groups name groups that are there, and none comes back to itself: it would mean nobody.
    fn leads_somewhere(&self, name: &FleetName, selector: &Selector) -> Result<(), Error> {
        let mut next = selector.group.as_ref();
        for _ in 0..=self.groups.len() {
            let Some(group) = next else { return Ok(()) };
            if group == name {
                let words = format!("group {name} would name itself, and mean nobody");
                return Err(Error::Invalid(words));
            }
            let inner = self.groups.get(group);
            next = (inner.ok_or_else(|| Error::no("group", group))?)
                .group
                .as_ref();
        }
        Ok(())
    }

    fn edit_node(&mut self, name: &NodeName, edit: NodeEdit) -> Result<NodeView, Error> {
        let node = self
            .nodes
            .get_mut(name)
            .ok_or_else(|| Error::no("node", name))?;
        let record = &mut node.record;
        if let Some(text) = edit.node_type {
            record.node_type = recorded(&text)?;
        }
        if let Some(text) = edit.location {
            record.location = recorded(&text)?;
        }
        for (label, value) in edit.labels {
            if value.is_empty() {
                record.labels.remove(&label);
            } else {
                record.labels.insert(label, value);
            }
        }
        self.keep_node(name);
        self.node_view(name)
    }

    fn unquarantine(&mut self, name: &NodeName) -> Result<NodeView, Error> {
        let node = self
            .nodes
            .get_mut(name)
            .ok_or_else(|| Error::no("node", name))?;
        node.record.quarantined = false;
        self.keep_node(name);
        self.tell_node(name);
        self.node_view(name)
    }

    fn decide(
        &mut self,
        id: RolloutId,
        decision: Decision,
        by: FleetName,
    ) -> Result<RolloutView, Error> {
        let rollout = self
            .rollouts
            .get(&id)
            .ok_or_else(|| Error::no("update", &id))?;
        let refused = rollout.check(&by, &decision).err();
        if let Some(refused) = refused {
            return Err(Error::Conflict(refused.to_string()));
        }
        let choice = serde_json::to_value(&decision.choice).unwrap_or_default();
        let choice = choice
            .as_str()
            .map_or_else(|| choice.to_string(), str::to_owned);
        let note = Note::new(&by, &format!("decide {choice}"))
            .on(format!("update {id}"))
            .because(&decision.reason);
        self.pending.note(Rank::Head, records::rollout(id), note);
        self.step(id, Event::Decided { by, decision });
        self.rollout(id)
    }
}

/// What can be seen of an update without knowing the fleet.
fn check(update: &Update) -> Result<(), Error> {
    let window = update.strategy.window.as_deref();
    let read = window.map(str::parse::<Window>).transpose();
    read.map_err(|error| Error::Invalid(error.to_string()))?;
    Ok(())
}

/// A name, or nothing where the text is empty.
fn recorded(text: &str) -> Result<Option<FleetName>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let name = text.parse();
    name.map(Some)
        .map_err(|error: model::ids::NameError| Error::Invalid(error.to_string()))
}
