//! RFC 6455 §7, §4, §5.5: one side of a WebSocket connection, without its socket.
//!
//! ```text
//! state             received bytes            may send          next state
//! Connecting        head of the handshake     the handshake     AwaitingDecision when a request is complete,
//!                                                               Open or Closed when a response is complete
//! AwaitingDecision  not read                  nothing           Open or Closed, according to `decide`; Connecting
//!                                                               after a plain request, if another one may follow;
//!                                                               Closed after `release`, if the response is delayed
//! Open              frames                    everything        Closing when we send a Close,
//!                                                               Closed when the peer sends one
//! Closing           frames, messages dropped  pongs             Closed when the peer's Close arrives
//! Closed            discarded                 nothing           none: flush, shut down, read until end of file
//! ```
//!
//! A violation or the loss of TCP leads from every state to Closed.
//!
//! To use a connection, pass it the received bytes, handle events until there are none, then write its output.
//!
//! Rules of this file:
//!
//! - The pong is queued before the caller sees the ping.
//! - The response to a Close repeats its code and reason. No second Close is ever sent.
//! - A violation queues a Close that names the broken rule, after all output that was queued before. Nothing is read
//!   after a violation.

use std::borrow::Cow;
use std::time::Duration;

use crate::config::ValidConfig;
use crate::protocol::close::{self, CloseCode, InvalidClose};
use crate::protocol::extension::{self, Extension, Negotiated};
use crate::protocol::frame::Role;
use crate::protocol::handshake::client::{ClientRequest, Expected, Rejection, judge};
use crate::protocol::handshake::server::{Decision, Outcome, refuse, respond};
use crate::protocol::http::fields::Fields;
use crate::protocol::http::head::HeadReader;
use crate::protocol::http::request::Request;
use crate::protocol::mask::MaskingKeys;
use crate::protocol::message::{Message, MessageBuf};
use crate::protocol::output::Output;
use crate::protocol::receive::{Incoming, MessageReader};
use crate::protocol::refusal::{Found, Refusal, Rule};
use crate::protocol::violation::Violation;

/// The state of a [`Connection`]. The [module documentation](self) shows what each state allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The opening handshake is incomplete. Or a plain request was answered, and the client may send another one.
    Connecting,
    /// A request is complete, and [`Connection::decide`] must accept or refuse it. Or it has, and the response is
    /// [delayed](Connection::delay).
    AwaitingDecision,
    /// Both sides may send messages.
    Open,
    /// We have sent a Close and wait for the peer's.
    Closing,
    /// The WebSocket is closed. Queued output is still written.
    Closed,
}

/// How and why a connection closed.
///
/// ```
/// use framewise::{Cause, Closed, Dispatcher, Message, Outbox};
///
/// /// Prints how each connection closes.
/// struct Journal;
///
/// impl Dispatcher for Journal {
///     fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {}
///
///     fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
///         match closed.cause {
///             Cause::Violation(rule) => println!("{}: {rule}", outbox.peer()),
///             _ => println!("{}: {} {}", outbox.peer(), closed.code.0, closed.reason),
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The status code of the Close frame that was received or sent: 1005 if it had none, 1006 if there was no Close.
    pub code: CloseCode,
    /// The reason in the Close frame that was received or sent.
    pub reason: String,
    /// Why the connection closed.
    pub cause: Cause,
}

/// Why a connection closed: the cause in [`Closed`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The peer sent a Close first.
    Peer,
    /// We sent a Close first, and the peer responded with one.
    Local,
    /// The peer broke a rule (§7.1.7).
    Violation(Violation),
    /// The application failed while it handled this peer (close code 1011).
    Internal,
    /// TCP closed without a Close from the peer (§7.1.5).
    Lost,
    /// The server refused the opening handshake, or sent a plain HTTP response.
    NotOpened,
    /// The server's response to the opening handshake was not acceptable (§4.1).
    Rejected(Rejection),
}

