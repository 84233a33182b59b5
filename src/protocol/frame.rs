//! RFC 6455 §5.2: decodes and encodes frame headers.
//!
//! ```text
//!  bit  0   1 2 3   4 5 6 7    8    9 ... 15
//!     +---+-------+---------+------+---------+----------------+-------------+--------------+
//!     |FIN|RSV1-3 | opcode  | MASK | length  | longer length  | masking key | payload data |
//!     +---+-------+---------+------+---------+----------------+-------------+--------------+
//!     '------ byte 0 -------'----- byte 1 ---'  0, 2 or 8 B     0 or 4 B
//!
//!     length 0-125: that many bytes;  126: the next 2 bytes hold it;  127: the next 8 bytes hold it
//! ```
//!
//! This file checks the rules that concern a single header. It reports a broken rule at the first byte that shows it,
//! so the receiver never stores an invalid frame or waits for the rest of it. `receive.rs` checks the rules that depend
//! on earlier frames.

use crate::protocol::violation::Violation;

/// The length of the longest [`Header`] in bytes: 2, plus 8 for the payload length and 4 for the masking key.
pub const MAX_HEADER: usize = 14;

/// The maximum payload length of a control frame in bytes (§5.5). [`Header::decode`] checks it.
pub const MAX_CONTROL: usize = 125;

/// The two sides of a connection. Clients mask their frames, servers do not (§5.1), which [`Header::decode`] checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that opened the TCP connection and sent the request.
    Client,
    /// The side that accepted it.
    Server,
}

impl Role {
    /// Returns the other side.
    #[must_use]
    pub fn other(self) -> Role {
        match self {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }
}

/// The type of a frame (§5.2), which its [`Header`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake (§5.5.1).
    Close = 0x8,
    /// Asks for a pong (§5.5.2).
    Ping = 0x9,
    /// Responds to a ping, or shows without a ping that its sender is alive (§5.5.3).
    Pong = 0xA,
}

impl Opcode {
    /// Every opcode that the standard defines.
    pub const ALL: &'static [Opcode] = &[
        Opcode::Continuation,
        Opcode::Text,
        Opcode::Binary,
        Opcode::Close,
        Opcode::Ping,
        Opcode::Pong,
    ];

    /// Reports whether this is a control frame. The others carry messages (§5.5).
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    /// Returns the name that the standard uses.
    pub fn name(self) -> &'static str {
        match self {
            Opcode::Continuation => "continuation",
            Opcode::Text => "text",
            Opcode::Binary => "binary",
            Opcode::Close => "close",
            Opcode::Ping => "ping",
            Opcode::Pong => "pong",
        }
    }

    #[inline]
    fn from_bits(bits: u8) -> Result<Opcode, Violation> {
        match bits {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xA => Ok(Opcode::Pong),
            // RFC 6455 §5.2-4
            _ => Err(Violation::ReservedOpcode),
        }
    }
}

/// The reserved bits of a frame [`Header`]. Without an extension all three are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rsv(u8);

impl Rsv {
    /// No bit is set.
    pub const NONE: Rsv = Rsv(0);
    /// RSV1 is set.
    pub const RSV1: Rsv = Rsv(0b100);

    /// Reports whether no bit is set.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the bits as a number: RSV1 counts 4, RSV2 counts 2, RSV3 counts 1.
    #[inline]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Reports whether every bit that is set here is also set in `allowed`.
    #[inline]
    pub fn is_within(self, allowed: Rsv) -> bool {
        self.0 & !allowed.0 == 0
    }
}

/// A decoded frame header.
///
/// ```
/// use framewise::protocol::frame::{Header, MAX_HEADER, Opcode, Role, Rsv};
/// use framewise::protocol::violation::Violation;
///
/// // The masked "Hello" of §5.7, and the beginning of a frame without a mask.
/// let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// let (header, length) = Header::decode(masked, Role::Client, Rsv::NONE)?.expect("a complete header");
/// assert_eq!((header.opcode, header.length, length), (Opcode::Text, 5, 6));
/// assert_eq!(Header::decode(b"\x81\x05", Role::Client, Rsv::NONE), Err(Violation::UnmaskedFrame));
///
/// let mut encoded = [0; MAX_HEADER];
/// assert_eq!(header.encode(&mut encoded), 6);
/// assert_eq!(encoded[..6], masked[..6]);
/// # Ok::<(), Violation>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last fragment of its message.
    pub fin: bool,
    /// The reserved bits. Only an extension gives them a meaning.
    pub rsv: Rsv,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The masking key, if the sender is a client.
    pub key: Option<[u8; 4]>,
    /// Payload length in bytes.
    pub length: u64,
}

