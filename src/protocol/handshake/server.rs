//! RFC 6455 §4.2: a server reads the opening handshake and responds to it.
//!
//! ```text
//! head -> Request::parse -> validate -> the application decides -> 101, or another Response
//!             |                |
//!             '--- Refusal ----'-> status code and a body that explains the rule
//! ```
//!
//! A plain request, which does not ask for a WebSocket, is not validated. After its response, the connection may be kept
//! for the next request (RFC 9112 §9.3).
//!
//! Rules of this file: each requirement of §4.2.1 is one `check_*` function, and they are called in the order of the
//! standard. A request is accepted only after all of them have passed.

use std::time::Duration;

use crate::config::{Config, KeyPolicy, OriginPolicy};
use crate::lang::Lang;
use crate::protocol::extension::{self, Extension, Negotiated};
use crate::protocol::handshake::client::Expected;
use crate::protocol::handshake::key::{accept_key, decode_key};
use crate::protocol::http::fields::{Fields, extension_list, token_list};
use crate::protocol::http::request::{Request, without_empty_lines};
use crate::protocol::http::response::Response;
use crate::protocol::refusal::{Found, Refusal, Rule, escaped};

/// What the application decides about a request.
///
/// `T` is the type of a value that the application passes to itself: it gets the value back when the WebSocket is open.
///
/// ```
/// use framewise::{Decision, Request, Response};
///
/// fn decide(request: &Request<'_>) -> Decision {
///     match request.path() {
///         "/chat" => Decision::Accept(()),
///         _ => Decision::Respond(Response::new(404, "text/plain", "try /chat\n")),
///     }
/// }
///
/// let request = Request::parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")?;
/// assert!(matches!(decide(&request), Decision::Respond(response) if response.status() == 404));
/// # Ok::<(), framewise::protocol::refusal::Refusal>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Decision<T = ()> {
    /// Open a WebSocket, with the first offered subprotocol that the config lists, or with none. A plain GET gets 426,
    /// because it does not ask for a WebSocket.
    Accept(T),
    /// Open a WebSocket with this subprotocol. A subprotocol that the client did not offer is an error of the
    /// application: the client gets 500.
    AcceptAs(String, T),
    /// Send an HTTP response: a page, a redirect, a 404.
    Respond(Response),
    /// Refuse the request, with the status code of the rule and a body that explains it.
    Refuse(Refusal),
    /// The application failed: the client gets 500.
    Fail,
}

impl Decision {
    /// Open a WebSocket. A plain GET gets 426.
    pub const ACCEPT: Decision = Decision::Accept(());
}

/// The result of a request: see [`Decision`] for what the application can do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<'a, T = ()> {
    /// The WebSocket is open. The application gets its value back.
    Opened(Opened<'a>, T),
    /// The application responded with this status code.
    Responded(u16),
    /// The request was refused.
    Refused(Refusal),
}

/// An opening handshake that succeeded, as [`Dispatcher::on_open`] gets it.
///
/// [`Dispatcher::on_open`]: crate::Dispatcher::on_open
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened<'a> {
    /// The request, as the client sent it.
    pub request: Request<'a>,
    /// The subprotocol and the extensions that both sides agreed on.
    pub negotiated: Negotiated,
    /// How many bytes the key decodes to: 16, unless the policy is [`KeyPolicy::Lenient`].
    pub key_bytes: usize,
}

/// What to send in response to a head, and what happens to the connection.
pub(crate) struct Reply<'h, T> {
    pub(crate) bytes: Vec<u8>,
    pub(crate) outcome: Outcome<'h, T>,
    /// The extension that was negotiated.
    pub(crate) extension: Extension,
    /// The connection waits for another request.
    pub(crate) keeps_alive: bool,
    /// For how long `bytes` are delayed.
    pub(crate) delay: Duration,
}

/// Responds to a head.
///
/// `unix_seconds` becomes the `Date` field of a response other than 101. `is_last` means that the connection is not kept
/// for another request.
pub(crate) fn respond<'h, T>(
    head: Result<&'h [u8], &Refusal>,
    config: &Config,
    unix_seconds: Option<u64>,
    is_last: bool,
    decide: impl FnOnce(&Request<'_>) -> Decision<T>,
) -> Reply<'h, T> {
    let head = head.map(without_empty_lines);
    let (extension, mut keeps_alive, mut delay) = (Extension::default(), false, Duration::ZERO);
    let (bytes, outcome) = match examine(head, config, decide) {
        Ok(Examined::Open(handshake, opened, ticket, extension)) => {
            let bytes = switching_protocols(&handshake, &opened);
            let outcome = Outcome::Opened(opened, ticket);
            return Reply { bytes, outcome, extension, keeps_alive, delay };
        }
        Ok(Examined::Respond(response, may_keep)) => {
            delay = response.delay();
            keeps_alive = may_keep && response.permits_more() && !is_last;
            let bytes = response.encode_with(unix_seconds, is_head(head), keeps_alive);
            (bytes, Outcome::Responded(response.status()))
        }
        Err(refusal) => {
            let response = explain(&refusal, language(head).unwrap_or(config.lang));
            (response.encode(unix_seconds, is_head(head)), Outcome::Refused(refusal))
        }
    };
    Reply { bytes, outcome, extension, keeps_alive, delay }
}

