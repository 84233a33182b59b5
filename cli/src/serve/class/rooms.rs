//! The rooms: who is in each of them, and its last messages.
//!
//! A room is called as its first member spelled it. Names that collide with this one lead to the same room.
//!
//! Rules of this file: a room exists while it has members or keeps messages. Each room keeps a limited number of messages and of
//! bytes, and all rooms together a limited number of bytes: beyond it, the least recently used room loses its messages. The number of
//! rooms is limited: beyond it, the room goes that has been without members for the longest time.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use crate::serve::class::engine::{After, Mark, Recalled};
use crate::serve::class::names::Table;
use crate::serve::class::random;
use crate::serve::class::roster::MemberId;
use crate::serve::class::utterance::Utterance;

/// The room where everybody starts. It always exists.
pub const LOBBY: &str = "lobby";

/// The most rooms.
pub const MAX_ROOMS: usize = 10_000;

/// The most bytes of messages that one room keeps.
const MAX_ROOM_BYTES: usize = 1 << 20;

/// The most bytes of messages in one [`Recalled`], besides the first message.
const MAX_RECALLED_BYTES: usize = 512 << 10;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// The most messages of one room; 0 keeps nothing.
    pub messages: usize,
    /// The most bytes of messages of all rooms.
    pub bytes: usize,
}

/// All rooms.
#[derive(Debug)]
pub struct Rooms {
    keeping: Keeping,
    max_rooms: usize,
    rooms: HashMap<String, Room>,
    names: Table<String>,
    /// The rooms that keep messages, from the least recently used one.
    by_use: BTreeMap<u64, String>,
    /// The rooms without members, from the one that has had none for the longest time.
    idle: BTreeMap<u64, String>,
    /// The bytes of messages that all rooms keep.
    bytes: usize,
    /// Grows with each use.
    clock: u64,
}

#[derive(Debug)]
struct Room {
    members: BTreeSet<MemberId>,
    epoch: Rc<str>,
    /// The number of the last message.
    last: u64,
    kept: VecDeque<Rc<Utterance>>,
    bytes: usize,
    /// Its places in `by_use` and `idle`.
    used: u64,
    idle_since: u64,
}

impl Room {
    fn new() -> Room {
        let epoch = format!("{:016x}", random()).into();
        let (members, kept) = (BTreeSet::new(), VecDeque::new());
        Room { members, epoch, last: 0, kept, bytes: 0, used: 0, idle_since: 0 }
    }

    fn mark(&self) -> Mark {
        Mark { epoch: Rc::clone(&self.epoch), seq: self.last }
    }

    /// Forgets the oldest message. Returns the bytes that it took.
    fn forget_oldest(&mut self) -> usize {
        let bytes = self.kept.pop_front().map_or(0, |oldest| oldest.size());
        self.bytes -= bytes;
        bytes
    }
}

impl Rooms {
    /// Returns a class with nothing but the lobby.
    pub fn new(keeping: Keeping) -> Rooms {
        let (by_use, idle) = (BTreeMap::new(), BTreeMap::new());
        let (rooms, names) = (HashMap::new(), Table::default());
        let mut rooms =
            Rooms { keeping, max_rooms: MAX_ROOMS, rooms, names, by_use, idle, bytes: 0, clock: 0 };
        rooms.names.insert(LOBBY, LOBBY.to_owned());
        rooms.rooms.insert(LOBBY.to_owned(), Room::new());
        rooms
    }

    /// Returns the own name of the room that this name leads to, which is the same name for a new room.
    pub fn own_name(&self, name: &str) -> String {
        self.names.colliding(name).next().map_or(name, String::as_str).to_owned()
    }

    /// Adds a member to a room, which is given by its own name.
    ///
    /// # Errors
    ///
    /// The room would be new, and the most rooms have members already. The error is their number.
    pub fn enter(&mut self, room: &str, member: MemberId) -> Result<(), usize> {
        if !self.rooms.contains_key(room) {
            if self.rooms.len() >= self.max_rooms {
                let (_, oldest) = self.idle.pop_first().ok_or(self.rooms.len())?;
                self.remove(&oldest);
            }
            self.names.insert(room, room.to_owned());
            self.rooms.insert(room.to_owned(), Room::new());
        }
        let entered = self.rooms.get_mut(room).expect("it was added if it was not there");
        self.idle.remove(&entered.idle_since);
        entered.members.insert(member);
        Ok(())
    }

