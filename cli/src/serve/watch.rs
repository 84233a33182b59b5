//! The observer of `framewise serve`: one log line for each event, and the metrics.
//!
//! Rules of this file: no message text, no token, no cookie, no query in any line.

use std::net::SocketAddr;
use std::rc::Rc;

use framewise::PeerId;
use framewise::observe::{Direction, Notice, Observer};
use framewise::protocol::connection::Cause;
use tracing::{debug, info, warn};

use crate::serve::metrics::Metrics;

/// Logs and counts.
pub struct Watch {
    metrics: Rc<Metrics>,
}

impl Watch {
    /// Counts into these metrics.
    pub fn new(metrics: Rc<Metrics>) -> Watch {
        Watch { metrics }
    }
}

impl Observer for Watch {
    fn bytes(&mut self, _peer: PeerId, direction: Direction, bytes: &[u8]) {
        self.metrics.bytes(direction, bytes.len());
    }

    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        let peer = peer.map(tracing::field::display);
        match notice {
            Notice::Connected(address) => {
                let address: &SocketAddr = address;
                debug!(peer, %address, "connected");
            }
            Notice::Opened { key_bytes, subprotocol } => {
                self.metrics.opened();
                info!(peer, key_bytes, subprotocol, "opened");
            }
            Notice::Refused(refusal) => {
                let status = refusal.rule.status();
                self.metrics.answered("refused", status);
                warn!(peer, status, rule = ?refusal.rule, "refused");
            }
            Notice::Responded(status) => {
                self.metrics.answered("answered", *status);
                info!(peer, status, "answered over HTTP");
            }
            Notice::Message(message) => {
                self.metrics.received(*message);
                let (opcode, bytes) = (message.opcode().name(), message.bytes().len());
                debug!(peer, opcode, bytes, "message");
            }
            Notice::Ping(_) => self.metrics.control("ping"),
            Notice::Pong(_) => self.metrics.control("pong"),
            Notice::Closed(closed) => {
                self.metrics.closed(closed);
                let code = closed.code.0;
                match &closed.cause {
                    Cause::Violation(violation) => {
                        warn!(peer, code, rule = violation.clause(), "closed: a rule was broken");
                    }
                    cause => info!(peer, code, ?cause, "closed"),
                }
            }
            Notice::Disconnected => debug!(peer, "disconnected"),
            Notice::AcceptPaused(error) => warn!(%error, "accepting rests for a moment"),
            _ => {}
        }
    }
}
