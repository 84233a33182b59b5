//! RFC 6455 §4.2.2 step 5: `Sec-WebSocket-Key`, and how `Sec-WebSocket-Accept` is computed from it.
//!
//! ```text
//! dGhlIHNhbXBsZSBub25jZQ==  +  258EAFA5-E914-47DA-95CA-C5AB0DC85B11
//! '-------- key ---------'     '------------- GUID ---------------'
//!        SHA-1 of both texts joined:  b3 7a 4f 2c c0 62 4f 16 90 f6 46 06 cf 38 59 45 b2 be c4 ea
//!        in base64:                   s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
//! ```
//!
//! The key does not authenticate anybody: every client and server can compute these values. It shows that the response
//! was made for this request by a server that speaks WebSocket. A cache or an ordinary HTTP server cannot produce it by
//! accident.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

/// The fixed text that is appended to every key (§1.3). [`accept_key`] uses it.
pub const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The standard alphabet; padding is required. The last character of a key has bits that belong to no byte. They may
/// have any value, because the standard's own example of a key (§4.1) sets one of them.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Returns the SHA-1 of the key followed by [`GUID`]: 20 bytes. See [`accept_key`].
pub fn digest(key: &str) -> [u8; 20] {
    Sha1::new().chain_update(key).chain_update(GUID).finalize().into()
}

/// Returns the value of `Sec-WebSocket-Accept` for a key: 28 characters (§4.2.2).
///
/// ```
/// use framewise::protocol::handshake::key::accept_key;
///
/// // The example of the standard, §1.3.
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    BASE64.encode(digest(key))
}

/// Reports whether `value` can be a `Sec-WebSocket-Accept`: whether [`accept_key`] could return it for some key.
pub(crate) fn is_accept(value: &[u8]) -> bool {
    let decoded = BASE64.decode(value).ok().filter(|digest| digest.len() == 20);
    decoded.is_some_and(|digest| BASE64.encode(digest).as_bytes() == value)
}

/// Returns the bytes that a key decodes to, 16 if it is valid, or `None` if it is not base64. See [`encode_key`].
pub fn decode_key(key: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(key).ok()
}

/// Returns the key of a client: 16 random bytes in base64 (§4.1-29).
///
/// ```
/// use framewise::protocol::handshake::key::{decode_key, encode_key};
///
/// let key = encode_key(*b"the sample nonce");
/// assert_eq!(key, "dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(decode_key(key.as_bytes()), Some(b"the sample nonce".to_vec()));
/// ```
pub fn encode_key(nonce: [u8; 16]) -> String {
    BASE64.encode(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3, §4.2.2: the example of the standard, and the key of a `curl` command that classes often type.
    #[test]
    fn computes_the_accept_key() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accept_key("SGVsbG8sIHdvcmxkIQ=="), "qGEgH3En71di5rrssAZTmtRTyFk=");
    }

    /// A digest has 20 bytes, and its last character has no other bits.
    #[test]
    fn recognizes_an_accept_value() {
        assert!(is_accept(accept_key("any key").as_bytes()));
        for other in ["", "nonsense", "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="] {
            assert!(!is_accept(other.as_bytes()), "{other}");
        }
    }

    /// RFC 6455 §4.1-29: the example in §4.1 sets a bit of its last character that belongs to no byte.
    #[test]
    fn decodes_keys() {
        assert_eq!(decode_key(b"AQIDBAUGBwgJCgsMDQ4PEC==").map(|key| key.len()), Some(16));
        assert_eq!(decode_key(encode_key([7; 16]).as_bytes()), Some(vec![7; 16]));
        assert_eq!(decode_key(b"dGhlIHNhbXBsZSBub25jZQ"), None, "padding is missing");
        assert_eq!(decode_key(b"not base64!"), None);
    }
}
