//! The connections that this server opens to itself for the explain page, and whose they are.
//!
//! ```text
//! sending.rs binds 127.0.0.1:50123, which belongs to 192.0.2.7, and connects
//!                    │               '──> admission.rs: the connection counts as 192.0.2.7
//!                    │               '──> forwarded.rs: its request comes from 192.0.2.7
//!                    '── forgotten when the server has seen the connection close (watch.rs)
//! ```
//!
//! Rules of this file: a connection is added after its port was bound and before it is made, so that the server never accepts
//! it too early, and is there until the server has seen its end. Nobody else can connect from a port that is bound. A later
//! connection from the same port is not the server's own: each entry counts for one connection.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most connections. Sending is limited to a few at a time, so that only connections whose end the server has not seen
/// yet can be so many.
const MAX_OWN: usize = 64;

/// How long a closed connection is remembered if the server never reports its end, as when it never accepts it.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// The connections of the server to itself, by their local addresses.
#[derive(Clone, Debug, Default)]
pub struct Own(Arc<Mutex<HashMap<SocketAddr, Entry>>>);

#[derive(Debug)]
struct Entry {
    visitor: IpAddr,
    /// Whether the server has accepted it.
    is_accepted: bool,
    /// When this side has closed it.
    closed: Option<Instant>,
}

impl Own {
    /// Adds a connection. Returns false if there are too many.
    pub fn add(&self, local: SocketAddr, visitor: IpAddr, now: Instant) -> bool {
        let mut own = self.remembered(now);
        own.len() < MAX_OWN && {
            own.insert(canonical(local), Entry { visitor, is_accepted: false, closed: None });
            true
        }
    }

    /// Notes that the server has accepted a connection. Returns the visitor that it counts as, if it is one of the server's own.
    pub fn accepted(&self, from: SocketAddr, now: Instant) -> Option<IpAddr> {
        let mut own = self.remembered(now);
        let entry = own.get_mut(&canonical(from)).filter(|entry| !entry.is_accepted)?;
        entry.is_accepted = true;
        Some(entry.visitor)
    }

    /// Returns the visitor on whose behalf the connection from this address was opened, if it is one of the server's own.
    pub fn visitor(&self, from: SocketAddr) -> Option<IpAddr> {
        self.lock().get(&canonical(from)).map(|entry| entry.visitor)
    }

    /// Notes that this side is about to close a connection. The server still counts its last bytes as the visitor's.
    pub fn closing(&self, local: SocketAddr, now: Instant) {
        if let Some(entry) = self.lock().get_mut(&canonical(local)) {
            entry.closed = Some(now);
        }
    }

    /// Forgets a connection whose end the server has seen, or that was never made.
    pub fn disconnected(&self, from: SocketAddr) {
        self.lock().remove(&canonical(from));
    }

    /// Returns the connections without those that were closed long ago.
    fn remembered(&self, now: Instant) -> MutexGuard<'_, HashMap<SocketAddr, Entry>> {
        let mut own = self.lock();
        own.retain(|_, entry| {
            entry.closed.is_none_or(|at| now.saturating_duration_since(at) < FORGET_AFTER)
        });
        own
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the address as the other side may see it: IPv4 on a socket of IPv6 is the same, and so is any scope.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_connection_is_its_visitors_until_the_server_has_seen_its_end() {
        let (own, now) = (Own::default(), Instant::now());
        let visitor: IpAddr = [192, 0, 2, 7].into();
        assert!(own.add(address("127.0.0.1:1"), visitor, now));
        assert_eq!(own.visitor(address("127.0.0.1:1")), Some(visitor));
        assert_eq!(own.visitor(address("[::ffff:127.0.0.1]:1")), Some(visitor));
        assert_eq!(own.visitor(address("127.0.0.1:2")), None);
        own.closing(address("127.0.0.1:1"), now);
        assert_eq!(own.visitor(address("127.0.0.1:1")), Some(visitor));
        own.disconnected(address("[::ffff:127.0.0.1]:1"));
        assert_eq!(own.visitor(address("127.0.0.1:1")), None);
    }

    /// A program that gets the port of an earlier connection does not count as its visitor.
    #[test]
    fn each_entry_counts_for_one_connection() {
        let (own, now) = (Own::default(), Instant::now());
        let (visitor, local): (IpAddr, _) = ([192, 0, 2, 7].into(), address("127.0.0.1:1"));
        let mapped = address("[::ffff:127.0.0.1]:1");
        assert_eq!(own.accepted(local, now), None);
        assert!(own.add(local, visitor, now));
        assert_eq!(own.accepted(address("127.0.0.2:1"), now), None);
        assert_eq!(own.accepted(mapped, now), Some(visitor));
        assert_eq!(own.accepted(local, now), None);
        // The bytes of the first one are still the visitor's.
        assert_eq!(own.visitor(local), Some(visitor));
        // One that was never accepted is forgotten as well.
        own.disconnected(local);
        assert!(own.add(local, visitor, now));
        own.closing(local, now);
        assert_eq!(own.accepted(local, now + FORGET_AFTER), None);
    }

    #[test]
    fn the_number_of_connections_is_limited() {
        let (own, now) = (Own::default(), Instant::now());
        let add = |port, now| own.add(SocketAddr::from(([127, 0, 0, 1], port)), [9; 4].into(), now);
        assert!((0..MAX_OWN as u16).all(|port| add(port, now)));
        assert!(!add(1_000, now));
        own.closing(address("127.0.0.1:5"), now);
        assert!(!add(1_000, now) && add(1_000, now + FORGET_AFTER));
        assert_eq!(own.visitor(address("127.0.0.1:5")), None);
    }
}
