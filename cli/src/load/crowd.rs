//! All peers of a load, on one thread.
//!
//! Rules of this file: a message is due at its time, whether the last one came back or not, and its latency counts from
//! that time; a peer that has too much under way skips a message, and that is counted; every fault is counted by kind.

use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use framewise::ClientRequest;
use framewise::CloseCode;
use framewise::config::ValidConfig;
use framewise::lang::Lang;
use framewise::protocol::connection::{Cause, Closed, Connection, Event, State};
use framewise::protocol::mask::random_keys;
use framewise::trace::printable;
use indicatif::ProgressBar;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::load::peer::Peer;
use crate::load::{Args, Report};
use crate::tls::{Dialer, Pipe};
use crate::{reach, texts};

/// Messages of one peer that may be under way.
const MAX_UNDER_WAY: usize = 1_000;

/// Connections that are opened before their handshakes are waited for.
const AT_ONCE: usize = 256;

/// How long the first or next answer may take when nothing more is sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// All peers.
pub struct Crowd<'a> {
    args: &'a Args,
    request: ClientRequest,
    dialer: Dialer,
    config: ValidConfig,
    poll: Poll,
    peers: Vec<Option<Peer>>,
    buffer: Vec<u8>,
    message: String,
    report: Report,
    /// Of the faults.
    lang: Lang,
}

