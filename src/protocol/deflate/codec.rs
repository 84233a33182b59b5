//! RFC 7692 7.2: compresses and decompresses messages.
//!
//! ```text
//! "Hello" ── compress, sync flush ──> f2 48 cd c9 c9 07 00 | 00 00 ff ff
//!                                                          '-- the tail: removed before sending, added before inflating
//! ```
//!
//! Rules of this file:
//!
//! - Without a context, connections share one compressor for each window and level, and one decompressor. Both belong to the
//!   thread, are created when they are first needed, and are reset before each message. A connection holds a decompressor only
//!   while one of its messages is incomplete.
//! - Decompressed data is passed on in pieces of [`PIECE`] bytes, so that limits and UTF-8 are checked before more is produced.
//! - A message has to end where a block ends. After a block with BFINAL, another stream begins.

use std::cell::{Cell, RefCell};
use std::mem;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::protocol::deflate::negotiate::{MAX_BITS, Side};
use crate::protocol::deflate::settings::Deflate;
use crate::protocol::violation::Violation;

/// The end of an empty stored block, which ends the output of each sync flush. It is not sent (RFC 7692 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A whole stored block that is empty. After it, a stream continues as if it had not been there.
const EMPTY_BLOCK: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];

/// An empty block with BFINAL, which ends a stream.
const FINAL_BLOCK: [u8; 2] = [0x03, 0x00];

/// How many bytes are decompressed before they are checked.
const PIECE: usize = 16 * 1024;

/// The most compressors that a thread keeps for its connections, each with another window or level.
const MAX_SHARED: usize = 8;

/// The memory of a decompressor in bytes. `tests/properties` measures it.
const DECOMPRESSOR: usize = 47 * 1024;

/// The memory of a compressor without its window, in bytes. `tests/properties` measures it.
const COMPRESSOR: usize = 243 * 1024;

thread_local! {
    static SHARED: RefCell<Shared> = const { RefCell::new(Shared::new()) };
    static COMPRESSIONS: Cell<u64> = const { Cell::new(0) };
}

/// What the connections of a thread use one after the other.
struct Shared {
    /// The compressors with their kind, the one that was used last at the end.
    compressors: Vec<(Kind, Box<Compress>)>,
    decompressor: Option<Box<Decompress>>,
    /// The buffer for decompressed data.
    piece: Vec<u8>,
}

impl Shared {
    const fn new() -> Shared {
        Shared { compressors: Vec::new(), decompressor: None, piece: Vec::new() }
    }
}

/// Returns how often this thread has compressed a message. For tests.
pub fn compressions() -> u64 {
    COMPRESSIONS.get()
}

/// Compressors of one kind produce the same bytes for the same message, if they keep no context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    bits: u8,
    level: u8,
    /// The shortest message that is compressed, in bytes.
    min_length: u32,
}

impl Kind {
    /// Returns the kind as a number, which is not zero.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.min_length) << 16 | u64::from(self.level) << 8 | u64::from(self.bits)
    }

    /// Reports whether both can use the same compressor.
    fn fits(self, other: Kind) -> bool {
        (self.bits, self.level) == (other.bits, other.level)
    }

    fn compressor(self) -> Box<Compress> {
        let level = Compression::new(u32::from(self.level));
        Box::new(Compress::new_with_window_bits(level, false, self.bits))
    }
}

/// Compresses the messages of one side of a connection.
#[derive(Debug)]
pub(crate) struct Encoder {
    // The fields of a `Kind`, and not one, so that `takeover` needs no space of its own.
    bits: u8,
    level: u8,
    takeover: bool,
    min_length: u32,
    /// The compressor with the context of earlier messages, once there is one.
    context: Option<Box<Compress>>,
}

impl Encoder {
    pub(crate) fn new(side: Side, settings: &Deflate) -> Encoder {
        Encoder {
            bits: side.bits,
            level: settings.level,
            takeover: side.takeover,
            min_length: u32::try_from(settings.min_length).unwrap_or(u32::MAX),
            context: None,
        }
    }

    /// Returns the kind of this encoder, or `None` if its output depends on earlier messages.
    pub(crate) fn kind(&self) -> Option<Kind> {
        (!self.takeover).then_some(self.own_kind())
    }

    fn own_kind(&self) -> Kind {
        Kind { bits: self.bits, level: self.level, min_length: self.min_length }
    }

