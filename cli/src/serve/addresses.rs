//! The first lines that the server prints: its addresses for this machine and for the class, and a QR code.
//!
//! `interfaces` asks the operating system for the addresses of this machine. Everything else is computed from that list,
//! so that the tests need no network.
//!
//! The token is only in the QR code, which is only printed on a terminal: lines of text are copied into chats, and
//! standard output may be a log that others read.

use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};

use framewise::internal::lan_address;
use framewise::lang::{Bilingual, Lang};
use framewise::trace::printable;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::texts;

/// The most addresses listed after the best one. A machine with many containers has hundreds.
const MAX_OTHERS: usize = 16;

/// Everything except the unreserved characters of RFC 3986 §2.3 is percent-encoded in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the first lines depend on.
pub struct Greeting<'a> {
    /// The addresses that the server is bound to.
    pub listening: &'a [SocketAddr],
    pub token: Option<&'a str>,
    /// Whether the wire page asks for a token, if there is one.
    pub wire: Option<bool>,
    /// The address that clients reach through a proxy, with a slash at its end. It replaces those of the network.
    pub public_url: Option<&'a str>,
    /// The width of the terminal that shows the lines, or `None` if standard output is not a terminal.
    pub columns: Option<usize>,
    /// Whether there are lessons at `/lessons`.
    pub lessons: bool,
    /// Whether the server speaks TLS.
    pub is_secure: bool,
    /// The SHA-256 of a certificate that browsers warn of.
    pub fingerprint: Option<&'a str>,
    pub lang: Lang,
}

/// What `interfaces` found on this machine.
struct Found {
    /// Names of interfaces, with the addresses of each.
    pairs: Vec<(String, IpAddr)>,
    /// Why the interfaces could not be listed.
    error: Option<io::Error>,
    /// A socket bound to `::` also accepts IPv4 connections.
    is_dual_stack: bool,
}

/// An address that others may be able to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    interface: String,
    network: Network,
    ip: IpAddr,
}

/// What an interface leads to, judged by its name. The order of the variants is the order in which addresses are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    Local,
    Vpn,
    Mobile,
    Containers,
}

/// How likely an address is the one for the class. The order of the variants is the order in which addresses are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    PrivateIpv4,
    OtherIpv4,
    UniqueLocalIpv6,
    GlobalIpv6,
    /// 169.254.0.0/16: the machine chose the address itself because no DHCP server answered.
    SelfAssignedIpv4,
}