/// Returns the response to a client that is refused before its request is read.
pub(crate) fn refuse(refusal: &Refusal, lang: Lang, unix_seconds: Option<u64>) -> Vec<u8> {
    explain(refusal, lang).encode(unix_seconds, false)
}

/// What to do about a request that is not refused.
enum Examined<'h, T> {
    Open(Handshake<'h>, Opened<'h>, T, Extension),
    /// The response, and whether the client permits that the connection is kept after it.
    Respond(Response, bool),
}

fn examine<'h, T>(
    head: Result<&'h [u8], &Refusal>,
    config: &Config,
    decide: impl FnOnce(&Request<'_>) -> Decision<T>,
) -> Result<Examined<'h, T>, Refusal> {
    let request = Request::parse(head.map_err(Refusal::clone)?)?;
    if !request.is_handshake() {
        return match decide(&request) {
            Decision::Respond(response) => Ok(Examined::Respond(response, request.keeps_alive())),
            Decision::Refuse(refusal) => Err(refusal),
            Decision::Fail => Err(Refusal::measured(Rule::Internal, Found::Nothing)),
            Decision::Accept(_) | Decision::AcceptAs(..) => Err(upgrade_required(&request)),
        };
    }
    // RFC 6455 §4.2.2-1
    let handshake = validate(&request, config)?;
    let (subprotocol, ticket) = match decide(&request) {
        // RFC 6455 §4.2.2-3, §4.2.2-7
        Decision::Respond(response) => return Ok(Examined::Respond(response, false)),
        Decision::Refuse(refusal) => return Err(refusal),
        Decision::Fail => return Err(Refusal::measured(Rule::Internal, Found::Nothing)),
        Decision::Accept(ticket) => (handshake.choose(&config.handshake.subprotocols), ticket),
        // RFC 6455 §4.2.2-8: only what the client offered.
        Decision::AcceptAs(name, ticket) if handshake.offered.contains(&name.as_str()) => {
            (Some(name), ticket)
        }
        Decision::AcceptAs(name, _) => return Err(Refusal::of(Rule::Internal, name.as_bytes())),
    };
    // RFC 6455 §4.2.2-10, §4.2.2-11, §9-3: unknown offers are ignored.
    let (extension, extensions) = match extension::accept(request.fields(), &config.handshake) {
        Some((extension, value)) => (extension, Some(value)),
        None => (Extension::default(), None),
    };
    let negotiated = Negotiated { subprotocol, extensions };
    let opened = Opened { request, negotiated, key_bytes: handshake.key_bytes };
    Ok(Examined::Open(handshake, opened, ticket, extension))
}

/// Returns the refusal of a plain request. It shows the URL that a WebSocket client would have to use.
fn upgrade_required(request: &Request<'_>) -> Refusal {
    // A request of HTTP/1.0 may have no Host.
    let host = Some(request.host()).filter(|host| !host.is_empty()).unwrap_or("HOST:PORT");
    let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("ws://{host}{}{query}", request.path());
    let found =
        Found::Plain { path: escaped(request.path().as_bytes()), url: escaped(url.as_bytes()) };
    Refusal::measured(Rule::UpgradeRequired, found)
}

/// What a valid opening handshake asks for, as [`validate`] returns it.
#[derive(Clone, Debug)]
pub struct Handshake<'a> {
    key: &'a str,
    key_bytes: usize,
    offered: Vec<&'a str>,
    /// Whether the client offers an extension that this library knows.
    may_extend: bool,
}