/// A complete head, or the reason to refuse it. [`Connection::decide`] takes it.
pub type Head<'b> = Result<Cow<'b, [u8]>, Refusal>;

/// An event that results from bytes that a [`Connection`] received.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A server received a request. The connection waits for [`Connection::decide`].
    Request(Head<'b>),
    /// The connection is open.
    Opened(Negotiated),
    /// A whole message.
    Message(MessageBuf<'b>),
    /// A fragment is complete, and more fragments of its message follow. Or a message is complete and was dropped, because
    /// we have sent a Close. The event loop counts these events. Other callers can ignore them.
    Fragment,
    /// A ping. Its pong is already queued, unless [`send_pongs`](crate::Config::send_pongs) is false.
    Ping(Cow<'b, [u8]>),
    /// A pong.
    Pong(Cow<'b, [u8]>),
    /// The connection closed. Nothing more is read, and the required response is queued.
    Closed(Closed),
}

impl Event<'_> {
    /// Converts the event into one that owns its bytes.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Event::Request(head) => Event::Request(head.map(|head| head.into_owned().into())),
            Event::Opened(negotiated) => Event::Opened(negotiated),
            Event::Message(message) => Event::Message(message.into_owned()),
            Event::Fragment => Event::Fragment,
            Event::Ping(payload) => Event::Ping(payload.into_owned().into()),
            Event::Pong(payload) => Event::Pong(payload.into_owned().into()),
            Event::Closed(closed) => Event::Closed(closed),
        }
    }
}

/// One side of a connection: received bytes go in, events and bytes to send come out.
///
/// ```
/// use framewise::Config;
/// use framewise::protocol::connection::{Connection, Event};
///
/// let mut server = Connection::server(Config::default().validate()?);
/// let mut request = *b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
///     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// server.receive(&mut request, |_, _| {});
/// assert!(server.output_mut().take().starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
///
/// // The masked "Hello" of §5.7.
/// let mut frame = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// server.receive(&mut frame, |event, output| {
///     if let Event::Message(message) = event {
///         output.send(&message);
///     }
/// });
/// assert_eq!(server.output_mut().take(), b"\x81\x05Hello");
/// # Ok::<(), framewise::config::ConfigError>(())
/// ```
///
/// The first page of the crate connects a client and a server in memory.
#[derive(Debug)]
pub struct Connection {
    config: ValidConfig,
    /// The opening handshake, until it is complete.
    opening: Option<Box<Opening>>,
    reader: MessageReader,
    output: Output,
    /// How and why the connection closed, once it is closed.
    closed: Option<Box<Closed>>,
}

#[derive(Debug, Default)]
struct Opening {
    head: HeadReader,
    /// What a client expects of the response.
    expected: Option<Expected>,
    /// Interim responses so far.
    interim: usize,
    /// Whether a request is complete and waits for a decision.
    awaits_decision: bool,
    /// The plain requests that were answered, after each of which the connection was kept.
    requests: usize,
    /// A response that is delayed, and for how long.
    delayed: Option<(Vec<u8>, Duration)>,
}

impl Connection {
    /// Creates the server's side of a TCP connection that was just accepted.
    pub fn server(config: ValidConfig) -> Connection {
        // RFC 6455 §5.1-4: without masking keys, the output masks nothing.
        Connection::new(config, Role::Server, Output::opening(None), Opening::default())
    }

    /// Creates the client's side of a TCP connection that was just established, and queues its request.
    ///
    /// `nonce` becomes the `Sec-WebSocket-Key` and must be random for each connection. `keys` produces the masking
    /// keys. Outside of tests, pass [`random_keys`](crate::protocol::mask::random_keys).
    pub fn client(
        config: ValidConfig,
        request: &ClientRequest,
        nonce: [u8; 16],
        keys: MaskingKeys,
    ) -> Connection {
        let mut output = Output::opening(Some(keys));
        // RFC 6455 §4.1-18
        let offer = extension::offer(&config.handshake);
        let expected = Some(request.expected(nonce, offer.is_some()));
        output.raw(&request.encode(nonce, offer));
        let opening = Opening { expected, ..Opening::default() };
        Connection::new(config, Role::Client, output, opening)
    }

