//! RFC 6455 §5.2: the frame header, from bytes and to bytes.
//!
//! ```text
//!  bit  0   1 2 3   4 5 6 7    8    9 ... 15
//!     +---+-------+---------+------+---------+----------------+-------------+--------------+
//!     |FIN|RSV1-3 | opcode  | MASK | length  | longer length  | masking key | payload data |
//!     +---+-------+---------+------+---------+----------------+-------------+--------------+
//!     '------ byte 0 -------'----- byte 1 ---'  0, 2 or 8 B     0 or 4 B
//!
//!     length 0-125: that many bytes;  126: the next 2 bytes say;  127: the next 8 bytes say
//! ```
//!
//! Rules of this file: everything that the header alone can break is refused here, at the first byte
//! that shows it, so a hopeless frame costs nothing. What depends on earlier frames is `receive.rs`.

use crate::protocol::violation::Violation;

/// The longest header: two bytes, eight of length, four of masking key.
pub const MAX_HEADER: usize = 14;

/// The most payload data that a control frame carries (§5.5).
pub const MAX_CONTROL: usize = 125;

/// The two ends of a connection; clients mask their frames, servers do not (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that opened the TCP connection and sent the request.
    Client,
    /// The end that accepted it.
    Server,
}

impl Role {
    /// The other end.
    pub fn other(self) -> Role {
        match self {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }
}

/// What a frame is for (§5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of the message under way.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake (§5.5.1).
    Close = 0x8,
    /// Asks for a pong (§5.5.2).
    Ping = 0x9,
    /// Answers a ping, or says "I am here" unasked (§5.5.3).
    Pong = 0xA,
}

impl Opcode {
    /// Control frames steer the connection; the others carry messages (§5.5).
    #[inline]
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    /// The name that the standard's diagrams and this project's traces use.
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

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Last fragment of its message.
    pub fin: bool,
    /// What the frame is for.
    pub opcode: Opcode,
    /// The masking key; present exactly when a client sends.
    pub key: Option<[u8; 4]>,
    /// Payload length in bytes.
    pub length: u64,
}

impl Header {
    /// Reads one header from the start of `bytes`; `sender` is the end that sent them.
    ///
    /// Answers the header and the bytes it takes, or `None` while more bytes are needed: partial is a
    /// value, not an error.
    ///
    /// # Errors
    ///
    /// The bytes so far break a rule of §5.1, §5.2 or §5.5.
    #[inline]
    pub fn decode(bytes: &[u8], sender: Role) -> Result<Option<(Header, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, opcode) = first_byte(first)?;
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
        // RFC 6455 §5.2-6: 126 is for lengths that need it, and so is 127.
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
        Ok(Some((Header { fin, opcode, key, length }, at)))
    }

    /// Writes the header and answers it with the bytes of `into` that it takes (at most
    /// [`MAX_HEADER`]).
    #[inline]
    pub fn encode(self, into: &mut [u8; MAX_HEADER]) -> usize {
        into[0] = u8::from(self.fin) << 7 | self.opcode as u8;
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

/// FIN, RSV1-3 and the opcode.
#[inline]
fn first_byte(byte: u8) -> Result<(bool, Opcode), Violation> {
    // RFC 6455 §5.2-3: no extension is negotiated, so none gives these bits a meaning.
    if byte & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let fin = byte & 0x80 != 0;
    let opcode = Opcode::from_bits(byte & 0x0f)?;
    // RFC 6455 §5.5-2, §5.4-2
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl);
    }
    Ok((fin, opcode))
}

/// MASK and the 7-bit length.
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
    // RFC 6455 §5.5-1: the forms 126 and 127 announce more than 125 bytes by themselves.
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
        Header::decode(bytes, Role::Client)
    }

    /// RFC 6455 §5.7: the standard's example of a masked "Hello".
    #[test]
    fn decodes_the_example_of_the_standard() {
        let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let key = Some([0x37, 0xfa, 0x21, 0x3d]);
        let header = Header { fin: true, opcode: Opcode::Text, key, length: 5 };
        assert_eq!(client(&bytes), Ok(Some((header, 6))));
        for short in 0..6 {
            assert_eq!(client(&bytes[..short]), Ok(None), "{short} bytes are not a header yet");
        }
    }

    /// RFC 6455 §5.2-6: what one end encodes the other decodes, at every boundary of the length forms.
    #[test]
    fn encode_then_decode_is_the_identity() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20, (1 << 63) - 1] {
            for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Binary] {
                for (key, sender) in [(None, Role::Server), (Some([9, 8, 7, 6]), Role::Client)] {
                    let header = Header { fin: length % 2 == 0, opcode, key, length };
                    let mut bytes = [0; MAX_HEADER];
                    let taken = header.encode(&mut bytes);
                    assert_eq!(Header::decode(&bytes[..taken], sender), Ok(Some((header, taken))));
                }
            }
        }
    }

    /// RFC 6455 §5.2-4, §5.2-3, §5.5-2: one byte is enough to refuse.
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

    /// RFC 6455 §5.1-2, §5.1-5, §5.5-1: two bytes are enough to refuse.
    #[test]
    fn refuses_at_the_second_byte() {
        assert_eq!(client(&[0x81, 0x05]), Err(Violation::UnmaskedFrame));
        assert_eq!(Header::decode(&[0x81, 0x85], Role::Server), Err(Violation::MaskedFrame));
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
