//! A new fleet: its CA, its keys, its first operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use model::envelope::{Limits, Reader};
use model::wire::{FleetName, NewOperator, Profile, Role};

use super::backup::{STORE, make_private};
use super::lock::Lock;
use super::serve::parts_of;
use crate::audit::{Audit, Note};
use crate::clock;
use crate::config::Config;
use crate::engine;
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
    /// A composite image that the master begins with: its packages, nodes and assignments.
    pub image: Option<PathBuf>,
    /// With an image: every node stores its software within this time, then all start it together.
    pub prepare_all: Option<Duration>,
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
    if let Some(image) = &init.image {
        check(image)?;
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
    let parts = (store.clone(), audit.clone());
    let authority = Authority::start(ca, &key, Settings::default(), parts).await?;
    if let Some(image) = &init.image {
        let parts = parts_of(config, (store, audit), key)?;
        let seeded = seed(parts, image, init.prepare_all).await;
        seeded.with_context(|| {
            format!(
                "could not begin with {}; remove {}, and make the fleet again",
                image.display(),
                config.state_dir.display()
            )
        })?;
    }
    let profile = operator(&authority, &init.operator, &url(&init.names, config)).await?;
    write_profile(&init.profile, &profile)?;
    Ok(profile)
}

/// Before anything is made: whether there is an image to begin with.
fn check(image: &Path) -> anyhow::Result<()> {
    let file = std::io::BufReader::new(fs_err::File::open(image)?);
    let reader = Reader::open(file, Limits::default())
        .with_context(|| format!("could not read {}", image.display()))?;
    if reader.image().is_none() {
        bail!(
            "{} has packages only: pkgtool image makes a composite image",
            image.display()
        );
    }
    Ok(())
}

/// The master's store and shelf, with all that an image has.
async fn seed(
    parts: engine::Parts,
    image: &Path,
    prepare_all: Option<Duration>,
) -> anyhow::Result<()> {
    let file = fs_err::File::open(image)?.into_parts().0;
    let (engine, running) = engine::start(parts).await?;
    engine.import(file, Note::new("masterd", "import")).await?;
    let images = engine.images().await?;
    let own = images.first().context("there is no image in it")?;
    let id = format!("{}={}", own.name, own.version);
    engine.seed(id, prepare_all).await?;
    drop(engine);
    Ok(running.await??)
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
