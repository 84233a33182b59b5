//! RFC 6455 §4.2: a server reads the opening handshake and answers it.
//!
//! ```text
//! head -> Request::parse -> validate -> the dispatcher decides -> 101, or a Response and the end
//!             |                |
//!             '--- Refusal ----'-> status and a body that teaches
//! ```
//!
//! Rules of this file: each requirement of §4.2.1 is one `check_*` function, called in the order of the
//! standard; nothing is accepted by default.

use crate::config::{Config, KeyPolicy, OriginPolicy};
use crate::lang::Lang;
use crate::protocol::handshake::key::{accept_key, decode_key};
use crate::protocol::http::fields::{Fields, is_extension_list, token_list};
use crate::protocol::http::request::{Request, is_authority};
use crate::protocol::http::response::Response;
use crate::protocol::refusal::{Found, Refusal, Rule};

/// What the application says to a request that the protocol found valid.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Open a WebSocket, with the first offered subprotocol that the config lists, or none. To a plain GET
    /// this answers 426: there is nothing to open.
    Accept,
    /// Open a WebSocket with this subprotocol, which must be one that the client offered.
    AcceptAs(String),
    /// Answer over HTTP and close: a page, a redirect, a 404.
    Respond(Response),
    /// Refuse, with a status and a body that teaches.
    Refuse(Refusal),
    /// The application could not decide: 500.
    Fail,
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The connection is open.
    Opened(Opened<'a>),
    /// The application answered with this status.
    Responded(u16),
    /// A rule was broken.
    Refused(Refusal),
}

/// An opening handshake that succeeded.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The request, as the client sent it.
    pub request: Request<'a>,
    /// The chosen subprotocol.
    pub subprotocol: Option<String>,
    /// Bytes that the key decodes to: 16, unless the policy is lenient.
    pub key_bytes: usize,
}

/// Reads a head and answers it: the bytes to send, and what became of the request.
///
/// `unix_seconds` becomes the `Date` of an answer other than 101.
pub fn respond<'h>(
    head: Result<&'h [u8], &Refusal>,
    config: &Config,
    unix_seconds: Option<u64>,
    decide: impl FnOnce(&Request<'_>) -> Answer,
) -> (Vec<u8>, Outcome<'h>) {
    match examine(head, config, decide) {
        Ok(Verdict::Open(handshake, opened)) => {
            (switching_protocols(&handshake, &opened), Outcome::Opened(opened))
        }
        Ok(Verdict::Respond(response)) => {
            let bytes = response.encode(unix_seconds, is_head(head));
            (bytes, Outcome::Responded(response.status()))
        }
        Err(refusal) => {
            let response = explain(&refusal, language(head).unwrap_or(config.lang));
            (response.encode(unix_seconds, is_head(head)), Outcome::Refused(refusal))
        }
    }
}

enum Verdict<'h> {
    Open(Handshake<'h>, Opened<'h>),
    Respond(Response),
}

fn examine<'h>(
    head: Result<&'h [u8], &Refusal>,
    config: &Config,
    decide: impl FnOnce(&Request<'_>) -> Answer,
) -> Result<Verdict<'h>, Refusal> {
    let request = Request::parse(head.map_err(Refusal::clone)?)?;
    if !request.is_handshake() {
        return match decide(&request) {
            Answer::Respond(response) => Ok(Verdict::Respond(response)),
            Answer::Refuse(refusal) => Err(refusal),
            Answer::Fail => Err(Refusal::measured(Rule::Internal, Found::Nothing)),
            Answer::Accept | Answer::AcceptAs(_) => {
                Err(Refusal::of(Rule::UpgradeRequired, request.path().as_bytes()))
            }
        };
    }
    let handshake = validate(&request, config)?;
    let subprotocol = match decide(&request) {
        Answer::Respond(response) => return Ok(Verdict::Respond(response)),
        Answer::Refuse(refusal) => return Err(refusal),
        Answer::Fail => return Err(Refusal::measured(Rule::Internal, Found::Nothing)),
        Answer::Accept => handshake.choose(&config.subprotocols),
        // RFC 6455 §4.2.2-8: only what the client offered.
        Answer::AcceptAs(name) if handshake.offered.contains(&name.as_str()) => Some(name),
        Answer::AcceptAs(name) => return Err(Refusal::of(Rule::Internal, name.as_bytes())),
    };
    let opened = Opened { request, subprotocol, key_bytes: handshake.key_bytes };
    Ok(Verdict::Open(handshake, opened))
}

/// What a valid opening handshake asks for.
#[derive(Clone, Debug)]
pub struct Handshake<'a> {
    key: &'a str,
    key_bytes: usize,
    offered: Vec<&'a str>,
}

impl Handshake<'_> {
    /// The first offered subprotocol that is spoken here: the client's order is its preference.
    fn choose(&self, spoken: &[String]) -> Option<String> {
        let chosen = self.offered.iter().find(|offer| spoken.iter().any(|name| name == *offer));
        chosen.map(|&name| name.to_owned())
    }
}

/// Checks a request against §4.2.1, item by item.
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
    let (key, key_bytes) = check_key(fields, config.key_policy)?;
    check_origin(request, &config.origin_policy)?;
    let offered = check_subprotocols(fields)?;
    check_extensions(fields)?;
    Ok(Handshake { key, key_bytes, offered })
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

/// RFC 6455 §4.2.1 items 3 and 4; §4.1-25, §4.1-27
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

/// RFC 6455 §4.2.1 item 6; §4.4-1, §4.2.2-6, §11.3.5-2
fn check_websocket_version(fields: &Fields<'_>) -> Result<(), Refusal> {
    let mut versions = fields.all("sec-websocket-version");
    match (versions.next(), versions.count()) {
        (Some(b"13"), 0) => Ok(()),
        (version, 0) => Err(Refusal::of(Rule::Version, version.unwrap_or_default())),
        (_, more) => Err(Refusal::measured(Rule::VersionOnce, Found::Times(more + 1))),
    }
}

