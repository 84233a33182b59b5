//! The table of connections and the groups they are in.
//!
//! ```text
//! PeerId     | loop, 8 bits | slot, 24 bits | generation, 32 bits |
//!                              |               '-- must equal the slot's: a stale id finds nothing
//! slots      [ conn | free | conn | conn | ... ]
//!                 '-- memberships: (group, place in its member list), so that leaving takes no search
//! ```
//!
//! Rules of this file: no sockets and no clock; an id is never used twice; a group exists while it has
//! members; whoever queues output for a peer marks it, and the loop settles the marked peers once.

use std::collections::HashMap;
use std::fmt;
use std::mem;

use crate::config::ValidConfig;
use crate::protocol::connection::Connection;

/// Names one connection for as long as it lives; never given to another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u64);

impl PeerId {
    const SLOT_BITS: u32 = 24;

    /// Names no connection: who acts from outside of the loop.
    pub(crate) const NOBODY: PeerId = PeerId(u64::MAX);

    fn new(slot: usize, generation: u32) -> PeerId {
        PeerId((slot as u64) << 32 | u64::from(generation))
    }

    /// The place in the table; at most one living peer has it.
    #[inline]
    pub fn slot(self) -> usize {
        ((self.0 >> 32) & ((1 << PeerId::SLOT_BITS) - 1)) as usize
    }

    #[inline]
    fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PeerId({}.{})", self.slot(), self.generation())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.slot(), self.generation())
    }
}

/// Why a peer could not join a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The id names no living peer.
    NoSuchPeer,
    /// It is in as many groups as one peer may be.
    TooManyGroups,
    /// The name is longer than a group name may be.
    NameTooLong,
}

impl fmt::Display for JoinError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            JoinError::NoSuchPeer => "the peer is gone",
            JoinError::TooManyGroups => "the peer is in too many groups",
            JoinError::NameTooLong => "the name of the group is too long",
        })
    }
}

impl std::error::Error for JoinError {}

struct Slot {
    /// Goes up when a connection leaves, so that its id finds nothing from then on.
    generation: u32,
    /// Is in `Peers::marked`.
    marked: bool,
    connection: Option<Connection>,
    memberships: Vec<Membership>,
}

#[derive(Clone, Copy)]
struct Membership {
    group: u32,
    place: u32,
}

struct Group {
    name: Box<str>,
    members: Vec<PeerId>,
}

/// Names a group while it has members; found once, then walked without looking the name up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupId(u32);

/// The most bytes of empty output buffers that are kept for the next peer that needs one.
const MAX_SPARE: usize = 1 << 20;

/// All connections of one loop.
pub struct Peers {
    config: ValidConfig,
    slots: Vec<Slot>,
    free: Vec<usize>,
    groups: Vec<Group>,
    free_groups: Vec<u32>,
    by_name: HashMap<Box<str>, u32>,
    marked: Vec<PeerId>,
    spare: Vec<Vec<u8>>,
    /// Capacity of all buffers in `spare`.
    spare_bytes: usize,
}

impl Peers {
    /// An empty table.
    pub fn new(config: ValidConfig) -> Peers {
        Peers {
            config,
            slots: Vec::new(),
            free: Vec::new(),
            groups: Vec::new(),
            free_groups: Vec::new(),
            by_name: HashMap::new(),
            marked: Vec::new(),
            spare: Vec::new(),
            spare_bytes: 0,
        }
    }

    // Connections.

    /// Living connections.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// No connection lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a connection.
    ///
    /// # Panics
    ///
    /// The table is full: 16,777,216 connections.
    pub fn insert(&mut self, connection: Connection) -> PeerId {
        let slot = self.free.pop().unwrap_or_else(|| {
            assert!(self.slots.len() < 1 << PeerId::SLOT_BITS, "the table of peers is full");
            let memberships = Vec::new();
            self.slots.push(Slot { generation: 0, marked: false, connection: None, memberships });
            self.slots.len() - 1
        });
        self.slots[slot].connection = Some(connection);
        PeerId::new(slot, self.slots[slot].generation)
    }

