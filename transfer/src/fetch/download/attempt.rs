//! One range of one blob, of one source after the other.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Instant;

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use super::{Failed, Run, lock};
use crate::error::{Doing, Error};
use crate::fetch::Source;
use crate::fetch::blob::{Target, Written};
use crate::index::Blob;

/// An attempt that brought so much does not count as one that failed.
const PROGRESS: u64 = 64 << 10;

/// After so long a source must have sent [`SLOWEST`] bytes a second.
const PATIENCE: f64 = 30.0;
const SLOWEST: f64 = 1024.0;

/// Why one attempt failed.
enum Trouble {
    /// The source did not answer, or stopped.
    Away(String),
    /// It answered, but not with this; it is not asked for it again.
    Useless(String),
    /// The node's own.
    Own(Error),
}

impl Run<'_> {
    /// Fetches the bytes of a blob from `start` up to `end`.
    pub(in crate::fetch) async fn piece(
        &self,
        blob: &Blob,
        target: &Mutex<Target>,
        (start, end): (u64, u64),
    ) -> Result<(), Failed> {
        let mut out = Vec::new();
        let mut failed = 0;
        let mut last = String::from("there is no source");
        let mut url = String::new();
        while let Some((number, source)) = self.sources.pick(&out) {
            let Some(hole) = lock(target).hole(start, end) else {
                return Ok(());
            };
            let before = lock(target).count(start, end);
            let trouble = match self.attempt((blob, source), target, hole).await {
                Ok(()) => continue,
                Err(trouble) => trouble,
            };
            let brought = lock(target).count(start, end).saturating_sub(before);
            self.counts().retries.fetch_add(1, Ordering::Relaxed);
            self.sources.strike(number);
            url.clone_from(&source.url);
            match trouble {
                Trouble::Own(error) => return Err(Failed::Network(error)),
                Trouble::Useless(reason) => {
                    last = format!("{url}: {reason}");
                    out.push(number);
                }
                Trouble::Away(reason) => {
                    last = reason;
                    failed += usize::from(brought < PROGRESS);
                    if failed >= self.settings.attempts {
                        let (source_url, reason) = (url, last);
                        return Err(Failed::Network(Error::Unreachable { source_url, reason }));
                    }
                    self.pause(failed).await;
                }
            }
        }
        Err(Failed::Refused(last))
    }

    /// Fetches one hole.
    async fn attempt(
        &self,
        (blob, source): (&Blob, &Source),
        target: &Mutex<Target>,
        (first, end): (u64, u64),
    ) -> Result<(), Trouble> {
        let mut at = first;
        let url = format!(
            "{}/objects/{}",
            source.url.trim_end_matches('/'),
            blob.digest
        );
        let range = format!("bytes={at}-{}", end - 1);
        let request = source.client.get(url).header(RANGE, range);
        self.counts().requests.fetch_add(1, Ordering::Relaxed);
        let mut response = match timeout(self.settings.stall, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Trouble::Away(chain(&error))),
            Err(_) => return Err(Trouble::Away("no answer".to_owned())),
        };
        starts_right(&response, blob, at)?;
        let began = Instant::now();
        while at < end {
            let chunk = match timeout(self.settings.stall, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Err(Trouble::Away("it ended early".to_owned())),
                Ok(Err(error)) => return Err(Trouble::Away(chain(&error))),
                Err(_) => return Err(Trouble::Away("it stopped in the middle".to_owned())),
            };
            self.counts()
                .fetched
                .fetch_add(chunk.len() as u64, Ordering::Relaxed);
            let most = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            self.take(
                blob,
                target,
                (first, at, chunk.get(..most).unwrap_or_default()),
            )?;
            at += most as u64;
            self.limiter.pass(chunk.len()).await;
            self.fast_enough(began, at - first)?;
        }
        Ok(())
    }

    /// Writes what came. Into the page cache: waiting for that is shorter than handing it over.
    fn take(
        &self,
        blob: &Blob,
        target: &Mutex<Target>,
        (first, at, bytes): (u64, u64, &[u8]),
    ) -> Result<(), Trouble> {
        let written = lock(target)
            .write(at, bytes)
            .doing(|| format!("write blob {} into the spool", blob.digest))
            .map_err(Trouble::Own)?;
        self.tell();
        match written {
            Written::Fine => Ok(()),
            Written::Wrong(unit) => {
                self.counts().refused.fetch_add(1, Ordering::Relaxed);
                let what = "it sends other bytes than the index says".to_owned();
                // Where the unit had bytes of another source, nobody knows whose were wrong.
                Err(if unit < first {
                    Trouble::Away(what)
                } else {
                    Trouble::Useless(what)
                })
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rough measure")]
    fn fast_enough(&self, began: Instant, bytes: u64) -> Result<(), Trouble> {
        let seconds = began.elapsed().as_secs_f64();
        if self.settings.rate == 0 && seconds > PATIENCE && bytes as f64 / seconds < SLOWEST {
            return Err(Trouble::Away("it is too slow".to_owned()));
        }
        Ok(())
    }

    /// A small document that may change, of the first source that has it.
    pub(in crate::fetch) async fn document(
        &self,
        name: &str,
        most: usize,
    ) -> Result<Vec<u8>, Failed> {
        let mut round = 0;
        loop {
            let mut away = None;
            let mut refused = None;
            for (_, source) in self.sources.in_order() {
                match self.small(source, name, most).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(Trouble::Own(error)) => return Err(Failed::Network(error)),
                    Err(Trouble::Useless(reason)) => {
                        refused = Some(format!("{}: {reason}", source.url));
                    }
                    Err(Trouble::Away(reason)) => away = Some((source.url.clone(), reason)),
                }
            }
            round += 1;
            match (refused, away) {
                // One source that answers is enough to know.
                (Some(reason), _) => return Err(Failed::Refused(reason)),
                (None, None) => return Err(Failed::Refused("there is no source".to_owned())),
                (None, Some((source_url, reason))) if round >= self.settings.attempts => {
                    return Err(Failed::Network(Error::Unreachable { source_url, reason }));
                }
                (None, Some(_)) => self.pause(round).await,
            }
        }
    }

    async fn small(&self, source: &Source, name: &str, most: usize) -> Result<Vec<u8>, Trouble> {
        let url = format!("{}/{name}", source.url.trim_end_matches('/'));
        self.counts().requests.fetch_add(1, Ordering::Relaxed);
        let get = async {
            let mut response = source
                .client
                .get(url)
                .send()
                .await
                .map_err(|error| Trouble::Away(chain(&error)))?;
            accepted(response.status())?;
            let mut bytes = Vec::new();
            while let Some(chunk) = response
                .chunk()
                .await
                .map_err(|error| Trouble::Away(chain(&error)))?
            {
                self.counts()
                    .fetched
                    .fetch_add(chunk.len() as u64, Ordering::Relaxed);
                bytes.extend_from_slice(&chunk);
                if bytes.len() > most {
                    return Err(Trouble::Useless(format!(
                        "{name} is longer than {most} bytes"
                    )));
                }
            }
            Ok(bytes)
        };
        timeout(self.settings.stall, get)
            .await
            .unwrap_or_else(|_| Err(Trouble::Away("no answer".to_owned())))
    }
}

fn accepted(status: StatusCode) -> Result<(), Trouble> {
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(()),
        status
            if status.is_client_error()
                && status != StatusCode::TOO_MANY_REQUESTS
                && status != StatusCode::REQUEST_TIMEOUT =>
        {
            Err(Trouble::Useless(format!("answered {status}")))
        }
        status => Err(Trouble::Away(format!("answered {status}"))),
    }
}

/// Whether the body begins at `at`.
fn starts_right(response: &Response, blob: &Blob, at: u64) -> Result<(), Trouble> {
    accepted(response.status())?;
    if response.status() == StatusCode::OK {
        // A server that knows no ranges is of use only from the start.
        let length = response
            .content_length()
            .is_none_or(|length| length == blob.size);
        return match (at, length) {
            (0, true) => Ok(()),
            (0, false) => Err(Trouble::Useless("it has another length".to_owned())),
            _ => Err(Trouble::Useless("it does not serve ranges".to_owned())),
        };
    }
    let header = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    let (first, size) = header.and_then(content_range).unwrap_or((u64::MAX, None));
    if first != at || size.is_some_and(|size| size != blob.size) {
        return Err(Trouble::Useless(
            "it sends another range than it was asked for".to_owned(),
        ));
    }
    Ok(())
}

/// `bytes FIRST-LAST/SIZE`, the size perhaps `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()))
}

/// reqwest's own message leaves the cause out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
