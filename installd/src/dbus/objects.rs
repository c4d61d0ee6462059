//! Objects for the packages of the store and for the newest changes, below the manager's
//! `ObjectManager`:
//!
//! ```text
//! /org/changeover/Install1/package/NAME_3dVERSION   org.changeover.Install1.Package
//! /org/changeover/Install1/change/7                 org.changeover.Install1.Change
//! ```
//! They show what the engine said last and have no state of their own. A task beside the engine keeps
//! them, so that a change never waits for them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use model::bus::installd::PATH;
use model::bus::path_part;
use model::change::{HistoryEntry, HistoryFilter, RunningChange, StoredPackage};
use zbus::fdo::Properties;
use zbus::object_server::{Interface, InterfaceRef, SignalEmitter};
use zbus::{Connection, Variant, interface};

use crate::engine::{Handle, View};

/// Changes of the past that have an object; the history has them all.
const CHANGES: u32 = 32;

/// A package in the store.
#[derive(Debug, Clone)]
pub(super) struct Package(StoredPackage);

#[interface(name = "org.changeover.Install1.Package")]
impl Package {
    /// `NAME=VERSION`.
    #[zbus(property)]
    fn package(&self) -> String {
        self.0.package.clone()
    }

    /// Its identity in the store.
    #[zbus(property)]
    fn id(&self) -> String {
        self.0.id.to_string()
    }

    /// Whether it is in the software set that runs.
    #[zbus(property)]
    fn active(&self) -> bool {
        self.0.active
    }

    /// Bytes of its files.
    #[zbus(property)]
    fn size(&self) -> u64 {
        self.0.size
    }

    /// One line for people.
    #[zbus(property)]
    fn summary(&self) -> String {
        self.0.summary.clone()
    }

    /// When it was added, RFC 3339 in UTC.
    #[zbus(property)]
    fn added(&self) -> String {
        self.0.added.clone()
    }
}

/// What is shown of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ChangeView {
    change: u64,
    by: String,
    began: String,
    ended: String,
    phase: String,
    outcome: String,
    detail: String,
    from: u64,
    generation: u64,
}

/// A change that goes on or has ended.
#[derive(Debug, Clone)]
pub(super) struct Change(ChangeView);

#[interface(name = "org.changeover.Install1.Change")]
impl Change {
    /// Its number.
    #[zbus(property)]
    fn number(&self) -> u64 {
        self.0.change
    }

    /// Who asked for it.
    #[zbus(property)]
    fn by(&self) -> String {
        self.0.by.clone()
    }

    /// `running` or `ended`.
    #[zbus(property)]
    fn state(&self) -> String {
        self.0.state().to_owned()
    }

    /// The phase that it is in; empty when it has ended.
    #[zbus(property)]
    fn phase(&self) -> String {
        self.0.phase.clone()
    }

    /// `done`, `rolled-back`, `vetoed`, `failed`; empty while it goes on.
    #[zbus(property)]
    fn outcome(&self) -> String {
        self.0.outcome.clone()
    }

    /// Why it did not end with `done`; may be empty.
    #[zbus(property)]
    fn detail(&self) -> String {
        self.0.detail.clone()
    }

    /// When it began, RFC 3339 in UTC.
    #[zbus(property)]
    fn began(&self) -> String {
        self.0.began.clone()
    }

    /// When it ended; empty while it goes on.
    #[zbus(property)]
    fn ended(&self) -> String {
        self.0.ended.clone()
    }

    /// The generation before it.
    #[zbus(property)]
    fn from(&self) -> u64 {
        self.0.from
    }

    /// The generation that ran after it; 0 while it goes on.
    #[zbus(property)]
    fn generation(&self) -> u64 {
        self.0.generation
    }
}

impl ChangeView {
    fn state(&self) -> &'static str {
        if self.outcome.is_empty() && self.ended.is_empty() {
            "running"
        } else {
            "ended"
        }
    }

    fn running(change: &RunningChange, generation: u64) -> Self {
        Self {
            change: change.change.0,
            by: change.by.clone(),
            began: change.since.clone(),
            phase: change.phase.clone(),
            from: generation,
            ..Self::default()
        }
    }

    fn past(entry: &HistoryEntry) -> Self {
        let report = entry.report.as_ref();
        Self {
            change: entry.change.0,
            by: entry.by.clone(),
            began: entry.began.clone(),
            ended: entry.ended.clone().unwrap_or_default(),
            phase: String::new(),
            outcome: report
                .map(|report| report.outcome.to_string())
                .unwrap_or_default(),
            detail: report
                .and_then(|report| report.detail.clone())
                .unwrap_or_default(),
            from: entry.from.0,
            generation: report.map(|report| report.generation.0).unwrap_or_default(),
        }
    }
}

