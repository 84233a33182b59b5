//! `framewise relay`: stands between a client and a server and spoils the bytes on their way.
//!
//! ```text
//! client ──> reader ──> queue, each read with the time it is due ──> writer, spoil.rs ──> server
//!        <── writer, spoil.rs <──                  queue                   <── reader <──
//! ```
//!
//! Rules of this file: without an option bytes pass unchanged; every connection is spoiled by itself; beyond so many
//! connections the next ones wait to be accepted, and beyond so many reads in a queue nothing more is read.

mod spoil;

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use framewise::lang::Lang;
use framewise::protocol::frame::Role;

use crate::reach;
use crate::relay::spoil::{Progress, Spoiler};
use crate::texts::{self, complain};

/// Connections at once.
const MAX_CONNECTIONS: usize = 128;

/// Bytes that one read takes.
const READ: usize = 16 * 1024;

/// Reads of one direction that wait until they are due.
const MAX_HELD: usize = 64;

/// A thread holds one read and little more.
const STACK: usize = 128 * 1024;

/// How long one address of the target may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Stand between a client and a server and spoil the bytes on their way
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example: framewise relay localhost:9000 localhost:8765 --slice 1")]
pub struct Args {
    /// Where clients connect, as host:port
    pub listen: String,
    /// The server, as host:port
    pub target: String,
    /// Which direction is spoiled
    #[arg(long, value_enum, default_value_t = From::Both)]
    pub from: From,
    /// At most so many bytes in each segment
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub slice: Option<u64>,
    /// Hold every segment back for so many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub latency: u64,
    /// And for up to so many more
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub jitter: u64,
    /// At most so many bytes a second
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// End the stream after so many bytes
    #[arg(long, value_name = "BYTES")]
    pub limit_data: Option<u64>,
    /// Keep the pongs back
    #[arg(long)]
    pub drop_pong: bool,
    /// Pass the end of the stream on so many milliseconds late
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    pub slow_close: u64,
    /// Turn the lowest bit of this byte around, counted from 0
    #[arg(long, value_name = "BYTE")]
    pub flip_bit: Option<u64>,
    /// Reset both connections after so many bytes
    #[arg(long, value_name = "BYTES")]
    pub reset_after: Option<u64>,
}

/// Whose bytes are spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    Client,
    Server,
    Both,
}

/// Relays until the process is stopped.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    let args = Arc::new(args);
    let listener = args.target.to_socket_addrs().map_err(|error| (&args.target, error));
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
    // A place for each connection, given back when it ends.
    let (leave, places) = sync_channel(MAX_CONNECTIONS);
    (0..MAX_CONNECTIONS).for_each(|_| leave.send(()).expect("room for all"));
    while places.recv().is_ok() {
        let (args, leave_later) = (Arc::clone(&args), leave.clone());
        let started = listener.accept().and_then(|(client, _)| {
            thread::Builder::new().stack_size(STACK).spawn(move || {
                if let Err(error) = connection(&args, &client) {
                    complain(lang, error);
                }
                let _ = leave_later.send(());
            })
        });
        if let Err(error) = started {
            // Out of descriptors or threads, for one: others have to go first.
            complain(lang, error);
            let _ = leave.send(());
            thread::sleep(Duration::from_millis(100));
        }
    }
    ExitCode::SUCCESS
}

fn connection(args: &Args, client: &TcpStream) -> io::Result<()> {
    let server = reach::first_that_answers(args.target.to_socket_addrs()?, CONNECT_TIMEOUT)?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
        // Whoever writes looks now and then whether the connection was reset.
        stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    }
    let end = Arc::new(End::default());
    let ways = [
        Way { from: client, to: &server, args, sender: Role::Client, end: &end },
        Way { from: &server, to: client, args, sender: Role::Server, end: &end },
    ];
    thread::scope(|scope| {
        for way in ways {
            let (queue, held) = sync_channel(MAX_HELD);
            let start = || thread::Builder::new().stack_size(STACK);
            let started = start()
                .spawn_scoped(scope, move || way.read(&queue))
                .and_then(|_| start().spawn_scoped(scope, move || way.write(&held)));
            if let Err(error) = started {
                way.reset();
                return Err(error);
            }
        }
        Ok(())
    })
}

/// Bytes, and when they are due; none at the end of the stream.
type Held = (Instant, Vec<u8>);

/// One direction of a connection.
#[derive(Clone, Copy)]
struct Way<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    args: &'a Args,
    sender: Role,
    /// Shared by both directions.
    end: &'a End,
}

impl Way<'_> {
    fn is_spoiled(&self) -> bool {
        match self.args.from {
            From::Both => true,
            From::Client => self.sender == Role::Client,
            From::Server => self.sender == Role::Server,
        }
    }

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
            let mut due = Instant::now();
            if self.is_spoiled() {
                due += Duration::from_millis(self.args.latency + noise.upto(self.args.jitter));
            }
            // Jitter never puts bytes before others.
            last = due.max(last);
            if queue.send((last, buffer[..count].to_vec())).is_err() || count == 0 {
                return;
            }
        }
    }

    /// Writes what is due, spoiled as it was asked for.
    fn write(&self, held: &Receiver<Held>) {
        let mut spoiler =
            Spoiler::new(self.is_spoiled().then_some(self.args), self.sender, self.end);
        for (due, bytes) in held {
            if self.end.comes_before(due) {
                return;
            }
            if bytes.is_empty() {
                break;
            }
            match spoiler.pass(&bytes, self.to) {
                Ok(Progress::Continue) => {}
                Ok(Progress::End) => break,
                Ok(Progress::Reset) | Err(_) => return self.reset(),
            }
        }
        let late = Duration::from_millis(if self.is_spoiled() { self.args.slow_close } else { 0 });
        if self.end.comes_before(Instant::now() + late) {
            return;
        }
        let _ = self.to.shutdown(Shutdown::Write);
        // Whatever else comes this way goes nowhere.
        let _ = self.from.shutdown(Shutdown::Read);
    }

    /// Ends both connections with a reset: they are closed with nothing said before, once no thread uses them.
    fn reset(&self) {
        self.end.come();
        for stream in [self.from, self.to] {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            // Wakes the reader and sends nothing.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }
}

/// Whether a connection was reset, which ends every waiting of its threads.
#[derive(Default)]
struct End {
    has_come: Mutex<bool>,
    bell: Condvar,
}

impl End {
    fn come(&self) {
        *self.has_come.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }

    /// Waits until then, or until the end; tells whether it was the end.
    fn comes_before(&self, then: Instant) -> bool {
        let has_come = self.has_come.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = then.saturating_duration_since(Instant::now());
        let waited = self.bell.wait_timeout_while(has_come, wait, |has_come| !*has_come);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Numbers that are evenly spread, which is all that jitter asks for (xorshift).
struct Noise(u64);

impl Noise {
    fn upto(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % (most + 1)
    }
}
