//! RFC 6455 §7, §4, §5.5: one end of a WebSocket connection, without its socket.
//!
//! ```text
//! state        bytes that arrive         may send          leaves for
//! Connecting   the head of a handshake   the handshake     Open, or Closed when it is refused
//! Open         frames                    everything        Closing when this end sends a Close,
//!                                                          Closed when the peer does, or fails
//! Closing      frames; only Close counts nothing           Closed when the peer's Close arrives
//! Closed       discarded                 nothing           - flush, shut down, read to the end
//! ```
//!
//! The invariant of its use: feed bytes, take events until there are none, then send what `sender` holds.
//!
//! Rules of this file: a ping is answered before the caller hears of it; a Close is answered once, with
//! what it said; a violation queues a Close that names the rule, behind the replies that were queued
//! before it, and ends the reading.

use std::borrow::Cow;
use std::mem;

use crate::config::ValidConfig;
use crate::protocol::close::{self, CloseCode, InvalidClose};
use crate::protocol::frame::Role;
use crate::protocol::handshake::client::{ClientRequest, Expected, Rejection, verify};
use crate::protocol::handshake::server::{Answer, Outcome, respond};
use crate::protocol::http::head::HeadReader;
use crate::protocol::http::request::Request;
use crate::protocol::mask::MaskingKeys;
use crate::protocol::message::{Message, Received};
use crate::protocol::receive::{Incoming, Receiver};
use crate::protocol::refusal::Refusal;
use crate::protocol::send::Sender;
use crate::protocol::violation::Violation;

/// Where a connection stands; the table above says what each state allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The opening handshake is under way.
    Connecting,
    /// Messages may go both ways.
    Open,
    /// This end has sent a Close and waits for the peer's.
    Closing,
    /// The WebSocket is over; what is queued still goes out.
    Closed,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The status code: the peer's, or that of the violation; 1005 for a Close without one, 1006 for none.
    pub code: CloseCode,
    /// The reason that came, or went, with it.
    pub reason: String,
    /// Who or what ended it.
    pub cause: Cause,
}

/// Who or what ended a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The peer sent a Close first.
    Peer,
    /// This end sent a Close first, and the peer answered it.
    ThisEnd,
    /// The peer broke a rule (§7.1.7).
    Violation(Violation),
    /// The application failed while it handled this peer: 1011.
    Internal,
    /// TCP ended without a Close from the peer (§7.1.5).
    Lost,
    /// The opening handshake was refused, or answered over plain HTTP.
    NotOpened,
    /// The server's answer to the opening handshake was not acceptable (§4.1).
    Rejected(Rejection),
}

/// A head that arrived whole, or that cannot become one.
pub type Head<'b> = Result<Cow<'b, [u8]>, Refusal>;

/// What came out of the bytes that went in.
#[derive(Debug)]
pub enum Event<'b> {
    /// Servers: a request. Pass it to [`Connection::answer`] before anything else.
    Request(Head<'b>),
    /// The connection is open, with this subprotocol.
    Opened(Option<String>),
    /// A whole message.
    Message(Received<'b>),
    /// A ping; its pong is queued already.
    Ping(Cow<'b, [u8]>),
    /// A pong.
    Pong(Cow<'b, [u8]>),
    /// The connection ended. Nothing more is read; whatever answer was due is queued.
    Closed(Closed),
}

impl Event<'_> {
    /// The event with bytes of its own.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Event::Request(head) => Event::Request(head.map(|head| head.into_owned().into())),
            Event::Opened(subprotocol) => Event::Opened(subprotocol),
            Event::Message(message) => Event::Message(message.into_owned()),
            Event::Ping(payload) => Event::Ping(payload.into_owned().into()),
            Event::Pong(payload) => Event::Pong(payload.into_owned().into()),
            Event::Closed(closed) => Event::Closed(closed),
        }
    }
}

/// One end of a connection: bytes in, events out, bytes out.
#[derive(Debug)]
pub struct Connection {
    config: ValidConfig,
    /// The opening handshake, while it lasts.
    opening: Option<Box<Opening>>,
    receiver: Receiver,
    sender: Sender,
    /// How it ended, once it has.
    closed: Option<Box<Closed>>,
}

#[derive(Debug, Default)]
struct Opening {
    reader: HeadReader,
    /// What the server's answer has to say; a server expects nothing.
    expected: Option<Expected>,
}

impl Connection {
    /// The server's end of a TCP connection just accepted.
    pub fn server(config: ValidConfig) -> Connection {
        Connection::new(config, Role::Server, Sender::new(None), Opening::default())
    }

