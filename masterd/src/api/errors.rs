//! Refusals: one form, whatever refused.

use axum::Json;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::report::Chain;
use model::wire::Refusal;

use crate::{engine, store, trust};

/// A request that is not done, with the reason and the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    status: StatusCode,
    body: Refusal,
}

impl Refused {
    /// `kind` is for programs, `message` names the thing and the reason.
    pub fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            body: Refusal {
                error: kind.to_owned(),
                message: message.into(),
                hint: None,
            },
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    /// 400: the request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 403: not with these rights.
    pub fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not-allowed", message)
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    /// 409: it cannot be now.
    pub fn conflict(kind: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, message)
    }

    /// 429: too often.
    pub fn too_often(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", message)
            .hint("wait a moment and try again")
    }

    /// 500: the master could not; the whole reason is in its log.
    pub fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %Chain(error), "a request failed");
        let message = Chain(error).to_string();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message)
            .hint("the master's log says more: journalctl -u masterd")
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        let no_store = header::HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, no_store);
        response
    }
}

impl From<store::Error> for Refused {
    fn from(error: store::Error) -> Self {
        if matches!(error, store::Error::Key { .. }) {
            return Self::invalid("no name is so long, or has such characters");
        }
        Self::failed(&error)
    }
}

impl From<trust::Error> for Refused {
    fn from(error: trust::Error) -> Self {
        use trust::Error as E;
        let text = error.to_string();
        match error {
            E::Store(error) => error.into(),
            E::Certificate { .. } | E::File { .. } | E::Io(_) | E::Random(_) => {
                Self::failed(&error)
            }
            E::Conflict => Self::conflict("busy", text).hint("send the same request again"),
            E::Request { .. } | E::Value { .. } => Self::invalid(text),
            E::Token { .. } => Self::new(StatusCode::FORBIDDEN, "token", text)
                .hint("an operator makes a new one: pkgtool fleet token"),
            E::NameTaken { name } => Self::conflict("name-taken", text).hint(format!(
                "if this is the same machine made anew: pkgtool fleet nodes replace {name}; else \
                 join with another --name"
            )),
            E::Out { name, .. } => Self::new(StatusCode::FORBIDDEN, "out", text).hint(format!(
                "an operator may open the name: pkgtool fleet nodes replace {name}"
            )),
            E::Crowd { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, "crowd", text)
                .hint("accept or remove some first: pkgtool fleet nodes"),
            E::Unknown { .. } => Self::not_found(text),
            E::Ambiguous { .. } => Self::conflict("ambiguous", text)
                .hint("say which by its fingerprint: --fingerprint"),
            E::LastAdmin { .. } => Self::conflict("last-admin", text)
                .hint("make another operator with role admin first"),
        }
    }
}

impl From<engine::Error> for Refused {
    fn from(error: engine::Error) -> Self {
        use engine::Error as E;
        let text = Chain(&error).to_string();
        match error {
            E::NotFound { .. } => Self::not_found(text),
            E::Invalid(_) | E::Import(_) => Self::invalid(text),
            E::Unmet(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unmet", text)
                .hint("add what is missing to the update, or import it first"),
            E::Overlap(_) => Self::conflict("overlap", text)
                .hint("wait for it, abort it, or put it aside: --supersede"),
            E::Conflict(_) => Self::conflict("busy", text),
            E::Store(error) => error.into(),
            E::Shelf(_) | E::Document(_) | E::Object { .. } => Self::failed(&error),
            E::Stopped => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", text)
                .hint("try again in a moment"),
        }
    }
}

/// Nothing is there, whoever asks.
pub(super) async fn no_such_path(request: Request) -> Refused {
    let text = format!("there is no {} {}", request.method(), request.uri().path());
    Refused::not_found(text.chars().take(300).collect::<String>())
        .hint("GET /openapi.json lists everything that can be asked for")
}

/// What the libraries below refuse in plain text (a bad upgrade, a body that is too long) gets the
/// form of the other refusals.
pub(super) async fn readable(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_refused = status.is_client_error() || status.is_server_error();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    if !is_refused || is_json || status == StatusCode::RANGE_NOT_SATISFIABLE {
        return response;
    }
    let said = axum::body::to_bytes(response.into_body(), 4096).await;
    let said = said.unwrap_or_default();
    let text = String::from_utf8_lossy(&said);
    let text = if text.is_empty() {
        status
            .canonical_reason()
            .unwrap_or("it was refused")
            .to_owned()
    } else {
        text.into_owned()
    };
    Refused::new(status, "invalid", text).into_response()
}
