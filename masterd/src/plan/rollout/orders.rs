//! Under what orders a node comes to its wanted state.

use model::wire::Orders;

use super::{Part, Rollout};

impl Rollout {
    /// Orders to change to the part's target.
    pub(super) fn orders(&self, part: &Part) -> Orders {
        let strategy = &self.head.update.strategy;
        Orders {
            rollout: Some(self.head.id),
            base: part.base,
            force: part.forced,
            force_processes: Vec::new(),
            together: strategy.together && !part.missed,
            go_timeout_ms: strategy.go_timeout_ms,
            contact_timeout_ms: strategy.contact_timeout_ms,
            trial: strategy.trial,
            check: strategy.check.clone(),
            keep_on_failure: false,
            one_way: strategy.one_way,
            operator: self.head.operator.clone().map(Box::new),
        }
    }

    /// Orders to change back from it.
    pub(super) fn orders_back(&self, part: &Part) -> Orders {
        Orders {
            base: Some(part.target),
            together: false,
            trial: false,
            check: Vec::new(),
            ..self.orders(part)
        }
    }
}
