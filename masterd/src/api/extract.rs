//! What handlers take, with refusals that can be read.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::Refused;

/// A JSON body.
#[derive(Debug, Clone)]
pub struct Taken<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Taken<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let body = Bytes::from_request(request, state).await.map_err(|error| {
            let status = error.status();
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                return Refused::new(status, "too-large", "the body is longer than is taken here");
            }
            Refused::invalid(error.body_text())
        })?;
        let read = serde_json::from_slice(&body);
        read.map(Self).map_err(|error| {
            Refused::invalid(format!("the body is not what is taken here: {error}"))
        })
    }
}

/// What stands in the path.
#[derive(Debug, Clone)]
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        let Path(named) = named.map_err(|error| Refused::invalid(error.body_text()))?;
        Ok(Self(named))
    }
}
