//! The faults that the relay injects into one direction of a connection: bytes are sliced, slowed, flipped or dropped, and
//! the stream is ended or reset.
//!
//! Rules of this file:
//!
//! - A position counts the bytes that were passed on, from 0.
//! - Nothing is written after the byte at which a stream ends.
//! - Each fault is reported when it is injected.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::time::{Duration, Instant};

use framewise::protocol::frame::{Header, Opcode, Role, Rsv};

use crate::relay::log::Reporter;
use crate::relay::{Args, Reset};
use crate::texts;

/// What happens after [`Injector::pass`].
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The stream goes on.
    Continue,
    /// The stream ends here.
    End,
    /// Both connections are reset.
    Reset,
}

/// Injects the faults into one direction of one connection.
pub struct Injector<'a> {
    /// The faults. `None` passes the bytes as they are.
    args: Option<&'a Args>,
    reporter: Reporter<'a>,
    /// How many bytes have passed.
    passed: u64,
    /// When the next segment may be sent.
    free_at: Instant,
    pongs: PongFilter,
    reset: &'a Reset,
}

impl<'a> Injector<'a> {
    /// Returns an injector for a new stream.
    pub fn new(args: Option<&'a Args>, reporter: Reporter<'a>, reset: &'a Reset) -> Injector<'a> {
        let pongs = PongFilter::new(reporter.sender);
        Injector { args, reporter, passed: 0, free_at: Instant::now(), pongs, reset }
    }

    /// Passes these bytes on.
    ///
    /// # Errors
    ///
    /// The receiver takes no more bytes, or the connection was reset in the meantime.
    pub fn pass(&mut self, bytes: &[u8], to: impl Write) -> io::Result<Progress> {
        let Some(args) = self.args else {
            Patient { to, reset: self.reset }.write_all(bytes)?;
            return Ok(Progress::Continue);
        };
        let bytes = if args.drop_pong { self.without_pongs(bytes) } else { bytes.to_vec() };
        self.send(bytes, args, to)
    }

    /// Passes on what was held back. The stream ends here.
    ///
    /// # Errors
    ///
    /// As for [`pass`](Injector::pass).
    pub fn finish(&mut self, to: impl Write) -> io::Result<Progress> {
        match (self.args, self.pongs.held_back()) {
            (Some(args), bytes) if !bytes.is_empty() => self.send(bytes, args, to),
            _ => Ok(Progress::End),
        }
    }

    fn send(&mut self, mut bytes: Vec<u8>, args: &Args, to: impl Write) -> io::Result<Progress> {
        let mut to = Patient { to, reset: self.reset };
        let limit = args.limit_data.into_iter().chain(args.reset_after).min();
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.passed));
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));

        // At most a tenth of a second's bytes in a segment, so that a slow stream flows instead of coming in bursts.
        let paced = args.rate.map(|rate| (rate / 10).max(1));
        let longest = args.slice.into_iter().chain(paced).min().unwrap_or(u64::MAX);
        let longest = usize::try_from(longest).unwrap_or(usize::MAX);
        let count = bytes.len();
        if args.slice.is_some_and(|slice| slice < count as u64) {
            let segments = count.div_ceil(longest);
            self.reporter.report(texts::RELAY_SLICED, &[&count, &segments, &args.pause]);
        }
        if let Some(rate) = args.rate.filter(|_| count > 0) {
            self.reporter.report(texts::RELAY_SLOWED, &[&count, &rate]);
        }
        for segment in bytes.chunks_mut(longest) {
            self.flip(segment, args);
            let takes = args.rate.map(|rate| segment.len() as f64 / rate as f64);
            let takes = takes.map_or(Duration::ZERO, Duration::from_secs_f64);
            let due = self.free_at.max(Instant::now()) + takes;
            if self.reset.happens_before(due) {
                return Ok(Progress::Reset);
            }
            to.write_all(segment)?;
            self.passed += segment.len() as u64;
            self.free_at = match args.slice {
                Some(_) => Instant::now() + Duration::from_millis(args.pause),
                None => due,
            };
        }
        if args.reset_after.is_some_and(|limit| self.passed >= limit) {
            self.reporter.report(texts::RELAY_RESET, &[&self.passed]);
            return Ok(Progress::Reset);
        }
        if args.limit_data.is_some_and(|limit| self.passed >= limit) {
            self.reporter.report(texts::RELAY_ENDED, &[&self.passed]);
            return Ok(Progress::End);
        }
        Ok(Progress::Continue)
    }

    /// Flips the bit of `--flip-bit` if it is in the next segment.
    fn flip(&self, segment: &mut [u8], args: &Args) {
        if let Some(at) = args.flip_bit
            && let Some(offset) = at.checked_sub(self.passed)
            && let Some(byte) = usize::try_from(offset).ok().and_then(|at| segment.get_mut(at))
        {
            let before = *byte;
            *byte ^= 1;
            let (before, after) = (format!("{before:02x}"), format!("{byte:02x}"));
            self.reporter.report(texts::RELAY_FLIPPED, &[&at, &before, &after]);
        }
    }

    fn without_pongs(&mut self, bytes: &[u8]) -> Vec<u8> {
        let was_lost = self.pongs.lost;
        let kept = self.pongs.keep(bytes);
        for length in self.pongs.dropped.drain(..) {
            self.reporter.report(texts::RELAY_PONG, &[&length]);
        }
        if self.pongs.lost && !was_lost {
            self.reporter.report(texts::RELAY_NO_FRAME, &[]);
        }
        kept
    }
}

