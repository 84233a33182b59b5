//! Carries out a plan against a server, on one thread, and compares each answer as it arrives.
//!
//! ```text
//! step ──> wait until its time ──> wait for the answers that are due ──> connect, send or close
//!                └───────────────────────────┴── meanwhile: read, compare, answer pings
//! ```
//!
//! Rules of this file:
//!
//! - Nothing is sent before everything has arrived that the server had sent by then in the recording. So messages of different
//!   clients keep their order.
//! - The first difference ends the replay.
//! - Of what arrives, only an incomplete part is kept, and one body, both not much longer than the recording has them.
//! - A turn reads a limited number of bytes of each connection, so that a server that never stops sending is late like any other.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use framewise::Url;
use framewise::lang::Lang;
use framewise::observe::Direction;
use framewise::protocol::dissect::{Dissector, Finding};
use framewise::protocol::frame::{Header, Role};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::reach;
use crate::recording::parts::{Splitter, without_limits};
use crate::recording::redact::Redactor;
use crate::replay::answers::{self, Kind};
use crate::replay::plan::{Action, Plan};
use crate::texts;
use crate::tls::{Dialer, Pipe};

/// How long after the last bytes those of another connection are sent at the earliest, so that the server reads them in this
/// order.
const GAP: Duration = Duration::from_millis(2);

/// How many bytes of a body may be more than the recording has, before it is a difference.
const MAX_MORE: usize = 64 * 1024;

/// How many times a connection is read in one turn.
const READS_PER_TURN: usize = 16;

/// The most bytes of output that wait to be sent when a pong is added. Then only the newest ping waits for its pong (RFC 6455
/// §5.5.3-1).
const MAX_OUTPUT: usize = 64 * 1024;

/// How fast a replay is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many times as fast as the recording.
    Times(f64),
    /// Without waiting for anything but answers.
    Fast,
}

/// What a replay needs to know besides its plan.
pub struct Settings {
    pub server: Server,
    pub pace: Pace,
    /// How late an answer may be.
    pub timeout: Duration,
    /// The fields of JSON that are not compared.
    pub ignored: Vec<String>,
    pub lang: Lang,
}

/// The server to which a recording is sent.
pub struct Server {
    pub url: Url,
    pub addresses: Vec<SocketAddr>,
    pub dialer: Dialer,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub connections: usize,
    /// Connections of the recording that the plan leaves out.
    pub left_out: usize,
    pub sent: u64,
    pub answers: usize,
    /// Connections that the recorded server closed because it stopped, which this server did not.
    pub went_away: usize,
}

/// The first difference.
#[derive(Debug)]
pub struct Difference {
    pub number: u64,
    pub address: SocketAddr,
    /// When the recording has what differs, in microseconds since its start.
    pub us: u64,
    pub recorded: String,
    pub received: String,
    /// The first byte of a payload or body that differs.
    pub at: Option<usize>,
    /// The server asks for a token.
    pub is_unauthorized: bool,
}

/// Why a replay ends before its last step.
pub enum Stop {
    Difference(Box<Difference>),
    /// It cannot go on.
    Failed(String),
}

/// One connection of the replay.
struct Live {
    stream: Pipe<TcpStream>,
    /// Bytes that the socket has not taken yet, and how many there are before those of pongs that came last.
    output: Vec<u8>,
    unsent: usize,
    /// More may have arrived.
    is_readable: bool,
    /// The socket takes no more bytes.
    is_broken: bool,
    /// The end of the output is to be announced, once all of it is written.
    ends: bool,
    /// The server has closed the connection, or it is broken.
    has_ended: bool,
    redactor: Redactor,
    splitter: Splitter,
    /// Answers that have arrived.
    arrived: usize,
    /// What has arrived of the body after the last answer.
    body: Vec<u8>,
    sent: Sent,
    /// A ping to be answered at the end of the frame that is being sent.
    ping: Option<Vec<u8>>,
}

/// Finds out whether the bytes that were sent end with a whole frame, after which a pong may be sent.
struct Sent {
    dissector: Dissector,
    bytes: u64,
    explained: u64,
    is_whole: bool,
}

impl Sent {
    fn new() -> Sent {
        let dissector = Dissector::new(Role::Client, without_limits());
        Sent { dissector, bytes: 0, explained: 0, is_whole: false }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let Sent { dissector, explained, is_whole, .. } = self;
        dissector.feed(bytes, &mut |finding| {
            *explained += finding.wire().len() as u64;
            *is_whole = matches!(finding, Finding::Valid(_) | Finding::ValidHead { .. });
        });
    }

