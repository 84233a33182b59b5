//! `framewise relay`: stands between a client and a server and spoils the bytes on their way.
//!
//! ```text
//! client ──> LISTEN   relay   ──> TARGET
//!        <──  one thread for each direction  <──
//! ```
//!
//! Rules of this file: without an option bytes pass unchanged; every connection is spoiled by itself; so many
//! connections at once, and no more bytes are held than one read has.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use framewise::lang::Lang;
use framewise::protocol::frame::{Header, MAX_HEADER, Opcode, Role};

use crate::texts;

/// Connections at once.
const MAX_CONNECTIONS: usize = 256;

/// Bytes that one read takes.
const READ: usize = 16 * 1024;

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
    /// Those of the client.
    Client,
    /// Those of the server.
    Server,
    /// All.
    Both,
}

/// Relays until the process is stopped.
pub fn run(args: Args, lang: Lang) -> ExitCode {
    let target = match resolve(&args.target) {
        Ok(target) => target,
        Err(error) => return fail(&args.target, &error, lang),
    };
    let listener = match TcpListener::bind(args.listen.as_str()) {
        Ok(listener) => listener,
        Err(error) => return fail(&args.listen, &error, lang),
    };
    if let Ok(address) = listener.local_addr() {
        let _ = writeln!(io::stdout(), "{}", texts::RELAYING.with(lang, &[&address, &target]));
    }
    let (args, count) = (Arc::new(args), Arc::new(AtomicUsize::new(0)));
    for client in listener.incoming() {
        let Ok(client) = client else {
            // Out of descriptors, for one: others have to go first.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if count.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            count.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (args, count) = (Arc::clone(&args), Arc::clone(&count));
        thread::spawn(move || {
            if let Err(error) = connection(&args, &client, target) {
                eprintln!("{}", texts::ERROR.with(lang, &[&format!("{target}: {error}")]));
            }
            count.fetch_sub(1, Ordering::Relaxed);
        });
    }
    ExitCode::SUCCESS
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    address.to_socket_addrs()?.next().ok_or_else(|| ErrorKind::NotFound.into())
}

fn fail(address: &str, error: &io::Error, lang: Lang) -> ExitCode {
    eprintln!("{}", texts::ERROR.with(lang, &[&format!("{address}: {error}")]));
    ExitCode::FAILURE
}

fn connection(args: &Args, client: &TcpStream, target: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&target, Duration::from_secs(10))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| carry(client, &server, args, From::Client));
        carry(&server, client, args, From::Server);
    });
    Ok(())
}

/// Carries one direction to its end.
fn carry(from: &TcpStream, to: &TcpStream, args: &Args, direction: From) {
    let spoils = args.from == From::Both || args.from == direction;
    let mut spoiler = Spoiler::new(if spoils { Some(args) } else { None }, direction);
    let (mut from_stream, mut to_stream) = (from, to);
    let mut buffer = [0; READ];
    loop {
        let count = match from_stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return reset(from, to),
        };
        match spoiler.pass(&buffer[..count], &mut to_stream) {
            Ok(Verdict::Continue) => {}
            Ok(Verdict::End) => break,
            Ok(Verdict::Reset) | Err(_) => return reset(from, to),
        }
    }
    if spoils {
        thread::sleep(Duration::from_millis(args.slow_close));
    }
    let _ = to.shutdown(Shutdown::Write);
    // Whatever else comes this way goes nowhere.
    let _ = from.shutdown(Shutdown::Read);
}