impl Header {
    /// Decodes one header from the start of `bytes`. `sender` is the side that sent them, and `allowed` are the
    /// reserved bits that an extension has negotiated for the first frame of a message.
    ///
    /// Returns the header and its length in bytes, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// The bytes so far break a rule of §5.1, §5.2 or §5.5.
    #[inline]
    pub fn decode(
        bytes: &[u8],
        sender: Role,
        allowed: Rsv,
    ) -> Result<Option<(Header, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, rsv, opcode) = first_byte(first, allowed)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let short = second_byte(second, opcode, sender)?;

        let (length, at) = match short {
            126 => {
                let Some(long) = array_at::<2>(bytes, 2) else { return Ok(None) };
                (u64::from(u16::from_be_bytes(long)), 4)
            }
            127 => {
                let Some(long) = array_at::<8>(bytes, 2) else { return Ok(None) };
                (u64::from_be_bytes(long), 10)
            }
            short => (u64::from(short), 2),
        };
        // RFC 6455 §5.2-6: a longer form must not be used for a length that fits a shorter one.
        if (short == 126 && length < 126) || (short == 127 && length < 0x1_0000) {
            return Err(Violation::LengthNotMinimal);
        }
        // RFC 6455 §5.2-5
        if length >> 63 != 0 {
            return Err(Violation::LengthTopBit);
        }

        let (key, at) = match sender {
            Role::Client => {
                let Some(key) = array_at::<4>(bytes, at) else { return Ok(None) };
                (Some(key), at + 4)
            }
            Role::Server => (None, at),
        };
        Ok(Some((Header { fin, rsv, opcode, key, length }, at)))
    }

    /// Fast path: decodes the header of an unfragmented message from a client with at most 125 bytes of payload and
    /// no reserved bit. Returns its opcode, payload length and masking key.
    ///
    /// `None` only means that the fast path did not apply. [`decode`](Header::decode) handles every case.
    #[inline]
    pub(crate) fn decode_short(bytes: &[u8]) -> Option<(Opcode, usize, [u8; 4])> {
        let &[first, second @ 0x80..=0xfd, k0, k1, k2, k3] = bytes.first_chunk()? else {
            return None;
        };
        let opcode = match first {
            0x81 => Opcode::Text,
            0x82 => Opcode::Binary,
            _ => return None,
        };
        Some((opcode, usize::from(second & 0x7f), [k0, k1, k2, k3]))
    }

    /// Encodes the header into `into` and returns its length in bytes, at most [`MAX_HEADER`].
    #[inline]
    pub fn encode(self, into: &mut [u8; MAX_HEADER]) -> usize {
        into[0] = u8::from(self.fin) << 7 | self.rsv.bits() << 4 | self.opcode as u8;
        // RFC 6455 §5.3-1
        let mask = u8::from(self.key.is_some()) << 7;
        // RFC 6455 §5.2-6: the shortest form that holds the length.
        let at = if self.length < 126 {
            into[1] = mask | self.length as u8;
            2
        } else if self.length < 0x1_0000 {
            into[1] = mask | 126;
            into[2..4].copy_from_slice(&(self.length as u16).to_be_bytes());
            4
        } else {
            into[1] = mask | 127;
            into[2..10].copy_from_slice(&self.length.to_be_bytes());
            10
        };
        match self.key {
            Some(key) => {
                into[at..at + 4].copy_from_slice(&key);
                at + 4
            }
            None => at,
        }
    }
}

/// Decodes FIN, RSV1-3 and the opcode.
#[inline]
fn first_byte(byte: u8, allowed: Rsv) -> Result<(bool, Rsv, Opcode), Violation> {
    let fin = byte & 0x80 != 0;
    let rsv = Rsv(byte >> 4 & 0b111);
    if !rsv.is_empty() {
        // RFC 6455 §5.2-3: the extensions of this crate change whole messages, so only the first frame of a message may
        // set their bits (RFC 7692 6.1 requires the same of RSV1).
        let begins_message = matches!(byte & 0x0f, 0x1 | 0x2);
        if !begins_message || !rsv.is_within(allowed) {
            return Err(Violation::ReservedBits);
        }
    }
    let opcode = Opcode::from_bits(byte & 0x0f)?;
    // RFC 6455 §5.5-2, §5.4-2
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl);
    }
    Ok((fin, rsv, opcode))
}

