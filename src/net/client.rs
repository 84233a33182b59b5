//! A blocking client: the same `Connection` as in a server, in the role of a client, over one socket.
//!
//! ```text
//! connect ──> request sent, response verified ──> send ··· recv ··· send ──> close ──> the server closes TCP
//! ```
//!
//! Rules of this file: A call returns when there is an event or its time is up. The calls that receive also send pongs.
//! A normal close is an event, not an error. The server closes TCP first (§7.1.1), and the client waits for that, for
//! at most the close time-out.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use rand::TryRng;
use rand::rngs::SysRng;

use crate::config::{Config, LONGEST};
use crate::net::connect::{ConnectError, Rejected, reach};
use crate::net::link::{Link, Received, Written, readiness};
use crate::net::sockets::note_written;
use crate::net::transport::{Readiness, Stream, Tcp};
use crate::observe::{Direction, Observer};
use crate::peers::PeerId;
use crate::protocol::close::{CloseCode, InvalidClose};
use crate::protocol::connection::{Cause, Closed, Connection, Event, State};
use crate::protocol::extension::Negotiated;
use crate::protocol::handshake::client::{ClientRequest, Rejection, is_interim, split};
use crate::protocol::http::body::BodyReader;
use crate::protocol::http::fields::Fields;
use crate::protocol::mask;
use crate::protocol::message::{MessageBuf, Payload};
use crate::protocol::output::MAX_SLICES;
use crate::protocol::url::Url;

/// The longest message that a client accepts by default, in bytes: longer than what a server accepts by default, by more than
/// any prefix of a reply.
const MAX_REPLY: usize = 2 << 20;

/// The most bytes of a refusal that are kept for the error, head and body together.
const MAX_REFUSAL: usize = 64 * 1024;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

/// One WebSocket connection to a server.
///
/// ```no_run
/// use framewise::{Client, CloseCode};
///
/// let mut client = Client::connect("ws://localhost:8765")?;
/// client.send("olá")?;
/// if let Some(message) = client.recv_message()? {
///     println!("{:?}", message.as_str());
/// }
/// client.close(CloseCode::NORMAL, "bye")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping the client closes TCP without a closing handshake. Call [`close`](Client::close) to close the WebSocket
/// properly.
pub struct Client<T = Tcp, O = ()> {
    connection: Connection,
    link: Link<TcpStream, T>,
    observer: O,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// Another thread has interrupted the client, and no call has returned because of it yet.
    interrupted: bool,
    /// The socket accepts no more output. Input that has arrived can still be read.
    output_failed: bool,
    /// How the end of TCP is awaited, once the closing handshake has begun.
    finish: Option<Finish>,
    /// The part of the buffer that holds unprocessed input.
    unread: Range<usize>,
    buffer: Box<[u8]>,
    negotiated: Negotiated,
}

/// The wait for the server to close TCP, which several calls may share.
#[derive(Clone, Copy)]
struct Finish {
    /// When the client stops waiting.
    by: Instant,
    /// Bytes that were read and discarded.
    discarded: usize,
    /// The sending side of TCP is shut down.
    shut: bool,
}

/// Interrupts a waiting call of a [`Client`] from another thread.
#[derive(Clone, Debug)]
pub struct Interrupter(Arc<Waker>);

impl Interrupter {
    /// Makes the call that waits return early. If no call waits, the next one that would wait returns early.
    ///
    /// # Errors
    ///
    /// The operating system could not wake the other thread.
    pub fn interrupt(&self) -> io::Result<()> {
        self.0.wake()
    }
}

impl Client {
    /// Connects to a URL such as `ws://localhost:8765/chat` with the defaults of [`Config`], except for one: messages may
    /// have up to 2 MiB. A server that accepts 1 MiB may reply with more, for example with `Echo: ` before the message.
    ///
    /// # Errors
    ///
    /// The URL is malformed, no server listens there, or its response does not open a WebSocket.
    pub fn connect(url: &str) -> Result<Client, ConnectError> {
        // RFC 6455 §4.1-4
        let config = Config::default().limits(|limits| limits.max_message = MAX_REPLY);
        Client::open(&ClientRequest::new(Url::parse(url)?), config)
    }