impl Greeting<'_> {
    /// Returns the lines, for the interfaces that this machine has now.
    pub fn lines(&self) -> Vec<String> {
        let is_unspecified = self.listening.iter().any(|address| address.ip().is_unspecified());
        let is_shared = is_unspecified && self.public_url.is_none();
        self.lines_for(&if is_shared { interfaces() } else { Found::nothing() })
    }

    fn lines_for(&self, found: &Found) -> Vec<String> {
        let mut lines = Vec::new();
        // The address for the class, without the token.
        let mut shared = self.public_url.map(str::to_owned);
        for address in self.listening {
            lines.push(texts::SERVING.with(self.lang, &[&self.url(address)]));
            if address.ip().is_unspecified() && self.public_url.is_none() {
                let best = self.add_lines_for_class(&mut lines, *address, found);
                shared = shared.or(best);
            }
        }
        if let Some(url) = self.public_url {
            lines.push(texts::SHARE_PUBLIC.with(self.lang, &[&url]));
            self.add_qr_code(&mut lines, url);
        }
        if let Some(fingerprint) = self.fingerprint {
            lines.push(texts::FINGERPRINT.with(self.lang, &[&fingerprint]));
            for how in [
                texts::ACCEPT_CHROME,
                texts::ACCEPT_FIREFOX,
                texts::ACCEPT_SAFARI,
                texts::ACCEPT_CONNECT,
            ] {
                lines.push(how.get(self.lang).to_owned());
            }
        }
        if self.lessons {
            let url = shared
                .or_else(|| self.listening.first().map(|first| self.url_on_this_machine(first)));
            lines
                .push(texts::LESSONS_AT.with(self.lang, &[&(url.unwrap_or_default() + "lessons")]));
        }
        if self.token.is_some() {
            lines.push(texts::TOKEN_HINT.get(self.lang).to_owned());
        }
        lines.extend(self.wire_line());
        lines.push(texts::STOP_HINT.get(self.lang).to_owned());
        lines
    }

    /// Returns the beginning of a URL of this server, without a path.
    fn url(&self, authority: &dyn Display) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{authority}")
    }

    /// Returns the URL that a browser on this machine opens.
    fn url_on_this_machine(&self, address: &SocketAddr) -> String {
        match address.ip().is_unspecified() {
            true => self.url(&format_args!("localhost:{}", address.port())) + "/",
            false => self.url(address) + "/",
        }
    }

    /// Returns the line about the wire page.
    fn wire_line(&self) -> Option<String> {
        let (asks_for_token, first) = (self.wire?, self.listening.first()?);
        let address = match first.ip().is_unspecified() {
            true => format!("localhost:{}", first.port()),
            false => first.to_string(),
        };
        let text = if asks_for_token { texts::WIRE_TOKEN } else { texts::WIRE_LOCAL };
        Some(text.with(self.lang, &[&self.url(&address)]))
    }

    /// Adds the best address with its QR code, then all others, or else why there is none. Returns the URL of the best one.
    fn add_lines_for_class(
        &self,
        lines: &mut Vec<String>,
        bound: SocketAddr,
        found: &Found,
    ) -> Option<String> {
        let lang = self.lang;
        if let Some(error) = &found.error {
            lines.push(texts::NO_INTERFACES.with(lang, &[error]));
        }
        let accepts =
            |ip: IpAddr| ip.is_ipv4() == bound.is_ipv4() || ip.is_ipv4() && found.is_dual_stack;
        let (candidates, unreachable): (Vec<_>, Vec<_>) =
            ordered(&found.pairs).into_iter().partition(|candidate| accepts(candidate.ip));
        let url_of = |candidate: &Candidate| self.url(&SocketAddr::new(candidate.ip, bound.port()));
        // A whole class may meet in a VPN. Containers and mobile networks hold nobody who could scan the code.
        let best = candidates.first().filter(|candidate| candidate.network <= Network::Vpn);
        if let Some(best) = best {
            let address = url_of(best);
            lines.push(match best.network {
                Network::Local => texts::SHARE.with(lang, &[&address]),
                _ => texts::SHARE_VPN.with(lang, &[&address, &printable(&best.interface)]),
            });
            self.add_qr_code(lines, &format!("{address}/"));
        }
        let url = best.map(|best| url_of(best) + "/");
        let is_local = |candidate: &Candidate| candidate.network == Network::Local;
        if !candidates.iter().any(is_local) && unreachable.iter().any(is_local) {
            let (missing, present, host) =
                if bound.is_ipv4() { ("IPv4", "IPv6", "::") } else { ("IPv6", "IPv4", "0.0.0.0") };
            lines.push(texts::OTHER_FAMILY.with(lang, &[&missing, &present, &host]));
        } else if best.is_none() {
            lines.push(
                texts::NO_NETWORK
                    .with(lang, &[&self.url(&format_args!("localhost:{}", bound.port()))]),
            );
        }
        let others = &candidates[usize::from(best.is_some())..];
        for other in others.iter().take(MAX_OTHERS) {
            let label = other.network.label(&other.interface, lang);
            lines.push(texts::SHARE_ALSO.with(lang, &[&url_of(other), &label]));
        }
        if others.len() > MAX_OTHERS {
            lines.push(texts::SHARE_MORE.with(lang, &[&(others.len() - MAX_OTHERS)]));
        }
        url
    }

    /// Adds the QR code of the page at `url`, if a terminal can show it.
    fn add_qr_code(&self, lines: &mut Vec<String>, url: &str) {
        let Some(columns) = self.columns else { return };
        let Some(code) = qr_code(&page_url(url, self.token)) else {
            lines.push(texts::QR_TOO_LONG.get(self.lang).to_owned());
            return;
        };
        let width = code.lines().next().map_or(0, |line| line.chars().count());
        if width > columns {
            lines.push(texts::QR_TOO_WIDE.with(self.lang, &[&width]));
            return;
        }
        lines.push(code);
        if self.token.is_some() {
            lines.push(texts::QR_HAS_TOKEN.get(self.lang).to_owned());
        }
    }
}

impl Found {
    fn nothing() -> Found {
        Found { pairs: Vec::new(), error: None, is_dual_stack: false }
    }
}

