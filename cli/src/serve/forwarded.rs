//! RFC 7239: who the client is when the request came through a reverse proxy.
//!
//! ```text
//! client 203.0.113.9 ──> proxy 10.0.0.2 ──> proxy 127.0.0.1 ──> this server
//!                        X-Forwarded-For: 203.0.113.9, 10.0.0.2
//!                                         '- the client '- skipped: --behind-proxy 10.0.0.0/8
//! ```
//!
//! A client can write these header fields itself. Therefore they only count if the connection comes from an address of
//! `--behind-proxy`, and a list is read from the right, where the proxies append.

use std::net::{IpAddr, SocketAddr};

use framewise::Request;
use ipnet::IpNet;

use crate::serve::own::Own;

/// Header fields that proxies add.
const FIELDS: [&str; 4] = ["forwarded", "x-real-ip", "cf-connecting-ip", "via"];

/// The beginning of the names of other such fields.
const PREFIX: &str = "x-forwarded-";

/// The addresses of the reverse proxies whose header fields count.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    networks: Vec<IpNet>,
    /// The connections that this server has opened to itself.
    pub own: Own,
}

/// The client of a request, and the host that it asked for. (The web page that it comes from is its origin.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The address of the client, as far as it is known.
    pub address: IpAddr,
    /// Host and port that the client asked for, if a trusted proxy says so.
    pub host: Option<String>,
    /// Whether a proxy has passed the request on, be it trusted or not.
    pub is_forwarded: bool,
}

/// The error if `Forwarded` and `X-Forwarded-For` name different clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    pub forwarded: String,
    pub x_forwarded_for: String,
}

impl Proxies {
    pub fn new(networks: Vec<IpNet>) -> Proxies {
        Proxies { networks, own: Own::default() }
    }

    /// Returns the client of a request that arrived on a connection from `from`.
    ///
    /// # Errors
    ///
    /// Two header fields of a trusted proxy contradict each other.
    pub fn requester(
        &self,
        request: &Request<'_>,
        from: SocketAddr,
    ) -> Result<Requester, Contradiction> {
        // The bytes are those of a visitor of the explain page, whose address counts. They never count as this machine's.
        if let Some(address) = self.own.visitor(from) {
            return Ok(Requester { address, host: None, is_forwarded: true });
        }
        let direct = from.ip().to_canonical();
        // Hardly any program besides a proxy speaks HTTP/1.0.
        let is_forwarded = request.is_http_1_0() || request.fields().iter().any(is_of_proxy);
        if !self.contains(direct) {
            return Ok(Requester { address: direct, host: None, is_forwarded });
        }
        let forwarded = elements(request, "forwarded");
        let listed = elements(request, "x-forwarded-for");
        let by_forwarded = self.nearest(forwarded.iter().map(|element| parameter(element, "for")));
        let by_list = self.nearest(listed.iter().map(|item| Some(item.as_str())));
        if let (Some(one), Some(other)) = (by_forwarded, by_list)
            && one != other
        {
            let text = |address: Option<IpAddr>| {
                address.map_or_else(|| "?".to_owned(), |address| address.to_string())
            };
            return Err(Contradiction { forwarded: text(one), x_forwarded_for: text(other) });
        }
        let address = by_forwarded.or(by_list).flatten().unwrap_or(direct);
        // The proxy next to this server has written the last entry.
        let host = forwarded.last().and_then(|element| parameter(element, "host"));
        let host = host.map(str::to_owned);
        let host = host.or_else(|| elements(request, "x-forwarded-host").pop());
        Ok(Requester { address, host, is_forwarded })
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns the last address that is not a trusted proxy, or the first one if all of them are. The outer `None` means
    /// that the list is empty, the inner one that the client's proxy hides the address.
    fn nearest<'a>(
        &self,
        list: impl DoubleEndedIterator<Item = Option<&'a str>>,
    ) -> Option<Option<IpAddr>> {
        let mut nearest = None;
        for item in list.rev() {
            let address = item.and_then(address);
            nearest = Some(address);
            if !address.is_some_and(|address| self.contains(address)) {
                break;
            }
        }
        nearest
    }
}

