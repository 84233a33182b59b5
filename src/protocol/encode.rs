//! RFC 6455 §5.2, §6.1: encodes messages as frames.
//!
//! ```text
//! Message ──> | header, 2 to 14 bytes | payload data |        each message becomes one frame (§6.1-7)
//!                                       masked if a client sends it
//! ```

use std::collections::TryReserveError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::protocol::frame::{Header, MAX_HEADER, Opcode, Rsv};
use crate::protocol::mask;
use crate::protocol::message::Message;

/// One message as an unmasked frame, encoded once for any number of peers.
///
/// ```
/// use framewise::protocol::encode::EncodedFrame;
/// use framewise::protocol::output::Output;
///
/// let frame = EncodedFrame::new("Hello".into()).expect("enough memory");
/// assert_eq!(frame.bytes(), b"\x81\x05Hello");
///
/// let (mut ana, mut rui) = (Output::new(None), Output::new(None));
/// assert!(ana.send_encoded(&frame) && rui.send_encoded(&frame));
/// assert_eq!(ana.take(), rui.take());
/// ```
#[derive(Clone)]
pub struct EncodedFrame(Arc<SharedBytes>);

/// The bytes of a frame. Their size is part of `count` until the last reference to the frame is dropped.
struct SharedBytes {
    frame: Vec<u8>,
    opcode: Opcode,
    payload_at: usize,
    count: SharedCount,
}

/// Counts the bytes of frames that outputs share. A frame counts once, no matter how many outputs hold it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedCount(Arc<AtomicUsize>);

impl SharedCount {
    /// Returns the current total in bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        self.count.0.fetch_sub(self.frame.capacity(), Ordering::Relaxed);
    }
}

impl EncodedFrame {
    /// Encodes a message as one unmasked frame, as a server sends it. Returns `None` if there is not enough memory.
    pub fn new(message: Message<'_>) -> Option<EncodedFrame> {
        EncodedFrame::counted(message, &SharedCount::default())
    }

    /// Encodes a message and adds its bytes to `count` until the last clone is dropped.
    pub(crate) fn counted(message: Message<'_>, count: &SharedCount) -> Option<EncodedFrame> {
        EncodedFrame::with_rsv(message.opcode(), Rsv::NONE, message.bytes(), count)
    }

    /// Creates a frame from a payload that an extension may have encoded. `rsv` are the reserved bits to set.
    pub(crate) fn with_rsv(
        opcode: Opcode,
        rsv: Rsv,
        payload: &[u8],
        count: &SharedCount,
    ) -> Option<EncodedFrame> {
        let (header, payload_at) = header(opcode, rsv, payload.len(), None);
        let mut frame = Vec::new();
        frame.try_reserve_exact(payload_at + payload.len()).ok()?;
        frame.extend_from_slice(&header[..payload_at]);
        frame.extend_from_slice(payload);
        count.0.fetch_add(frame.capacity(), Ordering::Relaxed);
        let count = count.clone();
        Some(EncodedFrame(Arc::new(SharedBytes { frame, opcode, payload_at, count })))
    }

    /// Counts the bytes of the frame in another counter. The frame must not be shared yet.
    pub(crate) fn count_in(&mut self, count: &SharedCount) {
        if let Some(SharedBytes { frame, count: current, .. }) = Arc::get_mut(&mut self.0) {
            current.0.fetch_sub(frame.capacity(), Ordering::Relaxed);
            count.0.fetch_add(frame.capacity(), Ordering::Relaxed);
            *current = count.clone();
        }
    }

    /// Returns the whole frame as it is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0.frame
    }

    pub(crate) fn opcode(&self) -> Opcode {
        self.0.opcode
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.0.frame[self.0.payload_at..]
    }
}

impl fmt::Debug for EncodedFrame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "EncodedFrame({:?}, {} bytes)", self.0.opcode, self.0.frame.len())
    }
}

/// Encodes the header of an unfragmented message. Returns it with its length in bytes.
#[inline]
pub(crate) fn header(
    opcode: Opcode,
    rsv: Rsv,
    length: usize,
    key: Option<[u8; 4]>,
) -> ([u8; MAX_HEADER], usize) {
    let mut bytes = [0; MAX_HEADER];
    // RFC 6455 §6.1-7, §5.2-1: the only frame of a message is also its last one, so FIN is set.
    let header = Header { fin: true, rsv, opcode, key, length: length as u64 };
    let taken = header.encode(&mut bytes);
    (bytes, taken)
}

/// Appends one whole frame (§6.1-4): header, then payload, masked if there is a key (§5.3, §6.1-8).
///
/// # Errors
///
/// There is not enough memory. Nothing was appended.
#[inline(never)]
pub(crate) fn append_frame(
    into: &mut Vec<u8>,
    opcode: Opcode,
    rsv: Rsv,
    payload: &[u8],
    key: Option<[u8; 4]>,
) -> Result<(), TryReserveError> {
    let (header, length) = header(opcode, rsv, payload.len(), key);
    into.try_reserve(length + payload.len())?;
    into.extend_from_slice(&header[..length]);
    let start = into.len();
    into.extend_from_slice(payload);
    if let Some(key) = key {
        mask::apply(&mut into[start..], key, 0);
    }
    Ok(())
}

/// The longest payload that [`append_short_frame`] accepts, in bytes.
pub(crate) const MAX_SHORT: usize = 125;

/// Fast path: appends an unmasked frame of at most [`MAX_SHORT`] bytes of payload. The caller ensures that `into` has
/// room for it.
#[inline(always)]
pub(crate) fn append_short_frame(into: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    into.extend_from_slice(&[0x80 | opcode as u8, payload.len() as u8]);
    into.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.7: the examples of the standard. §5.2-1, §5.2-2, §5.2-9 to §5.2-11, §6.1-4, §6.1-7: one frame with FIN and
    /// without reserved bits.
    #[test]
    fn encodes_the_examples_of_the_standard() {
        assert_eq!(EncodedFrame::new("Hello".into()).expect("memory").bytes(), b"\x81\x05Hello");
        let mut masked = Vec::new();
        let key = Some([0x37, 0xfa, 0x21, 0x3d]);
        append_frame(&mut masked, Opcode::Text, Rsv::NONE, b"Hello", key).expect("memory");
        assert_eq!(masked, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn the_short_path_encodes_the_same() {
        for length in 0..=MAX_SHORT {
            let payload = vec![b'x'; length];
            let mut short = Vec::new();
            append_short_frame(&mut short, Opcode::Text, &payload);
            let mut any = Vec::new();
            append_frame(&mut any, Opcode::Text, Rsv::NONE, &payload, None).expect("memory");
            assert_eq!(short, any);
        }
    }

    #[test]
    fn a_shared_frame_counts_once_and_until_its_last_clone_is_gone() {
        let count = SharedCount::default();
        let frame = EncodedFrame::counted("Hello".into(), &count).expect("memory");
        let clones = vec![frame.clone(); 10];
        assert_eq!(count.bytes(), 7);
        drop(frame);
        assert_eq!(count.bytes(), 7);
        drop(clones);
        assert_eq!(count.bytes(), 0);
    }
}
