//! What is counted, for Prometheus.

use std::sync::atomic::{AtomicI64, AtomicU64};

use axum::http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A row, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: &'static str,
}

/// What the listener counts.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// That are open.
    pub open: Gauge<i64, AtomicI64>,
    /// That were accepted.
    pub accepted: Counter<u64, AtomicU64>,
    /// Handshakes that came to nothing.
    pub failed: Counter<u64, AtomicU64>,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    answers: Family<Answer, Counter>,
    refused: Family<OfRoute, Counter>,
    /// What the listener counts.
    pub connections: Connections,
}

impl Metrics {
    /// A request was answered.
    pub(super) fn answered(&self, route: &'static str, status: StatusCode) {
        let status = status.as_u16();
        self.answers.get_or_create(&Answer { route, status }).inc();
    }

    /// Somebody asked for what they may not.
    pub(super) fn refused(&self, route: &'static str) {
        self.refused.get_or_create(&OfRoute { route }).inc();
    }

    /// The text that Prometheus reads; `more` are gauges of the fleet: name, help, value.
    pub fn text(&self, more: &[(&str, &str, i64)]) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("masterd");
        let connections = &self.connections;
        registry.register(
            "requests",
            "Requests by row and status",
            self.answers.clone(),
        );
        registry.register(
            "refused",
            "Requests without the right to them",
            self.refused.clone(),
        );
        registry.register("connections", "Open connections", connections.open.clone());
        registry.register(
            "connections_accepted",
            "Connections accepted",
            connections.accepted.clone(),
        );
        registry.register(
            "handshakes_failed",
            "TLS handshakes that came to nothing",
            connections.failed.clone(),
        );
        for (name, help, value) in more {
            let gauge: Gauge<i64, AtomicI64> = Gauge::default();
            gauge.set(*value);
            registry.register(*name, *help, gauge);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}
