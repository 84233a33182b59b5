//! `framewise load`: many clients at once against a class's own server.
//!
//! ```text
//! one thread, mio:  peer 0  send ──> wait for the answer, or for its time ──> send ...
//!                   peer 1  ...
//! ```
//!
//! Rules of this file: a message is due at its time, whether the last one came back or not, and its latency counts from
//! that time; a peer that has too much under way skips a message, and that is counted; every fault is counted by kind.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use framewise::config::ValidConfig;
use framewise::lang::Lang;
use framewise::protocol::connection::{Cause, Connection, Event, State};
use framewise::protocol::handshake::client::ClientRequest;
use framewise::protocol::mask::random_keys;
use framewise::protocol::send::MAX_SLICES;
use framewise::protocol::url::Url;
use framewise::{CloseCode, Config, Message};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

use crate::texts;

/// Messages of one peer that may be under way.
const MAX_UNDER_WAY: usize = 1_000;

/// Connections that are opened before their handshakes are waited for.
const AT_ONCE: usize = 256;

/// The most peers: what one process has descriptors and ports for.
const MAX_PEERS: u64 = 20_000;

/// Rows of the histogram.
const ROWS: usize = 12;

/// Put load on a server of your own, and see how it takes it
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Example: framewise load ws://localhost:8765/echo --peers 100 --rate 10 --duration 10"
)]
pub struct Args {
    /// The server: ws://host:port/path
    pub url: String,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=MAX_PEERS))]
    pub peers: u64,
    /// Messages a second from each peer; 0 for the next one as soon as the last was answered
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub rate: u32,
    /// Bytes of each message
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    pub size: u64,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub duration: u64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Also when the server is not on this machine
    #[arg(long)]
    pub yes_i_own_this_server: bool,
}

/// Loads, and tells what came of it.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    match load(&args, lang) {
        Ok(report) => {
            report.print(args.json, lang);
            if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{}", texts::ERROR.with(lang, &[&why]));
            ExitCode::FAILURE
        }
    }
}

fn load(args: &Args, lang: Lang) -> Result<Report, String> {
    let url = Url::parse(&args.url).map_err(|why| why.text(lang).to_owned())?;
    if url.is_secure() {
        return Err(framewise::lang::NO_TLS.get(lang).to_owned());
    }
    let addresses =
        (url.host(), url.port()).to_socket_addrs().map_err(|error| error.to_string())?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let is_here = |ip: IpAddr| ip.to_canonical().is_loopback();
    if !args.yes_i_own_this_server && !addresses.iter().all(|address| is_here(address.ip())) {
        return Err(texts::NOT_YOURS.with(lang, &[&url.host()]));
    }
    let config = Config { ping_interval: None, ..Config::default() };
    let config = config.validate().map_err(|error| error.text(lang))?;
    let mut crowd =
        Crowd::new(args, ClientRequest::new(url), config).map_err(|error| error.to_string())?;
    crowd.open(&addresses)?;
    let bar = ProgressBar::with_draw_target(
        Some(args.duration * 10),
        if io::stderr().is_terminal() && !args.json {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {msg}").map_err(|error| error.to_string())?,
    );
    crowd.run(&bar).map_err(|error| error.to_string())?;
    bar.finish_and_clear();
    Ok(crowd.report)
}

/// What came of it.
struct Report {
    peers: usize,
    sent: u64,
    received: u64,
    skipped: u64,
    seconds: f64,
    /// Microseconds.
    latency: Histogram<u64>,
    faults: BTreeMap<String, u64>,
}

impl Report {
    fn fault(&mut self, kind: impl Into<String>) {
        let mut kind = kind.into();
        if self.faults.len() >= 100 {
            kind = "other".to_owned();
        }
        *self.faults.entry(kind).or_default() += 1;
    }

    fn print(&self, as_json: bool, lang: Lang) {
        let ms = |micros: u64| micros as f64 / 1e3;
        let at = |quantile| ms(self.latency.value_at_quantile(quantile));
        let mut out = io::stdout().lock();
        if as_json {
            let report = json!({
                "peers": self.peers,
                "seconds": self.seconds,
                "sent": self.sent,
                "received": self.received,
                "skipped": self.skipped,
                "latency_ms": {
                    "answers": self.latency.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99),
                    "p99.9": at(0.999), "max": ms(self.latency.max()),
                },
                "faults": self.faults,
            });
            let _ = writeln!(out, "{report}");
            return;
        }
        let rate = format!("{:.0}", self.received as f64 / self.seconds);
        let seconds = format!("{:.1}", self.seconds);
        let lines = texts::LOAD_COUNTS
            .with(lang, &[&self.peers, &seconds, &self.sent, &self.received, &rate]);
        let _ = writeln!(out, "{lines}");
        if self.skipped > 0 {
            let _ = writeln!(out, "{}", texts::LOAD_SKIPPED.with(lang, &[&self.skipped]));
        }
        if !self.latency.is_empty() {
            let _ = writeln!(
                out,
                "ms   p50 {:.2}   p90 {:.2}   p99 {:.2}   p99.9 {:.2}   max {:.2}",
                at(0.5),
                at(0.9),
                at(0.99),
                at(0.999),
                ms(self.latency.max())
            );
            self.print_histogram(&mut out);
        }
        for (kind, count) in &self.faults {
            let _ = writeln!(out, "{}", texts::LOAD_FAULT.with(lang, &[count, kind]));
        }
    }

    /// A row for each doubling, the widest as wide as the page.
    fn print_histogram(&self, out: &mut impl Write) {
        let first = self.latency.min().max(1);
        let rows: Vec<(u64, u64)> = self
            .latency
            .iter_log(first, 2.0)
            .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
            .collect();
        let most = rows.iter().map(|row| row.1).max().unwrap_or(1).max(1);
        for (upto, count) in rows.iter().take(ROWS + 20).filter(|row| row.1 > 0) {
            let bar = "█".repeat((count * 50).div_ceil(most) as usize);
            let _ = writeln!(out, "{:>10.2}  {bar} {count}", *upto as f64 / 1e3);
        }
    }
}

