//! What the node says of itself: to the master, and at its own bus.

use model::Digest;
use model::report::Chain;
use model::wire::{
    Facts, FleetChange, FleetName, Have, Installed, MemberState, Membership, StorePolicy,
};
use resolve::fleet::{characteristics, merged, software_hash};

use super::Follower;
use super::kept::{Pending, Phase};
use crate::sys::clock::{self, Time};
use crate::sys::features;
use crate::sys::master::identity::Key;

/// Discrepancies that the master is told at most.
const MOST: usize = 50;

/// What runs, as it was seen last.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) software: Option<Digest>,
    committed: Option<Digest>,
    trial: bool,
    discrepancies: Vec<String>,
}

impl Follower {
    /// What the node has is looked for again.
    pub(super) async fn probe(&mut self) {
        (self.features, self.problems) = features::probe(&self.config.fleet.features).await;
        let added = self.last_wanted().map(|wanted| wanted.selected_for);
        let node = characteristics(&merged(&self.facts(), &added.unwrap_or_default()));
        if let Err(error) = self.engine.become_another(node).await {
            tracing::debug!(error = %Chain(&error), "what the node is is looked at later");
        }
    }

    /// What the node is by itself.
    pub(super) fn facts(&self) -> Facts {
        let own = &self.config.node;
        let name = |text: &String| text.parse::<FleetName>().ok();
        let kernel = |what: &str| {
            let text = fs_err::read_to_string(format!("/proc/sys/kernel/{what}"));
            text.unwrap_or_default().trim().to_owned()
        };
        let mut features: Vec<FleetName> = own.features.iter().filter_map(name).collect();
        features.extend(self.features.iter().cloned());
        features.sort();
        features.dedup();
        Facts {
            arch: own.arch.clone(),
            node_type: own.node_type.as_ref().and_then(name),
            location: own.location.as_ref().and_then(name),
            classes: own
                .class
                .iter()
                .filter_map(|one| one.parse().ok())
                .collect(),
            features,
            kernel: format!("{} {}", kernel("ostype"), kernel("osrelease")),
            installd: env!("CARGO_PKG_VERSION").to_owned(),
            utc_offset: jiff::ZonedDateTime::now().offset().seconds() / 60,
        }
    }

    /// Looks at what runs.
    pub(super) async fn look(&mut self) {
        let Ok(software) = self.engine.software().await else {
            return;
        };
        let hash = |order: &[resolve::Package]| {
            (!order.is_empty()).then(|| software_hash(order, &software.node))
        };
        self.seen = Seen {
            software: hash(&software.active),
            committed: hash(&software.committed),
            trial: software.trial,
            discrepancies: software.discrepancies.into_iter().take(MOST).collect(),
        };
    }

    /// What runs, as the master is told it.
    pub(super) fn installed(&self) -> Installed {
        let pending = self.state.pending.as_ref().and_then(Pending::rollout);
        let carrying = self.carrying.as_ref().and_then(|one| one.rollout);
        let mut discrepancies = self.seen.discrepancies.clone();
        discrepancies.extend(self.problems.iter().chain(&self.refused).cloned());
        let loaded = self.runs_loaded();
        Installed {
            software: self.seen.software,
            // It is what the next boot runs, as soon as the master gives it again.
            committed: if loaded {
                self.seen.software
            } else {
                self.seen.committed
            },
            epoch: self.state.epoch,
            counter: self.state.counter,
            trial: self.seen.trial && !loaded,
            rollout: pending.or(carrying),
            hold: self.state.hold.clone(),
            discrepancies,
        }
    }

    /// Whether what runs is in memory only, as it was decided, and stays.
    fn runs_loaded(&self) -> bool {
        let wanted = self.last_wanted();
        let wanted = wanted.filter(|wanted| wanted.store == StorePolicy::Memory);
        let open = self.state.pending.is_some() || self.carrying.is_some();
        self.seen.trial
            && !open
            && wanted.is_some_and(|one| Some(one.software) == self.seen.software)
    }

    /// What runs may be another set.
    pub(super) async fn moved(&mut self) {
        let before = (self.seen.software, self.seen.committed);
        self.look().await;
        // While a change goes on its end says it.
        if before != (self.seen.software, self.seen.committed) && self.carrying.is_none() {
            self.tell_installed();
        }
    }

    pub(super) async fn have(&self) -> Have {
        let Ok(software) = self.engine.software().await else {
            return Have::default();
        };
        let active: Vec<_> = software.active.iter().map(|one| one.id.clone()).collect();
        let kept = software.stored.into_iter();
        Have {
            kept: kept.filter(|id| !active.contains(id)).collect(),
            active,
        }
    }

    /// Lets everyone see how the node stands to its fleet.
    pub(super) fn refresh(&mut self) {
        let fingerprint = match (&self.member, self.kept.joining()) {
            (None, Ok(Some(joining))) => Key::parse(&joining.key).ok().map(|key| key.fingerprint()),
            _ => None,
        };
        self.publish(fingerprint);
    }

    pub(super) fn publish(&self, fingerprint: Option<String>) {
        let joining = self.kept.joining().ok().flatten().map(|one| one.join);
        let member = self.member.as_ref();
        let state = self.member_state();
        let until = member.map(|(_, identity)| identity.valid.1);
        let until = until.and_then(|until| i64::try_from(until.saturating_mul(1000)).ok());
        let problem = self.closed.iter().chain(&self.problems);
        let problem = problem.chain(&self.refused).cloned();
        let problem: Vec<String> = problem.collect();
        let membership = Membership {
            state,
            url: member
                .map(|(member, _)| member.url.clone())
                .or(joining.as_ref().map(|join| join.url.clone())),
            node: member
                .map(|(member, _)| member.node.clone())
                .or(joining.and_then(|join| join.name)),
            fingerprint,
            connected: self.master.is_some(),
            connected_since: self
                .opened
                .filter(|_| self.master.is_some())
                .map(Time::rfc3339),
            problem: (state != MemberState::Alone && !problem.is_empty())
                .then(|| problem.join("; ")),
            certificate_until: until.map(|until| Time(until).rfc3339()),
            wanted: self.last_wanted().map(|wanted| wanted.software),
            epoch: self.state.epoch,
            counter: self.state.counter,
            change: self.fleet_change(),
            installed: self.installed(),
        };
        self.view.send_if_modified(|seen| {
            let differs = *seen != membership;
            *seen = membership;
            differs
        });
    }

    fn fleet_change(&self) -> Option<FleetChange> {
        if let Some(carrying) = &self.carrying {
            return Some(FleetChange {
                rollout: carrying.rollout,
                phase: carrying.phase.to_owned(),
                back_at: None,
            });
        }
        let pending = self.state.pending.as_ref()?;
        let (phase, back_at) = match pending.phase {
            Phase::Changing => ("change", None),
            Phase::Check => ("check", None),
            Phase::Contact { back_at } => {
                let rest = back_at.saturating_sub(clock::uptime());
                ("contact", Some(super::now() + rest))
            }
            Phase::Trial => ("trial", None),
            Phase::Back => ("back", None),
        };
        Some(FleetChange {
            rollout: pending.rollout(),
            phase: phase.to_owned(),
            back_at,
        })
    }
}