impl Network {
    /// Recognises a VPN, a mobile network or a network of containers by the usual names of their interfaces.
    fn of(interface: &str) -> Network {
        const PREFIXES: [(Network, &[&str]); 3] = [
            (
                Network::Vpn,
                &[
                    "cloudflare",
                    "cscotun",
                    "feth",
                    "gpd",
                    "ipsec",
                    "isatap",
                    "l2tp",
                    "nordlynx",
                    "openvpn",
                    "ovpn",
                    "ppp",
                    "proton",
                    "tailscale",
                    "tap",
                    "teredo",
                    "tun",
                    "utun",
                    "vpn",
                    "wg",
                    "wireguard",
                    "zerotier",
                    "zt",
                ],
            ),
            (Network::Mobile, &["ccmni", "cellular", "rmnet", "ww"]),
            (
                Network::Containers,
                &[
                    "br-",
                    "cali",
                    "cilium",
                    "cni",
                    "docker",
                    "flannel",
                    "incusbr",
                    "kube",
                    "lxcbr",
                    "lxdbr",
                    "podman",
                    // On Windows, the switches of Hyper-V and WSL are called "vEthernet (…)".
                    "vboxnet",
                    "veth",
                    "virbr",
                    "virtualbox",
                    "vmnet",
                    "vmware",
                    "vnet",
                    "weave",
                ],
            ),
        ];
        let name = interface.to_ascii_lowercase();
        PREFIXES
            .iter()
            .find(|(_, prefixes)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .map_or(Network::Local, |(network, _)| *network)
    }

    /// Returns the name of an interface and what it leads to.
    fn label(self, interface: &str, lang: Lang) -> String {
        let name = printable(interface);
        let with = |text: Bilingual| text.with(lang, &[&name]);
        match self {
            Network::Local => name,
            Network::Vpn => with(texts::IN_VPN),
            Network::Mobile => with(texts::IN_MOBILE),
            Network::Containers => with(texts::IN_CONTAINERS),
        }
    }
}

impl Scope {
    /// Returns `None` for an address that no other machine can use in a URL.
    fn of(ip: IpAddr) -> Option<Scope> {
        match ip {
            _ if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => None,
            // 192.0.0.0/29 exists only inside a machine on an IPv6-only network (464XLAT, RFC 7335).
            IpAddr::V4(ip) if matches!(ip.octets(), [192, 0, 0, 0..=7]) => None,
            IpAddr::V4(ip) if ip.is_private() => Some(Scope::PrivateIpv4),
            IpAddr::V4(ip) if ip.is_link_local() => Some(Scope::SelfAssignedIpv4),
            IpAddr::V4(_) => Some(Scope::OtherIpv4),
            // A URL with fe80:: would have to name the interface of the other machine, and browsers reject that.
            IpAddr::V6(ip) if ip.is_unicast_link_local() => None,
            IpAddr::V6(ip) if ip.is_unique_local() => Some(Scope::UniqueLocalIpv6),
            IpAddr::V6(_) => Some(Scope::GlobalIpv6),
        }
    }
}

/// Sorts the addresses of this machine by how likely the class can reach them, the best first. Leaves out those that no
/// other machine can use. Addresses that are equally likely keep their order.
fn ordered(pairs: &[(String, IpAddr)]) -> Vec<Candidate> {
    let mut candidates: Vec<(Scope, Candidate)> = Vec::new();
    for (interface, ip) in pairs {
        let is_new = candidates.iter().all(|(_, candidate)| candidate.ip != *ip);
        if is_new && let Some(scope) = Scope::of(*ip) {
            let network = Network::of(interface);
            candidates.push((scope, Candidate { interface: interface.clone(), network, ip: *ip }));
        }
    }
    candidates.sort_by_key(|(scope, candidate)| (candidate.network, *scope));
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Lists the addresses of the interfaces that are connected, that of the default route first. Sends no packets.
fn interfaces() -> Found {
    let routed = lan_address();
    let (mut pairs, error) = match if_addrs::get_if_addrs() {
        Ok(interfaces) => {
            // Docker's bridge keeps its address without containers, and a network card may keep it without a cable.
            let connected = interfaces.into_iter().filter(|interface| interface.is_oper_up());
            let pairs = connected.map(|interface| {
                let ip = interface.ip();
                (interface.name, ip)
            });
            (pairs.collect::<Vec<_>>(), None)
        }
        Err(error) => (routed.map(|ip| (String::new(), ip)).into_iter().collect(), Some(error)),
    };
    pairs.sort_by_key(|(_, ip): &(String, IpAddr)| Some(*ip) != routed);
    Found { pairs, error, is_dual_stack: is_dual_stack() }
}

/// Reports whether a socket bound to `::` accepts IPv4 connections too. It does on Linux and macOS, but not on Windows
/// and OpenBSD.
fn is_dual_stack() -> bool {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None);
    socket.and_then(|socket| socket.only_v6()).is_ok_and(|only_v6| !only_v6)
}

/// Returns the URL of the page. The page takes the token from the query and removes it from the address bar.
fn page_url(url: &str, token: Option<&str>) -> String {
    let query = token.map(|token| format!("?token={}", utf8_percent_encode(token, QUERY)));
    format!("{url}{}", query.unwrap_or_default())
}

/// Draws a QR code with two modules in each character, for light text on a dark ground. Returns `None` if the URL is too
/// long for one.
fn qr_code(url: &str) -> Option<String> {
    let code = QrCode::new(url).ok()?;
    let mut renderer = code.render::<Dense1x2>();
    Some(renderer.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// Returns the width of the terminal that shows standard output, or `None` if it is not a terminal. A terminal that does
/// not report its width counts as wide enough.
pub fn terminal_columns() -> Option<usize> {
    io::stdout().is_terminal().then(|| reported_columns().unwrap_or(usize::MAX))
}

#[cfg(unix)]
fn reported_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

#[cfg(not(unix))]
fn reported_columns() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "0.0.0.0:8765";
    const V6: &str = "[::]:8765";

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, IpAddr)> {
        list.iter().map(|(name, ip)| ((*name).to_owned(), ip.parse().expect("an IP"))).collect()
    }

    /// The ordered list as text: interface and address.
    fn order(list: &[(&str, &str)]) -> Vec<String> {
        let ordered = ordered(&pairs(list));
        ordered.iter().map(|found| format!("{} {}", found.interface, found.ip)).collect()
    }

    fn found(list: &[(&str, &str)]) -> Found {
        Found { pairs: pairs(list), error: None, is_dual_stack: true }
    }

    fn greet(
        bound: &str,
        found: &Found,
        token: Option<&str>,
        columns: Option<usize>,
    ) -> Vec<String> {
        let listening = [bound.parse().expect("an address")];
        Greeting { token, columns, ..plain(&listening) }.lines_for(found)
    }

    /// A server without anything special, in English.
    fn plain(listening: &[SocketAddr]) -> Greeting<'_> {
        Greeting {
            listening,
            token: None,
            wire: None,
            public_url: None,
            columns: None,
            lessons: false,
            is_secure: false,
            fingerprint: None,
            lang: Lang::En,
        }
    }

