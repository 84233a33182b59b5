//! RFC 6455 §4.1: encodes a client's opening handshake and verifies the server's response.
//!
//! ```text
//! ClientRequest -> encode -> GET /chat HTTP/1.1 ...
//!               -> expected -> judge <- HTTP/1.1 101 Switching Protocols ...
//!                                |
//!                                '-> what was negotiated, or a Rejection
//! ```
//!
//! `dissect.rs` judges the responses of a connection that it only watches with the same function.

use std::fmt;

use crate::config::is_token;
use crate::lang::Lang;
use crate::protocol::extension::Negotiated;
use crate::protocol::handshake::key::{accept_key, encode_key, is_accept};
use crate::protocol::http::fields::{Fields, is_field_value};
use crate::protocol::refusal::{Refusal, escaped};
use crate::protocol::url::Url;
use crate::texts;

/// The maximum number of interim responses (100 to 199, except 101) before the response to a client's request. Some
/// servers send 103 with hints for browsers, and proxies 100.
const MAX_INTERIM: usize = 10;

/// The opening handshake that a client sends: a URL, the subprotocols that it offers, and additional header fields.
///
/// ```
/// use framewise::{ClientRequest, Url};
///
/// let request = ClientRequest::new(Url::parse("ws://localhost:8765/chat")?)
///     .subprotocol("chat")?
///     .header("Origin", "http://localhost:8000")?;
/// assert_eq!(request.url().resource(), "/chat");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientRequest {
    url: Url,
    subprotocols: Vec<String>,
    headers: Vec<(String, String)>,
}

/// The error of [`ClientRequest`]'s methods: a subprotocol or header field that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidRequest {
    /// The subprotocol, or the name of the field.
    pub name: String,
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} cannot be part of an opening handshake", self.name)
    }
}

impl std::error::Error for InvalidRequest {}

impl ClientRequest {
    /// Creates a request for a URL, without subprotocols and without additional header fields.
    #[must_use]
    pub fn new(url: Url) -> ClientRequest {
        ClientRequest { url, subprotocols: Vec::new(), headers: Vec::new() }
    }

    /// Offers a subprotocol. The order of the calls is the order of preference.
    ///
    /// # Errors
    ///
    /// The name is not a token, or was offered before (§4.1-36, §4.1-37).
    pub fn subprotocol(mut self, name: &str) -> Result<ClientRequest, InvalidRequest> {
        if !is_token(name.as_bytes()) || self.subprotocols.iter().any(|other| other == name) {
            return Err(InvalidRequest { name: name.to_owned() });
        }
        self.subprotocols.push(name.to_owned());
        Ok(self)
    }