impl Handshake<'_> {
    /// Returns the first offered subprotocol that the server supports. The order of the offers is the client's
    /// preference.
    fn choose(&self, supported: &[String]) -> Option<String> {
        let chosen = self.offered.iter().find(|offer| supported.iter().any(|name| name == *offer));
        chosen.map(|&name| name.to_owned())
    }

    /// Returns what the response must contain. Recordings have asterisks in place of secrets, so an offer with an asterisk
    /// may have been any name, and the offered subprotocols are not known.
    pub(crate) fn expected(&self) -> Expected {
        let is_redacted = self.offered.iter().any(|name| name.contains('*'));
        let offered = || self.offered.iter().map(|&name| name.to_owned()).collect();
        Expected {
            accept: accept_key(self.key),
            subprotocols: (!is_redacted).then(offered),
            may_extend: self.may_extend,
        }
    }
}

/// Checks a request against §4.2.1, item by item, and its origin against the policy of `config`.
///
/// ```
/// use framewise::protocol::handshake::server::validate;
/// use framewise::protocol::refusal::Rule;
/// use framewise::{Config, Request};
///
/// let head = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
/// let refusal = validate(&Request::parse(head)?, &Config::default()).expect_err("it is incomplete");
/// assert_eq!(refusal.rule, Rule::Version);
/// # Ok::<(), framewise::protocol::refusal::Refusal>(())
/// ```
///
/// # Errors
///
/// The first rule that the request breaks.
pub fn validate<'a>(request: &Request<'a>, config: &Config) -> Result<Handshake<'a>, Refusal> {
    let fields = request.fields();
    check_method_and_version(request)?;
    check_has_token(fields, "upgrade", "websocket", Rule::Upgrade)?;
    check_has_token(fields, "connection", "upgrade", Rule::Connection)?;
    check_websocket_version(fields)?;
    let (key, key_bytes) = check_key(fields, config.handshake.keys)?;
    check_origin(request, &config.handshake.origins)?;
    let offered = check_subprotocols(fields)?;
    check_extensions(fields)?;
    let may_extend = extension::is_offered(fields);
    Ok(Handshake { key, key_bytes, offered, may_extend })
}

/// RFC 6455 §4.2.1 item 1; §4.1-20, §4.1-21
fn check_method_and_version(request: &Request<'_>) -> Result<(), Refusal> {
    if request.method() != "GET" {
        return Err(Refusal::of(Rule::NotGet, request.method().as_bytes()));
    }
    if request.is_http_1_0() {
        return Err(Refusal::of(Rule::HttpTooOld, b"HTTP/1.0"));
    }
    Ok(())
}

/// RFC 6455 §4.2.1 items 3 and 4; §4.1-24 to §4.1-27
fn check_has_token(
    fields: &Fields<'_>,
    name: &str,
    token: &str,
    rule: Rule,
) -> Result<(), Refusal> {
    if fields.has_token(name, token) {
        return Ok(());
    }
    Err(Refusal::of(rule, fields.first(name).unwrap_or_default()))
}

/// RFC 6455 §4.2.1 item 6; §4.1-33, §4.1-34, §4.4-1, §4.2.2-6, §11.3.5-2
fn check_websocket_version(fields: &Fields<'_>) -> Result<(), Refusal> {
    match fields.only("sec-websocket-version") {
        Ok(Some(b"13")) => Ok(()),
        Ok(version) => Err(Refusal::of(Rule::Version, version.unwrap_or_default())),
        Err(times) => Err(Refusal::measured(Rule::VersionOnce, Found::Times(times))),
    }
}

/// RFC 6455 §4.2.1 item 5; §4.1-28, §4.1-29, §11.3.1-1
fn check_key<'a>(fields: &Fields<'a>, policy: KeyPolicy) -> Result<(&'a str, usize), Refusal> {
    let key = match fields.only("sec-websocket-key") {
        Ok(Some(key)) => key,
        Ok(None) => return Err(Refusal::measured(Rule::KeyMissing, Found::Nothing)),
        Err(times) => return Err(Refusal::measured(Rule::KeyOnce, Found::Times(times))),
    };
    let not_base64 = || Refusal::of(Rule::KeyBase64, key);
    let bytes = decode_key(key).ok_or_else(not_base64)?.len();
    let text = str::from_utf8(key).map_err(|_| not_base64())?;
    match (bytes, policy) {
        (16, _) => Ok((text, bytes)),
        (1.., KeyPolicy::Lenient) => Ok((text, bytes)),
        _ => Err(Refusal::measured(Rule::KeyLength, Found::KeyBytes(bytes))),
    }
}

