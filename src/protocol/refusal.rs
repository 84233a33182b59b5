//! RFC 6455 §4.2.1, §4.2.2: every reason to refuse an opening handshake, a [`Rule`], and the response body that
//! explains it.
//!
//! `violation.rs` has the rules for an open connection. Before a connection is open, the server refuses it with an HTTP
//! response: a status code, and four lines (rule, section, found, fix) in the configured language.

use std::fmt::{self, Write};

use crate::lang::{Bilingual, Lang};
use crate::texts;

/// One rule that the head of a request can break. [`text`](Rule::text) and [`section`](Rule::section) explain it.
///
/// ```
/// use framewise::lang::Lang;
/// use framewise::protocol::refusal::Rule;
///
/// let rule = Rule::KeyLength;
/// assert_eq!((rule.status(), rule.section()), (400, "RFC 6455 4.2.1"));
/// assert_eq!(rule.text().get(Lang::En), "Sec-WebSocket-Key decodes to 16 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The table in `row` explains each variant.
#[non_exhaustive]
pub enum Rule {
    RequestLineTooLong,
    HeadTooLarge,
    TooManyHeaders,
    BareLf,
    BareCr,
    ControlByte,
    Tls,
    RequestLine,
    UnknownMethod,
    MethodNotAllowed,
    NotGet,
    HttpVersion,
    HttpTooOld,
    Target,
    ObsFold,
    NoColon,
    HeaderName,
    Host,
    Body,
    Upgrade,
    Connection,
    Version,
    VersionOnce,
    KeyMissing,
    KeyOnce,
    KeyBase64,
    KeyLength,
    Subprotocol,
    Extension,
    Origin,
    OriginOnce,
    UpgradeRequired,
    TooManyConnections,
    TooManyFromAddress,
    Internal,
}

/// One row of the table.
struct RefusalRow {
    status: u16,
    section: &'static str,
    rule: Bilingual,
    fix: Bilingual,
}

