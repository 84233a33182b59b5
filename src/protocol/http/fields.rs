//! RFC 9110 §5: the header [`Fields`] of a head, and the lists inside their values.
//!
//! A value is bytes, not text: the bytes 80 to FF have no meaning here, and are escaped wherever a person sees them.

use std::borrow::Cow;

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

/// One item of a `Sec-WebSocket-Extensions` field, as [`extension_list`] returns it: an extension that a client offers or a
/// server accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionItem<'a> {
    /// The name of the extension.
    pub name: &'a str,
    /// The parameters in their order, each with its value, if it has one. A quoted value has no quotes here.
    pub params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Parses a value of `Sec-WebSocket-Extensions` (§9.1). Looks at each byte once. Returns `None` if it breaks the grammar:
///
/// ```text
/// list       item *( , item )            at least one item; empty items are ignored
/// item       token *( ; token [ = token or quoted token ] )
/// ```
///
/// ```
/// use framewise::protocol::http::fields::extension_list;
///
/// let items = extension_list(b"permessage-deflate; server_max_window_bits=\"10\", other").expect("valid");
/// assert_eq!((items.len(), items[0].name), (2, "permessage-deflate"));
/// assert_eq!(items[0].params, [("server_max_window_bits", Some("10".into()))]);
/// assert_eq!(extension_list(b"permessage-deflate;"), None);
/// ```
pub fn extension_list(value: &[u8]) -> Option<Vec<ExtensionItem<'_>>> {
    let mut rest = value;
    let mut items = Vec::new();
    loop {
        rest = trim_start(rest);
        if rest.first() != Some(&b',') && !rest.is_empty() {
            let (item, after) = extension(rest)?;
            rest = trim_start(after);
            items.push(item);
        }
        match rest.split_first() {
            None => return (!items.is_empty()).then_some(items),
            Some((b',', after)) => rest = after,
            Some(_) => return None,
        }
    }
}

/// Parses one extension with its parameters. Returns it and the bytes after it.
fn extension(bytes: &[u8]) -> Option<(ExtensionItem<'_>, &[u8])> {
    let (name, rest) = token(bytes)?;
    let (mut params, mut rest) = (Vec::new(), trim_start(rest));
    while let Some(after) = rest.strip_prefix(b";") {
        let (name, after) = token(trim_start(after))?;
        rest = trim_start(after);
        let mut value = None;
        if let Some(after) = rest.strip_prefix(b"=") {
            let start = trim_start(after);
            let (text, after) = match start.strip_prefix(b"\"") {
                Some(quoted) => quoted_token(quoted)?,
                None => token(start).map(|(text, after)| (Cow::Borrowed(text), after))?,
            };
            value = Some(text);
            rest = trim_start(after);
        }
        params.push((name, value));
    }
    Some((ExtensionItem { name, params }, rest))
}

/// Parses a token at the start of `bytes`. Returns it and the bytes after it.
fn token(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(bytes.len());
    let (token, rest) = bytes.split_at(end);
    Some((str::from_utf8(token).ok().filter(|token| !token.is_empty())?, rest))
}

/// Parses the rest of a quoted string, after its first quote. Its content must be a token. Returns the content without
/// backslashes, and the bytes after the string.
fn quoted_token(bytes: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let mut at = 0;
    let mut escapes = 0;
    loop {
        // RFC 6455 §9.1-2, §4.3-1: without the backslashes, the content must be a token.
        match *bytes.get(at)? {
            b'"' => break,
            b'\\' if is_token_byte(*bytes.get(at + 1)?) => {
                escapes += 1;
                at += 2;
            }
            byte if is_token_byte(byte) => at += 1,
            _ => return None,
        }
    }
    let (content, rest) = (str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 1..]);
    let content = match escapes {
        0 => Cow::Borrowed(content),
        // A backslash is no part of a token, so each of these is an escape.
        _ => Cow::Owned(content.replace('\\', "")),
    };
    (!content.is_empty()).then_some((content, rest))
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
    fn parses_lists_of_extensions() {
        /// Writes a list in one form: `a; b=c, d`.
        fn shown(list: &[u8]) -> Option<String> {
            let items = extension_list(list)?.into_iter().map(|item| {
                let params = item.params.iter().map(|(name, value)| match value {
                    Some(value) => format!("; {name}={value}"),
                    None => format!("; {name}"),
                });
                item.name.to_owned() + &params.collect::<String>()
            });
            Some(items.collect::<Vec<_>>().join(", "))
        }
        for (valid, expected) in [
            ("a", "a"),
            ("a; b", "a; b"),
            ("a;b=c\t, d ;e;f = g", "a; b=c, d; e; f=g"),
            ("constructor", "constructor"),
            ("a; b=\"\\c\\c\"", "a; b=cc"),
            ("a; b=\"c\\d1\\2\";e", "a; b=cd12; e"),
            (",a,,b", "a, b"),
            ("a; b=\"c\"", "a; b=c"),
            ("a;b;b", "a; b; b"),
        ] {
            assert_eq!(shown(valid.as_bytes()).as_deref(), Some(expected));
        }
        for invalid in [
            "",
            ",",
            ",;x",
            "a;",
            "a; b=",
            "a b",
            "a; b=\"\"",
            "a; b=\"c d\"",
            "a; b=\"c",
            "=a",
            "a; b=\"c\\",
            "a; b=\"\\\"\"",
            "a; b=c=d",
            "a; \"b\"",
            "a; b=\"c\"d",
        ] {
            assert_eq!(shown(invalid.as_bytes()), None, "{invalid}");
        }
        assert_eq!(extension_list(&[b','; 5000]), None);
        assert_eq!(extension_list(b"a; b=\xe9"), None);
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
