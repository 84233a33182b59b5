//! The log lines that concern the class: who opens, joins, closes, and sends too much, with name, room and address. The
//! lines about connections and requests are in `watch.rs`.
//!
//! Rules of this file: the text of a message is logged only if `--log-messages` asks for it.

use std::net::IpAddr;

use framewise::lang::Lang;
use framewise::trace::printable;
use framewise::{Cause, Closed, Message, PeerId};
use tracing::{info, warn};

use crate::serve::session::Session;
use crate::texts;

/// The log of the class.
#[derive(Clone, Copy, Debug)]
pub struct ClassLog {
    lang: Lang,
    has_messages: bool,
}

impl ClassLog {
    /// Returns a log in this language, with or without the text of messages.
    pub fn new(lang: Lang, has_messages: bool) -> ClassLog {
        ClassLog { lang, has_messages }
    }

    /// Logs a connection that has opened.
    pub fn opened(&self, peer: PeerId, client: IpAddr, path: &str, room: Option<&str>) {
        info!(%peer, address = %client, path, room, "{}", texts::LOG_OPENED.get(self.lang));
    }

    /// Logs that a member has changed its room, name, or both.
    pub fn joined(&self, peer: PeerId, session: &Session, before: &str) {
        let (client, name, room) =
            (session.client, session.name.as_deref(), session.room.as_deref());
        let text = texts::LOG_JOINED.get(self.lang);
        info!(%peer, address = %client, name, room, before, "{text}");
    }

    /// Logs the text of a message, which is private unless the teacher has asked for it.
    pub fn message(&self, peer: PeerId, session: &Session, message: Message<'_>) {
        if !self.has_messages {
            return;
        }
        let (address, name, room) =
            (session.client, session.name.as_deref(), session.room.as_deref());
        let text = match message {
            Message::Text(text) => printable(text.as_str()),
            binary => texts::BINARY_MESSAGE.with(self.lang, &[&binary.bytes().len()]),
        };
        info!(%peer, %address, name, room, text, "{}", texts::LOG_MESSAGE.get(self.lang));
    }

    /// Logs a client that is beyond its budget.
    pub fn slowed(&self, peer: PeerId, session: &Session) {
        let (client, name) = (session.client, session.name.as_deref());
        let room = session.room.as_deref();
        warn!(%peer, address = %client, name, room, "{}", texts::LOG_SLOWED.get(self.lang));
    }

    /// Logs that somebody watches the class on the wire page, or has stopped to.
    pub fn watches(&self, peer: PeerId, client: IpAddr, begins: bool) {
        let text = if begins { texts::LOG_WATCHES } else { texts::LOG_WATCHED };
        info!(%peer, address = %client, "{}", text.get(self.lang));
    }

    /// Logs a connection that has closed.
    pub fn closed(&self, peer: PeerId, session: &Session, closed: &Closed) {
        let (lang, address, code) = (self.lang, session.client, closed.code.0);
        let name = session.name.as_deref();
        let room = session.room.as_deref();
        match &closed.cause {
            // RFC 6455 §7.1.7-4
            Cause::Violation(violation) => {
                let (clause, text) = (violation.clause(), texts::LOG_BROKEN.get(lang));
                warn!(%peer, %address, name, room, code, clause, "{text}: {}", violation.text());
            }
            cause => {
                let (reason, text) = (printable(&closed.reason), texts::LOG_CLOSED.get(lang));
                info!(%peer, %address, name, room, code, reason, ?cause, "{text}");
            }
        }
    }
}
