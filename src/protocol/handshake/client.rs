//! RFC 6455 §4.1: a client writes the opening handshake and verifies the answer.

use std::fmt;

use crate::config::is_token;
use crate::lang::{self, Lang};
use crate::protocol::handshake::key::{accept_key, encode_key};
use crate::protocol::http::fields::Fields;
use crate::protocol::refusal::Refusal;
use crate::protocol::url::Url;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    url: Url,
    subprotocols: Vec<String>,
    headers: Vec<(String, String)>,
}

/// A subprotocol or header that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRequest(String);

impl fmt::Display for InvalidRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} cannot be part of an opening handshake", self.0)
    }
}

impl std::error::Error for InvalidRequest {}

impl ClientRequest {
    /// A request for this address and nothing more.
    pub fn new(url: Url) -> ClientRequest {
        ClientRequest { url, subprotocols: Vec::new(), headers: Vec::new() }
    }

    /// Offers a subprotocol; the first one offered is the one preferred most.
    ///
    /// # Errors
    ///
    /// The name is not a token, or was offered before (§4.1-36, §4.1-37).
    pub fn subprotocol(mut self, name: &str) -> Result<ClientRequest, InvalidRequest> {
        if !is_token(name.as_bytes()) || self.subprotocols.iter().any(|other| other == name) {
            return Err(InvalidRequest(name.to_owned()));
        }
        self.subprotocols.push(name.to_owned());
        Ok(self)
    }

    /// Adds a header such as `Origin`, `Cookie` or `Authorization` (§4.1-39).
    ///
    /// # Errors
    ///
    /// The name is not a token or is one that the handshake itself writes, or the value has a control byte.
    pub fn header(mut self, name: &str, value: &str) -> Result<ClientRequest, InvalidRequest> {
        let lower = name.to_ascii_lowercase();
        let reserved = ["host", "upgrade", "connection", "content-length", "transfer-encoding"];
        if !is_token(name.as_bytes())
            || reserved.contains(&lower.as_str())
            || lower.starts_with("sec-websocket-")
            || value.bytes().any(|byte| byte < b' ' || byte == 0x7f)
        {
            return Err(InvalidRequest(name.to_owned()));
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// The address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The request as bytes, with a key made of `nonce`: 16 bytes, random for each connection (§4.1-30).
    pub fn encode(&self, nonce: [u8; 16]) -> Vec<u8> {
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n",
            self.url.resource(),
            self.url.authority(),
            encode_key(nonce)
        );
        if !self.subprotocols.is_empty() {
            text += &format!("Sec-WebSocket-Protocol: {}\r\n", self.subprotocols.join(", "));
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text.into_bytes()
    }

    /// What the answer to [`encode`](ClientRequest::encode) with the same nonce has to say.
    pub fn expected(&self, nonce: [u8; 16]) -> Expected {
        Expected { accept: accept_key(&encode_key(nonce)), subprotocols: self.subprotocols.clone() }
    }
}

/// What the answer to a request has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    accept: String,
    subprotocols: Vec<String>,
}

/// Why a client does not take an answer for an opened WebSocket (§4.1-42 to §4.1-47).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The answer is not an HTTP/1.1 head.
    Malformed(Refusal),
    /// The status line is not one of HTTP/1.1.
    StatusLine,
    /// The status is not 101.
    Status(u16),
    /// `Upgrade` is absent or not `websocket`.
    Upgrade,
    /// `Connection` has no `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is absent, doubled, or not the answer to this key.
    Accept,
    /// The server chose an extension that was not asked for; this client asks for none.
    Extension,
    /// The server chose a subprotocol that was not offered, or more than one.
    Subprotocol,
}

