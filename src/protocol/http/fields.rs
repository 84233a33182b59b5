//! RFC 9110 §5: the header [`Fields`] of a head, and the lists inside their values.
//!
//! A value is bytes, not text: the bytes 80 to FF have no meaning here, and are escaped wherever a person sees them.

use crate::config::{is_token, is_token_byte};
use crate::protocol::refusal::{Refusal, Rule};

/// The header fields of one head, borrowed from it, in the order in which they were sent.
///
/// ```
/// use framewise::protocol::http::fields::Fields;
///
/// let fields = Fields::parse(b"Host: localhost\r\nConnection: keep-alive, Upgrade\r\n\r\n")?;
/// assert_eq!(fields.first("host"), Some(&b"localhost"[..]));
/// assert!(fields.has_token("connection", "upgrade"));
/// assert_eq!(fields.only("origin"), Ok(None));
/// # Ok::<(), framewise::protocol::refusal::Refusal>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fields<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Fields<'a> {
    /// Parses the lines after the start line of a head, up to the empty line.
    ///
    /// # Errors
    ///
    /// A line has no colon, or a name is not a token.
    pub fn parse(lines: &'a [u8]) -> Result<Fields<'a>, Refusal> {
        let mut fields = Vec::new();
        for line in lines.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|&byte| byte == b':');
            let Some(colon) = colon else { return Err(Refusal::of(Rule::NoColon, line)) };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            let name = str::from_utf8(name).ok().filter(|name| is_token(name.as_bytes()));
            let Some(name) = name else { return Err(Refusal::of(Rule::HeaderName, line)) };
            fields.push((name, trim(value)));
        }
        Ok(Fields(fields))
    }

    /// Returns all fields: the name as it was sent, the value without the white space around it.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.0.iter().copied()
    }

    /// Returns the values of all fields with this name. Names are compared without regard to case.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|field| field.1)
    }

    /// Returns the value of the first field with this name.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Returns the value of the only field with this name, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// Several fields have this name: the error is how many. A recipient that took one of them could choose another one
    /// than a proxy before it.
    pub fn only(&self, name: &str) -> Result<Option<&'a [u8]>, usize> {
        let mut values = self.all(name);
        match (values.next(), values.count()) {
            (value, 0) => Ok(value),
            (_, more) => Err(1 + more),
        }
    }

    /// Reports whether `token` is in the comma-separated list that all fields with this name form together. Names and
    /// tokens are compared without regard to case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|item| trim(item).eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Reports whether a value can be sent in a header field: it has no control character, and so no line break that would
/// begin another field (RFC 9110 §5.5).
pub(crate) fn is_field_value(value: &str) -> bool {
    !value.bytes().any(|byte| byte.is_ascii_control())
}

/// Parses a comma-separated list such as `chat, superchat`, which may be spread over several fields. Returns `None` if
/// an item is not a token, or if there is no item.
///
/// ```
/// use framewise::protocol::http::fields::token_list;
///
/// let values = [&b"chat, superchat"[..], b"mqtt"];
/// assert_eq!(token_list(values.into_iter()), Some(vec!["chat", "superchat", "mqtt"]));
/// assert_eq!(token_list([&b"a b"[..]].into_iter()), None);
/// ```
pub fn token_list<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Vec<&'a str>> {
    let mut tokens = Vec::new();
    for item in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        match trim(item) {
            // RFC 9110 5.6.1.2: a recipient ignores empty items.
            [] => {}
            item if is_token(item) => tokens.push(str::from_utf8(item).ok()?),
            _ => return None,
        }
    }
    (!tokens.is_empty()).then_some(tokens)
}

/// Reports whether a value follows the grammar of `Sec-WebSocket-Extensions` (§9.1). Looks at each byte once.
///
/// ```text
/// list       item *( , item )            at least one item; empty items are ignored
/// item       token *( ; token [ = token or quoted token ] )
/// ```
///
/// ```
/// use framewise::protocol::http::fields::is_extension_list;
///
/// assert!(is_extension_list(b"permessage-deflate; client_max_window_bits=15"));
/// assert!(!is_extension_list(b"permessage-deflate;"));
/// ```
pub fn is_extension_list(value: &[u8]) -> bool {
    let mut rest = value;
    let mut items = 0;
    loop {
        rest = trim_start(rest);
        if rest.first() != Some(&b',') && !rest.is_empty() {
            let Some(after) = extension(rest) else { return false };
            rest = trim_start(after);
            items += 1;
        }
        match rest.split_first() {
            None => return items > 0,
            Some((b',', after)) => rest = after,
            Some(_) => return false,
        }
    }
}