impl Rule {
    /// Returns the status code of the response.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// Returns the standard and the section that state the rule, for example `RFC 6455 4.2.1`.
    pub fn section(self) -> &'static str {
        self.row().section
    }

    /// Returns the rule in a few words.
    pub fn text(self) -> Bilingual {
        self.row().rule
    }

    #[rustfmt::skip]
    fn row(self) -> RefusalRow {
        use texts::*;
        use Rule::*;
        let (status, section, rule, fix) = match self {
            RequestLineTooLong => (414, "RFC 9112 3",         REQUEST_LINE_TOO_LONG_RULE, REQUEST_LINE_TOO_LONG_FIX),
            HeadTooLarge       => (431, "RFC 6585 5",         HEAD_TOO_LARGE_RULE,        HEAD_TOO_LARGE_FIX),
            TooManyHeaders     => (431, "RFC 6585 5",         TOO_MANY_HEADERS_RULE,      TOO_MANY_HEADERS_FIX),
            BareLf             => (400, "RFC 9112 2.2",       BARE_LF_RULE,               BARE_LF_FIX),
            BareCr             => (400, "RFC 9112 2.2",       BARE_CR_RULE,               BARE_CR_FIX),
            Tls                => (400, "RFC 6455 3",         TLS_RULE,                   TLS_FIX),
            ControlByte        => (400, "RFC 9110 5.5",       CONTROL_BYTE_RULE,          CONTROL_BYTE_FIX),
            RequestLine        => (400, "RFC 9112 3",         REQUEST_LINE_RULE,          REQUEST_LINE_FIX),
            UnknownMethod      => (501, "RFC 9110 9.1",       UNKNOWN_METHOD_RULE,        UNKNOWN_METHOD_FIX),
            MethodNotAllowed   => (405, "RFC 9110 9.1",       METHOD_NOT_ALLOWED_RULE,    METHOD_NOT_ALLOWED_FIX),
            NotGet             => (400, "RFC 6455 4.2.1",     NOT_GET_RULE,               NOT_GET_FIX),
            HttpVersion        => (505, "RFC 9110 15.6.6",    HTTP_VERSION_RULE,          HTTP_VERSION_FIX),
            HttpTooOld         => (400, "RFC 6455 4.2.1",     HTTP_TOO_OLD_RULE,          HTTP_TOO_OLD_FIX),
            Target             => (400, "RFC 9112 3.2",       TARGET_RULE,                TARGET_FIX),
            ObsFold            => (400, "RFC 9112 5.2",       OBS_FOLD_RULE,              OBS_FOLD_FIX),
            NoColon            => (400, "RFC 9112 5",         NO_COLON_RULE,              NO_COLON_FIX),
            HeaderName         => (400, "RFC 9112 5.1",       HEADER_NAME_RULE,           HEADER_NAME_FIX),
            Host               => (400, "RFC 9112 3.2",       HOST_RULE,                  HOST_FIX),
            Body               => (400, "RFC 9112 6",         BODY_RULE,                  BODY_FIX),
            Upgrade            => (400, "RFC 6455 4.2.1",     UPGRADE_RULE,               UPGRADE_FIX),
            Connection         => (400, "RFC 6455 4.2.1",     CONNECTION_RULE,            CONNECTION_FIX),
            Version            => (426, "RFC 6455 4.4",       VERSION_RULE,               VERSION_FIX),
            VersionOnce        => (400, "RFC 6455 11.3.5",    VERSION_ONCE_RULE,          VERSION_ONCE_FIX),
            KeyMissing         => (400, "RFC 6455 4.2.1",     KEY_MISSING_RULE,           KEY_MISSING_FIX),
            KeyOnce            => (400, "RFC 6455 11.3.1",    KEY_ONCE_RULE,              KEY_ONCE_FIX),
            KeyBase64          => (400, "RFC 6455 4.2.1",     KEY_BASE64_RULE,            KEY_BASE64_FIX),
            KeyLength          => (400, "RFC 6455 4.2.1",     KEY_LENGTH_RULE,            KEY_LENGTH_FIX),
            Subprotocol        => (400, "RFC 6455 4.1",       SUBPROTOCOL_RULE,           SUBPROTOCOL_FIX),
            Extension          => (400, "RFC 6455 9.1",       EXTENSION_RULE,             EXTENSION_FIX),
            Origin             => (403, "RFC 6455 10.2",      ORIGIN_RULE,                ORIGIN_FIX),
            OriginOnce         => (400, "RFC 6454 7.3",       ORIGIN_ONCE_RULE,           ORIGIN_ONCE_FIX),
            UpgradeRequired    => (426, "RFC 9110 15.5.22",   UPGRADE_REQUIRED_RULE,      UPGRADE_REQUIRED_FIX),
            TooManyConnections => (503, "RFC 9110 15.6.4",    TOO_MANY_CONNECTIONS_RULE,  TOO_MANY_CONNECTIONS_FIX),
            TooManyFromAddress => (429, "RFC 6585 4",         TOO_MANY_FROM_ADDRESS_RULE, TOO_MANY_FROM_ADDRESS_FIX),
            Internal           => (500, "RFC 9110 15.6.1",    INTERNAL_RULE,              INTERNAL_FIX),
        };
        RefusalRow { status, section, rule, fix }
    }
}

/// The part of the request that breaks the rule, as shown in a [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// Something that the rule requires is missing.
    Nothing,
    /// These bytes of the request, escaped and truncated to 80 characters.
    Bytes(String),
    /// A plain request.
    Plain {
        /// Its path, escaped and truncated.
        path: String,
        /// The URL that a WebSocket client would have to use for it, likewise.
        url: String,
    },
    /// More bytes than the limit.
    Length {
        /// Bytes read so far.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// More header fields than this limit.
    Headers(usize),
    /// A key that decodes to this many bytes.
    KeyBytes(usize),
    /// This many fields of the same name.
    Times(usize),
}

/// The reason why a request is refused: the broken rule, and what the request contains instead.
///
/// ```
/// use framewise::lang::Lang;
/// use framewise::protocol::refusal::{Found, Refusal, Rule};
///
/// let refusal = Refusal::measured(Rule::KeyLength, Found::KeyBytes(15));
/// assert_eq!(refusal.to_string(), "Sec-WebSocket-Key decodes to 16 bytes (RFC 6455 4.2.1), found: a key of 15 bytes");
/// assert_eq!(refusal.body(Lang::Pt).lines().nth(2), Some("encontrado: uma chave de 15 bytes"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The broken rule.
    pub rule: Rule,
    /// What the request contains instead.
    pub found: Found,
}