    /// Returns the payload data of a compressed message. Returns `None` if the message is shorter than the threshold, if
    /// compression does not shorten it, or if there is not enough memory.
    pub(crate) fn encode(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        // RFC 7692 7.2.3.6: a compressed message is not empty, so an empty one cannot become shorter.
        if payload.is_empty() || payload.len() < self.min_length as usize {
            return None;
        }
        COMPRESSIONS.set(COMPRESSIONS.get() + 1);
        if self.takeover {
            let kind = self.own_kind();
            let compressor = self.context.get_or_insert_with(|| kind.compressor());
            let compressed = compress(compressor, payload);
            if compressed.is_none() {
                // RFC 7692 7.2.3.2: the peer does not see this message compressed, so later ones must not refer to it.
                compressor.reset();
            }
            return compressed;
        }
        let mut compressor = self.take_shared();
        compressor.reset();
        let compressed = compress(&mut compressor, payload);
        self.put_back(compressor);
        compressed
    }

    /// Returns the memory in bytes that the context takes.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        // For each byte of the window, there are two bytes of input, and two of links between matches.
        self.context.as_ref().map_or(0, |_| COMPRESSOR + (4 << self.bits))
    }

    /// Frees the context. The next message begins a new one, which any decompressor can follow.
    pub(crate) fn shed(&mut self) {
        self.context = None;
    }

    fn take_shared(&self) -> Box<Compress> {
        let found = SHARED.with_borrow_mut(|shared| {
            let at = shared.compressors.iter().position(|(kind, _)| kind.fits(self.own_kind()))?;
            Some(shared.compressors.remove(at).1)
        });
        found.unwrap_or_else(|| self.own_kind().compressor())
    }

    fn put_back(&self, compressor: Box<Compress>) {
        SHARED.with_borrow_mut(|shared| {
            if shared.compressors.len() == MAX_SHARED {
                shared.compressors.remove(0);
            }
            shared.compressors.push((self.own_kind(), compressor));
        });
    }
}

/// Compresses a payload (RFC 7692 7.2.1). Returns `None` if that does not shorten it, or if there is not enough memory.
fn compress(compressor: &mut Compress, payload: &[u8]) -> Option<Vec<u8>> {
    let mut into = Vec::new();
    into.try_reserve_exact(most_compressed(payload.len())).ok()?;
    let before = compressor.total_in();
    compressor.compress_vec(payload, &mut into, FlushCompress::Sync).ok()?;
    let is_complete = compressor.total_in() - before == payload.len() as u64
        && into.len() < into.capacity()
        && into.ends_with(&TAIL);
    if !is_complete {
        return None;
    }
    into.truncate(into.len() - TAIL.len());
    (into.len() < payload.len()).then_some(into)
}

/// Returns the size of a buffer in which the compressor has space left, whatever it gets. It must never be full: at level 1,
/// zlib-rs 0.6 panics then.
fn most_compressed(length: usize) -> usize {
    length + length / 8 + 1024
}

/// Decompresses the messages of the peer.
#[derive(Debug)]
pub(crate) struct Decoder {
    takeover: bool,
    /// How many bytes were decompressed since the last [`take_work`](Decoder::take_work).
    work: u32,
    /// The decompressor: with the context of earlier messages, or that of an incomplete message.
    context: Option<Box<Decompress>>,
}

impl Decoder {
    pub(crate) fn new(side: Side) -> Decoder {
        // The window of the decompressor has its largest size, which can follow a compressor with any window. Resetting it is
        // cheap, while a smaller one would have to be allocated again.
        Decoder { takeover: side.takeover, work: 0, context: None }
    }

    /// Returns how many bytes were decompressed since the last call.
    #[inline]
    pub(crate) fn take_work(&mut self) -> u32 {
        mem::take(&mut self.work)
    }

    /// Decompresses the next piece of a message and calls `emit` with the data, piece by piece. `last` marks the last piece (RFC 7692
    /// 7.2.2).
    ///
    /// # Errors
    ///
    /// The payload data is not valid, or `emit` fails.
    pub(crate) fn decode(
        &mut self,
        piece: &[u8],
        last: bool,
        mut emit: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let mut decompressor = self.context.take().unwrap_or_else(|| self.take_shared());
        let mut into = SHARED.with_borrow_mut(|shared| mem::take(&mut shared.piece));
        into.resize(PIECE, 0);
        let work = &mut self.work;
        let mut emit = |data: &[u8]| {
            *work = work.saturating_add(data.len() as u32);
            emit(data)
        };
        let result =
            inflate(&mut decompressor, piece, &mut into, &mut emit).and_then(|_| match last {
                true => finish(&mut decompressor, self.takeover, &mut into, &mut emit),
                false => Ok(()),
            });
        SHARED.with_borrow_mut(|shared| shared.piece = into);
        result?;
        if self.takeover || !last {
            self.context = Some(decompressor);
        } else {
            SHARED.with_borrow_mut(|shared| shared.decompressor = Some(decompressor));
        }
        Ok(())
    }

