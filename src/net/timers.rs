//! Deadlines of connections, armed and disarmed in constant time, without a heap.
//!
//! ```text
//! Handshake   slot 7 (12.1 s) <-> slot 2 (12.3 s) <-> slot 9 (14.0 s)
//! KeepAlive   slot 6 (13.5 s)
//! Ping        slot 3 (11.9 s) <-> slot 5 (25.0 s)
//! Pong        empty
//! Write       empty
//! Close       slot 4 (11.8 s) <-> slot 1 (13.0 s)
//! ```
//!
//! The kinds `Idle` and `Congestion` have such lists as well, in a [`Timers`] of their own, because a slot may have one of
//! these deadlines in addition to one of the others.
//!
//! All deadlines of one kind have the same duration, so a list in the order of arming is already sorted by time. A slot
//! has at most one deadline, so it has one node, which is in at most one list. Arming and disarming only relink that
//! node. The next deadline is at the front of one of the lists.

use std::iter;
use std::time::{Duration, Instant};

/// The kind of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The opening handshake must be complete.
    Handshake,
    /// The client must have received the response to a plain request, and must begin the next one.
    KeepAlive,
    /// The next ping is due, which checks that the peer is still connected.
    Ping,
    /// The pong that responds to our ping must arrive.
    Pong,
    /// A full socket must accept at least one byte.
    Write,
    /// TCP must be closed. Armed when the closing handshake begins.
    Close,
    /// The next message must arrive.
    Idle,
    /// A congested peer must have caught up.
    Congestion,
}

const KINDS: [Deadline; 8] = [
    Deadline::Handshake,
    Deadline::KeepAlive,
    Deadline::Ping,
    Deadline::Pong,
    Deadline::Write,
    Deadline::Close,
    Deadline::Idle,
    Deadline::Congestion,
];

/// Stands for no slot, at either end of a list.
const NONE: u32 = u32::MAX;

/// An armed deadline. `previous` and `next` are slots.
#[derive(Clone, Copy, Debug)]
struct Node {
    at: Instant,
    kind: Deadline,
    previous: u32,
    next: u32,
}

/// The armed deadlines of one kind, as a doubly linked list. `first` and `last` are slots.
#[derive(Clone, Copy, Debug)]
struct List {
    lasts: Duration,
    /// How much earlier than `Node::at` the deadlines of this kind are due now. See [`Timers::shorten`].
    early: Duration,
    first: u32,
    last: u32,
    /// How many deadlines the list has.
    length: usize,
}

/// The deadlines of all slots.
#[derive(Debug)]
pub struct Timers {
    lists: [List; KINDS.len()],
    nodes: Vec<Option<Node>>,
}

impl Timers {
    /// Returns timers without armed deadlines. `lasts` returns the duration of each kind.
    pub fn new(lasts: impl Fn(Deadline) -> Duration) -> Timers {
        let lists = KINDS.map(|kind| List {
            lasts: lasts(kind),
            early: Duration::ZERO,
            first: NONE,
            last: NONE,
            length: 0,
        });
        Timers { lists, nodes: Vec::new() }
    }

    /// Shortens all deadlines of one kind to `lasts`, including those that are armed. If `lasts` is not shorter than
    /// their usual duration, that duration is restored.
    pub fn shorten(&mut self, kind: Deadline, lasts: Duration) {
        let list = &mut self.lists[kind as usize];
        list.early = list.lasts.saturating_sub(lasts);
    }

    /// Arms a deadline for a slot and disarms its previous one.
    pub fn arm(&mut self, slot: usize, kind: Deadline, now: Instant) {
        self.disarm(slot);
        if self.nodes.len() <= slot {
            self.nodes.resize(slot + 1, None);
        }
        let list = &mut self.lists[kind as usize];
        let node = Node { at: now + list.lasts, kind, previous: list.last, next: NONE };
        list.last = slot as u32;
        list.length += 1;
        match node.previous {
            NONE => list.first = slot as u32,
            previous => self.node(previous).next = slot as u32,
        }
        self.nodes[slot] = Some(node);
    }

    /// Disarms the deadline of a slot, if it has one.
    pub fn disarm(&mut self, slot: usize) {
        let Some(node) = self.nodes.get_mut(slot).and_then(Option::take) else { return };
        match node.previous {
            NONE => self.lists[node.kind as usize].first = node.next,
            previous => self.node(previous).next = node.next,
        }
        match node.next {
            NONE => self.lists[node.kind as usize].last = node.previous,
            next => self.node(next).previous = node.previous,
        }
        self.lists[node.kind as usize].length -= 1;
    }