    fn new(config: ValidConfig, role: Role, output: Output, opening: Opening) -> Connection {
        let reader = MessageReader::new(role.other());
        Connection { config, opening: Some(Box::new(opening)), reader, output, closed: None }
    }

    // State.

    /// Returns the current state.
    #[inline]
    pub fn state(&self) -> State {
        if self.closed.is_some() {
            return State::Closed;
        }
        match &self.opening {
            Some(opening) if opening.awaits_decision => State::AwaitingDecision,
            Some(_) => State::Connecting,
            None if self.output.is_closed() => State::Closing,
            None => State::Open,
        }
    }

    /// Returns how and why the connection closed, or `None` if it is not closed.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_deref()
    }

    /// Returns the settings of the connection.
    #[inline]
    pub fn config(&self) -> &ValidConfig {
        &self.config
    }

    /// Reports whether a frame from the peer is incomplete. Not even a pong can arrive before its last byte (§5.4-5).
    pub fn is_mid_frame(&self) -> bool {
        self.reader.is_mid_frame()
    }

    /// Reports whether the connection has answered a plain request and waits for the next one, of which nothing has
    /// arrived yet.
    pub(crate) fn is_between_requests(&self) -> bool {
        let opening = self.opening.as_ref();
        opening.is_some_and(|opening| {
            opening.requests > 0 && !opening.awaits_decision && opening.head.examined() == 0
        })
    }

    /// Returns how many bytes an extension has decoded since the last call.
    #[inline]
    pub(crate) fn take_work(&mut self) -> u32 {
        self.reader.take_work()
    }

    /// Returns the output.
    #[inline]
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Returns the output, to queue messages, pings and Closes, and to remove the bytes that the socket accepted.
    #[inline]
    pub fn output_mut(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Returns the capacity in bytes of the connection's input and output buffers.
    #[inline]
    pub(crate) fn held(&self) -> Held {
        let (mut input, mut output) = (self.reader.held(), self.output.held());
        if let Some(opening) = &self.opening {
            input += opening.head.held();
            output += opening.delayed.as_ref().map_or(0, |(bytes, _)| bytes.capacity());
        }
        Held { input, output }
    }

    // Input.

    /// Reads the next event from `unread`, and advances `unread` past the consumed bytes. `None` means that all bytes
    /// were consumed, or that the connection waits for [`decide`](Connection::decide).
    ///
    /// Payloads are unmasked in place. A message that lies entirely in `unread` is borrowed from it.
    #[inline]
    pub fn next<'b>(&mut self, unread: &mut &'b mut [u8]) -> Option<Event<'b>> {
        let was_closed = self.closed.is_some();
        if let Some(message) = self.next_whole(unread) {
            return Some(Event::Message(message.into()));
        }
        match self.closed() {
            Some(closed) if !was_closed => Some(Event::Closed(closed.clone())),
            _ => self.next_piece(unread),
        }
    }

    /// Slow path of [`next`](Connection::next): handles everything that the fast path does not.
    pub(crate) fn next_piece<'b>(&mut self, unread: &mut &'b mut [u8]) -> Option<Event<'b>> {
        if self.closed.is_some() {
            // RFC 6455 §7.1.7-7: no bytes are processed after the connection closed.
            *unread = &mut [];
            return None;
        }
        if self.opening.is_some() {
            return self.next_of_handshake(unread);
        }
        // RFC 6455 §6.2-2
        match self.reader.next_piece(unread, &self.config) {
            Ok(None) => None,
            Ok(Some(Incoming::Message(_))) if self.output.is_closed() => Some(Event::Fragment),
            Ok(Some(Incoming::Message(message))) => Some(Event::Message(message)),
            Ok(Some(Incoming::Fragment)) => Some(Event::Fragment),
            Ok(Some(Incoming::Ping(payload))) => {
                // RFC 6455 §5.5.2-2, §5.5.2-3
                if self.config.send_pongs {
                    self.output.pong(&payload);
                }
                Some(Event::Ping(payload))
            }
            // RFC 6455 §5.5.3-2: a pong needs no response.
            Ok(Some(Incoming::Pong(payload))) => Some(Event::Pong(payload)),
            Ok(Some(Incoming::Close(body))) => Some(self.peer_closes(&body)),
            Err(violation) => Some(Event::Closed(self.fail(violation))),
        }
    }

    /// Fast path of [`next`](Connection::next): returns a message whose only frame lies entirely in `unread`.
    ///
    /// `None` means that the fast path did not apply, or that the peer broke a rule. In the second case,
    /// [`closed`](Connection::closed) returns the violation.
    #[inline(always)]
    pub(crate) fn next_whole<'b>(&mut self, unread: &mut &'b mut [u8]) -> Option<Message<'b>> {
        if self.closed.is_some() || self.opening.is_some() || self.output.is_closed() {
            return None;
        }
        match self.reader.next_whole(unread, &self.config) {
            Ok(message) => message,
            Err(violation) => {
                self.fail(violation);
                None
            }
        }
    }

    /// Processes `bytes` and calls `on_event` with each event and with the output, to which it can send a response.
    /// Skips fragments, and accepts every valid request that the config allows.
    pub fn receive(&mut self, bytes: &mut [u8], mut on_event: impl FnMut(Event<'_>, &mut Output)) {
        let mut unread = bytes;
        while let Some(event) = self.next(&mut unread) {
            let event = match event {
                Event::Fragment => continue,
                Event::Request(head) => match self.decide(&head, None, |_| Decision::Accept(())) {
                    Outcome::Opened(opened, ()) => Event::Opened(opened.negotiated),
                    _ => {
                        Event::Closed(self.closed().expect("a refused handshake is closed").clone())
                    }
                },
                event => event,
            };
            on_event(event, &mut self.output);
        }
    }

    /// Responds to the request of [`Event::Request`]. Calls `decide` if the request is valid. `unix_seconds` becomes
    /// the `Date` of a response other than 101.
    ///
    /// After the response to a plain request, the client may send another one, unless the response says otherwise (RFC
    /// 9112 9.3). The state is [`Connecting`](State::Connecting) again then, and the caller limits how long it waits. In
    /// all other cases in which no WebSocket opens, the connection closes.
    ///
    /// In any other state than [`AwaitingDecision`](State::AwaitingDecision) nothing is sent, and the request counts as
    /// refused.
    pub fn decide<'h, T>(
        &mut self,
        head: &'h Head<'_>,
        unix_seconds: Option<u64>,
        decide: impl FnOnce(&Request<'_>) -> Decision<T>,
    ) -> Outcome<'h, T> {
        if self.state() != State::AwaitingDecision || self.delay().is_some() {
            return Outcome::Refused(Refusal::measured(Rule::Internal, Found::Nothing));
        }
        let head = head.as_ref().map(|head| &**head);
        let answered = self.opening.as_ref().map_or(0, |opening| opening.requests);
        let is_last = answered + 1 >= self.config.limits.max_requests;
        let reply = respond(head, &self.config, unix_seconds, is_last, decide);
        if let (false, Some(opening)) = (reply.delay.is_zero(), &mut self.opening) {
            opening.delayed = Some((reply.bytes, reply.delay));
            return reply.outcome;
        }
        self.output.raw(&reply.bytes);
        match reply.outcome {
            Outcome::Opened(..) => self.open(reply.extension),
            Outcome::Responded(_) if reply.keeps_alive => self.await_next_request(),
            // RFC 6455 §4.2.1-1, §4.2.2-7, §7.2.2-1
            _ => self.end_requests(),
        }
        reply.outcome
    }

    /// Returns for how long the response of [`decide`](Connection::decide) is delayed, if it is. It is queued by
    /// [`release`](Connection::release), which the caller calls after that time, because a connection has no clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use framewise::protocol::connection::{Connection, Event, State};
    /// use framewise::{Config, Decision, Response};
    ///
    /// let mut server = Connection::server(Config::default().validate()?);
    /// let mut request = *b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    /// let Some(Event::Request(head)) = server.next(&mut request.as_mut_slice()) else { panic!() };
    /// server.decide(&head, None, |_| -> Decision {
    ///     let response = Response::new(401, "text/plain", "no");
    ///     Decision::Respond(response.delayed(Duration::from_secs(2)))
    /// });
    /// assert_eq!(server.delay(), Some(Duration::from_secs(2)));
    /// assert!(server.output().is_empty());
    ///
    /// server.release();
    /// assert!(server.output_mut().take().starts_with(b"HTTP/1.1 401 Unauthorized\r\n"));
    /// assert_eq!(server.state(), State::Closed);
    /// # Ok::<(), framewise::config::ConfigError>(())
    /// ```
    pub fn delay(&self) -> Option<Duration> {
        self.opening.as_ref()?.delayed.as_ref().map(|&(_, delay)| delay)
    }

    /// Queues the response that was [delayed](Connection::delay), and closes the connection. Does nothing if there is none.
    pub fn release(&mut self) {
        let delayed = self.opening.as_mut().and_then(|opening| opening.delayed.take());
        if let Some((bytes, _)) = delayed {
            self.output.raw(&bytes);
            self.end_requests();
        }
    }

    fn await_next_request(&mut self) {
        if let Some(opening) = &mut self.opening {
            opening.head = HeadReader::default();
            opening.awaits_decision = false;
            opening.requests += 1;
        }
    }

    /// Closes a connection that has not become a WebSocket. Its queued responses are still written.
    pub(crate) fn end_requests(&mut self) {
        self.end(CloseCode::ABNORMAL, "", Cause::NotOpened);
    }

    /// Refuses a connection before its request has arrived.
    pub(crate) fn refuse(&mut self, refusal: &Refusal, unix_seconds: Option<u64>) {
        self.output.raw(&refuse(refusal, self.config.lang, unix_seconds));
        self.end_requests();
    }

    fn open(&mut self, Extension { decoder, encoder }: Extension) {
        self.opening = None;
        // RFC 6455 §5.8-1, §9.1-6: the only place that sets an extension.
        self.reader.set_decoder(decoder);
        self.output.open(encoder);
    }

    /// Records that TCP closed or failed. The queued output is kept, because the socket may still accept it.
    pub fn lost(&mut self) {
        if self.closed.is_none() {
            // RFC 6455 §7.2.1-2
            self.end(CloseCode::ABNORMAL, "", Cause::Lost);
        }
    }

    /// Records that the socket accepts no more bytes, and drops the queued output.
    pub fn broken(&mut self) {
        self.lost();
        self.output.discard();
    }

    // Closing and failing.

    /// Starts the closing handshake, which either side may do at any time (§7.3-1). Returns false if the connection is not open or we have already sent a Close.
    ///
    /// # Errors
    ///
    /// The code must not be sent (§7.4), or the reason is longer than 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<bool, InvalidClose> {
        if self.state() == State::Open {
            // RFC 6455 §7.1.2-1
            return self.output.close(code, reason);
        }
        close::encode(code, reason, &mut [0; close::MAX_BODY]).map(|_| false)
    }

    /// Fails the connection: queues a Close with the violation's code and reason, and reads nothing more (§7.1.7).
    #[cold]
    pub fn fail(&mut self, violation: Violation) -> Closed {
        let code = CloseCode(violation.code());
        self.fail_with(code, &violation.reason(), Cause::Violation(violation))
    }

    /// Fails the connection because of an error in the application (close code 1011).
    #[cold]
    pub fn fail_internal(&mut self) -> Closed {
        self.fail_with(CloseCode::INTERNAL_ERROR, "internal error", Cause::Internal)
    }

    #[cold]
    fn fail_with(&mut self, code: CloseCode, reason: &str, cause: Cause) -> Closed {
        if let Some(closed) = self.closed() {
            return closed.clone();
        }
        if self.opening.is_none() {
            // RFC 6455 §7.1.7-5, §10.7-3, and §5.1-3, §5.1-6 for frames with the wrong mask. The output ignores a second Close.
            self.output.close(code, reason).expect("codes and reasons of failures may be sent");
        }
        self.end(code, reason, cause)
    }

    /// Handles the peer's Close: queues one in response, unless we have already sent one.
    #[cold]
    fn peer_closes(&mut self, body: &[u8]) -> Event<'static> {
        let received = match close::decode(body) {
            Ok(received) => received,
            Err(violation) => return Event::Closed(self.fail(violation)),
        };
        let cause = if self.output.is_closed() { Cause::Local } else { Cause::Peer };
        let (code, reason) = match received {
            // RFC 6455 §5.5.1-6, §5.5.1-7: the response repeats code and reason, and is queued at once.
            Some((code, reason)) => {
                self.output.close(code, reason).expect("a received Close may be sent back");
                (code, reason)
            }
            None => {
                self.output.close_without_code();
                (CloseCode::NO_STATUS, "")
            }
        };
        Event::Closed(self.end(code, reason, cause))
    }

    fn end(&mut self, code: CloseCode, reason: &str, cause: Cause) -> Closed {
        let closed = Closed { code, reason: reason.to_owned(), cause };
        self.opening = None;
        self.output.end();
        self.reader = MessageReader::new(Role::Server);
        self.closed = Some(Box::new(closed.clone()));
        closed
    }

    #[cold]
    fn next_of_handshake<'b>(&mut self, unread: &mut &'b mut [u8]) -> Option<Event<'b>> {
        let opening = self.opening.as_mut()?;
        if opening.awaits_decision {
            return None;
        }
        let head = match opening.head.read(unread, &self.config) {
            Ok(None) => return None,
            Ok(Some(head)) => Ok(head),
            Err(refusal) => {
                *unread = &mut [];
                Err(refusal)
            }
        };
        if opening.expected.is_none() {
            opening.awaits_decision = true;
            return Some(Event::Request(head));
        }
        // RFC 6455 §4.1-41
        let head = head.as_deref().map_err(Refusal::clone);
        let expected = opening.expected.as_ref();
        let extend = |fields: &Fields<'_>| extension::confirm(fields, &self.config.handshake);
        let judged = judge(head, &mut opening.interim, expected, extend);
        let Some(judged) = judged else {
            opening.head = HeadReader::default();
            return self.next_of_handshake(unread);
        };
        Some(match judged {
            Ok((negotiated, extension)) => {
                self.open(extension);
                Event::Opened(negotiated)
            }
            Err(rejection) => {
                // RFC 6455 §4.1-47
                Event::Closed(self.end(CloseCode::ABNORMAL, "", Cause::Rejected(rejection)))
            }
        })
    }
}