/// A writer that waits for a slow receiver as long as it takes, but not beyond a reset.
struct Patient<'a, W> {
    to: W,
    reset: &'a Reset,
}

impl<W: Write> Write for Patient<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.to.write(bytes) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.reset.happens_before(Instant::now()) {
                        return Err(ErrorKind::ConnectionReset.into());
                    }
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Drops the pongs from a stream of HTTP heads and frames.
struct PongFilter {
    sender: Role,
    state: Reading,
    /// After bytes that are not a frame, pongs cannot be recognised, and everything is kept.
    lost: bool,
    /// The payload lengths of the pongs that were dropped and not yet reported.
    dropped: Vec<u64>,
}

/// What a [`PongFilter`] reads.
enum Reading {
    /// A head, with its last four bytes.
    Head(u32),
    /// A frame header, with its bytes so far.
    Header(Vec<u8>),
    /// A payload, with the bytes that are left of it.
    Payload { left: u64, keeps: bool },
}

impl PongFilter {
    fn new(sender: Role) -> PongFilter {
        PongFilter { sender, state: Reading::Head(0), lost: false, dropped: Vec::new() }
    }

    /// Returns the bytes of an incomplete frame header, which [`keep`](PongFilter::keep) held back.
    fn held_back(&mut self) -> Vec<u8> {
        match &mut self.state {
            Reading::Header(header) => mem::take(header),
            _ => Vec::new(),
        }
    }