/// RFC 6455 §4.2.1 item 5; §4.1-29, §11.3.1-1
fn check_key<'a>(fields: &Fields<'a>, policy: KeyPolicy) -> Result<(&'a str, usize), Refusal> {
    let mut keys = fields.all("sec-websocket-key");
    let key = match (keys.next(), keys.count()) {
        (None, _) => return Err(Refusal::measured(Rule::KeyMissing, Found::Nothing)),
        (Some(key), 0) => key,
        (_, more) => return Err(Refusal::measured(Rule::KeyOnce, Found::Times(more + 1))),
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

/// RFC 6455 §4.2.2 step 4; §4.2.2-5, §10.2-1, §10.2-2
fn check_origin(request: &Request<'_>, policy: &OriginPolicy) -> Result<(), Refusal> {
    let mut origins = request.fields().all("origin");
    let origin = match (origins.next(), origins.count()) {
        // RFC 6455 §4.2.1-2: not a browser, so there is no page to protect anyone from.
        (None, _) => return Ok(()),
        (Some(origin), 0) => origin,
        (_, more) => return Err(Refusal::measured(Rule::OriginOnce, Found::Times(more + 1))),
    };
    let parsed = Origin::parse(origin);
    let is_own = |origin: &Origin| {
        let own = format!("{}://{}", origin.scheme, request.host());
        Origin::parse(own.as_bytes()).as_ref() == Some(origin)
    };
    let is_listed = |origin: &Origin, list: &[String]| {
        list.iter().any(|entry| Origin::parse(entry.as_bytes()).as_ref() == Some(origin))
    };
    let allowed = match policy {
        OriginPolicy::Any => true,
        OriginPolicy::SameHost => parsed.is_some_and(|origin| is_own(&origin)),
        OriginPolicy::List(list) => parsed.is_some_and(|origin| is_listed(&origin, list)),
        OriginPolicy::SameHostAnd(list) => {
            parsed.is_some_and(|origin| is_own(&origin) || is_listed(&origin, list))
        }
    };
    if allowed { Ok(()) } else { Err(Refusal::of(Rule::Origin, origin)) }
}

/// The serialized form of an origin (RFC 6454 6.2), compared without regard to case.
#[derive(PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    fn parse(bytes: &[u8]) -> Option<Origin> {
        let text = str::from_utf8(bytes).ok()?.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        // A backquote is a token byte and a host byte of some parsers; no real origin has one.
        if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            || !is_authority(authority.as_bytes())
        {
            return None;
        }
        let default = match scheme {
            "https" | "wss" => 443,
            _ => 80,
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(default)),
            _ => (authority, default),
        };
        Some(Origin { scheme: scheme.to_owned(), host: host.to_owned(), port })
    }
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

/// RFC 6455 §4.2.1 item 9; §9.1-1, §4.2.2-11: offers are checked and, as none is known here, passed over.
fn check_extensions(fields: &Fields<'_>) -> Result<(), Refusal> {
    match fields.all("sec-websocket-extensions").find(|value| !is_extension_list(value)) {
        Some(value) => Err(Refusal::of(Rule::Extension, value)),
        None => Ok(()),
    }
}

/// RFC 6455 §4.2.2 step 5; §4.2.2-12
fn switching_protocols(handshake: &Handshake<'_>, opened: &Opened<'_>) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        accept_key(handshake.key)
    );
    // RFC 6455 §4.2.2-9: no subprotocol, no header.
    if let Some(subprotocol) = &opened.subprotocol {
        answer += &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n");
    }
    if opened.key_bytes != 16 {
        answer += &format!(
            "Framewise-Note: Sec-WebSocket-Key decodes to {} bytes; \
             RFC 6455 section 4.2.1 asks for 16\r\n",
            opened.key_bytes
        );
    }
    answer += "\r\n";
    answer.into_bytes()
}

/// Seconds after which a crowded server may have room again.
const RETRY_AFTER: &str = "5";

/// The answer to a refused request: a status, what HTTP wants beside it, and the body that teaches.
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
        response.header(name, value).expect("these headers are one line each")
    })
}

/// The language that the request asks for, if so much of it can be read.
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

    /// RFC 6455 §10.2-1
    #[test]
    fn compares_origins() {
        let same =
            |a: &str, b: &str| match (Origin::parse(a.as_bytes()), Origin::parse(b.as_bytes())) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            };
        assert!(same("http://localhost", "HTTP://LOCALHOST:80"));
        assert!(same("https://[::1]", "https://[::1]:443"));
        assert!(!same("http://localhost:8765", "http://localhost:8766"));
        assert!(!same("http://localhost", "https://localhost"));
        for no_origin in
            ["null", "good`evil", "http://good`evil", "http://", "http://u@h", "h", "http://h/x"]
        {
            assert!(!same(no_origin, no_origin), "{no_origin}");
        }
    }

    /// RFC 6455 §4.2.2-8: a subprotocol that nobody offered is the application's fault, not the client's.
    #[test]
    fn an_application_cannot_choose_what_was_not_offered() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: a, b\r\n\r\n";
        let config = Config::default();
        let answer = |name: &str| {
            let name = name.to_owned();
            let (bytes, _) = respond(Ok(head), &config, None, |_| Answer::AcceptAs(name));
            String::from_utf8(bytes).expect("ASCII")
        };
        assert!(answer("b").contains("\r\nSec-WebSocket-Protocol: b\r\n"));
        assert!(answer("c").starts_with("HTTP/1.1 500 "));
    }
}
