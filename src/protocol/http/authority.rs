//! RFC 3986 §3.2: host and port, as they appear in a URL, a Host field and an Origin.
//!
//! ```text
//! localhost      example.org:8765      [::1]:8765      user@host is rejected
//! ```

/// A host and an optional port, borrowed from the text that they were parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// The host, without the brackets of an IPv6 address.
    pub(crate) host: &'a str,
    /// The port, or `None` if it is absent or empty.
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port`. Returns `None` if it is malformed.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Authority<'a>> {
        let text = str::from_utf8(bytes).ok()?;
        let (host, after) = match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((address, after)) => {
                address.parse::<core::net::Ipv6Addr>().ok()?;
                (address, after)
            }
            None => {
                let (host, after) = text.split_at(text.find(':').unwrap_or(text.len()));
                let is_name =
                    |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
                if host.is_empty() || !host.bytes().all(is_name) || !has_valid_escapes(host) {
                    return None;
                }
                (host, after)
            }
        };
        let port = match after.strip_prefix(':') {
            None if after.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        Some(Authority { host, port })
    }
}

/// Reports whether two hexadecimal digits follow each percent sign.
fn has_valid_escapes(host: &str) -> bool {
    host.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_hosts_and_ports() {
        let parsed = |text: &'static str| {
            Authority::parse(text.as_bytes()).map(|found| (found.host, found.port))
        };
        assert_eq!(parsed("localhost"), Some(("localhost", None)));
        assert_eq!(parsed("example.org:8765"), Some(("example.org", Some(8765))));
        assert_eq!(parsed("h:"), Some(("h", None)));
        assert_eq!(parsed("[::1]"), Some(("::1", None)));
        assert_eq!(parsed("[::1]:9"), Some(("::1", Some(9))));
        assert_eq!(parsed("%41%6a.org"), Some(("%41%6a.org", None)));
        for malformed in [
            "%", "a%4", "%4g", "a%%41", "", ":80", "u@h", "h:port", "h:65536", "h:1:2", "[::1",
            "[::1]x", "[1]", "a b", "h/p", "h:+1",
        ] {
            assert_eq!(parsed(malformed), None, "{malformed}");
        }
    }
}