/// RFC 6455 §4.2.2 step 4; §4.2.2-4, §4.2.2-5, §10.2-1, §10.2-2
fn check_origin(request: &Request<'_>, policy: &OriginPolicy) -> Result<(), Refusal> {
    let origin = match request.fields().only("origin") {
        Ok(Some(origin)) => origin,
        // RFC 6455 §4.2.1-2: browsers always send Origin, so this client is not a page that misuses its user's cookies.
        Ok(None) => return Ok(()),
        Err(times) => return Err(Refusal::measured(Rule::OriginOnce, Found::Times(times))),
    };
    if policy.allows(origin, request.host()) {
        return Ok(());
    }
    Err(Refusal::of(Rule::Origin, origin))
}

/// RFC 6455 §4.2.1 item 8; §4.1-36, §4.1-37, §11.3.4-1
fn check_subprotocols<'a>(fields: &Fields<'a>) -> Result<Vec<&'a str>, Refusal> {
    let Some(value) = fields.first("sec-websocket-protocol") else { return Ok(Vec::new()) };
    let refused = || Refusal::of(Rule::Subprotocol, value);
    let offered = token_list(fields.all("sec-websocket-protocol")).ok_or_else(refused)?;
    let mut sorted = offered.clone();
    sorted.sort_unstable();
    let repeated = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    if repeated { Err(refused()) } else { Ok(offered) }
}

/// RFC 6455 §4.2.1 item 9; §9.1-1, and §9.1-3, §11.3.2-1 for several fields. Checks only the grammar of the offers; `extension.rs` chooses among them.
fn check_extensions(fields: &Fields<'_>) -> Result<(), Refusal> {
    match fields.all("sec-websocket-extensions").find(|value| extension_list(value).is_none()) {
        Some(value) => Err(Refusal::of(Rule::Extension, value)),
        None => Ok(()),
    }
}

/// RFC 6455 §4.2.2 step 5; §4.2.2-12
fn switching_protocols(handshake: &Handshake<'_>, opened: &Opened<'_>) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        accept_key(handshake.key)
    );
    // RFC 6455 §4.2.2-9: without a subprotocol the field is left out.
    if let Some(subprotocol) = &opened.negotiated.subprotocol {
        response += &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    // RFC 6455 §11.3.2-2
    if let Some(extensions) = &opened.negotiated.extensions {
        response += &format!("Sec-WebSocket-Extensions: {extensions}\r\n");
    }
    if opened.key_bytes != 16 {
        response += &format!(
            "Framewise-Note: Sec-WebSocket-Key decodes to {} bytes; \
             RFC 6455 section 4.2.1 asks for 16\r\n",
            opened.key_bytes
        );
    }
    response += "\r\n";
    response.into_bytes()
}

/// The seconds after which a client may try again when the server is full.
const RETRY_AFTER: &str = "5";

/// Returns the response to a refused request (RFC 6455 §10.7-4): a status code, the header fields that HTTP requires with it, and a body
/// that explains the rule.
fn explain(refusal: &Refusal, lang: Lang) -> Response {
    let mut headers = vec![("Content-Language", lang.tag()), ("Vary", "Accept-Language")];
    match refusal.rule.status() {
        405 => headers.push(("Allow", "GET, HEAD")),
        // RFC 6455 §4.4-1
        426 => headers.extend([("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]),
        429 | 503 => headers.push(("Retry-After", RETRY_AFTER)),
        _ => {}
    }
    let plain = "text/plain; charset=utf-8";
    let response = Response::new(refusal.rule.status(), plain, refusal.body(lang));
    headers.into_iter().fold(response, |response, (name, value)| {
        response.header(name, value).expect("these fields are well-formed")
    })
}

/// Returns the language that the request asks for, if its header fields are well-formed.
fn language(head: Result<&[u8], &Refusal>) -> Option<Lang> {
    let head = head.ok()?;
    let line = head.iter().position(|&byte| byte == b'\n')?;
    let fields = Fields::parse(&head[line + 1..]).ok()?;
    let wanted = str::from_utf8(fields.first("accept-language")?).ok()?;
    Lang::from_accept_language(wanted)
}

fn is_head(head: Result<&[u8], &Refusal>) -> bool {
    head.is_ok_and(|head| head.starts_with(b"HEAD "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §4.2.2-8: choosing a subprotocol that was not offered is an error of the application, so the client
    /// gets 500.
    #[test]
    fn an_application_cannot_choose_what_was_not_offered() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: a, b\r\n\r\n";
        let config = Config::default();
        let response = |name: &str| {
            let name = name.to_owned();
            let reply = respond(Ok(head), &config, None, true, |_| Decision::AcceptAs(name, ()));
            String::from_utf8(reply.bytes).expect("ASCII")
        };
        assert!(response("b").contains("\r\nSec-WebSocket-Protocol: b\r\n"));
        assert!(response("c").starts_with("HTTP/1.1 500 "));
    }
}
