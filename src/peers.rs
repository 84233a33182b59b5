//! The table of connections.
//!
//! ```text
//! PeerId     | slot, 32 bits, 24 of them used | generation, 32 bits |
//!                  |                               '-- must equal the slot's: a stale id finds nothing
//! slots      [ connection | free | connection | taken out | ... ]
//!                                               '-- it has its turn
//! ```
//!
//! A *slot* is a place in the table, which is reused. Its *generation* counts the connections that it had before.
//!
//! Rules of this file: It uses no sockets and no clock. An id is never reused. During its turn a connection is taken
//! out of the table, but its id stays valid.

use std::fmt;

use crate::protocol::connection::Connection;

/// Identifies one connection, as [`Outbox::peer`](crate::Outbox::peer) returns it. An id is never reused for another
/// connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u64);

impl PeerId {
    const SLOT_BITS: u32 = 24;

    /// Identifies no connection. Stands for the sender of commands from other threads.
    pub(crate) const NOBODY: PeerId = PeerId(u64::MAX);

    fn new(slot: usize, generation: u32) -> PeerId {
        PeerId((slot as u64) << 32 | u64::from(generation))
    }

    /// Returns the index in the table of connections. At most one connection has it at a time.
    #[doc(hidden)]
    #[inline]
    pub fn slot(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline]
    fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PeerId({self})")
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.slot(), self.generation())
    }
}

struct Slot {
    /// Incremented when a connection is removed, which makes its id stale.
    generation: u32,
    /// Whether the slot belongs to a connection, in the table or taken out of it.
    is_used: bool,
    connection: Option<Box<Connection>>,
}

/// All connections of one event loop.
#[derive(Default)]
pub(crate) struct Peers {
    slots: Vec<Slot>,
    free: Vec<usize>,
    used: usize,
}

impl Peers {
    /// Returns the number of connections.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Adds a connection and returns its id.
    ///
    /// # Panics
    ///
    /// The table is full, with 16,777,216 slots.
    pub(crate) fn insert(&mut self, connection: Connection) -> PeerId {
        let slot = self.free.pop().unwrap_or_else(|| {
            assert!(self.slots.len() < 1 << PeerId::SLOT_BITS, "the table of peers is full");
            self.slots.push(Slot { generation: 0, is_used: false, connection: None });
            self.slots.len() - 1
        });
        let entry = &mut self.slots[slot];
        (entry.is_used, entry.connection) = (true, Some(Box::new(connection)));
        self.used += 1;
        PeerId::new(slot, entry.generation)
    }

    /// Removes a connection. Its id is stale from now on.
    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Box<Connection>> {
        let slot = self.slot_mut(id)?;
        let connection = slot.connection.take();
        slot.is_used = false;
        // A slot that has used up its generations is not freed, so that no id is reused.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(id.slot());
        }
        self.used -= 1;
        connection
    }

    /// Reports whether a connection exists, in the table or taken out of it.
    #[inline]
    pub(crate) fn contains(&self, id: PeerId) -> bool {
        let slot = self.slots.get(id.slot());
        slot.is_some_and(|slot| slot.is_used && slot.generation == id.generation())
    }

    /// Returns a connection, or `None` if the id is stale or the connection is taken out.
    #[inline]
    pub(crate) fn get(&self, id: PeerId) -> Option<&Connection> {
        let slot = self.slots.get(id.slot()).filter(|slot| slot.generation == id.generation());
        slot?.connection.as_deref()
    }

    /// Returns a connection, or `None` if the id is stale or the connection is taken out.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation());
        slot?.connection.as_deref_mut()
    }

    /// Returns the id of the connection in a slot.
    #[inline]
    pub(crate) fn in_slot(&self, slot: usize) -> Option<PeerId> {
        let entry = self.slots.get(slot).filter(|slot| slot.is_used)?;
        Some(PeerId::new(slot, entry.generation))
    }

    /// Returns the ids of all connections.
    pub(crate) fn ids(&self) -> impl Iterator<Item = PeerId> + '_ {
        (0..self.slots.len()).filter_map(|slot| self.in_slot(slot))
    }

    /// Takes the connection in a slot out of the table, for its turn.
    #[inline]
    pub(crate) fn take_slot(&mut self, slot: usize) -> Option<(PeerId, Box<Connection>)> {
        let entry = self.slots.get_mut(slot)?;
        Some((PeerId::new(slot, entry.generation), entry.connection.take()?))
    }

    /// Takes a connection out of the table.
    pub(crate) fn take(&mut self, id: PeerId) -> Option<Box<Connection>> {
        self.slot_mut(id)?.connection.take()
    }

    /// Puts back a connection that was taken out.
    #[inline]
    pub(crate) fn put_back(&mut self, id: PeerId, connection: Box<Connection>) {
        self.slots[id.slot()].connection = Some(connection);
    }

    fn slot_mut(&mut self, id: PeerId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.slot())?;
        (slot.is_used && slot.generation == id.generation()).then_some(slot)
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Peers").field("connections", &self.used).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn connection() -> Connection {
        Connection::server(Config::default().validate().expect("valid"))
    }

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut peers = Peers::default();
        let first = peers.insert(connection());
        assert!(peers.remove(first).is_some());
        let second = peers.insert(connection());
        assert_eq!(first.slot(), second.slot());
        assert!(peers.get(first).is_none() && peers.get_mut(first).is_none());
        assert!(!peers.contains(first) && peers.take(first).is_none());
        assert!(peers.remove(first).is_none());
        assert_eq!((peers.len(), peers.in_slot(first.slot())), (1, Some(second)));
    }

    /// A connection that is taken out keeps its id and its slot.
    #[test]
    fn a_connection_has_its_turn_outside_of_the_table() {
        let mut peers = Peers::default();
        let id = peers.insert(connection());
        let (same, own) = peers.take_slot(id.slot()).expect("it exists");
        assert_eq!(same, id);
        assert!(peers.contains(id) && peers.get(id).is_none());
        assert_ne!(peers.insert(connection()).slot(), id.slot());
        peers.put_back(id, own);
        assert!(peers.get(id).is_some());
        assert_eq!(peers.ids().count(), 2);
    }
}
