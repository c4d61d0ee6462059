//! What a fleet's master wants to know of the node, and has done: a question that touches nothing,
//! packages from parts, and a change that waits at a gate.

use std::sync::Arc;
use std::time::Duration;

use model::change::{
    AddedPackage, ChangeReport, Outcome, PlanReport, Request, RunningChange, Veto,
};
use model::envelope::ReadPackage;
use model::transition::Ended;
use model::{ChangeId, Digest, Generation, PackageId, ProcessName};
use resolve::deps::Shelf;
use resolve::{Characteristics, Package};

use super::change::{Changeover, Stop};
use super::gate::Gate;
use super::lists::Standing;
use super::request::{Error, Message, Reply};
use super::{Engine, Waiting, adding, answer, begin, observe, votes};
use crate::plan;
use crate::sys::clock::Time;
use crate::sys::journal::Beginning;
use crate::sys::packages;
use crate::sys::packages::parts::Parts;
use crate::sys::trust;

/// Who asks, in the history and to whoever finds the node busy.
const MASTER: &str = "the fleet's master";

/// What the node runs, and what its next boot runs.
#[derive(Debug, Clone)]
pub struct Software {
    /// The generation that runs.
    pub generation: Generation,
    /// What runs, in the order that holds.
    pub active: Vec<Package>,
    /// What the next boot runs.
    pub committed_generation: Generation,
    /// Its packages, in order.
    pub committed: Vec<Package>,
    /// What runs is gone after a reboot unless it is committed.
    pub trial: bool,
    /// All packages in the store.
    pub stored: Vec<PackageId>,
    /// By which files and dependencies are chosen.
    pub node: Characteristics,
    /// What is true and should not be.
    pub discrepancies: Vec<String>,
}

/// A set that the node might be asked to run.
#[derive(Debug, Clone)]
pub struct Question {
    /// Its packages, front first; those that the store lacks are known by their manifests alone.
    pub packages: Vec<ReadPackage>,
}

/// What the node says of a [`Question`].
#[derive(Debug)]
pub struct Evaluation {
    /// What would be done; with something unmet nobody was asked.
    pub report: PlanReport,
    /// The set in the order that holds there.
    pub order: Vec<Package>,
    /// Who objects.
    pub vetoes: Vec<Veto>,
    /// Those of them who ask for so many milliseconds, more than there are.
    pub later: Vec<(ProcessName, u64)>,
    /// Why the processes could not be asked.
    pub failed: Option<String>,
}

/// A message of the follower's.
#[derive(Debug)]
pub(super) enum FleetMessage {
    Software(Reply<Software>),
    Evaluate {
        question: Question,
        reply: Reply<Evaluation>,
    },
    /// A question was answered.
    Evaluated {
        change: ChangeId,
        evaluation: Box<Evaluation>,
        reply: Reply<Evaluation>,
    },
    AddParts {
        parts: Parts,
        reply: Reply<Vec<AddedPackage>>,
    },
    /// Objects of these packages that the store has not; what is in memory counts for what is loaded.
    Lacking {
        packages: Vec<ReadPackage>,
        loaded: bool,
        reply: Reply<Vec<(Digest, u64)>>,
    },
    /// There is to be room for software that is in memory only.
    Memory(Reply<()>),
    Apply {
        request: Request,
        gate: Option<Gate>,
        reply: Reply<ChangeReport>,
    },
    /// The held start is to be that of another set.
    Boot {
        request: Request,
        reply: Reply<ChangeReport>,
    },
    /// The start need not wait any longer.
    OpenGate,
    /// The node is something else from now on.
    Become {
        node: Characteristics,
        reply: Reply<()>,
    },
}

