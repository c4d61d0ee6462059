//! Who asks, and whether they may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::wire::{ClassName, FleetName, NodeName, Role};

use super::rates::What;
use super::{Access, Master, Refused};
use crate::clock;
use crate::trust::{Peer, Standing, Subject};

/// What the listener knows of a connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where it comes from.
    pub address: SocketAddr,
    /// What its certificate says, where it showed one of this fleet.
    pub peer: Option<Peer>,
    /// Whether it showed a certificate of the CA that is none of those that this master makes.
    pub is_strange: bool,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A node of the fleet.
    Node {
        /// Which.
        name: NodeName,
        /// Of its certificate, base 16.
        serial: String,
    },
    /// A node whose certificate is out of date: it may get itself a new one, and nothing else.
    Lapsed {
        /// Which.
        name: NodeName,
    },
    /// An operator, by certificate or token.
    Operator {
        /// Who.
        name: FleetName,
        /// What they may.
        role: Role,
        /// In these classes; empty: in all.
        classes: Vec<ClassName>,
    },
    /// Nobody that the fleet knows, and why not.
    Anyone(Why),
}

/// Why somebody is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No certificate and no token was shown.
    Nothing,
    /// The token is none, or none any more.
    Token,
    /// The certificate is worth nothing.
    Certificate(Standing),
}

impl Caller {
    /// How they are called in the audit log.
    pub fn label(&self) -> String {
        match self {
            Self::Node { name, .. } | Self::Lapsed { name } => name.to_string(),
            Self::Operator { name, .. } => name.to_string(),
            Self::Anyone(_) => "anyone".to_owned(),
        }
    }

    /// The operator's name: what is done is done by them. Rows that only operators reach may rely
    /// on it.
    pub fn operator(&self) -> Result<&FleetName, Refused> {
        if let Self::Operator { name, .. } = self {
            Ok(name)
        } else {
            Err(Refused::not_allowed("only an operator may do this"))
        }
    }

    /// Whether what is in these classes (a node's, or an assignment's) may be changed by them: an
    /// operator who is limited to classes may touch only what is in one of them.
    pub fn covers(&self, classes: &[ClassName]) -> bool {
        match self {
            Self::Operator { classes: own, .. } if own.is_empty() => true,
            Self::Operator { classes: own, .. } => classes.iter().any(|class| own.contains(class)),
            Self::Node { .. } | Self::Lapsed { .. } | Self::Anyone(_) => false,
        }
    }

    /// Whether they may change what is not in any class: all of the fleet.
    pub fn covers_all(&self) -> bool {
        matches!(self, Self::Operator { classes, .. } if classes.is_empty())
    }
}

impl Access {
    /// Whether `caller` may; else why not.
    pub fn check(self, caller: &Caller) -> Result<(), Refused> {
        let needs = match self {
            Self::Public | Self::Enrol => return Ok(()),
            Self::Node => match caller {
                Caller::Node { .. } => return Ok(()),
                Caller::Operator { .. } => return Err(only("a node")),
                Caller::Lapsed { .. } | Caller::Anyone(_) => return Err(unknown(caller)),
            },
            Self::Renew => match caller {
                Caller::Node { .. } | Caller::Lapsed { .. } => return Ok(()),
                Caller::Operator { .. } => return Err(only("a node")),
                Caller::Anyone(_) => return Err(unknown(caller)),
            },
            Self::Read => Role::Read,
            Self::Operate => Role::Operate,
            Self::Admin => Role::Admin,
        };
        match caller {
            Caller::Operator { role, .. } if *role >= needs => Ok(()),
            Caller::Operator { name, role, .. } => Err(Refused::not_allowed(format!(
                "{name} has the role {role}; this needs {needs}"
            ))
            .hint("ask an operator who may")),
            Caller::Node { .. } => Err(only("an operator")),
            Caller::Lapsed { .. } | Caller::Anyone(_) => Err(unknown(caller)),
        }
    }
}

fn only(who: &str) -> Refused {
    Refused::not_allowed(format!("only {who} may do this"))
}