    /// With TLS all addresses begin with https, also in the QR code, and a certificate of our own has its lines.
    #[test]
    fn with_tls_the_addresses_begin_with_https() {
        let listening = [V4.parse().expect("an address")];
        let greeting = Greeting {
            is_secure: true,
            fingerprint: Some("AB:CD"),
            lessons: true,
            wire: Some(false),
            columns: Some(200),
            ..plain(&listening)
        };
        let lines = greeting.lines_for(&found(&[("wlan0", "192.168.0.7"), ("tun0", "10.8.0.2")]));
        let text = lines.join("\n");
        assert!(!text.contains("http:"), "{text}");
        assert_eq!(text.matches("https://").count(), 5, "{text}");
        assert!(lines.contains(&"Self-signed certificate, SHA-256: AB:CD".to_owned()), "{text}");
        assert!(lines.contains(&qr_code("https://192.168.0.7:8765/").expect("short enough")));
    }

    /// The teacher opens the wire page on this machine, wherever the server listens.
    #[test]
    fn the_wire_page_has_its_line() {
        for (listening, address) in [
            ("0.0.0.0:8765", "http://localhost:8765/wire"),
            ("[::]:8765", "http://localhost:8765/wire"),
            ("127.0.0.1:8765", "http://127.0.0.1:8765/wire"),
        ] {
            let listening = [listening.parse().expect("an address")];
            for (asks_for_token, words) in [(false, "only"), (true, "the teacher's token")] {
                let wire = Some(asks_for_token);
                let greeting = Greeting { wire, ..plain(&listening) };
                let lines = greeting.lines_for(&found(&[]));
                let line = lines.iter().find(|line| line.contains(address));
                assert!(line.is_some_and(|line| line.contains(words)), "{lines:?}");
            }
        }
    }