impl Engine {
    pub(super) async fn fleet(&mut self, message: FleetMessage) {
        match message {
            FleetMessage::Software(reply) => answer(reply, self.software()),
            FleetMessage::Evaluate { question, reply } => self.evaluate(question, reply).await,
            FleetMessage::Evaluated {
                change,
                evaluation,
                reply,
            } => self.evaluated(change, *evaluation, reply),
            FleetMessage::AddParts { mut parts, reply } => {
                let boot = &self.context.boot;
                parts.loaded = parts.loaded.map(|_| boot.clone());
                let source = adding::Source::Parts(parts);
                self.adds.push_back((source, None, reply));
                self.next_add();
            }
            FleetMessage::Lacking {
                packages,
                loaded,
                reply,
            } => self.lacking((packages, loaded), reply),
            FleetMessage::Memory(reply) => {
                // What runs, what comes after it, and what inodes cost.
                let size = self.context.config.trial_max.bytes();
                let size = size.saturating_mul(2).saturating_add(size / 2);
                answer(reply, self.context.memory.mount(size).map_err(Error::from));
            }
            FleetMessage::Boot { request, reply } => self.boot_into(request, reply).await,
            FleetMessage::Apply {
                request,
                gate,
                reply,
            } => self.apply_at(request, gate, reply).await,
            FleetMessage::OpenGate => {
                if std::mem::take(&mut self.held) {
                    self.boot();
                }
            }
            FleetMessage::Become { node, reply } => answer(reply, self.become_another(node)),
        }
    }

    fn software(&self) -> Result<Software, Error> {
        let committed_generation = self.db.committed()?;
        let committed = if committed_generation == self.running {
            self.active.order.clone()
        } else {
            observe::active(&self.context, &self.db, &self.shelf, committed_generation)?.order
        };
        Ok(Software {
            generation: self.running,
            committed_generation,
            active: self.active.order.clone(),
            committed,
            trial: self.active.row.trial,
            stored: self.shelf.iter().map(|one| one.id.clone()).collect(),
            node: self.context.characteristics(),
            discrepancies: self.discrepancies(),
        })
    }

    /// The store is asked beside the mailbox: there may be many objects.
    fn lacking(
        &self,
        (packages, loaded): (Vec<ReadPackage>, bool),
        reply: Reply<Vec<(Digest, u64)>>,
    ) {
        let objects = packages::parts::meant(&self.context.objects, loaded);
        tokio::task::spawn_blocking(move || {
            answer(reply, Ok(packages::parts::lacking(&objects, &packages)));
        });
    }

    async fn apply_at(&mut self, request: Request, gate: Option<Gate>, reply: Reply<ChangeReport>) {
        if self.must_wait() {
            let by = MASTER.to_owned();
            if gate.is_none() {
                self.waiting.push_back(Waiting::Change(request, by, reply));
                return;
            }
            let why = "the committed set is still being started".to_owned();
            return answer(reply, Err(Error::Busy(why)));
        }
        match self.begin(request, MASTER.to_owned()).await {
            Err(error) => answer(reply, Err(error)),
            Ok(begin::Begun::Nothing(report)) => answer(reply, Ok(report)),
            Ok(begin::Begun::Change(mut changeover)) => {
                changeover.gate = gate;
                self.run_beside(changeover, reply);
            }
        }
    }

    /// What was held starts as another set: nothing runs that could be asked.
    async fn boot_into(&mut self, request: Request, reply: Reply<ChangeReport>) {
        // What a reboot undid of processes' state is put back by an ordinary start.
        let ordinary = self.db.undone().is_ok_and(|undone| undone.is_some());
        let held = std::mem::take(&mut self.held);
        if !held || ordinary || self.open.is_some() {
            if held {
                self.boot();
            }
            return self.apply_at(request, None, reply).await;
        }
        self.booting = true;
        match self.begin(request, MASTER.to_owned()).await {
            Ok(begin::Begun::Change(mut changeover)) => {
                changeover.at_boot = true;
                self.run_beside(changeover, reply);
            }
            Ok(begin::Begun::Nothing(report)) => {
                answer(reply, Ok(report));
                self.boot();
            }
            Err(error) => {
                answer(reply, Err(error));
                self.boot();
            }
        }
    }

