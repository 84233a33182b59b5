//! RFC 9112 §2: finds the end of a request or response head as the bytes arrive.
//!
//! ```text
//!  CR LF                           empty lines before a request, at most four, which a server skips
//!  GET /chat HTTP/1.1 CR LF        start line, with a limit of its own
//!  Host: localhost CR LF           header fields, which are counted
//!  CR LF                           the empty line: the head is complete
//!  81 85 37 fa ...                 the first frame: stays in `unread`
//! ```
//!
//! Rules of this file: each byte is examined once, when it arrives, no matter how many pieces the head arrives in. The
//! byte that crosses a limit is refused when it arrives, before it is stored. So is a byte that no head may contain.

use std::borrow::Cow;
use std::mem;

use crate::config::Config;
use crate::protocol::refusal::{Found, Refusal, Rule};

/// The maximum number of empty lines before a head. Old clients send one after the body of an earlier request (RFC 9112
/// §2.2).
const MAX_EMPTY_LINES: usize = 4;

/// Reads a head. A head that arrives in one piece is borrowed; only an incomplete head is stored.
#[derive(Debug, Default)]
pub struct HeadReader {
    stored: Vec<u8>,
    /// Bytes examined so far, over all pieces.
    examined: usize,
    /// Bytes of the current line so far, including its CR.
    line: usize,
    /// Complete lines so far, including the start line.
    lines: usize,
    last_was_cr: bool,
    /// Empty lines before the start line.
    empty_lines: usize,
}