    /// Returns the kind of the deadline of a slot, if it has one.
    #[inline]
    pub fn armed(&self, slot: usize) -> Option<Deadline> {
        self.nodes.get(slot).copied().flatten().map(|node| node.kind)
    }

    /// Returns the slots with deadlines of this kind, in the order in which they are due.
    pub fn in_order(&self, kind: Deadline) -> impl Iterator<Item = usize> + '_ {
        let node = |slot: u32| self.nodes.get(slot as usize).copied().flatten();
        let first = self.lists[kind as usize].first;
        let next = move |&slot: &u32| node(slot).map(|node| node.next).filter(|&next| next != NONE);
        iter::successors((first != NONE).then_some(first), next).map(|slot| slot as usize)
    }

    /// Returns how many deadlines are armed.
    pub fn len(&self) -> usize {
        self.lists.iter().map(|list| list.length).sum()
    }

    /// Returns how many deadlines of this kind are armed.
    pub fn count(&self, kind: Deadline) -> usize {
        self.lists[kind as usize].length
    }

    /// Returns when the earliest deadline is due.
    pub fn next(&self) -> Option<Instant> {
        let fronts = self.lists.iter().filter_map(|list| {
            let node = self.nodes.get(list.first as usize)?.as_ref()?;
            Some(node.at - list.early)
        });
        fronts.min()
    }

    /// Disarms and returns one deadline that is due at `now`.
    pub fn expired(&mut self, now: Instant) -> Option<(usize, Deadline)> {
        for kind in KINDS {
            let List { first, early, .. } = self.lists[kind as usize];
            let slot = first as usize;
            if let Some(Some(node)) = self.nodes.get(slot)
                && node.at - early <= now
            {
                self.disarm(slot);
                return Some((slot, kind));
            }
        }
        None
    }

    fn node(&mut self, slot: u32) -> &mut Node {
        self.nodes[slot as usize].as_mut().expect("lists link only armed slots")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(kind: Deadline) -> Duration {
        Duration::from_secs(match kind {
            Deadline::Handshake => 10,
            Deadline::KeepAlive => 15,
            Deadline::Ping | Deadline::Pong => 20,
            Deadline::Write => 19,
            Deadline::Close => 5,
            Deadline::Idle => 60,
            Deadline::Congestion => 6,
        })
    }

    #[test]
    fn armed_deadlines_can_be_shortened() {
        let start = Instant::now();
        let mut timers = Timers::new(seconds);
        timers.arm(3, Deadline::Handshake, start);
        timers.shorten(Deadline::Handshake, Duration::from_secs(2));
        assert_eq!(timers.next(), Some(start + Duration::from_secs(2)));
        timers.shorten(Deadline::Handshake, Duration::from_secs(60));
        assert_eq!(timers.next(), Some(start + Duration::from_secs(10)));
        timers.shorten(Deadline::Handshake, Duration::from_secs(2));
        let due = timers.expired(start + Duration::from_secs(2));
        assert_eq!(due, Some((3, Deadline::Handshake)));
    }

    /// Compares the linked lists with a simple vector of deadlines while random slots are armed and disarmed.
    #[test]
    fn agrees_with_a_simple_implementation() {
        let start = Instant::now();
        let mut timers = Timers::new(seconds);
        let mut plain: Vec<Option<(Instant, Deadline)>> = vec![None; 20];
        let mut random = 1u32;
        for step in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let now = start + Duration::from_millis(step * 40);
            let slot = (random >> 8) as usize % plain.len();
            match (random >> 24) as usize % (KINDS.len() + 1) {
                0 => {
                    timers.disarm(slot);
                    plain[slot] = None;
                }
                kind => {
                    let kind = KINDS[kind - 1];
                    timers.arm(slot, kind, now);
                    plain[slot] = Some((now + seconds(kind), kind));
                }
            }
            assert_eq!(timers.next(), plain.iter().flatten().map(|entry| entry.0).min());
            assert_eq!(timers.len(), plain.iter().flatten().count());
            for kind in KINDS {
                let slots: Vec<usize> = timers.in_order(kind).collect();
                let due: Vec<_> = slots.iter().map(|&slot| plain[slot].expect("armed")).collect();
                assert!(due.iter().all(|entry| entry.1 == kind) && due.is_sorted_by_key(|e| e.0));
                assert_eq!(due.len(), plain.iter().flatten().filter(|e| e.1 == kind).count());
                assert_eq!(due.len(), timers.count(kind));
            }
            while let Some((slot, kind)) = timers.expired(now) {
                let (at, expected) = plain[slot].take().expect("it was armed");
                assert!(at <= now && kind == expected);
            }
            assert!(plain.iter().flatten().all(|entry| entry.0 > now));
        }
    }
}
