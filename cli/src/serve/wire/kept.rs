//! The events that are kept, so that a page that is opened later shows them, and a link leads back to a frame.
//!
//! Rules of this file: the number and the size of events are limited for each connection and for all together. The oldest
//! ones leave first, except opening handshakes, which stay for as long as their connection is kept. They take half of the room
//! at most; further ones leave like other events.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// The most events of one connection.
pub const MAX_LANE_EVENTS: usize = 256;

/// The most bytes of events of one connection.
pub const MAX_LANE_BYTES: usize = 128 * 1024;

/// The most bytes of all events.
pub const MAX_BYTES: usize = 8 << 20;

/// An event as JSON.
pub type Json = Arc<str>;

/// The events that are kept, by their numbers, which grow.
#[derive(Debug, Default)]
pub struct Kept {
    events: BTreeMap<u64, Event>,
    lanes: HashMap<u64, Lane>,
    bytes: usize,
    /// The bytes of handshakes among them.
    handshake_bytes: usize,
}

#[derive(Debug)]
struct Event {
    lane: u64,
    json: Json,
    is_handshake: bool,
}

/// The numbers of the events of one connection, other than its handshake.
#[derive(Debug, Default)]
struct Lane {
    events: VecDeque<u64>,
    handshake: Vec<u64>,
    bytes: usize,
}

impl Kept {
    /// Keeps an event. Its number is higher than all before.
    pub fn push(&mut self, number: u64, lane: u64, json: Json, is_handshake: bool) {
        let length = json.len();
        let of_lane = self.lanes.entry(lane).or_default();
        of_lane.bytes += length;
        self.bytes += length;
        // A connection has one request and one response that open a WebSocket.
        let is_handshake = is_handshake
            && of_lane.handshake.len() < 2
            && self.handshake_bytes + length <= MAX_BYTES / 2;
        if is_handshake {
            self.handshake_bytes += length;
            of_lane.handshake.push(number);
        } else {
            of_lane.events.push_back(number);
        }
        self.events.insert(number, Event { lane, json, is_handshake });
        while let Some(of_lane) = self.lanes.get(&lane)
            && (of_lane.events.len() > MAX_LANE_EVENTS || of_lane.bytes > MAX_LANE_BYTES)
            && let Some(&oldest) = of_lane.events.front()
        {
            self.remove(oldest);
        }
        while self.bytes > MAX_BYTES
            && let Some(oldest) = self.oldest()
        {
            self.remove(oldest);
        }
    }

    /// Returns the oldest event that is no handshake.
    fn oldest(&self) -> Option<u64> {
        let mut others = self.events.iter().filter(|(_, event)| !event.is_handshake);
        others.next().map(|(&number, _)| number)
    }

    fn remove(&mut self, number: u64) {
        let Some(event) = self.events.remove(&number) else { return };
        self.bytes -= event.json.len();
        if let Some(lane) = self.lanes.get_mut(&event.lane) {
            lane.bytes -= event.json.len();
            match lane.events.front() {
                Some(&first) if first == number => drop(lane.events.pop_front()),
                _ => lane.events.retain(|&other| other != number),
            }
        }
    }

    /// Forgets a connection.
    pub fn forget(&mut self, lane: u64) {
        let Some(lane) = self.lanes.remove(&lane) else { return };
        self.bytes -= lane.bytes;
        for number in lane.events.iter().chain(&lane.handshake) {
            let event = self.events.remove(number).filter(|event| event.is_handshake);
            self.handshake_bytes -= event.map_or(0, |event| event.json.len());
        }
    }

    /// Returns an event.
    pub fn get(&self, number: u64) -> Option<&Json> {
        self.events.get(&number).map(|event| &event.json)
    }

    /// Returns all events of a connection, in order.
    pub fn of_lane(&self, lane: u64) -> Vec<&Json> {
        let Some(lane) = self.lanes.get(&lane) else { return Vec::new() };
        let mut numbers: Vec<u64> = lane.events.iter().chain(&lane.handshake).copied().collect();
        numbers.sort_unstable();
        numbers.iter().filter_map(|&number| self.get(number)).collect()
    }

    /// Returns the newest events of all connections, in order: at most so many, with at most so many bytes.
    pub fn newest(&self, most: usize, mut bytes: usize) -> Vec<&Json> {
        let newest = self.events.values().rev().take(most).take_while(|event| {
            let fits = event.json.len() <= bytes;
            bytes = bytes.saturating_sub(event.json.len());
            fits
        });
        let mut newest: Vec<&Json> = newest.map(|event| &event.json).collect();
        newest.reverse();
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(length: usize) -> Json {
        "x".repeat(length).into()
    }

    fn sums(kept: &Kept) -> (usize, usize) {
        let lanes = kept.lanes.values().map(|lane| lane.bytes).sum();
        (kept.events.values().map(|event| event.json.len()).sum(), lanes)
    }

    #[test]
    fn a_connection_keeps_its_handshake_and_its_newest_events() {
        let mut kept = Kept::default();
        kept.push(1, 7, json(3), true);
        kept.push(2, 7, json(4), true);
        for number in 3..1_000 {
            kept.push(number, 7, json(10), false);
        }
        assert_eq!(kept.of_lane(7).len(), MAX_LANE_EVENTS + 2);
        assert!(kept.get(1).is_some() && kept.get(2).is_some() && kept.get(3).is_none());
        let first = 1_000 - MAX_LANE_EVENTS as u64;
        assert!(kept.get(first - 1).is_none() && kept.get(first).is_some());
        // Fewer if they are large, down to none besides the handshake.
        kept.push(1_000, 7, json(MAX_LANE_BYTES - 20), false);
        assert_eq!(kept.of_lane(7).len(), 2 + 1 + 1);
        kept.push(1_001, 7, json(MAX_LANE_BYTES + 1), false);
        assert_eq!(kept.of_lane(7).len(), 2);
        assert_eq!(sums(&kept), (7, 7));
        kept.forget(7);
        assert_eq!((kept.of_lane(7).len(), kept.bytes, kept.events.len()), (0, 0, 0));
    }

    #[test]
    fn all_together_have_a_limit() {
        let mut kept = Kept::default();
        let size = MAX_LANE_BYTES / 2;
        for lane in 0..500 {
            kept.push(lane * 2, lane, json(size), lane % 2 == 0);
            kept.push(lane * 2 + 1, lane, json(100), false);
            assert!(kept.bytes <= MAX_BYTES);
            assert_eq!(sums(&kept), (kept.bytes, kept.bytes));
        }
        // The first handshakes have filled their half. The newest events have the rest.
        assert_eq!(kept.handshake_bytes, MAX_BYTES / 2);
        assert!((0..63).all(|lane| kept.get(lane * 4).is_some()) && kept.get(1).is_none());
        assert!((995..1_000).all(|number| kept.get(number).is_some()));
        (0..500).for_each(|lane| kept.forget(lane));
        assert_eq!((kept.bytes, kept.handshake_bytes, kept.events.len()), (0, 0, 0));
    }

    #[test]
    fn the_newest_events_are_those_that_fit() {
        let mut kept = Kept::default();
        for number in 0..10 {
            kept.push(number, number % 3, number.to_string().repeat(10).into(), false);
        }
        let first = |most, bytes| -> String {
            let newest = kept.newest(most, bytes);
            newest.iter().filter_map(|json| json.chars().next()).collect()
        };
        assert_eq!(first(3, 1_000), "789");
        assert_eq!(first(100, 25), "89");
        assert_eq!(first(0, 1_000), "");
    }
}
