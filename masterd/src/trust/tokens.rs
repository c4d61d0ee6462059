//! Enrolment tokens: limited by count, time and class.

use model::wire::{ClassName, FleetName, IssuedToken, NewToken, TokenText, TokenView};

use super::records::{TOKENS, Token};
use super::{Authority, DAY, Error, secret};
use crate::audit::Note;
use crate::clock::rfc3339;
use crate::store::{Entry, Txn};

/// Nodes that one token may let in.
const MOST_USES: u32 = 1_000_000;

impl Authority {
    /// `POST /v1/tokens`.
    pub async fn make_token(
        &self,
        new: NewToken,
        by: &FleetName,
        now: u64,
    ) -> Result<IssuedToken, Error> {
        let refuse = |field, rule| Err(Error::Value { field, rule });
        if new.uses == 0 || new.uses > MOST_USES {
            return refuse("uses", "must be 1 to 1000000");
        }
        if new.seconds == 0 || new.seconds > 366 * DAY {
            return refuse("seconds", "must be 1 to 31622400, which is 366 days");
        }
        self.sweep_tokens(now).await?;
        let (id, word) = (secret::random_hex(4)?, secret::random_hex(32)?);
        let token = Token {
            secret: secret::hash(&word),
            uses: new.uses,
            until: now + new.seconds,
            classes: new.classes,
            by: by.clone(),
        };
        let what = format!("{} nodes, {} s", token.uses, new.seconds);
        let note = Note::new(by, "make token").on(&id).because(&what);
        let key = format!("{TOKENS}{id}");
        let txn = Txn::new().when(&key, crate::store::Revision::ABSENT);
        self.committed(txn.put(&key, &token)?, note).await?;
        let text = format!("co1.{id}.{word}.{}", self.inner.ca.hash());
        Ok(IssuedToken {
            token: TokenText(text),
            view: view(id, token),
        })
    }

    /// `GET /v1/tokens`.
    pub async fn tokens(&self) -> Result<Vec<TokenView>, Error> {
        let (entries, _) = self.inner.store.range(TOKENS).await?;
        let read = |entry: &Entry| Ok(view(id_of(entry), entry.read()?));
        entries.iter().map(read).collect()
    }

    /// `DELETE /v1/tokens/{id}`.
    pub async fn remove_token(&self, id: &str, by: &FleetName) -> Result<(), Error> {
        let key = format!("{TOKENS}{id}");
        let known = if id.is_empty() {
            None
        } else {
            self.inner.store.get(&key).await?
        };
        let Some(entry) = known else {
            return Err(Error::Unknown {
                what: "token",
                name: id.chars().take(80).collect(),
            });
        };
        let txn = Txn::new().when(&key, entry.revision).delete(key);
        let note = Note::new(by, "remove token").on(id);
        self.committed(txn, note).await.map(drop)
    }

    /// The transaction that uses `ID.SECRET` once, the classes that it gives, and its id. The caller
    /// holds `changing`.
    pub(super) async fn use_token(
        &self,
        text: &str,
        now: u64,
    ) -> Result<(Txn, Vec<ClassName>, String), Error> {
        let refuse = |what| Err(Error::Token { what });
        let Some((id, word)) = text.split_once('.') else {
            return refuse("is not one: it is ID.SECRET");
        };
        let is_id = id.len() <= 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_id || id.is_empty() {
            return refuse("is unknown");
        }
        let key = format!("{TOKENS}{id}");
        let found = self.inner.store.record::<Token>(&key).await?;
        // One answer for an unknown id and a wrong secret: ids are not to be tried out.
        let Some((mut token, at)) = found.filter(|(token, _)| secret::is(word, &token.secret))
        else {
            return refuse("is unknown");
        };
        if token.until <= now {
            return refuse("is out of date");
        }
        if token.uses == 0 {
            return refuse("is used up");
        }
        token.uses -= 1;
        let txn = Txn::new().when(&key, at).put(&key, &token)?;
        Ok((txn, token.classes, id.to_owned()))
    }

    /// Those that ended a month ago need not be shown any more.
    async fn sweep_tokens(&self, now: u64) -> Result<(), Error> {
        let (entries, _) = self.inner.store.range(TOKENS).await?;
        let mut txn = Txn::new();
        for entry in entries.iter().take(crate::store::MOST_OPERATIONS) {
            if entry.read::<Token>()?.until + 30 * DAY < now {
                txn = txn.delete(&entry.key);
            }
        }
        self.inner.store.commit(txn).await?;
        Ok(())
    }
}

fn id_of(entry: &Entry) -> String {
    entry.key.trim_start_matches(TOKENS).to_owned()
}

fn view(id: String, token: Token) -> TokenView {
    TokenView {
        id,
        uses: token.uses,
        until: rfc3339(token.until),
        classes: token.classes,
        by: token.by,
    }
}