fn unknown(caller: &Caller) -> Refused {
    let refuse = |status, kind, text: &str| Refused::new(status, kind, text);
    let why = match caller {
        Caller::Anyone(why) => *why,
        Caller::Lapsed { .. } => Why::Certificate(Standing::Lapsed),
        Caller::Node { .. } | Caller::Operator { .. } => Why::Nothing,
    };
    let (kind, text, hint) = match why {
        Why::Nothing => {
            return refuse(
                StatusCode::UNAUTHORIZED,
                "unknown",
                "nobody was named: this needs a certificate or a token",
            )
            .hint("operators: pkgtool fleet --profile FILE; nodes: pkgtool join");
        }
        Why::Token => {
            return refuse(
                StatusCode::UNAUTHORIZED,
                "unknown",
                "the operator's token is not good, or not good any more",
            )
            .hint("an operator with role admin makes a new one: pkgtool fleet operators add");
        }
        Why::Certificate(standing) => match standing {
            Standing::Revoked => ("revoked", "the certificate was revoked", "join again"),
            Standing::Retired => ("retired", "the node was retired", "join again"),
            Standing::Expired => (
                "expired",
                "the certificate is out of date for longer than the grace",
                "an operator may open the name (pkgtool fleet nodes replace), then join again",
            ),
            Standing::Lapsed => (
                "lapsed",
                "the certificate is out of date: it may only get a new one",
                "POST /v1/certificate",
            ),
            Standing::Unknown | Standing::Good => (
                "unknown",
                "the certificate's name is not known to this fleet",
                "join again",
            ),
        },
    };
    refuse(StatusCode::FORBIDDEN, kind, text).hint(hint)
}

/// Finds out who asks.
pub(super) async fn identify(
    State(master): State<Arc<Master>>,
    mut request: Request,
    next: Next,
) -> Response {
    let connection = request
        .extensions()
        .get::<Arc<Connection>>()
        .map(Arc::clone);
    let caller = who(&master, request.headers(), connection.as_deref());
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Who asks with these headers on this connection.
pub(super) fn who(master: &Master, headers: &HeaderMap, connection: Option<&Connection>) -> Caller {
    match (headers.get(header::AUTHORIZATION), connection) {
        (Some(value), _) => {
            let token = value
                .to_str()
                .ok()
                .and_then(|text| text.strip_prefix("Bearer "));
            by_token(master, token.unwrap_or_default())
        }
        (
            None,
            Some(Connection {
                peer: Some(peer), ..
            }),
        ) => by_certificate(master, peer),
        (
            None,
            Some(Connection {
                is_strange: true, ..
            }),
        ) => Caller::Anyone(Why::Certificate(Standing::Unknown)),
        (None, _) => Caller::Anyone(Why::Nothing),
    }
}

fn by_token(master: &Master, token: &str) -> Caller {
    match master.authority.bearer(token) {
        Some(operator) => Caller::Operator {
            name: operator.name.clone(),
            role: operator.role,
            classes: operator.classes.clone(),
        },
        None => Caller::Anyone(Why::Token),
    }
}

fn by_certificate(master: &Master, peer: &Peer) -> Caller {
    let standing = master.authority.standing(peer, clock::now());
    match (&peer.subject, standing) {
        (Subject::Node(name), Standing::Good) => Caller::Node {
            name: name.clone(),
            serial: peer.serial.clone(),
        },
        (Subject::Node(name), Standing::Lapsed) => Caller::Lapsed { name: name.clone() },
        (Subject::Operator(name), Standing::Good) => match master.authority.operator(name) {
            Some(operator) => Caller::Operator {
                name: operator.name.clone(),
                role: operator.role,
                classes: operator.classes.clone(),
            },
            None => Caller::Anyone(Why::Certificate(Standing::Unknown)),
        },
        // An operator has somebody to ask for a new one.
        (Subject::Operator(_), Standing::Lapsed) => {
            Caller::Anyone(Why::Certificate(Standing::Expired))
        }
        (_, other) => Caller::Anyone(Why::Certificate(other)),
    }
}

/// A row of the table, as the gate needs it.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) master: Arc<Master>,
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) seconds: Option<u64>,
}

