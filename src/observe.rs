//! Observers, which watch a server without slowing it down.
//!
//! An [`Observer`] sees the bytes of each peer before they are unmasked, and then the events that they lead to. `()`
//! observes nothing and costs nothing, because the compiler removes its empty methods.

use std::error::Error;
use std::net::SocketAddr;

use crate::peers::PeerId;
use crate::protocol::connection::Closed;
use crate::protocol::extension::Negotiated;
use crate::protocol::http::request::Request;
use crate::protocol::message::Message;
use crate::protocol::refusal::Refusal;

/// The direction of the bytes that [`Observer::bytes`] receives, from our point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// Something that happened on a server, as [`Observer::notice`] receives it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// A TCP connection was accepted.
    Connected(SocketAddr),
    /// An opening handshake succeeded.
    Opened {
        /// Bytes that the key decodes to: 16, unless the server is lenient about keys.
        key_bytes: usize,
        /// The subprotocol and extensions that both sides agreed on.
        negotiated: &'a Negotiated,
    },
    /// An opening handshake was refused, and this is its request. [`Notice::Refused`] comes next. There is no such notice if
    /// the head of the request could not be parsed.
    RefusedRequest {
        /// The request.
        request: &'a Request<'a>,
        /// Why it was refused.
        refusal: &'a Refusal,
    },
    /// An opening handshake was refused.
    Refused(&'a Refusal),
    /// The application responded to a request over HTTP, with this status code.
    Responded(u16),
    /// A message arrived.
    Message(Message<'a>),
    /// A ping arrived.
    Ping(&'a [u8]),
    /// A pong arrived.
    Pong(&'a [u8]),
    /// The WebSocket closed.
    Closed(&'a Closed),
    /// The [transport](crate::Transport) of a connection has failed, for example because the peer does not speak TLS. If a
    /// WebSocket was open, it closes.
    TransportFailed(&'a (dyn Error + Send + Sync + 'static)),
    /// The file descriptor was closed. This is the last notice about the peer.
    Disconnected,
    /// Accepting failed, usually because file descriptors or memory are short, and is paused.
    AcceptPaused(&'a std::io::Error),
}

/// Watches a server. Every method has an empty default.
///
/// ```
/// use framewise::PeerId;
/// use framewise::observe::{Notice, Observer};
///
/// /// Counts violations.
/// #[derive(Default)]
/// struct Violations(usize);
///
/// impl Observer for Violations {
///     fn notice(&mut self, _: Option<PeerId>, notice: &Notice<'_>) {
///         if let Notice::Closed(closed) = notice
///             && closed.code.0 == 1002
///         {
///             self.0 += 1;
///         }
///     }
/// }
/// ```
pub trait Observer {
    /// Receives bytes that were read and are not unmasked yet, or that were written. With a transport such as TLS,
    /// these are the clear bytes.
    #[inline]
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        let _ = (peer, direction, bytes);
    }

    /// Receives a notice. `peer` is `None` if the notice concerns the whole server.
    #[inline]
    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        let _ = (peer, notice);
    }
}

impl Observer for () {}

/// Passes everything to both observers.
impl<A: Observer, B: Observer> Observer for (A, B) {
    #[inline]
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        self.0.bytes(peer, direction, bytes);
        self.1.bytes(peer, direction, bytes);
    }

    #[inline]
    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        self.0.notice(peer, notice);
        self.1.notice(peer, notice);
    }
}
