//! `framewise relay`: a fault-injecting proxy between clients and a server.
//!
//! ```text
//! client ──> reader ──> queue, each read with the time at which it is due ──> writer, faults.rs ──> server
//!        <── writer, faults.rs <──                  queue                     <── reader <──
//!                    '── one line for each fault ──> log.rs ──> stdout
//! ```
//!
//! Rules of this file:
//!
//! - Without options bytes pass unchanged.
//! - Positions and times count for each direction of each connection by itself.
//! - There are limits: further connections wait to be accepted, and a reader waits while the queue is full.

mod bridge;
mod faults;
mod log;

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use framewise::Url;
use framewise::lang::Lang;
use framewise::protocol::frame::Role;

use crate::reach;
use crate::relay::faults::{Injector, Progress};
use crate::relay::log::{Log, Reporter};
use crate::texts::{self, complain};
use crate::tls::{self, ClientStream, Dialer};

/// The most connections at the same time.
const MAX_CONNECTIONS: usize = 128;

/// The most bytes of one read.
const READ: usize = 16 * 1024;

/// The most reads of one direction that wait until they are due.
const MAX_HELD: usize = 64;

/// The stack of a thread, which holds one read and little more.
const STACK: usize = 128 * 1024;

/// How long each address of the server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Run a fault-injecting proxy between clients and a server
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example: framewise relay localhost:9000 localhost:8765 --slice 1")]
pub struct Args {
    /// Where clients connect, as host:port
    pub listen: String,
    /// The server, as host:port; with wss://host:port the relay speaks TLS to it, and the faults affect the clear bytes
    pub target: String,
    #[command(flatten)]
    pub tls: tls::Options,
    /// Whose bytes the faults affect
    #[arg(long, value_enum, default_value_t = From::Both)]
    pub from: From,
    /// Split the stream into segments of at most BYTES bytes, sent with TCP_NODELAY and a pause between them
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub slice: Option<u64>,
    /// The pause between the segments of --slice in milliseconds, so that the receiver reads each by itself; a slow network or a busy receiver needs a longer one
    #[arg(long, value_name = "MS", default_value_t = 1, requires = "slice", value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub pause: u64,
    /// Delay every read by MS milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub latency: u64,
    /// Delay every read by a random time of at most MS milliseconds more
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub jitter: u64,
    /// Limit each direction to BYTES bytes per second
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// End the stream after BYTES bytes and discard the rest
    #[arg(long, value_name = "BYTES")]
    pub limit_data: Option<u64>,
    /// Drop the pongs
    #[arg(long)]
    pub drop_pong: bool,
    /// Delay the end of the stream by MS milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub slow_close: u64,
    /// Flip the lowest bit of this byte, counted from 0
    #[arg(long, value_name = "BYTE")]
    pub flip_bit: Option<u64>,
    /// Reset both connections after BYTES bytes
    #[arg(long, value_name = "BYTES")]
    pub reset_after: Option<u64>,
    /// Print only how to connect, and no line for each fault
    #[arg(short, long)]
    pub quiet: bool,
}

/// Whose bytes the faults affect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    Client,
    Server,
    Both,
}

/// What all connections share.
struct Relay {
    args: Args,
    /// Host and port of the server.
    target: String,
    /// For a target that speaks TLS.
    secure: Option<(Url, Dialer)>,
    lang: Lang,
    log: Log,
}

