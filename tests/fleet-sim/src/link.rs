//! One simulated node: it says hello, accepts what it is asked, and runs what it is told to.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use model::change::{ChangeReport, Outcome};
use model::trust::Signed;
use model::wire::{
    Ask, Ballot, FromNode, Have, Hello, Installed, NodeEnd, Objection, PROTOCOL, ToNode, Verdict,
    Vote, Wanted,
};
use model::{ChangeId, Digest, Generation};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::enrol;
use crate::http::Master;
use crate::measure::{self, Watch};
use crate::tls::{Ground, Identity};

/// What happened to a node, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) what: What,
    pub(crate) at: Duration,
    /// What it runs then.
    pub(crate) runs: Option<Digest>,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Asked,
    Wanted,
    Committed,
    Lost,
}

/// A node whose link is open.
pub(crate) struct Linked {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    installed: Installed,
    /// Whether it objects to everything.
    objects: bool,
}

impl Linked {
    /// Handshake, hello, answer.
    pub(crate) async fn open(
        master: &Master,
        ground: &Ground,
        who: &Identity,
        objects: bool,
    ) -> Result<Self> {
        let stream = master.connect(Arc::new(ground.node(who)?)).await?;
        let request = format!("wss://{}/v1/link", master.name).into_client_request()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0);
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        let mut linked = Self {
            socket,
            installed: Installed::default(),
            objects,
        };
        let hello = Hello {
            protocol: PROTOCOL,
            facts: enrol::facts(),
            installed: linked.installed.clone(),
            boot: who.name.to_string(),
            boot_gate: false,
        };
        linked.say(&FromNode::Hello(Box::new(hello))).await?;
        let answer = linked.hear().await?;
        let ToNode::Welcome {
            verdict: Verdict::GoOn | Verdict::Unassigned,
            ..
        } = answer
        else {
            bail!("{} was not told to go on: {answer:?}", who.name);
        };
        Ok(linked)
    }

    async fn say(&mut self, message: &FromNode) -> Result<()> {
        let text = serde_json::to_string(message)?;
        Ok(self.socket.send(Message::text(text)).await?)
    }

    async fn hear(&mut self) -> Result<ToNode> {
        loop {
            match self.socket.next().await.context("the link was closed")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("the link was closed: {frame:?}"),
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Does as it is told until the link ends.
    pub(crate) async fn live(mut self, watch: Watch, seen: mpsc::UnboundedSender<Seen>) {
        let tell = |what, runs| {
            let at = watch.elapsed();
            // Nobody counts any more when the measurement is over.
            seen.send(Seen { what, at, runs }).ok();
        };
        while let Ok(message) = self.hear().await {
            let (what, answer) = match message {
                ToNode::Ask(ask) => (Some(What::Asked), Some(self.ballot(&ask))),
                ToNode::Wanted(wanted) => (Some(What::Wanted), self.ended(&wanted).ok()),
                ToNode::Commit { .. } => (Some(What::Committed), None),
                ToNode::List => (None, Some(FromNode::Have(Have::default()))),
                ToNode::Welcome { .. }
                | ToNode::Withdraw { .. }
                | ToNode::Go { .. }
                | ToNode::Abort { .. } => (None, None),
            };
            if let Some(what) = what {
                tell(what, self.installed.software);
            }
            if let Some(answer) = answer
                && self.say(&answer).await.is_err()
            {
                break;
            }
        }
        tell(What::Lost, None);
    }

    fn ballot(&self, ask: &Ask) -> FromNode {
        let vote = if self.objects {
            let objections = "simulated".parse().map(|process| Objection {
                process,
                reason: "call in progress".to_owned(),
            });
            Vote::Veto {
                objections: objections.into_iter().collect(),
            }
        } else {
            Vote::Accept
        };
        FromNode::Ballot(Box::new(Ballot {
            rollout: ask.rollout,
            round: ask.round,
            // Before its first update it runs nothing, which has a hash like everything else.
            base: (self.installed.software).unwrap_or_else(|| Digest::of(b"nothing")),
            target: ask.target,
            expires: measure::now() + 600,
            vote,
            reached: 1,
            restarts: 1,
            bytes: 0,
            reboot: None,
        }))
    }

    fn ended(&mut self, signed: &Signed) -> Result<FromNode> {
        let wanted: Wanted = serde_json::from_str(&signed.text)?;
        let rollout = wanted.orders.rollout.context("no update ordered it")?;
        self.installed = Installed {
            software: Some(wanted.software),
            committed: self.installed.committed,
            epoch: wanted.epoch,
            counter: wanted.counter,
            ..Installed::default()
        };
        let report = ChangeReport::new(ChangeId(1), Outcome::Done, Generation(1));
        Ok(FromNode::Ended(Box::new(NodeEnd {
            rollout,
            epoch: wanted.epoch,
            counter: wanted.counter,
            report: Some(Box::new(report)),
            detail: None,
            check: None,
            installed: self.installed.clone(),
        })))
    }
}