    /// Takes a connection out, and out of its groups. Its id finds nothing from now on.
    pub fn remove(&mut self, id: PeerId) -> Option<Connection> {
        self.get(id)?;
        self.leave_all(id);
        let slot = &mut self.slots[id.slot()];
        let connection = slot.connection.take();
        slot.marked = false;
        // A slot whose generations are used up is never used again, rather than an id twice.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(id.slot());
        }
        connection
    }

    /// The connection of this id, if it lives.
    #[inline]
    pub fn get(&self, id: PeerId) -> Option<&Connection> {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.generation == id.generation());
        slot?.connection.as_ref()
    }

    /// The connection of this id, if it lives.
    #[inline]
    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation());
        slot?.connection.as_mut()
    }

    /// The id of the connection in a slot.
    #[inline]
    pub fn in_slot(&self, slot: usize) -> Option<PeerId> {
        let found = self.slots.get(slot)?;
        found.connection.as_ref().map(|_| PeerId::new(slot, found.generation))
    }

    /// The ids of all living connections.
    pub fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        (0..self.slots.len()).filter_map(|slot| self.in_slot(slot))
    }

    // Groups.

    /// Adds a peer to a group, which begins to exist if it must. True if it was not in it before.
    ///
    /// # Errors
    ///
    /// The peer is gone, is in too many groups, or the name is too long.
    pub fn join(&mut self, id: PeerId, name: &str) -> Result<bool, JoinError> {
        self.get(id).ok_or(JoinError::NoSuchPeer)?;
        if name.len() > self.config.max_group_name {
            return Err(JoinError::NameTooLong);
        }
        let memberships = &self.slots[id.slot()].memberships;
        if let Some(GroupId(group)) = self.group(name)
            && memberships.iter().any(|membership| membership.group == group)
        {
            return Ok(false);
        }
        if memberships.len() >= self.config.max_groups_per_peer {
            return Err(JoinError::TooManyGroups);
        }
        let group = self.group_or_new(name);
        let members = &mut self.groups[group as usize].members;
        self.slots[id.slot()].memberships.push(Membership { group, place: members.len() as u32 });
        members.push(id);
        Ok(true)
    }

    /// Takes a peer out of a group. True if it was in it.
    pub fn leave(&mut self, id: PeerId, name: &str) -> bool {
        let (Some(GroupId(group)), Some(_)) = (self.group(name), self.get(id)) else {
            return false;
        };
        let memberships = &mut self.slots[id.slot()].memberships;
        let Some(at) = memberships.iter().position(|membership| membership.group == group) else {
            return false;
        };
        let membership = memberships.swap_remove(at);
        self.take_from_group(membership);
        true
    }

    /// Takes a peer out of all its groups.
    pub fn leave_all(&mut self, id: PeerId) {
        if self.get(id).is_some() {
            for membership in mem::take(&mut self.slots[id.slot()].memberships) {
                self.take_from_group(membership);
            }
        }
    }

    /// The members of a group, in no particular order.
    pub fn members(&self, name: &str) -> &[PeerId] {
        self.group(name).map_or(&[], |GroupId(group)| &self.groups[group as usize].members)
    }

    /// Memberships of all peers together.
    pub fn memberships(&self) -> usize {
        self.groups.iter().map(|group| group.members.len()).sum()
    }

    /// The group of this name, if it has members.
    #[inline]
    pub(crate) fn group(&self, name: &str) -> Option<GroupId> {
        self.by_name.get(name).copied().map(GroupId)
    }

    /// The `place`-th member of a group.
    #[inline]
    pub(crate) fn member(&self, GroupId(group): GroupId, place: usize) -> Option<PeerId> {
        self.groups[group as usize].members.get(place).copied()
    }

    fn group_or_new(&mut self, name: &str) -> u32 {
        if let Some(&group) = self.by_name.get(name) {
            return group;
        }
        let group = self.free_groups.pop().unwrap_or_else(|| {
            self.groups.push(Group { name: "".into(), members: Vec::new() });
            self.groups.len() as u32 - 1
        });
        self.groups[group as usize].name = name.into();
        self.by_name.insert(name.into(), group);
        group
    }

    /// The last member takes the place that becomes free; a group without members ceases to exist.
    fn take_from_group(&mut self, Membership { group, place }: Membership) {
        let members = &mut self.groups[group as usize].members;
        members.swap_remove(place as usize);
        if let Some(moved) = members.get(place as usize) {
            let memberships = &mut self.slots[moved.slot()].memberships;
            let its = memberships.iter_mut().find(|membership| membership.group == group);
            its.expect("a member knows its group").place = place;
        }
        if members.is_empty() {
            *members = Vec::new();
            let name = mem::take(&mut self.groups[group as usize].name);
            self.by_name.remove(&name);
            self.free_groups.push(group);
        }
    }

    // What the loop has to look at.

    /// Notes that this peer has output or an end that the loop has to see to.
    #[inline]
    pub(crate) fn mark(&mut self, id: PeerId) {
        if self.get(id).is_some() && !mem::replace(&mut self.slots[id.slot()].marked, true) {
            self.marked.push(id);
        }
    }

    /// Whether the loop will look at this peer anyway.
    #[inline]
    pub(crate) fn is_marked(&self, id: PeerId) -> bool {
        self.get(id).is_some() && self.slots[id.slot()].marked
    }

    /// The next marked peer, unmarked; ids of peers that are gone may be among them.
    #[inline]
    pub(crate) fn take_marked(&mut self) -> Option<PeerId> {
        let id = self.marked.pop()?;
        if self.get(id).is_some() {
            self.slots[id.slot()].marked = false;
        }
        Some(id)
    }

    // Output buffers, which belong to the loop and not to idle peers.

    /// The connection of this id, if it lives, with a buffer for its sender if a spare one is there.
    #[inline]
    pub(crate) fn with_buffer(&mut self, id: PeerId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation());
        let connection = slot?.connection.as_mut()?;
        if connection.sender().wants_buffer()
            && let Some(buffer) = self.spare.pop()
        {
            self.spare_bytes -= buffer.capacity();
            connection.sender_mut().lend(buffer);
        }
        Some(connection)
    }

    /// Keeps what a sender gave back once all of it was written.
    #[inline]
    pub(crate) fn keep_buffer(&mut self, buffer: Option<Vec<u8>>) {
        if let Some(buffer) = buffer
            && self.spare_bytes + buffer.capacity() <= MAX_SPARE
        {
            self.spare_bytes += buffer.capacity();
            self.spare.push(buffer);
        }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Peers")
            .field("connections", &self.len())
            .field("groups", &self.by_name.len())
            .field("memberships", &self.memberships())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn table() -> (Peers, ValidConfig) {
        let config = Config { max_groups_per_peer: 2, max_group_name: 4, ..Config::default() };
        let config = config.validate().expect("valid");
        (Peers::new(config.clone()), config)
    }

    #[test]
    fn a_stale_id_finds_nothing() {
        let (mut peers, config) = table();
        let first = peers.insert(Connection::server(config.clone()));
        peers.join(first, "a").expect("joins");
        assert!(peers.remove(first).is_some());
        let second = peers.insert(Connection::server(config));
        assert_eq!(first.slot(), second.slot());
        assert!(peers.get(first).is_none() && peers.remove(first).is_none());
        assert_eq!(peers.join(first, "a"), Err(JoinError::NoSuchPeer));
        assert!(!peers.leave(first, "a"));
        peers.mark(first);
        assert_eq!(peers.take_marked(), None);
        assert_eq!(peers.members("a"), []);
    }

    #[test]
    fn groups_have_their_limits() {
        let (mut peers, config) = table();
        let id = peers.insert(Connection::server(config));
        assert_eq!(peers.join(id, "12345"), Err(JoinError::NameTooLong));
        assert_eq!(peers.join(id, "a"), Ok(true));
        assert_eq!(peers.join(id, "a"), Ok(false));
        assert_eq!(peers.join(id, "b"), Ok(true));
        assert_eq!(peers.join(id, "c"), Err(JoinError::TooManyGroups));
        assert_eq!(peers.memberships(), 2);
        assert!(peers.leave(id, "a") && !peers.leave(id, "a"));
        assert_eq!(peers.join(id, "c"), Ok(true));
    }

    /// Members keep their place in the list whoever leaves before them, and an empty group is gone.
    #[test]
    fn leaving_keeps_every_other_membership() {
        let (mut peers, config) = table();
        let ids: Vec<PeerId> =
            (0..10).map(|_| peers.insert(Connection::server(config.clone()))).collect();
        for &id in &ids {
            peers.join(id, "a").expect("joins");
            peers.join(id, "b").expect("joins");
        }
        for (n, &id) in ids.iter().enumerate() {
            assert!(peers.leave(id, "a"));
            assert_eq!(peers.members("a").len(), 9 - n);
            assert!(!peers.members("a").contains(&id));
            assert!(ids[n + 1..].iter().all(|other| peers.members("a").contains(other)));
        }
        assert!(peers.group("a").is_none());
        ids.iter().for_each(|&id| drop(peers.remove(id)));
        assert_eq!((peers.memberships(), peers.len(), peers.by_name.len()), (0, 0, 0));
    }
}