    /// A change, beside the mailbox.
    fn run_beside(&self, changeover: Box<Changeover>, reply: Reply<ChangeReport>) {
        let mailbox = self.context.mailbox.clone();
        tokio::spawn(async move {
            let went = changeover.run().await;
            if let Some(mailbox) = mailbox.upgrade() {
                drop(mailbox.send(Message::Ended { went, reply }).await);
            }
        });
    }

    async fn evaluate(&mut self, question: Question, reply: Reply<Evaluation>) {
        if self.must_wait() {
            let why = "the committed set is still being started".to_owned();
            return answer(reply, Err(Error::Busy(why)));
        }
        match self.begin_evaluation(question).await {
            Err(error) => answer(reply, Err(error)),
            Ok((evaluation, None)) => answer(reply, Ok(evaluation)),
            Ok((evaluation, Some(changeover))) => {
                let mailbox = self.context.mailbox.clone();
                tokio::spawn(async move {
                    let change = changeover.id;
                    let evaluation = changeover.ask_and_withdraw(evaluation).await;
                    let message = FleetMessage::Evaluated {
                        change,
                        evaluation: Box::new(evaluation),
                        reply,
                    };
                    if let Some(mailbox) = mailbox.upgrade() {
                        drop(mailbox.send(Message::Fleet(message)).await);
                    }
                });
            }
        }
    }

    /// The plan; and, where it can be carried out and would do something, whom to ask.
    async fn begin_evaluation(
        &mut self,
        question: Question,
    ) -> Result<(Evaluation, Option<Box<Changeover>>), Error> {
        self.refuse_busy()?;
        let gate = trust::Gate::open(&self.context.config.trust, None);
        let mut shelf: Shelf = (*self.shelf).clone();
        let mut list = Vec::with_capacity(question.packages.len());
        for package in question.packages {
            list.push(package.id.clone());
            if shelf.get(&package.id).is_none() {
                gate.admit(&package)?;
                shelf.put(Package::new(package.id, Arc::new(package.manifest)));
            }
        }
        let request = Request {
            exactly: Some(list),
            uncommitted: true,
            ..Request::default()
        };
        let running = observe::running(&mut self.sysmgr).await;
        let shelf = Arc::new(shelf);
        let world = observe::world(&self.context, &self.db, (&self.active, &shelf), running)?;
        let plan = plan::plan(&world, &request);
        self.check_trust(&plan.entering)?;
        let evaluation = Evaluation {
            report: plan.report.clone(),
            order: plan.order.to_vec(),
            vetoes: Vec::new(),
            later: Vec::new(),
            failed: None,
        };
        if plan.is_empty || !plan.report.unmet.is_empty() {
            return Ok((evaluation, None));
        }
        let target = self.db.next_generation()?;
        let id = self.db.begin_change(&Beginning {
            requester: MASTER,
            boot: &self.context.boot,
            origin: self.running,
            target,
            request: &request,
            plan: &plan.report,
        })?;
        let changeover = self.changeover((id, target), request, (world, plan));
        if changeover.is_err() {
            self.db.drop_change(id)?;
        }
        let changeover = Box::new(changeover?);
        self.change = Some(RunningChange {
            change: id,
            by: MASTER.to_owned(),
            since: Time::now().rfc3339(),
            phase: "ask".to_owned(),
        });
        Ok((evaluation, Some(changeover)))
    }

    /// Nothing is left of it: it was a question.
    fn evaluated(&mut self, change: ChangeId, evaluation: Evaluation, reply: Reply<Evaluation>) {
        self.change = None;
        answer(
            reply,
            self.db
                .drop_change(change)
                .map(|()| evaluation)
                .map_err(Error::from),
        );
        // sysmgrd came, or came back, while it was asked.
        if self.booting {
            self.boot();
        }
    }

    fn become_another(&mut self, node: Characteristics) -> Result<(), Error> {
        if *self.context.node == node {
            return Ok(());
        }
        self.refuse_busy()?;
        self.context.node = Arc::new(node);
        self.active = observe::active(&self.context, &self.db, &self.shelf, self.running)?;
        self.publish();
        Ok(())
    }
}

