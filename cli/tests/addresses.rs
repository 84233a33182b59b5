//! The first lines of `serve`: the addresses for the class and the QR code, from real interfaces and on a real terminal.

mod support;

use std::net::TcpStream;

use support::{Serve, framewise};

/// The URLs that the lines show to others, without `http://`.
fn shared(greeting: &[String]) -> Vec<&str> {
    let lines =
        greeting.iter().filter(|line| line.starts_with("Others ") || line.starts_with("Also "));
    let urls = lines.filter_map(|line| line.split_once("http://"));
    urls.map(|(_, rest)| rest.split(' ').next().expect("a URL")).collect()
}

#[test]
fn every_address_that_is_shown_accepts_connections() {
    for host in ["0.0.0.0", "::"] {
        let mut command =
            framewise(&["serve", "--host", host, "--port", "0", "--token", "segredo"]);
        let serve = Serve::start_with(&mut command);
        let addresses = shared(&serve.greeting);
        let says_why = serve.greeting.iter().any(|line| line.starts_with("No "));
        assert!(!addresses.is_empty() || says_why, "{:?}", serve.greeting);
        for address in addresses {
            assert!(!address.starts_with("[fe80"), "{address}");
            TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        }
        // Standard output is a pipe: it may be a log.
        for line in &serve.greeting {
            assert!(!line.contains("segredo") && !line.contains('█'), "{line}");
        }
    }
}

/// Real interfaces in a network namespace of their own, which Linux gives to any user unless the machine forbids it.
#[cfg(target_os = "linux")]
mod namespaces {
    use std::process::Command;

    use super::*;

    /// Returns a script that adds an interface and waits until the kernel counts it as connected.
    fn interface(name: &str, addresses: &[&str]) -> String {
        let mut script = format!(
            "ip link add {name} type veth peer name peer-{name} && ip link set {name} up \
            && ip link set peer-{name} up && "
        );
        for address in addresses {
            // Without duplicate address detection, an IPv6 address is usable at once.
            let nodad = if address.contains(':') { " nodad" } else { "" };
            script += &format!("ip address add {address} dev {name}{nodad} && ");
        }
        script + &format!("while ip link show {name} | grep -q NO-CARRIER; do sleep 0.02; done && ")
    }

    /// Returns a script that adds an interface with an address, but with nothing connected to it.
    fn unplugged(name: &str, address: &str) -> String {
        format!(
            "ip link add {name} type veth peer name peer-{name} && ip link set {name} up \
            && ip address add {address} dev {name} \
            && until ip link show {name} | grep -q NO-CARRIER; do sleep 0.02; done && "
        )
    }

    fn in_namespace(script: &str) -> Command {
        let mut command = framewise(&[]);
        let program = command.get_program().to_owned();
        let removed: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        command = Command::new("unshare");
        for name in removed {
            command.env_remove(name);
        }
        command.env("PROGRAM", program).args(["--map-root-user", "--net", "sh", "-c", script]);
        command
    }

    /// The lines of a server in a namespace with these interfaces, without the first and the last one.
    fn greeting(host: &str, interfaces: &[String], program: &str) -> Vec<String> {
        let script = format!("{}exec {program}", interfaces.concat()).replace("HOST", host);
        let serve = Serve::start_with(&mut in_namespace(&script));
        let lines = &serve.greeting;
        lines[1..lines.len() - 1].to_vec()
    }

    const SERVE: &str = "$PROGRAM serve --host HOST --port 8765";

    #[test]
    #[ignore = "needs a network namespace; .ci/interop runs it"]
    fn interfaces_without_a_default_route_are_found_and_vpns_come_last() {
        let vpn = interface("tun0", &["10.8.0.2/24"]) + "ip route add default via 10.8.0.1 && ";
        let hotspot = interface("wlan0", &["192.168.43.1/24", "fe80::7/64", "fd00::7/64"]);
        let cable = unplugged("eth0", "192.168.1.9/24");
        let wlan = "Others on the network open http://192.168.43.1:8765";
        let tun = "Also at http://10.8.0.2:8765 (tun0: VPN)";
        let ipv6 = "Also at http://[fd00::7]:8765 (wlan0)";
        let all = [vpn, hotspot.clone(), cable.clone()];
        assert_eq!(greeting("0.0.0.0", &[hotspot], SERVE), [wlan]);
        assert_eq!(greeting("0.0.0.0", &all, SERVE), [wlan, tun]);
        assert_eq!(greeting("::", &all, SERVE), [wlan, ipv6, tun]);
        let only_ipv6 = [interface("eth0", &["2001:db8::7/64"])];
        assert_eq!(
            greeting("::", &only_ipv6, SERVE),
            ["Others on the network open http://[2001:db8::7]:8765"]
        );
        assert_eq!(
            greeting("0.0.0.0", &only_ipv6, SERVE),
            ["No IPv4 network was found, but an IPv6 one: the server listens on it with --host ::"]
        );
        let nothing =
            "No network was found: for now only this machine can connect, at http://localhost:8765";
        assert_eq!(greeting("0.0.0.0", &[], SERVE), [nothing]);
        assert_eq!(greeting("0.0.0.0", &[cable], SERVE), [nothing]);
        // Of two private networks, the one with the default route is the better guess.
        for (gateway, first, second) in
            [("192.168.5.1", "192.168.5.7", "10.0.0.7"), ("10.0.0.1", "10.0.0.7", "192.168.5.7")]
        {
            let route = format!("ip route add default via {gateway} && ");
            let both = [
                interface("eth0", &["192.168.5.7/24"]),
                interface("eth1", &["10.0.0.7/24"]),
                route,
            ];
            assert_eq!(
                shared(&greeting("0.0.0.0", &both, SERVE)),
                [format!("{first}:8765"), format!("{second}:8765")]
            );
        }
    }

    #[test]
    #[ignore = "needs a network namespace; .ci/interop runs it"]
    fn only_a_terminal_shows_the_qr_code() {
        let wlan = [interface("wlan0", &["192.168.0.7/24"])];
        let serve = format!("{SERVE} --token segredo");
        let piped = greeting("0.0.0.0", &wlan, &serve);
        assert!(!piped.iter().any(|line| line.contains('█') || line.contains("QR")), "{piped:?}");
        for (columns, has_code) in [(80, true), (20, false)] {
            let terminal = format!("script -qec 'stty cols {columns}; {serve}' /dev/null");
            let lines = greeting("0.0.0.0", &wlan, &terminal);
            let code = lines.iter().filter(|line| line.contains('█')).count();
            assert_eq!(code > 10, has_code, "{lines:?}");
            let says = |words: &str| lines.iter().any(|line| line.starts_with(words));
            assert_eq!(says("The QR code contains the token"), has_code, "{lines:?}");
            assert_eq!(says("The terminal is too narrow"), !has_code, "{lines:?}");
            assert!(!lines.iter().any(|line| line.contains("segredo")), "{lines:?}");
        }
    }
}