/// Reports whether proxies add a header field with this name.
fn is_of_proxy((name, _): (&str, &[u8])) -> bool {
    let start = name.as_bytes().get(..PREFIX.len());
    FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
        || start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// Returns the elements of a list that may be spread over several fields of this name.
fn elements(request: &Request<'_>, name: &str) -> Vec<String> {
    let mut elements = Vec::new();
    for value in request.fields().all(name) {
        let value = String::from_utf8_lossy(value).into_owned();
        let (mut start, mut is_quoted) = (0, false);
        for (at, character) in value.char_indices().chain([(value.len(), ',')]) {
            match character {
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted || at == value.len() => {
                    let element = value[start..at].trim();
                    elements.extend((!element.is_empty()).then(|| element.to_owned()));
                    start = at + 1;
                }
                _ => {}
            }
        }
    }
    elements
}

/// Returns a parameter of an element of `Forwarded`, without quotes.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?.1.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// Parses an address, with or without a port. RFC 7239 puts IPv6 addresses into brackets.
fn address(text: &str) -> Option<IpAddr> {
    let plain = || text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    plain().or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the client of a request with these header fields that came from `from`.
    fn requester(from: &str, fields: &str) -> Result<(String, Option<String>), Contradiction> {
        let networks = ["127.0.0.1/32", "10.0.0.0/8", "::1/128"];
        let networks = networks.map(|network| network.parse().expect("a network"));
        let head = format!("GET / HTTP/1.1\r\nHost: inner\r\n{fields}\r\n");
        let request = Request::parse(head.as_bytes()).expect("valid");
        let from = SocketAddr::new(from.parse().expect("an address"), 1);
        let requester = Proxies::new(networks.to_vec()).requester(&request, from)?;
        assert_eq!(requester.is_forwarded, !fields.is_empty());
        Ok((requester.address.to_string(), requester.host))
    }

    fn client(from: &str, fields: &str) -> String {
        requester(from, fields).expect("no contradiction").0
    }

    #[test]
    fn fields_count_only_if_a_proxy_sends_them() {
        let fields = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: school.example\r\n";
        let school = Some("school.example".to_owned());
        assert_eq!(requester("127.0.0.1", fields), Ok(("203.0.113.9".to_owned(), school)));
        assert_eq!(requester("192.0.2.7", fields), Ok(("192.0.2.7".to_owned(), None)));
        assert_eq!(requester("127.0.0.1", ""), Ok(("127.0.0.1".to_owned(), None)));
    }

    #[test]
    fn a_list_is_read_from_the_right() {
        // What the client has written comes first.
        assert_eq!(
            client("::1", "X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.2\r\n"),
            "203.0.113.9"
        );
        let two = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 203.0.113.9:4711\r\n";
        assert_eq!(client("127.0.0.1", two), "203.0.113.9");
        assert_eq!(client("127.0.0.1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n"), "10.0.0.3");
        let hidden = "X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2\r\n";
        assert_eq!(client("127.0.0.1", hidden), "127.0.0.1", "not what the client has written");
        let hosts = "X-Forwarded-Host: forged.example, school.example\r\n";
        assert_eq!(
            requester("127.0.0.1", hosts).expect("one").1.as_deref(),
            Some("school.example")
        );
    }

    /// A connection of the server to itself is the visitor's, whatever its fields say and although loopback is a proxy. It is
    /// never one of this machine.
    #[test]
    fn a_connection_to_itself_is_the_visitors() {
        let proxies = Proxies::new(vec!["127.0.0.1/32".parse().expect("a network")]);
        let from: SocketAddr = "127.0.0.1:50123".parse().expect("an address");
        for visitor in ["192.0.2.7", "127.0.0.1"] {
            let visitor: IpAddr = visitor.parse().expect("an address");
            assert!(proxies.own.add(from, visitor, std::time::Instant::now()));
            let head = "GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: ::1\r\n\r\n";
            let request = Request::parse(head.as_bytes()).expect("valid");
            let requester = proxies.requester(&request, from).expect("no contradiction");
            assert_eq!((requester.address, requester.is_forwarded), (visitor, true));
            proxies.own.disconnected(from);
        }
    }

    #[test]
    fn forwarded_has_parameters() {
        let fields =
            "Forwarded: for=1.1.1.1, For=\"[2001:db8::9]:4711\";proto=https;host=\"a.example\"\r\n";
        let there = ("2001:db8::9".to_owned(), Some("a.example".to_owned()));
        assert_eq!(requester("127.0.0.1", fields), Ok(there));
        assert_eq!(client("127.0.0.1", "Forwarded: for=_hidden\r\n"), "127.0.0.1");
        assert_eq!(client("127.0.0.1", "Forwarded: by=\"a,b\";for=203.0.113.9\r\n"), "203.0.113.9");
    }

    #[test]
    fn two_fields_may_not_contradict_each_other() {
        let same = "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 1.1.1.1, 203.0.113.9\r\n";
        assert_eq!(client("127.0.0.1", same), "203.0.113.9");
        let other = "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 198.51.100.1\r\n";
        assert!(requester("127.0.0.1", other).is_err());
        assert!(requester("192.0.2.7", other).is_ok(), "nobody reads them");
    }
}
