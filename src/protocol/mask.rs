//! RFC 6455 §5.3: masking and unmasking, which are the same operation.
//!
//! ```text
//! payload data   'H'  'e'  'l'  'l'  'o'      48 65 6c 6c 6f
//! masking key    k0   k1   k2   k3   k0  ...  37 fa 21 3d 37
//!                ---------- XOR ----------    --------------
//! on the wire                                 7f 9f 4d 51 58
//! ```
//!
//! Payload byte `i` is combined with key byte `i mod 4`. A payload may arrive in pieces, so [`apply`] takes the
//! position of the piece within its frame as a parameter.

use std::error::Error;
use std::fmt;

use rand::rngs::{StdRng, SysError, SysRng};
use rand::{Rng, SeedableRng};

/// Produces the masking key of each frame that a client sends.
///
/// Tests pass a counter, programs pass [`random_keys`].
pub type MaskingKeys = Box<dyn FnMut() -> [u8; 4] + Send>;

/// The error of [`random_keys`] if the operating system cannot provide random bytes.
///
/// This type hides which random number generator the crate uses.
#[derive(Debug)]
pub struct NoRandomness(SysError);

impl fmt::Display for NoRandomness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no randomness from the operating system: {}", self.0)
    }
}

impl Error for NoRandomness {}

/// The chunk size of the vector loop, in bytes. A shorter payload is masked word by word, without a call.
const CHUNK: usize = 32;

/// The number of bytes in a vector register of every x86-64 (SSE2) and every 64-bit ARM processor (NEON).
pub(crate) const LANES: usize = 16;

/// XORs `bytes` in place with `key` and reports whether all resulting bytes are ASCII.
///
/// `offset` is the number of payload bytes of the frame that came before `bytes`.
///
/// XOR has no carry between bytes, so the repeated key can be applied as a wide word in the byte order of the machine.
/// The ASCII check is a by-product: a byte is ASCII if its top bit is 0, and one OR per word collects the top bits.
/// ASCII is UTF-8, so most text needs no further check (§8.1).
///
/// ```
/// use framewise::protocol::mask;
///
/// let key = [0x37, 0xfa, 0x21, 0x3d];
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58";
/// assert!(mask::apply(&mut payload, key, 0), "all ASCII");
/// assert_eq!(&payload, b"Hello");
///
/// // The same in two pieces.
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58";
/// let (first, second) = payload.split_at_mut(3);
/// mask::apply(first, key, 0);
/// mask::apply(second, key, 3);
/// assert_eq!(&payload, b"Hello");
/// ```
///
/// Always inlined: for a short message, a call would cost almost as much as the work itself.
#[inline(always)]
pub fn apply(bytes: &mut [u8], key: [u8; 4], offset: u64) -> bool {
    let seen = if bytes.len() < CHUNK {
        apply_to_words(bytes, rotated(key, offset))
    } else {
        apply_to_chunks(bytes, key, offset)
    };
    seen & 0x8080_8080_8080_8080 == 0
}

/// XORs fewer than [`CHUNK`] bytes with `key` and returns the OR of all results.
#[inline(always)]
fn apply_to_words(bytes: &mut [u8], key: [u8; 4]) -> u64 {
    let narrow = u32::from_ne_bytes(key);
    let wide = u64::from(narrow) << 32 | u64::from(narrow);
    let mut seen = 0;
    // Each step masks a multiple of four bytes, so the next one starts with the first byte of `key` again.
    let (two_words, rest) = split_by_bit::<16>(bytes);
    if let Some(words) = two_words {
        let masked = u128::from_ne_bytes(*words) ^ (u128::from(wide) << 64 | u128::from(wide));
        *words = masked.to_ne_bytes();
        seen |= masked as u64 | (masked >> 64) as u64;
    }
    let (word, rest) = split_by_bit::<8>(rest);
    if let Some(word) = word {
        let masked = u64::from_ne_bytes(*word) ^ wide;
        *word = masked.to_ne_bytes();
        seen |= masked;
    }
    let (half_word, few) = split_by_bit::<4>(rest);
    if let Some(half) = half_word {
        let masked = u32::from_ne_bytes(*half) ^ narrow;
        *half = masked.to_ne_bytes();
        seen |= u64::from(masked);
    }
    for (byte, key_byte) in few.iter_mut().zip(key) {
        *byte ^= key_byte;
        seen |= u64::from(*byte);
    }
    seen
}

/// XORs `bytes` with `key` in chunks and returns the OR of all results.
///
/// A payload is rarely aligned, because it follows the header of its frame. The bytes before the first aligned address
/// are masked as words: chunks whose stores cross cache lines took 1.4 times as long for 16 KiB.
#[inline(never)]
fn apply_to_chunks(bytes: &mut [u8], key: [u8; 4], offset: u64) -> u64 {
    let unaligned = bytes.as_ptr().align_offset(LANES).min(LANES - 1);
    let (head, body) = bytes.split_at_mut(unaligned);
    let in_head = apply_to_words(head, rotated(key, offset));
    let key = rotated(key, offset + head.len() as u64);
    let (chunks, tail) = body.as_chunks_mut::<CHUNK>();
    let mut seen = [0; 4];
    // Four chunks per iteration reduce the overhead of the loop.
    let (fours, rest) = chunks.as_chunks_mut::<4>();
    for four in fours {
        apply_to_lanes(four.as_flattened_mut(), key, &mut seen);
    }
    for chunk in rest {
        apply_to_lanes(chunk, key, &mut seen);
    }
    let in_tail = apply_to_words(tail, key);
    seen.into_iter().fold(in_head | in_tail, |all, seen| all | u64::from(seen))
}

