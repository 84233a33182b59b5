//! Watching a server without being in its way.
//!
//! An [`Observer`] sees the bytes of each peer as they pass the socket, before the protocol touches them,
//! and then what the protocol made of them. `()` observes nothing and costs nothing: its empty methods
//! vanish when the server is compiled for it.

use std::net::SocketAddr;

use crate::peers::PeerId;
use crate::protocol::connection::Closed;
use crate::protocol::message::Message;
use crate::protocol::refusal::Refusal;

/// Which way bytes went, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// Something that happened on a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// A TCP connection was accepted.
    Connected(SocketAddr),
    /// An opening handshake succeeded; its key decodes to this many bytes.
    Opened {
        /// 16, unless the server is lenient about keys.
        key_bytes: usize,
        /// The chosen subprotocol.
        subprotocol: Option<&'a str>,
    },
    /// An opening handshake was refused.
    Refused(&'a Refusal),
    /// The application answered a request over HTTP, with this status.
    Responded(u16),
    /// A message arrived.
    Message(Message<'a>),
    /// A ping arrived.
    Ping(&'a [u8]),
    /// A pong arrived.
    Pong(&'a [u8]),
    /// The WebSocket ended.
    Closed(&'a Closed),
    /// The descriptor was closed: the last notice about this peer.
    Disconnected,
    /// Accepting failed for want of descriptors or memory, and goes on later.
    AcceptPaused(&'a std::io::Error),
}

/// Watches a server. Every method has an empty default.
pub trait Observer {
    /// These bytes passed the socket: read and not yet unmasked, or written and taken by the kernel.
    #[inline]
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        let _ = (peer, direction, bytes);
    }

    /// Something happened; `peer` is absent where it concerns the whole server.
    #[inline]
    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        let _ = (peer, notice);
    }
}

impl Observer for () {}