impl<'a> Crowd<'a> {
    /// Nobody has connected yet.
    ///
    /// # Errors
    ///
    /// The system has no readiness queue left.
    pub fn new(
        args: &'a Args,
        request: ClientRequest,
        dialer: Dialer,
        config: ValidConfig,
        lang: Lang,
    ) -> io::Result<Crowd<'a>> {
        Ok(Crowd {
            args,
            request,
            dialer,
            config,
            poll: Poll::new()?,
            peers: Vec::new(),
            buffer: vec![0; 256 * 1024],
            message: "framewise ".chars().cycle().take(args.size as usize).collect(),
            report: Report::new()?,
            lang,
        })
    }

    /// What came of it.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Connects everybody and shakes hands.
    ///
    /// # Errors
    ///
    /// Nobody is let in, for this reason.
    pub fn open(&mut self, addresses: &[SocketAddr]) -> Result<(), String> {
        for number in 0..self.args.peers as usize {
            // A server has room for so many handshakes at once, and may stop accepting until some are done.
            if number.is_multiple_of(AT_ONCE) {
                self.shake_hands()?;
            }
            match self.connect(number, addresses) {
                Ok(peer) => self.peers.push(Some(peer)),
                // If not even the first one gets through, nobody will.
                Err(error) if number == 0 => {
                    return Err(texts::LOAD_CONNECT.with(self.lang, &[&error]));
                }
                Err(error) => {
                    self.report.fault(texts::LOAD_CONNECT.with(self.lang, &[&error.kind()]));
                    self.peers.push(None);
                }
            }
        }
        self.shake_hands()?;
        self.report.peers = self.peers.iter().flatten().count();
        if self.report.peers == 0 {
            let kinds: Vec<&str> = self.report.faults.keys().map(String::as_str).collect();
            return Err(kinds.join(", "));
        }
        Ok(())
    }

    /// Waits until everybody who has connected is answered.
    fn shake_hands(&mut self) -> Result<(), String> {
        for n in 0..self.peers.len() {
            self.flush(n);
        }
        let deadline = Instant::now() + self.config.timeouts.handshake;
        while self.peers.iter().flatten().any(|peer| peer.connection.state() == State::Connecting) {
            if Instant::now() >= deadline {
                return Err(texts::LOAD_TIMED_OUT.get(self.lang).to_owned());
            }
            self.turn(Some(Duration::from_millis(100))).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn connect(&self, number: usize, addresses: &[SocketAddr]) -> io::Result<Peer> {
        let stream =
            reach::first_that_answers(addresses.iter().copied(), self.config.timeouts.handshake)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), interest)?;
        let mut keys = random_keys().map_err(io::Error::other)?;
        let mut nonce = [0; 16];
        nonce.chunks_exact_mut(4).for_each(|chunk| chunk.copy_from_slice(&keys()));
        let connection = Connection::client(self.config.clone(), &self.request, nonce, keys);
        let transport = self.dialer.stream(self.request.url()).map_err(io::Error::other)?;
        Ok(Peer::new(Pipe::new(stream, transport), connection))
    }

    /// Sends what is due, for as long as it was asked for; then closes.
    ///
    /// # Errors
    ///
    /// The readiness queue of the system failed.
    pub fn run(&mut self, bar: &ProgressBar) -> io::Result<()> {
        let start = Instant::now();
        let lasts = Duration::from_secs(self.args.duration);
        let interval = (self.args.rate > 0).then(|| Duration::from_secs(1) / self.args.rate);
        let count = self.peers.len() as u32;
        for (n, peer) in self.peers.iter_mut().enumerate() {
            if let Some(peer) = peer {
                // Spread over the interval, so that not everybody speaks at once.
                peer.next = start + interval.unwrap_or_default() * n as u32 / count;
            }
        }
        while start.elapsed() < lasts {
            let now = Instant::now();
            for n in 0..self.peers.len() {
                self.speak(n, now, interval);
            }
            bar.set_position(start.elapsed().as_millis() as u64 / 100);
            bar.set_message(format!("{} / {}", self.report.received, self.report.sent));
            let next = self.peers.iter().flatten().map(|peer| peer.next).min();
            let Some(next) = next else { break };
            let wait = if interval.is_some() {
                next.saturating_duration_since(Instant::now())
            } else {
                Duration::from_millis(10)
            };
            self.turn(Some(wait.min(Duration::from_millis(100))))?;
        }
        self.report.seconds = start.elapsed().as_secs_f64();
        self.report.per_second = self.report.received as f64 / self.report.seconds;
        self.close()
    }

    /// Sends the messages of one peer that are due.
    fn speak(&mut self, n: usize, now: Instant, interval: Option<Duration>) {
        let max_output = self.config.limits.max_output;
        let Some(peer) = &mut self.peers[n] else { return };
        match interval {
            Some(interval) => {
                while peer.next <= now {
                    let has_room = peer.due.len() < MAX_UNDER_WAY
                        && peer.connection.output().queued() <= max_output;
                    if has_room && peer.send(&mut self.message, peer.next, !self.args.broadcast) {
                        self.report.sent += 1;
                    } else {
                        self.report.skipped += 1;
                    }
                    peer.next += interval;
                }
            }
            None => {
                // One that is never answered must not be the last.
                if peer.due.front().is_some_and(|(_, due)| *due + PATIENCE <= now) {
                    peer.due.pop_front();
                    self.report.unanswered += 1;
                }
                if peer.due.is_empty() && peer.send(&mut self.message, now, true) {
                    self.report.sent += 1;
                }
            }
        }
        self.flush(n);
    }

    /// Reads what has come to anybody.
    fn turn(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &events {
            let Token(n) = event.token();
            if event.is_writable()
                && let Some(peer) = &mut self.peers[n]
            {
                peer.connection.output_mut().unblock();
            }
            self.read(n);
            // The request waits for the handshake of TLS, not for the socket.
            if let Some(peer) = &mut self.peers[n]
                && peer.connection.state() == State::Connecting
            {
                peer.connection.output_mut().unblock();
            }
            self.flush(n);
        }
        Ok(())
    }

    fn read(&mut self, n: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(peer) = &mut self.peers[n] {
            match peer.stream.read(&mut buffer) {
                Ok(0) => peer.connection.lost(),
                Ok(count) => {
                    let mut unread = &mut buffer[..count];
                    while let Some(event) = peer.connection.next(&mut unread) {
                        match event {
                            Event::Message(message) => {
                                self.report.received += 1;
                                let (lost, due) = peer.answered(message.as_message().bytes());
                                self.report.unanswered += lost;
                                due.into_iter().for_each(|due| self.report.answered(due.elapsed()));
                            }
                            Event::Pong(_) => peer.is_pinged = false,
                            _ => {}
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => peer.connection.broken(),
            }
            if let Some(closed) = peer.connection.closed().cloned() {
                self.report.unanswered += peer.due.len() as u64;
                let failure = peer.stream.failure(self.lang);
                self.flush(n);
                self.peers[n] = None;
                if let Some(kind) = failure.or_else(|| kind_of(&closed, self.lang)) {
                    self.report.fault(kind);
                }
            }
        }
        self.buffer = buffer;
    }

    fn flush(&mut self, n: usize) {
        if let Some(peer) = &mut self.peers[n] {
            peer.flush();
        }
    }

    /// Waits for what is still missing, then closes everybody with 1000.
    fn close(&mut self) -> io::Result<()> {
        if self.args.broadcast {
            // After the first pongs the server has everybody's last message, after the second ones everybody else too.
            self.ping_all()?;
            self.ping_all()?;
        } else {
            self.wait_while(|peer| !peer.due.is_empty())?;
        }
        for n in 0..self.peers.len() {
            if let Some(peer) = &mut self.peers[n] {
                let closing = peer.connection.close(CloseCode::NORMAL, "");
                closing.expect("a valid code and no reason");
                self.flush(n);
            }
        }
        let patience = Instant::now() + self.config.timeouts.close;
        while self.peers.iter().any(Option::is_some) {
            if Instant::now() >= patience {
                for peer in self.peers.drain(..).flatten() {
                    self.report.unanswered += peer.due.len() as u64;
                    self.report.fault(texts::LOAD_NO_CLOSE.get(self.lang).to_owned());
                }
                break;
            }
            self.turn(Some(Duration::from_millis(50)))?;
        }
        Ok(())
    }

    /// Pings everybody and waits for the pongs.
    fn ping_all(&mut self) -> io::Result<()> {
        for n in 0..self.peers.len() {
            if let Some(peer) = &mut self.peers[n] {
                peer.is_pinged = peer.connection.output_mut().ping(b"");
                self.flush(n);
            }
        }
        self.wait_while(|peer| peer.is_pinged)
    }

    /// Waits as long as this holds for anybody, and something still comes.
    fn wait_while(&mut self, holds: impl Fn(&Peer) -> bool) -> io::Result<()> {
        let (mut received, mut since) = (self.report.received, Instant::now());
        while since.elapsed() < PATIENCE && self.peers.iter().flatten().any(&holds) {
            self.turn(Some(Duration::from_millis(50)))?;
            if self.report.received > received {
                (received, since) = (self.report.received, Instant::now());
            }
        }
        Ok(())
    }
}

/// What went wrong, if this end did not want it.
fn kind_of(closed: &Closed, lang: Lang) -> Option<String> {
    match &closed.cause {
        Cause::Local => None,
        Cause::Rejected(rejection) => Some(printable(&rejection.text(lang))),
        Cause::Lost => Some(texts::LOAD_LOST.get(lang).to_owned()),
        _ => Some(
            texts::CLOSED_WITH
                .with(lang, &[&closed.code, &printable(&closed.reason)])
                .trim_end()
                .to_owned(),
        ),
    }
}
