//! RFC 6455 §5.5.1, §7.4: status codes and the body of a Close frame.
//!
//! ```text
//!  03 e8 62 79 65        code 1000, reason "bye"
//!  '---' '------'
//!  code   reason: UTF-8, at most 123 bytes, or nothing
//! ```

use std::fmt;

use crate::protocol::frame::MAX_CONTROL;
use crate::protocol::utf8;
use crate::protocol::violation::Violation;

/// The longest reason: a control frame's 125 bytes less the 2 of the code.
pub const MAX_REASON: usize = MAX_CONTROL - 2;

/// The longest body of a Close frame, in bytes.
pub const MAX_BODY: usize = MAX_CONTROL;

/// A status code of the closing handshake (§7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// This end goes away: a server stops, a page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The other end broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// Reported, never sent: the Close frame had no body.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// Reported, never sent: the connection was lost without a Close frame.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// The other end broke a policy, for example a limit.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message was larger than accepted.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// This server met an unexpected condition.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);

    /// Whether the code may stand in a Close frame.
    ///
    /// 1004 is reserved, 1005, 1006 and 1015 are for local reports only, 1016-2999 wait for future
    /// standards, and 3000-4999 belong to libraries and applications (§7.4.1, §7.4.2). 1012-1014 were
    /// registered after the standard.
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

/// A close that this end must not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidClose {
    /// The code may not stand in a Close frame.
    Code(CloseCode),
    /// The reason has this many bytes; 123 fit.
    ReasonTooLong(usize),
}

impl fmt::Display for InvalidClose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidClose::Code(code) => {
                write!(out, "close code {code} must not be sent (RFC 6455 7.4)")
            }
            InvalidClose::ReasonTooLong(bytes) => {
                write!(out, "a close reason of {bytes} bytes; 123 fit (RFC 6455 5.5.1)")
            }
        }
    }
}

impl std::error::Error for InvalidClose {}

/// Reads the body of a Close frame; `None` when it is empty.
///
/// # Errors
///
/// Half a code, a code that may not travel, or a reason that is not UTF-8.
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
            let reason = utf8::validate(reason).map_err(|_| Violation::InvalidCloseReason)?;
            Ok(Some((code, reason)))
        }
    }
}

/// Writes the body of a Close frame and answers the bytes of `into` that it takes.
///
/// # Errors
///
/// The code may not be sent, or the reason is too long.
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
    fn knows_which_codes_travel() {
        let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        for code in 0..=u16::MAX {
            let expected = registered.contains(&code) || (3000..5000).contains(&code);
            assert_eq!(CloseCode(code).may_be_sent(), expected, "{code}");
            assert_eq!(decode(&code.to_be_bytes()).is_ok(), expected, "{code}");
        }
    }

    /// RFC 6455 §5.5.1-2, §5.5.1-3, §8.1-1
    #[test]
    fn reads_bodies() {
        assert_eq!(decode(b""), Ok(None));
        assert_eq!(decode(b"\x03"), Err(Violation::TruncatedCloseCode));
        assert_eq!(decode(b"\x03\xe8bye"), Ok(Some((CloseCode::NORMAL, "bye"))));
        assert_eq!(decode(b"\x03\xe8\xff"), Err(Violation::InvalidCloseReason));
    }

    /// RFC 6455 §5.5-1: 123 bytes of reason fit, 124 do not.
    #[test]
    fn writes_bodies() {
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
