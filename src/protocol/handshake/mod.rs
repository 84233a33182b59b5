//! RFC 6455 §4: the opening handshake, without sockets.
//!
//! [`key`] computes the two header fields that show that both sides speak WebSocket. [`server`] validates a request and
//! responds to it. [`client`] encodes a request, a [`ClientRequest`](client::ClientRequest), and verifies the response.

pub mod client;
pub mod key;
pub mod server;
