//! RFC 9112 §6, §7.1: the body of a response, as far as it explains why a handshake was refused.
//!
//! ```text
//! 204, 304, 1xx                 no body
//! Transfer-Encoding: chunked    5 CR LF hello CR LF 0 CR LF CR LF      the sizes are removed
//! Content-Length: 5             hello
//! neither of them               everything until TCP is closed
//! ```

use crate::protocol::http::fields::Fields;

/// Collects a body as its bytes arrive, and finds its end.
#[derive(Debug)]
pub(crate) struct BodyReader {
    step: Step,
    /// The bytes of the body so far.
    bytes: Vec<u8>,
    /// The maximum number of bytes to keep.
    limit: usize,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A body that this many more bytes complete.
    Length(u64),
    /// A body that ends when TCP is closed.
    UntilClose,
    /// The line with the size of a chunk, and the size so far.
    Size(u64),
    /// The rest of that line, which can only be an extension.
    Extension(u64),
    /// A chunk that this many more bytes complete.
    Chunk(u64),
    /// The line end after a chunk.
    AfterChunk,
    /// The trailer section. `true` if the current line is empty so far.
    Trailer(bool),
    /// The body is complete or malformed.
    Done,
}

impl BodyReader {
    /// Returns a reader for the body of a response with this status and these header fields. It keeps at most `limit`
    /// bytes.
    pub(crate) fn new(status: u16, fields: &Fields<'_>, limit: usize) -> BodyReader {
        let length = fields.first("content-length").and_then(|value| str::from_utf8(value).ok());
        let step = match length.map(|length| length.parse().ok()) {
            _ if matches!(status, 100..=199 | 204 | 304) => Step::Done,
            _ if fields.has_token("transfer-encoding", "chunked") => Step::Size(0),
            Some(Some(0)) => Step::Done,
            Some(Some(length)) => Step::Length(length),
            _ => Step::UntilClose,
        };
        BodyReader { step, bytes: Vec::new(), limit }
    }

    /// Reports whether the body is complete, or as long as the limit.
    pub(crate) fn is_complete(&self) -> bool {
        self.step == Step::Done || self.bytes.len() >= self.limit
    }

    /// Processes the next bytes. Ignores those after the end of the body.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let (Some(&byte), false) = (bytes.first(), self.is_complete()) {
            let mut used = 1;
            self.step = match self.step {
                Step::Length(left) | Step::Chunk(left) => {
                    used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.keep(&bytes[..used]);
                    match (self.step, left - used as u64) {
                        (Step::Length(_), 0) => Step::Done,
                        (Step::Length(_), left) => Step::Length(left),
                        (_, 0) => Step::AfterChunk,
                        (_, left) => Step::Chunk(left),
                    }
                }
                Step::UntilClose => {
                    used = bytes.len();
                    self.keep(bytes);
                    Step::UntilClose
                }
                Step::Size(size) => match (char::from(byte).to_digit(16), byte) {
                    (Some(digit), _) => match size.checked_mul(16) {
                        Some(size) => Step::Size(size + u64::from(digit)),
                        None => Step::Done,
                    },
                    (None, b'\n') => Step::after_size(size),
                    (None, b'\r' | b';' | b' ' | b'\t') => Step::Extension(size),
                    (None, _) => Step::Done,
                },
                Step::Extension(size) if byte == b'\n' => Step::after_size(size),
                Step::AfterChunk if byte == b'\n' => Step::Size(0),
                Step::AfterChunk if byte != b'\r' => Step::Done,
                Step::Trailer(true) if byte == b'\n' => Step::Done,
                Step::Trailer(is_empty) if byte == b'\r' => Step::Trailer(is_empty),
                Step::Trailer(_) => Step::Trailer(byte == b'\n'),
                step => step,
            };
            bytes = &bytes[used..];
        }
    }

    /// Returns the body, without the sizes of chunks.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn keep(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.limit - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..kept]);
    }
}

impl Step {
    fn after_size(size: u64) -> Step {
        if size == 0 { Step::Trailer(true) } else { Step::Chunk(size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body in one piece and byte by byte. Returns it, and whether it is complete.
    fn read(status: u16, fields: &str, wire: &[u8]) -> (Vec<u8>, bool) {
        let fields = Fields::parse(fields.as_bytes()).expect("valid");
        let mut whole = BodyReader::new(status, &fields, 100);
        whole.feed(wire);
        let mut bytewise = BodyReader::new(status, &fields, 100);
        wire.iter().for_each(|byte| bytewise.feed(&[*byte]));
        let result = (whole.bytes.clone(), whole.is_complete());
        assert_eq!((bytewise.bytes.clone(), bytewise.is_complete()), result);
        result
    }

    #[test]
    fn a_length_ends_the_body() {
        assert_eq!(read(403, "Content-Length: 3\r\n", b"no!rest"), (b"no!".to_vec(), true));
        assert_eq!(read(403, "Content-Length: 0\r\n", b"rest"), (vec![], true));
        assert_eq!(read(403, "Content-Length: 4\r\n", b"no!"), (b"no!".to_vec(), false));
    }

    #[test]
    fn without_a_length_the_close_of_tcp_ends_the_body() {
        assert_eq!(read(403, "", b"no!"), (b"no!".to_vec(), false));
        assert_eq!(read(403, "Content-Length: x\r\n", b"no!"), (b"no!".to_vec(), false));
    }

    /// RFC 9112 6.3: whatever the header fields say.
    #[test]
    fn some_statuses_have_no_body() {
        for status in [101, 103, 204, 304] {
            let fields = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
            assert_eq!(read(status, fields, b"no!"), (vec![], true));
        }
    }

    #[test]
    fn chunks_are_joined() {
        let chunked = |wire: &[u8]| read(404, "Transfer-Encoding: gzip, chunked\r\n", wire);
        assert_eq!(
            chunked(b"3\r\nno \r\n5;x=y\r\nroom!\r\n0\r\n\r\nrest"),
            (b"no room!".to_vec(), true)
        );
        assert_eq!(
            chunked(b"00A \r\n0123456789\r\n0\r\nA: b\r\n\r\n"),
            (b"0123456789".to_vec(), true)
        );
        assert_eq!(chunked(b"3\r\nno"), (b"no".to_vec(), false));
        assert_eq!(chunked(b"3\r\nno!x"), (b"no!".to_vec(), true), "malformed");
        assert_eq!(chunked(b"g\r\nno!"), (vec![], true), "malformed");
        assert_eq!(chunked(b"fffffffffffffffff\r\nno!"), (vec![], true), "it cannot be that long");
    }

    #[test]
    fn a_long_body_is_cut() {
        for fields in ["", "Content-Length: 1000\r\n"] {
            assert_eq!(read(500, fields, &[b'x'; 1000]), (vec![b'x'; 100], true));
        }
    }
}
