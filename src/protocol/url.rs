//! RFC 6455 §3: `ws://` and `wss://` URLs.
//!
//! ```text
//! ws://localhost:8765/chat?room=7a
//! '--' '-------' '--' '----------'
//! secure? host   port resource name (path and query; "/" when empty)
//! ```

use std::fmt::{self, Write};

use crate::lang::Lang;
use crate::protocol::http::authority::Authority;
use crate::texts;

/// A parsed WebSocket URL.
///
/// ```
/// use framewise::Url;
///
/// let url = Url::parse("ws://localhost:8765/chat?room=7a")?;
/// assert_eq!((url.host(), url.port(), url.resource()), ("localhost", 8765, "/chat?room=7a"));
/// # Ok::<(), framewise::protocol::url::InvalidUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    /// Host and port as written.
    authority: String,
    host: String,
    port: u16,
    resource: String,
}

/// The reason why a text is not a WebSocket URL, as [`Url::parse`] returns it (§3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It does not start with `ws://` or `wss://`.
    Scheme,
    /// The host or the port is malformed, or there is user information before it.
    Authority,
    /// It has a fragment (`#...`), which a WebSocket URL must not have. Write `%23` for the character `#`.
    Fragment,
    /// The path or query has a control character.
    Resource,
}

impl InvalidUrl {
    /// Returns one line that explains what is wrong.
    pub fn text(self, lang: Lang) -> &'static str {
        let text = match self {
            InvalidUrl::Scheme => texts::URL_SCHEME,
            InvalidUrl::Authority => texts::URL_AUTHORITY,
            InvalidUrl::Fragment => texts::URL_FRAGMENT,
            InvalidUrl::Resource => texts::URL_RESOURCE,
        };
        text.get(lang)
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text(Lang::En))
    }
}

impl std::error::Error for InvalidUrl {}

impl Url {
    /// Parses a URL (§3). Characters that a URL does not allow, such as a space or `é`, are percent-encoded in path and
    /// query (§11.1.1-2, §11.1.2-2). A non-ASCII host name is an error: the caller encodes it, as `xn--...`.
    ///
    /// # Errors
    ///
    /// The text is not a WebSocket URL.
    pub fn parse(text: &str) -> Result<Url, InvalidUrl> {
        // RFC 6455 §4.1-3
        let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(InvalidUrl::Scheme),
        };
        // RFC 6455 §3-2, §3-3
        if rest.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let parsed = Authority::parse(authority.as_bytes()).ok_or(InvalidUrl::Authority)?;
        let mut resource = String::with_capacity(path.len() + 1);
        if !path.starts_with('/') {
            resource.push('/');
        }
        for byte in path.bytes() {
            match byte {
                _ if byte.is_ascii_control() => return Err(InvalidUrl::Resource),
                _ if may_stand_in_resource(byte) => resource.push(char::from(byte)),
                _ => write!(resource, "%{byte:02X}").expect("writing to a String cannot fail"),
            }
        }
        // RFC 6455 §3-1
        let port = parsed.port.unwrap_or(if secure { 443 } else { 80 });
        let (authority, host) = (authority.to_owned(), parsed.host.to_owned());
        Ok(Url { secure, authority, host, port, resource })
    }

    /// Reports whether the scheme is `wss`, which means TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns host and port as they were written. The Host field of the request repeats them.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port. If the URL has none, it is 80 for `ws` and 443 for `wss` (§3-1).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns path and query, as they appear in the request line. The path is `/` if the URL has none.
    pub fn resource(&self) -> &str {
        &self.resource
    }
}

/// Reports whether a byte may stand in path and query as it is (RFC 3986 §3.3, §3.4). A percent sign is taken for the
/// beginning of an escape.
fn may_stand_in_resource(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §3-1: the port and its defaults.
    #[test]
    fn parses_urls() {
        let url = Url::parse("ws://localhost:8765/chat?room=7a").expect("valid");
        assert_eq!((url.host(), url.port(), url.is_secure()), ("localhost", 8765, false));
        assert_eq!(url.resource(), "/chat?room=7a");
        let url = Url::parse("WSS://[::1]?a").expect("valid");
        assert_eq!((url.host(), url.port(), url.is_secure()), ("::1", 443, true));
        assert_eq!(url.resource(), "/?a");
        assert_eq!(Url::parse("ws://[::1]:9/").expect("valid").port(), 9);
        assert_eq!(Url::parse("ws://h").expect("valid").port(), 80);
        assert_eq!(Url::parse("ws://h:/").expect("valid").port(), 80);
    }

    /// RFC 6455 §11.1.1-2, §11.1.2-2
    #[test]
    fn percent_encodes_what_a_url_does_not_allow() {
        for scheme in ["ws", "wss"] {
            let resource = |rest: &str| {
                Url::parse(&format!("{scheme}://h{rest}")).expect("valid").resource().to_owned()
            };
            assert_eq!(resource("/é"), "/%C3%A9");
            assert_eq!(resource("/a b?c d"), "/a%20b?c%20d");
            assert_eq!(resource("/\"<>?[\\]^`{|}"), "/%22%3C%3E?%5B%5C%5D%5E%60%7B%7C%7D");
            let allowed = "/aZ09-._~!$&'()*+,;=:@/%20?/?%41";
            assert_eq!(resource(allowed), allowed);
        }
    }

    /// RFC 6455 §3-2, §3-3, §4.1-3
    #[test]
    fn rejects_malformed_urls() {
        assert_eq!(Url::parse("http://h/"), Err(InvalidUrl::Scheme));
        assert_eq!(Url::parse("localhost:8765"), Err(InvalidUrl::Scheme));
        assert_eq!(Url::parse("ws:///path"), Err(InvalidUrl::Authority));
        assert_eq!(Url::parse("ws://user@h/"), Err(InvalidUrl::Authority));
        assert_eq!(Url::parse("ws://h:99999/"), Err(InvalidUrl::Authority));
        assert_eq!(Url::parse("ws://h/#top"), Err(InvalidUrl::Fragment));
        assert_eq!(Url::parse("ws://h/%23").expect("valid").resource(), "/%23");
        assert_eq!(Url::parse("ws://h/\x7f"), Err(InvalidUrl::Resource));
        assert_eq!(Url::parse("ws://h/a\r\nX: y"), Err(InvalidUrl::Resource));
    }
}