/// Ends both connections at once, with a reset where the system allows it.
fn reset(from: &TcpStream, to: &TcpStream) {
    for stream in [from, to] {
        let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// What becomes of a direction after some bytes.
enum Verdict {
    Continue,
    End,
    Reset,
}

/// One direction of one connection.
struct Spoiler<'a> {
    args: Option<&'a Args>,
    /// Bytes that have passed.
    passed: u64,
    started: Instant,
    pongs: PongFilter,
    noise: u64,
}

impl<'a> Spoiler<'a> {
    fn new(args: Option<&'a Args>, direction: From) -> Spoiler<'a> {
        let sender = if direction == From::Client { Role::Client } else { Role::Server };
        let pongs = PongFilter::new(sender);
        Spoiler { args, passed: 0, started: Instant::now(), pongs, noise: 0x9e37_79b9_7f4a_7c15 }
    }

    fn pass(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<Verdict> {
        let Some(args) = self.args else {
            to.write_all(bytes)?;
            return Ok(Verdict::Continue);
        };
        let kept = if args.drop_pong { self.pongs.keep(bytes) } else { bytes.to_vec() };
        let slice = args.slice.map_or(kept.len(), |slice| slice.min(READ as u64) as usize);
        for segment in kept.chunks(slice.max(1)) {
            let left = [args.limit_data, args.reset_after]
                .into_iter()
                .flatten()
                .map(|limit| limit.saturating_sub(self.passed))
                .min();
            let length = left.map_or(segment.len(), |left| left.min(segment.len() as u64) as usize);
            let mut segment = segment[..length].to_vec();
            if let Some(at) = args.flip_bit.and_then(|at| at.checked_sub(self.passed))
                && let Some(byte) = segment.get_mut(at as usize)
            {
                *byte ^= 1;
            }
            self.wait(args, segment.len());
            to.write_all(&segment)?;
            self.passed += segment.len() as u64;
            if args.reset_after.is_some_and(|limit| self.passed >= limit) {
                return Ok(Verdict::Reset);
            }
            if args.limit_data.is_some_and(|limit| self.passed >= limit) {
                return Ok(Verdict::End);
            }
        }
        Ok(Verdict::Continue)
    }

    fn wait(&mut self, args: &Args, length: usize) {
        // xorshift: evenly spread is all that it has to be.
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        let jitter = self.noise % (args.jitter + 1);
        thread::sleep(Duration::from_millis(args.latency + jitter));
        if let Some(rate) = args.rate {
            let due = Duration::from_secs_f64((self.passed + length as u64) as f64 / rate as f64);
            thread::sleep(due.saturating_sub(self.started.elapsed()));
        }
    }
}

/// Leaves pongs out of a stream: an HTTP head, then frames.
struct PongFilter {
    sender: Role,
    /// The last bytes of the head; `None` once it is over.
    head: Option<u32>,
    /// The beginning of a header.
    header: Vec<u8>,
    /// What is left of the payload under way, and whether it is kept.
    left: u64,
    keeps: bool,
    /// A frame that breaks a rule: nothing is understood behind it, and everything is kept.
    lost: bool,
}

impl PongFilter {
    fn new(sender: Role) -> PongFilter {
        let header = Vec::with_capacity(MAX_HEADER);
        PongFilter { sender, head: Some(0), header, left: 0, keeps: true, lost: false }
    }

    fn keep(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len());
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Some(last) = &mut self.head {
                *last = *last << 8 | u32::from(byte);
                if *last == u32::from_be_bytes(*b"\r\n\r\n") {
                    self.head = None;
                }
                kept.push(byte);
                bytes = rest;
            } else if self.lost {
                kept.extend_from_slice(bytes);
                break;
            } else if self.left > 0 {
                let here = (bytes.len() as u64).min(self.left) as usize;
                if self.keeps {
                    kept.extend_from_slice(&bytes[..here]);
                }
                self.left -= here as u64;
                bytes = &bytes[here..];
            } else {
                self.header.push(byte);
                bytes = rest;
                match Header::decode(&self.header, self.sender) {
                    Ok(None) => continue,
                    Ok(Some((header, _))) => {
                        (self.left, self.keeps) = (header.length, header.opcode != Opcode::Pong);
                    }
                    Err(_) => (self.lost, self.keeps) = (true, true),
                }
                if self.keeps {
                    kept.append(&mut self.header);
                }
                self.header.clear();
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_pongs_and_nothing_else_however_the_bytes_are_cut() {
        let head = b"HTTP/1.1 101 x\r\n\r\n";
        let frames = b"\x81\x01a\x8a\x02hi\x8a\x00\x89\x01x\x82\x00\x8a\x01z\x81\x01b";
        let wanted = [&head[..], b"\x81\x01a\x89\x01x\x82\x00\x81\x01b"].concat();
        let stream = [&head[..], frames].concat();
        for cut in 0..=stream.len() {
            let mut filter = PongFilter::new(Role::Server);
            let kept = [filter.keep(&stream[..cut]), filter.keep(&stream[cut..])].concat();
            assert_eq!(kept, wanted, "cut at {cut}");
        }
    }

    #[test]
    fn keeps_everything_behind_a_broken_frame() {
        let mut filter = PongFilter::new(Role::Server);
        let stream = b"\r\n\r\n\xff\xff\x8a\x00abc";
        assert_eq!(filter.keep(stream), stream);
    }
}