    /// The lessons are at the address for the class, or else at one for this machine.
    #[test]
    fn the_lessons_are_named_with_their_address() {
        let line = |bound: &str, public_url: Option<&str>, addresses: &[(&str, &str)]| {
            let listening = [bound.parse().expect("an address")];
            let (listening, token, wire, lang) = (&listening, Some("segredo"), None, Lang::En);
            let greeting =
                Greeting { token, wire, public_url, lessons: true, lang, ..plain(listening) };
            let lines = greeting.lines_for(&found(addresses));
            let found: Vec<_> = lines
                .into_iter()
                .filter_map(|line| Some(line.strip_prefix("Lessons: ")?.to_owned()))
                .collect();
            assert_eq!(found.len(), 1);
            found.concat()
        };
        let wlan = [("wlan0", "192.168.0.7")];
        assert_eq!(line("0.0.0.0:8765", None, &wlan), "http://192.168.0.7:8765/lessons");
        assert_eq!(line("0.0.0.0:8765", None, &[]), "http://localhost:8765/lessons");
        assert_eq!(line("[::1]:8765", None, &wlan), "http://[::1]:8765/lessons");
        let public = "https://school.example/class/";
        assert_eq!(line("0.0.0.0:8765", Some(public), &wlan), format!("{public}lessons"));
    }

    /// Behind a proxy, the addresses of the machine do not help the class.
    #[test]
    fn a_public_url_replaces_the_addresses() {
        let listening = ["0.0.0.0:8765".parse().expect("an address")];
        let public_url = Some("https://school.example/class/");
        let greeting = Greeting { public_url, ..plain(&listening) };
        let lines = greeting.lines_for(&found(&[("wlan0", "192.168.0.7")]));
        assert_eq!(lines[1..lines.len() - 1], ["Others open https://school.example/class/"]);
        let on_terminal = Greeting { columns: Some(200), ..greeting };
        let lines = on_terminal.lines_for(&found(&[]));
        assert_eq!(lines[2], qr_code("https://school.example/class/").expect("short enough"));
        assert_eq!(
            page_url("https://school.example/class/", Some("a b")),
            "https://school.example/class/?token=a%20b"
        );
    }

    /// The lines between the first and the last one, without a terminal.
    fn shared(bound: &str, list: &[(&str, &str)]) -> Vec<String> {
        let lines = greet(bound, &found(list), None, None);
        assert_eq!(lines[0], format!("Classroom server on http://{bound}"));
        assert_eq!(lines[lines.len() - 1], "Ctrl+C stops it");
        lines[1..lines.len() - 1].to_vec()
    }

    /// The text of a QR code that is drawn with light characters on a dark ground.
    fn decode(picture: &str) -> String {
        let rows: Vec<Vec<char>> = picture.lines().map(|line| line.chars().collect()).collect();
        // Pixels of 4 by 4, because the decoder expects a photograph.
        let is_dark = |x: usize, y: usize| match rows[y / 8][x / 4] {
            ' ' => true,
            '▀' => y % 8 >= 4,
            '▄' => y % 8 < 4,
            '█' => false,
            other => panic!("'{other}' in a QR code"),
        };
        let (width, height) = (rows[0].len() * 4, rows.len() * 8);
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
            if is_dark(x, y) { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one QR code in\n{picture}");
        grids[0].decode().expect("a readable QR code").1
    }

    fn is_picture(line: &str) -> bool {
        line.contains('█')
    }

    #[test]
    fn private_ipv4_comes_first_and_vpns_and_containers_come_last() {
        assert_eq!(
            order(&[
                ("lo", "127.0.0.1"),
                ("lo", "::1"),
                ("docker0", "172.17.0.1"),
                ("br-5f3a90c1d2e4", "172.18.0.1"),
                ("veth12ab", "fd00:d::1"),
                ("rmnet_data0", "10.120.3.4"),
                ("tun0", "2001:db8:8::2"),
                ("tun0", "10.8.0.2"),
                ("tailscale0", "100.101.102.103"),
                ("eth1", "169.254.7.7"),
                ("eth0", "2001:db8::7"),
                ("eth0", "fd00::7"),
                ("eth0", "fe80::7"),
                ("eth0", "203.0.113.7"),
                ("wlan0", "100.64.0.7"),
                ("wlan0", "192.168.0.7"),
                ("wlan0", "172.16.0.7"),
                ("wlan0", "10.0.0.7"),
            ]),
            [
                "wlan0 192.168.0.7",
                "wlan0 172.16.0.7",
                "wlan0 10.0.0.7",
                "eth0 203.0.113.7",
                "wlan0 100.64.0.7",
                "eth0 fd00::7",
                "eth0 2001:db8::7",
                "eth1 169.254.7.7",
                "tun0 10.8.0.2",
                "tailscale0 100.101.102.103",
                "tun0 2001:db8:8::2",
                "rmnet_data0 10.120.3.4",
                "docker0 172.17.0.1",
                "br-5f3a90c1d2e4 172.18.0.1",
                "veth12ab fd00:d::1",
            ]
        );
    }

    #[test]
    fn equally_likely_addresses_keep_their_order_and_each_is_listed_once() {
        let [a, b] = [("eth0", "192.168.1.7"), ("wlan0", "10.0.0.7")];
        assert_eq!(order(&[a, b, a]), ["eth0 192.168.1.7", "wlan0 10.0.0.7"]);
        assert_eq!(order(&[b, a, b]), ["wlan0 10.0.0.7", "eth0 192.168.1.7"]);
    }

    #[test]
    fn addresses_that_no_other_machine_can_use_are_left_out() {
        for ip in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "224.0.0.1",
            "192.0.0.1",
            "192.0.0.4",
            "::1",
            "::",
            "ff02::1",
            "fe80::1",
            "febf::1",
        ] {
            assert_eq!(order(&[("eth0", ip)]), [""; 0], "{ip}");
        }
        for ip in ["192.0.0.8", "192.0.2.1", "fec0::1", "fd00::1", "fc00::1", "2001:db8::1"] {
            assert_eq!(order(&[("eth0", ip)]), [format!("eth0 {ip}")]);
        }
    }

