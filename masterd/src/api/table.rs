//! Every route, with who may go it: nothing that is not here is there.

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{self, MethodRouter};

use super::Master;

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everybody.
    Public,
    /// Everybody, but whoever is refused too often has to wait.
    Enrol,
    /// A node of the fleet.
    Node,
    /// A node of the fleet, though its certificate is out of date.
    Renew,
    /// An operator.
    Read,
    /// An operator who may change things.
    Operate,
    /// An operator who may change who may.
    Admin,
}

/// A body is at most so long, where a row does not say otherwise.
const BODY: usize = 64 << 10;
/// An answer is there after so many seconds, where a row does not say otherwise.
const SECONDS: u64 = 30;

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// GET, PUT, POST, DELETE.
    pub method: Method,
    /// With `{names}`.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// One line for people.
    pub about: &'static str,
    /// Bytes that its body may have.
    pub body: usize,
    /// Seconds until it must have begun to answer; absent: as long as it takes.
    pub seconds: Option<u64>,
    /// The type of the JSON that it takes.
    pub takes: Option<&'static str>,
    /// The type of the JSON that it answers with.
    pub gives: Option<&'static str>,
    /// What does it.
    pub handler: MethodRouter<Arc<Master>>,
}

impl Route {
    fn new(
        (method, path): (Method, &'static str),
        access: Access,
        about: &'static str,
        handler: MethodRouter<Arc<Master>>,
    ) -> Self {
        Self {
            method,
            path,
            access,
            about,
            body: BODY,
            seconds: Some(SECONDS),
            takes: None,
            gives: None,
            handler,
        }
    }

    /// A row that reads.
    pub fn get<H, T>(path: &'static str, access: Access, about: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Master>>,
        T: 'static,
    {
        Self::new((Method::GET, path), access, about, routing::get(handler))
    }

    /// A row that puts one thing in its place.
    pub fn put<H, T>(path: &'static str, access: Access, about: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Master>>,
        T: 'static,
    {
        Self::new((Method::PUT, path), access, about, routing::put(handler))
    }

    /// A row that does something.
    pub fn post<H, T>(path: &'static str, access: Access, about: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Master>>,
        T: 'static,
    {
        Self::new((Method::POST, path), access, about, routing::post(handler))
    }

    /// A row that takes something away.
    pub fn delete<H, T>(path: &'static str, access: Access, about: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<Master>>,
        T: 'static,
    {
        Self::new(
            (Method::DELETE, path),
            access,
            about,
            routing::delete(handler),
        )
    }

    /// What it takes: JSON of this type.
    #[must_use]
    pub fn takes<T>(mut self) -> Self {
        self.takes = Some(std::any::type_name::<T>());
        self
    }

    /// What it answers with: JSON of this type.
    #[must_use]
    pub fn gives<T>(mut self) -> Self {
        self.gives = Some(std::any::type_name::<T>());
        self
    }

    /// Bodies of up to so many bytes.
    #[must_use]
    pub fn body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// It takes as long as it takes: a stream, or a body that is one.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.seconds = None;
        self
    }
}

/// All of them.
pub fn all() -> Vec<Route> {
    [
        super::enrol::routes(),
        super::link::routes(),
        super::nodes::routes(),
        super::classes::routes(),
        super::packages::routes(),
        super::images::routes(),
        super::updates::routes(),
        super::goback::routes(),
        super::events::routes(),
        super::people::routes(),
        super::objects::routes(),
        super::system::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_row_is_there_twice_and_each_says_what_it_is_for() {
        let mut seen = BTreeSet::new();
        for route in all() {
            assert!(
                seen.insert((route.path, route.method.to_string())),
                "{route:?}"
            );
            assert!(route.about.len() > 5, "{route:?}");
            assert!(route.path.starts_with('/'), "{route:?}");
        }
    }

    #[test]
    fn what_everybody_may_do_is_this_and_nothing_more() {
        let open = |route: &Route| matches!(route.access, Access::Public | Access::Enrol);
        let open: BTreeSet<&str> = all()
            .iter()
            .filter(|it| open(it))
            .map(|it| it.path)
            .collect();
        let expected = [
            "/healthz",
            "/lists/{name}",
            "/objects/{*path}",
            "/openapi.json",
            "/v1/enrol",
        ];
        assert_eq!(open.into_iter().collect::<Vec<_>>(), expected);
    }
}