/// An object whose properties are told when they change.
trait Told: Interface + Clone {
    /// Its path below the manager's.
    fn path(&self) -> String;
    /// The properties that can change.
    fn values(&self) -> Vec<(&'static str, Variant<'static>)>;
}

impl Told for Package {
    fn path(&self) -> String {
        format!("{PATH}/package/{}", path_part(&self.0.package))
    }

    fn values(&self) -> Vec<(&'static str, Variant<'static>)> {
        vec![("Active", self.0.active.into())]
    }
}

impl Told for Change {
    fn path(&self) -> String {
        format!("{PATH}/change/{}", self.0.change)
    }

    fn values(&self) -> Vec<(&'static str, Variant<'static>)> {
        let text = |text: &str| Variant::from(text.to_owned());
        vec![
            ("State", text(self.0.state())),
            ("Phase", text(&self.0.phase)),
            ("Outcome", text(&self.0.outcome)),
            ("Detail", text(&self.0.detail)),
            ("Ended", text(&self.0.ended)),
            ("Generation", self.0.generation.into()),
        ]
    }
}

/// The objects of one kind on one connection.
#[derive(Debug)]
struct Shown<T>(BTreeMap<String, T>);

impl<T: Told> Shown<T> {
    async fn put(&mut self, connection: &Connection, object: T) -> zbus::Result<()> {
        let (server, path) = (connection.object_server(), object.path());
        let Some(before) = self.0.insert(path.clone(), object.clone()) else {
            return server.at(path, object).await.map(drop);
        };
        let known = before.values();
        let changed: HashMap<&str, Variant<'_>> = object
            .values()
            .into_iter()
            .zip(known)
            .filter_map(|(now, before)| (now != before).then_some(now))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let shown: InterfaceRef<T> = server.interface(path.as_str()).await?;
        *shown.get_mut().await = object;
        let emitter = SignalEmitter::new(connection, path)?;
        Properties::properties_changed(&emitter, T::name(), changed, Cow::Borrowed(&[])).await
    }

    /// Exactly these.
    async fn all(&mut self, connection: &Connection, objects: Vec<T>) -> zbus::Result<()> {
        let wanted: Vec<String> = objects.iter().map(Told::path).collect();
        let gone: Vec<String> = self
            .0
            .keys()
            .filter(|path| !wanted.contains(path))
            .cloned()
            .collect();
        for path in gone {
            self.0.remove(&path);
            connection.object_server().remove::<T, _>(path).await?;
        }
        for object in objects {
            self.put(connection, object).await?;
        }
        Ok(())
    }
}

/// All objects below the manager's, on one connection.
#[derive(Debug)]
pub(super) struct Objects {
    packages: Shown<Package>,
    changes: Shown<Change>,
    /// The state of the store that they show.
    store: Option<u64>,
}

impl Objects {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            packages: Shown(BTreeMap::new()),
            changes: Shown(BTreeMap::new()),
            store: None,
        }
    }

    /// What the engine shows now.
    pub(super) async fn follow(
        &mut self,
        connection: &Connection,
        engine: &Handle,
        view: &View,
    ) -> zbus::Result<()> {
        if self.store != Some(view.store) {
            self.store = Some(view.store);
            if let Ok(list) = engine.list().await {
                let list = list.into_iter().map(Package).collect();
                self.packages.all(connection, list).await?;
            }
            let filter = HistoryFilter {
                limit: CHANGES,
                ..HistoryFilter::default()
            };
            if let Ok(list) = engine.history(filter).await {
                let list = list.iter().map(|entry| Change(ChangeView::past(entry)));
                self.changes.all(connection, list.collect()).await?;
            }
        }
        match &view.change {
            // The start of the daemon has no number.
            Some(change) if change.change.0 != 0 => {
                let running = ChangeView::running(change, view.generation.0);
                self.changes.put(connection, Change(running)).await
            }
            Some(_) | None => Ok(()),
        }
    }
}