impl HeadReader {
    /// Takes bytes from `unread` up to the end of the head and returns the head, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// The head exceeds a limit of `config`, or has a byte that no head may contain.
    pub fn read<'b>(
        &mut self,
        unread: &mut &'b mut [u8],
        config: &Config,
    ) -> Result<Option<Cow<'b, [u8]>>, Refusal> {
        let Some(length) = self.find_end(unread, config)? else {
            self.store(&*mem::take(unread))?;
            return Ok(None);
        };
        let (head, rest) = mem::take(unread).split_at_mut(length);
        *unread = rest;
        if self.stored.is_empty() {
            return Ok(Some(Cow::Borrowed(head)));
        }
        self.store(head)?;
        Ok(Some(Cow::Owned(mem::take(&mut self.stored))))
    }

    /// Examines the next bytes and stores nothing. Returns how many of them belong to the head, or `None` if more bytes are
    /// needed.
    ///
    /// # Errors
    ///
    /// As for [`read`](HeadReader::read). The last byte in [`examined`](HeadReader::examined) is the one that is refused.
    #[inline]
    pub(crate) fn find_end(
        &mut self,
        bytes: &[u8],
        config: &Config,
    ) -> Result<Option<usize>, Refusal> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.examine(byte, config)? {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
    }

    fn store(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let no_memory = |_| Refusal::measured(Rule::Internal, Found::Nothing);
        self.stored.try_reserve(piece.len()).map_err(no_memory)?;
        self.stored.extend_from_slice(piece);
        Ok(())
    }

    /// Returns how many bytes of capacity are held for an incomplete head.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.stored.capacity()
    }

    /// Returns how many bytes were examined so far: each byte of the head once.
    pub fn examined(&self) -> usize {
        self.examined
    }

    /// Examines the next byte. Returns whether it ends the head.
    #[inline]
    fn examine(&mut self, byte: u8, config: &Config) -> Result<bool, Refusal> {
        self.examined += 1;
        if self.lines == 0
            && self.line >= config.limits.max_request_line
            && byte != b'\r'
            && byte != b'\n'
        {
            let found =
                Found::Length { bytes: self.line + 1, limit: config.limits.max_request_line };
            return Err(Refusal::measured(Rule::RequestLineTooLong, found));
        }
        if self.examined > config.limits.max_head {
            let found = Found::Length { bytes: self.examined, limit: config.limits.max_head };
            return Err(Refusal::measured(Rule::HeadTooLarge, found));
        }
        let after_cr = mem::replace(&mut self.last_was_cr, byte == b'\r');
        match byte {
            b'\n' if after_cr => return self.end_line(config),
            b'\n' => return Err(Refusal::of(Rule::BareLf, b"\n")),
            _ if after_cr => return Err(Refusal::of(Rule::BareCr, &[b'\r', byte])),
            b' ' | b'\t' if self.line == 0 && self.lines > 0 => {
                return Err(Refusal::of(Rule::ObsFold, &[byte]));
            }
            b'\r' | b'\t' | b' '..=b'~' | 0x80.. => self.line += 1,
            // The first byte of a TLS handshake record.
            0x16 if self.examined == 1 => return Err(Refusal::of(Rule::Tls, &[byte])),
            _ => return Err(Refusal::of(Rule::ControlByte, &[byte])),
        }
        Ok(false)
    }

    /// Counts a line that is complete. Returns whether it is the empty line, which ends the head.
    fn end_line(&mut self, config: &Config) -> Result<bool, Refusal> {
        let empty = mem::take(&mut self.line) == 1;
        if empty && self.lines == 0 && self.empty_lines < MAX_EMPTY_LINES {
            self.empty_lines += 1;
            return Ok(false);
        }
        if empty {
            return Ok(true);
        }
        self.lines += 1;
        if self.lines > config.limits.max_headers + 1 {
            let found = Found::Headers(config.limits.max_headers);
            return Err(Refusal::measured(Rule::TooManyHeaders, found));
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn borrows_a_complete_head_and_leaves_the_rest() {
        let mut bytes = [HEAD, b"\x81\x85"].concat();
        let mut unread = bytes.as_mut_slice();
        let head = HeadReader::default().read(&mut unread, &Config::default());
        assert!(matches!(head, Ok(Some(Cow::Borrowed(HEAD)))));
        assert_eq!(unread, b"\x81\x85");
    }

    #[test]
    fn stores_a_head_that_arrives_in_pieces() {
        for cut in 0..HEAD.len() {
            let mut reader = HeadReader::default();
            let (mut first, mut second) = (HEAD[..cut].to_vec(), HEAD[cut..].to_vec());
            assert_eq!(reader.read(&mut first.as_mut_slice(), &Config::default()), Ok(None));
            let head = reader.read(&mut second.as_mut_slice(), &Config::default());
            assert_eq!(head, Ok(Some(Cow::Borrowed(HEAD))), "cut at {cut}");
        }
    }

    /// CVE-2023-43669: a head that arrives in small pieces is not examined again from its start with each piece.
    #[test]
    fn cve_2023_43669_each_byte_is_examined_once() {
        let cost = |length: usize| {
            let config = Config::default().limits(|limits| limits.max_head = 1 << 20);
            let mut reader = HeadReader::default();
            let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
            head.resize(length, b'a');
            for piece in head.chunks_mut(16) {
                assert_eq!(reader.read(&mut &mut *piece, &config), Ok(None));
            }
            reader.examined()
        };
        assert_eq!(cost(100_000), 100_000);
        assert_eq!(cost(200_000), 2 * cost(100_000));
    }

    /// A head never uses more memory than its limit.
    #[test]
    fn the_byte_that_crosses_the_limit_is_refused() {
        let mut reader = HeadReader::default();
        let mut flood = b"GET / HTTP/1.1\r\nA: ".to_vec();
        flood.resize(8 << 20, b'a');
        let refusal = flood.chunks_mut(1024).find_map(|piece| {
            let mut unread = piece;
            reader.read(&mut unread, &Config::default()).err()
        });
        assert_eq!(refusal.map(|refusal| refusal.rule), Some(Rule::HeadTooLarge));
        assert_eq!(reader.examined(), 32 * 1024 + 1);
        assert!(reader.stored.capacity() <= 64 * 1024);
    }
}
