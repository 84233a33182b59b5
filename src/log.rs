//! Log events of a server, through the `tracing` crate. Requires the feature `tracing`.
//!
//! Each [`Notice`] becomes one event with the target `framewise`. The level is `info` if a connection opens or closes,
//! `warn` if a peer broke a rule or was refused or if accepting is paused, and `debug` otherwise. Message contents are
//! never logged, because they are private. Of the header fields, only the agreed subprotocol and extensions are logged,
//! because others may contain cookies and tokens.

use tracing::{debug, info, warn};

use crate::observe::{Notice, Observer};
use crate::peers::PeerId;
use crate::protocol::connection::Cause;

/// The target of all events, for use in filters.
const TARGET: &str = "framewise";

/// An [`Observer`] that emits `tracing` events.
///
/// ```no_run
/// use framewise::{Config, Echo, Server, Tracing};
///
/// let mut server = Server::bind(Config::default(), Echo::default())?.observed_by(Tracing);
/// server.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

impl Observer for Tracing {
    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        let peer = peer.map(tracing::field::display);
        match notice {
            Notice::Connected(address) => debug!(target: TARGET, peer, %address, "connected"),
            Notice::Opened { key_bytes, negotiated } => {
                let subprotocol = negotiated.subprotocol.as_deref();
                let extensions = negotiated.extensions.as_deref();
                info!(target: TARGET, peer, key_bytes, subprotocol, extensions, "opened");
            }
            // `Refused` follows.
            Notice::RefusedRequest { .. } => {}
            Notice::Refused(refusal) => {
                let (status, rule) = (refusal.rule.status(), refusal.rule);
                warn!(target: TARGET, peer, status, ?rule, "handshake refused");
            }
            Notice::Responded(status) => debug!(target: TARGET, peer, status, "responded"),
            Notice::Message(message) => {
                let (opcode, bytes) = (message.opcode().name(), message.bytes().len());
                debug!(target: TARGET, peer, opcode, bytes, "message");
            }
            Notice::Ping(payload) => debug!(target: TARGET, peer, bytes = payload.len(), "ping"),
            Notice::Pong(payload) => debug!(target: TARGET, peer, bytes = payload.len(), "pong"),
            Notice::Closed(closed) => {
                let code = closed.code.0;
                match &closed.cause {
                    // RFC 6455 §7.1.7-4
                    Cause::Violation(violation) => {
                        let clause = violation.clause();
                        warn!(target: TARGET, peer, code, clause, %violation, "closed");
                    }
                    cause => info!(target: TARGET, peer, code, ?cause, "closed"),
                }
            }
            Notice::TransportFailed(error) => {
                warn!(target: TARGET, peer, %error, "transport failed")
            }
            Notice::Disconnected => debug!(target: TARGET, peer, "disconnected"),
            Notice::AcceptPaused(error) => warn!(target: TARGET, %error, "accepting paused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write as _};
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::protocol::close::CloseCode;
    use crate::protocol::connection::Closed;
    use crate::protocol::violation::Violation;

    /// Writes each event on a line.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<String>>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            struct FieldList<'s>(&'s mut String);
            impl Visit for FieldList<'_> {
                fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                    let _ = write!(self.0, " {}={value:?}", field.name());
                }
            }
            let mut lines = self.0.lock().expect("not poisoned");
            let _ = write!(lines, "{}", event.metadata().level());
            event.record(&mut FieldList(&mut lines));
            lines.push('\n');
        }
    }

    /// RFC 6455 §7.1.7-4
    #[test]
    fn a_violation_is_a_warning_with_its_clause_and_no_text() {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), || {
            let cause = Cause::Violation(Violation::UnmaskedFrame);
            let closed = Closed { code: CloseCode(1002), reason: "r".to_owned(), cause };
            Tracing.notice(None, &Notice::Message("a secret".into()));
            Tracing.notice(None, &Notice::Closed(&closed));
            Tracing.notice(None, &Notice::Disconnected);
        });
        let lines = lines.0.lock().expect("not poisoned");
        assert_eq!(
            lines.lines().collect::<Vec<_>>(),
            [
                "DEBUG message=message opcode=\"text\" bytes=8",
                "WARN message=closed code=1002 clause=\"5.1-2\" violation=RFC 6455 5.1: a client must mask every frame",
                "DEBUG message=disconnected",
            ]
        );
    }
}