    #[test]
    fn interfaces_are_recognised_by_their_names() {
        let of = |names: &[&str], network: Network| {
            for name in names {
                assert_eq!(Network::of(name), network, "{name}");
            }
        };
        of(
            &[
                "eth0",
                "enp3s0",
                "eno1",
                "en0",
                "wlan0",
                "wlp2s0",
                "ap0",
                "usb0",
                "br0",
                "bridge100",
                "bond0",
                "Wi-Fi",
                "Ethernet",
                "Local Area Connection* 10",
                "",
            ],
            Network::Local,
        );
        of(
            &[
                "tun0",
                "tap1",
                "wg0",
                "wg-escola",
                "utun3",
                "ppp0",
                "ipsec0",
                "tailscale0",
                "Tailscale",
                "zt5u4y6ejv",
                "ZeroTier One [a09acf0233]",
                "nordlynx",
                "OpenVPN TAP-Windows6",
                "ovpn0",
                "cscotun0",
            ],
            Network::Vpn,
        );
        of(&["wwan0", "wwp0s20u4", "rmnet_data0", "ccmni1", "Cellular"], Network::Mobile);
        of(
            &[
                "docker0",
                "docker_gwbridge",
                "br-5f3a90c1d2e4",
                "veth12ab",
                "vEthernet (WSL)",
                "virbr0",
                "vmnet8",
                "VMware Network Adapter VMnet8",
                "VirtualBox Host-Only Network",
                "vboxnet0",
                "cni0",
                "cni-podman0",
                "podman1",
                "flannel.1",
                "cali1234",
                "lxcbr0",
                "lxdbr0",
            ],
            Network::Containers,
        );
    }

    #[test]
    fn the_class_gets_the_best_address_and_then_the_others() {
        assert_eq!(
            shared(V4, &[("lo", "127.0.0.1"), ("wlan0", "192.168.0.7"), ("wlan0", "fe80::7")]),
            ["Others on the network open http://192.168.0.7:8765"]
        );
        // A hotspot without a default route, while the cable leads to another network.
        assert_eq!(
            shared(V4, &[("eth0", "203.0.113.9"), ("wlan0", "10.42.0.1")]),
            [
                "Others on the network open http://10.42.0.1:8765",
                "Also at http://203.0.113.9:8765 (eth0)"
            ]
        );
        // A VPN takes the default route, so it comes first in the list.
        assert_eq!(
            shared(
                V4,
                &[("tun0", "10.8.0.2"), ("docker0", "172.17.0.1"), ("wlan0", "192.168.0.7")]
            ),
            [
                "Others on the network open http://192.168.0.7:8765",
                "Also at http://10.8.0.2:8765 (tun0: VPN)",
                "Also at http://172.17.0.1:8765 (docker0: containers or virtual machines)",
            ]
        );
        // Only a VPN, in which the class may meet.
        assert_eq!(
            shared(V4, &[("docker0", "172.17.0.1"), ("wg0", "10.8.0.2")]),
            [
                "Others in the same VPN open http://10.8.0.2:8765 (wg0)",
                "Also at http://172.17.0.1:8765 (docker0: containers or virtual machines)",
            ]
        );
        // Nobody in the class is inside a container or has this machine's mobile network.
        assert_eq!(
            shared(V4, &[("docker0", "172.17.0.1"), ("wwan0", "10.1.2.3")]),
            [
                "No network was found: for now only this machine can connect, at http://localhost:8765",
                "Also at http://10.1.2.3:8765 (wwan0: mobile data)",
                "Also at http://172.17.0.1:8765 (docker0: containers or virtual machines)",
            ]
        );
        for nothing in [&[][..], &[("lo", "127.0.0.1"), ("lo", "::1"), ("wlan0", "fe80::7")]] {
            for bound in [V4, V6] {
                assert_eq!(
                    shared(bound, nothing),
                    [
                        "No network was found: for now only this machine can connect, at http://localhost:8765"
                    ]
                );
            }
        }
    }