    fn is_between_frames(&self) -> bool {
        self.is_whole && self.explained == self.bytes
    }
}

/// A replay that runs.
pub struct Session<'a> {
    plan: &'a Plan,
    settings: &'a Settings,
    poll: Poll,
    lives: Vec<Option<Live>>,
    /// How many answers have to have arrived on each connection, and the connections that have not got theirs.
    due: Vec<usize>,
    late: Vec<usize>,
    /// The connection on which bytes were sent last, and when.
    last_sent: Option<(usize, Instant)>,
    counts: Counts,
}

impl<'a> Session<'a> {
    /// Prepares a replay.
    ///
    /// # Errors
    ///
    /// The operating system has no readiness queue left.
    pub fn new(plan: &'a Plan, settings: &'a Settings) -> io::Result<Session<'a>> {
        let count = plan.lanes.len();
        let left_out = plan.left_out;
        let counts = Counts { connections: count - left_out, left_out, ..Counts::default() };
        Ok(Session {
            plan,
            settings,
            poll: Poll::new()?,
            lives: (0..count).map(|_| None).collect(),
            due: vec![0; count],
            late: Vec::new(),
            last_sent: None,
            counts,
        })
    }

    /// Carries out all steps.
    ///
    /// # Errors
    ///
    /// A difference, or a failure to connect.
    pub fn run(mut self) -> Result<Counts, Stop> {
        let (plan, began) = (self.plan, Instant::now());
        for step in &plan.steps {
            if let Pace::Times(times) = self.settings.pace
                && !matches!(step.action, Action::Due(_))
            {
                let micros = (step.us - plan.begins().min(step.us)) as f64 / times;
                let wait = Duration::try_from_secs_f64(micros / 1e6).unwrap_or(Duration::MAX);
                if let Some(due) = began.checked_add(wait) {
                    self.pump(due, |_| false)?;
                }
            }
            match &step.action {
                Action::Open => self.open(step.lane)?,
                Action::Send(bytes) => self.send(step.lane, bytes)?,
                Action::Due(count) => {
                    self.due[step.lane] = *count;
                    self.late.push(step.lane);
                }
                Action::Close => self.close(step.lane)?,
            }
        }
        // Connections that were open when the recording ended.
        self.wait_for_answers()?;
        Ok(self.counts)
    }

    fn open(&mut self, lane: usize) -> Result<(), Stop> {
        let Server { url, addresses, dialer } = &self.settings.server;
        let connect = || -> io::Result<Pipe<TcpStream>> {
            let addresses = addresses.iter().copied();
            let stream = reach::first_that_answers(addresses, self.settings.timeout)?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(lane), interest)?;
            Ok(Pipe::new(stream, dialer.stream(url).map_err(io::Error::other)?))
        };
        let stream = connect().map_err(|error| {
            Stop::Failed(texts::LOAD_CONNECT.with(self.settings.lang, &[&error]))
        })?;
        let most = self.plan.lanes[lane].longest() + MAX_MORE;
        self.lives[lane] = Some(Live::new(stream, most));
        Ok(())
    }

    fn send(&mut self, lane: usize, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.wait_for_answers()?
            && let Some((other, then)) = self.last_sent
            && other != lane
        {
            self.pump(then + GAP, |_| false)?;
        }
        let Some(live) = &mut self.lives[lane] else { return Ok(()) };
        live.sent.add(bytes);
        live.splitter.responds_to(&mut live.sent.dissector);
        // The redactor finds the secrets of responses by the requests that they answer.
        live.redactor.redact(Direction::In, bytes);
        live.output.extend_from_slice(bytes);
        live.unsent = live.output.len();
        live.flush();
        self.counts.sent += bytes.len() as u64;
        let deadline = Instant::now() + self.settings.timeout;
        let is_sent = |session: &Session<'_>| {
            session.lives[lane].as_ref().is_none_or(|live| live.unsent == 0)
        };
        if !self.pump(deadline, is_sent)? {
            let received = texts::REPLAY_NOT_READ.with(self.settings.lang, &[&self.seconds()]);
            return Err(self.differs(lane, received));
        }
        self.last_sent = Some((lane, Instant::now()));
        Ok(())
    }

    /// Waits for the answers that are due. Returns whether there was anything to wait for.
    fn wait_for_answers(&mut self) -> Result<bool, Stop> {
        let is_late = |session: &Session<'_>, lane: usize| {
            let live = session.lives[lane].as_ref();
            live.is_some_and(|live| live.arrived < session.due[lane])
        };
        let late = std::mem::take(&mut self.late);
        let has_waited = late.iter().any(|&lane| is_late(self, lane));
        for &lane in &late {
            let deadline = Instant::now() + self.settings.timeout;
            let is_over = |session: &Session<'_>| {
                let has_ended = session.lives[lane].as_ref().is_none_or(|live| live.has_ended);
                has_ended || !is_late(session, lane)
            };
            let is_in_time = self.pump(deadline, is_over)?;
            if is_late(self, lane) {
                return Err(self.missing(lane, is_in_time));
            }
        }
        Ok(has_waited || !late.is_empty())
    }

    /// Ends a connection as the recording does: waits for all that the server has sent, and for the server to close.
    fn close(&mut self, lane: usize) -> Result<(), Stop> {
        let plan = &self.plan.lanes[lane];
        self.due[lane] = plan.needed;
        self.late.push(lane);
        self.wait_for_answers()?;
        if let Some(live) = &mut self.lives[lane] {
            live.ends = true;
            live.flush();
        }
        let deadline = Instant::now() + self.settings.timeout;
        let has_ended =
            |session: &Session<'_>| session.lives[lane].as_ref().is_none_or(|live| live.has_ended);
        if !self.pump(deadline, has_ended)? {
            let received = texts::REPLAY_STAYS_OPEN.with(self.settings.lang, &[&self.seconds()]);
            return Err(self.differs(lane, received));
        }
        let Some(live) = &mut self.lives[lane] else { return Ok(()) };
        let body = &mut live.body;
        live.splitter.finish(&mut |part| {
            if let Kind::Rest(bytes) = answers::kind(part) {
                body.extend(bytes);
            }
        });
        self.compare_body(lane)?;
        let arrived = self.lives[lane].take().map_or(0, |live| live.arrived);
        self.counts.went_away += usize::from(arrived < plan.answers.len());
        Ok(())
    }

    /// Compares the body after the last answer, which is complete.
    fn compare_body(&mut self, lane: usize) -> Result<(), Stop> {
        let plan = &self.plan.lanes[lane];
        let Some(live) = &mut self.lives[lane] else { return Ok(()) };
        let received = std::mem::take(&mut live.body);
        let number = live.arrived;
        let recorded = plan.bodies.get(number).map_or(&[][..], Vec::as_slice);
        let last = number.checked_sub(1).and_then(|last| plan.answers.get(last));
        let answer = last.map(|(_, answer)| answer);
        if answers::are_same_bodies(answer, recorded, &received, &self.settings.ignored) {
            return Ok(());
        }
        let us = last.map(|(us, _)| *us);
        let (at, recorded, received) = answers::excerpts(recorded, &received);
        Err(self.difference(lane, us, recorded, received, Some(at)))
    }

    /// Reads, compares and writes until `is_done` or until this time. Returns whether it is done.
    fn pump(
        &mut self,
        until: Instant,
        is_done: impl Fn(&Session<'_>) -> bool,
    ) -> Result<bool, Stop> {
        let mut events = Events::with_capacity(256);
        loop {
            if is_done(self) {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= until {
                return Ok(false);
            }
            let has_more = self.lives.iter().flatten().any(|live| live.is_readable);
            let wait = if has_more { Duration::ZERO } else { until - now };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Failed(error.to_string())),
                Ok(()) => {}
            }
            for event in &events {
                let Token(lane) = event.token();
                if let Some(live) = &mut self.lives[lane] {
                    live.is_readable = true;
                    if event.is_writable() {
                        live.flush();
                    }
                }
            }
            for lane in 0..self.lives.len() {
                self.read(lane)?;
                // Output may wait for the handshake of TLS, and not for the socket.
                if let Some(live) = &mut self.lives[lane] {
                    live.flush();
                }
            }
        }
    }

    /// Reads what has arrived on a connection, as much as one turn may, and compares it.
    fn read(&mut self, lane: usize) -> Result<(), Stop> {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..READS_PER_TURN {
            let Some(live) = self.lives[lane].as_mut().filter(|live| live.is_readable) else {
                return Ok(());
            };
            if live.has_ended {
                live.is_readable = false;
                return Ok(());
            }
            match live.stream.read(&mut buffer) {
                Ok(0) => live.has_ended = true,
                Ok(count) => {
                    let mut kinds = Vec::new();
                    let redacted = live.redactor.redact(Direction::Out, &buffer[..count]);
                    live.splitter.feed(&redacted, &mut |part| {
                        kinds.push(answers::kind(part));
                    });
                    kinds.into_iter().try_for_each(|kind| self.take(lane, kind))?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => live.is_readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => match live.stream.failure(self.settings.lang) {
                    Some(why) => return Err(Stop::Failed(why)),
                    None => live.has_ended = true,
                },
            }
        }
        Ok(())
    }

    /// Compares something that has arrived.
    fn take(&mut self, lane: usize, kind: Kind) -> Result<(), Stop> {
        let plan = &self.plan.lanes[lane];
        let Some(live) = &mut self.lives[lane] else { return Ok(()) };
        let answer = match kind {
            Kind::Answer(answer) => answer,
            Kind::Ping(payload) => {
                live.ping = Some(payload);
                live.flush();
                return Ok(());
            }
            Kind::Begins(header) => return self.check_length(lane, header),
            Kind::Rest(bytes) => {
                let recorded = plan.bodies.get(live.arrived).map_or(0, Vec::len);
                let room = (recorded + MAX_MORE).saturating_sub(live.body.len());
                live.body.extend(&bytes[..bytes.len().min(room)]);
                let is_known = live.arrived < plan.answers.len() || plan.is_closed;
                if bytes.len() <= room || !is_known {
                    return Ok(());
                }
                return self.compare_body(lane);
            }
        };
        let number = live.arrived;
        // Of the last body of a recording that breaks off, the rest is unknown.
        if number < plan.answers.len() || plan.is_closed {
            self.compare_body(lane)?;
        }
        let Some(live) = &mut self.lives[lane] else { return Ok(()) };
        live.arrived += 1;
        self.counts.answers += 1;
        let lang = self.settings.lang;
        match plan.answers.get(number) {
            Some((_, recorded)) if answers::is_same(recorded, &answer, &self.settings.ignored) => {
                Ok(())
            }
            // Where the recorded server went away, this one closes because the client does.
            Some(_) if number >= plan.needed && answers::is_close(&answer) => Ok(()),
            Some((us, recorded)) => {
                let (here, there) = answers::in_words(recorded, &answer, lang);
                let at = match (recorded, &answer) {
                    (answers::Answer::Frame(one, here), answers::Answer::Frame(other, there))
                        if one.opcode == other.opcode =>
                    {
                        Some(answers::excerpts(here, there).0)
                    }
                    _ => None,
                };
                let mut stop = self.difference(lane, Some(*us), here, there, at);
                if let Stop::Difference(difference) = &mut stop {
                    difference.is_unauthorized = answers::is_unauthorized(&answer);
                }
                Err(stop)
            }
            // The recording does not know what came next.
            None if !plan.is_closed => Ok(()),
            None => {
                let (here, there) = (self.nothing(), answers::shown(&answer, lang));
                Err(self.difference(lane, None, here, there, None))
            }
        }
    }

    /// Compares the length of a frame whose header has arrived with the recorded one, so that a much longer one need not arrive.
    fn check_length(&self, lane: usize, header: Header) -> Result<(), Stop> {
        let plan = &self.plan.lanes[lane];
        let arrived = self.lives[lane].as_ref().map_or(0, |live| live.arrived);
        let recorded = match plan.answers.get(arrived) {
            // Compressed payload data may be longer than what it decompresses to.
            Some((_, answers::Answer::Frame(header, payload))) => {
                payload.len().max(header.length as usize)
            }
            None if !plan.is_closed => return Ok(()),
            _ => 0,
        };
        if header.length <= (recorded + MAX_MORE) as u64 {
            return Ok(());
        }
        let values: [&dyn std::fmt::Display; 2] = [&header.opcode.name(), &header.length];
        Err(self.differs(lane, texts::REPLAY_LONG.with(self.settings.lang, &values)))
    }

    /// Returns the difference that an answer has not arrived.
    fn missing(&self, lane: usize, is_closed: bool) -> Stop {
        let lang = self.settings.lang;
        let received = match is_closed {
            true => texts::REPLAY_CLOSED.get(lang).to_owned(),
            false => texts::REPLAY_LATE.with(lang, &[&self.seconds()]),
        };
        self.differs(lane, received)
    }

    /// Returns the difference that something else has happened than the next answer of the recording.
    fn differs(&self, lane: usize, received: String) -> Stop {
        let arrived = self.lives[lane].as_ref().map_or(0, |live| live.arrived);
        match self.plan.lanes[lane].answers.get(arrived) {
            Some((us, answer)) => {
                let recorded = answers::shown(answer, self.settings.lang);
                self.difference(lane, Some(*us), recorded, received, None)
            }
            None => {
                let recorded = texts::REPLAY_END.get(self.settings.lang).to_owned();
                self.difference(lane, None, recorded, received, None)
            }
        }
    }

    fn difference(
        &self,
        lane: usize,
        us: Option<u64>,
        recorded: String,
        received: String,
        at: Option<usize>,
    ) -> Stop {
        let plan = &self.plan.lanes[lane];
        // What comes after all answers comes with the end of the connection.
        let last = || self.plan.steps.iter().filter(|step| step.lane == lane).map(|step| step.us);
        let us = us.or_else(|| last().max()).unwrap_or_default();
        Stop::Difference(Box::new(Difference {
            number: plan.number,
            address: plan.address,
            us,
            recorded,
            received,
            at,
            is_unauthorized: false,
        }))
    }

    fn nothing(&self) -> String {
        texts::REPLAY_NOTHING.get(self.settings.lang).to_owned()
    }

    fn seconds(&self) -> u64 {
        self.settings.timeout.as_secs()
    }
}

