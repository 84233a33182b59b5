//! The load generator: many connections on one thread, with so little work for each that the server is the bottleneck.
//!
//! All messages of a shape are equal, so the bytes that come back are one reply, repeated. A read is verified by
//! comparing it with a buffer of repeated replies (the tape), from the place where the last read ended. A wrong byte
//! stops the run.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::deflate;
use crate::dial::Dialer;
use crate::shape::{Compression, Shape, Traffic};
use crate::wire::Stream;

/// The most bytes of one read.
const READ: usize = 256 * 1024;

/// How many bytes of pipelined traffic are in flight, approximately.
const UNDER_WAY: usize = 1_500_000;

/// How long a server may take to send anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The result of a run.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// How many messages came back, or rounds of a broadcast, or handshakes.
    pub done: u64,
    /// How long it took.
    pub time: Duration,
    /// Latencies in microseconds, if the shape measures them: p50, p99, p99.9.
    pub latency: Option<[f64; 3]>,
}

/// Open connections to a server.
pub struct Load {
    poll: Poll,
    events: Events,
    peers: Vec<Peer>,
    shape: Shape,
    /// Repeated requests, and the tape of repeated replies.
    requests: Vec<u8>,
    replies: Vec<u8>,
    frame: usize,
    reply: usize,
    /// Whether the bytes that come back are verified.
    verifies: bool,
    buffer: Vec<u8>,
    /// The buffer for the records of TLS.
    records: Vec<u8>,
}

struct Peer {
    stream: Stream,
    /// Bytes that were written, and bytes to write in total.
    written: u64,
    asked: u64,
    /// Bytes that came back, and bytes that may come back in total.
    read: u64,
    may_come: u64,
    writable: bool,
    /// When each message in flight should have been sent.
    due: VecDeque<Instant>,
}

impl Load {
    /// Opens the connections of a shape.
    ///
    /// # Errors
    ///
    /// A connection or its opening handshake fails.
    pub fn open(address: SocketAddr, shape: &Shape, verifies: bool) -> io::Result<Load> {
        let poll = Poll::new()?;
        let dialer = Dialer::new(address, shape, verifies)?;
        let reply = match shape.compression {
            Compression::EachAlone | Compression::WithContexts if verifies => {
                deflate::learn(&mut dialer.connect(0)?, shape)?
            }
            _ => shape.reply(),
        };
        let mut peers = Vec::new();
        let flood = usize::from(matches!(shape.traffic, Traffic::LatencyBesideFlood(_)));
        for number in 0..shape.peers + flood + shape.silent {
            let mut stream = dialer.connect(number)?.into_stream()?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(stream.socket(), Token(number), interest)?;
            let due = VecDeque::new();
            peers.push(Peer {
                stream,
                written: 0,
                asked: 0,
                read: 0,
                may_come: 0,
                writable: true,
                due,
            });
        }
        let frame = shape.frame();
        let tape = |one: &[u8]| one.repeat(READ / one.len() + 2);
        Ok(Load {
            poll,
            events: Events::with_capacity(1024),
            peers,
            shape: shape.clone(),
            requests: tape(&frame),
            replies: tape(&reply),
            frame: frame.len(),
            reply: reply.len(),
            verifies,
            buffer: vec![0; READ],
            records: vec![0; READ],
        })
    }

    /// Runs the traffic of the shape for a time.
    ///
    /// # Errors
    ///
    /// The server closes a connection, or sends a wrong byte.
    pub fn run(&mut self, lasts: Duration) -> io::Result<Count> {
        match self.shape.traffic {
            Traffic::ClosedLoop => self.echo(lasts, 1, 1),
            Traffic::Pipelined(batch) => self.echo(lasts, batch as u64, self.window(batch)),
            Traffic::Broadcast => self.rounds(lasts),
            Traffic::Latency(rate) | Traffic::LatencyBesideFlood(rate) => self.at_rate(lasts, rate),
            Traffic::Handshakes | Traffic::Idle | Traffic::Memory | Traffic::SlowReaders => {
                Err(io::Error::other("this traffic does not run for a time"))
            }
        }
    }

