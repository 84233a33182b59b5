//! A client that waits: the same `Connection` as a server's, in the other role, over one socket.
//!
//! ```text
//! connect ──> request out, answer verified ──> send ··· next ··· send ──> close ──> the server ends TCP
//! ```
//!
//! Rules of this file: a call returns when it has something to say or its time is up; pings are answered whenever
//! the client is at work; a normal close is an event, not an error; the server ends TCP first (§7.1.1), and is
//! waited for, which may take `close_timeout` longer.

use std::fmt;
use std::io::{self, ErrorKind, Read};
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
use crate::dispatch::{Wire, Written, flush};
use crate::net::connect::{ConnectError, Rejected, reach};
use crate::net::sockets::write_slices;
use crate::observe::{Direction, Observer};
use crate::peers::PeerId;
use crate::protocol::close::{CloseCode, InvalidClose};
use crate::protocol::connection::{Cause, Closed, Connection, Event, State};
use crate::protocol::handshake::client::ClientRequest;
use crate::protocol::mask;
use crate::protocol::message::Message;
use crate::protocol::url::Url;

/// The most of a refusing answer that is kept to be shown: head and body.
const MAX_REFUSAL: usize = 64 * 1024;

const SOCKET: Token = Token(0);
const BELL: Token = Token(1);

/// One WebSocket connection to a server.
///
/// ```no_run
/// use framewise::net::client::Client;
/// use framewise::Message;
///
/// let mut client = Client::connect("ws://localhost:8765")?;
/// client.send(Message::Text("olá"))?;
/// println!("{:?}", client.next(None)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it ends TCP without a closing handshake; [`close`](Client::close) does it properly.
pub struct Client<O = ()> {
    connection: Connection,
    socket: Socket<O>,
    poll: Poll,
    events: Events,
    bell: Arc<Waker>,
    /// The bell was heard and nobody was told yet.
    rung: bool,
    /// What was read and not yet taken apart: this part of the buffer.
    unread: Range<usize>,
    buffer: Box<[u8]>,
    subprotocol: Option<String>,
}

struct Socket<O> {
    stream: TcpStream,
    /// Bytes, or the end, may be waiting to be read.
    readable: bool,
    /// The server's bytes have ended.
    ended: bool,
    observer: O,
}

/// Makes [`Client::next`] return from another thread.
#[derive(Clone, Debug)]
pub struct Interrupter(Arc<Waker>);

impl Interrupter {
    /// The call of `next` under way, or else the next one, returns `None`.
    ///
    /// # Errors
    ///
    /// The system could not pass it on.
    pub fn interrupt(&self) -> io::Result<()> {
        self.0.wake()
    }
}

impl Client {
    /// Connects to an address such as `ws://localhost:8765/chat` with the defaults of [`Config`].
    ///
    /// # Errors
    ///
    /// The address cannot be one, nobody answers there, or the answer is not acceptable.
    pub fn connect(url: &str) -> Result<Client, ConnectError> {
        let url = Url::parse(url).map_err(ConnectError::Url)?;
        Client::open(&ClientRequest::new(url), Config::default(), ())
    }
}