/// The capacity of a connection's buffers, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// For an incomplete head or message from the peer.
    pub(crate) input: usize,
    /// For the queued output.
    pub(crate) output: usize,
}

impl Held {
    #[inline]
    pub(crate) fn total(self) -> usize {
        self.input + self.output
    }
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;
    use crate::config::Config;
    use crate::protocol::url::Url;

    /// An idle connection allocates nothing besides this struct. The goal for all of a peer's memory is 400 bytes.
    #[test]
    fn the_record_of_an_idle_connection_is_small() {
        let size = mem::size_of::<Connection>();
        assert!(size <= 224, "{size} bytes");
    }

    /// Returns the client and the server of an open connection with the test extension, which repeats messages three
    /// times.
    fn reversing(max_message: usize) -> (Connection, Connection) {
        let config = Config::default()
            .handshake(|handshake| handshake.reverse = true)
            .limits(|limits| limits.max_message = max_message)
            .validate()
            .expect("valid");
        let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
        let keys: MaskingKeys = Box::new(|| [1, 2, 3, 4]);
        let mut client = Connection::client(config.clone(), &request, [7; 16], keys);
        let mut server = Connection::server(config);
        let agreed = Some("reverse; times=3".to_owned());
        server.receive(&mut client.output_mut().take(), |event, _| {
            assert!(matches!(event, Event::Opened(negotiated) if negotiated.extensions == agreed));
        });
        client.receive(&mut server.output_mut().take(), |event, _| {
            assert!(matches!(event, Event::Opened(negotiated) if negotiated.extensions == agreed));
        });
        (client, server)
    }

