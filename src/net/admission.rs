//! Who may come in: the limits of connections, in all and from one address.
//!
//! ```text
//! connections   1 ... max_connections | at most 32 more, each answered 503 or 429 | wait in the backlog
//! ```
//!
//! A connection beyond a limit is not left to guess: as long as some of a few reserved places are free, it is
//! accepted, its request is read, and the answer says why and when to come again.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::protocol::refusal::Rule;

/// Places for connections that are accepted only to be refused.
const RESERVED: usize = 32;

/// Counts connections against their limits.
pub(crate) struct Admission {
    max_connections: usize,
    max_per_address: Option<usize>,
    /// Connections that may stay.
    guests: usize,
    /// Connections that are being refused.
    surplus: usize,
    /// Connections by address; empty without a limit per address.
    by_address: HashMap<IpAddr, usize>,
    /// The address of each slot that `by_address` counts.
    by_slot: HashMap<usize, IpAddr>,
}

impl Admission {
    pub(crate) fn new(max_connections: usize, max_per_address: Option<usize>) -> Admission {
        Admission {
            max_connections,
            max_per_address,
            guests: 0,
            surplus: 0,
            by_address: HashMap::new(),
            by_slot: HashMap::new(),
        }
    }

    /// One more connection could at least be told that there is no room.
    pub(crate) fn has_place(&self) -> bool {
        self.surplus < RESERVED
    }

    /// Counts a connection in; the rule that keeps it from staying, if one does.
    pub(crate) fn enter(&mut self, slot: usize, address: IpAddr) -> Option<Rule> {
        let refused = if self.guests >= self.max_connections {
            Some(Rule::TooManyConnections)
        } else if !self.enter_address(slot, address.to_canonical()) {
            Some(Rule::TooManyFromAddress)
        } else {
            None
        };
        match refused {
            Some(_) => self.surplus += 1,
            None => self.guests += 1,
        }
        refused
    }

    /// Counts a connection out.
    pub(crate) fn leave(&mut self, slot: usize, was_surplus: bool) {
        if was_surplus {
            self.surplus -= 1;
            return;
        }
        self.guests -= 1;
        if let Some(address) = self.by_slot.remove(&slot)
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    fn enter_address(&mut self, slot: usize, address: IpAddr) -> bool {
        let Some(limit) = self.max_per_address else { return true };
        let count = self.by_address.entry(address).or_default();
        let has_room = *count < limit;
        if has_room {
            *count += 1;
            self.by_slot.insert(slot, address);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    /// R8: each limit has its own answer, and whoever leaves makes room again.
    #[test]
    fn counts_against_both_limits() {
        let mut admission = Admission::new(3, Some(2));
        assert_eq!(admission.enter(0, HERE), None);
        assert_eq!(admission.enter(1, HERE), None);
        assert_eq!(admission.enter(2, HERE), Some(Rule::TooManyFromAddress));
        assert_eq!(admission.enter(3, THERE), None);
        assert_eq!(admission.enter(4, THERE), Some(Rule::TooManyConnections));
        admission.leave(0, false);
        assert_eq!(admission.enter(0, HERE), None);
        for (slot, surplus) in [(0, false), (1, false), (2, true), (3, false), (4, true)] {
            admission.leave(slot, surplus);
        }
        assert_eq!((admission.guests, admission.surplus), (0, 0));
        assert!(admission.by_address.is_empty() && admission.by_slot.is_empty());
    }

    /// An IPv4 address that comes over an IPv6 socket is the same address.
    #[test]
    fn a_mapped_address_counts_as_what_it_maps() {
        let mut admission = Admission::new(3, Some(1));
        assert_eq!(admission.enter(0, HERE), None);
        let mapped = "::ffff:127.0.0.1".parse().expect("an address");
        assert_eq!(admission.enter(1, mapped), Some(Rule::TooManyFromAddress));
    }

    #[test]
    fn the_reserved_places_are_few() {
        let mut admission = Admission::new(1, None);
        for slot in 0..RESERVED {
            admission.enter(slot, HERE);
        }
        assert!(admission.has_place());
        admission.enter(RESERVED, HERE);
        assert!(!admission.has_place());
        admission.leave(RESERVED, true);
        assert!(admission.has_place());
    }
}