    /// Removes a member from a room. A room without members that keeps nothing goes as well.
    pub fn leave(&mut self, room: &str, member: MemberId) {
        let Some(left) = self.rooms.get_mut(room) else { return };
        left.members.remove(&member);
        if !left.members.is_empty() || room == LOBBY {
            return;
        }
        if left.kept.is_empty() {
            return self.remove(room);
        }
        self.clock += 1;
        left.idle_since = self.clock;
        self.idle.insert(self.clock, room.to_owned());
    }

    /// Returns the members of a room.
    pub fn members(&self, room: &str) -> impl Iterator<Item = MemberId> + '_ {
        self.rooms.get(room).into_iter().flat_map(|room| room.members.iter().copied())
    }

    /// Gives a message the next number of its room, and keeps it. Returns it with its place.
    pub fn keep(&mut self, mut utterance: Utterance) -> (Rc<Utterance>, Option<Mark>) {
        let name = utterance.room.clone().unwrap_or_default();
        let Some(room) = self.rooms.get_mut(&name) else { return (Rc::new(utterance), None) };
        room.last += 1;
        utterance.seq = Some(room.last);
        let (utterance, mark) = (Rc::new(utterance), room.mark());
        if self.keeping.messages == 0 {
            return (utterance, Some(mark));
        }
        let kept = utterance.kept();
        let size = kept.size();
        (room.bytes, self.bytes) = (room.bytes + size, self.bytes + size);
        room.kept.push_back(kept);
        while room.kept.len() > self.keeping.messages || room.bytes > MAX_ROOM_BYTES {
            self.bytes -= room.forget_oldest();
        }
        self.touch(&name);
        while self.bytes > self.keeping.bytes {
            self.forget_least_used();
        }
        (utterance, Some(mark))
    }

    /// Returns at most `limit` messages of a room: the first ones after a place, or the last ones of all.
    pub fn recall(&mut self, name: &str, after: Option<&After>, limit: usize) -> Recalled {
        self.touch(name);
        let nothing = Room::new();
        let room = self.rooms.get(name).unwrap_or(&nothing);
        let first = room.last + 1 - room.kept.len() as u64;
        let (start, has_gap) = match after {
            None => (room.last.saturating_sub(limit as u64) + 1, false),
            Some(After { epoch: Some(epoch), .. }) if **epoch != *room.epoch => (first, true),
            // Any number may come from a client, also the largest one.
            Some(After { seq, .. }) if *seq > room.last => (first, true),
            Some(After { seq, .. }) => (seq + 1, seq + 1 < first),
        };
        let start = if has_gap { first } else { start.max(first) };
        let (mut utterances, mut bytes) = (Vec::new(), 0);
        for utterance in room.kept.iter().skip((start - first) as usize).take(limit) {
            bytes += utterance.size();
            if bytes > MAX_RECALLED_BYTES && !utterances.is_empty() {
                break;
            }
            utterances.push(Rc::clone(utterance));
        }
        let is_cut = start + utterances.len() as u64 <= room.last;
        Recalled { room: name.to_owned(), utterances, is_cut, has_gap, last: room.mark() }
    }

    /// Makes a room the most recently used one, if it keeps messages.
    fn touch(&mut self, name: &str) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        self.by_use.remove(&room.used);
        if !room.kept.is_empty() {
            self.clock += 1;
            room.used = self.clock;
            self.by_use.insert(self.clock, name.to_owned());
        }
    }

    /// Forgets the messages of the least recently used room, and the room as well if it has no members.
    fn forget_least_used(&mut self) {
        let Some((_, name)) = self.by_use.pop_first() else { return };
        let Some(room) = self.rooms.get_mut(&name) else { return };
        self.bytes -= room.bytes;
        room.bytes = 0;
        room.kept = VecDeque::new();
        if room.members.is_empty() && name != LOBBY {
            self.remove(&name);
        }
    }

    fn remove(&mut self, name: &str) {
        let Some(room) = self.rooms.remove(name) else { return };
        self.names.remove(name);
        self.by_use.remove(&room.used);
        self.idle.remove(&room.idle_since);
        self.bytes -= room.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::class::roster::MemberIds;
    use crate::serve::class::utterance::{Author, Body, Sender};

    fn said(member: MemberId, room: &str, text: &str) -> Utterance {
        Utterance {
            seq: None,
            room: Some(room.to_owned()),
            from: None,
            to: None,
            at: String::new(),
            body: Body::Text(text.to_owned()),
            author: Author { member, sender: Sender::Member(member), id: None },
        }
    }

    /// Checks every sum, and that each room is where it has to be.
    fn check(rooms: &Rooms) {
        let bytes = |room: &Room| room.kept.iter().map(|kept| kept.size()).sum::<usize>();
        assert!(rooms.rooms.values().all(|room| room.bytes == bytes(room)));
        assert_eq!(rooms.bytes, rooms.rooms.values().map(bytes).sum::<usize>());
        assert!(rooms.bytes <= rooms.keeping.bytes);
        let keeping = rooms.rooms.values().filter(|room| !room.kept.is_empty()).count();
        assert_eq!(rooms.by_use.len(), keeping);
        let is_idle = |(name, room): &(&String, &Room)| *name != LOBBY && room.members.is_empty();
        assert_eq!(rooms.idle.len(), rooms.rooms.iter().filter(is_idle).count());
    }

    #[test]
    fn a_room_keeps_so_many_bytes_and_no_more() {
        let member = MemberIds::default().next();
        let mut rooms = Rooms::new(Keeping { messages: 1_000, bytes: 64 << 20 });
        rooms.enter("7a", member).expect("there is room");
        let text = "x".repeat(10_000);
        for seq in 1..=300 {
            let (_, mark) = rooms.keep(said(member, "7a", &text));
            assert_eq!(mark.map(|mark| mark.seq), Some(seq));
        }
        check(&rooms);
        let room = &rooms.rooms["7a"];
        assert!(room.bytes <= MAX_ROOM_BYTES && room.bytes > MAX_ROOM_BYTES - 20_000);
        // One answer is shorter, and says so.
        let recalled = rooms.recall("7a", None, 1_000);
        assert!(recalled.is_cut && !recalled.has_gap);
        let size: usize = recalled.utterances.iter().map(|said| said.size()).sum();
        assert!(size <= MAX_RECALLED_BYTES + 20_000);
    }

    #[test]
    fn the_least_recently_used_room_loses_its_messages() {
        let member = MemberIds::default().next();
        let size = said(member, "a", "x").size();
        let mut rooms = Rooms::new(Keeping { messages: 10, bytes: 3 * size });
        for room in ["a", "b", "c"] {
            rooms.enter(room, member).expect("there is room");
            rooms.keep(said(member, room, "x"));
        }
        rooms.leave("b", member);
        let before = rooms.recall("a", None, 10);
        check(&rooms);
        // b was used least recently, and has no members.
        rooms.keep(said(member, "c", "y"));
        check(&rooms);
        assert!(!rooms.rooms.contains_key("b"));
        // c is in use, and a has a member: its numbers go on.
        rooms.recall("c", None, 10);
        rooms.keep(said(member, "c", "z"));
        check(&rooms);
        let after = rooms.recall("a", Some(&After { seq: 0, epoch: None }), 10);
        assert!(after.utterances.is_empty() && after.has_gap);
        assert_eq!(after.last, before.last);
    }

    #[test]
    fn the_number_of_rooms_is_limited() {
        let mut ids = MemberIds::default();
        let (ana, bia) = (ids.next(), ids.next());
        let mut rooms = Rooms::new(Keeping { messages: 10, bytes: 1 << 20 });
        rooms.max_rooms = 3;
        rooms.enter("a", ana).expect("there is room");
        rooms.keep(said(ana, "a", "x"));
        rooms.enter("b", bia).expect("there is room");
        assert_eq!(rooms.enter("c", ana), Err(3));
        check(&rooms);
        // A room that only keeps messages makes room for another one, whose history begins anew.
        rooms.leave("a", ana);
        check(&rooms);
        rooms.enter("c", ana).expect("a has no members");
        check(&rooms);
        assert!(!rooms.rooms.contains_key("a"));
        // One that keeps nothing goes at once.
        rooms.leave("c", ana);
        check(&rooms);
        assert!(!rooms.rooms.contains_key("c"));
    }

    /// Colliding names lead to one room, also when it only keeps messages.
    #[test]
    fn a_room_keeps_its_name_as_long_as_its_messages() {
        let member = MemberIds::default().next();
        let mut rooms = Rooms::new(Keeping { messages: 10, bytes: 1 << 20 });
        rooms.enter("7a", member).expect("there is room");
        rooms.keep(said(member, "7a", "x"));
        rooms.leave("7a", member);
        assert_eq!(rooms.own_name("7A"), "7a");
        rooms.forget_least_used();
        assert_eq!(rooms.own_name("7A"), "7A");
        check(&rooms);
    }
}
