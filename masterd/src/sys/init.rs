//! A new fleet: its CA, its keys, its first operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use model::wire::{FleetName, NewOperator, Profile, Role};

use super::backup::{STORE, make_private};
use super::lock::Lock;
use crate::audit::{Audit, Note};
use crate::clock;
use crate::config::Config;
use crate::store::sqlite::Sqlite;
use crate::store::{Outcome, Revision, Store, Txn};
use crate::trust::{Authority, Files, Settings, write_private};

/// What `masterd init` is told.
#[derive(Debug, Clone)]
pub struct Init {
    /// The fleet's name.
    pub fleet: FleetName,
    /// Host names and addresses of the master, the one that others use first.
    pub names: Vec<String>,
    /// The first operator's name.
    pub operator: FleetName,
    /// Where the first operator's profile is written.
    pub profile: PathBuf,
}

/// Makes the fleet, and answers with the first operator's profile, which is written, too.
pub async fn init(config: &Config, init: &Init) -> anyhow::Result<Profile> {
    if init.names.is_empty() {
        bail!("a master needs a name that its nodes reach it by: --name HOST or --name ADDRESS");
    }
    make_private(&config.state_dir).context("could not make the state directory")?;
    let _lock = Lock::take(&config.state_dir)?;
    let files = Files::new(&config.state_dir);
    if files.exist() {
        bail!(
            "there is a fleet in {} already: masterd serve",
            config.state_dir.display()
        );
    }
    let now = clock::now();
    let store = Store::new(Arc::new(Sqlite::open(&config.state_dir.join(STORE))?));
    let audit = Audit::start(store.clone()).await?;
    let ca = files.make(init.fleet.as_str(), &init.names, now)?;
    let key = files.master_key()?;
    let epoch = Txn::new()
        .when("meta/epoch", Revision::ABSENT)
        .put("meta/epoch", &1_u64)?;
    let note = Note::new("masterd", "make fleet").on(&init.fleet);
    if audit.commit(epoch, note).await? == Outcome::Conflict {
        bail!("the store in {} is not empty", config.state_dir.display());
    }
    files.set_epoch(1)?;
    let parts = (store, audit);
    let authority = Authority::start(ca, &key, Settings::default(), parts).await?;
    let profile = operator(&authority, &init.operator, &url(&init.names, config)).await?;
    write_profile(&init.profile, &profile)?;
    Ok(profile)
}

/// A profile for an operator who may everything: a new one, or a new token for one that is there.
async fn operator(
    authority: &Authority,
    name: &FleetName,
    master: &str,
) -> anyhow::Result<Profile> {
    let new = NewOperator {
        name: name.clone(),
        role: Role::Admin,
        classes: Vec::new(),
    };
    let issued = authority
        .make_operator(new, "masterd", clock::now())
        .await?;
    Ok(Profile {
        master: master.to_owned(),
        token: issued.token,
        ca: authority.ca().pem().to_owned(),
    })
}

fn url(names: &[String], config: &Config) -> String {
    let host = names.first().map_or("localhost", String::as_str);
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    format!("https://{host}:{}", config.listen.port())
}

fn write_profile(path: &Path, profile: &Profile) -> anyhow::Result<()> {
    let text = toml::to_string(profile).context("could not write the profile")?;
    write_private(path, text.as_bytes()).context("could not write the profile")
}
