//! The node as it is told: `list` and `status`.

use model::ChangeId;
use model::change::{ChangeRecord, GenerationStatus, StatusReport, StoreStatus, StoredPackage};

use super::Engine;
use super::observe::is_alive;
use super::request::Error;
use crate::sys::trust;

impl Engine {
    pub(super) fn list(&self) -> Result<Vec<StoredPackage>, Error> {
        let rows = self.db.packages()?;
        let keyring = self.keyring();
        let mut list: Vec<StoredPackage> = rows
            .into_iter()
            .map(|row| StoredPackage {
                package: row.id.name_version(),
                active: self.active.row.list.contains(&row.id),
                id: row.id,
                size: row.size,
                summary: row.summary,
                added: row.added.rfc3339(),
                revoked: row
                    .admitted
                    .as_ref()
                    .and_then(|admitted| trust::revoked(&keyring, admitted)),
                admitted: row.admitted,
            })
            .collect();
        list.sort_by(|one, two| one.id.cmp(&two.id));
        Ok(list)
    }

    pub(super) fn record(&self, change: ChangeId) -> Result<ChangeRecord, Error> {
        self.db.record(change)?.ok_or_else(|| {
            Error::Invalid(format!(
                "there is no change {change}: pkgtool history lists those that there are"
            ))
        })
    }

    pub(super) async fn status(&mut self) -> Result<StatusReport, Error> {
        let processes = self.sysmgr.processes().await;
        let sysmgrd = processes.is_ok();
        let processes = processes.unwrap_or_default();
        if sysmgrd {
            self.look_at_left(&processes);
        }
        let mut generations = Vec::new();
        let pinned = self.db.pinned()?;
        for (generation, created) in self.db.generations()?.into_iter().rev() {
            let row = self.db.generation(generation)?;
            let living = processes
                .iter()
                .filter(|one| is_alive(one) && one.generation == generation);
            generations.push(GenerationStatus {
                generation,
                created: created.rfc3339(),
                set: row
                    .list
                    .iter()
                    .map(model::PackageId::name_version)
                    .collect(),
                processes: living.map(|one| one.name.clone()).collect(),
                pinned: pinned.contains(&generation),
                trial: row.trial,
            });
        }
        let (objects, bytes) = self.context.objects.size()?;
        Ok(StatusReport {
            generation: self.running,
            committed: self.db.committed()?,
            trial: self.active.row.trial,
            way_back: self.way_back()?,
            active: self.view.borrow().active.clone(),
            change: self.change.clone(),
            discrepancies: self.discrepancies(),
            generations,
            processes,
            sysmgrd,
            store: StoreStatus {
                packages: self.shelf.iter().count() as u64,
                objects,
                bytes,
            },
        })
    }
}