/// Decodes MASK and the 7-bit length.
#[inline]
fn second_byte(byte: u8, opcode: Opcode, sender: Role) -> Result<u8, Violation> {
    let masked = byte & 0x80 != 0;
    match sender {
        // RFC 6455 §5.1-2
        Role::Client if !masked => return Err(Violation::UnmaskedFrame),
        // RFC 6455 §5.1-5
        Role::Server if masked => return Err(Violation::MaskedFrame),
        _ => {}
    }
    let short = byte & 0x7f;
    // RFC 6455 §5.5-1: 126 and 127 always mean more than 125 bytes.
    if opcode.is_control() && usize::from(short) > MAX_CONTROL {
        return Err(Violation::ControlTooLong);
    }
    Ok(short)
}

#[inline]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        Header::decode(bytes, Role::Client, Rsv::NONE)
    }

    /// RFC 6455 §5.7: the standard's example of a masked "Hello".
    #[test]
    fn decodes_the_example_of_the_standard() {
        let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let key = Some([0x37, 0xfa, 0x21, 0x3d]);
        let header = Header { fin: true, rsv: Rsv::NONE, opcode: Opcode::Text, key, length: 5 };
        assert_eq!(client(&bytes), Ok(Some((header, 6))));
        for short in 0..6 {
            assert_eq!(client(&bytes[..short]), Ok(None), "{short} bytes are not a header yet");
        }
    }

    /// RFC 6455 §5.2-6: decoding reverses encoding, at every boundary of the length forms.
    #[test]
    fn encode_then_decode_is_the_identity() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20, (1 << 63) - 1] {
            for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Binary] {
                for (key, sender) in [(None, Role::Server), (Some([9, 8, 7, 6]), Role::Client)] {
                    let header =
                        Header { fin: length % 2 == 0, rsv: Rsv::NONE, opcode, key, length };
                    let mut bytes = [0; MAX_HEADER];
                    let taken = header.encode(&mut bytes);
                    assert_eq!(
                        Header::decode(&bytes[..taken], sender, Rsv::NONE),
                        Ok(Some((header, taken)))
                    );
                }
            }
        }
    }

    /// RFC 6455 §5.2-4, §5.2-3, §5.4-2, §5.5-2: these frames are refused at their first byte.
    #[test]
    fn refuses_at_the_first_byte() {
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            assert_eq!(client(&[0x80 | opcode]), Err(Violation::ReservedOpcode));
        }
        for rsv in [0x10, 0x20, 0x40, 0x70] {
            assert_eq!(client(&[0x81 | rsv]), Err(Violation::ReservedBits));
        }
        for control in [0x08, 0x09, 0x0a] {
            assert_eq!(client(&[control]), Err(Violation::FragmentedControl));
        }
    }

    /// RFC 6455 §5.2-3: a negotiated bit may be set on the first frame of a message and on no other frame.
    #[test]
    fn a_negotiated_bit_belongs_to_the_first_frame_of_a_message() {
        let decode = |first| Header::decode(&[first, 0], Role::Server, Rsv::RSV1);
        for begins in [0x41, 0x42, 0xc1, 0xc2] {
            let (header, _) = decode(begins).expect("allowed").expect("whole");
            assert_eq!(header.rsv, Rsv::RSV1);
            assert_eq!(header.encode(&mut [0; MAX_HEADER]), 2);
        }
        for refused in [0x40, 0xc0, 0xc8, 0xc9, 0xca, 0x61, 0x51, 0x71] {
            assert_eq!(decode(refused), Err(Violation::ReservedBits), "{refused:x}");
        }
    }

    /// RFC 6455 §5.1-2, §5.1-5, §5.5-1: these frames are refused at their second byte.
    #[test]
    fn refuses_at_the_second_byte() {
        assert_eq!(client(&[0x81, 0x05]), Err(Violation::UnmaskedFrame));
        assert_eq!(
            Header::decode(&[0x81, 0x85], Role::Server, Rsv::NONE),
            Err(Violation::MaskedFrame)
        );
        assert_eq!(client(&[0x89, 0xfe]), Err(Violation::ControlTooLong));
        assert_eq!(client(&[0x89, 0xff]), Err(Violation::ControlTooLong));
    }

    /// RFC 6455 §5.2-5, §5.2-6
    #[test]
    fn refuses_bad_lengths_before_the_key_arrives() {
        let not_minimal = Err(Violation::LengthNotMinimal);
        assert_eq!(client(&[0x81, 0xfe, 0, 125]), not_minimal);
        assert_eq!(client(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), not_minimal);
        assert_eq!(client(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(Violation::LengthTopBit));
    }
}
