//! Deadlines, in constant time and without a heap.
//!
//! ```text
//! Handshake   slot 7 (12.1 s) <-> slot 2 (12.3 s) <-> slot 9 (14.0 s)
//! Ping        slot 3 (11.9 s) <-> slot 5 (25.0 s)
//! Pong        empty
//! Write       empty
//! Close       slot 4 (11.8 s) <-> slot 1 (13.0 s)
//! ```
//!
//! Every deadline of one kind lasts equally long, so a list in the order of arming is sorted by time
//! already. A connection waits for one thing at a time, so each slot has one node, in at most one list;
//! arming and disarming relink it. What is due stands at the front of a list.

use std::time::{Duration, Instant};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The end of the opening handshake.
    Handshake,
    /// The time has come to ask whether the peer is still there.
    Ping,
    /// The answer to that.
    Pong,
    /// A socket that refuses output has to take some.
    Write,
    /// A closing connection has to be gone.
    Close,
    /// A message, which may be long in coming.
    Idle,
}

const KINDS: [Deadline; 6] = [
    Deadline::Handshake,
    Deadline::Ping,
    Deadline::Pong,
    Deadline::Write,
    Deadline::Close,
    Deadline::Idle,
];

/// The end of a list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    at: Instant,
    kind: Deadline,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy)]
struct List {
    lasts: Duration,
    first: u32,
    last: u32,
}

/// The deadlines of all slots.
pub struct Timers {
    lists: [List; KINDS.len()],
    nodes: Vec<Option<Node>>,
    armed: usize,
}

impl Timers {
    /// No deadline is armed; `lasts` says how long each kind takes.
    pub fn new(lasts: impl Fn(Deadline) -> Duration) -> Timers {
        let lists = KINDS.map(|kind| List { lasts: lasts(kind), first: NONE, last: NONE });
        Timers { lists, nodes: Vec::new(), armed: 0 }
    }

    /// Arms a deadline for a slot, in place of the one that it had.
    pub fn arm(&mut self, slot: usize, kind: Deadline, now: Instant) {
        self.disarm(slot);
        if self.nodes.len() <= slot {
            self.nodes.resize(slot + 1, None);
        }
        let list = &mut self.lists[kind as usize];
        let node = Node { at: now + list.lasts, kind, previous: list.last, next: NONE };
        list.last = slot as u32;
        match node.previous {
            NONE => list.first = slot as u32,
            previous => self.node(previous).next = slot as u32,
        }
        self.nodes[slot] = Some(node);
        self.armed += 1;
    }

    /// Takes the deadline of a slot away, if it has one.
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
        self.armed -= 1;
    }

    /// What the slot waits for.
    #[inline]
    pub fn armed(&self, slot: usize) -> Option<Deadline> {
        self.nodes.get(slot).copied().flatten().map(|node| node.kind)
    }

    /// How many deadlines are armed.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// No deadline is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// When the earliest deadline is due.
    pub fn next(&self) -> Option<Instant> {
        self.lists
            .iter()
            .filter_map(|list| self.nodes.get(list.first as usize)?.map(|n| n.at))
            .min()
    }

    /// Takes one deadline that is due at `now`.
    pub fn expired(&mut self, now: Instant) -> Option<(usize, Deadline)> {
        for kind in KINDS {
            let slot = self.lists[kind as usize].first as usize;
            if let Some(Some(node)) = self.nodes.get(slot)
                && node.at <= now
            {
                self.disarm(slot);
                return Some((slot, kind));
            }
        }
        None
    }

    fn node(&mut self, slot: u32) -> &mut Node {
        self.nodes[slot as usize].as_mut().expect("lists link armed slots only")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(kind: Deadline) -> Duration {
        Duration::from_secs(match kind {
            Deadline::Handshake => 10,
            Deadline::Ping | Deadline::Pong => 20,
            Deadline::Write => 19,
            Deadline::Close => 5,
            Deadline::Idle => 60,
        })
    }

    /// A deadline is due exactly when its time has come, whatever was armed or disarmed around it.
    #[test]
    fn agrees_with_a_plain_list() {
        let start = Instant::now();
        let mut timers = Timers::new(seconds);
        let mut plain: Vec<Option<(Instant, Deadline)>> = vec![None; 20];
        let mut random = 1u32;
        for step in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let now = start + Duration::from_millis(step * 40);
            let slot = (random >> 8) as usize % plain.len();
            match (random >> 24) % 7 {
                0 => {
                    timers.disarm(slot);
                    plain[slot] = None;
                }
                kind => {
                    let kind = KINDS[kind as usize - 1];
                    timers.arm(slot, kind, now);
                    plain[slot] = Some((now + seconds(kind), kind));
                }
            }
            assert_eq!(timers.next(), plain.iter().flatten().map(|entry| entry.0).min());
            assert_eq!(timers.len(), plain.iter().flatten().count());
            while let Some((slot, kind)) = timers.expired(now) {
                let (at, expected) = plain[slot].take().expect("it was armed");
                assert!(at <= now && kind == expected);
            }
            assert!(plain.iter().flatten().all(|entry| entry.0 > now));
        }
    }
}