    /// Returns the ratio of compression of the replies, if they were decompressed.
    pub fn ratio(&self) -> Option<f64> {
        let is_known = self.verifies && self.shape.compression != Compression::Off;
        is_known.then(|| deflate::ratio(&self.shape, &self.replies[..self.reply]))
    }

    /// Sends one message on each connection and reads the reply.
    ///
    /// # Errors
    ///
    /// The server closes a connection, or sends a wrong byte.
    pub fn exchange(&mut self) -> io::Result<()> {
        for n in 0..self.peers.len() {
            self.peers[n].asked += self.frame as u64;
            self.write(n)?;
        }
        let reply = self.reply as u64;
        let frame = self.frame as u64;
        self.drain(|peer| peer.asked / frame * reply)
    }

    /// Returns how many batches to keep in flight. There are enough that the server never waits for the next one.
    fn window(&self, batch: usize) -> u64 {
        (UNDER_WAY / (batch * self.frame)).max(4) as u64
    }

    /// Sends a pong for each ping that has arrived. An idle peer receives nothing else.
    ///
    /// # Errors
    ///
    /// The server closes a connection.
    pub fn answer_pings(&mut self) -> io::Result<()> {
        self.poll(Some(Duration::ZERO))?;
        for n in self.ready() {
            let peer = &mut self.peers[n];
            match peer.stream.read(&mut self.buffer, &mut self.records) {
                Ok((count, _)) => {
                    let (pings, rest) = self.buffer[..count].as_chunks();
                    if !rest.is_empty() || pings.iter().any(|ping| ping != b"\x89\x00") {
                        return Err(io::Error::other("something else than a ping"));
                    }
                    let pongs = [0x8a, 0x80, 0, 0, 0, 0].repeat(pings.len());
                    if peer.stream.write(&pongs)? < pongs.len() {
                        return Err(io::Error::other("the socket of an idle connection is full"));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Keeps `window` batches of messages in flight on each connection.
    fn echo(&mut self, lasts: Duration, batch: u64, window: u64) -> io::Result<Count> {
        let (asks, answers) = (batch * self.frame as u64, batch * self.reply as u64);
        for n in 0..self.shape.peers {
            self.peers[n].asked += asks * window;
            self.write(n)?;
        }
        let (start, before) = (Instant::now(), self.came_back());
        let mut polls = 0;
        while polls & 0xf != 0 || start.elapsed() < lasts {
            polls += 1;
            self.poll(Some(PATIENCE))?;
            let ready = self.ready();
            if ready.is_empty() {
                return Err(stopped_answering());
            }
            for n in ready {
                let batches = self.peers[n].read / answers;
                self.read(n)?;
                self.peers[n].asked += (self.peers[n].read / answers - batches) * asks;
                self.write(n)?;
            }
        }
        let (done, time) = ((self.came_back() - before) / self.reply as u64, start.elapsed());
        // Wait for all messages in flight, so that the next run begins with idle connections.
        self.drain(|peer| peer.asked / asks * answers)?;
        Ok(Count { done, time, latency: None })
    }

    /// Runs rounds in which every peer sends one message and all others receive it.
    fn rounds(&mut self, lasts: Duration) -> io::Result<Count> {
        let (start, first) = (Instant::now(), self.peers[0].read);
        let mut done = 0;
        while start.elapsed() < lasts {
            done += 1;
            let others = (self.peers.len() as u64 - 1) * self.reply as u64;
            self.peers.iter_mut().for_each(|peer| peer.may_come += others);
            for n in 0..self.peers.len() {
                self.peers[n].asked += self.frame as u64;
                self.write(n)?;
            }
            let heard = done * (self.peers.len() as u64 - 1) * self.reply as u64;
            self.drain(|_| first + heard)?;
        }
        Ok(Count { done, time: start.elapsed(), latency: None })
    }

    /// Sends each message at its scheduled time. Latency is measured from that time, even if the message was sent late.
    /// At the end the run waits for all messages in flight, so that late ones count.
    fn at_rate(&mut self, lasts: Duration, rate: u32) -> io::Result<Count> {
        let mut histogram = Histogram::<u64>::new(3).map_err(io::Error::other)?;
        let (timed, step) = (self.shape.peers, Duration::from_secs(1) / rate);
        let floods = self.peers.len() > timed;
        let start = Instant::now();
        let (end, mut next, mut turn, mut done) = (start + lasts, start, 0, 0);
        let mut flood_waits = false;
        if floods {
            self.flood()?;
        }
        loop {
            let now = Instant::now();
            while next <= now && next < end {
                let peer = turn % timed;
                self.peers[peer].due.push_back(next);
                self.peers[peer].asked += self.frame as u64;
                self.write(peer)?;
                (turn, next) = (turn + 1, next + step);
            }
            if now >= end && self.peers[..timed].iter().all(|peer| peer.due.is_empty()) {
                break;
            }
            if now >= end + PATIENCE {
                return Err(stopped_answering());
            }
            // Poll without sleeping, because waking up would be late.
            self.poll(Some(Duration::ZERO))?;
            for n in self.ready() {
                if n == timed {
                    flood_waits = true;
                    continue;
                }
                let before = self.peers[n].read / self.reply as u64;
                self.read(n)?;
                let came = self.peers[n].read / self.reply as u64 - before;
                let now = Instant::now();
                for due in self.peers[n].due.drain(..came as usize) {
                    let latency = now.duration_since(due).as_nanos() as u64;
                    histogram.record(latency).map_err(io::Error::other)?;
                    done += u64::from(now < end);
                }
            }
            // Read the flood once, then the other connections again, so that the load does not delay them.
            if flood_waits {
                flood_waits = self.read_once(timed)?;
                if now < end {
                    self.flood()?;
                }
            }
        }
        if floods {
            let frame = self.frame as u64;
            self.peers[timed].asked = self.peers[timed].written.div_ceil(frame) * frame;
            self.write(timed)?;
            let reply = self.reply as u64;
            self.drain(|peer| peer.asked / frame * reply)?;
        }
        let micro = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let latency = Some([micro(0.5), micro(0.99), micro(0.999)]);
        Ok(Count { done, time: lasts, latency })
    }

    /// Keeps messages in flight on the connection after the last timed one.
    fn flood(&mut self) -> io::Result<()> {
        let flooder = &mut self.peers[self.shape.peers];
        let came_back = flooder.read / self.reply as u64 * self.frame as u64;
        flooder.asked = came_back + UNDER_WAY as u64;
        self.write(self.shape.peers)
    }

    /// Publishes messages on the first connection and waits until the fast readers have all of them. Returns how many
    /// they got together.
    ///
    /// # Errors
    ///
    /// A fast reader has lost a message, or its connection is closed.
    pub fn publish(&mut self, messages: u64) -> io::Result<u64> {
        let fast = (self.shape.peers - 1) / 2;
        let wanted = self.peers[1].read + messages * self.reply as u64;
        self.peers[1..].iter_mut().for_each(|peer| peer.may_come += messages * self.reply as u64);
        self.peers[0].asked += messages * self.frame as u64;
        self.write(0)?;
        while self.peers[1..=fast].iter().any(|peer| peer.read < wanted) {
            self.poll(Some(PATIENCE))?;
            let ready = self.ready();
            if ready.is_empty() {
                return Err(io::Error::other("a message was lost"));
            }
            for n in ready.into_iter().filter(|&n| n <= fast) {
                self.read(n)?;
                self.write(n)?;
            }
        }
        Ok(messages * fast as u64)
    }

    /// Reads from the slow readers until the server has closed each of them, with a Close or, if it waited for too
    /// long, without. Returns how many got a Close.
    ///
    /// # Errors
    ///
    /// A slow reader is still connected, or a message is missing before its Close.
    pub fn read_to_the_end(&mut self) -> io::Result<usize> {
        let first = (self.shape.peers - 1) / 2 + 1;
        let mut served: Vec<usize> = (first..self.shape.peers).collect();
        let mut told = 0;
        loop {
            let mut left = Vec::new();
            for n in served {
                match self.read(n) {
                    Ok(()) => left.push(n),
                    Err(error) if error.kind() == ErrorKind::Other => {
                        // The tape does not match here. The bytes must be a Close.
                        let peer = &self.peers[n];
                        let at = (peer.read % self.reply as u64) as usize;
                        let same = self.buffer.iter().zip(&self.replies[at..]);
                        let same = same.take_while(|(byte, wanted)| byte == wanted).count();
                        if !(at + same).is_multiple_of(self.reply) || self.buffer[same] != 0x88 {
                            return Err(error);
                        }
                        told += 1;
                    }
                    Err(_) => {}
                }
            }
            if left.is_empty() {
                return Ok(told);
            }
            served = left;
            self.poll(Some(PATIENCE))?;
            if self.ready().is_empty() {
                return Err(io::Error::other("a reader that does not read is still served"));
            }
        }
    }

    /// Reads until each peer has as many bytes as `wanted` returns.
    fn drain(&mut self, wanted: impl Fn(&Peer) -> u64) -> io::Result<()> {
        while self.peers.iter().any(|peer| peer.read < wanted(peer)) {
            self.poll(Some(PATIENCE))?;
            let ready = self.ready();
            if ready.is_empty() {
                return Err(io::Error::other("the server has lost something"));
            }
            for n in ready {
                self.read(n)?;
                self.write(n)?;
            }
        }
        Ok(())
    }

    fn came_back(&self) -> u64 {
        self.peers.iter().map(|peer| peer.read).sum()
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    fn ready(&mut self) -> Vec<usize> {
        let mut ready = Vec::with_capacity(self.peers.len().min(1024));
        for event in &self.events {
            let Token(n) = event.token();
            self.peers[n].writable |= event.is_writable();
            ready.push(n);
        }
        ready
    }

    /// Reads and compares until the socket is empty.
    fn read(&mut self, n: usize) -> io::Result<()> {
        while self.read_once(n)? {}
        Ok(())
    }

    /// Reads and compares once. Returns whether the socket may have more.
    fn read_once(&mut self, n: usize) -> io::Result<bool> {
        let peer = &mut self.peers[n];
        let (count, has_more) = match peer.stream.read(&mut self.buffer, &mut self.records) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.verifies {
            let at = (peer.read % self.reply as u64) as usize;
            // The tape is two replies longer than a read, so that it never ends within a read.
            if self.buffer[..count] != self.replies[at..at + count] {
                let right = peer.read;
                return Err(io::Error::other(format!("a wrong byte after {right} right ones")));
            }
            if peer.read + count as u64 > peer.may_come {
                return Err(io::Error::other("more came back than there was to answer"));
            }
        }
        peer.read += count as u64;
        Ok(has_more)
    }

    fn write(&mut self, n: usize) -> io::Result<()> {
        let peer = &mut self.peers[n];
        match peer.stream.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => peer.writable = false,
            result => result?,
        }
        while peer.writable && peer.written < peer.asked {
            let at = (peer.written % self.frame as u64) as usize;
            let count = (peer.asked - peer.written).min((self.requests.len() - at) as u64) as usize;
            match peer.stream.write(&self.requests[at..at + count]) {
                Ok(count) => peer.written += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => peer.writable = false,
                Err(error) => return Err(error),
            }
        }
        // An echo server may reply to complete messages, and to nothing else.
        if !matches!(self.shape.traffic, Traffic::Broadcast | Traffic::SlowReaders) {
            peer.may_come = peer.written / self.frame as u64 * self.reply as u64;
        }
        Ok(())
    }
}

fn stopped_answering() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "the server has stopped answering")
}
