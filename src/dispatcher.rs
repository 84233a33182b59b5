//! The application of a server: the [`Dispatcher`] trait, and two short examples.
//!
//! The event loop calls a dispatcher with one [`Message`] at a time, usually borrowed from the read buffer. The
//! dispatcher acts through an [`Outbox`] and never sees a socket.

use std::net::{IpAddr, SocketAddr};

use crate::outbox::Outbox;
use crate::protocol::connection::Closed;
use crate::protocol::handshake::server::{Decision, Opened};
use crate::protocol::http::request::Request;
use crate::protocol::message::Message;

/// The application of a server. An event loop has one, so no locks are needed.
///
/// If a callback panics, the connection of the peer that it was called for is failed (1011). No other peer is affected.
///
/// ```
/// use framewise::{Dispatcher, Message, Outbox};
///
/// /// Replies with the number of characters.
/// struct Count;
///
/// impl Dispatcher for Count {
///     fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
///         if let Some(text) = message.as_str() {
///             outbox.reply(text.chars().count().to_string());
///         }
///     }
/// }
/// ```
pub trait Dispatcher {
    /// Decides whether to open a WebSocket for a request or to respond over HTTP. The server refuses invalid handshakes
    /// before this call. `from` is the address of the other side of the TCP connection, which may be a proxy.
    ///
    /// By default, opens every WebSocket, and responds to a plain GET with 426.
    fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Decision {
        let _ = (request, from);
        Decision::ACCEPT
    }

    /// Handles a WebSocket that was just opened. [`Outbox::peer`] is its id from now on.
    fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>) {
        let _ = (outbox, opened);
    }

    /// Handles a complete message.
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>);

    /// Handles a connection that has closed. Called once for each `on_open`. The peer has left its groups, and no more
    /// messages can be sent to it.
    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        let _ = (outbox, closed);
    }
}

/// Sends every message back to its sender.
///
/// ```
/// use framewise::{Config, Echo, Server};
///
/// let config = Config::default().listen("127.0.0.1", 0);
/// let server = Server::bind(config, Echo::new("Echo: "))?;
/// # Ok::<(), framewise::StartError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Echo {
    prefix: String,
    reply: String,
}

impl Echo {
    /// Returns an echo that puts `prefix` before a text. Binary messages come back as they are.
    pub fn new(prefix: impl Into<String>) -> Echo {
        Echo { prefix: prefix.into(), reply: String::new() }
    }
}

impl Dispatcher for Echo {
    #[inline(always)]
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        match message {
            Message::Text(text) if !self.prefix.is_empty() => {
                self.reply.clear();
                self.reply.push_str(&self.prefix);
                self.reply.push_str(text.as_str());
                outbox.reply(&self.reply);
            }
            verbatim => {
                outbox.reply(verbatim);
            }
        }
    }
}

/// Sends every message to all other peers, which are the members of the group `everyone`. [`Handle`](crate::Handle) has
/// an example.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broadcast;

impl Dispatcher for Broadcast {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("everyone").expect("8 bytes, and the only group");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.publish("everyone", message, &[outbox.peer()]);
    }
}

/// A [`Dispatcher`] that passes a value from `on_request` to `on_open`, for example the user whom a token identifies.
///
/// This value is the *ticket*. Every dispatcher is an application whose ticket is `()`, and whose connections count as the
/// addresses of their peers. Implement this trait instead if one of them counts as another address, or if `on_open` needs
/// what `on_request` has found out:
///
/// ```
/// use std::net::SocketAddr;
/// use framewise::{Application, Decision, Message, Opened, Outbox, Request, Response};
///
/// struct Rooms;
///
/// impl Application for Rooms {
///     type Ticket = String;
///
///     fn on_request(&mut self, request: &Request<'_>, _: SocketAddr) -> Decision<String> {
///         match request.path().strip_prefix("/room/") {
///             Some(room) => Decision::Accept(room.to_owned()),
///             None => Decision::Respond(Response::new(404, "text/plain", "no such room\n")),
///         }
///     }
///
///     fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>, room: String) {
///         if outbox.join(&room).is_err() {
///             outbox.reply("this room has too long a name");
///         }
///     }
///
///     fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {}
/// }
/// ```
pub trait Application {
    /// The value that `on_request` passes to `on_open`.
    type Ticket;

    /// Returns the address that a connection counts as, for the limit
    /// [`max_per_address`](crate::config::Limits::max_per_address) and for the choice of the handshake that gives its place to
    /// a new connection. `from` is the address of the other side of the TCP connection. Called once for each accepted
    /// connection, before its first byte is read.
    ///
    /// By default, this is the address of `from`. Return another one only for a connection that the application itself has
    /// opened on behalf of a client, and that it recognises by the port of `from`. A client that can choose the
    /// address evades the limit, or uses up the limit of another client. If this method panics, the address of `from` counts.
    ///
    /// A proxy opens connections on behalf of its clients too, but whose they are is known only from their requests. Count
    /// those in `on_request`.
    fn counted_as(&mut self, from: SocketAddr) -> IpAddr {
        from.ip()
    }

    /// See [`Dispatcher::on_request`].
    fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Decision<Self::Ticket>;

    /// See [`Dispatcher::on_open`]. `ticket` is the value that `on_request` returned for this peer.
    fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>, ticket: Self::Ticket);

    /// See [`Dispatcher::on_message`].
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>);

    /// See [`Dispatcher::on_close`].
    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        let _ = (outbox, closed);
    }
}

impl<D: Dispatcher> Application for D {
    type Ticket = ();

    fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Decision {
        Dispatcher::on_request(self, request, from)
    }

    fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>, (): ()) {
        Dispatcher::on_open(self, outbox, opened);
    }

    #[inline(always)]
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        Dispatcher::on_message(self, outbox, message);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        Dispatcher::on_close(self, outbox, closed);
    }
}
