//! The wire page: what goes over the connections of the class, byte by byte, for the teacher to project.
//!
//! ```text
//! observer, classroom ── tap.rs (event loop; follow.rs without viewers)
//!                           │ bounded queue
//!                        hub.rs (thread) ── drawing.rs (labels as events) ── kept.rs (the last events)
//!                           │ batches
//!                        viewers: the WebSocket /wire, and web/wire.html, wire.js, wire-draw.js
//! ```
//!
//! `docs/wire.md` describes who may open it, what it hides, and its limits.

mod drawing;
mod follow;
mod hub;
mod kept;
mod tap;

use std::cell::RefCell;
use std::rc::Rc;

use framewise::PeerId;
use framewise::config::ValidConfig;
use framewise::observe::{Direction, Notice, Observer};
use serde::Deserialize;

pub use crate::serve::wire::hub::Hub;
pub use crate::serve::wire::tap::is_of_viewer;
use crate::serve::wire::tap::{Tap, What};

/// The most viewers at the same time.
pub const MAX_VIEWERS: usize = 8;

/// The wire page of a server, or nothing without `--wire`. The observer and the classroom share it.
#[derive(Clone, Default)]
pub struct Wire(Option<Rc<RefCell<Tap>>>);

/// What a page asks for.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Question {
    /// A sign of life.
    Ping,
    /// The event with this number.
    Event { id: u64 },
    /// The events that are kept of the connection with this number.
    Lane { lane: u64 },
}

impl Wire {
    /// Returns the wire page of a server with this configuration, and its thread.
    pub fn new(config: ValidConfig) -> (Wire, Hub) {
        let (tap, items, load) = Tap::new(config.clone());
        (Wire(Some(Rc::new(RefCell::new(tap)))), Hub { items, load, config })
    }

    /// Reports whether there is a wire page.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Reports whether there is room for one more viewer.
    pub fn has_room(&self) -> bool {
        self.0.as_ref().is_some_and(|tap| tap.borrow().viewers() < MAX_VIEWERS)
    }

    /// Adds a viewer. Returns false if that is impossible at the moment.
    pub fn watch(&self, peer: PeerId) -> bool {
        self.0.as_ref().is_some_and(|tap| tap.borrow_mut().watch(peer))
    }

    /// Removes a viewer.
    pub fn unwatch(&self, peer: PeerId) {
        self.with(|tap| tap.unwatch(peer));
    }

    /// Passes on what a viewer asks for. Returns the response, if there is one at once.
    pub fn asked(&self, peer: PeerId, text: &str) -> Option<&'static str> {
        let what = match serde_json::from_str(text) {
            Ok(Question::Ping) => return Some(r#"{"type":"pong"}"#),
            Ok(Question::Event { id }) => What::Event(id),
            Ok(Question::Lane { lane }) => What::Lane(lane),
            Err(_) => return Some(r#"{"type":"error"}"#),
        };
        self.with(|tap| tap.ask(peer, what));
        None
    }

    /// Notes the path, the room and the name of a WebSocket.
    pub fn member(&self, peer: PeerId, path: &str, room: Option<&str>, name: Option<&str>) {
        self.with(|tap| tap.member(peer, path, room, name));
    }

    /// Notes to which connections the classroom is about to send a payload.
    pub fn sending(&self, peer: PeerId, to: impl FnOnce() -> Vec<PeerId>, payload: &[u8]) {
        self.with(|tap| tap.sending(peer, to, payload));
    }

    /// Notes that the classroom has dealt with its message.
    pub fn dispatched(&self) {
        self.with(Tap::dispatched);
    }

    fn with(&self, act: impl FnOnce(&mut Tap)) {
        if let Some(tap) = &self.0 {
            act(&mut tap.borrow_mut());
        }
    }
}

impl Observer for Wire {
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        self.with(|tap| tap.bytes(peer, direction, bytes));
    }

    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        if let Some(peer) = peer {
            self.with(|tap| tap.notice(peer, notice));
        }
    }
}