    /// Connects with subprotocols, header fields, limits and time-outs of your own.
    ///
    /// The [handshake time-out](crate::config::Timeouts::handshake) applies to connecting and the opening handshake
    /// together. While another client of this process is opening a connection to the same IP address and port, this one
    /// waits, as §4.1 requires.
    ///
    /// # Errors
    ///
    /// A setting is invalid, no server listens at the URL, or its response does not open a WebSocket (§4.1).
    pub fn open(request: &ClientRequest, config: Config) -> Result<Client, ConnectError> {
        Client::open_over(request, config, Tcp, ())
    }
}

impl<T: Stream, O: Observer> Client<T, O> {
    /// Connects as [`open`](Client::open) does, over a transport and with an observer. A `wss://` URL needs a transport that
    /// [is secure](Stream::is_secure).
    ///
    /// # Errors
    ///
    /// As for [`open`](Client::open).
    pub fn open_over(
        request: &ClientRequest,
        config: Config,
        transport: T,
        observer: O,
    ) -> Result<Client<T, O>, ConnectError> {
        // RFC 6455 §4.1-14: the transport performs the TLS handshake.
        if request.url().is_secure() && !transport.is_secure() {
            return Err(ConnectError::Secure);
        }
        let config = config.validate()?;
        let deadline = Instant::now() + config.timeouts.handshake;
        // RFC 6455 §4.1-2. The turn ends with this call, when the connection is open or has failed.
        let (mut stream, _turn) = reach(request.url(), deadline)?;
        // RFC 6455 §4.1-29, §4.1-30
        let mut nonce = [0; 16];
        SysRng.try_fill_bytes(&mut nonce).map_err(|_| ConnectError::NoRandomness)?;
        let keys = mask::random_keys().map_err(|_| ConnectError::NoRandomness)?;
        let poll = Poll::new()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, SOCKET, interest)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let buffer = vec![0; config.limits.read_buffer].into_boxed_slice();
        let mut link = Link::new(stream, transport);
        link.note(Readiness::READABLE);
        let mut client = Client {
            connection: Connection::client(config, request, nonce, keys),
            link,
            observer,
            poll,
            events: Events::with_capacity(8),
            waker,
            interrupted: false,
            output_failed: false,
            finish: None,
            unread: 0..0,
            buffer,
            negotiated: Negotiated::default(),
        };
        client.shake_hands(deadline)?;
        Ok(client)
    }

    // State.

    /// Returns what the opening handshake agreed on.
    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// Returns the subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.negotiated.subprotocol.as_deref()
    }

    /// Returns the address of the server.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub fn server_addr(&self) -> io::Result<SocketAddr> {
        self.link.socket().peer_addr()
    }

    /// Returns how the connection was closed, or `None` if it is not closed.
    pub fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }

    /// Returns how many bytes of output the kernel has not accepted yet. Check it first if [`send`](Client::send) must
    /// not wait.
    pub fn queued(&self) -> usize {
        self.connection.output().queued()
    }

    /// Returns a handle to interrupt a waiting call from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(Arc::clone(&self.waker))
    }

    // Sending.

    /// Sends a message. Returns false if the connection is no longer open. What has arrived before can still be received.
    ///
    /// Bytes that the kernel does not accept at once are queued, and later calls write them. If more than
    /// [`max_output`](crate::config::Limits::max_output) bytes are queued, this call waits. It does not receive meanwhile:
    /// if a server reads nothing until its own messages are received, call [`recv`](Client::recv) between messages.
    ///
    /// # Errors
    ///
    /// `TimedOut`: the kernel accepted no bytes for the [write time-out](crate::config::Timeouts::write). Part of the
    /// message may have been sent, so the connection is closed.
    pub fn send(&mut self, message: impl Payload) -> io::Result<bool> {
        let sent = self.accepts_output() && self.connection.output_mut().send(message);
        self.make_room()?;
        Ok(sent)
    }

    /// Sends raw bytes without a frame, to observe how a server reacts to them. Returns false if the connection is no
    /// longer open.
    ///
    /// # Errors
    ///
    /// As for [`send`](Client::send).
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let sent = self.accepts_output() && self.connection.output_mut().raw(bytes);
        self.make_room()?;
        Ok(sent)
    }

    /// Sends a ping with a payload of at most 125 bytes (§5.5.2). Returns false if the payload is longer, if the
    /// connection is no longer open, or if more than [`max_output`](crate::config::Limits::max_output) bytes are queued. The
    /// pong arrives as an event.
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        let max_output = self.connection.config().limits.max_output;
        let sent = self.accepts_output()
            && self.connection.output().queued() <= max_output
            && self.connection.output_mut().ping(payload);
        self.flush();
        sent
    }

    fn accepts_output(&self) -> bool {
        self.connection.state() == State::Open && !self.output_failed
    }

    // Receiving.

    /// Waits for the next message, ping, pong or close. The pong that responds to a ping is sent automatically.
    ///
    /// The close is reported once TCP is closed too, at most the [close time-out](crate::config::Timeouts::close)
    /// later. Every later call returns it again.
    ///
    /// # Errors
    ///
    /// `Interrupted`: another thread used the [interrupter](Client::interrupter). Any other error: the operating system
    /// cannot report readiness.
    pub fn recv(&mut self) -> io::Result<Event<'static>> {
        match self.recv_until(None)? {
            Some(event) => Ok(event),
            None => Err(ErrorKind::Interrupted.into()),
        }
    }

    /// Waits for the next message and skips pings and pongs. Returns `None` when the connection is closed;
    /// [`closed`](Client::closed) has the reason.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Client::recv).
    pub fn recv_message(&mut self) -> io::Result<Option<MessageBuf<'static>>> {
        loop {
            match self.recv()? {
                Event::Message(message) => return Ok(Some(message)),
                Event::Closed(_) => return Ok(None),
                _ => {}
            }
        }
    }

    /// Waits for the next event as [`recv`](Client::recv) does, for at most `wait`. Returns `None` when the time is up
    /// or another thread used the [interrupter](Client::interrupter).
    ///
    /// # Errors
    ///
    /// The operating system cannot report readiness.
    pub fn recv_timeout(&mut self, wait: Duration) -> io::Result<Option<Event<'static>>> {
        self.recv_until(Some(Instant::now() + wait.min(LONGEST)))
    }

    /// Returns the next event as [`recv`](Client::recv) does, or `None` instead of waiting.
    ///
    /// # Errors
    ///
    /// The operating system cannot report readiness.
    pub fn try_recv(&mut self) -> io::Result<Option<Event<'static>>> {
        self.recv_timeout(Duration::ZERO)
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> io::Result<Option<Event<'static>>> {
        let mut has_read = false;
        loop {
            let event = self.take_event();
            if let Some(closed) = self.connection.closed().cloned() {
                return Ok(self.finish(deadline)?.then_some(Event::Closed(closed)));
            }
            if event.is_some() {
                return Ok(event);
            }
            self.flush();
            if mem::take(&mut self.interrupted) {
                return Ok(None);
            }
            if self.link.is_readable() {
                // A server that never stops sending must neither hide the end of the time nor an interruption.
                if mem::replace(&mut has_read, true) && self.is_over(deadline)? {
                    return Ok(None);
                }
                self.read();
            } else if self.output_failed {
                self.give_up();
            } else if !self.wait(deadline)? && !self.interrupted {
                return Ok(None);
            }
        }
    }

    /// Reports whether the time is up or another thread has interrupted this call, without waiting.
    fn is_over(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let now = Instant::now();
        self.wait(Some(now))?;
        let is_interrupted = mem::take(&mut self.interrupted);
        Ok(is_interrupted || deadline.is_some_and(|deadline| now >= deadline))
    }

    // Closing.

    /// Closes the connection (§7.1.2): sends a Close, and waits until the server has sent its Close and closed TCP, for
    /// at most the [close time-out](crate::config::Timeouts::close). Messages that arrive in the meantime are dropped.
    ///
    /// Until this is called, a client keeps an intact connection open (§7.1.7-8, §7.2.1-3).
    ///
    /// # Errors
    ///
    /// The code must not be sent, or the reason is longer than 123 bytes. Nothing was sent.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<Closed, InvalidClose> {
        self.connection.close(code, reason)?;
        let Finish { by, .. } = *self.finishing();
        loop {
            let left = by.saturating_duration_since(Instant::now());
            match self.recv_timeout(left) {
                Ok(Some(Event::Closed(closed))) => return Ok(closed),
                Ok(_) if !left.is_zero() => {}
                _ => self.give_up(),
            }
        }
    }

    /// Sends the request and waits for the response. An error drops the client, which closes TCP (RFC 6455 §7.2.1-1).
    fn shake_hands(&mut self, deadline: Instant) -> Result<(), ConnectError> {
        let mut response = Vec::new();
        loop {
            self.flush();
            if self.link.is_readable() {
                let new = self.read();
                let kept = new.len().min(MAX_REFUSAL.saturating_sub(response.len()));
                response.extend_from_slice(&self.buffer[new.start..new.start + kept]);
                remove_interim(&mut response);
                // RFC 6455 §10.7-2
                if !may_be_http(&response) {
                    let rejection = Rejection::StatusLine;
                    return Err(ConnectError::Rejected(Box::new(Rejected { rejection, response })));
                }
            } else if self.output_failed {
                // RFC 6455 §4.1-15: for example because the handshake of the transport failed.
                return Err(ConnectError::Lost);
            } else if Instant::now() >= deadline {
                return Err(ConnectError::TimedOut);
            } else {
                self.wait(Some(deadline))?;
            }
            match self.take_event() {
                Some(Event::Opened(negotiated)) => {
                    self.negotiated = negotiated;
                    return Ok(());
                }
                // RFC 6455 §7.1.7-2
                Some(Event::Closed(Closed { cause: Cause::Rejected(rejection), .. })) => {
                    // Where the body of a malformed response ends is not known.
                    if !matches!(rejection, Rejection::Malformed(_)) {
                        response = self.read_refusal(response, deadline);
                    }
                    return Err(ConnectError::Rejected(Box::new(Rejected { rejection, response })));
                }
                // RFC 6455 §4.1-15
                _ if self.connection.closed().is_some() => {
                    return Err(match self.link.failure() {
                        Some(error) => ConnectError::Transport(error),
                        None => ConnectError::Lost,
                    });
                }
                _ => {}
            }
        }
    }

    /// Writes the queued output, and waits while it is over the limit.
    fn make_room(&mut self) -> io::Result<()> {
        self.flush();
        let config = self.connection.config().clone();
        while !self.output_failed && self.connection.output().queued() > config.limits.max_output {
            let deadline = Instant::now() + config.timeouts.write;
            let held = self.link.queued();
            while !self.output_failed
                && (self.connection.output().is_blocked()
                    || (held > 0 && self.link.queued() == held))
            {
                if !self.wait(Some(deadline))? && Instant::now() >= deadline {
                    self.give_up();
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            self.flush();
        }
        Ok(())
    }

    /// Reads the body of a response that is not an upgrade. `response` has its head and what has arrived of the body.
    /// Returns head and body, without the sizes of chunks.
    fn read_refusal(&mut self, mut response: Vec<u8>, deadline: Instant) -> Vec<u8> {
        let Some(end) = end_of_head(&response) else { return response };
        // HTTP/1.0 has the same fields, and its status has no meaning here.
        let lines = response.iter().position(|&byte| byte == b'\n').map_or(end, |at| at + 1);
        let (status, lines) = split(&response[..end]).unwrap_or((200, &response[lines..end]));
        let fields = Fields::parse(lines).unwrap_or_default();
        let mut body = BodyReader::new(status, &fields, MAX_REFUSAL.saturating_sub(end));
        body.feed(&response[end..]);
        response.truncate(end);
        while !body.is_complete() && !self.link.has_ended() {
            if Instant::now() >= deadline {
                break;
            }
            if self.link.is_readable() {
                let new = self.read();
                body.feed(&self.buffer[new]);
            } else if !self.wait(Some(deadline)).unwrap_or(false) {
                break;
            }
        }
        response.append(&mut body.into_bytes());
        response
    }

    /// Returns the wait for the end of TCP, which begins with the first call.
    fn finishing(&mut self) -> &mut Finish {
        let lasts = self.connection.config().timeouts.close;
        self.finish.get_or_insert_with(|| Finish {
            by: Instant::now() + lasts,
            discarded: 0,
            shut: false,
        })
    }

    /// Writes our last bytes after the WebSocket has closed, and waits until the server closes TCP. Returns false if
    /// `deadline` comes first, so that a later call has to continue.
    fn finish(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let max_discard = self.connection.config().limits.max_discard;
        let Finish { by, mut discarded, mut shut } = *self.finishing();
        let until = deadline.map_or(by, |deadline| deadline.min(by));
        // Each call reads once, even if its time is up already.
        let mut is_first = true;
        while !self.link.has_ended() && discarded <= max_discard {
            self.flush();
            // RFC 6455 §7.1.1-3, §7.1.1-6, §5.5.1-12: the server closes TCP first. If the connection failed, the server may
            // never do so.
            let failed = !matches!(
                self.connection.closed().map(|closed| &closed.cause),
                Some(Cause::Peer | Cause::Local)
            );
            if failed && !shut && self.connection.output().is_empty() {
                shut = true;
                let _ = self.link.end_output();
            }
            if self.link.is_readable() && (mem::take(&mut is_first) || Instant::now() < until) {
                discarded += self.read().len();
                self.unread = 0..0;
            } else if (!self.wait(Some(until))? || !is_first) && Instant::now() >= until {
                if until < by {
                    self.finish = Some(Finish { by, discarded, shut });
                    return Ok(false);
                }
                break;
            }
        }
        // RFC 6455 §5.5.1-10, §7.1.2-2, §7.1.7-1. After the close time-out, §5.5.1-13, §7.1.1-4.
        self.link.give_up();
        let _ = self.link.socket().shutdown(Shutdown::Both);
        Ok(true)
    }

    /// Marks the connection and its socket as broken.
    fn give_up(&mut self) {
        self.connection.broken();
        self.link.give_up();
    }

    /// Returns the next event from the bytes that were read. Skips fragments, which are no events for a client.
    fn take_event(&mut self) -> Option<Event<'static>> {
        loop {
            let mut unread = &mut self.buffer[self.unread.clone()];
            let event = self.connection.next(&mut unread).map(Event::into_owned);
            self.unread.start = self.unread.end - unread.len();
            if !matches!(event, Some(Event::Fragment)) {
                return event;
            }
        }
    }

    /// Reads once into the buffer, whose earlier bytes must have been processed. Returns the range of the new bytes.
    fn read(&mut self) -> Range<usize> {
        self.unread = 0..0;
        let received = self.link.read(&mut self.buffer);
        if self.connection.output().is_blocked() && self.link.take_waits_for_input() {
            self.connection.output_mut().unblock();
        }
        match received {
            Received::Bytes(count) => {
                self.unread = 0..count;
                let bytes = &self.buffer[..count];
                self.observer.bytes(PeerId::NOBODY, Direction::In, bytes);
            }
            Received::Nothing => {}
            Received::End => self.connection.lost(),
            Received::Failed => self.connection.broken(),
            Received::Broken => self.give_up(),
        }
        self.unread.clone()
    }

    /// Writes the queued output until it is empty or the socket is full (§6.1-9).
    fn flush(&mut self) {
        let Client { connection, link, observer, output_failed, .. } = self;
        while !*output_failed
            && !connection.output().is_empty()
            && !connection.output().is_blocked()
        {
            let mut slices = [&[][..]; MAX_SLICES];
            let filled = connection.output().pending(&mut slices);
            let written = link.write(&slices[..filled], |bytes| {
                observer.bytes(PeerId::NOBODY, Direction::Out, bytes);
            });
            if written == Written::Broken {
                *output_failed = true;
                link.note(Readiness::READABLE);
                return;
            }
            note_written(connection, written);
        }
        connection.output_mut().note_in_transport(link.queued());
    }

    /// Waits until the socket is ready. Returns false if the time was up or another thread interrupted the wait.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match self.poll.poll(&mut self.events, timeout) {
            // The caller polls again if there is time left.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            result => result?,
        }
        let mut is_ready = false;
        for event in &self.events {
            if event.token() == WAKER {
                self.interrupted = true;
                continue;
            }
            is_ready = true;
            let readiness = readiness(event);
            self.link.note(readiness);
            if readiness.writable {
                if self.link.wants_write() && !self.link.drive(readiness) {
                    self.connection.broken();
                }
                self.connection.output_mut().unblock();
            }
        }
        Ok(is_ready)
    }
}

impl<T, O> fmt::Debug for Client<T, O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// Returns the length of the head, with the empty line at its end, or `None` if it is incomplete.
fn end_of_head(response: &[u8]) -> Option<usize> {
    response.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Reports whether a response can still become one of HTTP. Servers of other protocols often greet a client, and then
/// wait for it. Empty lines may come first.
fn may_be_http(response: &[u8]) -> bool {
    let start = response.trim_ascii_start();
    let compared = start.len().min(b"HTTP/".len());
    start[..compared] == b"HTTP/"[..compared]
}

/// Removes interim responses from the beginning of a response. The connection has skipped them as well.
fn remove_interim(response: &mut Vec<u8>) {
    while let Some(end) = end_of_head(response)
        && is_interim(&response[..end])
    {
        response.drain(..end);
    }
}