impl<O: Observer> Client<O> {
    /// Connects with subprotocols, headers, limits and time-outs of one's own.
    ///
    /// All of it together may take [`handshake_timeout`](Config::handshake_timeout).
    ///
    /// # Errors
    ///
    /// A setting cannot work, nobody answers at the address, or the answer is not acceptable (§4.1).
    pub fn open(
        request: &ClientRequest,
        config: Config,
        observer: O,
    ) -> Result<Client<O>, ConnectError> {
        let config = config.validate().map_err(ConnectError::Config)?;
        if request.url().is_secure() {
            return Err(ConnectError::Secure);
        }
        let deadline = Instant::now() + config.handshake_timeout;
        let mut stream = reach(request.url(), deadline)?;
        let mut nonce = [0; 16];
        SysRng.try_fill_bytes(&mut nonce).map_err(|_| ConnectError::NoRandomness)?;
        let keys = mask::random_keys().map_err(|_| ConnectError::NoRandomness)?;
        let poll = Poll::new().map_err(ConnectError::Io)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, SOCKET, interest).map_err(ConnectError::Io)?;
        let bell = Arc::new(Waker::new(poll.registry(), BELL).map_err(ConnectError::Io)?);
        let buffer = vec![0; config.read_buffer].into_boxed_slice();
        let mut client = Client {
            connection: Connection::client(config, request, nonce, keys),
            socket: Socket { stream, readable: true, ended: false, observer },
            poll,
            events: Events::with_capacity(8),
            bell,
            rung: false,
            unread: 0..0,
            buffer,
            subprotocol: None,
        };
        client.shake_hands(deadline)?;
        Ok(client)
    }

    // How it stands.

    /// The subprotocol that the server chose.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The address at the other end.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn server_addr(&self) -> io::Result<SocketAddr> {
        self.socket.stream.peer_addr()
    }

    /// How it ended, once it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }

    /// Bytes that wait until the system takes them: for whoever would rather stop than have [`send`](Client::send) wait.
    pub fn queued(&self) -> usize {
        self.connection.sender().queued()
    }

    /// Makes [`next`](Client::next) return from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(Arc::clone(&self.bell))
    }

    // What it does.

    /// Sends a message. False if the connection is not open any more.
    ///
    /// What the system does not take at once waits in memory and goes out during later calls; only beyond
    /// [`max_output`](Config::max_output) bytes this call waits.
    ///
    /// # Errors
    ///
    /// `TimedOut`: the server took nothing for [`write_timeout`](Config::write_timeout); part of the message
    /// may have been sent, so the connection is of no use any more.
    pub fn send(&mut self, message: Message<'_>) -> io::Result<bool> {
        let sent =
            self.connection.state() == State::Open && self.connection.sender_mut().message(message);
        self.make_room()?;
        Ok(sent)
    }

    /// Writes what waits, and waits as long as it is more than may wait.
    fn make_room(&mut self) -> io::Result<()> {
        self.flush();
        let mut queued = self.connection.sender().queued();
        while queued > self.connection.config().max_output {
            let deadline = Instant::now() + self.connection.config().write_timeout;
            while self.connection.sender().is_blocked() {
                if !self.wait(Some(deadline))? && Instant::now() >= deadline {
                    self.give_up();
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            self.flush();
            queued = self.connection.sender().queued();
        }
        Ok(())
    }

    /// Sends bytes as they are, in no frame: to see what a server makes of them. False if the connection is not open
    /// any more.
    ///
    /// # Errors
    ///
    /// As for [`send`](Client::send).
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let sent = self.connection.state() == State::Open;
        if sent {
            self.connection.sender_mut().raw(bytes);
        }
        self.make_room()?;
        Ok(sent)
    }

    /// Sends a ping with at most 125 bytes (§5.5.2). False if it has more, or the connection is not open any
    /// more. The pong is an event.
    pub fn ping(&mut self, payload: &[u8]) -> bool {
        let sent =
            self.connection.state() == State::Open && self.connection.sender_mut().ping(payload);
        self.flush();
        sent
    }

    /// The next message, ping (answered already), pong or end. Waits for it at most `wait`, or for ever.
    ///
    /// `None` when the time is up or somebody [interrupted](Client::interrupter). The end is told when TCP has
    /// ended too, at most [`close_timeout`](Config::close_timeout) later; after it, every call tells it again.
    ///
    /// # Errors
    ///
    /// The readiness queue of the system failed.
    pub fn next(&mut self, wait: Option<Duration>) -> io::Result<Option<Event<'static>>> {
        let deadline = wait.map(|wait| Instant::now() + wait.min(LONGEST));
        loop {
            let event = self.take_event();
            if let Some(closed) = self.connection.closed().cloned() {
                self.finish()?;
                return Ok(Some(Event::Closed(closed)));
            }
            if event.is_some() {
                return Ok(event);
            }
            self.flush();
            if mem::take(&mut self.rung) {
                return Ok(None);
            }
            if self.socket.readable {
                self.read();
            } else if !self.wait(deadline)? && !self.rung {
                return Ok(None);
            }
        }
    }

    /// The closing handshake (§7.1.2): says goodbye, waits for the answer and for the end of TCP, at most
    /// [`close_timeout`](Config::close_timeout). Messages that still arrive are dropped.
    ///
    /// # Errors
    ///
    /// The code may not be sent, or the reason is longer than 123 bytes; nothing has happened.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<Closed, InvalidClose> {
        self.connection.close(code, reason)?;
        let deadline = Instant::now() + self.connection.config().close_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(Some(left)) {
                Ok(Some(Event::Closed(closed))) => return Ok(closed),
                Ok(_) if !left.is_zero() => {}
                _ => self.give_up(),
            }
        }
    }

    /// Sends the request and waits for the answer.
    fn shake_hands(&mut self, deadline: Instant) -> Result<(), ConnectError> {
        let mut answer = Vec::new();
        loop {
            self.flush();
            if self.socket.readable {
                let new = self.read();
                let kept = new.len().min(MAX_REFUSAL.saturating_sub(answer.len()));
                answer.extend_from_slice(&self.buffer[new.start..new.start + kept]);
            } else if Instant::now() >= deadline {
                return Err(ConnectError::TimedOut);
            } else {
                self.wait(Some(deadline)).map_err(ConnectError::Io)?;
            }
            match self.take_event() {
                Some(Event::Opened(subprotocol)) => {
                    self.subprotocol = subprotocol;
                    return Ok(());
                }
                Some(Event::Closed(Closed { cause: Cause::Rejected(rejection), .. })) => {
                    self.read_refusal(&mut answer, deadline);
                    return Err(ConnectError::Rejected(Box::new(Rejected { rejection, answer })));
                }
                _ if self.connection.closed().is_some() => return Err(ConnectError::Lost),
                _ => {}
            }
        }
    }

    /// Reads what is left of an answer that is not an upgrade, so that it can be shown.
    fn read_refusal(&mut self, answer: &mut Vec<u8>, deadline: Instant) {
        while !self.socket.ended && answer.len() < expected_length(answer).min(MAX_REFUSAL) {
            if self.socket.readable {
                let new = self.read();
                let kept = new.len().min(MAX_REFUSAL - answer.len());
                answer.extend_from_slice(&self.buffer[new.start..new.start + kept]);
            } else if !self.wait(Some(deadline)).unwrap_or(false) {
                return;
            }
        }
    }

    /// After the end of the WebSocket: our last bytes go out, then the server ends TCP.
    fn finish(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + self.connection.config().close_timeout;
        let mut shut = false;
        let mut discarded = 0;
        while !self.socket.ended && discarded <= self.connection.config().max_discard {
            self.flush();
            // RFC 6455 §7.1.1-3 lets the server go first; a server that broke a rule may not know that.
            let failed = !matches!(
                self.connection.closed().map(|closed| &closed.cause),
                Some(Cause::Peer | Cause::ThisEnd)
            );
            if failed && !shut && self.connection.sender().is_empty() {
                shut = true;
                let _ = self.socket.stream.shutdown(Shutdown::Write);
            }
            if self.socket.readable {
                discarded += self.read().len();
                self.unread = 0..0;
            } else if !self.wait(Some(deadline))? && Instant::now() >= deadline {
                break;
            }
        }
        self.socket.ended = true;
        let _ = self.socket.stream.shutdown(Shutdown::Both);
        Ok(())
    }

    /// Nothing more is to be had from this socket.
    fn give_up(&mut self) {
        self.connection.broken();
        (self.socket.readable, self.socket.ended) = (false, true);
    }

    /// The next event of what was read.
    fn take_event(&mut self) -> Option<Event<'static>> {
        let mut unread = &mut self.buffer[self.unread.clone()];
        let event = self.connection.next(&mut unread).map(Event::into_owned);
        self.unread.start = self.unread.end - unread.len();
        event
    }

    /// Reads once, behind nothing: all that was read before has been taken apart. Answers where it lies.
    fn read(&mut self) -> Range<usize> {
        self.unread = 0..0;
        match self.socket.stream.read(&mut self.buffer) {
            Ok(0) => {
                (self.socket.readable, self.socket.ended) = (false, true);
                self.connection.lost();
            }
            Ok(count) => {
                self.unread = 0..count;
                let bytes = &self.buffer[..count];
                self.socket.observer.bytes(PeerId::NOBODY, Direction::In, bytes);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.socket.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.give_up(),
        }
        self.unread.clone()
    }

    fn flush(&mut self) {
        flush(&mut self.connection, &mut self.socket, PeerId::NOBODY);
    }

    /// Waits until the socket has news; false if the bell was rung, or the time is up, before.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match self.poll.poll(&mut self.events, timeout) {
            // The caller comes back as long as there is time.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            result => result?,
        }
        let mut news = false;
        for event in &self.events {
            if event.token() == BELL {
                self.rung = true;
                continue;
            }
            news = true;
            self.socket.readable |= event.is_readable() || event.is_error();
            if event.is_writable() || event.is_error() {
                self.connection.sender_mut().unblock();
            }
        }
        Ok(news)
    }
}

impl<O: Observer> Wire for Socket<O> {
    fn write(&mut self, peer: PeerId, slices: &[&[u8]]) -> Written {
        write_slices(&mut self.stream, slices, |bytes| {
            self.observer.bytes(peer, Direction::Out, bytes);
        })
    }
}

impl<O> fmt::Debug for Client<O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// How long an answer will be, going by its Content-Length; unlimited until its end otherwise.
fn expected_length(answer: &[u8]) -> usize {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return usize::MAX;
    };
    let head_text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length = head_text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|value| value.trim().parse::<usize>().ok());
    length.map_or(usize::MAX, |length| length.saturating_add(head + 4))
}
