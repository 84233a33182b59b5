//! Everything that an [`Outbox`](crate::Outbox) acts on, besides the connection that has its turn.

use std::mem;

use crate::config::Limits;
use crate::flow::Flow;
use crate::groups::Groups;
use crate::peers::{PeerId, Peers};
use crate::protocol::connection::Connection;
use crate::protocol::encode::SharedCount;
use crate::protocol::message::Message;
use crate::protocol::output::{FLUSH_AT, Output};

/// The operations on sockets that sending needs. The event loop implements them.
pub(crate) trait Wire {
    /// Writes the queued output of a connection, as far as its socket accepts it.
    fn flush(&mut self, peer: PeerId, connection: &mut Connection);

    /// Writes a message without copying it, if no other output is queued. Queues the bytes that the socket does not
    /// accept. Returns false if the socket is broken, or if there is not enough memory for these bytes.
    fn write_through(
        &mut self,
        peer: PeerId,
        connection: &mut Connection,
        message: Message<'_>,
    ) -> bool;
}

/// Everything that an outbox acts on, besides the connection that has its turn.
pub(crate) struct Switchboard {
    pub(crate) peers: Peers,
    pub(crate) groups: Groups,
    pub(crate) flow: Flow,
    pub(crate) dirty: Dirty,
    pub(crate) pool: Pool,
    /// Bytes of frames that several outputs share.
    pub(crate) shared: SharedCount,
    /// How many more frames the current turn may process.
    pub(crate) budget: u32,
    /// Bytes that were queued for other peers than the sender since the dirty peers were last settled, including those
    /// that were written at once. A frame that several outputs share counts once.
    unsettled: usize,
    /// Recipients that became congested, for the event loop to watch.
    pub(crate) newly_congested: Vec<PeerId>,
}

impl Switchboard {
    pub(crate) fn new(limits: &Limits) -> Switchboard {
        Switchboard {
            peers: Peers::default(),
            groups: Groups::new(limits.max_groups_per_peer, limits.max_group_name),
            flow: Flow::default(),
            dirty: Dirty::default(),
            pool: Pool::default(),
            shared: SharedCount::default(),
            budget: 0,
            unsettled: 0,
            newly_congested: Vec::new(),
        }
    }

    /// Notes that `copied` bytes of output were queued for another peer than the one whose turn it is. If many bytes
    /// wait, the turn ends after the current message, so that the event loop can settle the recipients.
    #[inline]
    pub(crate) fn note_recipient(&mut self, to: PeerId, copied: usize, is_congested: bool) {
        self.dirty.mark(to);
        if is_congested && !self.groups.is_congested(to) {
            self.groups.set_congested(to, true);
            self.newly_congested.push(to);
        }
        self.note_unsettled(copied);
    }

    /// Counts bytes that were queued for other peers than the one whose turn it is: the copy of one recipient, or a frame
    /// that several recipients share.
    #[inline]
    pub(crate) fn note_unsettled(&mut self, bytes: usize) {
        self.unsettled += bytes;
        if self.has_much_unsettled() {
            self.budget = 0;
        }
    }

    /// Reports whether [`MAX_UNSETTLED`] is reached. The event loop then settles the dirty peers before the next turn. Until
    /// it does, more output for them is written at once, because one callback can send any number of messages.
    #[inline]
    pub(crate) fn has_much_unsettled(&self) -> bool {
        self.unsettled >= MAX_UNSETTLED
    }

    /// Notes that all dirty peers were settled.
    #[inline]
    pub(crate) fn all_settled(&mut self) {
        self.unsettled = 0;
    }
}

/// How many bytes may be queued for other peers before the dirty peers are settled. Without this limit, one turn of a
/// peer in a large group could copy its input as often as the group has members, before any of it is written.
const MAX_UNSETTLED: usize = 4 * 1024 * 1024;

/// The *dirty* peers: they have new output or are closing, so the event loop has to settle them.
#[derive(Default)]
pub(crate) struct Dirty {
    ids: Vec<PeerId>,
    /// Indexed by slot.
    is_marked: Vec<bool>,
}

impl Dirty {
    /// Marks a peer.
    #[inline]
    pub(crate) fn mark(&mut self, id: PeerId) {
        if self.is_marked.len() <= id.slot() {
            self.is_marked.resize(id.slot() + 1, false);
        }
        if !mem::replace(&mut self.is_marked[id.slot()], true) {
            self.ids.push(id);
        }
    }

    /// Reports whether the peer in a slot is marked.
    #[inline]
    pub(crate) fn is_marked(&self, slot: usize) -> bool {
        self.is_marked.get(slot).copied().unwrap_or(false)
    }

    /// Reports whether no peer is marked.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns a marked peer and unmarks it. The peer may no longer be connected.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<PeerId> {
        let id = self.ids.pop()?;
        self.is_marked[id.slot()] = false;
        Some(id)
    }
}

/// Empty output buffers, which the event loop owns and lends to one output after the other.
#[derive(Default)]
pub(crate) struct Pool {
    buffers: Vec<Vec<u8>>,
    /// The total capacity of the buffers.
    bytes: usize,
}

/// The most bytes that the pool keeps.
const MAX_POOL: usize = 512 * 1024;

/// The largest buffer that the pool keeps, in bytes. Larger ones are freed.
const MAX_POOLED: usize = 2 * FLUSH_AT;

impl Pool {
    /// Lends a buffer to an output that needs one, if the pool has one.
    #[inline]
    pub(crate) fn lend(&mut self, output: &mut Output) {
        if output.wants_buffer()
            && let Some(buffer) = self.buffers.pop()
        {
            self.bytes -= buffer.capacity();
            output.lend(buffer);
        }
    }

    /// Takes a buffer back from an output that is empty or has moved its bytes elsewhere.
    #[inline]
    pub(crate) fn reclaim(&mut self, output: &mut Output) {
        if let Some(buffer) = output.reclaim()
            && buffer.capacity() <= MAX_POOLED
            && self.bytes + buffer.capacity() <= MAX_POOL
        {
            self.bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }
}