    /// Returns the memory in bytes that a context or an incomplete message takes.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.context.as_ref().map_or(0, |_| DECOMPRESSOR)
    }

    fn take_shared(&self) -> Box<Decompress> {
        let shared = match self.takeover {
            true => None,
            false => SHARED.with_borrow_mut(|shared| shared.decompressor.take()),
        };
        match shared {
            Some(mut decompressor) => {
                decompressor.reset(false);
                decompressor
            }
            None => Box::new(Decompress::new_with_window_bits(false, MAX_BITS)),
        }
    }
}

/// Adds the tail that the sender has removed, and checks that a block ends there.
fn finish(
    decompressor: &mut Decompress,
    takeover: bool,
    into: &mut [u8],
    emit: &mut impl FnMut(&[u8]) -> Result<(), Violation>,
) -> Result<(), Violation> {
    inflate(decompressor, &TAIL, into, emit)?;
    // Between two blocks, an empty block changes nothing. Within a block it would be data, or an error. With a context the stream
    // must not end here. If it is within the code lengths of a block, only the next message shows it.
    let mut nothing = |_: &[u8]| Err(Violation::InvalidDeflate);
    let (end, wanted) = match takeover {
        true => (&EMPTY_BLOCK[..], Ended::Within),
        false => (&FINAL_BLOCK[..], Ended::Stream),
    };
    if inflate(decompressor, end, into, &mut nothing)? == wanted {
        Ok(())
    } else {
        Err(Violation::InvalidDeflate)
    }
}

/// Where the input of [`inflate`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// At the end of a stream: the last block has BFINAL.
    Stream,
    /// Within a stream.
    Within,
}

