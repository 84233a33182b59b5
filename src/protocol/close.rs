//! RFC 6455 §5.5.1, §7.4: status codes and the body of a Close frame.
//!
//! ```text
//!  03 e8 62 79 65        code 1000, reason "bye"
//!  '---' '------'
//!  code   reason: UTF-8, at most 123 bytes, or nothing
//! ```

use std::fmt;

use crate::protocol::frame::MAX_CONTROL;
use crate::protocol::violation::Violation;

/// The maximum length of a reason in bytes: the 125 of a control frame minus 2 for the [`CloseCode`].
pub const MAX_REASON: usize = MAX_CONTROL - 2;

/// The maximum length of the body of a Close frame in bytes: a [`CloseCode`] and a reason.
pub const MAX_BODY: usize = MAX_CONTROL;

/// A status code of the closing handshake (§7.4). The constants are codes of the standard (§7.4.1-1).
///
/// ```
/// use framewise::CloseCode;
///
/// assert!(CloseCode::NORMAL.may_be_sent());
/// assert!(CloseCode(4000).may_be_sent(), "3000 to 4999 belong to libraries and applications");
/// assert!(!CloseCode::ABNORMAL.may_be_sent(), "1006 only reports that there was no Close frame");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The connection has fulfilled its purpose.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The sender is going away: the server shuts down, or the user leaves the page.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// Only reported, never sent: the Close frame had no body.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// Only reported, never sent: the connection was lost without a Close frame.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// The peer broke a policy of the sender, for example a limit.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message was larger than the sender of this code accepts.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// The server encountered an unexpected condition.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);

    /// Reports whether the code may be sent in a Close frame (§7.4.1, §7.4.2).
    ///
    /// | codes | |
    /// |---|---|
    /// | 1000-1003, 1007-1011 | may be sent; defined by the standard |
    /// | 1012-1014 | may be sent; registered after the standard |
    /// | 3000-4999 | may be sent; for libraries and applications |
    /// | 1005, 1006, 1015 | only reported by an implementation to its application |
    /// | 1004 and all others | reserved |
    pub fn may_be_sent(self) -> bool {
        // RFC 6455 §7.4.1-3, §7.4.1-4, §7.4.1-6
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The reason why a Close frame cannot be sent, as [`encode`] and [`Outbox::close`](crate::Outbox::close) return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidClose {
    /// The code must not be sent (§7.4).
    Code(CloseCode),
    /// The reason has this many bytes, more than the 123 that fit in a Close frame (§5.5.1).
    ReasonTooLong(usize),
}

impl fmt::Display for InvalidClose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidClose::Code(code) => {
                write!(out, "close code {code} must not be sent (RFC 6455 7.4)")
            }
            InvalidClose::ReasonTooLong(bytes) => {
                write!(out, "a close reason of {bytes} bytes is too long: 123 fit (RFC 6455 5.5.1)")
            }
        }
    }
}

impl std::error::Error for InvalidClose {}

/// Parses the body of a Close frame (§5.5.1). Returns the code and the reason, or `None` if the body is empty.
///
/// ```
/// use framewise::CloseCode;
/// use framewise::protocol::close::decode;
///
/// assert_eq!(decode(b"\x03\xe8bye"), Ok(Some((CloseCode::NORMAL, "bye"))));
/// assert_eq!(decode(b""), Ok(None));
/// ```
///
/// # Errors
///
/// The body is one byte long, its code must not be sent, or its reason is not UTF-8.
pub fn decode(body: &[u8]) -> Result<Option<(CloseCode, &str)>, Violation> {
    match body {
        [] => Ok(None),
        // RFC 6455 §5.5.1-2
        [_] => Err(Violation::TruncatedCloseCode),
        [high, low, reason @ ..] => {
            let code = CloseCode(u16::from_be_bytes([*high, *low]));
            if !code.may_be_sent() {
                return Err(Violation::InvalidCloseCode);
            }
            // RFC 6455 §8.1-1, §5.5.1-3
            let reason = str::from_utf8(reason).map_err(|_| Violation::InvalidCloseReason)?;
            Ok(Some((code, reason)))
        }
    }
}

/// Encodes the body of a Close frame into `into` and returns its length in bytes (§5.5.1).
///
/// ```
/// use framewise::CloseCode;
/// use framewise::protocol::close::{MAX_BODY, encode};
///
/// let mut body = [0; MAX_BODY];
/// let length = encode(CloseCode::NORMAL, "bye", &mut body)?;
/// assert_eq!(&body[..length], b"\x03\xe8bye");
/// # Ok::<(), framewise::InvalidClose>(())
/// ```
///
/// # Errors
///
/// The code must not be sent, or the reason is longer than 123 bytes.
pub fn encode(
    code: CloseCode,
    reason: &str,
    into: &mut [u8; MAX_BODY],
) -> Result<usize, InvalidClose> {
    if !code.may_be_sent() {
        return Err(InvalidClose::Code(code));
    }
    // RFC 6455 §5.5-1
    if reason.len() > MAX_REASON {
        return Err(InvalidClose::ReasonTooLong(reason.len()));
    }
    // RFC 6455 §5.5.1-1 to §5.5.1-3, §7.4-1
    let length = 2 + reason.len();
    into[..2].copy_from_slice(&code.0.to_be_bytes());
    into[2..length].copy_from_slice(reason.as_bytes());
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §7.4.1-3, §7.4.1-4, §7.4.1-6: every 16-bit code, against the list of the standard.
    #[test]
    fn knows_which_codes_may_be_sent() {
        let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        for code in 0..=u16::MAX {
            let expected = registered.contains(&code) || (3000..5000).contains(&code);
            assert_eq!(CloseCode(code).may_be_sent(), expected, "{code}");
            assert_eq!(decode(&code.to_be_bytes()).is_ok(), expected, "{code}");
        }
    }

    /// RFC 6455 §5.5.1-2, §5.5.1-3, §8.1-1
    #[test]
    fn decodes_bodies() {
        assert_eq!(decode(b""), Ok(None));
        assert_eq!(decode(b"\x03"), Err(Violation::TruncatedCloseCode));
        assert_eq!(decode(b"\x03\xe8bye"), Ok(Some((CloseCode::NORMAL, "bye"))));
        assert_eq!(decode(b"\x03\xe8\xff"), Err(Violation::InvalidCloseReason));
    }

    /// RFC 6455 §5.5-1: 123 bytes of reason fit, 124 do not.
    #[test]
    fn encodes_bodies() {
        let mut body = [0; MAX_BODY];
        let longest = "x".repeat(123);
        assert_eq!(encode(CloseCode::NORMAL, &longest, &mut body), Ok(125));
        let too_long = "x".repeat(124);
        let refused = Err(InvalidClose::ReasonTooLong(124));
        assert_eq!(encode(CloseCode::NORMAL, &too_long, &mut body), refused);
        let reserved = CloseCode::ABNORMAL;
        assert_eq!(encode(reserved, "", &mut body), Err(InvalidClose::Code(reserved)));
    }
}