    /// Adds a header field such as `Origin`, `Cookie` or `Authorization` (§4.1-32, §4.1-39).
    ///
    /// # Errors
    ///
    /// The name is not a token, the name is reserved for the handshake, or the value has a control character.
    pub fn header(mut self, name: &str, value: &str) -> Result<ClientRequest, InvalidRequest> {
        let lower = name.to_ascii_lowercase();
        let reserved = ["host", "upgrade", "connection", "content-length", "transfer-encoding"];
        if !is_token(name.as_bytes())
            || reserved.contains(&lower.as_str())
            || lower.starts_with("sec-websocket-")
            || !is_field_value(value)
        {
            return Err(InvalidRequest { name: name.to_owned() });
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Returns the URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Encodes the request. `nonce` becomes its `Sec-WebSocket-Key` and must be random for each connection (§4.1-30).
    /// `extensions` is the value of `Sec-WebSocket-Extensions`.
    pub(crate) fn encode(&self, nonce: [u8; 16], extensions: Option<String>) -> Vec<u8> {
        // RFC 6455 §4.1-19 to §4.1-28, §4.1-33, §4.1-34
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n",
            self.url.resource(),
            self.url.authority(),
            encode_key(nonce)
        );
        // RFC 6455 §4.1-35
        if !self.subprotocols.is_empty() {
            text += &format!("Sec-WebSocket-Protocol: {}\r\n", self.subprotocols.join(", "));
        }
        // RFC 6455 §4.1-38
        if let Some(offers) = extensions {
            text += &format!("Sec-WebSocket-Extensions: {offers}\r\n");
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text.into_bytes()
    }

    /// Returns what the response to the request with this nonce must contain. `may_extend` says whether it offers extensions.
    pub(crate) fn expected(&self, nonce: [u8; 16], may_extend: bool) -> Expected {
        Expected {
            accept: accept_key(&encode_key(nonce)),
            subprotocols: Some(self.subprotocols.clone()),
            may_extend,
        }
    }
}

/// What the response to a request must contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The value of `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    /// The offered subprotocols, or `None` if they are not known.
    pub(crate) subprotocols: Option<Vec<String>>,
    /// Whether the client has offered an extension that this library knows.
    pub(crate) may_extend: bool,
}

/// The reason why a response does not open a WebSocket (§4.1-42 to §4.1-47).
///
/// ```
/// use framewise::protocol::handshake::client::Rejection;
///
/// let rejection = Rejection::Status(404);
/// assert!(rejection.to_string().ends_with("the status is 404, not 101"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The response has no well-formed HTTP/1.1 head.
    Malformed(Refusal),
    /// The first line is not a status line of HTTP/1.1.
    StatusLine,
    /// The status is not 101.
    Status(u16),
    /// The response is a redirection, which a WebSocket client does not follow.
    Redirect {
        /// The status code, from 300 to 399.
        status: u16,
        /// The value of `Location`, escaped and truncated.
        location: String,
    },
    /// Too many interim responses came before the actual one.
    TooManyInterim,
    /// `Upgrade` is missing, repeated, or not `websocket`.
    Upgrade,
    /// `Connection` does not contain `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated, or does not match the key.
    Accept,
    /// The server chose an extension that the client did not offer, or parameters that the client cannot use.
    Extension,
    /// The server chose a subprotocol that the client did not offer, or more than one.
    Subprotocol,
}

