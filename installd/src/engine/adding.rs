//! Packages that come into the store: by a call, or dropped into `incoming`.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use model::change::{AddedPackage, Progress};

use super::request::{Error, Message, Reply};
use super::{Context, Engine, Handle, answer};
use crate::sys::db::Db;
use crate::sys::packages::parts::Parts;
use crate::sys::trust::{self, Gate};
use crate::sys::{self, packages};

/// Where packages come from.
#[derive(Debug)]
pub(super) enum Source {
    /// An envelope.
    Envelope(File),
    /// Manifests and objects.
    Parts(Parts),
}

/// A source, who gave their word for it where no key does, and where the answer goes.
pub(super) type Add = (Source, Option<String>, Reply<Vec<AddedPackage>>);

impl Engine {
    /// Starts the next `add`, where none is going on.
    pub(super) fn next_add(&mut self) {
        if self.adding {
            return;
        }
        let Some((source, allowed_by, reply)) = self.adds.pop_front() else {
            return;
        };
        self.adding = true;
        let context = self.context.clone();
        tokio::task::spawn_blocking(move || {
            let added = add(&context, source, allowed_by).map_err(Error::from);
            if let Some(mailbox) = context.mailbox.upgrade() {
                drop(mailbox.blocking_send(Message::Added { added, reply }));
            }
        });
    }

    pub(super) fn added(
        &mut self,
        added: Result<Vec<AddedPackage>, Error>,
        reply: Reply<Vec<AddedPackage>>,
    ) {
        self.adding = false;
        let shelved = added.and_then(|added| {
            let shelf = Arc::make_mut(&mut self.shelf);
            for one in added.iter().filter(|one| one.new) {
                let manifest = packages::manifest(&self.context.objects, &one.id)?;
                shelf.put(resolve::Package::new(one.id.clone(), Arc::new(manifest)));
            }
            Ok(added)
        });
        answer(reply, shelved);
        self.next_add();
    }
}

fn add(
    context: &Context,
    source: Source,
    allowed_by: Option<String>,
) -> Result<Vec<AddedPackage>, sys::Error> {
    let gate = Gate::open(&context.config.trust, allowed_by);
    let mut db = Db::open(&context.database())?;
    let accounts = sys::setup::accounts::Accounts::read(&context.machine)?;
    let mut shown = std::time::Instant::now();
    let mut told = |done, total| {
        // A signal for each object would cost more than the object.
        if done == total || shown.elapsed() > Duration::from_millis(100) {
            shown = std::time::Instant::now();
            let what = "writing objects".to_owned();
            let progress = Progress {
                phase: "add".to_owned(),
                what,
                count: Some((done, total)),
            };
            drop(context.told.send(progress));
        }
    };
    let objects = &context.objects;
    let added = match source {
        Source::Envelope(envelope) => {
            packages::add(objects, &mut db, accounts, (&gate, envelope), &mut told)?
        }
        Source::Parts(parts) => {
            packages::parts::add(objects, &mut db, accounts, (&gate, &parts), &mut told)?
        }
    };
    trust::tell(&added);
    Ok(added)
}

/// Adds whatever is dropped into the directory `incoming`, one file after the other.
pub async fn incoming(mut incoming: sys::incoming::Incoming, engine: Handle) {
    while let Some((path, file)) = incoming.next().await {
        let added = engine.add(file).await;
        let refused = added
            .as_ref()
            .err()
            .map(|error| model::report::Chain(error).to_string());
        match &refused {
            None => tracing::info!("added {}", path.display()),
            Some(reason) => tracing::warn!("refused {}: {reason}", path.display()),
        }
        if let Err(error) = incoming.settle(&path, refused.as_deref()) {
            tracing::warn!(error = %model::report::Chain(&error), "incoming");
        }
    }
}