    /// Returns the events of `to` for bytes that arrive in pieces of `step`.
    fn seen(to: &mut Connection, wire: &[u8], step: usize) -> Vec<String> {
        let mut seen = Vec::new();
        for piece in wire.chunks(step) {
            to.receive(&mut piece.to_vec(), |event, _| {
                seen.push(match event {
                    Event::Message(message) => format!("{:?}", message.as_message()),
                    Event::Closed(closed) => format!("{:?}", closed.cause),
                    event => format!("{event:?}"),
                });
            });
        }
        seen
    }

    /// RFC 6455 §4.1-38, §4.2.2-10, §5.8-1, §6.2-6, §9-1, §9-2: both sides agree on the first offer that the server supports.
    /// One side encodes a message and the other decodes it, no matter how the bytes are split.
    #[test]
    fn an_extension_changes_whole_messages() {
        for step in [1, 2, 5, 1000] {
            let (mut client, mut server) = reversing(1000);
            client.output_mut().send("abc");
            client.output_mut().send(b"\x01\x02");
            let wire = client.output_mut().take();
            assert_eq!(wire[0], 0xc1, "RSV1 is set");
            let expected = ["Text(\"abcabcabc\")", "Binary([1, 2, 1, 2, 1, 2])"];
            assert_eq!(seen(&mut server, &wire, step), expected);
            server.output_mut().send("olá");
            let wire = server.output_mut().take();
            assert_eq!(wire, b"\xc1\x04\xa1\xc3lo");
            assert_eq!(seen(&mut client, &wire, step), ["Text(\"oláoláolá\")"]);
        }
    }