/// Lets through whom the table lets through, within its time and not too often.
pub(super) async fn gate(State(rule): State<Gate>, request: Request, next: Next) -> Response {
    let master = &rule.master;
    let nobody = Caller::Anyone(Why::Nothing);
    let caller = request
        .extensions()
        .get::<Caller>()
        .unwrap_or(&nobody)
        .clone();
    let address = request
        .extensions()
        .get::<Arc<Connection>>()
        .map_or_else(String::new, |it| it.address.ip().to_string());
    if rule.access != Access::Public
        && let Err(refused) = often(master, &caller, &address)
    {
        return refused.into_response();
    }
    if let Err(refused) = rule.access.check(&caller) {
        master.metrics.refused(rule.path);
        if matches!(caller, Caller::Anyone(_)) {
            master.rates.take(What::Refused, &address, Instant::now());
        }
        return refused.into_response();
    }
    let response = in_time(rule.seconds, next.run(request)).await;
    master.metrics.answered(rule.path, response.status());
    if rule.access == Access::Enrol && response.status().is_client_error() {
        master.rates.take(What::Refused, &address, Instant::now());
    }
    response
}

async fn in_time(seconds: Option<u64>, answer: impl Future<Output = Response>) -> Response {
    let Some(seconds) = seconds else {
        return answer.await;
    };
    match tokio::time::timeout(Duration::from_secs(seconds), answer).await {
        Ok(response) => response,
        Err(_) => Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!("it took longer than {seconds} s"),
        )
        .into_response(),
    }
}

/// Whether they have not asked too often.
fn often(master: &Master, caller: &Caller, address: &str) -> Result<(), Refused> {
    let now = Instant::now();
    let who = match caller {
        Caller::Anyone(_) => address.to_owned(),
        Caller::Node { name, .. } | Caller::Lapsed { name } => format!("node {name}"),
        Caller::Operator { name, .. } => format!("operator {name}"),
    };
    if matches!(caller, Caller::Anyone(_)) && !master.rates.has(What::Refused, address, now) {
        return Err(Refused::too_often("too much from this address was refused"));
    }
    // A site of many nodes that come in for the first time shares one address: what counts there is
    // what is refused.
    let is_first = matches!(caller, Caller::Anyone(Why::Nothing));
    if !is_first && !master.rates.take(What::Requests, &who, now) {
        return Err(Refused::too_often(format!("{who} asks too often")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(role: Role, classes: &[&str]) -> Caller {
        Caller::Operator {
            name: "anna".parse().unwrap(),
            role,
            classes: classes.iter().map(|it| it.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn each_kind_of_caller_passes_exactly_where_the_table_of_rights_says() {
        let name: NodeName = "a".parse().unwrap();
        let node = Caller::Node {
            name: name.clone(),
            serial: "40".to_owned(),
        };
        let callers = [
            (node, [1, 1, 1, 1, 0, 0, 0]),
            (Caller::Lapsed { name }, [1, 1, 0, 1, 0, 0, 0]),
            (operator(Role::Read, &[]), [1, 1, 0, 0, 1, 0, 0]),
            (operator(Role::Operate, &[]), [1, 1, 0, 0, 1, 1, 0]),
            (operator(Role::Admin, &[]), [1, 1, 0, 0, 1, 1, 1]),
            (Caller::Anyone(Why::Nothing), [1, 1, 0, 0, 0, 0, 0]),
            (Caller::Anyone(Why::Token), [1, 1, 0, 0, 0, 0, 0]),
            (
                Caller::Anyone(Why::Certificate(Standing::Revoked)),
                [1, 1, 0, 0, 0, 0, 0],
            ),
        ];
        let accesses = [
            Access::Public,
            Access::Enrol,
            Access::Node,
            Access::Renew,
            Access::Read,
            Access::Operate,
            Access::Admin,
        ];
        for (caller, expected) in callers {
            let passes = accesses.map(|access| u8::from(access.check(&caller).is_ok()));
            assert_eq!(passes, expected, "{caller:?}");
        }
    }

    #[test]
    fn an_operator_of_some_classes_covers_those_and_not_the_fleet() {
        let class = |name: &str| name.parse::<ClassName>().unwrap();
        let edge = operator(Role::Operate, &["edge"]);
        assert!(edge.covers(&[class("core"), class("edge")]));
        assert!(!edge.covers(&[class("core")]));
        assert!(!edge.covers(&[]) && !edge.covers_all());
        let all = operator(Role::Read, &[]);
        assert!(all.covers(&[]) && all.covers_all());
        assert!(!Caller::Anyone(Why::Nothing).covers(&[class("edge")]));
    }
}
