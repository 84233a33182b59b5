//! RFC 9112 §3: the head of a request, taken apart.

use crate::protocol::http::fields::Fields;
use crate::protocol::refusal::{Found, Refusal, Rule};

/// A request as a server reads it, borrowed from its head.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: Target<'a>,
    minor: u8,
    fields: Fields<'a>,
}

/// The two forms of a request target that are served.
#[derive(Clone, Copy, Debug)]
struct Target<'a> {
    /// Only of the absolute form: replaces the Host field (RFC 9112 3.2.2).
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Takes a whole head apart, as [`HeadReader`](super::head::HeadReader) delivers it.
    ///
    /// # Errors
    ///
    /// The head is not a request of HTTP/1.1 that a server without bodies can answer.
    pub fn parse(head: &'a [u8]) -> Result<Request<'a>, Refusal> {
        let end = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
        let line = head[..end].strip_suffix(b"\r").unwrap_or(&head[..end]);
        let (method, target, version) = three_words(line)?;
        let minor = http_version(version)?;
        match method {
            "GET" | "HEAD" => {}
            "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" | "TRACE" | "CONNECT" => {
                return Err(Refusal::of(Rule::MethodNotAllowed, method.as_bytes()));
            }
            _ => return Err(Refusal::of(Rule::UnknownMethod, method.as_bytes())),
        }
        let target = Target::parse(target)?;
        let fields = Fields::parse(head.get(end + 1..).unwrap_or_default())?;
        let request = Request { method, target, minor, fields };
        request.check_host()?;
        request.check_no_body()?;
        Ok(request)
    }

    /// `GET` or `HEAD`.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The path, as sent: percent-encoding is not taken away.
    pub fn path(&self) -> &'a str {
        self.target.path
    }

    /// What follows the `?`, as sent.
    pub fn query(&self) -> Option<&'a str> {
        self.target.query
    }

    /// Host and optional port that the client asked for.
    pub fn host(&self) -> &'a str {
        let field = self.fields.first("host").and_then(|value| str::from_utf8(value).ok());
        self.target.authority.or(field).unwrap_or_default()
    }

    /// All header fields.
    pub fn fields(&self) -> &Fields<'a> {
        &self.fields
    }

    /// The first value of a header field as text, if it is ASCII.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let value = self.fields.first(name)?;
        value.is_ascii().then(|| str::from_utf8(value).ok()).flatten()
    }

    /// Whether HTTP/1.0 was spoken, which a handshake may not (§4.1-21).
    pub(crate) fn is_http_1_0(&self) -> bool {
        self.minor == 0
    }

    /// Whether this wants to become a WebSocket, well or badly; anything else is a plain GET or HEAD.
    pub fn is_handshake(&self) -> bool {
        self.fields.has_token("upgrade", "websocket")
            || self.fields.has_token("connection", "upgrade")
            || self.fields.iter().any(|(name, _)| {
                name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("sec-websocket-"))
            })
    }

    /// One Host, syntactically possible, whatever the target says (RFC 9112 3.2).
    fn check_host(&self) -> Result<(), Refusal> {
        let mut hosts = self.fields.all("host");
        match (hosts.next(), hosts.count()) {
            (Some(host), 0) if is_authority(host) => Ok(()),
            (Some(host), 0) => Err(Refusal::of(Rule::Host, host)),
            (Some(_), more) => Err(Refusal::measured(Rule::Host, Found::Times(more + 1))),
            (None, _) if self.is_http_1_0() && !self.is_handshake() => Ok(()),
            (None, _) => Err(Refusal::measured(Rule::Host, Found::Nothing)),
        }
    }

    /// A body would be read as frames by one side and as HTTP by the other: request smuggling.
    fn check_no_body(&self) -> Result<(), Refusal> {
        if let Some(coding) = self.fields.first("transfer-encoding") {
            return Err(Refusal::of(Rule::Body, coding));
        }
        let mut lengths = self.fields.all("content-length");
        match (lengths.next(), lengths.count()) {
            (None, _) | (Some(b"0"), 0) => Ok(()),
            (Some(length), 0) => Err(Refusal::of(Rule::Body, length)),
            (Some(_), more) => Err(Refusal::measured(Rule::Body, Found::Times(more + 1))),
        }
    }
}