    /// The client's end of a TCP connection just established; its request is queued.
    ///
    /// `nonce` is what the key is made of (16 bytes, random for each connection), `keys` produces the
    /// masking keys: [`random_keys`](crate::protocol::mask::random_keys) outside of tests.
    pub fn client(
        config: ValidConfig,
        request: &ClientRequest,
        nonce: [u8; 16],
        keys: MaskingKeys,
    ) -> Connection {
        let mut sender = Sender::new(Some(keys));
        sender.raw(&request.encode(nonce));
        let opening = Opening { expected: Some(request.expected(nonce)), ..Opening::default() };
        Connection::new(config, Role::Client, sender, opening)
    }

    fn new(config: ValidConfig, role: Role, sender: Sender, opening: Opening) -> Connection {
        let receiver = Receiver::new(role.other());
        Connection { config, opening: Some(Box::new(opening)), receiver, sender, closed: None }
    }

    // How it stands.

    /// The state, derived from what was sent and received.
    #[inline]
    pub fn state(&self) -> State {
        if self.closed.is_some() {
            State::Closed
        } else if self.opening.is_some() {
            State::Connecting
        } else if self.sender.is_closed() {
            State::Closing
        } else {
            State::Open
        }
    }

    /// How it ended, once it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_deref()
    }

    /// The settings it was made with.
    #[inline]
    pub fn config(&self) -> &ValidConfig {
        &self.config
    }

    /// Whether the peer is in the middle of a frame, so that not even a pong could arrive (§5.4-5).
    pub fn is_mid_frame(&self) -> bool {
        self.receiver.is_mid_frame()
    }

    /// What goes out.
    #[inline]
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Queues messages, pings and closes, and says what the socket took.
    #[inline]
    pub fn sender_mut(&mut self) -> &mut Sender {
        &mut self.sender
    }

    // What comes in.

    /// Takes the next event out of `unread`, which shrinks by the bytes that were used. `None`: all were.
    ///
    /// The bytes are unmasked where they lie, and messages that are whole in them are borrowed from them.
    #[inline]
    pub fn next<'b>(&mut self, unread: &mut &'b mut [u8]) -> Option<Event<'b>> {
        loop {
            if self.closed.is_some() {
                // RFC 6455 §7.1.7-7: nothing after the end is processed.
                *unread = &mut [];
                return None;
            }
            if self.opening.is_some() {
                return self.next_of_handshake(unread);
            }
            match self.receiver.next(unread, &self.config) {
                Ok(None) => return None,
                // Once this end has sent a Close, its application has stopped listening.
                Ok(Some(Incoming::Message(_))) if self.sender.is_closed() => {}
                Ok(Some(Incoming::Message(message))) => return Some(Event::Message(message)),
                Ok(Some(Incoming::Ping(payload))) => {
                    // RFC 6455 §5.5.2-2, §5.5.2-3
                    if self.config.answer_pings {
                        self.sender.pong(&payload);
                    }
                    return Some(Event::Ping(payload));
                }
                Ok(Some(Incoming::Pong(payload))) => return Some(Event::Pong(payload)),
                Ok(Some(Incoming::Close(body))) => return Some(self.peer_closes(&body)),
                Err(violation) => return Some(Event::Closed(self.fail(violation))),
            }
        }
    }

    /// The next message, if it lies in `unread` as a whole: [`next`](Connection::next) for what most reads are
    /// made of, at half the price. `None` says nothing but that. A rule that is broken here fails the
    /// connection, which [`closed`](Connection::closed) tells.
    #[inline(always)]
    pub(crate) fn next_whole<'b>(&mut self, unread: &mut &'b mut [u8]) -> Option<Message<'b>> {
        if self.state() != State::Open {
            return None;
        }
        match self.receiver.next_whole(unread, &self.config) {
            Ok(message) => message,
            Err(violation) => {
                self.fail(violation);
                None
            }
        }
    }

    /// Feeds bytes to a connection that lives on its own: each event goes to `on_event` together with the
    /// sender that takes the reaction to it. Requests are accepted as the config says.
    pub fn receive(&mut self, bytes: &mut [u8], mut on_event: impl FnMut(Event<'_>, &mut Sender)) {
        let mut unread = bytes;
        while let Some(event) = self.next(&mut unread) {
            let event = match event {
                Event::Request(head) => match self.answer(&head, None, |_| Answer::Accept) {
                    Outcome::Opened(opened) => Event::Opened(opened.subprotocol),
                    _ => {
                        Event::Closed(self.closed().expect("a refused handshake is closed").clone())
                    }
                },
                event => event,
            };
            on_event(event, &mut self.sender);
        }
    }

    /// Answers the request of [`Event::Request`]. `decide` is asked once the request was found valid, and
    /// `unix_seconds` becomes the `Date` of an answer other than 101.
    pub fn answer<'h>(
        &mut self,
        head: &'h Head<'_>,
        unix_seconds: Option<u64>,
        decide: impl FnOnce(&Request<'_>) -> Answer,
    ) -> Outcome<'h> {
        let head = head.as_ref().map(|head| &**head);
        let (bytes, outcome) = respond(head, &self.config, unix_seconds, decide);
        self.sender.raw(&bytes);
        self.opening = None;
        if !matches!(outcome, Outcome::Opened(_)) {
            // RFC 6455 §4.2.1-1, §7.2.2-1
            self.end(CloseCode::ABNORMAL, "", Cause::NotOpened);
        }
        outcome
    }

    /// TCP ended, or broke. What still waits can go out only if the socket still takes it.
    pub fn lost(&mut self) {
        if self.closed.is_none() {
            // RFC 6455 §7.2.1-2
            self.end(CloseCode::ABNORMAL, "", Cause::Lost);
        }
    }

    /// The socket takes nothing any more: drops what waits.
    pub fn broken(&mut self) {
        self.lost();
        self.sender.discard();
    }

    // What this end decides.

    /// Starts the closing handshake. False if a Close was sent before, or the connection is not open.
    ///
    /// # Errors
    ///
    /// The code may not be sent (§7.4), or the reason is longer than 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<bool, InvalidClose> {
        if self.state() == State::Open {
            // RFC 6455 §7.1.2-1
            return self.sender.close(code, reason);
        }
        close::encode(code, reason, &mut [0; close::MAX_BODY]).map(|_| false)
    }

    /// Fails the connection: a Close with the violation's code and reason, then nothing (§7.1.7).
    #[cold]
    pub fn fail(&mut self, violation: Violation) -> Closed {
        let code = CloseCode(violation.code());
        self.fail_with(code, &violation.reason(), Cause::Violation(violation))
    }

    /// Fails the connection because the application could not go on with it.
    #[cold]
    pub fn fail_internal(&mut self) -> Closed {
        self.fail_with(CloseCode::INTERNAL_ERROR, "internal error", Cause::Internal)
    }

    fn fail_with(&mut self, code: CloseCode, reason: &str, cause: Cause) -> Closed {
        if let Some(closed) = self.closed() {
            return closed.clone();
        }
        if self.opening.is_none() {
            // RFC 6455 §7.1.7-5; no second Close if one was sent before.
            self.sender.close(code, reason).expect("codes and reasons of failures may be sent");
        }
        self.end(code, reason, cause)
    }

    /// The peer's Close: answered, unless it is the answer.
    #[cold]
    fn peer_closes(&mut self, body: &[u8]) -> Event<'static> {
        let said = match close::decode(body) {
            Ok(said) => said,
            Err(violation) => return Event::Closed(self.fail(violation)),
        };
        let cause = if self.sender.is_closed() { Cause::ThisEnd } else { Cause::Peer };
        let (code, reason) = match said {
            // RFC 6455 §5.5.1-6: the answer repeats what was said.
            Some((code, reason)) => {
                self.sender.close(code, reason).expect("a received close may be sent back");
                (code, reason)
            }
            None => {
                self.sender.close_without_code();
                (CloseCode::NO_STATUS, "")
            }
        };
        Event::Closed(self.end(code, reason, cause))
    }

    fn end(&mut self, code: CloseCode, reason: &str, cause: Cause) -> Closed {
        let closed = Closed { code, reason: reason.to_owned(), cause };
        self.opening = None;
        self.receiver = Receiver::new(Role::Server);
        self.closed = Some(Box::new(closed.clone()));
        closed
    }

    #[cold]
    fn next_of_handshake<'b>(&mut self, unread: &mut &'b mut [u8]) -> Option<Event<'b>> {
        let opening = self.opening.as_mut()?;
        let head = match opening.reader.read(unread, &self.config) {
            Ok(None) => return None,
            Ok(Some(head)) => Ok(head),
            Err(refusal) => {
                *unread = &mut [];
                Err(refusal)
            }
        };
        let Some(expected) = mem::take(&mut opening.expected) else {
            return Some(Event::Request(head));
        };
        self.opening = None;
        let verified = head.map_err(Rejection::Malformed).and_then(|head| verify(&head, &expected));
        Some(match verified {
            Ok(subprotocol) => Event::Opened(subprotocol),
            Err(rejection) => {
                // RFC 6455 §4.1-47
                Event::Closed(self.end(CloseCode::ABNORMAL, "", Cause::Rejected(rejection)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An idle connection owns nothing but this record; the goal for all of a peer's memory is 400 bytes.
    #[test]
    fn the_record_of_an_idle_connection_is_small() {
        let size = mem::size_of::<Connection>();
        assert!(size <= 320, "{size} bytes");
    }
}
