//! The observer of `framewise serve`: the metrics, and log lines about connections and requests. `class_log.rs` has the lines
//! that concern the class, with names and rooms.
//!
//! Rules of this file: no message text, no token, no cookie, no query in any line; lines for machines are English.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use framewise::PeerId;
use framewise::internal::transport_text;
use framewise::observe::{Direction, Notice, Observer};
use framewise::trace::printable;
use tracing::field::display;
use tracing::{debug, warn};

use crate::recording::redact;
use crate::serve::guard::{Guard, Noted};
use crate::serve::metrics::Metrics;
use crate::texts;

/// Logs and counts.
pub struct Watch {
    metrics: Rc<Metrics>,
    /// Knows the clients behind proxies.
    guard: Guard,
    /// Where connections come from, for as long as they are there.
    addresses: HashMap<PeerId, SocketAddr>,
    /// What the guard knows of the request whose refusal is the next notice.
    noted: Option<Noted>,
}

impl Watch {
    /// Counts into these metrics, and logs in the language of the guard.
    pub fn new(metrics: Rc<Metrics>, guard: Guard) -> Watch {
        Watch { metrics, guard, addresses: HashMap::new(), noted: None }
    }
}

impl Observer for Watch {
    fn bytes(&mut self, _peer: PeerId, direction: Direction, bytes: &[u8]) {
        self.metrics.bytes(direction, bytes.len());
    }

    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        let lang = self.guard.log_lang;
        if let (Some(peer), Notice::Connected(address)) = (peer, notice) {
            self.addresses.insert(peer, *address);
        }
        let address = peer.and_then(|peer| self.addresses.get(&peer)).map(display);
        let shown = peer.map(display);
        match notice {
            Notice::Connected(_) => {
                debug!(peer = shown, address, "{}", texts::LOG_CONNECTED.get(lang))
            }
            Notice::Opened { key_bytes, negotiated } => {
                let subprotocol = negotiated.subprotocol.as_deref();
                self.metrics.opened();
                if *key_bytes != 16 {
                    let text = texts::LOG_SHORT_KEY.with(lang, &[key_bytes]);
                    warn!(peer = shown, address, "{text}");
                }
                debug!(peer = shown, address, subprotocol, "{}", texts::LOG_UPGRADED.get(lang));
            }
            Notice::RefusedRequest { request, refusal } => {
                let from = peer.and_then(|peer| self.addresses.get(&peer)).copied();
                self.noted = from.map(|from| self.guard.note_refused(request, refusal, from));
            }
            Notice::Refused(refusal) => {
                let (status, found) = (refusal.rule.status(), redact::found(refusal, lang));
                self.metrics.answered("refused", status);
                let noted = self.noted.take().unwrap_or_default();
                if noted.is_logged {
                    return;
                }
                // An excess connection is refused without a request.
                let from = peer.and_then(|peer| self.addresses.get(&peer)).copied();
                let visitor = || from.and_then(|from| self.guard.proxies.own.visitor(from));
                let client = noted.client.or_else(visitor).map(|client| client.to_string());
                let address = client.or(address.map(|address| address.to_string())).map(display);
                let (rule, fix) =
                    (refusal.rule.text().get(lang), redact::explanation(&refusal.fix_text(lang)));
                let refused = texts::LOG_REFUSED.get(lang);
                warn!(peer = shown, address, status, found, "{refused}: {rule}; {fix}");
            }
            Notice::Responded(status) => {
                self.metrics.answered("answered", *status);
                debug!(peer = shown, address, status, "{}", texts::LOG_ANSWERED.get(lang));
            }
            Notice::Message(message) => {
                self.metrics.received(*message);
                let (opcode, bytes) = (message.opcode().name(), message.bytes().len());
                debug!(peer = shown, opcode, bytes, "{}", texts::LOG_MESSAGE.get(lang));
            }
            Notice::Ping(_) => self.metrics.control("ping"),
            Notice::Pong(_) => self.metrics.control("pong"),
            Notice::Closed(closed) => self.metrics.closed(closed),
            Notice::TransportFailed(error) => {
                let why = transport_text(*error, lang);
                warn!(
                    peer = shown,
                    address,
                    "{}: {}",
                    texts::LOG_TLS_FAILED.get(lang),
                    printable(&why)
                );
            }
            Notice::Disconnected => {
                debug!(peer = shown, address, "{}", texts::LOG_DISCONNECTED.get(lang))
            }
            Notice::AcceptPaused(error) => warn!(%error, "{}", texts::LOG_PAUSED.get(lang)),
            _ => {}
        }
        if let (Some(peer), Notice::Disconnected) = (peer, notice) {
            let address = self.addresses.remove(&peer);
            address.inspect(|address| self.guard.proxies.own.disconnected(*address));
        }
    }
}
