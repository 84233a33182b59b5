//! RFC 6455 §5.6, §8.1: text is UTF-8, and a code point may straddle frames and reads.
//!
//! ```text
//! "κόσμε" cut inside a code point:   ce ba e1 | bd b9 cf 83 ...
//!                                    whole ↑ ↑ pending: a lead byte that needs two more bytes
//! ```
//!
//! - [`Text`] holds the bytes of a text that passed the check.
//! - [`Utf8Check`] checks a text that arrives in pieces. It checks each byte once and stores at most the three bytes of
//!   an incomplete code point. It fails at the first byte after which the text cannot become valid, even if the message
//!   is still incomplete.
//! - [`is_utf8`] checks a whole text.
//!
//! # Why `Text` is not a `&str`
//!
//! A `&str` promises the compiler that its bytes are UTF-8. There are two ways to get one from bytes:
//! [`str::from_utf8`] checks them, and [`str::from_utf8_unchecked`] is `unsafe`, because it trusts the caller. This
//! crate forbids `unsafe`. Therefore our own check cannot produce a `&str`, even if [`mask::apply`](super::mask::apply)
//! has found only ASCII while unmasking. The standard library must check the bytes again. That takes about 100
//! instructions for 20 bytes of plain text, a large part of the work for such a message.
//!
//! A server that echoes, relays or broadcasts needs bytes, not a `&str`. Therefore `Text` keeps the bytes, and only
//! [`Text::as_str`] runs the second check. This also means that a bug in this file can never cause undefined behaviour.
//! The worst outcome is a panic in `as_str`.

use std::error::Error;
use std::fmt;
use std::str;

use crate::protocol::mask::LANES;

/// The error for a text that is not valid UTF-8, from [`Utf8Check`] or [`Text::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the text is not valid UTF-8")
    }
}

impl Error for InvalidUtf8 {}

/// A text: bytes that were checked as UTF-8. [`as_str`](Text::as_str) converts them to a `&str`.
///
/// The [module documentation](self) explains why this is not a `&str`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Checks `bytes` and returns them as a text.
    ///
    /// # Errors
    ///
    /// The bytes are not UTF-8.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Text<'a>, InvalidUtf8> {
        Text::after_unmasking(bytes, bytes.is_ascii())
    }

    /// Returns `bytes` as a text. Checks them unless `is_ascii` is true, which must be the result of
    /// [`mask::apply`](super::mask::apply) for these bytes.
    ///
    /// # Errors
    ///
    /// The bytes are not UTF-8.
    #[inline(always)]
    pub(crate) fn after_unmasking(
        bytes: &'a [u8],
        is_ascii: bool,
    ) -> Result<Text<'a>, InvalidUtf8> {
        debug_assert!(!is_ascii || bytes.is_ascii());
        // RFC 6455 §5.6-1, §8.1-1
        if is_ascii || is_utf8(bytes) { Ok(Text(bytes)) } else { Err(InvalidUtf8) }
    }

    /// Returns `bytes` as a text. The caller has already checked them.
    #[inline]
    pub(crate) fn from_checked(bytes: &'a [u8]) -> Text<'a> {
        debug_assert!(is_utf8(bytes));
        Text(bytes)
    }

    /// Returns the bytes, without a check.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the text as a `&str`. The standard library checks the bytes again, so keep the result if you need it
    /// more than once.
    pub fn as_str(self) -> &'a str {
        str::from_utf8(self.0).expect("a `Text` is checked before it is created")
    }

    /// Returns the length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Reports whether the text is empty.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<&'a str> for Text<'a> {
    #[inline]
    fn from(text: &'a str) -> Text<'a> {
        Text(text.as_bytes())
    }
}

impl<'a> From<&'a String> for Text<'a> {
    #[inline]
    fn from(text: &'a String) -> Text<'a> {
        Text(text.as_bytes())
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), out)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

impl PartialEq<str> for Text<'_> {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text<'_> {
    #[inline]
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// Checks a text that arrives in pieces, without storing it.
///
/// ```
/// use framewise::protocol::utf8::{InvalidUtf8, Utf8Check};
///
/// let mut check = Utf8Check::default();
/// check.push(b"ol\xc3")?; // the first byte of "á"
/// assert_eq!(check.finish(), Err(InvalidUtf8), "the text cannot end here");
/// check.push(b"\xa1")?;
/// check.finish()?;
/// # Ok::<(), InvalidUtf8>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Check {
    /// The first `waiting` bytes are the start of the code point that the last piece left incomplete.
    pending: [u8; 3],
    waiting: u8,
}

