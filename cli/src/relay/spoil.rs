//! What becomes of the bytes of one direction: cut, slowed, turned around, left out, ended.
//!
//! Rules of this file: a position counts the bytes that were passed on, from 0; nothing is written behind the byte at
//! which a stream ends.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use framewise::protocol::frame::{Header, MAX_HEADER, Opcode, Role, Rsv};

use crate::relay::{Args, End};

/// How one direction of the relay goes on after some bytes.
pub enum Progress {
    /// More may come.
    Continue,
    /// The stream ends here.
    End,
    /// The connection is reset here.
    Reset,
}

/// One direction of one connection.
pub struct Spoiler<'a> {
    /// What to do; nothing passes the bytes as they are.
    args: Option<&'a Args>,
    /// Bytes that have passed.
    passed: u64,
    /// When the next segment may go.
    free_at: Instant,
    pongs: PongFilter,
    end: &'a End,
}

impl<'a> Spoiler<'a> {
    /// The beginning of the stream of this side.
    pub fn new(args: Option<&'a Args>, sender: Role, end: &'a End) -> Spoiler<'a> {
        let pongs = PongFilter::new(sender);
        Spoiler { args, passed: 0, free_at: Instant::now(), pongs, end }
    }

    /// Passes these bytes on.
    ///
    /// # Errors
    ///
    /// The other side takes no more, or the connection was reset meanwhile.
    pub fn pass(&mut self, bytes: &[u8], to: impl Write) -> io::Result<Progress> {
        let mut to = Patient { to, end: self.end };
        let Some(args) = self.args else {
            to.write_all(bytes)?;
            return Ok(Progress::Continue);
        };
        let kept = if args.drop_pong { self.pongs.keep(bytes) } else { bytes.to_vec() };
        // A tenth of a second's bytes at once, so that a slow rate is a stream and not a row of bursts.
        let paced = args.rate.map(|rate| (rate / 10).max(1));
        let longest = args.slice.into_iter().chain(paced).min().unwrap_or(u64::MAX);
        for segment in kept.chunks(longest.min(kept.len() as u64).max(1) as usize) {
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
            if let Some(rate) = args.rate {
                let takes = Duration::from_secs_f64(segment.len() as f64 / rate as f64);
                self.free_at = self.free_at.max(Instant::now()) + takes;
                if self.end.comes_before(self.free_at) {
                    return Ok(Progress::Reset);
                }
            }
            to.write_all(&segment)?;
            self.passed += segment.len() as u64;
            if args.reset_after.is_some_and(|limit| self.passed >= limit) {
                return Ok(Progress::Reset);
            }
            if args.limit_data.is_some_and(|limit| self.passed >= limit) {
                return Ok(Progress::End);
            }
        }
        Ok(Progress::Continue)
    }
}

/// Writes to somebody who may take nothing for long, until the connection is reset.
struct Patient<'a, W> {
    to: W,
    end: &'a End,
}

impl<W: Write> Write for Patient<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.to.write(bytes) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.end.comes_before(Instant::now()) {
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
                match Header::decode(&self.header, self.sender, Rsv::NONE) {
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
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// Keeps each write by itself.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for &mut Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of these bytes with these options, and how long that takes.
    fn spoiled(options: &str, bytes: &[u8]) -> (Vec<Vec<u8>>, Duration) {
        let words = ["relay", "a:1", "b:2"].into_iter().chain(options.split_whitespace());
        let args = Line::parse_from(words).args;
        let (mut writes, end, began) = (Writes::default(), End::default(), Instant::now());
        let mut spoiler = Spoiler::new(Some(&args), Role::Client, &end);
        spoiler.pass(bytes, &mut writes).expect("it takes everything");
        (writes.0, began.elapsed())
    }

    #[test]
    fn slices_are_as_long_as_was_asked_for() {
        assert_eq!(spoiled("", b"abcdef").0, [b"abcdef"]);
        assert_eq!(spoiled("--slice 1", b"abc").0, [b"a", b"b", b"c"]);
        assert_eq!(spoiled("--slice 4", b"abcdef").0, [&b"abcd"[..], b"ef"]);
    }

    #[test]
    fn a_rate_takes_its_time_in_small_pieces() {
        let (writes, took) = spoiled("--rate 1000", &[7; 300]);
        assert_eq!(writes, [vec![7; 100], vec![7; 100], vec![7; 100]]);
        assert!(took >= Duration::from_millis(300), "{took:?}");
    }

    #[test]
    fn nothing_is_written_behind_the_end() {
        for options in ["--limit-data 4", "--reset-after 4", "--limit-data 4 --slice 3"] {
            assert_eq!(spoiled(options, b"abcdef").0.concat(), b"abcd", "{options}");
        }
        assert_eq!(spoiled("--flip-bit 2", b"aaaa").0, [b"aa`a"]);
    }

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