/// XORs `bytes` with `key`, four words at a time. Each word has its own OR, so that the compiler can use vector
/// instructions.
#[inline(always)]
fn apply_to_lanes(bytes: &mut [u8], key: [u8; 4], seen: &mut [u32; 4]) {
    for words in bytes.as_chunks_mut::<LANES>().0 {
        for (word, seen) in words.as_chunks_mut::<4>().0.iter_mut().zip(&mut *seen) {
            let masked = u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key);
            *word = masked.to_ne_bytes();
            *seen |= masked;
        }
    }
}

/// Returns a source of masking keys: a cryptographic generator, seeded by the operating system.
///
/// ```
/// use framewise::protocol::mask;
///
/// let mut keys = mask::random_keys()?;
/// assert_eq!(keys().len(), 4);
/// # Ok::<(), mask::NoRandomness>(())
/// ```
///
/// # Errors
///
/// The operating system cannot provide random bytes.
pub fn random_keys() -> Result<MaskingKeys, NoRandomness> {
    // RFC 6455 §5.3-3, §5.3-4, §10.3-1: unpredictable, and a fresh key for each frame.
    let mut generator = StdRng::try_from_rng(&mut SysRng).map_err(NoRandomness)?;
    Ok(Box::new(move || generator.next_u32().to_ne_bytes()))
}

/// Splits off `N` bytes if that bit is set in the length. `N` is a power of two.
#[inline(always)]
fn split_by_bit<const N: usize>(bytes: &mut [u8]) -> (Option<&mut [u8; N]>, &mut [u8]) {
    let (first, rest) = bytes.split_at_mut(bytes.len() & N);
    (first.try_into().ok(), rest)
}

/// Rotates the key so that its first byte is the one for payload byte `offset`.
///
/// The key is rotated as an integer, because rotating the array would call `memmove`.
#[inline]
fn rotated(key: [u8; 4], offset: u64) -> [u8; 4] {
    let by = 8 * (offset % 4) as u32;
    u32::from_le_bytes(key).rotate_right(by).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks as §5.3 defines it, one byte at a time, as a reference for `apply`.
    fn naive(bytes: &mut [u8], key: [u8; 4], offset: u64) -> bool {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[((i as u64 + offset) % 4) as usize];
        }
        bytes.is_ascii()
    }

    #[test]
    fn agrees_with_the_naive_twin_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..7 * CHUNK {
            for offset in 0..9 {
                // The offset also moves the bytes in memory, so that they have different alignments.
                let start = 5 * offset % LANES;
                let mut fast: Vec<u8> = (0..start + length).map(|i| i as u8 ^ 0xa5).collect();
                let mut slow = fast[start..].to_vec();
                let fast = &mut fast[start..];
                let is_ascii = apply(fast, key, offset as u64);
                assert_eq!(is_ascii, naive(&mut slow, key, offset as u64), "length {length}");
                assert_eq!(fast, slow, "length {length}, offset {offset}");
            }
        }
    }

    /// A single byte that is not ASCII is detected at every position. The top bits of the masked bytes have no effect.
    #[test]
    fn reports_whether_the_result_is_ascii() {
        let key = [0x80, 0xff, 0x00, 0x7f];
        for length in [1, 4, 7, 20, CHUNK - 1, CHUNK, 2 * CHUNK + 15, 5 * CHUNK] {
            let mut masked = vec![b'~'; length];
            naive(&mut masked, key, 1);
            assert!(apply(&mut masked.clone(), key, 1), "length {length}");
            for at in 0..length {
                masked[at] ^= 0x80;
                assert!(!apply(&mut masked.clone(), key, 1), "length {length}, byte {at}");
                masked[at] ^= 0x80;
            }
        }
    }

    /// RFC 6455 §5.3-2: the same key masks and unmasks, whole or in pieces.
    #[test]
    fn pieces_add_up_to_the_whole() {
        let key = [1, 2, 3, 4];
        let clear: Vec<u8> = (0..=255).collect();
        let mut whole = clear.clone();
        apply(&mut whole, key, 0);
        for cut in 0..clear.len() {
            let mut pieces = whole.clone();
            let (first, second) = pieces.split_at_mut(cut);
            apply(first, key, 0);
            apply(second, key, cut as u64);
            assert_eq!(pieces, clear, "cut at {cut}");
        }
    }

    /// RFC 6455 §10.3-1: keys do not repeat.
    #[test]
    fn random_keys_differ_from_frame_to_frame() {
        let mut keys = random_keys().expect("the system has randomness");
        let mut seen: Vec<[u8; 4]> = (0..10_000).map(|_| keys()).collect();
        seen.sort_unstable();
        seen.dedup();
        // Among 10,000 random 32-bit keys, a dozen collisions are practically impossible.
        assert!(seen.len() > 9_988, "{} distinct keys", seen.len());
    }
}