impl Live {
    /// Returns a connection of which the longest payload is kept up to `most` bytes.
    fn new(stream: Pipe<TcpStream>, most: usize) -> Live {
        Live {
            stream,
            output: Vec::new(),
            unsent: 0,
            is_readable: false,
            is_broken: false,
            ends: false,
            has_ended: false,
            redactor: Redactor::default(),
            splitter: Splitter::new(Role::Server).keeping(most),
            arrived: 0,
            body: Vec::new(),
            sent: Sent::new(),
            ping: None,
        }
    }

    /// Writes as much as the socket takes, and then the end if there is one.
    fn flush(&mut self) {
        while !self.is_broken {
            self.answer_ping();
            if self.output.is_empty() {
                let result = match self.ends {
                    true => self.stream.end().map(|is_done| self.ends = !is_done),
                    false => self.stream.drive(),
                };
                self.is_broken = result.is_err();
                return;
            }
            match self.stream.write(&self.output) {
                Ok(count) => {
                    self.output.drain(..count);
                    self.unsent = self.unsent.saturating_sub(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The recorded client may have sent bytes that the server did not read either. What is missing then is
                // noticed by its answers.
                Err(_) => self.is_broken = true,
            }
        }
        self.output.clear();
        self.unsent = 0;
    }

    /// Queues the pong that may be sent now. The recorded pongs answer the pings of the recorded server, at other times.
    fn answer_ping(&mut self) {
        if self.sent.is_between_frames()
            && self.output.len() < MAX_OUTPUT
            && let Some(payload) = self.ping.take()
        {
            // A key of zeros leaves the payload as it is, which is no secret: the server has sent it.
            self.output.extend([0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
            self.output.extend(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pings of a server that reads nothing: what waits has a limit, and does not count as unsent.
    #[test]
    fn pongs_that_are_not_read_have_a_limit() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = std::net::TcpStream::connect(address).expect("it listens");
        let _server = listener.accept().expect("a client");
        stream.set_nonblocking(true).expect("a socket");
        let url = Url::parse("ws://h").expect("a URL");
        let dialer = crate::tls::Options::default().dialer(&url, Lang::En).expect("TCP");
        let transport = dialer.stream(&url).expect("TCP");
        let stream = Pipe::new(TcpStream::from_std(stream), transport);
        let mut live = Live::new(stream, 0);
        live.sent.add(
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        // More than the sockets take.
        for n in 0..200_000_u32 {
            live.ping = Some([&n.to_be_bytes()[..], &[0; 121]].concat());
            live.flush();
        }
        assert!(
            (MAX_OUTPUT..MAX_OUTPUT + 131).contains(&live.output.len()),
            "{}",
            live.output.len()
        );
        assert_eq!(
            live.ping.as_ref().map(|ping| ping[..4].to_vec()),
            Some(199_999_u32.to_be_bytes().into())
        );
        assert_eq!(live.unsent, 0);
    }
}
