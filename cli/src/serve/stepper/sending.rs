//! Sends the bytes of a visitor to this server itself, on a connection of their own, and reports every byte that comes back.
//!
//! ```text
//! event loop ── send() ──> thread ── TCP to one of our listeners: handshake, the bytes ──> event loop
//!     ^                      │ <── what comes back
//!     '── Handle::run ───────'  labels of everything so far
//! ```
//!
//! Rules of this file: the event loop waits for nothing. Threads, time and bytes are limited. The bytes are written only after
//! a valid 101, so that they are never read as a request.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use framewise::lang::Lang;
use framewise::protocol::dissect::{Dissector, Finding};
use framewise::protocol::frame::Role;
use framewise::{Handle, HandleError, Message, PeerId};
use serde::Serialize;
use socket2::{Domain, Socket, Type};

use crate::compression::Compression;
use crate::explain::{Known, Side};
use crate::recording::parts::without_limits;
use crate::serve::classroom::Classroom;
use crate::serve::events::json;
use crate::serve::guard::Guard;
use crate::serve::own::Own;
use crate::serve::stepper::labels::Explained;
use crate::serve::stepper::{Fault, MAX_BYTES, Refused, SendPath};
use crate::texts;
use crate::tls::{self, Pipe};

/// The most threads that send at the same time, for all visitors together.
pub const MAX_SENDING: usize = 8;

/// How long sending takes at most, from connecting to the last byte that is read.
const TIME: Duration = Duration::from_secs(5);

/// Sending ends after this time without a byte.
const QUIET: Duration = Duration::from_secs(1);

/// How often a thread looks whether its page is still there, and reports what has arrived.
const STEP: Duration = Duration::from_millis(100);

/// A valid key; it need not be a secret, because the server talks to itself.
const KEY: &str = "ZnJhbWV3aXNlZnJhbWV3aQ==";

/// What sending needs to know of its own server.
pub struct Target {
    listening: Vec<SocketAddr>,
    is_secure: bool,
    token: Option<String>,
    own: Own,
    handle: Handle<Classroom>,
    active: AtomicUsize,
}

impl Target {
    pub fn new(
        listening: Vec<SocketAddr>,
        is_secure: bool,
        token: Option<String>,
        guard: &Guard,
        handle: Handle<Classroom>,
    ) -> Arc<Target> {
        let (own, active) = (guard.proxies.own.clone(), AtomicUsize::new(0));
        Arc::new(Target { listening, is_secure, token, own, handle, active })
    }