    #[test]
    fn ipv6_addresses_have_brackets_and_only_addresses_that_the_server_listens_on_are_shown() {
        let both = [("eth0", "fd00::7"), ("eth0", "2001:db8::7"), ("eth0", "192.168.0.7")];
        assert_eq!(
            shared(V6, &both),
            [
                "Others on the network open http://192.168.0.7:8765",
                "Also at http://[fd00::7]:8765 (eth0)",
                "Also at http://[2001:db8::7]:8765 (eth0)",
            ]
        );
        assert_eq!(shared(V4, &both), ["Others on the network open http://192.168.0.7:8765"]);
        // A network without IPv4. 192.0.0.4 is how the machine translates for its own old programs.
        let only_v6 = [
            ("eth0", "192.0.0.4"),
            ("eth0", "fe80::7"),
            ("eth0", "2001:db8::7"),
            ("docker0", "172.17.0.1"),
        ];
        assert_eq!(
            shared(V6, &only_v6),
            [
                "Others on the network open http://[2001:db8::7]:8765",
                "Also at http://172.17.0.1:8765 (docker0: containers or virtual machines)",
            ]
        );
        let hint =
            "No IPv4 network was found, but an IPv6 one: the server listens on it with --host ::";
        assert_eq!(
            shared(V4, &only_v6),
            [hint, "Also at http://172.17.0.1:8765 (docker0: containers or virtual machines)"]
        );
        assert_eq!(
            shared(V4, &[("wg0", "10.8.0.2"), ("eth0", "fd00::7")]),
            ["Others in the same VPN open http://10.8.0.2:8765 (wg0)", hint]
        );
        // On Windows, a socket bound to :: does not accept IPv4 connections.
        let mut windows = found(&[("Wi-Fi", "192.168.0.7")]);
        windows.is_dual_stack = false;
        assert_eq!(
            greet(V6, &windows, None, None)[1],
            "No IPv6 network was found, but an IPv4 one: the server listens on it with --host 0.0.0.0"
        );
    }

    #[test]
    fn a_long_list_is_cut_and_a_hostile_name_is_escaped() {
        let names: Vec<String> = (0..100).map(|number| format!("docker{number}")).collect();
        let ips: Vec<String> = (0..100).map(|number| format!("172.17.{number}.1")).collect();
        let mut list = vec![("eth\u{1b}[2J", "192.168.0.8"), ("eth0", "192.168.0.7")];
        list.extend(names.iter().zip(&ips).map(|(name, ip)| (name.as_str(), ip.as_str())));
        let lines = shared(V4, &list);
        assert_eq!(lines.len(), 1 + MAX_OTHERS + 1);
        assert_eq!(
            lines[MAX_OTHERS + 1],
            format!("Addresses that are not listed here: {}", 101 - MAX_OTHERS)
        );
        list.swap(0, 1);
        assert_eq!(shared(V4, &list)[1], "Also at http://192.168.0.8:8765 (eth\\u{1b}[2J)");
        assert_eq!(
            shared(V4, &[("tun\u{1b}[2J", "10.8.0.2")]),
            ["Others in the same VPN open http://10.8.0.2:8765 (tun\\u{1b}[2J)"]
        );
        // As many others as are listed: nothing is missing, and no line says so.
        assert_eq!(shared(V4, &list[..=MAX_OTHERS]).len(), 1 + MAX_OTHERS);
    }