    /// RFC 6455 §9.1-6: a client that has offered an extension does not use it unless the server accepts it.
    #[test]
    fn an_offer_that_is_not_accepted_is_not_used() {
        let plain = Config::default().validate().expect("valid");
        let offers = Config::default().handshake(|handshake| handshake.reverse = true);
        let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
        let keys: MaskingKeys = Box::new(|| [0; 4]);
        let mut client =
            Connection::client(offers.validate().expect("valid"), &request, [7; 16], keys);
        let mut server = Connection::server(plain);
        let head = client.output_mut().take();
        assert!(head.windows(24).any(|part| part == b"Sec-WebSocket-Extensions"), "it is offered");
        server.receive(&mut head.clone(), |_, _| {});
        client.receive(&mut server.output_mut().take(), |event, _| {
            assert!(matches!(event, Event::Opened(negotiated) if negotiated.extensions.is_none()));
        });
        client.output_mut().send("abc");
        assert_eq!(client.output_mut().take(), b"\x81\x83\0\0\0\0abc");
        assert_eq!(seen(&mut client, b"\x81\x03abc", 1000), ["Text(\"abc\")"]);
        let refused = seen(&mut client, b"\xc1\x03abc", 1000);
        assert_eq!(refused, ["Violation(ReservedBits)"]);
    }

