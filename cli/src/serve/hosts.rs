//! The names by which the server may be asked, as protection from DNS rebinding: a foreign page whose name suddenly
//! resolves to an address of this network could otherwise talk to the server as if it were its own.
//!
//! ```text
//! listens on loopback      localhost, *.localhost, loopback addresses
//! listens on the network   the same, any IP address, the names of this machine, *.local
//! both                     --host NAME, --allow-host NAME, the host of --public-url
//! ```

use std::cell::Cell;
use std::net::IpAddr;

/// The names that count as this server.
#[derive(Debug)]
pub struct Hosts {
    /// Only this machine can reach the server. Known once it is bound.
    pub loopback_only: Cell<bool>,
    /// The name in `--public-url`, in lower case and without a port.
    public: Option<String>,
    /// Further names, in the same form.
    names: Vec<String>,
    /// The name of this machine, in full and up to the first dot. Counts on the network.
    machine: Vec<String>,
}

impl Hosts {
    /// Returns the hosts of a server with these names of its own. Clients reach it by the public one through a proxy.
    pub fn new(public: Option<&str>, names: impl IntoIterator<Item = String>) -> Hosts {
        let public = public.map(name_of);
        let names = names.into_iter().map(|name| name_of(&name)).collect();
        let machine = machine_name().into_iter().flat_map(|name| {
            let short = name.split('.').next().unwrap_or_default().to_owned();
            [name, short]
        });
        let machine = machine.filter(|name| !name.is_empty()).collect();
        Hosts { loopback_only: Cell::new(true), public, names, machine }
    }

    /// Reports whether a request may name this host.
    pub fn allow(&self, host: &str) -> bool {
        let name = name_of(host);
        if is_loopback(&name) || self.names.contains(&name) || self.is_public(host) {
            return true;
        }
        !self.loopback_only.get()
            && (name.parse::<IpAddr>().is_ok()
                || name.ends_with(".local")
                || self.machine.contains(&name))
    }

    /// Reports whether a request was sent to the public name, which leads to a proxy. On this machine, the server is asked by
    /// a name of loopback.
    pub fn is_public(&self, host: &str) -> bool {
        let name = name_of(host);
        self.public.as_ref() == Some(&name) && !is_loopback(&name)
    }
}

/// Returns the name or address of a Host, in lower case, without its port, brackets and final dot.
pub fn name_of(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        // More than one colon: an IPv6 address without brackets.
        None => match host.split_once(':') {
            Some((name, port)) if !port.contains(':') => name,
            _ => host,
        },
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_loopback(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Returns the name of this machine, in lower case.
pub fn machine_name() -> Option<String> {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").ok()?;
    Some(name.to_ascii_lowercase()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_only_names_of_loopback_count() {
        let hosts = Hosts::new(Some("Class.example:1"), ["Sala.example:8765".to_owned()]);
        for host in [
            "localhost",
            "LOCALHOST:8765",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8765",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "a.localhost",
            "localhost.",
            "sala.example",
            "SALA.example:1",
            "class.example",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org:8765",
            "192.168.0.7:8765",
            "[::2]",
            "127.0.0.1.example.org",
            "sala.local",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }

    #[test]
    fn the_public_name_is_not_one_of_this_machine() {
        let hosts = Hosts::new(Some("Class.example"), []);
        assert!(hosts.is_public("class.example:8765") && !hosts.is_public("localhost:8765"));
        assert!(!Hosts::new(Some("localhost"), []).is_public("localhost"), "a try on one machine");
    }

    #[test]
    fn on_the_network_addresses_and_local_names_count_as_well() {
        let hosts = Hosts::new(None, []);
        hosts.loopback_only.set(false);
        let machine = machine_name().expect("it has a name");
        for host in
            ["192.168.0.7:8765", "[2001:db8::1]:1", "::1", "sala.local", "localhost", &machine]
        {
            assert!(hosts.allow(host), "{host}");
        }
        for host in ["", "example.org", "192.168.0.7.example.org", "local", "evil.local.example"] {
            assert!(!hosts.allow(host), "{host}");
        }
    }
}
