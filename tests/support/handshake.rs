//! Literal opening handshakes: the request of a client, and the parts of a response.

/// The key of the example in the standard, and the `Sec-WebSocket-Accept` for it (RFC 6455 §1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The response to [`request`].
pub const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Returns a valid opening handshake with `more` header lines at the end, each with its CR LF.
pub fn request(more: &str) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// An HTTP response, split into its parts.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Parses a response.
    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8(bytes.to_vec()).expect("a response is text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a response has a head");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
        Answer { status, head: format!("{head}\r\n"), body: body.to_owned() }
    }

    /// Returns the value of a header field. Fails unless there is exactly one field with this name.
    #[track_caller]
    pub fn header<'a>(&'a self, name: &'a str) -> &'a str {
        let mut values = self.headers(name);
        let value = values.next().unwrap_or_else(|| panic!("no {name} in {}", self.head));
        assert!(values.next().is_none(), "two {name} in {}", self.head);
        value
    }

    /// Returns the values of all header fields with this name.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (other, value) = line.split_once(": ")?;
            other.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Returns the text after a label of the body of a refusal, such as `rule`.
    #[track_caller]
    pub fn taught<'a>(&'a self, label: &str) -> &'a str {
        let line = self.body.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {label} in {}", self.body))
    }
}