    /// RFC 6455 §5.4-1: fragments are decoded together, with control frames in between. A message without RSV1 is not
    /// decoded. UTF-8 is checked after decoding, because a reversed code point is not valid on the wire.
    #[test]
    fn an_extension_decodes_fragments() {
        let wire = b"\x41\x03fed\x89\x02hi\x00\x01c\x80\x02\xa9\xc3\x81\x03abc\x01\x01a\x80\x01b";
        for step in 1..wire.len() {
            let (mut client, _) = reversing(1000);
            let told = seen(&mut client, wire, step);
            let decoded = "Text(\"écdefécdefécdef\")";
            let expected = ["Ping([104, 105])", decoded, "Text(\"abc\")", "Text(\"ab\")"];
            assert_eq!(told, expected, "in pieces of {step}");
        }
    }

    /// §10.4-1: the limit applies to decoded data, and memory is released.
    #[test]
    fn the_limit_holds_after_decoding() {
        for (payload, told) in
            [("abc", "Text(\"abcabcabc\")"), ("abcd", "Violation(MessageTooBig)")]
        {
            let (mut client, mut server) = reversing(11);
            client.output_mut().send(payload);
            assert_eq!(seen(&mut server, &client.output_mut().take(), 2), [told]);
            assert_eq!(server.held().input, 0);
        }
        // It also applies to the length on the wire, at the header that exceeds it.
        let (mut client, _) = reversing(11);
        assert_eq!(seen(&mut client, b"\xc1\x0c", 1), ["Violation(MessageTooBig)"]);
    }