/// The maximum number of characters of the request that a response quotes.
const MAX_FOUND: usize = 80;

impl Refusal {
    /// Creates a refusal that quotes the invalid bytes of the request. Empty `bytes` mean that something is missing.
    #[must_use]
    pub fn of(rule: Rule, bytes: &[u8]) -> Refusal {
        let found = if bytes.is_empty() { Found::Nothing } else { Found::Bytes(escaped(bytes)) };
        Refusal { rule, found }
    }

    /// Creates a refusal that shows a count or a length.
    #[must_use]
    pub fn measured(rule: Rule, found: Found) -> Refusal {
        Refusal { rule, found }
    }

    /// Describes what was found in the request.
    pub fn found_text(&self, lang: Lang) -> String {
        match &self.found {
            Found::Nothing => texts::FOUND_NOTHING.get(lang).to_owned(),
            Found::Bytes(bytes) | Found::Plain { path: bytes, .. } => bytes.clone(),
            Found::Length { bytes, limit } => texts::FOUND_BYTES.with(lang, &[bytes, limit]),
            Found::Headers(limit) => texts::FOUND_HEADERS.with(lang, &[limit]),
            Found::KeyBytes(bytes) => texts::FOUND_KEY_BYTES.with(lang, &[bytes]),
            Found::Times(times) => texts::FOUND_TIMES.with(lang, &[times]),
        }
    }

    /// Returns what to do about it.
    pub fn fix_text(&self, lang: Lang) -> String {
        let url = match &self.found {
            Found::Plain { url, .. } => url,
            _ => "ws://HOST:PORT/",
        };
        self.rule.row().fix.with(lang, &[&url])
    }

    /// Returns the body of the response: four lines, each `label: text`.
    pub fn body(&self, lang: Lang) -> String {
        let row = self.rule.row();
        let mut body = String::new();
        let lines = [
            (texts::LABEL_RULE, row.rule.get(lang)),
            (texts::LABEL_SECTION, row.section),
            (texts::LABEL_FOUND, &self.found_text(lang)),
            (texts::LABEL_FIX, &self.fix_text(lang)),
        ];
        for (label, text) in lines {
            body.push_str(label.get(lang));
            body.push_str(": ");
            body.push_str(text);
            body.push('\n');
        }
        body
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, section) = (self.rule.text().get(Lang::En), self.rule.section());
        write!(out, "{rule} ({section}), found: {}", self.found_text(Lang::En))
    }
}

impl std::error::Error for Refusal {}

/// Escapes bytes of the request as printable ASCII and truncates the result to 80 characters, so that it is safe in a
/// body, a log line and a terminal.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        let before = text.len();
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail"),
        }
        if text.len() > MAX_FOUND - 3 {
            text.truncate(before);
            text.push_str("...");
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_four_lines_in_either_language() {
        let refusal = Refusal::measured(Rule::KeyLength, Found::KeyBytes(15));
        assert_eq!(
            refusal.body(Lang::En),
            "rule: Sec-WebSocket-Key decodes to 16 bytes\nsection: RFC 6455 4.2.1\n\
             found: a key of 15 bytes\nfix: encode 16 random bytes, for example: openssl rand -base64 16\n"
        );
        let portuguese = refusal.body(Lang::Pt);
        assert!(portuguese.starts_with("regra: "), "{portuguese}");
        assert_eq!(portuguese.lines().count(), 4);
    }

    #[test]
    fn what_was_found_is_escaped_and_cut() {
        let refusal = Refusal::of(Rule::HeaderName, b"a\r\n\xff\\b");
        assert_eq!(refusal.found_text(Lang::En), "a\\x0d\\x0a\\xff\\\\b");
        let long = Refusal::of(Rule::HeaderName, &[0x80; 1000]).found_text(Lang::En);
        assert!(long.len() <= 80 && long.ends_with("..."), "{long}");
    }
}
