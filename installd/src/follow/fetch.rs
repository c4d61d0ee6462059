//! What a software list needs: the list itself, manifests, and objects that the node lacks, from
//! the master or a mirror, without credentials.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Digest;
use model::envelope::ReadPackage;
use model::trust::Signed;
use model::wire::SoftwareList;
use transfer::{Bound, Fetcher, Order, Progress, Settings, Source, Want};

use super::Error;
use super::kept::Member;
use crate::sys::master::tls::{self, Anchor};
use crate::sys::packages::parts;
use crate::sys::{self, Doing, master};

/// Bytes of a software list at most.
const MOST_LIST: u64 = 4 << 20;
/// Bytes of one manifest at most.
const MOST_MANIFEST: u64 = 64 << 20;
/// Packages of a list at most.
const MOST_PACKAGES: usize = 4096;

/// Release documents at most: one for each class of a node.
const MOST_RELEASES: usize = 256;

/// How far a fetch is, told as it goes on.
pub(super) type Told = Arc<dyn Fn(Progress) + Send + Sync>;

/// Fetches for one list.
pub(super) struct Fetch {
    fetcher: Fetcher,
    list: Digest,
    /// The list that runs.
    from: Option<Digest>,
    spool: PathBuf,
    told: Told,
}

impl Fetch {
    pub(super) fn new(
        member: &Member,
        (list, from): (Digest, Option<Digest>),
        (spool, rate): (PathBuf, u64),
        told: Told,
    ) -> Result<Self, Error> {
        let anchor = Anchor::Certificate(member.ca.clone());
        let own = master::http::client(tls::client(&anchor, None)?)?;
        let mut sources = vec![Source {
            url: member.url.clone(),
            client: own.clone(),
        }];
        sources.extend(member.mirrors.iter().map(|url| Source {
            url: url.clone(),
            client: own.clone(),
        }));
        let settings = Settings {
            rate,
            ..Settings::default()
        };
        Ok(Self {
            fetcher: Fetcher::new(sources, settings),
            list,
            from,
            spool,
            told,
        })
    }

    /// The packages of the list, front first, each checked against the list.
    pub(super) async fn packages(&self) -> Result<Vec<ReadPackage>, Error> {
        let none = |_: &Digest| None;
        let want = |digest, most| Want {
            digest,
            bound: Bound::Most(most),
        };
        self.fetch(&[want(self.list, MOST_LIST)], &none).await?;
        let list: SoftwareList = serde_json::from_slice(&self.read(&self.list)?)
            .map_err(|error| refused(format!("the software list cannot be read: {error}")))?;
        if list.packages.len() > MOST_PACKAGES {
            return Err(refused("the software list is too long".to_owned()));
        }
        let manifests = list.packages.iter();
        let wants: Vec<Want> = manifests
            .map(|one| want(one.manifest, MOST_MANIFEST))
            .collect();
        self.fetch(&wants, &none).await?;
        let mut packages = Vec::with_capacity(list.packages.len());
        for listed in list.packages {
            let signature = listed.signatures.map(String::into_bytes);
            let package = parts::read(self.read(&listed.manifest)?, signature)?;
            if package.id != listed.id {
                return Err(refused(format!(
                    "the manifest of {} is that of {}",
                    listed.id, package.id
                )));
            }
            packages.push(package);
        }
        Ok(packages)
    }

    /// Release documents, as they were signed.
    pub(super) async fn releases(&self, digests: &[Digest]) -> Result<Vec<Signed>, Error> {
        if digests.len() > MOST_RELEASES {
            return Err(refused("there are too many release documents".to_owned()));
        }
        for digest in digests {
            let want = Want {
                digest: *digest,
                bound: Bound::Most(MOST_LIST),
            };
            // Each is offered by itself: it belongs to no list.
            self.fetch_of((*digest, None), &[want], &|_| None).await?;
        }
        let read = |digest| {
            serde_json::from_slice(&self.read(digest)?)
                .map_err(|error| refused(format!("a release document cannot be read: {error}")))
        };
        digests.iter().map(read).collect()
    }

    /// Objects into the spool; `have` finds those that the node has.
    pub(super) async fn objects(
        &self,
        lacking: &[(Digest, u64)],
        have: &(dyn Fn(&Digest) -> Option<PathBuf> + Send + Sync),
    ) -> Result<(), Error> {
        let want = |&(digest, size): &(Digest, u64)| Want {
            digest,
            bound: Bound::Exactly(size),
        };
        let wants: Vec<Want> = lacking.iter().map(want).collect();
        self.fetch(&wants, have).await
    }

    async fn fetch(
        &self,
        wants: &[Want],
        have: &(dyn Fn(&Digest) -> Option<PathBuf> + Send + Sync),
    ) -> Result<(), Error> {
        self.fetch_of((self.list, self.from), wants, have).await
    }

    async fn fetch_of(
        &self,
        (list, from): (Digest, Option<Digest>),
        wants: &[Want],
        have: &(dyn Fn(&Digest) -> Option<PathBuf> + Send + Sync),
    ) -> Result<(), Error> {
        if wants.is_empty() {
            return Ok(());
        }
        let order = Order {
            list,
            from,
            wants,
            have,
            spool: &self.spool,
            progress: &*self.told,
        };
        let fetched = self.fetcher.fetch(order).await;
        fetched
            .map(drop)
            .map_err(|error| refused(model::report::Chain(&error).to_string()))
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.spool.join(digest.to_string());
        let bytes = fs_err::read(path).doing(|| format!("read {digest} from the spool"))?;
        // The spool outlives a crash of the machine.
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        drop(fs_err::remove_file(self.spool.join(digest.to_string())));
        Err(refused(format!(
            "{digest} in the spool was damaged; it is fetched again the next time"
        )))
    }
}

fn refused(why: String) -> Error {
    Error::Effect(sys::Error::Refused(why))
}

/// Nothing on its way is needed any more.
pub(super) fn empty(spool: &Path) {
    if spool.exists()
        && let Err(error) = fs_err::remove_dir_all(spool)
    {
        tracing::warn!("the spool was not emptied: {error}");
    }
}