/// Relays until the process is stopped.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    let secure = match target_url(&args, lang) {
        Ok(secure) => secure,
        Err(why) => {
            complain(lang, why);
            return ExitCode::FAILURE;
        }
    };
    let target = match &secure {
        // RFC 3986 §3.2.2: an IPv6 address is in brackets.
        Some((url, _)) if url.host().contains(':') => format!("[{}]:{}", url.host(), url.port()),
        Some((url, _)) => format!("{}:{}", url.host(), url.port()),
        None => args.target.clone(),
    };
    let listener = target.to_socket_addrs().map_err(|error| (&args.target, error));
    let listener = listener.and_then(|_| {
        TcpListener::bind(args.listen.as_str()).map_err(|error| (&args.listen, error))
    });
    let listener = match listener {
        Ok(listener) => listener,
        Err((address, error)) => {
            complain(lang, format!("{address}: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Ok(address) = listener.local_addr() {
        texts::say(texts::RELAYING.with(lang, &[&address, &args.target]));
    }
    let log = if args.quiet { Log::quiet() } else { Log::start(lang) };
    let relay = Arc::new(Relay { args, target, secure, lang, log });
    // Each connection takes a place and returns it when it closes.
    let (returned, places) = sync_channel(MAX_CONNECTIONS);
    (0..MAX_CONNECTIONS).for_each(|_| returned.send(()).expect("the channel has room for all"));
    loop {
        if places.try_recv().is_err() {
            relay.log.line(texts::RELAY_FULL.with(lang, &[&MAX_CONNECTIONS]));
            places.recv().expect("this function has a sender");
        }
        let (relay, return_later) = (Arc::clone(&relay), returned.clone());
        let started = listener.accept().and_then(|(stream, client)| {
            thread::Builder::new().stack_size(STACK).spawn(move || {
                if let Err(error) = connection(&relay, &stream, client) {
                    complain(lang, texts::RELAY_FAILED.with(lang, &[&error, &client]));
                }
                let _ = return_later.send(());
            })
        });
        if let Err(error) = started {
            // The process may be out of file descriptors or threads, until other connections have closed.
            complain(lang, error);
            let _ = returned.send(());
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Returns the URL of a target that speaks TLS, and how to connect to it; `None` if the target is host and port.
fn target_url(args: &Args, lang: Lang) -> Result<Option<(Url, Dialer)>, String> {
    if !args.target.contains("://") {
        return Ok(None);
    }
    let url =
        Url::parse(&args.target).map_err(|why| format!("{}: {}", args.target, why.text(lang)))?;
    let dialer = args.tls.dialer(&url, lang)?;
    Ok(Some((url, dialer)))
}

/// Connects to the server and relays until both directions have ended.
///
/// # Errors
///
/// The server cannot be reached, or the operating system has no thread left.
fn connection(relay: &Relay, stream: &TcpStream, client: SocketAddr) -> io::Result<()> {
    let addresses = relay.target.to_socket_addrs()?;
    let server = reach::first_that_answers(addresses, CONNECT_TIMEOUT)?;
    let Some((url, dialer)) = &relay.secure else {
        return pass_between(relay, stream, &server, client);
    };
    let transport: ClientStream = dialer.stream(url).map_err(io::Error::other)?;
    let (near, far) = bridge::pair()?;
    thread::scope(|scope| {
        let carried = thread::Builder::new().spawn_scoped(scope, || {
            if let Err(error) = bridge::carry(far, server, transport) {
                complain(relay.lang, texts::RELAY_FAILED.with(relay.lang, &[&error, &client]));
            }
        });
        carried.and_then(|_| pass_between(relay, stream, &near, client))
    })
}

/// Relays between a client and the server until both directions have ended.
fn pass_between(
    relay: &Relay,
    stream: &TcpStream,
    server: &TcpStream,
    client: SocketAddr,
) -> io::Result<()> {
    for stream in [stream, server] {
        // Each write leaves as a segment of its own, instead of waiting for the acknowledgement of the last one.
        stream.set_nodelay(true)?;
        // A blocked writer looks from time to time whether the connection was reset.
        stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    }
    let reset = Reset::default();
    let direction = |from, to, sender| {
        let affected = match relay.args.from {
            From::Both => true,
            From::Client => sender == Role::Client,
            From::Server => sender == Role::Server,
        };
        let faults = affected.then_some(&relay.args);
        let reporter = Reporter { log: &relay.log, lang: relay.lang, client, sender };
        Direction { from, to, faults, reporter, reset: &reset }
    };
    let directions =
        [direction(stream, server, Role::Client), direction(server, stream, Role::Server)];
    thread::scope(|scope| {
        for direction in directions {
            let (queue, held) = sync_channel(MAX_HELD);
            let start = || thread::Builder::new().stack_size(STACK);
            let started = start()
                .spawn_scoped(scope, move || direction.read(&queue))
                .and_then(|_| start().spawn_scoped(scope, move || direction.write(held)));
            if let Err(error) = started {
                direction.reset();
                return Err(error);
            }
        }
        Ok(())
    })
}

/// Bytes and the time at which they are due. No bytes are the end of the stream.
type Held = (Instant, Vec<u8>);

/// One direction of a connection.
#[derive(Clone, Copy)]
struct Direction<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// The faults that affect this direction, if any do.
    faults: Option<&'a Args>,
    reporter: Reporter<'a>,
    /// Shared by both directions.
    reset: &'a Reset,
}

impl Direction<'_> {
    /// Reads to the end of the stream.
    fn read(&self, queue: &SyncSender<Held>) {
        let mut from = self.from;
        let mut buffer = [0; READ];
        let mut last = Instant::now();
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        loop {
            let count = match from.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.reset(),
            };
            let now = Instant::now();
            if let Some(args) = self.faults {
                // Jitter never reorders bytes.
                let delay = Duration::from_millis(args.latency + noise.up_to(args.jitter));
                last = last.max(now + delay);
            } else {
                last = now;
            }
            let delay = last.saturating_duration_since(now).as_millis();
            if count == 0 {
                let is_queued = queue.send((last, Vec::new())).is_ok();
                // After a reset or an end that the relay injected, there is no end to hold back.
                if is_queued && delay > 0 && !self.reset.happens_before(now) {
                    self.reporter.report(texts::RELAY_END_DELAYED, &[&delay]);
                }
                return;
            }
            if delay > 0 {
                self.reporter.report(texts::RELAY_DELAYED, &[&count, &delay]);
            }
            if queue.send((last, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    }

    /// Writes what is due, with the faults that were asked for.
    fn write(&self, held: Receiver<Held>) {
        let mut injector = Injector::new(self.faults, self.reporter, self.reset);
        for (due, bytes) in &held {
            if self.reset.happens_before(due) {
                return;
            }
            let passed = match bytes.as_slice() {
                [] => injector.finish(self.to),
                bytes => injector.pass(bytes, self.to),
            };
            match passed {
                Ok(Progress::Continue) if !bytes.is_empty() => {}
                Ok(Progress::Continue | Progress::End) => break,
                Ok(Progress::Reset) | Err(_) => return self.reset(),
            }
        }
        let late = self.faults.map_or(0, |args| args.slow_close);
        if late > 0 {
            self.reporter.report(texts::RELAY_END_DELAYED, &[&late]);
            if self.reset.happens_before(Instant::now() + Duration::from_millis(late)) {
                return;
            }
        }
        drop(held);
        let _ = self.to.shutdown(Shutdown::Write);
        // The relay discards whatever else the sender sends.
        let _ = self.from.shutdown(Shutdown::Read);
    }

    /// Resets both connections. Once no thread uses them, the operating system closes them with an RST and without the
    /// bytes that still wait to be sent.
    fn reset(&self) {
        self.reset.set();
        for stream in [self.from, self.to] {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            // Wakes the reader and sends nothing.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }
}

/// Whether a connection was reset. A reset ends all waiting of its threads.
#[derive(Default)]
struct Reset {
    happened: Mutex<bool>,
    changed: Condvar,
}

impl Reset {
    fn set(&self) {
        *self.happened.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits until `then` or until the reset, whichever is first. Reports whether it was the reset.
    fn happens_before(&self, then: Instant) -> bool {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = then.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(happened, wait, |happened| !*happened);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A generator of evenly distributed numbers (xorshift), the same ones in each run. Jitter needs no better ones.
struct Noise(u64);

impl Noise {
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % (most + 1)
    }
}