/// Parses one extension with its parameters. Returns the bytes after it.
fn extension(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = trim_start(token(bytes)?);
    while let Some(after) = rest.strip_prefix(b";") {
        rest = trim_start(token(trim_start(after))?);
        if let Some(after) = rest.strip_prefix(b"=") {
            let value = trim_start(after);
            rest = match value.strip_prefix(b"\"") {
                Some(quoted) => quoted_token(quoted)?,
                None => token(value)?,
            };
            rest = trim_start(rest);
        }
    }
    Some(rest)
}

/// Parses a token at the start of `bytes`. Returns the bytes after it.
fn token(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(bytes.len());
    (end > 0).then(|| &bytes[end..])
}

/// Parses the rest of a quoted string, after its first quote. Its content must be a token. Returns the bytes after it.
fn quoted_token(bytes: &[u8]) -> Option<&[u8]> {
    let mut length = 0;
    let mut at = 0;
    loop {
        // RFC 6455 §9.1-2, §4.3-1: without the backslashes, the content must be a token.
        match *bytes.get(at)? {
            b'"' => return (length > 0).then(|| &bytes[at + 1..]),
            b'\\' if is_token_byte(*bytes.get(at + 1)?) => at += 2,
            byte if is_token_byte(byte) => at += 1,
            _ => return None,
        }
        length += 1;
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = trim_start(bytes);
    let end = bytes.iter().rposition(|&byte| !matches!(byte, b' ' | b'\t'));
    &bytes[..end.map_or(0, |last| last + 1)]
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| !matches!(byte, b' ' | b'\t'));
    &bytes[start.unwrap_or(bytes.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_lines() {
        let fields = Fields::parse(b"Host:x\r\nA: \t b c \r\na:\xff\r\n\r\n").expect("valid");
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [("Host", &b"x"[..]), ("A", b"b c"), ("a", b"\xff")]);
        assert_eq!(fields.all("A").count(), 2);
        assert_eq!(fields.first("HOST"), Some(&b"x"[..]));
    }

    #[test]
    fn only_returns_a_field_that_is_not_repeated() {
        let fields = Fields::parse(b"A: 1\r\nB: 2\r\na: 3\r\nC:\r\nA: 4\r\n\r\n").expect("valid");
        assert_eq!(fields.only("b"), Ok(Some(&b"2"[..])));
        assert_eq!(fields.only("c"), Ok(Some(&b""[..])), "an empty value is a value");
        assert_eq!(fields.only("d"), Ok(None));
        assert_eq!(fields.only("a"), Err(3));
    }

    #[test]
    fn a_value_to_send_has_no_control_characters() {
        for valid in ["", "a b", "text/html; charset=utf-8", "olá"] {
            assert!(is_field_value(valid), "{valid:?}");
        }
        for invalid in ["a\r\nSet-Cookie: x", "a\n", "a\rb", "\0", "\t", "\x7f"] {
            assert!(!is_field_value(invalid), "{invalid:?}");
        }
    }

    #[test]
    fn rejects_malformed_fields() {
        let rule = |lines| Fields::parse(lines).map(|_| ()).map_err(|refusal| refusal.rule);
        assert_eq!(rule(b"no colon\r\n\r\n"), Err(Rule::NoColon));
        assert_eq!(rule(b"A : b\r\n\r\n"), Err(Rule::HeaderName));
        assert_eq!(rule(b": b\r\n\r\n"), Err(Rule::HeaderName));
        assert_eq!(rule(b"\xc3\xa9: b\r\n\r\n"), Err(Rule::HeaderName));
    }

    /// RFC 6455 §9.1-1, §9.1-2, §4.3-1
    #[test]
    fn checks_the_grammar_of_extensions() {
        for valid in
            ["a", "a; b", "a;b=c , d", "constructor", "a; b=\"\\c\\c\"", ",a,,b", "a; b=\"c\""]
        {
            assert!(is_extension_list(valid.as_bytes()), "{valid}");
        }
        for invalid in
            ["", ",", ",;x", "a;", "a; b=", "a b", "a; b=\"\"", "a; b=\"c d\"", "a; b=\"c", "=a"]
        {
            assert!(!is_extension_list(invalid.as_bytes()), "{invalid}");
        }
        assert!(!is_extension_list(&[b','; 5000]));
    }

    /// RFC 6455 §4.1-36
    #[test]
    fn parses_token_lists() {
        let list = |value: &'static [u8]| token_list([value].into_iter());
        assert_eq!(list(b"chat, superchat"), Some(vec!["chat", "superchat"]));
        assert_eq!(list(b",chat,,"), Some(vec!["chat"]));
        assert_eq!(list(b" , "), None);
        assert_eq!(list(b"b x"), None);
    }
}
