//! The ids of messages that were delivered in the last five minutes, so that a message which its client sends again is
//! delivered once.
//!
//! An id means something only together with its sender. Two clients may both count from 1, and neither may make the server
//! swallow a message of the other one.
//!
//! Each id comes with its receipt: where the message is in the history of its room.
//!
//! Rules of this file: the caller passes the time in; every lookup first forgets what is too old; each sender and all
//! senders together have a limit, beyond which the oldest ids are forgotten.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::serve::class::engine::Receipt;
use crate::serve::class::utterance::Sender;

/// For how many seconds an id is remembered.
const REMEMBERED_SECONDS: u64 = 300;

/// The maximum number of ids of one sender.
const MAX_IDS: usize = 1_024;

/// The maximum number of ids of all senders together.
const MAX_ALL_IDS: usize = 65_536;

/// The ids of delivered messages.
#[derive(Debug, Default)]
pub struct Delivered {
    /// The ids in the order in which they came, by a number that grows.
    entries: BTreeMap<u64, Entry>,
    next: u64,
    senders: HashMap<Sender, Ids>,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    sender: Sender,
    id: Rc<str>,
}

/// The ids of one sender, and their numbers from the oldest to the newest.
#[derive(Debug, Default)]
struct Ids {
    known: HashMap<Rc<str>, Receipt>,
    numbers: VecDeque<u64>,
}

impl Delivered {
    /// Returns the receipt of a message of this sender with this id, if it was delivered already.
    pub fn receipt(&mut self, sender: &Sender, id: &str, now: Instant) -> Option<Receipt> {
        self.forget_old(now);
        self.senders.get(sender)?.known.get(id).cloned()
    }

    /// Remembers a message that was delivered now, if there is no [`receipt`](Self::receipt) of it.
    pub fn insert(&mut self, sender: &Sender, id: &str, receipt: Receipt, now: Instant) {
        let ids = self.senders.entry(sender.clone()).or_default();
        let id: Rc<str> = id.into();
        ids.known.insert(Rc::clone(&id), receipt);
        ids.numbers.push_back(self.next);
        self.entries.insert(self.next, Entry { at: now, sender: sender.clone(), id });
        self.next += 1;
        let excess = if ids.numbers.len() > MAX_IDS { ids.numbers.front().copied() } else { None };
        if let Some(oldest) = excess {
            self.forget(oldest);
        }
        if self.entries.len() > MAX_ALL_IDS
            && let Some((&oldest, _)) = self.entries.first_key_value()
        {
            self.forget(oldest);
        }
    }

    /// Forgets all ids of a sender.
    pub fn forget_sender(&mut self, sender: &Sender) {
        for number in self.senders.remove(sender).into_iter().flat_map(|ids| ids.numbers) {
            self.entries.remove(&number);
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((&oldest, entry)) = self.entries.first_key_value()
            && now.duration_since(entry.at) >= Duration::from_secs(REMEMBERED_SECONDS)
        {
            self.forget(oldest);
        }
    }

    /// Forgets an id that is the oldest one of its sender.
    fn forget(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        let Some(ids) = self.senders.get_mut(&entry.sender) else { return };
        ids.known.remove(&entry.id);
        ids.numbers.pop_front();
        if ids.numbers.is_empty() {
            self.senders.remove(&entry.sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Delivered {
        fn has(&mut self, sender: &Sender, id: &str, now: Instant) -> bool {
            self.receipt(sender, id, now).is_some()
        }
    }

    fn client(name: &str) -> Sender {
        Sender::Client(name.into())
    }

    /// Everything that is remembered, counted in each place.
    fn sizes(delivered: &Delivered) -> [usize; 3] {
        let known = delivered.senders.values().map(|ids| ids.known.len()).sum();
        let numbers = delivered.senders.values().map(|ids| ids.numbers.len()).sum();
        [delivered.entries.len(), known, numbers]
    }

    #[test]
    fn an_id_is_remembered_for_five_minutes() {
        let (start, mut delivered) = (Instant::now(), Delivered::default());
        let after = |seconds| start + Duration::from_secs(seconds);
        delivered.insert(&client("ana"), "1", Receipt::default(), start);
        delivered.insert(&client("ana"), "2", Receipt::default(), after(10));
        assert!(delivered.has(&client("ana"), "1", after(299)));
        assert!(!delivered.has(&client("ana"), "1", after(300)));
        assert!(delivered.has(&client("ana"), "2", after(309)));
        assert!(!delivered.has(&client("ana"), "2", after(310)));
        assert_eq!(sizes(&delivered), [0; 3]);
        assert!(delivered.senders.is_empty());
    }

    #[test]
    fn an_id_belongs_to_its_sender() {
        let (now, mut delivered) = (Instant::now(), Delivered::default());
        delivered.insert(&client("ana"), "1", Receipt::default(), now);
        assert!(!delivered.has(&client("bia"), "1", now));
        delivered.insert(&client("bia"), "1", Receipt::default(), now);
        delivered.forget_sender(&client("ana"));
        assert!(!delivered.has(&client("ana"), "1", now));
        assert!(delivered.has(&client("bia"), "1", now));
        assert_eq!(sizes(&delivered), [1; 3]);
    }

    #[test]
    fn a_sender_keeps_so_many_ids_and_no_more() {
        let (now, mut delivered) = (Instant::now(), Delivered::default());
        delivered.insert(&client("bia"), "1", Receipt::default(), now);
        for n in 0..=MAX_IDS {
            delivered.insert(&client("ana"), &n.to_string(), Receipt::default(), now);
        }
        assert!(!delivered.has(&client("ana"), "0", now));
        assert!(delivered.has(&client("ana"), "1", now));
        assert!(delivered.has(&client("ana"), &MAX_IDS.to_string(), now));
        assert!(delivered.has(&client("bia"), "1", now));
        assert_eq!(sizes(&delivered), [MAX_IDS + 1; 3]);
    }

    #[test]
    fn all_senders_together_keep_so_many_ids_and_no_more() {
        let (now, mut delivered) = (Instant::now(), Delivered::default());
        for n in 0..MAX_ALL_IDS + 10 {
            delivered.insert(
                &client(&format!("{}", n / 2)),
                &n.to_string(),
                Receipt::default(),
                now,
            );
        }
        assert_eq!(sizes(&delivered), [MAX_ALL_IDS; 3]);
        assert_eq!(delivered.senders.len(), MAX_ALL_IDS / 2);
        assert!(!delivered.has(&client("4"), "9", now));
        assert!(delivered.has(&client("5"), "10", now));
    }
}