impl Rejection {
    /// Returns one line that explains what is wrong with the response.
    pub fn text(&self, lang: Lang) -> String {
        let why = match self {
            Rejection::Malformed(refusal) => refusal.rule.text().get(lang).to_owned(),
            Rejection::StatusLine => texts::RESPONSE_STATUS_LINE.get(lang).to_owned(),
            Rejection::Status(status) => texts::RESPONSE_STATUS.with(lang, &[status]),
            Rejection::Redirect { status, location } => {
                texts::RESPONSE_REDIRECT.with(lang, &[status, location])
            }
            Rejection::TooManyInterim => texts::RESPONSE_INTERIM.get(lang).to_owned(),
            Rejection::Upgrade => texts::RESPONSE_UPGRADE.get(lang).to_owned(),
            Rejection::Connection => texts::RESPONSE_CONNECTION.get(lang).to_owned(),
            Rejection::Accept => texts::RESPONSE_ACCEPT.get(lang).to_owned(),
            Rejection::Extension => texts::RESPONSE_EXTENSION.get(lang).to_owned(),
            Rejection::Subprotocol => texts::RESPONSE_SUBPROTOCOL.get(lang).to_owned(),
        };
        texts::RESPONSE_REJECTED.with(lang, &[&why])
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text(Lang::En))
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Rejection::Malformed(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Judges the head of a response, or what makes the head malformed. Returns `None` for an interim response, after which the
/// actual response comes, and counts it in `interim`. Otherwise, returns the negotiated subprotocol and extension.
///
/// Without `expected`, which depends on the request, the value of `Sec-WebSocket-Accept` only has to be one that belongs to
/// some key, and any subprotocol may be chosen. `extend` checks the extensions of the response, and returns what they mean and
/// the value of their field.
///
/// # Errors
///
/// The first requirement of §4.1 that the response does not meet.
pub(crate) fn judge<E>(
    head: Result<&[u8], Refusal>,
    interim: &mut usize,
    expected: Option<&Expected>,
    extend: impl FnOnce(&Fields<'_>) -> Option<(E, Option<String>)>,
) -> Option<Result<(Negotiated, E), Rejection>> {
    match head {
        Ok(head) if is_interim(head) => {
            *interim += 1;
            (*interim > MAX_INTERIM).then_some(Err(Rejection::TooManyInterim))
        }
        Ok(head) => Some(verify(head, expected, extend)),
        Err(refusal) => Some(Err(Rejection::Malformed(refusal))),
    }
}

/// Verifies the head of a response that is not interim.
fn verify<E>(
    head: &[u8],
    expected: Option<&Expected>,
    extend: impl FnOnce(&Fields<'_>) -> Option<(E, Option<String>)>,
) -> Result<(Negotiated, E), Rejection> {
    let (status, lines) = split(head).ok_or(Rejection::StatusLine)?;
    if status != 101 {
        let fields = Fields::parse(lines).unwrap_or_default();
        return Err(match (status, fields.first("location")) {
            // RFC 6455 §4.1-41: a client may follow it, and need not.
            (300..=399, Some(location)) => {
                Rejection::Redirect { status, location: escaped(location) }
            }
            _ => Rejection::Status(status),
        });
    }
    let fields = Fields::parse(lines).map_err(Rejection::Malformed)?;
    // RFC 6455 §4.1-42
    match fields.only("upgrade") {
        Ok(Some(value)) if value.eq_ignore_ascii_case(b"websocket") => {}
        _ => return Err(Rejection::Upgrade),
    }
    // RFC 6455 §4.1-43
    if !fields.has_token("connection", "upgrade") {
        return Err(Rejection::Connection);
    }
    // RFC 6455 §4.1-44, §11.3.3-1
    match fields.only("sec-websocket-accept") {
        Ok(Some(value))
            if expected.map_or(is_accept(value), |it| value == it.accept.as_bytes()) => {}
        _ => return Err(Rejection::Accept),
    }
    // RFC 6455 §4.1-45
    let (extension, extensions) = extend(&fields).ok_or(Rejection::Extension)?;
    // RFC 6455 §4.1-46, §11.3.4-2
    let subprotocol = match fields.only("sec-websocket-protocol") {
        Ok(None) => None,
        Ok(Some(chosen)) => {
            let name = str::from_utf8(chosen).ok().filter(|name| is_token(name.as_bytes()));
            let offered = expected.and_then(|expected| expected.subprotocols.as_ref());
            let is_offered =
                |name: &&str| offered.is_none_or(|all| all.iter().any(|one| one == name));
            Some(name.filter(is_offered).ok_or(Rejection::Subprotocol)?.to_owned())
        }
        Err(_) => return Err(Rejection::Subprotocol),
    };
    Ok((Negotiated { subprotocol, extensions }, extension))
}

/// Splits a response head into its status code and the lines of its header fields. Returns `None` if the first line is
/// not a status line of HTTP/1.1.
pub(crate) fn split(head: &[u8]) -> Option<(u16, &[u8])> {
    split_of(head, b"HTTP/1.1 ")
}

/// Does the same for a status line that begins with `version`, which includes the space after it.
fn split_of<'a>(head: &'a [u8], version: &[u8]) -> Option<(u16, &'a [u8])> {
    let end = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
    Some((status(&head[..end], version)?, head.get(end + 1..).unwrap_or_default()))
}

/// Reports whether a head is a final response of HTTP/1.0. It opens no WebSocket, and breaks no rule.
pub(crate) fn is_http_1_0(head: &[u8]) -> bool {
    split_of(head, b"HTTP/1.0 ").is_some_and(|(status, _)| status >= 200)
}

/// Reports whether a head is an interim response: its status is 100 to 199, but not 101. The actual response follows it
/// (RFC 9110 §15.2).
pub(crate) fn is_interim(head: &[u8]) -> bool {
    split(head).is_some_and(|(status, _)| matches!(status, 100 | 102..=199))
}

/// Parses the status code from a line such as `HTTP/1.1 101 Switching Protocols`.
fn status(line: &[u8], version: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(version)?;
    let (digits, after) = rest.split_at_checked(3)?;
    let ends = matches!(after.first(), None | Some(b' ' | b'\r'));
    (ends && digits.iter().all(u8::is_ascii_digit))
        .then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HandshakePolicy;
    use crate::protocol::extension::confirm;

    const NONCE: [u8; 16] = *b"the sample nonce";

    fn request() -> ClientRequest {
        ClientRequest::new(Url::parse("ws://server.example.com/chat").expect("valid"))
    }

    fn verified(line: &str, headers: &str) -> Result<Option<String>, Rejection> {
        let expected = request().subprotocol("chat").expect("valid").expected(NONCE, false);
        let head = format!("{line}\r\n{headers}\r\n");
        verify(head.as_bytes(), Some(&expected), |fields| {
            confirm(fields, &HandshakePolicy::default())
        })
        .map(|(negotiated, _)| negotiated.subprotocol)
    }

    const LINE: &str = "HTTP/1.1 101 Switching Protocols";
    const GOOD: &str = "upgrade: WebSocket\r\nCONNECTION: keep-alive, upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    /// RFC 6455 §4.1-19 to §4.1-29, §4.1-32 to §4.1-35, §4.1-39
    #[test]
    fn encodes_the_request() {
        let request =
            request().subprotocol("chat").and_then(|request| request.header("Origin", "http://e"));
        let text = String::from_utf8(request.expect("valid").encode(NONCE, None)).expect("ASCII");
        assert_eq!(
            text,
            "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\nOrigin: http://e\r\n\r\n"
        );
    }

    /// RFC 6455 §4.1-36, §4.1-37
    #[test]
    fn rejects_what_cannot_be_sent() {
        assert!(request().subprotocol("a b").is_err());
        assert!(request().subprotocol("a").and_then(|request| request.subprotocol("a")).is_err());
        assert!(request().header("Host", "x").is_err());
        assert!(request().header("Sec-WebSocket-Key", "x").is_err());
        assert!(request().header("A", "x\r\nB: y").is_err());
    }

    /// RFC 6455 §4.1-41 to §4.1-47, §9.1-1, §11.3.2-2, §11.3.3-1, §11.3.4-2
    #[test]
    fn verifies_the_response() {
        assert_eq!(verified(LINE, GOOD), Ok(None));
        let with = |more: &str| verified(LINE, &format!("{GOOD}{more}\r\n"));
        assert_eq!(with("Sec-WebSocket-Protocol: chat"), Ok(Some("chat".to_owned())));
        assert_eq!(with("Sec-WebSocket-Protocol: other"), Err(Rejection::Subprotocol));
        assert_eq!(with("Sec-WebSocket-Extensions: permessage-deflate"), Err(Rejection::Extension));
        assert_eq!(with("Sec-WebSocket-Accept: again"), Err(Rejection::Accept));
        let twice = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat";
        assert_eq!(with(twice), Err(Rejection::Subprotocol));
        for malformed in ["", ",", "a;"] {
            let line = format!("Sec-WebSocket-Extensions: {malformed}");
            assert_eq!(with(&line), Err(Rejection::Extension), "{malformed:?}");
        }
        let without = |name: &str| {
            let kept: String =
                GOOD.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect();
            verified(LINE, &kept)
        };
        assert_eq!(without("upgrade"), Err(Rejection::Upgrade));
        assert_eq!(without("CONNECTION"), Err(Rejection::Connection));
        assert_eq!(without("Sec"), Err(Rejection::Accept));
        assert_eq!(verified("HTTP/1.1 200 OK", GOOD), Err(Rejection::Status(200)));
        assert_eq!(verified("HTTP/1.1 1010", GOOD), Err(Rejection::StatusLine));
        assert_eq!(verified("hello", GOOD), Err(Rejection::StatusLine));
        let wrong = GOOD.replace("s3pP", "S3pP");
        assert_eq!(verified(LINE, &wrong), Err(Rejection::Accept));
    }
}
