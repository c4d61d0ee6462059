//! The node's keys, and the gate of its store.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use model::change::AddedPackage;
use model::envelope::ReadPackage;
use model::trust::{Admitted, Keyring, judge};

use super::Error;
use crate::config::{Trust, Unsigned};
use crate::plan::admission::{self, Rule};

/// The key files of this node, as they are now.
pub fn keyring(directory: &Path) -> Keyring {
    model::trust::read(directory, &[0, rustix::process::geteuid().as_raw()])
}

/// Who may bring packages in, as of one `add`.
#[derive(Debug)]
pub struct Gate {
    keyring: Keyring,
    rule: Rule,
    directory: String,
    now: u64,
}

impl Gate {
    /// The gate as it is configured; `allowed_by` has given their word for what no key vouches for.
    pub fn open(trust: &Trust, allowed_by: Option<String>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let rule = match (allowed_by, trust.unsigned) {
            (Some(who), _) => Rule::Allowed(who),
            (None, Unsigned::Accept) => Rule::Any,
            (None, Unsigned::Refuse) => Rule::Signed,
        };
        Self {
            keyring: keyring(&trust.directory),
            rule,
            directory: trust.directory.display().to_string(),
            now: since.map_or(0, |since| since.as_secs()),
        }
    }

    /// Lets a package in, or says why not and what can be done.
    pub fn admit(&self, package: &ReadPackage) -> Result<Admitted, Error> {
        let judgement = judge(
            (&package.id.name, &package.bytes),
            package.signature.as_deref(),
            &self.keyring,
            self.now,
        );
        admission::admit(&judgement, &self.rule).map_err(|against| {
            let name = package.id.name_version();
            let directory = &self.directory;
            Error::Refused(format!(
                "{name} is refused: {against}. Packages must be signed (pkgtool sign) by a key that \
                 a .pub file in {directory} trusts for them; pkgtool verify FILE says more, pkgtool \
                 add --allow-unsigned FILE takes one all the same and records who did"
            ))
        })
    }

    /// Whether this is to be written over what is known of a package already.
    pub fn replaces(&self, new: &Admitted, old: Option<&Admitted>) -> bool {
        let revoked = old.is_some_and(|old| revoked(&self.keyring, old).is_some());
        admission::replaces(new, old, revoked)
    }
}

/// Why what admitted a package counts no longer.
pub fn revoked(keyring: &Keyring, admitted: &Admitted) -> Option<String> {
    let (key, revoked) = keyring.revoked(admitted.keys())?;
    Some(format!(
        "it rests on key {key} ({}), which {} revokes",
        revoked.comment, revoked.file
    ))
}

/// What was added, for the daemon's log.
pub fn tell(added: &[AddedPackage]) {
    for one in added.iter().filter(|one| one.new) {
        match &one.admitted {
            Some(Admitted::Person { .. }) | None => {
                let why = one.admitted.as_ref().map(ToString::to_string);
                tracing::warn!(package = one.package, "added: {}", why.unwrap_or_default());
            }
            Some(admitted @ (Admitted::Keys { .. } | Admitted::Configuration { .. })) => {
                tracing::info!(package = one.package, "added: {admitted}");
            }
        }
    }
}
