//! RFC 9112 §3: the head of a request, parsed.
//!
//! ```text
//! GET /chat?room=7a HTTP/1.1      method, target (path and query), version
//! Host: localhost:8765            header fields
//! ```

use crate::protocol::http::authority::Authority;
use crate::protocol::http::fields::Fields;
use crate::protocol::refusal::{Found, Refusal, Rule};

/// A request that a server can respond to, borrowed from its head.
///
/// ```
/// use framewise::Request;
///
/// let request = Request::parse(b"GET /chat?room=7a HTTP/1.1\r\nHost: localhost:8765\r\n\r\n")?;
/// assert_eq!((request.path(), request.query()), ("/chat", Some("room=7a")));
/// assert_eq!(request.header("host"), Some("localhost:8765"));
/// # Ok::<(), framewise::protocol::refusal::Refusal>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: Target<'a>,
    minor: u8,
    fields: Fields<'a>,
}

/// A request target, in one of the two forms that are supported: `/path?query` and `http://host/path?query`.
#[derive(Clone, Copy, Debug)]
struct Target<'a> {
    /// Host and port of the second form. They replace the Host field (RFC 9112 3.2.2).
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Parses a complete head, from the request line to the empty line (RFC 9112 §3, §5).
    ///
    /// # Errors
    ///
    /// The head is malformed, the method is neither GET nor HEAD, or the request has a body.
    pub fn parse(head: &'a [u8]) -> Result<Request<'a>, Refusal> {
        let head = without_empty_lines(head);
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

    /// Returns the method: `GET` or `HEAD`.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Returns the path as it was sent, with its percent-encoding.
    pub fn path(&self) -> &'a str {
        self.target.path
    }

    /// Returns the part of the target after the `?` as it was sent, or `None` if there is no `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target.query
    }

    /// Returns the host that the client asked for, with a port if the client wrote one.
    pub fn host(&self) -> &'a str {
        let field = self.fields.first("host").and_then(|value| str::from_utf8(value).ok());
        self.target.authority.or(field).unwrap_or_default()
    }

    /// Returns the header fields.
    pub fn fields(&self) -> &Fields<'a> {
        &self.fields
    }

    /// Returns the value of the first field with this name, or `None` if there is none or the value is not ASCII.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let value = self.fields.first(name)?;
        str::from_utf8(value).ok().filter(|value| value.is_ascii())
    }

    /// Reports whether the version is HTTP/1.0, in which there is no opening handshake (§4.1-21).
    pub fn is_http_1_0(&self) -> bool {
        self.minor == 0
    }

    /// Reports whether the connection stays open after the response, as far as the client decides it (RFC 9112 9.3). In
    /// HTTP/1.0 it does not, even if the client asks for it with `keep-alive`.
    pub(crate) fn keeps_alive(&self) -> bool {
        !self.is_http_1_0() && !self.is_handshake() && !self.fields.has_token("connection", "close")
    }

    /// Reports whether the request asks for a WebSocket, even if its handshake is invalid: its `Upgrade` contains
    /// `websocket`, or it has a field of the handshake. All other requests are plain HTTP, because a server ignores an
    /// upgrade to a protocol that it does not want (RFC 9110 §7.8).
    pub fn is_handshake(&self) -> bool {
        self.fields.has_token("upgrade", "websocket")
            || self.fields.iter().any(|(name, _)| {
                name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("sec-websocket-"))
            })
    }

    /// Checks that there is exactly one Host and that it is well-formed, also if the target replaces it (RFC 6455 §4.1-23,
    /// RFC 9112 3.2).
    fn check_host(&self) -> Result<(), Refusal> {
        match self.fields.only("host") {
            Ok(Some(host)) if Authority::parse(host).is_some() => Ok(()),
            Ok(Some(host)) => Err(Refusal::of(Rule::Host, host)),
            Ok(None) if self.is_http_1_0() && !self.is_handshake() => Ok(()),
            Ok(None) => Err(Refusal::measured(Rule::Host, Found::Nothing)),
            Err(times) => Err(Refusal::measured(Rule::Host, Found::Times(times))),
        }
    }

    /// Checks that the request has no body. A proxy would take the bytes after the head for a body and this server for
    /// frames, and a client could hide a request in them (request smuggling).
    fn check_no_body(&self) -> Result<(), Refusal> {
        if let Some(coding) = self.fields.first("transfer-encoding") {
            return Err(Refusal::of(Rule::Body, coding));
        }
        match self.fields.only("content-length") {
            Ok(None | Some(b"0")) => Ok(()),
            Ok(Some(length)) => Err(Refusal::of(Rule::Body, length)),
            Err(times) => Err(Refusal::measured(Rule::Body, Found::Times(times))),
        }
    }
}

impl<'a> Target<'a> {
    /// Parses the target of a request (RFC 6455 §4.1-22).
    fn parse(target: &'a str) -> Result<Target<'a>, Refusal> {
        let bad = || Refusal::of(Rule::Target, target.as_bytes());
        // RFC 6455 §3-2: no fragment. All other visible ASCII characters are allowed.
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(bad());
        }
        let scheme = target.get(..8).map(str::to_ascii_lowercase).unwrap_or_default();
        let (authority, rest) = if target.starts_with('/') {
            (None, target)
        } else if scheme.starts_with("http://") || scheme == "https://" {
            let after = &target[if scheme == "https://" { 8 } else { 7 }..];
            let end = after.find(['/', '?']).unwrap_or(after.len());
            if Authority::parse(&after.as_bytes()[..end]).is_none() {
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

/// Returns a head without the empty lines before its request line, which `head.rs` has counted.
pub(crate) fn without_empty_lines(mut head: &[u8]) -> &[u8] {
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    head
}

/// Splits the request line into method, target and version.
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

/// Returns the minor version of HTTP/1.x.
fn http_version(version: &str) -> Result<u8, Refusal> {
    match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some([b'1', b'.', minor @ b'0'..=b'9']) => Ok(minor - b'0'),
        Some([b'0' | b'2'..=b'9', b'.', b'0'..=b'9']) => {
            Err(Refusal::of(Rule::HttpVersion, version.as_bytes()))
        }
        _ => Err(Refusal::of(Rule::RequestLine, version.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &[u8]) -> Result<Request<'_>, Rule> {
        Request::parse(head).map_err(|refusal| refusal.rule)
    }

    #[test]
    fn parses_a_request() {
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

    /// RFC 6455 §3-2, §4.1-20 to §4.1-22
    #[test]
    fn rejects_malformed_request_lines() {
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
