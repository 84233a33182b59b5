//! Helpers of the tests. Tests wait for events, not for time; a time limit only fails a test.
//!
//! With a kernel, a [`server`] runs in a thread and a [`client`] sends it literal bytes. Without one, a [`stage`] runs the
//! event loop over scripted sockets, on a clock that the test controls.

#![allow(dead_code, unused_imports)] // No test file uses everything.

pub mod client;
pub mod framed;
pub mod frames;
pub mod handshake;
pub mod pieces;
pub mod script;
pub mod server;
pub mod stage;

use std::sync::mpsc::Receiver;
use std::time::Duration;

pub use client::Client;
pub use frames::{at_most_one_close, failure, frame, server_frame};
use framewise::config::{Config, OriginPolicy};
pub use handshake::{ACCEPT, Answer, KEY, SWITCHING, request};
pub use pieces::{How, answers_with, ends_with};
pub use server::TestServer;

pub const SECOND: Duration = Duration::from_secs(1);

/// The longest time to wait for an event. A test that reaches it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the defaults of the library, except that any origin is accepted.
pub fn any_origin() -> Config {
    Config::default().handshake(|handshake| handshake.origins = OriginPolicy::Any)
}

/// Returns [`any_origin`] without pings, for tests that count frames or bytes, or that let hours pass.
pub fn without_pings() -> Config {
    any_origin().timeouts(|timeouts| timeouts.ping_interval = None)
}

/// Waits for what a callback sends through a channel.
#[track_caller]
pub fn receive<T>(events: &Receiver<T>) -> T {
    events.recv_timeout(PATIENCE).expect("the callback is called")
}

/// Returns bytes in a form that is readable in a failed assertion.
pub fn show(bytes: &[u8]) -> String {
    if bytes.len() > 600 {
        return format!("{}... ({} bytes)", bytes[..600].escape_ascii(), bytes.len());
    }
    bytes.escape_ascii().to_string()
}