    /// RFC 6455 §5.2-3: reserved bits are refused on frames where the extension does not define them.
    #[test]
    fn rsv1_is_refused_where_it_means_nothing() {
        for wire in [&b"\xc9\x00"[..], b"\x01\x01a\xc0\x01b", b"\xa1\x00", b"\x91\x00"] {
            let (mut client, _) = reversing(1000);
            assert_eq!(seen(&mut client, wire, 1000), ["Violation(ReservedBits)"]);
        }
    }

    /// RFC 6455 §8.1-1: decoded text that is not UTF-8 fails the connection. The bytes on the wire are not checked.
    #[test]
    fn utf8_is_judged_after_decoding() {
        let (mut client, _) = reversing(1000);
        assert_eq!(seen(&mut client, b"\xc1\x02\xa9\xc3", 1000), ["Text(\"ééé\")"]);
        let (mut client, _) = reversing(1000);
        assert_eq!(seen(&mut client, b"\xc1\x02\xc3\xa9", 1000), ["Violation(InvalidUtf8)"]);
    }

    /// A shared frame is encoded with the extension. An output without the extension has another kind of encoder.
    #[test]
    fn a_shared_frame_is_encoded_by_the_extension() {
        let (_, mut server) = reversing(1000);
        let frame = crate::protocol::encode::EncodedFrame::new("abc".into()).expect("memory");
        let count = crate::protocol::encode::SharedCount::default();
        let encoded = server.output_mut().encode_shared(&frame, &count).expect("memory");
        assert_eq!(encoded.bytes(), b"\xc1\x03cba");
        assert_ne!(server.output().encoder_kind(), Output::new(None).encoder_kind());
    }

    /// No bytes are read between a request and the decision about it.
    #[test]
    fn a_request_awaits_its_decision() {
        let mut server = Connection::server(Config::default().validate().expect("valid"));
        let request = ClientRequest::new(Url::parse("ws://h/").expect("valid"));
        let mut wire = request.encode([7; 16], None);
        wire.extend_from_slice(b"\x81\x80\0\0\0\0");
        let mut unread = wire.as_mut_slice();
        let Some(Event::Request(head)) = server.next(&mut unread) else { panic!("a request") };
        assert_eq!(server.state(), State::AwaitingDecision);
        assert!(server.next(&mut unread).is_none());
        assert_eq!(unread.len(), 6);
        let outcome = server.decide(&head, None, |_| Decision::Accept("ticket"));
        assert!(matches!(outcome, Outcome::Opened(_, "ticket")));
        assert_eq!(server.state(), State::Open);
        assert!(matches!(server.next(&mut unread), Some(Event::Message(_))));
    }
}