    #[test]
    fn without_a_list_of_interfaces_the_default_route_is_used() {
        let error = || Some(io::Error::from(io::ErrorKind::PermissionDenied));
        let mut fallback = found(&[("", "192.168.0.7")]);
        fallback.error = error();
        assert_eq!(
            greet(V4, &fallback, None, None)[1..3],
            [
                "The network interfaces cannot be listed, so the address may be missing or wrong: permission denied",
                "Others on the network open http://192.168.0.7:8765",
            ]
        );
        let lines = greet(V4, &Found { error: error(), ..Found::nothing() }, None, None);
        assert!(lines[2].starts_with("No network was found"), "{lines:?}");
    }

    #[test]
    fn an_address_that_is_not_for_everybody_has_no_list() {
        for bound in ["127.0.0.1:8765", "[::1]:8765", "192.168.0.7:8765"] {
            let none: [&str; 0] = [];
            assert_eq!(shared(bound, &[("eth0", "192.168.0.7")]), none);
        }
    }

    #[test]
    fn the_qr_code_is_for_the_best_address_and_only_on_a_terminal() {
        for (bound, ip, url) in [
            (V4, "192.168.0.7", "http://192.168.0.7:8765/"),
            (V6, "2001:db8::7", "http://[2001:db8::7]:8765/"),
        ] {
            let found = found(&[("tun0", "10.8.0.2"), ("eth0", ip)]);
            let lines = greet(bound, &found, None, Some(80));
            let pictures: Vec<&String> = lines.iter().filter(|line| is_picture(line)).collect();
            assert_eq!(pictures.len(), 1);
            assert!(is_picture(&lines[2]), "it is below the address that it stands for");
            assert_eq!(decode(pictures[0]), url);
            assert!(!greet(bound, &found, None, None).iter().any(|line| is_picture(line)));
        }
        let lines = greet(V4, &found(&[("docker0", "172.17.0.1")]), None, Some(80));
        assert!(!lines.iter().any(|line| is_picture(line)), "{lines:?}");
    }

    #[test]
    fn the_token_is_in_the_qr_code_and_in_no_line_of_text() {
        let found = found(&[("eth0", "192.168.0.7"), ("eth1", "10.0.0.7")]);
        for (token, query) in [
            ("segredo", "segredo"),
            ("a+b c&d=e#f%2F/?", "a%2Bb%20c%26d%3De%23f%252F%2F%3F"),
            ("A-z.0_9~", "A-z.0_9~"),
        ] {
            let lines = greet(V4, &found, Some(token), Some(80));
            let (pictures, texts): (Vec<_>, Vec<_>) =
                lines.iter().partition(|line| is_picture(line));
            assert_eq!(decode(pictures[0]), format!("http://192.168.0.7:8765/?token={query}"));
            assert!(
                texts.iter().any(|line| *line == texts::QR_HAS_TOKEN.get(Lang::En)),
                "{texts:?}"
            );
            let piped = greet(V4, &found, Some(token), None);
            assert!(!piped.iter().any(|line| is_picture(line) || line.contains("QR")), "{piped:?}");
            for line in texts.into_iter().chain(&piped) {
                assert!(!line.contains(token) && !line.contains(query), "{line}");
            }
        }
        // Without a token there is nothing to be careful with.
        let lines = greet(V4, &found, None, Some(80));
        assert!(!lines.iter().any(|line| line.contains("oken")), "{lines:?}");
    }

    #[test]
    fn a_qr_code_that_does_not_fit_is_replaced_by_the_reason() {
        let found = found(&[("eth0", "192.168.0.7")]);
        let width = |line: &str| line.lines().next().expect("a line").chars().count();
        let needed = width(&greet(V4, &found, Some("segredo"), Some(80))[2]);
        let fits = greet(V4, &found, Some("segredo"), Some(needed));
        assert!(is_picture(&fits[2]));
        let narrow = greet(V4, &found, Some("segredo"), Some(needed - 1));
        assert_eq!(
            narrow[2],
            format!("The terminal is too narrow for the QR code: it needs {needed} columns")
        );
        let long = greet(V4, &found, Some(&"s".repeat(3_000)), Some(usize::MAX));
        assert_eq!(long[2], "The URL with the token is too long for a QR code");
        for lines in [narrow, long] {
            assert!(
                !lines.iter().any(|line| is_picture(line) || line.contains("contains the token")),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn this_machine_lists_the_address_of_its_default_route_first() {
        let found = interfaces();
        assert!(found.error.is_none(), "{:?}", found.error);
        if let Some(routed) = lan_address() {
            assert_eq!(found.pairs[0].1, routed);
        }
    }
}