impl Utf8Check {
    /// Checks the next piece. Do not push more pieces after an error.
    ///
    /// # Errors
    ///
    /// The text so far cannot become valid UTF-8, no matter what follows.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        while self.waiting > 0 {
            let Some((&next, rest)) = piece.split_first() else { return Ok(()) };
            self.complete_with(next)?;
            piece = rest;
        }
        let (whole, tail) = piece.split_at(piece.len() - unfinished_tail(piece));
        // RFC 6455 §5.6-1, §8.1-1
        if !is_utf8(whole) || !may_begin_code_point(tail) {
            return Err(InvalidUtf8);
        }
        self.pending[..tail.len()].copy_from_slice(tail);
        self.waiting = tail.len() as u8;
        Ok(())
    }

    /// Checks the next piece like [`push`](Utf8Check::push), but skips the check if possible. `is_ascii` must be the
    /// result of [`mask::apply`](super::mask::apply) for this piece.
    #[inline]
    pub(crate) fn push_after_unmasking(
        &mut self,
        piece: &[u8],
        is_ascii: bool,
    ) -> Result<(), InvalidUtf8> {
        debug_assert!(!is_ascii || piece.is_ascii());
        if is_ascii && self.waiting == 0 { Ok(()) } else { self.push(piece) }
    }

    /// Checks that the text is complete.
    ///
    /// # Errors
    ///
    /// The text ends inside a code point.
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.waiting == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// Adds one byte to the pending code point.
    fn complete_with(&mut self, next: u8) -> Result<(), InvalidUtf8> {
        let waiting = usize::from(self.waiting);
        let mut point = [0; 4];
        point[..waiting].copy_from_slice(&self.pending[..waiting]);
        point[waiting] = next;
        let point = &point[..=waiting];
        if str::from_utf8(point).is_ok() {
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

/// The number of bytes that a fast path checks at once.
const BLOCK: usize = 4 * LANES;

/// Reports whether `bytes` are UTF-8. The result is the same as that of [`str::from_utf8`], but this function is
/// several times as fast on text that is not ASCII.
///
/// It slides windows over the bytes until every byte has been checked:
///
/// ```text
/// bytes     |                                                            |
/// first  000|----- LANES -----|     zeros stand in for bytes before the first one
/// block                    ...|--------- BLOCK ---------|    while that many are left
/// lanes                                              ...|-- LANES --|
/// last                                           three bytes ...|-- LANES --|
/// ```
///
/// The first three bytes of each window were checked in an earlier window. The last window ends at the last byte. It
/// may check some bytes again, which does not change the result.
pub fn is_utf8(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<{ 3 + LANES }>() else {
        return str::from_utf8(bytes).is_ok();
    };
    let mut first = [0; 3 + LANES];
    first[3..].copy_from_slice(&bytes[..LANES]);
    if !is_sound(&first) {
        return false;
    }
    let mut rest = &bytes[LANES - 3..];
    // After one longer code point, others are likely to follow.
    let mut up_to_two = true;
    while let Some(window) = rest.first_chunk::<{ 3 + BLOCK }>() {
        up_to_two = up_to_two && is_sound_up_to::<2>(window);
        if !up_to_two && !is_sound_up_to::<3>(window) && !is_sound(window) {
            return false;
        }
        rest = &rest[BLOCK..];
    }
    while let Some(window) = rest.first_chunk::<{ 3 + LANES }>() {
        if !is_sound(window) {
            return false;
        }
        rest = &rest[LANES..];
    }
    is_sound(last) && unfinished_tail(bytes) == 0
}

/// Reports whether every byte of a window except the first three is valid.
///
/// The width is a constant and the checks of the bytes do not depend on each other, so the compiler checks [`LANES`]
/// bytes at once.
#[inline(always)]
fn is_sound<const WIDTH: usize>(window: &[u8; WIDTH]) -> bool {
    let mut faults = 0;
    for at in 3..WIDTH {
        faults |= fault(window[at - 3], window[at - 2], window[at - 1], window[at]);
    }
    faults < 0x80
}

/// Fast path: reports whether no code point in a window has more than `LONGEST` bytes (2 or 3), and every byte except the
/// first three is valid. `false` only means that the fast path did not apply.
///
/// Latin, Greek, Cyrillic, Hebrew and Arabic letters have at most two bytes, and all others in daily use at most three.
/// For them, fewer of the earlier bytes matter than in [`fault`]. Bytes that must not occur are found once per window:
/// the greatest byte shows whether a longer code point begins. If C0 is subtracted from each byte, C0 and C1 become 0 and
/// 1, so the least result shows whether one of them occurs.
#[inline(always)]
fn is_sound_up_to<const LONGEST: u8>(window: &[u8; 3 + BLOCK]) -> bool {
    let longer = if LONGEST == 2 { 0xe0 } else { 0xf0 };
    let mut faults = [0; LANES];
    let mut greatest = [0; LANES];
    let mut least = [0xff; LANES];
    // A longer code point may begin in the first two bytes.
    greatest[..2].copy_from_slice(&window[..2]);
    for block in 0..BLOCK / LANES {
        for lane in 0..LANES {
            let at = 3 + block * LANES + lane;
            let (before, byte) = (window[at - 1], window[at]);
            let mut is_wanted = before.saturating_sub(0xc0 - 0x80);
            if LONGEST == 3 {
                is_wanted |= window[at - 2].saturating_sub(0xe0 - 0x80);
                faults[lane] |= three_byte_fault(before, byte);
            }
            faults[lane] |= is_wanted ^ !is_above(byte, 0xbf);
            greatest[lane] = before.max(greatest[lane]);
            least[lane] = before.wrapping_sub(0xc0).min(least[lane]);
        }
    }
    for lane in 0..LANES {
        faults[lane] |= greatest[lane].saturating_sub(longer - 0x80) | mask(least[lane] < 2);
    }
    faults.is_ascii()
}

/// Checks `byte` against the three bytes before it. The top bit of the result is set if the sequence is invalid.
///
/// ```text
/// code point          lead     second   third    fourth       RFC 3629, section 4
/// U+0000..U+007F      00..7F
/// U+0080..U+07FF      C2..DF   80..BF                         C0 and C1 could only lead overlong forms
/// U+0800..U+FFFF      E0..EF   80..BF   80..BF                E0: A0..BF (overlong), ED: 80..9F (surrogates)
/// U+10000..U+10FFFF   F0..F4   80..BF   80..BF   80..BF       F0: 90..BF (overlong), F4: 80..8F (too large)
/// ```
///
/// There are two kinds of faults:
///
/// - A lead byte requires a continuation byte (80..BF) here and there is none, or there is one and no lead requires it.
/// - The byte before is a lead byte that is never valid, or not valid with this second byte.
///
/// Every step compiles to one vector instruction, without branches. A truth value is a [`mask`]. A saturating
/// subtraction leaves the top bit set exactly if the byte is at least 0x80 larger than the number subtracted.
#[inline(always)]
fn fault(third_back: u8, second_back: u8, before: u8, byte: u8) -> u8 {
    let is_wanted = before.saturating_sub(0xc0 - 0x80)
        | second_back.saturating_sub(0xe0 - 0x80)
        | third_back.saturating_sub(0xf0 - 0x80);
    let continues = !is_above(byte, 0xbf);
    // As in `three_byte_fault`, for F0, F4 and 8F.
    let four = mask(before ^ (is_above(byte, 0x8f) & (0xf0 ^ 0xf4)) == 0xf0);
    let never = mask(before & 0xfe == 0xc0) | before.saturating_sub(0xf5 - 0x80);
    (is_wanted ^ continues) | three_byte_fault(before, byte) | four | never
}

/// Returns a mask that is set if `before` is a lead byte of three bytes that is invalid before `byte`.
///
/// E0 is invalid before a byte up to 9F, and ED before one above it. For a byte above 9F, the XOR turns ED into E0, so
/// that one comparison finds both faults.
#[inline(always)]
fn three_byte_fault(before: u8, byte: u8) -> u8 {
    mask(before ^ (is_above(byte, 0x9f) & (0xe0 ^ 0xed)) == 0xe0)
}

/// Returns a mask of eight equal bits.
#[inline(always)]
fn mask(yes: bool) -> u8 {
    if yes { 0xff } else { 0 }
}

/// Returns a mask that is set if `byte` is greater than `limit` as a signed number. SSE2 has no unsigned comparison. As
/// signed numbers, 80..BF are the smallest bytes.
#[inline(always)]
fn is_above(byte: u8, limit: u8) -> u8 {
    mask(byte as i8 > limit as i8)
}

/// Returns how many bytes at the end belong to an incomplete code point, according to its lead byte.
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

/// Reports whether `bytes` are empty or the start of one code point.
fn may_begin_code_point(bytes: &[u8]) -> bool {
    match str::from_utf8(bytes) {
        Ok(text) => text.is_empty(),
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_two(bytes: &[u8], cut: usize) -> Result<(), InvalidUtf8> {
        let mut check = Utf8Check::default();
        check.push(&bytes[..cut])?;
        check.push(&bytes[cut..])?;
        check.finish()
    }

    /// RFC 6455 §8.1-1: same result as the standard library, for texts split at every position.
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
            let expected = str::from_utf8(sample).map(|_| ()).map_err(|_| InvalidUtf8);
            for cut in 0..=sample.len() {
                assert_eq!(in_two(sample, cut), expected, "{sample:x?} cut at {cut}");
            }
        }
    }

    /// RFC 6455 §8.1-1: same result as the standard library on texts of every length around the window sizes, whole or
    /// cut inside a code point. `tests/properties` covers all sequences.
    #[test]
    fn is_utf8_agrees_with_the_standard_library() {
        let texts = ["é".repeat(100), "€".repeat(66), "😀".repeat(50), "a€b😀cé".repeat(20)];
        for text in &texts {
            for from in 0..20 {
                for to in from..=text.len() {
                    let bytes = &text.as_bytes()[from..to];
                    let expected = str::from_utf8(bytes).is_ok();
                    assert_eq!(is_utf8(bytes), expected, "{bytes:x?}");
                }
            }
        }
    }

    /// RFC 6455 §8.1-1: an invalid sequence is found at every position, also after a part that took the fast path.
    #[test]
    fn is_utf8_finds_a_wrong_sequence_anywhere() {
        let wrong: [&[u8]; 9] = [
            b"\x80",
            b"\xbf",
            b"\xc0",
            b"\xc3",
            b"\xe2",
            b"\xf0",
            b"\xff",
            b"\xc0\x80",
            b"\xe2\x80",
        ];
        for around in ["x", "é", "世"] {
            for (before, after) in (0..150).zip((0..150).rev()) {
                for wrong in wrong {
                    let (before, after) = (around.repeat(before), around.repeat(after));
                    let bytes = [before.as_bytes(), wrong, after.as_bytes()].concat();
                    assert!(!is_utf8(&bytes), "{wrong:x?} in {bytes:x?}");
                }
            }
        }
    }

    /// A text behaves like a `str` with the same bytes.
    #[test]
    fn a_text_is_like_its_str() {
        let owned = String::from("olá \"mundo\"");
        let text = Text::new(owned.as_bytes()).expect("valid");
        assert_eq!(text.as_str(), owned);
        assert_eq!(text.as_bytes(), owned.as_bytes());
        assert_eq!((text.len(), text.is_empty()), (owned.len(), false));
        assert!(Text::from("").is_empty());
        assert_eq!(text, Text::from(&owned));
        assert!(text == *owned && text == owned.as_str() && text != "olá");
        assert_eq!(format!("{text:>20}|{text:?}"), format!("{owned:>20}|{owned:?}"));
        assert_eq!(Text::new(b"\xff"), Err(InvalidUtf8));
        assert_eq!(InvalidUtf8.to_string(), "the text is not valid UTF-8");
    }

    /// RFC 6455 §8.1-1: the check is skipped only if unmasking reported ASCII.
    #[test]
    fn after_unmasking_only_ascii_needs_no_check() {
        assert_eq!(Text::after_unmasking(b"plain", true), Ok(Text::from("plain")));
        assert_eq!(Text::after_unmasking("é".as_bytes(), false), Ok(Text::from("é")));
        assert_eq!(Text::after_unmasking(b"\xc3", false), Err(InvalidUtf8));
    }

    /// Sequences of four bytes, one byte at a time: the error comes at the first byte after which the text cannot
    /// become valid, never later.
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
                        let mut check = Utf8Check::default();
                        let failed = sequence.iter().position(|&byte| check.push(&[byte]).is_err());
                        let expected = (1..=4).find(|&n| hopeless(&sequence[..n])).map(|n| n - 1);
                        assert_eq!(failed, expected, "{sequence:x?}");
                    }
                }
            }
        }
    }
}