impl Rejection {
    /// One line that says what is wrong with the answer.
    pub fn text(&self, lang: Lang) -> String {
        let why = match self {
            Rejection::Malformed(refusal) => refusal.rule.text().get(lang).to_owned(),
            Rejection::StatusLine => lang::ANSWER_STATUS_LINE.get(lang).to_owned(),
            Rejection::Status(status) => lang::ANSWER_STATUS.with(lang, &[status]),
            Rejection::Upgrade => lang::ANSWER_UPGRADE.get(lang).to_owned(),
            Rejection::Connection => lang::ANSWER_CONNECTION.get(lang).to_owned(),
            Rejection::Accept => lang::ANSWER_ACCEPT.get(lang).to_owned(),
            Rejection::Extension => lang::ANSWER_EXTENSION.get(lang).to_owned(),
            Rejection::Subprotocol => lang::ANSWER_SUBPROTOCOL.get(lang).to_owned(),
        };
        lang::ANSWER_REJECTED.with(lang, &[&why])
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for Rejection {}

/// Verifies the head of an answer; the chosen subprotocol, if any, is the result.
///
/// # Errors
///
/// The first requirement of §4.1 that the answer does not meet.
pub fn verify(head: &[u8], expected: &Expected) -> Result<Option<String>, Rejection> {
    let end = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
    let status = status(&head[..end]).ok_or(Rejection::StatusLine)?;
    if status != 101 {
        return Err(Rejection::Status(status));
    }
    let fields = Fields::parse(head.get(end + 1..).unwrap_or_default());
    let fields = fields.map_err(Rejection::Malformed)?;
    // RFC 6455 §4.1-42
    let mut upgrades = fields.all("upgrade");
    match (upgrades.next(), upgrades.count()) {
        (Some(value), 0) if value.eq_ignore_ascii_case(b"websocket") => {}
        _ => return Err(Rejection::Upgrade),
    }
    // RFC 6455 §4.1-43
    if !fields.has_token("connection", "upgrade") {
        return Err(Rejection::Connection);
    }
    // RFC 6455 §4.1-44, §11.3.3-1
    let mut accepts = fields.all("sec-websocket-accept");
    match (accepts.next(), accepts.count()) {
        (Some(value), 0) if value == expected.accept.as_bytes() => {}
        _ => return Err(Rejection::Accept),
    }
    // RFC 6455 §4.1-45
    if fields.all("sec-websocket-extensions").any(|value| !value.is_empty()) {
        return Err(Rejection::Extension);
    }
    // RFC 6455 §4.1-46, §11.3.4-2
    let mut chosen = fields.all("sec-websocket-protocol");
    match (chosen.next(), chosen.count()) {
        (None, _) => Ok(None),
        (Some(value), 0) => {
            let offered = expected.subprotocols.iter().find(|name| name.as_bytes() == value);
            offered.cloned().map(Some).ok_or(Rejection::Subprotocol)
        }
        _ => Err(Rejection::Subprotocol),
    }
}

/// The status of a line such as `HTTP/1.1 101 Switching Protocols`.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.1 ")?;
    let (digits, after) = rest.split_at_checked(3)?;
    let ends = matches!(after.first(), None | Some(b' ' | b'\r'));
    (ends && digits.iter().all(u8::is_ascii_digit))
        .then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 16] = *b"the sample nonce";

    fn request() -> ClientRequest {
        ClientRequest::new(Url::parse("ws://server.example.com/chat").expect("valid"))
    }

    fn answer(line: &str, headers: &str) -> Result<Option<String>, Rejection> {
        let expected = request().subprotocol("chat").expect("valid").expected(NONCE);
        verify(format!("{line}\r\n{headers}\r\n").as_bytes(), &expected)
    }

    const LINE: &str = "HTTP/1.1 101 Switching Protocols";
    const GOOD: &str = "upgrade: WebSocket\r\nCONNECTION: keep-alive, upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    /// RFC 6455 §4.1-19 to §4.1-34
    #[test]
    fn writes_the_request() {
        let request =
            request().subprotocol("chat").and_then(|request| request.header("Origin", "http://e"));
        let text = String::from_utf8(request.expect("valid").encode(NONCE)).expect("ASCII");
        assert_eq!(
            text,
            "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\nOrigin: http://e\r\n\r\n"
        );
    }

    /// RFC 6455 §4.1-36, §4.1-37
    #[test]
    fn refuses_to_write_nonsense() {
        assert!(request().subprotocol("a b").is_err());
        assert!(request().subprotocol("a").and_then(|request| request.subprotocol("a")).is_err());
        assert!(request().header("Host", "x").is_err());
        assert!(request().header("Sec-WebSocket-Key", "x").is_err());
        assert!(request().header("A", "x\r\nB: y").is_err());
    }

    /// RFC 6455 §4.1-41 to §4.1-46
    #[test]
    fn verifies_the_answer() {
        assert_eq!(answer(LINE, GOOD), Ok(None));
        let with = |more: &str| answer(LINE, &format!("{GOOD}{more}\r\n"));
        assert_eq!(with("Sec-WebSocket-Protocol: chat"), Ok(Some("chat".to_owned())));
        assert_eq!(with("Sec-WebSocket-Protocol: other"), Err(Rejection::Subprotocol));
        assert_eq!(with("Sec-WebSocket-Extensions: permessage-deflate"), Err(Rejection::Extension));
        assert_eq!(with("Sec-WebSocket-Accept: again"), Err(Rejection::Accept));
        let without = |name: &str| {
            let kept: String =
                GOOD.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect();
            answer(LINE, &kept)
        };
        assert_eq!(without("upgrade"), Err(Rejection::Upgrade));
        assert_eq!(without("CONNECTION"), Err(Rejection::Connection));
        assert_eq!(without("Sec"), Err(Rejection::Accept));
        assert_eq!(answer("HTTP/1.1 200 OK", GOOD), Err(Rejection::Status(200)));
        assert_eq!(answer("HTTP/1.1 1010", GOOD), Err(Rejection::StatusLine));
        assert_eq!(answer("hello", GOOD), Err(Rejection::StatusLine));
        let wrong = GOOD.replace("s3pP", "S3pP");
        assert_eq!(answer(LINE, &wrong), Err(Rejection::Accept));
    }
}