    /// Returns the bytes without the pongs. Holds an incomplete frame header back.
    fn keep(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len());
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.lost {
                kept.extend_from_slice(bytes);
                break;
            }
            match &mut self.state {
                Reading::Head(last) => {
                    kept.push(byte);
                    bytes = rest;
                    *last = *last << 8 | u32::from(byte);
                    if *last == u32::from_be_bytes(*b"\r\n\r\n") {
                        self.state = Reading::Header(Vec::new());
                    }
                }
                // The head of the next request, of a response after an interim one, or after an empty line. RSV1 begins
                // a compressed message, with the opcode of text or binary, and no frame begins with these bytes.
                Reading::Header(header)
                    if header.is_empty() && matches!(byte, b'C'..=b'Z' | b'\r' | b'\n') =>
                {
                    self.state = Reading::Head(0);
                }
                Reading::Header(header) => {
                    header.push(byte);
                    bytes = rest;
                    // An extension may compress messages, which shows in RSV1 only.
                    match Header::decode(header, self.sender, Rsv::RSV1) {
                        Ok(None) => continue,
                        Ok(Some((decoded, _))) => {
                            let keeps = decoded.opcode != Opcode::Pong;
                            if keeps {
                                kept.append(header);
                            } else {
                                self.dropped.push(decoded.length);
                            }
                            self.state = Reading::Payload { left: decoded.length, keeps };
                        }
                        Err(_) => {
                            kept.append(&mut mem::take(header));
                            self.lost = true;
                        }
                    }
                }
                Reading::Payload { left: 0, .. } => self.state = Reading::Header(Vec::new()),
                Reading::Payload { left, keeps } => {
                    let here = (bytes.len() as u64).min(*left) as usize;
                    if *keeps {
                        kept.extend_from_slice(&bytes[..here]);
                    }
                    *left -= here as u64;
                    bytes = &bytes[here..];
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use clap::Parser;
    use framewise::lang::Lang;

    use super::*;
    use crate::relay::log::Log;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// Records each write and when it was made.
    #[derive(Default)]
    struct Writes(Vec<(Instant, Vec<u8>)>);

    impl Write for &mut Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push((Instant::now(), bytes.to_vec()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What an [`Injector`] does to bytes.
    struct Injected {
        writes: Vec<Vec<u8>>,
        /// The shortest time between two writes.
        shortest_pause: Duration,
        took: Duration,
        progress: Progress,
        lines: Vec<String>,
    }

    /// Passes reads of a client with these options.
    fn inject_reads(options: &str, reads: &[&[u8]]) -> Injected {
        let words = ["relay", "a:1", "b:2"].into_iter().chain(options.split_whitespace());
        let args = Line::parse_from(words).args;
        let (mut writes, reset, began) = (Writes::default(), Reset::default(), Instant::now());
        let (log, waiting) = Log::new();
        let client = SocketAddr::from(([192, 0, 2, 1], 5000));
        let reporter = Reporter { log: &log, lang: Lang::En, client, sender: Role::Client };
        let mut injector = Injector::new(Some(&args), reporter, &reset);
        let mut progress = Progress::Continue;
        for read in reads {
            assert_eq!(progress, Progress::Continue);
            progress = injector.pass(read, &mut writes).expect("the writer takes everything");
        }
        if progress == Progress::Continue {
            progress = injector.finish(&mut writes).expect("the writer takes everything");
        }
        let pauses = writes.0.windows(2).map(|pair| pair[1].0 - pair[0].0);
        Injected {
            shortest_pause: pauses.min().unwrap_or(Duration::MAX),
            writes: writes.0.into_iter().map(|(_, bytes)| bytes).collect(),
            took: began.elapsed(),
            progress,
            lines: waiting.try_iter().collect(),
        }
    }

    fn inject(options: &str, bytes: &[u8]) -> Injected {
        inject_reads(options, &[bytes])
    }

    #[test]
    fn slices_have_the_length_that_was_asked_for() {
        assert_eq!(inject("", b"abcdef").writes, [b"abcdef"]);
        assert_eq!(inject("--slice 1", b"abc").writes, [b"a", b"b", b"c"]);
        assert_eq!(inject("--slice 4", b"abcdef").writes, [&b"abcd"[..], b"ef"]);
    }

    /// Also between the last segment of a read and the first one of the next read.
    #[test]
    fn there_is_a_pause_between_all_slices() {
        for (options, pause) in [("--slice 1", 1), ("--slice 1 --pause 20", 20)] {
            let injected = inject_reads(options, &[b"abc", b"de", b"f"]);
            assert_eq!(injected.writes.len(), 6);
            assert!(injected.shortest_pause >= Duration::from_millis(pause), "{options}");
        }
        // Without slices there is none, and it can be switched off.
        for options in ["", "--slice 1 --pause 0"] {
            let injected = inject_reads(options, &[&b"a"[..]; 1000]);
            assert!(injected.shortest_pause < Duration::from_millis(1), "{options}");
        }
    }

    #[test]
    fn a_rate_slows_the_stream_in_small_segments() {
        let injected = inject("--rate 1000", &[7; 300]);
        assert_eq!(injected.writes, [vec![7; 100], vec![7; 100], vec![7; 100]]);
        assert!(injected.took >= Duration::from_millis(300), "{:?}", injected.took);
    }

    #[test]
    fn nothing_is_written_after_the_end() {
        for (options, progress) in [
            ("--limit-data 4", Progress::End),
            ("--reset-after 4", Progress::Reset),
            ("--limit-data 4 --slice 3", Progress::End),
            ("--limit-data 9 --reset-after 4", Progress::Reset),
        ] {
            let injected = inject(options, b"abcdef");
            assert_eq!(injected.writes.concat(), b"abcd", "{options}");
            assert_eq!(injected.progress, progress, "{options}");
        }
        assert_eq!(inject("--flip-bit 2", b"aaaa").writes, [b"aa`a"]);
    }

    /// One line for each fault, with the numbers of what was really done.
    #[test]
    fn each_fault_is_reported_with_client_and_direction() {
        let frames = b"GET / HTTP/1.1\r\n\r\n\x8a\x82\0\0\0\0hi\x8a\x80\0\0\0\0";
        let (all, cut) = (b"abcdef", b"ab");
        for (options, bytes, faults) in [
            ("", &all[..], &[][..]),
            ("--slice 6", all, &[]),
            ("--slice 4", all, &["6 bytes sliced into 2 segments, 1 ms apart"]),
            ("--slice 1 --pause 0", cut, &["2 bytes sliced into 2 segments, 0 ms apart"]),
            ("--rate 1000000", all, &["6 bytes slowed to 1000000 bytes per second"]),
            ("--flip-bit 1", all, &["lowest bit of byte 1 flipped: 62 became 63"]),
            ("--flip-bit 6", all, &[]),
            ("--limit-data 7", all, &[]),
            ("--limit-data 4", all, &["stream ended after 4 bytes, the rest is discarded"]),
            ("--limit-data 0", all, &["stream ended after 0 bytes, the rest is discarded"]),
            ("--reset-after 6", all, &["both connections reset after 6 bytes"]),
            // Only the bytes that are sent are sliced.
            (
                "--slice 1 --reset-after 2",
                all,
                &[
                    "2 bytes sliced into 2 segments, 1 ms apart",
                    "both connections reset after 2 bytes",
                ],
            ),
            (
                "--drop-pong",
                frames,
                &["pong with 2 bytes of payload dropped", "pong with 0 bytes of payload dropped"],
            ),
            (
                "--drop-pong",
                b"GET / HTTP/1.1\r\n\r\n\xff\x8a\x80\0\0\0\0",
                &["these bytes are not a frame: from here on pongs are not recognised and pass"],
            ),
        ] {
            let expected: Vec<String> =
                faults.iter().map(|fault| format!("192.0.2.1:5000 -> server: {fault}")).collect();
            assert_eq!(inject(options, bytes).lines, expected, "{options}");
        }
    }

    #[test]
    fn drops_pongs_and_nothing_else_however_the_bytes_are_split() {
        let head = b"HTTP/1.1 101 x\r\n\r\n";
        let frames = b"\x81\x01a\x8a\x02hi\x8a\x00\x89\x01x\x82\x00\x8a\x01z\x81\x01b";
        let without = b"\x81\x01a\x89\x01x\x82\x00\x81\x01b";
        // An empty line, an interim response, a kept-alive connection, compressed fragments (RSV1).
        for before in [
            &b""[..],
            b"\r\n\r\n",
            b"HTTP/1.1 103 x\r\nA: b\r\n\r\n",
            b"HTTP/1.1 204 x\r\n\r\nHTTP/1.1 304 x\r\n\r\n",
        ] {
            for compressed in [&b""[..], b"\xc1\x01a\x41\x01a\x80\x01a"] {
                let wanted = [before, head, compressed, without].concat();
                let stream = [before, head, compressed, frames].concat();
                for cut in 0..=stream.len() {
                    let mut filter = PongFilter::new(Role::Server);
                    let kept = [filter.keep(&stream[..cut]), filter.keep(&stream[cut..])].concat();
                    assert_eq!(kept, wanted, "cut at {cut}");
                    assert_eq!((filter.dropped, filter.lost), (vec![2, 0, 1], false));
                }
            }
        }
    }

    /// The filter waits for the rest of a header. If the stream ends before it, the receiver still gets these bytes.
    #[test]
    fn an_incomplete_header_is_passed_on_at_the_end() {
        for end in [&b"\x8a"[..], b"\x81\xfe\x01", b"\x81\x82\0\0\0\0h"] {
            let stream = [b"GET / HTTP/1.1\r\n\r\n", end].concat();
            let injected = inject("--drop-pong", &stream);
            assert_eq!(injected.writes.concat(), stream);
            assert_eq!(injected.lines, Vec::<String>::new());
        }
    }

    #[test]
    fn keeps_everything_after_a_broken_frame() {
        let mut filter = PongFilter::new(Role::Server);
        let stream = b"\r\n\r\n\xff\xff\x8a\x00abc";
        assert_eq!(filter.keep(stream), stream);
        assert!(filter.lost);
    }
}