struct Peer {
    stream: TcpStream,
    connection: Connection,
    /// When each message that is not answered yet was due.
    due: VecDeque<Instant>,
    next: Instant,
}

/// All peers.
struct Crowd<'a> {
    args: &'a Args,
    request: ClientRequest,
    config: ValidConfig,
    poll: Poll,
    peers: Vec<Option<Peer>>,
    buffer: Vec<u8>,
    message: String,
    report: Report,
}

impl<'a> Crowd<'a> {
    fn new(args: &'a Args, request: ClientRequest, config: ValidConfig) -> io::Result<Crowd<'a>> {
        let latency = Histogram::new(3).map_err(io::Error::other)?;
        let report = Report {
            peers: 0,
            sent: 0,
            received: 0,
            skipped: 0,
            seconds: 0.0,
            latency,
            faults: BTreeMap::new(),
        };
        Ok(Crowd {
            args,
            request,
            config,
            poll: Poll::new()?,
            peers: Vec::new(),
            buffer: vec![0; 256 * 1024],
            message: "framewise ".chars().cycle().take(args.size as usize).collect(),
            report,
        })
    }

    /// Connects everybody and shakes hands.
    fn open(&mut self, addresses: &[SocketAddr]) -> Result<(), String> {
        for number in 0..self.args.peers as usize {
            // A server has room for so many handshakes at once, and may stop accepting until some are done.
            if number.is_multiple_of(AT_ONCE) {
                self.shake_hands()?;
            }
            match self.connect(number, addresses) {
                Ok(peer) => self.peers.push(Some(peer)),
                // If not even the first one gets through, nobody will.
                Err(error) if number == 0 => return Err(error.to_string()),
                Err(error) => {
                    self.report.fault(format!("connect: {}", error.kind()));
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
        let deadline = Instant::now() + self.config.handshake_timeout;
        while self.peers.iter().flatten().any(|peer| peer.connection.state() == State::Connecting) {
            if Instant::now() >= deadline {
                return Err("timed out".to_owned());
            }
            self.turn(Some(Duration::from_millis(100))).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn connect(&self, number: usize, addresses: &[SocketAddr]) -> io::Result<Peer> {
        let stream = std::net::TcpStream::connect(addresses)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), interest)?;
        let mut keys = random_keys().map_err(io::Error::other)?;
        let mut nonce = [0; 16];
        nonce.chunks_exact_mut(4).for_each(|chunk| chunk.copy_from_slice(&keys()));
        let connection = Connection::client(self.config.clone(), &self.request, nonce, keys);
        Ok(Peer { stream, connection, due: VecDeque::new(), next: Instant::now() })
    }

    /// Sends what is due, for as long as it was asked for; then closes.
    fn run(&mut self, bar: &ProgressBar) -> io::Result<()> {
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
        self.close()
    }

    /// Sends the messages of one peer that are due.
    fn speak(&mut self, n: usize, now: Instant, interval: Option<Duration>) {
        let max_output = self.config.max_output;
        let Some(peer) = &mut self.peers[n] else { return };
        match interval {
            Some(interval) => {
                while peer.next <= now {
                    let has_room = peer.due.len() < MAX_UNDER_WAY
                        && peer.connection.sender().queued() <= max_output;
                    if has_room
                        && peer.connection.sender_mut().message(Message::Text(&self.message))
                    {
                        peer.due.push_back(peer.next);
                        self.report.sent += 1;
                    } else {
                        self.report.skipped += 1;
                    }
                    peer.next += interval;
                }
            }
            None if peer.due.is_empty() => {
                peer.connection.sender_mut().message(Message::Text(&self.message));
                peer.due.push_back(now);
                self.report.sent += 1;
            }
            None => {}
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
                peer.connection.sender_mut().unblock();
            }
            self.read(n);
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
                        if let Event::Message(_) = event {
                            self.report.received += 1;
                            if let Some(due) = peer.due.pop_front() {
                                let took = due.elapsed().as_micros() as u64;
                                self.report.latency.saturating_record(took.max(1));
                            }
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => peer.connection.broken(),
            }
            if let Some(closed) = peer.connection.closed() {
                let kind = match &closed.cause {
                    Cause::ThisEnd => None,
                    Cause::Rejected(rejection) => Some(rejection.text(Lang::En)),
                    Cause::Lost => Some("connection lost (1006)".to_owned()),
                    _ => Some(format!("closed with {} {}", closed.code, closed.reason)),
                };
                self.flush(n);
                self.peers[n] = None;
                if let Some(kind) = kind {
                    self.report.fault(kind);
                }
            }
        }
        self.buffer = buffer;
    }

    fn flush(&mut self, n: usize) {
        let Some(peer) = &mut self.peers[n] else { return };
        while !peer.connection.sender().is_empty() && !peer.connection.sender().is_blocked() {
            let mut slices = [&[][..]; MAX_SLICES];
            let filled = peer.connection.sender().pending(&mut slices);
            let slices: Vec<io::IoSlice<'_>> =
                slices[..filled].iter().map(|slice| io::IoSlice::new(slice)).collect();
            match peer.stream.write_vectored(&slices) {
                Ok(count) => peer.connection.sender_mut().advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    peer.connection.sender_mut().block();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => peer.connection.broken(),
            }
        }
    }

    /// Waits for the answers that are still due, a second at most, then closes everybody with 1000.
    fn close(&mut self) -> io::Result<()> {
        let patience = Instant::now() + Duration::from_secs(1);
        while Instant::now() < patience
            && self.peers.iter().flatten().any(|peer| !peer.due.is_empty())
        {
            self.turn(Some(Duration::from_millis(50)))?;
        }
        for n in 0..self.peers.len() {
            if let Some(peer) = &mut self.peers[n] {
                let closing = peer.connection.close(CloseCode::NORMAL, "");
                closing.expect("a valid code and no reason");
                self.flush(n);
            }
        }
        let patience = Instant::now() + self.config.close_timeout;
        while self.peers.iter().any(Option::is_some) {
            if Instant::now() >= patience {
                let left = self.peers.iter().flatten().count();
                (0..left).for_each(|_| self.report.fault("no answer to our close"));
                break;
            }
            self.turn(Some(Duration::from_millis(50)))?;
        }
        Ok(())
    }
}