impl<'a> Target<'a> {
    fn parse(target: &'a str) -> Result<Target<'a>, Refusal> {
        let bad = || Refusal::of(Rule::Target, target.as_bytes());
        // RFC 6455 §3-2: no fragment; beyond that, whatever is visible ASCII.
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(bad());
        }
        let scheme = target.get(..8).map(str::to_ascii_lowercase).unwrap_or_default();
        let (authority, rest) = if target.starts_with('/') {
            (None, target)
        } else if scheme.starts_with("http://") || scheme == "https://" {
            let after = &target[if scheme == "https://" { 8 } else { 7 }..];
            let end = after.find(['/', '?']).unwrap_or(after.len());
            if !is_authority(&after.as_bytes()[..end]) {
                return Err(bad());
            }
            (Some(&after[..end]), &after[end..])
        } else {
            return Err(bad());
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        Ok(Target { authority, path: if path.is_empty() { "/" } else { path }, query })
    }
}

/// Method, target and version, with one space between them.
fn three_words(line: &[u8]) -> Result<(&str, &str, &str), Refusal> {
    let bad = || Refusal::of(Rule::RequestLine, line);
    let Ok(text) = str::from_utf8(line) else {
        return Err(Refusal::of(Rule::Target, line));
    };
    let mut words = text.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(version), None)
            if !target.is_empty() && crate::config::is_token(method.as_bytes()) =>
        {
            Ok((method, target, version))
        }
        _ => Err(bad()),
    }
}

/// The minor version of HTTP/1.x.
fn http_version(version: &str) -> Result<u8, Refusal> {
    match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some([b'1', b'.', minor @ b'0'..=b'9']) => Ok(minor - b'0'),
        Some([b'0' | b'2'..=b'9', b'.', b'0'..=b'9']) => {
            Err(Refusal::of(Rule::HttpVersion, version.as_bytes()))
        }
        _ => Err(Refusal::of(Rule::RequestLine, version.as_bytes())),
    }
}

/// Whether this can be `host`, `host:port` or `[v6]:port` (RFC 3986 3.2, without user information).
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let (host, port) = match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, "")) => (address, ""),
        Some((address, after)) => match after.strip_prefix(':') {
            Some(port) => (address, port),
            None => return false,
        },
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            let name =
                |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
            return !host.is_empty() && host.bytes().all(name) && is_port(port);
        }
    };
    host.parse::<core::net::Ipv6Addr>().is_ok() && is_port(port)
}

fn is_port(port: &str) -> bool {
    port.is_empty()
        || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &[u8]) -> Result<Request<'_>, Rule> {
        Request::parse(head).map_err(|refusal| refusal.rule)
    }

    #[test]
    fn reads_the_parts_of_a_request() {
        let head = b"GET /chat?room=7a HTTP/1.1\r\nHost: localhost:8765\r\nX: \xff\r\n\r\n";
        let request = parse(head).expect("valid");
        assert_eq!((request.method(), request.path()), ("GET", "/chat"));
        assert_eq!((request.query(), request.host()), (Some("room=7a"), "localhost:8765"));
        assert_eq!(request.header("x"), None, "not text");
        assert!(!request.is_handshake());
    }

    #[test]
    fn the_authority_of_the_target_replaces_host() {
        let request = parse(b"GET HTTP://h:1?q HTTP/1.1\r\nHost: other\r\n\r\n").expect("valid");
        assert_eq!((request.host(), request.path(), request.query()), ("h:1", "/", Some("q")));
    }

    #[test]
    fn knows_hosts() {
        for host in
            ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]", "[::1]:80", "a.b-c", "a:"]
        {
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        for host in
            ["", ":80", "a b", "u@h", "h:port", "h:65536", "[::1", "[::1]x", "[1]", "h/p", "h:1:2"]
        {
            assert!(!is_authority(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn refuses_request_lines() {
        let rule = |line: &str| parse(format!("{line}\r\nHost: x\r\n\r\n").as_bytes()).map(|_| ());
        assert_eq!(rule("GET  / HTTP/1.1"), Err(Rule::RequestLine));
        assert_eq!(rule("GET /"), Err(Rule::RequestLine));
        assert_eq!(rule("GET / HTTP/1.1 x"), Err(Rule::RequestLine));
        assert_eq!(rule("GET / http/1.1"), Err(Rule::RequestLine));
        assert_eq!(rule("GET / HTTP/2.0"), Err(Rule::HttpVersion));
        assert_eq!(rule("GET /\u{e9} HTTP/1.1"), Err(Rule::Target));
        assert_eq!(rule("GET /#x HTTP/1.1"), Err(Rule::Target));
        assert_eq!(rule("PURGE / HTTP/1.1"), Err(Rule::UnknownMethod));
    }
}
