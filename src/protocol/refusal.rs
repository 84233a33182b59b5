//! RFC 6455 §4.2.1, §4.2.2: every reason to refuse an opening handshake, and the body that explains it.
//!
//! The twin of `violation.rs` for the time before the connection is open: here the answer is an HTTP
//! status and four lines that teach (rule, section, found, fix), in the reader's language.

use std::fmt::Write;

use crate::lang::{self, Lang, Text};

/// One rule of the opening handshake that a request broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The table below says what each one means.
#[non_exhaustive]
pub enum Rule {
    RequestLineTooLong,
    HeadTooLarge,
    TooManyHeaders,
    BareLf,
    BareCr,
    ControlByte,
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

/// What the table says about one [`Rule`].
struct Row {
    status: u16,
    section: &'static str,
    rule: Text,
    fix: Text,
}

impl Rule {
    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// The standard and section that state the rule.
    pub fn section(self) -> &'static str {
        self.row().section
    }

    /// The rule in words.
    pub fn text(self) -> Text {
        self.row().rule
    }

    #[rustfmt::skip]
    fn row(self) -> Row {
        use lang::*;
        use Rule::*;
        let (status, section, rule, fix) = match self {
            RequestLineTooLong => (414, "RFC 9112 3",         REQUEST_LINE_TOO_LONG_RULE, REQUEST_LINE_TOO_LONG_FIX),
            HeadTooLarge       => (431, "RFC 6585 5",         HEAD_TOO_LARGE_RULE,        HEAD_TOO_LARGE_FIX),
            TooManyHeaders     => (431, "RFC 6585 5",         TOO_MANY_HEADERS_RULE,      TOO_MANY_HEADERS_FIX),
            BareLf             => (400, "RFC 9112 2.2",       BARE_LF_RULE,               BARE_LF_FIX),
            BareCr             => (400, "RFC 9112 2.2",       BARE_CR_RULE,               BARE_CR_FIX),
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
        Row { status, section, rule, fix }
    }
}

/// What was seen where the rule was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The thing is not there.
    Nothing,
    /// These bytes of the request, escaped and cut.
    Bytes(String),
    /// This many bytes where fewer are allowed.
    Length {
        /// Bytes seen so far.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More header fields than this.
    Headers(usize),
    /// A key of this many bytes once decoded.
    KeyBytes(usize),
    /// A field that many times.
    Times(usize),
}

/// A refused opening handshake: the rule and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The broken rule.
    pub rule: Rule,
    /// What was there instead.
    pub found: Found,
}

/// The most characters of the request that an answer repeats.
const MAX_FOUND: usize = 80;

impl Refusal {
    /// A refusal that shows the bytes at fault.
    pub fn of(rule: Rule, bytes: &[u8]) -> Refusal {
        let found = if bytes.is_empty() { Found::Nothing } else { Found::Bytes(escaped(bytes)) };
        Refusal { rule, found }
    }

    /// A refusal with a measured find.
    pub fn measured(rule: Rule, found: Found) -> Refusal {
        Refusal { rule, found }
    }

    /// What was found, in words.
    pub fn found_text(&self, lang: Lang) -> String {
        match &self.found {
            Found::Nothing => lang::FOUND_NOTHING.get(lang).to_owned(),
            Found::Bytes(bytes) => bytes.clone(),
            Found::Length { bytes, limit } => lang::FOUND_BYTES.with(lang, &[bytes, limit]),
            Found::Headers(limit) => lang::FOUND_HEADERS.with(lang, &[limit]),
            Found::KeyBytes(bytes) => lang::FOUND_KEY_BYTES.with(lang, &[bytes]),
            Found::Times(times) => lang::FOUND_TIMES.with(lang, &[times]),
        }
    }

    /// The four lines of the answer's body.
    pub fn body(&self, lang: Lang) -> String {
        let row = self.rule.row();
        let mut body = String::new();
        let lines = [
            (lang::LABEL_RULE, row.rule.get(lang)),
            (lang::LABEL_SECTION, row.section),
            (lang::LABEL_FOUND, &self.found_text(lang)),
            (lang::LABEL_FIX, row.fix.get(lang)),
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

/// Bytes of the request as printable ASCII, cut at 80: safe in a body, a log line or a terminal.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        let before = text.len();
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a String takes everything"),
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
