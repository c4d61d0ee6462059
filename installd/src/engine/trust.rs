//! What is told, and what is refused, of packages whose word has been taken back.

use model::trust::{Admitted, Keyring};
use resolve::Package;

use super::Engine;
use super::request::Error;
use crate::sys::trust;

impl Engine {
    /// The key files as they are now: they are few and small, and may change at any time.
    pub(super) fn keyring(&self) -> Keyring {
        trust::keyring(&self.context.config.trust.directory)
    }

    /// Refuses packages that enter on a revoked key's word. Those that are active stay, also in a
    /// rollback by itself and at boot: what runs is not taken away.
    pub(super) fn check_trust(&self, entering: &[Package]) -> Result<(), Error> {
        let keyring = self.keyring();
        if keyring.revoked.is_empty() {
            return Ok(());
        }
        for package in entering {
            let admitted = self.db.admitted(&package.id)?;
            if let Some(why) = admitted.and_then(|one| trust::revoked(&keyring, &one)) {
                return Err(Error::Invalid(format!(
                    "{} cannot be activated: {why}. Add it again, signed by a trusted key, or with \
                     pkgtool add --allow-unsigned",
                    package.id.name_version()
                )));
            }
        }
        Ok(())
    }

    /// What a plan says of packages that enter without a trusted signature.
    pub(super) fn trust_warnings(&self, entering: &[Package]) -> Result<Vec<String>, Error> {
        let keyring = self.keyring();
        let mut warnings = Vec::new();
        for package in entering {
            let name = package.id.name_version();
            let Some(admitted) = self.db.admitted(&package.id)? else {
                continue;
            };
            if let Some(why) = trust::revoked(&keyring, &admitted) {
                warnings.push(format!("{name} cannot be activated: {why}"));
            } else if matches!(admitted, Admitted::Person { .. }) {
                warnings.push(format!("{name} was {admitted}"));
            }
        }
        Ok(warnings)
    }

    /// Key files that do not count, and active packages that no trusted key stands behind though
    /// the node asks for one.
    pub(super) fn trust_notes(&self) -> Vec<String> {
        let keyring = self.keyring();
        let mut notes = keyring.problems.clone();
        for id in &self.active.row.list {
            let Ok(Some(admitted)) = self.db.admitted(id) else {
                continue;
            };
            let name = id.name_version();
            if let Some(why) = trust::revoked(&keyring, &admitted) {
                notes.push(format!("{name} is active, but {why}"));
            } else if matches!(admitted, Admitted::Person { .. }) {
                notes.push(format!("{name} is active and was {admitted}"));
            }
        }
        notes
    }
}
