//! Literal frames.

use super::show;

/// Returns a client's frame. `first` is the first byte: FIN, RSV and opcode. The length has the shortest form, and the
/// masking key is 00 00 00 00, so that the payload stays readable.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns a server's frame: as [`frame`], but unmasked.
pub fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(first, payload);
    bytes[1] &= 0x7f;
    let header = bytes.len() - payload.len();
    bytes.drain(header - 4..header);
    bytes
}

/// Returns a server's Close frame.
pub fn failure(code: u16, reason: &str) -> Vec<u8> {
    server_frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Checks invariant I6: there is at most one Close frame, and only pongs after it.
#[track_caller]
pub fn at_most_one_close(bytes: &[u8]) {
    let mut rest = bytes;
    let mut is_closed = false;
    while let [first, second, after @ ..] = rest {
        let (length, header) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), 2),
            127 => (u64::from_be_bytes(after[..8].try_into().expect("eight")) as usize, 8),
            short => (usize::from(short), 0),
        };
        rest = &after[header + length..];
        assert!(!is_closed || *first == 0x8a, "a frame after a Close: {first:#x} {}", show(rest));
        is_closed |= *first == 0x88;
    }
    assert!(rest.is_empty(), "the last frame is incomplete");
}
