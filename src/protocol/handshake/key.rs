//! RFC 6455 §4.2.2 step 5: `Sec-WebSocket-Key` and the `Sec-WebSocket-Accept` that answers it.
//!
//! ```text
//! dGhlIHNhbXBsZSBub25jZQ==  +  258EAFA5-E914-47DA-95CA-C5AB0DC85B11
//! '-------- key ---------'     '------------- GUID ---------------'
//!        SHA-1 of both texts joined:  b3 7a 4f 2c c0 62 4f 16 90 f6 46 06 cf 38 59 45 b2 be c4 ea
//!        in base64:                   s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
//! ```
//!
//! It proves nothing about who the peer is. It shows that the answer was made for this very request by
//! something that knows WebSocket, so that no cache or unsuspecting server can produce it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};

/// The fixed text that the key is joined with.
pub const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Standard alphabet, padding required. The bits that the last character leaves over are not compared:
/// the standard's own example of a key (§4.1) sets one of them.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The SHA-1 of key and GUID, 20 bytes.
pub fn digest(key: &str) -> [u8; 20] {
    Sha1::new().chain_update(key).chain_update(GUID).finalize().into()
}

/// The value of `Sec-WebSocket-Accept` for a key: 28 characters.
pub fn accept_key(key: &str) -> String {
    BASE64.encode(digest(key))
}

/// The bytes that a key stands for; `None` if it is not base64.
pub fn decode_key(key: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(key).ok()
}

/// The key of a client: 16 random bytes in base64 (§4.1-29).
pub fn encode_key(nonce: [u8; 16]) -> String {
    BASE64.encode(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3, §4.2.2: the standard's example, and one that classrooms type.
    #[test]
    fn computes_the_accept_key() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accept_key("SGVsbG8sIHdvcmxkIQ=="), "qGEgH3En71di5rrssAZTmtRTyFk=");
    }

    /// RFC 6455 §4.1-29: the example in the text leaves a bit set in its last character.
    #[test]
    fn decodes_keys() {
        assert_eq!(decode_key(b"AQIDBAUGBwgJCgsMDQ4PEC==").map(|key| key.len()), Some(16));
        assert_eq!(decode_key(encode_key([7; 16]).as_bytes()), Some(vec![7; 16]));
        assert_eq!(decode_key(b"dGhlIHNhbXBsZSBub25jZQ"), None, "padding is missing");
        assert_eq!(decode_key(b"not base64!"), None);
    }
}
