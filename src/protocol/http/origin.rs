//! RFC 6454, RFC 6455 §10.2: which web pages may connect.
//!
//! ```text
//! Origin: http://192.168.0.7:5500      a page on a machine of the local network
//! Origin: https://example.org          a page of a public site
//! Origin: null                         a file, or a sandboxed frame of any site
//! no Origin                            not a page: always allowed
//! ```

use core::net::{IpAddr, Ipv6Addr};
use std::fmt;
use std::str::FromStr;

use crate::lang::Lang;
use crate::protocol::http::authority::Authority;
use crate::texts;

/// Which web pages may connect (§10.2). A request without `Origin` does not come from a page and is always allowed.
///
/// ```
/// use framewise::config::{OriginPolicy, OriginRule};
///
/// let policy = OriginPolicy::AnyOf(vec![OriginRule::SameHost, "https://example.org".parse()?]);
/// assert!(policy.allows(b"https://example.org", "chat.example"));
/// assert!(policy.allows(b"http://chat.example:8765", "chat.example:8765"));
/// assert!(!policy.allows(b"null", "chat.example"));
/// # Ok::<(), framewise::config::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Every page.
    Any,
    /// Pages from the host and port that the request is addressed to, as [`OriginRule::SameHost`].
    #[default]
    SameHost,
    /// Pages that match at least one of these rules.
    AnyOf(Vec<OriginRule>),
}

/// Some of the pages that an [`OriginPolicy`] allows.
///
/// The text of a rule is `same-host`, `local`, `null`, or an origin such as `https://example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginRule {
    /// Pages from the host and port that the request is addressed to.
    SameHost,
    /// Pages from this machine and from local networks, whatever their port: `localhost` and `*.localhost`, `*.local`, and
    /// loopback, private and link-local addresses.
    Local,
    /// Pages without an origin, which send `null`: files, and sandboxed frames of any site.
    Null,
    /// Pages from this origin.
    Exact(Origin),
}

/// The error for a text that is no origin of a web page, from the `parse` of an [`OriginRule`] or [`Origin`]. See
/// [`OriginPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOrigin;

/// An origin, such as `https://example.org:8443`: the scheme, host and port of a web page, as part of an [`OriginPolicy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In lower case. Some load tools send an origin without a scheme.
    scheme: Option<String>,
    /// In lower case, and without the brackets of an IPv6 address.
    host: String,
    port: Option<u16>,
}

impl OriginPolicy {
    /// Reports whether a page with this `Origin` may connect to `host`, the host and port of the request.
    pub fn allows(&self, origin: &[u8], host: &str) -> bool {
        match self {
            OriginPolicy::Any => true,
            OriginPolicy::SameHost => OriginRule::SameHost.matches(origin, host),
            OriginPolicy::AnyOf(rules) => rules.iter().any(|rule| rule.matches(origin, host)),
        }
    }
}

impl OriginRule {
    fn matches(&self, origin: &[u8], host: &str) -> bool {
        let is_null = origin == b"null";
        let Some(origin) = Origin::parse(origin).filter(|_| !is_null) else {
            return is_null && *self == OriginRule::Null;
        };
        match self {
            OriginRule::SameHost => {
                let own = Authority::parse(host.as_bytes()).map(|own| Origin {
                    scheme: origin.scheme.clone(),
                    host: own.host.to_ascii_lowercase(),
                    port: own.port,
                });
                own.is_some_and(|own| origin.is_same(&own))
            }
            OriginRule::Local => origin.is_local(),
            OriginRule::Null => false,
            OriginRule::Exact(listed) => origin.is_same(listed),
        }
    }
}

impl FromStr for OriginRule {
    type Err = InvalidOrigin;

    /// Parses the text of a rule.
    ///
    /// # Errors
    ///
    /// The text is neither one of the words nor an origin that a browser can send.
    fn from_str(text: &str) -> Result<OriginRule, InvalidOrigin> {
        match text {
            "same-host" => Ok(OriginRule::SameHost),
            "local" => Ok(OriginRule::Local),
            "null" => Ok(OriginRule::Null),
            text => Ok(OriginRule::Exact(text.parse()?)),
        }
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Parses an origin with a scheme, as browsers send it.
    ///
    /// # Errors
    ///
    /// No page can have this origin: it has no scheme, a path, a wildcard, or an impossible host or port.
    fn from_str(text: &str) -> Result<Origin, InvalidOrigin> {
        let origin = Origin::parse(text.as_bytes()).filter(|origin| origin.scheme.is_some());
        origin.filter(|origin| !origin.host.contains(['*', '%'])).ok_or(InvalidOrigin)
    }
}

impl InvalidOrigin {
    /// Returns one line that explains what an origin is.
    pub fn text(self, lang: Lang) -> &'static str {
        texts::INVALID_ORIGIN.get(lang)
    }
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text(Lang::En))
    }
}

impl std::error::Error for InvalidOrigin {}