/// Decompresses all of `input` into `into`, again and again, and passes on each piece.
fn inflate(
    decompressor: &mut Decompress,
    mut input: &[u8],
    into: &mut [u8],
    emit: &mut impl FnMut(&[u8]) -> Result<(), Violation>,
) -> Result<Ended, Violation> {
    loop {
        let (taken, made) = (decompressor.total_in(), decompressor.total_out());
        let status = decompressor.decompress(input, into, FlushDecompress::None);
        let taken = (decompressor.total_in() - taken) as usize;
        let made = (decompressor.total_out() - made) as usize;
        if made > 0 {
            emit(&into[..made])?;
        }
        input = &input[taken..];
        match status.map_err(|_| Violation::InvalidDeflate)? {
            // RFC 7692 7.2.3.4, 7.2.3.5: the next block begins at the next byte, without a context.
            Status::StreamEnd => {
                decompressor.reset(false);
                if input.is_empty() {
                    return Ok(Ended::Stream);
                }
            }
            // There may be more output as long as it fills the buffer.
            Status::Ok | Status::BufError if made == into.len() => {}
            Status::Ok | Status::BufError if input.is_empty() => return Ok(Ended::Within),
            Status::Ok | Status::BufError if taken == 0 => return Err(Violation::InvalidDeflate),
            Status::Ok | Status::BufError => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(takeover: bool, bits: u8, level: u8) -> Encoder {
        let settings = Deflate { level, min_length: 0, ..Deflate::default() };
        Encoder::new(Side { takeover, bits }, &settings)
    }

    fn decoder(takeover: bool) -> Decoder {
        Decoder::new(Side { takeover, bits: MAX_BITS })
    }

    fn decoded(decoder: &mut Decoder, payload: &[u8]) -> Result<Vec<u8>, Violation> {
        let mut into = Vec::new();
        decoder.decode(payload, true, |piece| {
            assert!((1..=PIECE).contains(&piece.len()));
            into.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(into)
    }

    /// Returns bytes that cannot be compressed: those of a xorshift generator.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        };
        (0..length).map(|_| next()).collect()
    }

    /// Each level and window takes noise, text and anything between them, with a context and without. The buffer is never full: at
    /// level 1, zlib-rs 0.6.8 panics then.
    #[test]
    fn every_level_and_window_takes_every_message() {
        let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(70_000).collect();
        let noise = noise(70_000);
        let mixed: Vec<u8> =
            text.iter().zip(&noise).map(|(a, b)| if *b < 40 { *b } else { *a }).collect();
        for (level, bits) in (1..=9).flat_map(|level| [(level, 9), (level, 12), (level, 15)]) {
            for takeover in [false, true] {
                let (mut encoder, mut decoder) =
                    (encoder(takeover, bits, level), decoder(takeover));
                for length in [
                    1, 2, 3, 7, 31, 63, 64, 65, 100, 127, 128, 255, 256, 1023, 4096, 16_384,
                    65_535, 70_000,
                ] {
                    for message in [&text[..length], &noise[..length], &mixed[..length]] {
                        if let Some(payload) = encoder.encode(message) {
                            assert!(payload.len() < message.len());
                            assert!(decoded(&mut decoder, &payload).as_deref() == Ok(message));
                        }
                    }
                }
            }
        }
    }

    /// The worst case of the compressor: its output never fills the buffer, even for noise.
    #[test]
    fn the_buffer_has_space_left() {
        for level in 1..=9 {
            let mut compressor = encoder(false, 9, level).own_kind().compressor();
            for length in [0, 1, 100, 1000, 10_000, 100_000, 1_000_000] {
                let mut into = Vec::with_capacity(most_compressed(length));
                compressor.reset();
                let noise = noise(length);
                compressor.compress_vec(&noise, &mut into, FlushCompress::Sync).expect("it works");
                assert_eq!(compressor.total_in(), length as u64);
                assert!(
                    into.len() + 100 < most_compressed(length),
                    "{level} {length} {}",
                    into.len()
                );
            }
        }
    }

    /// Without contexts, connections share compressors, and a thread keeps a limited number of them.
    #[test]
    fn a_thread_keeps_few_compressors() {
        let kept = || SHARED.with_borrow(|shared| shared.compressors.len());
        for (level, bits) in (1..=9).flat_map(|level| (9..=15).map(move |bits| (level, bits))) {
            for _ in 0..3 {
                let mut encoder = encoder(false, bits, level);
                assert!(encoder.encode(&[7; 1000]).is_some());
                assert_eq!(encoder.held(), 0);
            }
            assert!((1..=MAX_SHARED).contains(&kept()));
        }
        assert_eq!(kept(), MAX_SHARED);
    }

    /// A connection holds a decompressor while a message is incomplete, and without a context gives it back.
    #[test]
    fn a_decompressor_is_held_for_an_incomplete_message() {
        let payload = encoder(false, 15, 6).encode(&[7; 1000]).expect("shorter");
        let (start, end) = payload.split_at(3);
        for takeover in [false, true] {
            let mut decoder = decoder(takeover);
            decoder.decode(start, false, |_| Ok(())).expect("valid");
            assert_eq!(decoder.held(), DECOMPRESSOR);
            // Meanwhile another connection gets one of its own.
            let mut other = Decoder::new(Side { takeover: false, bits: 15 });
            assert_eq!(decoded(&mut other, &payload), Ok(vec![7; 1000]));
            let mut all = Vec::new();
            let keep = |piece: &[u8]| {
                all.extend_from_slice(piece);
                Ok(())
            };
            decoder.decode(end, true, keep).expect("valid");
            assert!(all.ends_with(&[7; 900]));
            assert_eq!(decoder.held(), if takeover { DECOMPRESSOR } else { 0 });
            assert_eq!(decoder.take_work(), 1000);
            assert_eq!(decoder.take_work(), 0);
        }
    }

    /// A payload that was cut anywhere is no message, even if the rest is not missed before the end.
    #[test]
    fn a_truncated_message_is_an_error() {
        let text: Vec<u8> =
            (0..3000u32).flat_map(|n| (n * n % 7919).to_string().into_bytes()).collect();
        let payload = encoder(false, 15, 6).encode(&text).expect("shorter");
        assert_eq!(payload[0] & 0b110, 0b100, "code lengths come first");
        for cut in 0..payload.len() {
            let result = decoded(&mut decoder(false), &payload[..cut]);
            assert_eq!(result, Err(Violation::InvalidDeflate), "cut at {cut}");
        }
        assert!(decoded(&mut decoder(false), &payload) == Ok(text));
    }

    /// An error of the caller ends the decompression at once.
    #[test]
    fn no_more_is_decompressed_than_the_caller_takes() {
        let payload = encoder(false, 15, 6).encode(&vec![7; 1 << 20]).expect("shorter");
        let mut pieces = 0;
        let result = decoder(false).decode(&payload, true, |_| {
            pieces += 1;
            if pieces == 3 { Err(Violation::MessageTooBig) } else { Ok(()) }
        });
        assert_eq!((result, pieces), (Err(Violation::MessageTooBig), 3));
        // The decompressor that was given up is not used again.
        assert_eq!(decoded(&mut decoder(false), &payload), Ok(vec![7; 1 << 20]));
    }
}
