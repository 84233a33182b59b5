//! RFC 6455 §4: the opening handshake, without sockets.
//!
//! `key` computes and checks the two headers that prove both ends speak WebSocket, `server` validates a
//! request and answers it, `client` writes a request and verifies the answer.

pub mod client;
pub mod key;
pub mod server;