impl Origin {
    /// Parses the value of an `Origin` field (RFC 6454 §6.2), or a host and port without a scheme.
    fn parse(bytes: &[u8]) -> Option<Origin> {
        let text = str::from_utf8(bytes).ok()?.to_ascii_lowercase();
        let (scheme, authority) = match text.split_once("://") {
            Some((scheme, authority)) => (Some(scheme), authority),
            None => (None, text.as_str()),
        };
        // RFC 3986 §3.1 allows no other bytes. A more tolerant check would accept a backquote, for example.
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        if !scheme.is_none_or(is_scheme) {
            return None;
        }
        let authority = Authority::parse(authority.as_bytes())?;
        let (scheme, host) = (scheme.map(str::to_owned), authority.host.to_owned());
        Some(Origin { scheme, host, port: authority.port })
    }

    /// Reports whether two origins are the same. Without a scheme, the host decides, and the port if it is given.
    fn is_same(&self, other: &Origin) -> bool {
        self.host == other.host
            && match &self.scheme {
                None => self.port.is_none_or(|port| other.port_or_default() == port),
                scheme => {
                    *scheme == other.scheme && self.port_or_default() == other.port_or_default()
                }
            }
    }

    fn port_or_default(&self) -> u16 {
        let default = match self.scheme.as_deref() {
            Some("https" | "wss") => 443,
            _ => 80,
        };
        self.port.unwrap_or(default)
    }

    fn is_local(&self) -> bool {
        let name = self.host.strip_suffix('.').unwrap_or(&self.host);
        match name.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(address)) => {
                address.is_loopback() || address.is_private() || address.is_link_local()
            }
            Ok(IpAddr::V6(address)) => is_local_ipv6(address),
            Err(_) => {
                name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local")
            }
        }
    }
}

fn is_local_ipv6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> OriginRule {
        text.parse().unwrap_or_else(|_| panic!("{text} is a rule"))
    }

    /// RFC 6455 §10.2-1
    #[test]
    fn compares_origins() {
        let same = |origin: &str, listed: &str| rule(listed).matches(origin.as_bytes(), "h");
        assert!(same("http://localhost", "HTTP://LOCALHOST:80"));
        assert!(same("https://[::1]", "https://[::1]:443"));
        assert!(!same("http://localhost:8765", "http://localhost:8766"));
        assert!(!same("http://localhost", "https://localhost"));
        assert!(!same("null", "http://localhost"));
        // Load tools send no scheme.
        assert!(
            same("localhost", "https://localhost") && same("localhost:443", "https://localhost")
        );
        assert!(!same("localhost:80", "https://localhost"));
    }

    #[test]
    fn the_same_host_is_that_of_the_request() {
        let same = |origin: &str, host| OriginRule::SameHost.matches(origin.as_bytes(), host);
        assert!(
            same("http://h:8765", "h:8765") && same("https://H", "h") && same("https://h", "h:443")
        );
        assert!(
            same("h", "h:8765") && same("h:8765", "h:8765") && same("127.0.0.1", "127.0.0.1:1")
        );
        assert!(!same("http://h:8765", "h:1") && !same("h:1", "h:8765") && !same("http://i", "h"));
        assert!(!same("null", "null") && !same("http://h", "") && !same("", "h"));
    }

    #[test]
    fn local_pages_are_those_of_this_machine_and_its_networks() {
        let is_local = |origin: &str| OriginRule::Local.matches(origin.as_bytes(), "h");
        for origin in [
            "http://localhost:3000",
            "https://app.localhost",
            "http://127.0.0.9:5500",
            "http://[::1]:81",
            "http://10.1.2.3",
            "http://172.31.0.1",
            "http://192.168.0.7:8080",
            "http://169.254.1.1",
            "http://[fe80::1]",
            "http://[fd00::1]",
            "http://[::ffff:192.168.0.7]",
            "http://ana-laptop.local:5173",
            "192.168.0.7",
        ] {
            assert!(is_local(origin), "{origin}");
        }
        for origin in [
            "https://example.org",
            "http://localhost.example.org",
            "http://192.168.0.7.example.org",
            "http://172.32.0.1",
            "http://11.0.0.1",
            "http://[2001:db8::1]",
            "http://notlocal",
            "http://local",
            "null",
            "",
        ] {
            assert!(!is_local(origin), "{origin}");
        }
    }

    #[test]
    fn null_is_a_rule_of_its_own() {
        assert!(rule("null").matches(b"null", "h") && !rule("null").matches(b"http://h", "h"));
        assert!(!rule("local").matches(b"null", "h") && !rule("same-host").matches(b"null", "h"));
        assert!(OriginPolicy::Any.allows(b"null", "h"));
    }

    #[test]
    fn refuses_rules_that_can_never_match() {
        for text in [
            "",
            "x",
            "example.org",
            "http://",
            "http://*.example.org",
            "http://h:65536",
            "http://h/x",
            "http://u@h",
            "http://good`evil",
            "good`evil://h",
            "://h",
            "http://h%41",
            "Local",
        ] {
            assert_eq!(text.parse::<OriginRule>(), Err(InvalidOrigin), "{text}");
        }
    }
}