    /// Connects to one of the listeners. Returns the address of this side as well, which is the visitor's from then on.
    fn connect(&self, visitor: IpAddr, until: Instant) -> io::Result<(TcpStream, SocketAddr)> {
        let mut result = Err(io::Error::from(ErrorKind::AddrNotAvailable));
        for address in self.listening.iter().flat_map(|address| reachable(*address)) {
            result = self.connect_to(address, visitor, until);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Connects to an address of this machine, from the same address. The event loop may accept the connection before this
    /// thread knows that it is there, so the port is chosen and added first.
    fn connect_to(
        &self,
        address: SocketAddr,
        visitor: IpAddr,
        until: Instant,
    ) -> io::Result<(TcpStream, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        let mut local = address;
        local.set_port(0);
        socket.bind(&local.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(ErrorKind::Unsupported)?;
        if !self.own.add(local, visitor, Instant::now()) {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        match socket.connect_timeout(&address.into(), left(until)) {
            Ok(()) => Ok((socket.into(), local)),
            Err(error) => {
                self.own.disconnected(local);
                Err(error)
            }
        }
    }
}

/// The pages that have sent something.
#[derive(Default)]
pub struct Stepper {
    /// `None` until the server runs.
    target: Option<Arc<Target>>,
    /// Whether bytes of a page are being sent. Its thread has the other reference.
    pages: HashMap<PeerId, Arc<AtomicBool>>,
}

impl Stepper {
    /// Allows sending to this target.
    pub fn start(&mut self, target: Arc<Target>) {
        self.target = Some(target);
    }

    /// Sends bytes on behalf of a visitor. The page gets what comes back as it arrives.
    ///
    /// # Errors
    ///
    /// The code and the text of the reason: the page, or too many pages, are sending already, or there is no thread.
    pub fn send(
        &mut self,
        peer: PeerId,
        visitor: IpAddr,
        sending: Sending,
    ) -> Result<(), (&'static str, String)> {
        let lang = sending.lang;
        let unreachable = |why: &str| ("unreachable", texts::STEP_UNREACHABLE.with(lang, &[&why]));
        let target = self.target.clone().ok_or_else(|| unreachable("-"))?;
        let is_sending = Arc::clone(self.pages.entry(peer).or_default());
        if is_sending.load(Ordering::Acquire) {
            return Err(("busy", texts::STEP_BUSY.get(lang).to_owned()));
        }
        // Only the event loop adds to the count.
        if target.active.load(Ordering::Acquire) >= MAX_SENDING {
            return Err(("too_many", texts::STEP_FULL.with(lang, &[&MAX_SENDING])));
        }
        let slot = Slot::take(target, is_sending);
        let job = Job { peer, visitor, sending, until: Instant::now() + TIME };
        let thread = thread::Builder::new().name("explain".to_owned());
        let started = thread.spawn(move || job.run(slot));
        started.map(drop).map_err(|error| unreachable(&error.to_string()))
    }

    /// Forgets a page that has gone. Its thread ends.
    pub fn forget(&mut self, peer: PeerId) {
        self.pages.remove(&peer);
    }
}

/// The right to send, until it is dropped.
struct Slot {
    target: Arc<Target>,
    is_sending: Arc<AtomicBool>,
}

impl Slot {
    fn take(target: Arc<Target>, is_sending: Arc<AtomicBool>) -> Slot {
        target.active.fetch_add(1, Ordering::AcqRel);
        is_sending.store(true, Ordering::Release);
        Slot { target, is_sending }
    }

    fn page_has_gone(&self) -> bool {
        Arc::strong_count(&self.is_sending) == 1
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.is_sending.store(false, Ordering::Release);
        self.target.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What came back so far.
#[derive(Serialize)]
struct Received<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    path: SendPath,
    /// The request, with asterisks for a token.
    request: &'a str,
    /// How many of the visitor's bytes were written: none without a 101.
    written: usize,
    /// Why it is over, or `None` as long as it is not.
    ended: Option<End>,
    #[serde(flatten)]
    explained: &'a Explained,
}

/// Why sending is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum End {
    /// The server has closed the connection.
    Closed,
    /// Nothing has come for [`QUIET`].
    Quiet,
    /// [`TIME`] is over.
    Time,
    /// [`MAX_BYTES`] have come.
    Full,
}

/// What a page asks to send.
pub struct Sending {
    pub id: Option<u64>,
    pub path: SendPath,
    pub bytes: Vec<u8>,
    /// Which compression is offered.
    pub deflate: Compression,
    pub lang: Lang,
}

/// Bytes to send.
struct Job {
    peer: PeerId,
    visitor: IpAddr,
    sending: Sending,
    until: Instant,
}

impl Job {
    fn run(self, slot: Slot) {
        let target = Arc::clone(&slot.target);
        let mut answer = Answer::default();
        let last = match self.talk(&slot, &mut answer) {
            Ok(Some(end)) => self.received(&answer, Some(end)),
            Ok(None) => return,
            Err(error) => {
                let text = texts::STEP_UNREACHABLE.with(self.sending.lang, &[&error]);
                let error = Fault { code: "unreachable", message: &text };
                json(&Refused { kind: "error", id: self.sending.id, error })
            }
        };
        // When the page hears the end, it may send again.
        drop(slot);
        self.report(&target.handle, last, true);
    }

    /// Connects, sends, and reads until the end. Returns `None` if the page has gone.
    fn talk(&self, slot: &Slot, answer: &mut Answer) -> io::Result<Option<End>> {
        let target = &slot.target;
        let (stream, local) = target.connect(self.visitor, self.until)?;
        let result = self.exchange(stream, slot, answer);
        target.own.closing(local, Instant::now());
        result
    }

    fn exchange(
        &self,
        socket: TcpStream,
        slot: &Slot,
        answer: &mut Answer,
    ) -> io::Result<Option<End>> {
        let peer = socket.peer_addr()?;
        let transport = tls::to_ourselves(slot.target.is_secure, peer)?;
        let stream = &mut Pipe::new(socket, transport);
        // A Host has no zone.
        let (host, token) = (SocketAddr::new(peer.ip(), peer.port()), slot.target.token.as_deref());
        let Sending { path, deflate, .. } = self.sending;
        let sent = request(path, host, token, deflate);
        answer.request = request(path, host, token.map(|_| "***"), deflate);
        answer.responds_to(&sent);
        stream.socket.set_nodelay(true)?;
        stream.socket.set_write_timeout(Some(left(self.until)))?;
        stream.socket.set_read_timeout(Some(left(self.until)))?;
        self.write_first(stream, sent.as_bytes())?;
        let (mut heard, mut reported, mut report_at) = (Instant::now(), 0, Instant::now());
        loop {
            if slot.page_has_gone() {
                return Ok(None);
            }
            let now = Instant::now();
            if now >= self.until {
                return Ok(Some(End::Time));
            }
            if now >= heard + QUIET && answer.is_open {
                return Ok(Some(End::Quiet));
            }
            if answer.received.len() > reported && now >= report_at {
                (reported, report_at) = (answer.received.len(), now + STEP);
                self.report(&slot.target.handle, self.received(answer, None), false);
            }
            stream.socket.set_read_timeout(Some(STEP.min(left(self.until))))?;
            let mut piece = [0; 16 * 1024];
            let room = piece.len().min(MAX_BYTES - answer.received.len());
            match stream.read(&mut piece[..room]) {
                Ok(0) => return Ok(Some(End::Closed)),
                Ok(count) => {
                    answer.add(&piece[..count]);
                    heard = now;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(Some(End::Closed));
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            }
            if answer.written == 0 && answer.is_open {
                answer.written = self.write(stream)?;
                heard = Instant::now();
            }
            if answer.received.len() >= MAX_BYTES {
                let _ = stream.socket.shutdown(Shutdown::Both);
                return Ok(Some(End::Full));
            }
        }
    }

    /// Writes the request, after the handshake of TLS, if there is one.
    fn write_first(&self, stream: &mut Pipe<TcpStream>, request: &[u8]) -> io::Result<()> {
        loop {
            match stream.write_all(request) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            if Instant::now() >= self.until {
                return Err(ErrorKind::TimedOut.into());
            }
            // The server sends no response before it has the request, so this reads only its part of the TLS handshake.
            match stream.read(&mut [0; 1024]) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the visitor's bytes and returns how many the server has taken. If it has closed the connection in the middle of
    /// them, it has still sent why.
    fn write(&self, stream: &mut Pipe<TcpStream>) -> io::Result<usize> {
        let (mut written, bytes) = (0, &self.sending.bytes);
        while written < bytes.len() && Instant::now() < self.until {
            stream.socket.set_write_timeout(Some(left(self.until)))?;
            match stream.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        Ok(written)
    }

    fn received(&self, answer: &Answer, ended: Option<End>) -> String {
        let Sending { id, path, lang, .. } = self.sending;
        let known = Known { from: Some(Side::Server), ..Known::default() };
        let (explained, _) = Explained::of(&answer.received, known, lang);
        json(&Received {
            kind: "received",
            id,
            path,
            request: &answer.request,
            written: answer.written,
            ended,
            explained: &explained,
        })
    }

    /// Hands a text to the event loop for the page. A report on the way is left out if the page or the loop is behind; the
    /// last one is tried again for a second.
    fn report(&self, handle: &Handle<Classroom>, text: String, is_last: bool) {
        let (peer, text): (PeerId, Arc<str>) = (self.peer, text.into());
        for _ in 0..10 {
            let text = Arc::clone(&text);
            let sent = handle.run(move |classroom, outbox| {
                if is_last || outbox.queued(peer) == 0 {
                    let message = Message::from(&*text);
                    classroom.metrics.sent(message, usize::from(outbox.send(peer, message)));
                }
            });
            match sent {
                Err(HandleError::Full) if is_last => thread::sleep(STEP),
                _ => return,
            }
        }
    }
}

/// What has happened on the connection.
struct Answer {
    /// The request, with asterisks for a token.
    request: String,
    received: Vec<u8>,
    written: usize,
    /// The whole head of a response that opens a WebSocket has come.
    is_open: bool,
    dissector: Dissector,
}

impl Default for Answer {
    fn default() -> Answer {
        let (request, received) = (String::new(), Vec::new());
        let dissector = Dissector::new(Role::Server, without_limits());
        Answer { request, received, written: 0, is_open: false, dissector }
    }
}

impl Answer {
    /// Notes the request, to which the response has to fit.
    fn responds_to(&mut self, request: &str) {
        let mut dissector = Dissector::new(Role::Client, without_limits());
        dissector.feed(request.as_bytes(), &mut |_| {});
        self.dissector.responds_to(&mut dissector);
    }

    fn add(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
        // The rest has labels of its own, and is not needed here.
        if !self.is_open {
            let is_open = &mut self.is_open;
            self.dissector.feed(bytes, &mut |finding| {
                *is_open |= matches!(finding, Finding::ValidHead { handshake: true });
            });
        }
    }
}

/// Returns the opening handshake.
fn request(path: SendPath, host: SocketAddr, token: Option<&str>, deflate: Compression) -> String {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    // What is offered is what would be agreed, and the window of the client may be limited as well.
    let offer = deflate.agreed();
    let offer =
        offer.map(|offer| format!("Sec-WebSocket-Extensions: {offer}; client_max_window_bits\r\n"));
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{}{}\r\n",
        path.as_str(),
        offer.unwrap_or_default(),
        token.unwrap_or_default()
    )
}

/// Returns the addresses at which this machine reaches one of its own listeners.
fn reachable(listening: SocketAddr) -> Vec<SocketAddr> {
    let port = listening.port();
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match listening {
        SocketAddr::V4(address) if address.ip().is_unspecified() => vec![v4],
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            vec![SocketAddr::from((Ipv6Addr::LOCALHOST, port)), v4]
        }
        address => vec![address],
    }
}

/// Returns the time until `until`, and at least a millisecond, because a socket takes no timeout of zero.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use framewise::protocol::handshake::key::accept_key;

    use super::*;

    /// The visitor's bytes are frames, so they are only written after a response that a client accepts.
    #[test]
    fn only_a_valid_101_to_this_request_opens() {
        let opens = |response: &str| {
            let mut answer = Answer::default();
            answer.responds_to(&request(
                SendPath::Echo,
                ([127, 0, 0, 1], 80).into(),
                None,
                Compression::Off,
            ));
            response.as_bytes().chunks(7).for_each(|piece| answer.add(piece));
            assert_eq!(answer.received, response.as_bytes());
            answer.is_open
        };
        let valid = format!(
            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accept_key(KEY)
        );
        assert!(opens(&valid));
        for other in [
            valid[..valid.len() - 1].to_owned(),
            valid.replace("101", "200"),
            valid.replace("Upgrade: websocket\r\n", ""),
            valid.replace(&accept_key(KEY), &accept_key("another")),
            "HTTP/1.1 101 x\r\n\r\n".to_owned(),
        ] {
            assert!(!opens(&other), "{other}");
        }
    }
}
