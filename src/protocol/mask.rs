//! RFC 6455 §5.3: masking and unmasking, which are the same operation.
//!
//! ```text
//! payload data   'H'  'e'  'l'  'l'  'o'      48 65 6c 6c 6f
//! masking key    k0   k1   k2   k3   k0  ...  37 fa 21 3d 37
//!                ---------- XOR ----------    --------------
//! on the wire                                 7f 9f 4d 51 58
//! ```
//!
//! Byte `i` of the payload meets key byte `i mod 4`. A payload may arrive in pieces, so [`apply`] takes
//! the position of the piece within its frame.

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};

/// Produces the masking key of each frame that a client sends.
///
/// Tests pass a counter; programs pass [`random_keys`].
pub type MaskingKeys = Box<dyn FnMut() -> [u8; 4] + Send>;

/// XORs `bytes` in place with `key`; `offset` is how many payload bytes of the frame came before.
///
/// Works on eight bytes at a time: XOR has no carry between bytes, so the repeated key can be seen as
/// one wide word in the byte order of the machine.
#[inline]
pub fn apply(bytes: &mut [u8], key: [u8; 4], offset: u64) {
    let key = rotated(key, offset);
    let narrow = u32::from_ne_bytes(key);
    let wide = u64::from(narrow) << 32 | u64::from(narrow);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let masked = u64::from_ne_bytes((&*word).try_into().expect("eight bytes")) ^ wide;
        word.copy_from_slice(&masked.to_ne_bytes());
    }
    // A multiple of four bytes went by, so what is left starts at the same key byte as the whole.
    let rest = words.into_remainder();
    let (four, few) = rest.split_at_mut(rest.len() & 4);
    if let Ok(word) = <&mut [u8; 4]>::try_from(four) {
        *word = (u32::from_ne_bytes(*word) ^ narrow).to_ne_bytes();
    }
    for (byte, key_byte) in few.iter_mut().zip(key) {
        *byte ^= key_byte;
    }
}

/// Masking keys from a cryptographic generator that the operating system seeded.
///
/// # Errors
///
/// The operating system has no randomness to give.
pub fn random_keys() -> Result<MaskingKeys, rand::rngs::SysError> {
    // RFC 6455 §5.3-3, §10.3-1: unpredictable, and a fresh key for each frame.
    let mut generator = StdRng::try_from_rng(&mut SysRng)?;
    Ok(Box::new(move || generator.next_u32().to_ne_bytes()))
}

/// The key as the byte at `offset` sees it.
#[inline]
fn rotated(mut key: [u8; 4], offset: u64) -> [u8; 4] {
    key.rotate_left((offset % 4) as usize);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of §5.3, one byte at a time: the slow twin of `apply`.
    fn naive(bytes: &mut [u8], key: [u8; 4], offset: u64) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[((i as u64 + offset) % 4) as usize];
        }
    }

    #[test]
    fn agrees_with_the_naive_twin_at_every_length_and_offset() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..70 {
            for offset in 0..9 {
                let mut fast: Vec<u8> = (0..length).map(|i| i as u8 ^ 0xa5).collect();
                let mut slow = fast.clone();
                apply(&mut fast, key, offset);
                naive(&mut slow, key, offset);
                assert_eq!(fast, slow, "length {length}, offset {offset}");
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

    /// RFC 6455 §10.3-1: keys follow no rule that repeats them.
    #[test]
    fn random_keys_differ_from_frame_to_frame() {
        let mut keys = random_keys().expect("the system has randomness");
        let mut seen: Vec<[u8; 4]> = (0..10_000).map(|_| keys()).collect();
        seen.sort_unstable();
        seen.dedup();
        // Of 10,000 draws out of 2^32, a dozen collisions are already out of the question.
        assert!(seen.len() > 9_988, "{} distinct keys", seen.len());
    }
}