impl Changeover {
    /// Asks the processes, and tells them that nothing comes of it.
    async fn ask_and_withdraw(mut self: Box<Self>, mut evaluation: Evaluation) -> Evaluation {
        let mut report = ChangeReport::new(self.id, Outcome::Done, self.origin);
        match self.asked(&mut report).await {
            Ok(()) | Err(Stop::Vetoed) => {}
            Err(Stop::Failed(why)) => evaluation.failed = Some(why),
        }
        let ended = Ended {
            change: self.id,
            completed: false,
            detail: "it was a question; the fleet's master has not decided yet".to_owned(),
        };
        self.tell_end(&ended).await;
        evaluation.vetoes = report.vetoes;
        evaluation.later = std::mem::take(&mut self.later);
        evaluation
    }

    async fn asked(&mut self, report: &mut ChangeReport) -> Result<(), Stop> {
        let mut standing = Standing::of(&self.sysmgr.processes().await?);
        let announcement = self.announcement(None);
        votes::ask(self, report, &mut standing, announcement).await
    }
}

/// How long a change or a question of somebody else's is waited for.
const FREE_WITHIN: Duration = Duration::from_mins(1);

/// Returns when nothing holds the node, or when that was waited for long enough.
pub async fn free(engine: &super::Handle) {
    let mut view = engine.view();
    let free = view.wait_for(|view| view.change.is_none());
    drop(tokio::time::timeout(FREE_WITHIN, free).await);
}

impl super::Handle {
    /// What runs, and what the next boot runs.
    pub async fn software(&self) -> Result<Software, Error> {
        self.ask(|reply| Message::Fleet(FleetMessage::Software(reply)))
            .await
    }

    /// Plans and asks the processes, tells them that it is withdrawn, and touches nothing.
    pub async fn evaluate(&self, question: Question) -> Result<Evaluation, Error> {
        self.ask(|reply| Message::Fleet(FleetMessage::Evaluate { question, reply }))
            .await
    }

    /// Takes packages into the store, as [`add`](Self::add) does from an envelope.
    pub async fn add_parts(&self, parts: Parts) -> Result<Vec<AddedPackage>, Error> {
        self.ask(|reply| Message::Fleet(FleetMessage::AddParts { parts, reply }))
            .await
    }

    /// Objects of these packages that the store has not, with their plain sizes; each once.
    /// `loaded`: they are to be in memory only, and what is there counts.
    pub async fn lacking(
        &self,
        packages: Vec<ReadPackage>,
        loaded: bool,
    ) -> Result<Vec<(Digest, u64)>, Error> {
        self.ask(|reply| {
            Message::Fleet(FleetMessage::Lacking {
                packages,
                loaded,
                reply,
            })
        })
        .await
    }

    /// Makes room for software that is in memory only.
    pub async fn make_memory(&self) -> Result<(), Error> {
        self.ask(|reply| Message::Fleet(FleetMessage::Memory(reply)))
            .await
    }

    /// Has the start that was held be that of another set, without the committed one before it.
    /// Where it fails, the committed one is started.
    pub async fn boot_into(&self, request: Request) -> Result<ChangeReport, Error> {
        self.ask(|reply| Message::Fleet(FleetMessage::Boot { request, reply }))
            .await
    }

    /// Carries a request out for the fleet's master; where there is a gate, it stands still there
    /// before it touches anything.
    pub async fn apply_at(
        &self,
        request: Request,
        gate: Option<Gate>,
    ) -> Result<ChangeReport, Error> {
        self.ask(|reply| {
            Message::Fleet(FleetMessage::Apply {
                request,
                gate,
                reply,
            })
        })
        .await
    }

    /// The committed set is started, where its start was held.
    pub async fn open_gate(&self) {
        // One that is ending starts nothing.
        drop(
            self.mailbox
                .send(Message::Fleet(FleetMessage::OpenGate))
                .await,
        );
    }

    /// Files and dependencies are chosen for a node like this from now on.
    pub async fn become_another(&self, node: Characteristics) -> Result<(), Error> {
        self.ask(|reply| Message::Fleet(FleetMessage::Become { node, reply }))
            .await
    }
}
