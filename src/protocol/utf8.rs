//! RFC 6455 §8.1, §5.6: text is UTF-8, and a code point may straddle frames and reads.
//!
//! ```text
//! "κόσμε" cut inside a code point:   ce ba e1 | bd b9 cf 83 ...
//!                                    whole ↑ ↑ pending: a lead byte that waits for two more
//! ```
//!
//! [`TextBuffer`] takes pieces. Each byte is validated once; the at most three bytes of an unfinished code
//! point wait in `pending`. A byte that can begin or continue nothing is an error at once, long before
//! the message ends.

use std::str;

/// The bytes are not UTF-8, and no byte that could still come would mend them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

/// Checks a whole text; the fast path for a message that arrived in one piece.
///
/// # Errors
///
/// The bytes are not UTF-8.
#[inline]
pub fn validate(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    #[cfg(feature = "simdutf8")]
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8);
    #[cfg(not(feature = "simdutf8"))]
    let text = str::from_utf8(bytes).map_err(|_| InvalidUtf8);
    text
}

/// A text that arrives in pieces: what is valid so far, and at most three bytes that wait.
#[derive(Debug, Default)]
pub struct TextBuffer {
    whole: String,
    pending: [u8; 3],
    waiting: u8,
}

impl TextBuffer {
    /// Bytes taken so far, the waiting ones included.
    pub fn len(&self) -> usize {
        self.whole.len() + usize::from(self.waiting)
    }

    /// Nothing was taken yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next piece.
    ///
    /// # Errors
    ///
    /// Some byte of the piece cannot be part of UTF-8 at its place.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        while self.waiting > 0 {
            let Some((&next, rest)) = piece.split_first() else { return Ok(()) };
            self.complete_with(next)?;
            piece = rest;
        }
        let (body, tail) = piece.split_at(piece.len() - unfinished_tail(piece));
        self.whole.push_str(validate(body)?);
        if !may_begin_code_point(tail) {
            return Err(InvalidUtf8);
        }
        self.pending[..tail.len()].copy_from_slice(tail);
        self.waiting = tail.len() as u8;
        Ok(())
    }

    /// Ends the text and hands it over.
    ///
    /// # Errors
    ///
    /// The text ends inside a code point.
    pub fn finish(self) -> Result<String, InvalidUtf8> {
        if self.waiting == 0 { Ok(self.whole) } else { Err(InvalidUtf8) }
    }

    /// Adds one byte to the code point that waits.
    fn complete_with(&mut self, next: u8) -> Result<(), InvalidUtf8> {
        let waiting = usize::from(self.waiting);
        let mut point = [0; 4];
        point[..waiting].copy_from_slice(&self.pending[..waiting]);
        point[waiting] = next;
        let point = &point[..=waiting];
        if let Ok(text) = str::from_utf8(point) {
            self.whole.push_str(text);
            self.waiting = 0;
        } else if may_begin_code_point(point) {
            self.pending[waiting] = next;
            self.waiting += 1;
        } else {
            return Err(InvalidUtf8);
        }
        Ok(())
    }
}

/// How many bytes at the end belong to a code point that is not complete, going by its lead byte.
fn unfinished_tail(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let needed = match bytes[bytes.len() - back] {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            _ => 1,
        };
        return if needed > back { back } else { 0 };
    }
    0
}

/// Whether some further bytes would make this one code point.
fn may_begin_code_point(bytes: &[u8]) -> bool {
    match str::from_utf8(bytes) {
        Ok(text) => text.is_empty(),
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_two(bytes: &[u8], cut: usize) -> Result<String, InvalidUtf8> {
        let mut text = TextBuffer::default();
        text.push(&bytes[..cut])?;
        text.push(&bytes[cut..])?;
        assert_eq!(text.len(), bytes.len());
        text.finish()
    }

    /// RFC 6455 §8.1-1: same verdict as the standard library at every cut.
    #[test]
    fn agrees_with_the_standard_library_at_every_cut() {
        let samples: [&[u8]; 12] = [
            "κόσμε😀".as_bytes(),
            b"plain",
            b"",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\x80",
            b"\xfe",
            b"ok\xf0\x9f\x98",
            b"\xe1\xbd\xb9\xc3",
            b"\xf0\x80\x80\x80",
            b"a\xe2\x28\xa1",
        ];
        for sample in samples {
            let expected = str::from_utf8(sample).map(str::to_owned).map_err(|_| InvalidUtf8);
            for cut in 0..=sample.len() {
                assert_eq!(in_two(sample, cut), expected, "{sample:x?} cut at {cut}");
            }
        }
    }

    /// Every sequence of up to three bytes, one byte at a time: an error comes exactly when the bytes so
    /// far cannot be continued, never later.
    #[test]
    fn fails_at_the_first_hopeless_byte() {
        fn hopeless(bytes: &[u8]) -> bool {
            matches!(str::from_utf8(bytes), Err(error) if error.error_len().is_some())
        }
        let interesting =
            [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf];
        let leads = [0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff];
        let bytes: Vec<u8> = interesting.into_iter().chain(leads).collect();
        for &a in &bytes {
            for &b in &bytes {
                for &c in &bytes {
                    for &d in &bytes {
                        let sequence = [a, b, c, d];
                        let mut text = TextBuffer::default();
                        let failed = sequence.iter().position(|&byte| text.push(&[byte]).is_err());
                        let expected = (1..=4).find(|&n| hopeless(&sequence[..n])).map(|n| n - 1);
                        assert_eq!(failed, expected, "{sequence:x?}");
                    }
                }
            }
        }
    }
}
