//! What `/metrics` tells, in OpenMetrics text.
//!
//! Rules of this file: no label has a value that a client can choose, so there are only so many series.

use std::time::Duration;

use framewise::observe::Direction;
use framewise::{Cause, Closed};
use framewise::{Message, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// All metrics of one server.
pub struct Metrics {
    registry: Registry,
    connections: Gauge,
    queued: Gauge,
    handshakes: Family<Handshake, Counter>,
    messages: Family<Kind, Counter>,
    message_bytes: Family<Kind, Counter>,
    wire_bytes: Family<Way, Counter>,
    closes: Family<Close, Counter>,
    violations: Family<Broken, Counter>,
    limited: Counter,
    passes: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Handshake {
    result: &'static str,
    status: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    direction: &'static str,
    opcode: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Way {
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Close {
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Broken {
    clause: &'static str,
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new() -> Metrics {
        // From 10 µs to 160 ms, doubling.
        let buckets = std::iter::successors(Some(1e-5), |bucket| Some(bucket * 2.0)).take(15);
        let mut metrics = Metrics {
            registry: Registry::default(),
            connections: Gauge::default(),
            queued: Gauge::default(),
            handshakes: Family::default(),
            messages: Family::default(),
            message_bytes: Family::default(),
            wire_bytes: Family::default(),
            closes: Family::default(),
            violations: Family::default(),
            limited: Counter::default(),
            passes: Histogram::new(buckets),
        };
        let mut registry = Registry::with_prefix("framewise");
        registry.register("connections", "Open WebSockets", metrics.connections.clone());
        registry.register_with_unit(
            "output_queued",
            "Output that waits for sockets",
            Unit::Bytes,
            metrics.queued.clone(),
        );
        registry.register("handshakes", "Requests by their answer", metrics.handshakes.clone());
        registry.register("messages", "Messages by direction and opcode", metrics.messages.clone());
        registry.register_with_unit(
            "message_payload",
            "Payload data by direction and opcode",
            Unit::Bytes,
            metrics.message_bytes.clone(),
        );
        registry.register_with_unit(
            "wire",
            "What sockets gave and took, by direction",
            Unit::Bytes,
            metrics.wire_bytes.clone(),
        );
        registry.register("closes", "Ended WebSockets by code", metrics.closes.clone());
        registry.register(
            "violations",
            "Rules of RFC 6455 broken, by clause",
            metrics.violations.clone(),
        );
        registry.register(
            "slowed_down",
            "Pauses of clients beyond their budget",
            metrics.limited.clone(),
        );
        registry.register_with_unit(
            "loop_pass",
            "Time that one pass of the event loop took",
            Unit::Seconds,
            metrics.passes.clone(),
        );
        metrics.registry = registry;
        metrics
    }

    /// The page.
    pub fn page(&self) -> Response {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => Response::new(
                200,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text,
            ),
            Err(error) => Response::new(500, "text/plain; charset=utf-8", error.to_string()),
        }
    }

    /// A WebSocket was opened.
    pub fn opened(&self) {
        self.connections.inc();
        self.answered("opened", 101);
    }

    /// A request was answered: opened, refused, or over HTTP.
    pub fn answered(&self, result: &'static str, status: u16) {
        self.handshakes.get_or_create(&Handshake { result, status: status.into() }).inc();
    }

    /// A message came.
    pub fn received(&self, message: Message<'_>) {
        self.count("in", message, 1);
    }

    /// A message went to so many peers.
    pub fn sent(&self, message: Message<'_>, peers: usize) {
        self.count("out", message, peers as u64);
    }

    fn count(&self, direction: &'static str, message: Message<'_>, times: u64) {
        let kind = Kind { direction, opcode: message.opcode().name() };
        self.messages.get_or_create(&kind).inc_by(times);
        self.message_bytes.get_or_create(&kind).inc_by(times * message.bytes().len() as u64);
    }

    /// A ping or pong came.
    pub fn control(&self, opcode: &'static str) {
        self.messages.get_or_create(&Kind { direction: "in", opcode }).inc();
    }

    /// Bytes passed a socket.
    pub fn bytes(&self, direction: Direction, count: usize) {
        let direction = if direction == Direction::In { "in" } else { "out" };
        self.wire_bytes.get_or_create(&Way { direction }).inc_by(count as u64);
    }

    /// A WebSocket ended.
    pub fn closed(&self, closed: &Closed) {
        self.connections.dec();
        let code = closed.code.0;
        // Applications may choose among two thousand codes of their own: they count as one.
        let code = if (1000..1016).contains(&code) { code.to_string() } else { "other".to_owned() };
        self.closes.get_or_create(&Close { code }).inc();
        if let Cause::Violation(violation) = closed.cause {
            self.violations.get_or_create(&Broken { clause: violation.clause() }).inc();
        }
    }

    /// Counts a pause of a client that is beyond its budget.
    pub fn slowed_down(&self) {
        self.limited.inc();
    }

    /// The loop has made a pass.
    pub fn pass(&self, took: Duration) {
        self.passes.observe(took.as_secs_f64());
    }

    /// So many bytes wait for sockets.
    pub fn queued(&self, bytes: usize) {
        self.queued.set(bytes as i64);
    }
}
