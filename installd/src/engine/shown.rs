//! A plan that was just shown, and is carried out as it was shown.

use std::time::{Duration, Instant};

use model::change::Request;

/// How old a plan may be that is carried out as it is. Votes and staging come between any plan
/// and the first process that is stopped, so what runs may have moved on by this much anyway;
/// whoever reads the plan first takes longer, and gets one of that instant.
const FRESH: Duration = Duration::from_millis(500);

/// The plan of a request, with what it was made from.
#[derive(Debug)]
pub(super) struct Shown<P> {
    at: Instant,
    request: Request,
    planned: P,
}

impl<P> Shown<P> {
    pub(super) fn new(at: Instant, request: &Request, planned: P) -> Self {
        Self {
            at,
            request: request.clone(),
            planned,
        }
    }

    /// The plan and what it was made from, where it is one of this request and fresh.
    pub(super) fn of(self, request: &Request, now: Instant) -> Option<P> {
        let is_fresh = now.saturating_duration_since(self.at) < FRESH;
        (is_fresh && self.request == *request).then_some(self.planned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_plan_of_the_same_request_is_carried_out_as_it_is() {
        let at = Instant::now();
        let request = Request {
            actions: vec![model::change::Action::Activate("app".parse().unwrap())],
            ..Request::default()
        };
        let forced = Request {
            force: true,
            ..request.clone()
        };
        let shown = || Shown::new(at, &request, ());
        let soon = at + FRESH / 2;
        assert!(shown().of(&request, soon).is_some());
        assert!(shown().of(&forced, soon).is_none());
        assert!(shown().of(&request, at + FRESH).is_none());
    }
}
