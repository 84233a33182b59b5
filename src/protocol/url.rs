//! RFC 6455 §3: `ws://` and `wss://` addresses.
//!
//! ```text
//! ws://localhost:8765/chat?room=7a
//! '--' '-------' '--' '----------'
//! secure? host   port resource name (path and query; "/" when empty)
//! ```

use std::fmt::{self, Write};

use crate::lang::{self, Lang};
use crate::protocol::http::request::is_authority;

/// A WebSocket address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    /// Host and port as written.
    authority: String,
    resource: String,
}

/// Why a text is not a WebSocket address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidUrl {
    /// It does not begin with `ws://` or `wss://`.
    Scheme,
    /// The host or the port is impossible, or user information stands before it.
    Authority,
    /// It has a fragment (`#...`), which means nothing here; `%23` writes the character itself.
    Fragment,
    /// The path or query has a space or a control character.
    Resource,
}

impl InvalidUrl {
    /// One line that says what is wrong.
    pub fn text(self, lang: Lang) -> &'static str {
        let text = match self {
            InvalidUrl::Scheme => lang::URL_SCHEME,
            InvalidUrl::Authority => lang::URL_AUTHORITY,
            InvalidUrl::Fragment => lang::URL_FRAGMENT,
            InvalidUrl::Resource => lang::URL_RESOURCE,
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
    /// Reads an address. Characters outside ASCII in path and query are percent-encoded (§11.1.1-2); a host
    /// outside ASCII has to be encoded by the caller.
    ///
    /// # Errors
    ///
    /// The text is not a WebSocket address.
    pub fn parse(text: &str) -> Result<Url, InvalidUrl> {
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
        if !is_authority(authority.as_bytes()) {
            return Err(InvalidUrl::Authority);
        }
        let mut resource = String::with_capacity(path.len() + 1);
        if !path.starts_with('/') {
            resource.push('/');
        }
        for byte in path.bytes() {
            match byte {
                b'!'..=b'~' => resource.push(char::from(byte)),
                0x80.. => write!(resource, "%{byte:02X}").expect("a String takes everything"),
                _ => return Err(InvalidUrl::Resource),
            }
        }
        Ok(Url { secure, authority: authority.to_owned(), resource })
    }

    /// Whether TLS is asked for (`wss`).
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port as written: what the Host field carries.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host alone, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        match self.authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((address, _)) => address,
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    /// The port: as written, else 80 for `ws` and 443 for `wss` (§3-1).
    pub fn port(&self) -> u16 {
        let after_host = self.authority.rsplit(']').next().unwrap_or_default();
        let written = after_host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        written.unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// Path and query: what the request line asks for.
    pub fn resource(&self) -> &str {
        &self.resource
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_addresses_apart() {
        let url = Url::parse("ws://localhost:8765/chat?room=7a").expect("valid");
        assert_eq!((url.host(), url.port(), url.is_secure()), ("localhost", 8765, false));
        assert_eq!(url.resource(), "/chat?room=7a");
        let url = Url::parse("WSS://[::1]?a").expect("valid");
        assert_eq!((url.host(), url.port(), url.is_secure()), ("::1", 443, true));
        assert_eq!(url.resource(), "/?a");
        assert_eq!(Url::parse("ws://h/é").expect("valid").resource(), "/%C3%A9");
        assert_eq!(Url::parse("ws://[::1]:9/").expect("valid").port(), 9);
    }

    /// RFC 6455 §3-2, §4.1-3
    #[test]
    fn refuses_what_is_no_address() {
        assert_eq!(Url::parse("http://h/"), Err(InvalidUrl::Scheme));
        assert_eq!(Url::parse("localhost:8765"), Err(InvalidUrl::Scheme));
        assert_eq!(Url::parse("ws:///path"), Err(InvalidUrl::Authority));
        assert_eq!(Url::parse("ws://user@h/"), Err(InvalidUrl::Authority));
        assert_eq!(Url::parse("ws://h:99999/"), Err(InvalidUrl::Authority));
        assert_eq!(Url::parse("ws://h/#top"), Err(InvalidUrl::Fragment));
        assert_eq!(Url::parse("ws://h/a b"), Err(InvalidUrl::Resource));
        assert_eq!(Url::parse("ws://h/a\r\nX: y"), Err(InvalidUrl::Resource));
    }
}
