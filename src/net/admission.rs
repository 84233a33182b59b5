//! Admission of connections: the limits in total and per address.
//!
//! ```text
//! connections   1 ... max_connections | at most 32 excess connections, each refused with 503 or 429
//!                                       one more replaces the oldest of them
//! ```
//!
//! An excess connection is refused at once. A few places are reserved for such connections, so that accepting never has
//! to pause because of them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::peers::PeerId;
use crate::protocol::refusal::Rule;

/// The most excess connections at once.
const MAX_EXCESS: usize = 32;

/// Counts connections against their limits.
pub(crate) struct Admission {
    max_connections: usize,
    max_per_address: Option<usize>,
    /// The number of connections within the limits.
    admitted: usize,
    /// Excess connections, oldest first.
    excess: VecDeque<PeerId>,
    /// The number of connections from each address. Empty if there is no limit per address.
    by_address: HashMap<IpAddr, usize>,
    /// The address of each slot that `by_address` counts.
    by_slot: HashMap<usize, IpAddr>,
}

impl Admission {
    pub(crate) fn new(max_connections: usize, max_per_address: Option<usize>) -> Admission {
        Admission {
            max_connections,
            max_per_address,
            admitted: 0,
            excess: VecDeque::new(),
            by_address: HashMap::new(),
            by_slot: HashMap::new(),
        }
    }

    /// Returns the limit that one more connection from this address would exceed, if any.
    pub(crate) fn exceeded(&self, address: IpAddr) -> Option<Rule> {
        let from_there = self.by_address.get(&address.to_canonical()).copied().unwrap_or_default();
        if self.admitted >= self.max_connections {
            Some(Rule::TooManyConnections)
        } else if self.max_per_address.is_some_and(|limit| from_there >= limit) {
            Some(Rule::TooManyFromAddress)
        } else {
            None
        }
    }

    /// Counts a connection. Returns the limit that it exceeds, if any.
    pub(crate) fn enter(&mut self, id: PeerId, address: IpAddr) -> Option<Rule> {
        let refused = self.exceeded(address);
        match refused {
            Some(_) => self.excess.push_back(id),
            None => {
                self.admitted += 1;
                self.count_address(id.slot(), address.to_canonical());
            }
        }
        refused
    }

    /// Returns the oldest excess connection if there are too many of them, so that it can be closed.
    pub(crate) fn replaced(&self) -> Option<PeerId> {
        self.excess.front().copied().filter(|_| self.excess.len() > MAX_EXCESS)
    }

    /// Stops counting a connection that was closed.
    pub(crate) fn leave(&mut self, id: PeerId, was_excess: bool) {
        if was_excess {
            self.excess.retain(|&other| other != id);
            return;
        }
        self.admitted -= 1;
        if let Some(address) = self.by_slot.remove(&id.slot())
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    fn count_address(&mut self, slot: usize, address: IpAddr) {
        if self.max_per_address.is_some() {
            *self.by_address.entry(address).or_default() += 1;
            self.by_slot.insert(slot, address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::peers::Peers;
    use crate::protocol::connection::Connection;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn ids(count: usize) -> Vec<PeerId> {
        let config = Config::default().validate().expect("valid");
        let mut peers = Peers::default();
        (0..count).map(|_| peers.insert(Connection::server(config.clone()))).collect()
    }

    /// R8: each limit has its own refusal, and closing a connection frees a place.
    #[test]
    fn counts_against_both_limits() {
        let mut admission = Admission::new(3, Some(2));
        let ids = ids(5);
        assert_eq!(admission.enter(ids[0], HERE), None);
        assert_eq!(admission.enter(ids[1], HERE), None);
        assert_eq!(admission.enter(ids[2], HERE), Some(Rule::TooManyFromAddress));
        assert_eq!(admission.enter(ids[3], THERE), None);
        assert_eq!(admission.enter(ids[4], THERE), Some(Rule::TooManyConnections));
        admission.leave(ids[0], false);
        assert_eq!(admission.enter(ids[0], HERE), None);
        for (n, was_excess) in [(0, false), (1, false), (2, true), (3, false), (4, true)] {
            admission.leave(ids[n], was_excess);
        }
        assert_eq!((admission.admitted, admission.excess.len()), (0, 0));
        assert!(admission.by_address.is_empty() && admission.by_slot.is_empty());
    }

    /// An IPv4 address on an IPv6 socket is the same address.
    #[test]
    fn a_mapped_address_counts_as_the_address_that_it_maps() {
        let mut admission = Admission::new(3, Some(1));
        let ids = ids(2);
        assert_eq!(admission.enter(ids[0], HERE), None);
        let mapped = "::ffff:127.0.0.1".parse().expect("an address");
        assert_eq!(admission.enter(ids[1], mapped), Some(Rule::TooManyFromAddress));
    }

    /// R8: one more excess connection than there are places replaces the oldest one.
    #[test]
    fn the_oldest_excess_connection_is_replaced() {
        let mut admission = Admission::new(1, None);
        let ids = ids(MAX_EXCESS + 2);
        for &id in &ids[..=MAX_EXCESS] {
            admission.enter(id, HERE);
            assert_eq!(admission.replaced(), None);
        }
        admission.enter(ids[MAX_EXCESS + 1], HERE);
        assert_eq!(admission.replaced(), Some(ids[1]));
        admission.leave(ids[1], true);
        assert_eq!(admission.replaced(), None);
    }
}
