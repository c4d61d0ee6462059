//! The gate of a daemon on a bus: who may change the node, and how much one caller may ask at once.
//!
//! Anyone may read. Changing needs root, the daemon's own user, or polkit's consent. Strangers
//! (everybody else) have few calls going on at a time, so that none of them keeps root waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::message::{Flags, Header};

use super::Error;
use super::polkit::{self, Consent};

/// Calls that one connection may have going on, whoever it is.
pub const CALLS: u32 = 128;
/// Calls that one user who is a stranger may have going on.
pub const CALLS_OF_A_STRANGER: u32 = 8;
/// Calls that all strangers together may have going on.
pub const CALLS_OF_STRANGERS: u32 = 32;
/// Callers that are remembered; a bus never gives one of its names twice.
const REMEMBERED: usize = 1024;

/// Who calls, as the bus says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its user.
    pub uid: u32,
    /// Its process; 0 where the bus does not know it.
    pub pid: u32,
}

/// One for each connection to a bus; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The daemon's own user.
    own: u32,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    callers: HashMap<String, Caller>,
    calls: HashMap<String, u32>,
    strangers: HashMap<u32, u32>,
}

/// A call that was let in; it is over when this is dropped.
#[derive(Debug)]
pub struct Pass {
    /// Who calls.
    pub caller: Caller,
    _call: Call,
    _stranger: Option<Stranger>,
}

/// One of a connection's calls.
#[derive(Debug)]
struct Call(Gate, String);

/// One of a stranger's calls.
#[derive(Debug)]
struct Stranger(Gate, u32);

impl Gate {
    /// The gate of a daemon that runs as the user `own`.
    pub fn new(own: u32) -> Self {
        Self {
            own,
            inside: Arc::default(),
        }
    }

    /// Lets a call in that only looks; refused where too many of the caller's go on.
    pub async fn look(&self, connection: &Connection, header: &Header<'_>) -> Result<Pass, Error> {
        let sender = header.sender().ok_or_else(nobody)?;
        let call = self.call(sender.as_str())?;
        let caller = self.caller(connection, sender.as_str()).await?;
        let stranger = if self.is_stranger(caller) {
            Some(self.stranger(caller.uid)?)
        } else {
            None
        };
        Ok(Pass {
            caller,
            _call: call,
            _stranger: stranger,
        })
    }

    /// Lets a call in that changes the node: of root, of the daemon's own user, or with polkit's
    /// consent.
    pub async fn change(
        &self,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<Pass, Error> {
        let pass = self.look(connection, header).await?;
        if !self.is_stranger(pass.caller) {
            return Ok(pass);
        }
        let sender = header.sender().ok_or_else(nobody)?;
        let interactive = header
            .primary()
            .flags()
            .contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let consent = polkit::ask(connection, sender.as_str(), interactive).await;
        let uid = pass.caller.uid;
        let hint = match consent {
            Consent::Given => return Ok(pass),
            Consent::IfAsked => "polkit wants to see a password: ask interactively, or as root",
            Consent::Refused => "ask as root, or let polkit allow org.changeover.manage",
            Consent::Absent => "ask as root; there is no polkit on this bus that could allow it",
        };
        Err(Error::NotAllowed(format!(
            "user {uid} may look but not change this node: {hint}"
        )))
    }

    fn is_stranger(&self, caller: Caller) -> bool {
        caller.uid != 0 && caller.uid != self.own
    }

    fn call(&self, sender: &str) -> Result<Call, Error> {
        let mut inside = self.lock();
        let calls = inside.calls.entry(sender.to_owned()).or_default();
        if *calls >= CALLS {
            return Err(too_many(&format!("{sender} has"), CALLS));
        }
        *calls += 1;
        Ok(Call(self.clone(), sender.to_owned()))
    }

    fn stranger(&self, uid: u32) -> Result<Stranger, Error> {
        let mut inside = self.lock();
        let all: u32 = inside.strangers.values().sum();
        let own = inside.strangers.entry(uid).or_default();
        if *own >= CALLS_OF_A_STRANGER {
            return Err(too_many(&format!("user {uid} has"), CALLS_OF_A_STRANGER));
        }
        if all >= CALLS_OF_STRANGERS {
            return Err(too_many("users other than root have", CALLS_OF_STRANGERS));
        }
        *own += 1;
        Ok(Stranger(self.clone(), uid))
    }

    async fn caller(&self, connection: &Connection, sender: &str) -> Result<Caller, Error> {
        let known = self.lock().callers.get(sender).copied();
        if let Some(caller) = known {
            return Ok(caller);
        }
        let bus = DBusProxy::new(connection).await.map_err(Error::Bus)?;
        let name = sender.try_into().map_err(|_| nobody())?;
        let credentials = bus.get_connection_credentials(name).await;
        let credentials = credentials.map_err(|_| nobody())?;
        let caller = Caller {
            uid: credentials.unix_user_id().ok_or_else(nobody)?,
            pid: credentials.process_id().unwrap_or_default(),
        };
        let mut inside = self.lock();
        if inside.callers.len() >= REMEMBERED {
            inside.callers.clear();
        }
        inside.callers.insert(sender.to_owned(), caller);
        Ok(caller)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        leave(&mut self.0.lock().calls, &self.1);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        leave(&mut self.0.lock().strangers, &self.1);
    }
}

/// One less; who has none left is forgotten.
fn leave<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn nobody() -> Error {
    Error::NotAllowed("the bus does not say who calls".to_owned())
}

fn too_many(who: &str, limit: u32) -> Error {
    Error::LimitsExceeded(format!(
        "{who} {limit} calls going on already, which is the most: wait for an answer"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_so_many_calls_and_no_more_until_one_ends() {
        let gate = Gate::new(0);
        let mut calls: Vec<_> = (0..CALLS).map(|_| gate.call(":1.7").unwrap()).collect();
        let error = gate.call(":1.7").unwrap_err();
        assert!(matches!(error, Error::LimitsExceeded(_)), "{error:?}");
        gate.call(":1.8").unwrap();
        calls.pop();
        gate.call(":1.7").unwrap();
        calls.clear();
        assert!(gate.lock().calls.is_empty());
    }

    #[test]
    fn strangers_are_counted_by_user_and_together() {
        let gate = Gate::new(0);
        let mut all = Vec::new();
        for uid in 1..=4 {
            all.extend((0..CALLS_OF_A_STRANGER).map(|_| gate.stranger(uid).unwrap()));
        }
        let own = gate.stranger(1).unwrap_err().to_string();
        assert!(own.contains("user 1 has 8 calls"), "{own}");
        let together = gate.stranger(5).unwrap_err().to_string();
        assert!(together.contains("users other than root"), "{together}");
        all.clear();
        gate.stranger(5).unwrap();
        assert!(gate.lock().strangers.is_empty());
    }
}
