//! RFC 6455 §8.1: the fast check of UTF-8 agrees with the standard library.
//!
//! The check looks at a byte and the three bytes before it, in windows of sixteen bytes. Blocks of 64 bytes without long
//! code points take a fast path. So both the sequence and its place matter: every sequence is tried at some places, and
//! the sequences at the edges of the rules at every place.

use framewise::protocol::utf8::{InvalidUtf8, Text, Utf8Check, is_utf8};
use framewise_properties::{cases, cuts, pieces, text};
use proptest::prelude::*;

/// The first, a middle and the last byte of each range in the table of RFC 3629, section 4, and their neighbours.
const EDGES: [u8; 32] = [
    0x00, 0x41, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x91, 0x9f, 0xa0, 0xa1, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2,
    0xc3, 0xde, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff,
];

/// Bytes that can follow a lead, at the edges of what E0, ED, F0 and F4 allow, and some that cannot.
const FOLLOWERS: [u8; 12] =
    [0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc3, 0xe1, 0xf4];

/// The characters around a sequence: of one, two and three bytes.
const SURROUNDINGS: [&[u8]; 3] = [b"x", "é".as_bytes(), "€".as_bytes()];

/// Writes `sequence` into `text` at `at`, and compares the check with the standard library.
fn compare(text: &mut [u8], at: usize, sequence: &[u8]) {
    text[at..at + sequence.len()].copy_from_slice(sequence);
    let expected = std::str::from_utf8(text).is_ok();
    assert_eq!(is_utf8(text), expected, "{sequence:x?} at {at} of {text:x?}");
}

/// Returns a text of `length` bytes in which `hole` bytes at `at` can be replaced: the characters before and after them
/// are complete.
fn around(with: &[u8], length: usize, at: usize, hole: usize) -> Vec<u8> {
    let mut text = vec![b'x'; length];
    let (before, rest) = text.split_at_mut(at);
    for character in before.rchunks_exact_mut(with.len()) {
        character.copy_from_slice(with);
    }
    for character in rest[hole..].chunks_exact_mut(with.len()) {
        character.copy_from_slice(with);
    }
    text
}

/// All 65,536 sequences of two bytes, in the first, a middle and the last window, and at the end of the text.
#[test]
fn every_sequence_of_two_bytes() {
    for (length, at) in [(2, 0), (19, 0), (19, 17), (20, 9), (35, 18), (36, 34)] {
        let mut text = around(b"x", length, at, 2);
        for a in 0..=255 {
            for b in 0..=255 {
                compare(&mut text, at, &[a, b]);
            }
        }
    }
}

/// All sequences of three bytes, across the border of two windows. If the first byte is ASCII, or if no third byte can
/// make the first two valid, the test above has tried two of the bytes already. Then one third byte of each range is
/// enough.
#[test]
fn every_sequence_of_three_bytes() {
    let (length, at) = (20, 14);
    let mut text = around(b"x", length, at, 3);
    for a in 0..=255u8 {
        for b in 0..=255 {
            let is_hopeless = |error: std::str::Utf8Error| error.error_len().is_some();
            if a.is_ascii() || std::str::from_utf8(&[a, b]).is_err_and(is_hopeless) {
                FOLLOWERS.iter().for_each(|&c| compare(&mut text, at, &[a, b, c]));
            } else {
                (0..=255).for_each(|c| compare(&mut text, at, &[a, b, c]));
            }
        }
    }
}

/// Sequences of four bytes at the edges of the rules, in texts of every kind.
#[test]
fn sequences_of_four_bytes() {
    for (length, at) in [(4, 0), (19, 15), (35, 14)] {
        let mut text = around(b"x", length, at, 4);
        for a in EDGES {
            for b in EDGES {
                for c in FOLLOWERS {
                    for d in FOLLOWERS {
                        compare(&mut text, at, &[a, b, c, d]);
                    }
                }
            }
        }
    }
}

/// A lead byte of each kind and its followers, at every place of texts of different lengths: shorter than a window,
/// only windows, one block and windows, two blocks.
#[test]
fn every_place() {
    let leads = [0x41, 0x80, 0xc1, 0xc3, 0xe0, 0xe1, 0xed, 0xf0, 0xf1, 0xf4, 0xf5];
    for length in [18, 19, 34, 50, 80, 83, 99, 150] {
        for with in SURROUNDINGS {
            for at in 0..length {
                let hole = (length - at).min(4);
                let mut text = around(with, length, at, hole);
                for a in leads {
                    for b in [0x41, 0x80, 0x8f, 0x90, 0xa0, 0xc3] {
                        for [c, d] in [[0x80, 0xbf], [0x41, 0x80], [0x80, 0x41], [0x41, 0x42]] {
                            compare(&mut text, at, &[a, b, c, d][..hole]);
                        }
                    }
                }
            }
        }
    }
}

/// Every code point, complete and incomplete, at the end of a text.
#[test]
fn every_code_point() {
    let mut text = [b'x'; 24];
    for point in '\0'..=char::MAX {
        let length = point.encode_utf8(&mut text[20..]).len();
        assert!(is_utf8(&text[..20 + length]), "{point:?}");
        // 80 is the first of the bytes that can follow this beginning.
        if text[19 + length] == 0x80 {
            for cut in 1..length {
                assert!(!is_utf8(&text[..20 + cut]), "{point:?} cut after {cut}");
            }
        }
    }
}

/// Generates text that may have one inserted or replaced byte.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let spoil = proptest::option::of((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()));
    (proptest::collection::vec(text(), 1..3), spoil).prop_map(|(texts, spoil)| {
        let mut bytes = texts.concat().into_bytes();
        if let Some((place, byte, replaces)) = spoil {
            let at = place.index(bytes.len() + 1);
            let until = (at + usize::from(replaces)).min(bytes.len());
            bytes.splice(at..until, [byte]);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(cases(500))]

    /// RFC 6455 §8.1-1: any part of a text that may contain an invalid byte.
    #[test]
    fn random_texts(
        bytes in nearly_text(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
        for part in [&bytes[..], &bytes[from.min(to)..from.max(to)]] {
            let expected = std::str::from_utf8(part);
            prop_assert_eq!(is_utf8(part), expected.is_ok());
            prop_assert_eq!(Text::new(part).map(Text::as_str), expected.map_err(|_| InvalidUtf8));
        }
    }

    /// RFC 6455 §8.1-1: random bytes, most of them not ASCII.
    #[test]
    fn random_bytes(choices in proptest::collection::vec(0usize..EDGES.len(), 0..120)) {
        let bytes: Vec<u8> = choices.iter().map(|&choice| EDGES[choice]).collect();
        for end in 0..=bytes.len() {
            prop_assert_eq!(is_utf8(&bytes[..end]), std::str::from_utf8(&bytes[..end]).is_ok());
        }
    }

    /// RFC 6455 §8.1-1: pieces of any length: the error is reported for the piece with the first invalid byte.
    #[test]
    fn random_pieces(bytes in nearly_text(), cuts in cuts()) {
        let mut check = Utf8Check::default();
        let mut end = 0;
        for piece in pieces(&bytes, &cuts) {
            end += piece.len();
            let hopeless = std::str::from_utf8(&bytes[..end]).is_err_and(|error| error.error_len().is_some());
            prop_assert_eq!(check.push(piece).is_err(), hopeless);
            if hopeless {
                return Ok(());
            }
        }
        prop_assert_eq!(check.finish().is_ok(), std::str::from_utf8(&bytes).is_ok());
    }
}
