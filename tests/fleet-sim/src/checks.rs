//! Checks on connections that stay open: "is what I run what I am to run?".

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use model::Digest;
use model::wire::{Check, Checked, Verdict};

use crate::http::{self, Master};
use crate::measure::Watch;
use crate::tls::{Ground, Identity};

/// Connections that ask at the same time, each one thing after another.
const ASKING: usize = 64;
/// How long each turn is.
const TURN: Duration = Duration::from_secs(4);

/// How many were answered, and within how long.
pub(crate) struct Checks {
    pub(crate) answers: u64,
    pub(crate) took: Duration,
}

impl Checks {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) fn per_second(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64()
    }
}

/// The first nodes ask again and again.
pub(crate) async fn turn(
    server: &Master,
    ground: &Ground,
    nodes: &[Arc<Identity>],
    software: Option<Digest>,
) -> Result<Checks> {
    let body = Bytes::from(serde_json::to_vec(&Check { software })?);
    let mut open = Vec::new();
    // The first one objects to everything, and does not run what the others run.
    for node in nodes.iter().skip(1).take(ASKING) {
        let mut sender = server.open(Arc::new(ground.node(node)?)).await?;
        let first = http::read(ask(&mut sender, &body).await?).await?;
        let answer: Checked = serde_json::from_slice(&first)?;
        anyhow::ensure!(
            matches!(answer.verdict, Verdict::GoOn | Verdict::Unassigned),
            "{} was told {:?}",
            node.name,
            answer.verdict
        );
        open.push(sender);
    }
    let watch = Watch::start();
    let all: FuturesUnordered<_> = open
        .into_iter()
        .map(|sender| tokio::spawn(again(sender, body.clone(), watch)))
        .collect();
    let counts: Vec<Result<u64>> = all.try_collect().await.context("a task ended")?;
    let took = watch.elapsed();
    let mut answers = 0;
    for count in counts {
        answers += count?;
    }
    Ok(Checks { answers, took })
}

async fn again(
    mut sender: http1::SendRequest<Full<Bytes>>,
    body: Bytes,
    watch: Watch,
) -> Result<u64> {
    let mut count = 0;
    while watch.elapsed() < TURN {
        http::read(ask(&mut sender, &body).await?).await?;
        count += 1;
    }
    Ok(count)
}

async fn ask(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    body: &Bytes,
) -> Result<hyper::Response<hyper::body::Incoming>> {
    sender.ready().await?;
    let request = http::json("POST", "/v1/check", None, body.clone())?;
    Ok(sender.send_request(request).await?)
}
