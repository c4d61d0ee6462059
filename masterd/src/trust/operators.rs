//! Operators: made, given a token or a certificate, and sent away.

use model::wire::{FleetName, IssuedOperator, NewOperator, OperatorView, Role};

use super::ca::Request;
use super::records::{OPERATORS, Operator};
use super::{Authority, Error, Issued, Subject, secret};
use crate::audit::Note;
use crate::clock::rfc3339;
use crate::store::{Revision, Txn};

impl Authority {
    /// `POST /v1/operators`: a new operator, or a new token and other rights for one that is there,
    /// whose old token and certificates then count no more.
    pub async fn make_operator(
        &self,
        new: NewOperator,
        by: &str,
        now: u64,
    ) -> Result<IssuedOperator, Error> {
        let _changing = self.inner.changing.lock().await;
        let key = format!("{OPERATORS}{}", new.name);
        let found = self.inner.store.record::<Operator>(&key).await?;
        let at = found.as_ref().map_or(Revision::ABSENT, |(_, at)| *at);
        if !administers(new.role, &new.classes) {
            self.check_not_last(&new.name)?;
        }
        let word = secret::random_hex(32)?;
        let generation = found.as_ref().map_or(0, |(old, _)| old.generation + 1);
        let operator = Operator {
            name: new.name,
            role: new.role,
            classes: new.classes,
            secret: secret::hash(&word),
            generation,
            created: found.map_or(now, |(old, _)| old.created),
        };
        let what = format!("make operator {}", operator.role);
        let note = Note::new(by, &what).on(&operator.name);
        let txn = Txn::new().when(&key, at).put(&key, &operator)?;
        let at = self.committed(txn, note).await?;
        self.inner.known.settled(&key, at).await;
        let token = format!("coo1.{}.{word}", operator.name);
        Ok(IssuedOperator {
            operator: view(&operator),
            token,
        })
    }

    /// `GET /v1/operators`.
    pub fn operators(&self) -> Vec<OperatorView> {
        let all = self.inner.known.operators();
        all.iter().map(|operator| view(operator)).collect()
    }

    /// `DELETE /v1/operators/{name}`.
    pub async fn remove_operator(&self, name: &FleetName, by: &FleetName) -> Result<(), Error> {
        let _changing = self.inner.changing.lock().await;
        let key = format!("{OPERATORS}{name}");
        let Some(entry) = self.inner.store.get(&key).await? else {
            return Err(Error::Unknown {
                what: "operator",
                name: name.to_string(),
            });
        };
        self.check_not_last(name)?;
        let txn = Txn::new().when(&key, entry.revision).delete(&key);
        let note = Note::new(by, "remove operator").on(name);
        let at = self.committed(txn, note).await?;
        self.inner.known.settled(&key, at).await;
        Ok(())
    }

    /// `POST /v1/operators/{name}/certificate`: for those who keep a key in place of a token.
    pub async fn certify_operator(
        &self,
        name: &FleetName,
        pem: &str,
        (by, now): (&FleetName, u64),
    ) -> Result<Issued, Error> {
        let request = Request::read(pem)?;
        let operator = self.operator(name).ok_or_else(|| Error::Unknown {
            what: "operator",
            name: name.to_string(),
        })?;
        let subject = Subject::Operator(name.clone());
        let dates = (now, self.inner.settings.life);
        let issued = self
            .inner
            .ca
            .client(&subject, operator.generation, &request, dates)?;
        let note = Note::new(by, "certify operator")
            .on(name)
            .because(&issued.serial);
        self.committed(Txn::new(), note).await?;
        Ok(issued)
    }

    fn check_not_last(&self, name: &FleetName) -> Result<(), Error> {
        let all = self.inner.known.operators();
        let mut admins = all.iter().filter(|it| administers(it.role, &it.classes));
        match (admins.next(), admins.next()) {
            (Some(only), None) if only.name == *name => Err(Error::LastAdmin {
                name: name.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// Whether somebody with these rights can put anything right.
fn administers(role: Role, classes: &[model::wire::ClassName]) -> bool {
    role == Role::Admin && classes.is_empty()
}

fn view(operator: &Operator) -> OperatorView {
    OperatorView {
        name: operator.name.clone(),
        role: operator.role,
        classes: operator.classes.clone(),
        created: rfc3339(operator.created),
    }
}
