//! The event loop, without the polling: the state of one loop, and the steps of a pass.
//!
//! ```text
//! peers      connection | connection |    -     | connection     one column per slot: protocol,
//! sockets    socket     | socket     |    -     | socket         file descriptor,
//! timers     Ping 20 s  | Pong 3 s   |    -     | Handshake 8 s  and deadline
//! queue      the slots that have something to read or write
//!
//! pass: begin_pass ──> note_readiness, for each ready socket ──> add, for each new connection
//!                  ──> take_turns, one for each queued peer ──> expire_deadlines
//! ```
//!
//! A *pass* is one round of the loop. A *turn* (`turn.rs`) is what one peer gets in a pass: one read, and the work that
//! follows from it. To *settle* a connection (`settle.rs`) is to write its output and to arm its next deadline.
//!
//! Rules of this file: It uses no polling library and reads no clock. The caller passes in readiness and the time.
//! `server.rs` drives it with `mio`, and tests and fuzz targets drive it with scripts, so no test has to wait for a
//! deadline.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::config::ValidConfig;
use crate::dispatcher::Application;
use crate::net::admission::Admission;
use crate::net::link::Socket;
use crate::net::process;
use crate::net::read_buffer::ReadBuffer;
use crate::net::sockets::{PeerSocket, Sockets};
use crate::net::timers::{Deadline, Timers};
use crate::net::transport::{Readiness, Transport};
use crate::observe::{Notice, Observer};
use crate::outbox::{Outbox, is_held_back};
use crate::peers::PeerId;
use crate::protocol::close::CloseCode;
use crate::protocol::connection::{Connection, State};
use crate::protocol::refusal::Rule;
use crate::protocol::violation::Violation;
use crate::switchboard::Switchboard;

/// How many of the oldest handshakes are compared when one of them has to give its place to a new connection.
const OLDEST: usize = 64;

/// The slots of the peers that have something to read or write, in the order of their turns.
#[derive(Default)]
pub(super) struct Queue {
    slots: VecDeque<usize>,
    is_queued: Vec<bool>,
}

impl Queue {
    /// Appends a slot, unless it is queued already.
    #[inline]
    pub(super) fn push(&mut self, slot: usize) {
        if self.is_queued.len() <= slot {
            self.is_queued.resize(slot + 1, false);
        }
        if !mem::replace(&mut self.is_queued[slot], true) {
            self.slots.push_back(slot);
        }
    }

    /// Removes and returns the first slot.
    #[inline]
    fn next(&mut self) -> Option<usize> {
        let slot = self.slots.pop_front()?;
        self.is_queued[slot] = false;
        Some(slot)
    }

    /// Reports whether a slot is queued.
    fn contains(&self, slot: usize) -> bool {
        self.is_queued.get(slot).copied().unwrap_or(false)
    }
}

/// The memory that all connections hold together, and its limit. Both are in bytes.
pub(super) struct Memory {
    pub(super) limit: usize,
    /// Capacity of the buffers that belong to one connection each.
    owned: usize,
}

impl Memory {
    /// Records that the memory of a connection changed from `before` to `now` bytes.
    #[inline]
    pub(super) fn note(&mut self, before: usize, now: usize) {
        self.owned = self.owned - before + now;
    }
}

/// A connection whose opening handshake is in progress or whose next plain request is awaited.
pub(super) struct Opening {
    /// The address of the other side of the TCP connection.
    pub(super) from: SocketAddr,
    /// The address that the connection counts as.
    counted_as: IpAddr,
}

/// The peers of one event loop, and everything needed to serve them, except polling and accepting.
pub struct EventLoop<A, S, T: Transport, O = ()> {
    pub(super) config: ValidConfig,
    pub(super) application: A,
    transport: T,
    pub(super) board: Switchboard,
    pub(super) sockets: Sockets<S, T::Stream, O>,
    pub(super) admission: Admission,
    pub(super) memory: Memory,
    pub(super) queue: Queue,
    pub(super) timers: Timers,
    /// Idle deadlines. A connection may have one in addition to its deadline in `timers`.
    pub(super) idle: Timers,
    /// Congestion deadlines, likewise in addition to those in `timers`.
    pub(super) congestion: Timers,
    /// The slots whose opening handshake is in progress or whose next plain request is awaited.
    pub(super) opening: HashMap<usize, Opening>,
    pub(super) buffer: ReadBuffer,
    /// The time at which this pass began.
    pub(super) now: Instant,
    started: Instant,
    /// The second in which this pass began, counted from 1, and the time at which the next second begins.
    pub(super) second: (u32, Instant),
    /// A file descriptor was closed since the last call of `take_descriptor_freed`.
    pub(super) descriptor_freed: bool,
}

impl<A: Application, S: Socket, T: Transport, O: Observer> EventLoop<A, S, T, O> {
    /// Returns a loop without connections. `max_connections` is the limit if the config sets none.
    pub fn new(
        config: ValidConfig,
        max_connections: usize,
        application: A,
        transport: T,
        observer: O,
        now: Instant,
    ) -> EventLoop<A, S, T, O> {
        let timeouts = config.timeouts.clone();
        let lasts = |kind| match kind {
            Deadline::Handshake => timeouts.handshake,
            Deadline::KeepAlive => timeouts.keep_alive,
            Deadline::Ping => timeouts.ping_interval.unwrap_or_default(),
            Deadline::Pong => timeouts.pong,
            Deadline::Write => timeouts.write,
            Deadline::Close => timeouts.close,
            Deadline::Idle => timeouts.idle.unwrap_or_default(),
            Deadline::Congestion => timeouts.congestion,
        };
        let limits = &config.limits;
        EventLoop {
            application,
            transport,
            board: Switchboard::new(limits),
            sockets: Sockets::new(observer),
            admission: Admission::new(
                limits.max_connections.unwrap_or(max_connections),
                limits.max_per_address,
            ),
            memory: Memory {
                limit: limits.max_memory.unwrap_or(process::DEFAULT_MEMORY),
                owned: 0,
            },
            queue: Queue::default(),
            timers: Timers::new(lasts),
            idle: Timers::new(lasts),
            congestion: Timers::new(lasts),
            opening: HashMap::new(),
            buffer: ReadBuffer::new(limits.read_buffer),
            now,
            started: now,
            second: (1, now + Duration::from_secs(1)),
            descriptor_freed: false,
            config,
        }
    }

    /// Replaces the transport and the observer of a loop without connections.
    pub(crate) fn rebuild<T2: Transport, O2: Observer>(
        self,
        transport: impl FnOnce(T) -> T2,
        observer: impl FnOnce(O) -> O2,
    ) -> EventLoop<A, S, T2, O2> {
        EventLoop::new(
            self.config,
            process::max_connections(),
            self.application,
            transport(self.transport),
            observer(self.sockets.observer),
            self.now,
        )
    }

    // State.

    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.board.peers.len()
    }

    /// Reports whether a connection still exists.
    pub fn contains(&self, id: PeerId) -> bool {
        self.board.peers.contains(id)
    }

    /// Returns the resources that the connections hold at this moment. Visits every peer.
    pub fn snapshot(&self) -> Snapshot {
        let Switchboard { peers, groups, flow, .. } = &self.board;
        let mut snapshot = Snapshot {
            timers: self.timers.len() + self.idle.len() + self.congestion.len(),
            memberships: groups.memberships(),
            held: self.total_memory(),
            paused: flow.len(),
            ..Snapshot::default()
        };
        for connection in peers.ids().filter_map(|id| peers.get(id)) {
            *match connection.state() {
                State::Connecting | State::AwaitingDecision => &mut snapshot.connecting,
                State::Open => &mut snapshot.open,
                State::Closing => &mut snapshot.closing,
                State::Closed => &mut snapshot.closed,
            } += 1;
            snapshot.queued += connection.output().queued();
        }
        snapshot
    }

    /// Returns how many bytes all connections hold. A frame that several of them share counts once.
    #[inline]
    pub(super) fn total_memory(&self) -> usize {
        self.memory.owned + self.board.shared.bytes()
    }

    /// Returns the memory limit of all connections together, in bytes.
    pub fn max_memory(&self) -> usize {
        self.memory.limit
    }

    /// Reports whether a peer is queued for a turn.
    pub fn has_turns(&self) -> bool {
        !self.queue.slots.is_empty()
    }

    /// Returns the time of the next deadline or of the end of the next timed pause, whichever comes first.
    pub fn next_deadline(&self) -> Option<Instant> {
        let timers = [&self.timers, &self.idle, &self.congestion];
        timers.into_iter().filter_map(Timers::next).chain(self.board.flow.next()).min()
    }

    /// Reports whether a file descriptor was closed since the last call.
    pub(crate) fn take_descriptor_freed(&mut self) -> bool {
        mem::take(&mut self.descriptor_freed)
    }

    pub(crate) fn observer(&mut self) -> &mut O {
        &mut self.sockets.observer
    }

    // The steps of a pass.

    /// Begins a pass at the given time.
    pub fn begin_pass(&mut self, now: Instant) {
        self.now = now;
        if now >= self.second.1 {
            let number = now.saturating_duration_since(self.started).as_secs() + 1;
            self.second = (number as u32, self.started + Duration::from_secs(number));
        }
    }

    /// Reserves an id for a connection that was just accepted. The slot of the id is the token for its readiness.
    pub fn reserve(&mut self) -> PeerId {
        self.board.peers.insert(Connection::server(self.config.clone()))
    }

    /// Releases a reserved id that is not needed.
    pub(crate) fn release(&mut self, id: PeerId) {
        self.board.peers.remove(id);
    }

    /// Adds an accepted connection, or refuses it if it exceeds a limit.
    pub fn add(&mut self, id: PeerId, socket: S, address: SocketAddr) {
        let counted_as = self.counted_as(address);
        if let Some(rule) = self.admission.exceeded(counted_as) {
            self.close_idle(|other| rule == Rule::TooManyConnections || other == counted_as);
        }
        let refused = self.admission.enter(id, counted_as);
        let read_size = self.config.limits.read_buffer as u32;
        let mut socket = PeerSocket::new(socket, self.transport.accept(), read_size);
        socket.is_excess = refused.is_some();
        self.sockets.insert(id, socket);
        self.sockets.observer.notice(Some(id), &Notice::Connected(address));
        if let Some(rule) = refused {
            self.refuse(id, rule);
            if let Some(oldest) = self.admission.replaced() {
                self.abandon(oldest);
            }
            return;
        }
        self.opening.insert(id.slot(), Opening { from: address, counted_as });
        self.timers.arm(id.slot(), Deadline::Handshake, self.now);
        self.note_opening();
        if self.opening.len() > self.config.limits.max_handshakes
            && !self.close_idle(|_| true)
            && let Some(slot) = self.handshake_to_replace(id.slot())
            && let Some(oldest) = self.board.peers.in_slot(slot)
        {
            self.abandon(oldest);
        }
    }

    /// Returns the address that the application counts a connection from `from` as.
    fn counted_as(&mut self, from: SocketAddr) -> IpAddr {
        let application = &mut self.application;
        let counted_as = catch_unwind(AssertUnwindSafe(|| application.counted_as(from)));
        counted_as.unwrap_or(from.ip()).to_canonical()
    }

    /// Closes one of the oldest connections that wait for another plain request, of an address that `is_wanted` accepts.
    /// Returns false if there is none. Its client has received every response and sends its next request on a new
    /// connection (RFC 9112 9.5).
    fn close_idle(&mut self, is_wanted: impl Fn(IpAddr) -> bool) -> bool {
        let is_idle = |slot: &usize| {
            let opening = self.opening.get(slot);
            opening.is_some_and(|opening| is_wanted(opening.counted_as)) && self.is_idle_kept(*slot)
        };
        let slot = self.timers.in_order(Deadline::KeepAlive).take(OLDEST).find(is_idle);
        let Some(id) = slot.and_then(|slot| self.board.peers.in_slot(slot)) else { return false };
        self.abandon(id);
        true
    }

    /// Reports whether a connection waits for another plain request, has no output left, and has nothing to read.
    fn is_idle_kept(&self, slot: usize) -> bool {
        let Some(id) = self.board.peers.in_slot(slot) else { return false };
        let is_quiet = self.sockets.look(id).is_some_and(|socket| {
            socket.unprocessed.is_empty()
                && !socket.link.is_readable()
                && !socket.link.wants_write()
        });
        is_quiet
            && self.board.peers.get(id).is_some_and(|connection| {
                connection.is_between_requests() && connection.output().is_empty()
            })
    }

    /// Returns the slot of the handshake that gives its place to the connection in slot `new`. Among the oldest handshakes, it
    /// is the oldest one of the address that has the most of them, so that one address cannot displace all others.
    fn handshake_to_replace(&self, new: usize) -> Option<usize> {
        // For each address, its oldest handshake and how many it has.
        let mut addresses: Vec<(IpAddr, usize, usize)> = Vec::new();
        let kept = self.timers.in_order(Deadline::KeepAlive);
        let handshakes = self.timers.in_order(Deadline::Handshake);
        let others = handshakes.chain(kept).filter(|&slot| slot != new);
        for slot in others.take(OLDEST) {
            let Some(&Opening { counted_as, .. }) = self.opening.get(&slot) else { continue };
            match addresses.iter_mut().find(|(address, ..)| *address == counted_as) {
                Some((.., count)) => *count += 1,
                None => addresses.push((counted_as, slot, 1)),
            }
        }
        // `max_by_key` returns the last one of several with the same count, and the oldest is wanted.
        let most = addresses.iter().rev().max_by_key(|&&(.., count)| count);
        most.map(|&(_, slot, _)| slot)
    }

    /// Shortens the handshake deadline to a quarter while more than half of `max_handshakes` are in progress. Connections
    /// that wait for another plain request do not count, because they give way to new ones.
    pub(super) fn note_opening(&mut self) {
        let lasts = self.config.timeouts.handshake;
        let kept = self.timers.count(Deadline::KeepAlive);
        let in_progress = self.opening.len().saturating_sub(kept);
        let is_crowded = in_progress > self.config.limits.max_handshakes / 2;
        self.timers.shorten(Deadline::Handshake, if is_crowded { lasts / 4 } else { lasts });
    }

    /// Records the readiness of a socket, and queues its peer for a turn.
    pub fn note_readiness(&mut self, slot: usize, now: Readiness) {
        let Some(socket) = self.sockets.in_slot(slot) else { return };
        socket.note(now);
        self.queue.push(slot);
    }

    /// Gives each queued peer one turn. A peer that has more to read is queued again.
    pub fn take_turns(&mut self) {
        for _ in 0..self.queue.slots.len() {
            if let Some(slot) = self.queue.next() {
                self.turn(slot);
                // Settling also enforces the memory limit.
                if self.board.has_much_unsettled() || self.exceeds_memory() {
                    self.settle_dirty();
                }
            }
        }
        self.settle_dirty();
    }

    /// Acts on every deadline that has passed, and ends every timed pause that is over.
    pub fn expire_deadlines(&mut self) {
        while let Some((slot, deadline)) = self.timers.expired(self.now) {
            let Some(id) = self.board.peers.in_slot(slot) else { continue };
            match deadline {
                Deadline::Ping => self.ping(id),
                Deadline::Pong => self.pong_is_late(id),
                Deadline::KeepAlive if !self.owes_response(id) => self.end_requests(id),
                _ => self.abandon(id),
            }
        }
        while let Some((slot, _)) = self.idle.expired(self.now) {
            if let Some(id) = self.board.peers.in_slot(slot) {
                self.is_idle(id);
            }
        }
        while let Some((slot, _)) = self.congestion.expired(self.now) {
            if let Some(id) = self.board.peers.in_slot(slot) {
                self.stays_congested(id);
            }
        }
        while let Some(peer) = self.board.flow.expired(self.now) {
            self.send_delayed(peer);
            self.queue.push(peer.slot());
        }
        self.settle_dirty();
    }

    /// Sends the response that was delayed for a peer, if there is one.
    fn send_delayed(&mut self, id: PeerId) {
        if let Some(connection) = self.board.peers.get_mut(id)
            && connection.delay().is_some()
        {
            connection.release();
            self.settle_peer(id);
        }
    }

    // Commands.

    /// Calls `action` on behalf of another thread, and then writes the output that it queued. Returns `None` if
    /// `action` panics, which affects no peer.
    pub fn act<R>(&mut self, action: impl FnOnce(&mut A, &mut Outbox<'_>) -> R) -> Option<R> {
        let mut outbox = Outbox::from_outside(&mut self.board, &mut self.sockets);
        let application = &mut self.application;
        let result = catch_unwind(AssertUnwindSafe(|| action(application, &mut outbox)));
        self.settle_dirty();
        result.ok()
    }

    /// Starts to close every connection. An open connection gets a Close with 1001 (§7.4.1), and its peer has the
    /// [close time-out](crate::config::Timeouts::close) to respond. A connection in its opening handshake is closed at
    /// once, and its response is not sent if it is delayed. A connection that waits for another plain request is closed
    /// after the responses so far have been written.
    pub fn close_all(&mut self) {
        for id in self.board.peers.ids().collect::<Vec<_>>() {
            match self.board.peers.get(id).map(Connection::state) {
                Some(State::Connecting) if self.owes_response(id) => self.end_requests(id),
                Some(State::Connecting | State::AwaitingDecision) => self.abandon(id),
                Some(State::Open) => self.close(id, "the server stops"),
                _ => {}
            }
        }
        self.settle_dirty();
    }

    /// Reports whether the socket has not accepted all responses to plain requests.
    fn owes_response(&self, id: PeerId) -> bool {
        self.board.peers.get(id).is_some_and(|connection| connection.output().queued() > 0)
    }

    /// Closes a connection that is not kept for another plain request any longer. What it owes is still written.
    fn end_requests(&mut self, id: PeerId) {
        if let Some(connection) = self.board.peers.get_mut(id) {
            connection.end_requests();
            self.settle_peer(id);
        }
    }

    /// Closes all connections that are left, at once and without a closing handshake.
    pub fn abandon_all(&mut self) {
        for id in self.board.peers.ids().collect::<Vec<_>>() {
            self.abandon(id);
        }
        self.settle_dirty();
    }

    /// Starts the closing handshake with 1001, because the server stops or the peer was idle for too long.
    fn close(&mut self, id: PeerId, reason: &str) {
        if let Some(connection) = self.board.peers.get_mut(id) {
            connection.close(CloseCode::GOING_AWAY, reason).expect("a valid code and reason");
            self.settle_peer(id);
        }
    }

    // Deadlines of open connections.

    fn ping(&mut self, id: PeerId) {
        let (Some(socket), Some(connection)) = (self.sockets.get(id), self.board.peers.get_mut(id))
        else {
            return;
        };
        socket.heard = false;
        connection.output_mut().ping(b"");
        self.timers.arm(id.slot(), Deadline::Pong, self.now);
        self.settle_peer(id);
        if let Some(socket) = self.sockets.get(id) {
            socket.in_flight.note_ping();
        }
    }

    /// Fails the connection of a peer whose pong is late, or gives it more time. A peer cannot send a pong in the
    /// middle of a long frame, and its pong may be in bytes that are not processed yet. In both cases it gets more time
    /// as long as bytes arrive. A peer that the server does not read always gets more time, and another ping, which shows it
    /// that the server is there.
    ///
    /// The ping may also still be on its way, behind output that the kernel has accepted. Nobody can see how much of it the
    /// peer has taken, so the peer gets as much time as it needs if it is slow. See [`InFlight`](crate::net::sockets::InFlight).
    fn pong_is_late(&mut self, id: PeerId) {
        if self.is_left_unread(id) {
            return self.ping(id);
        }
        let (Some(socket), Some(connection)) = (self.sockets.get(id), self.board.peers.get_mut(id))
        else {
            return;
        };
        let waits = connection.is_mid_frame()
            || !socket.unprocessed.is_empty()
            || self.queue.contains(id.slot());
        let delays_ping = socket.in_flight.pass(self.config.timeouts.pong);
        if (mem::take(&mut socket.heard) && waits) || delays_ping {
            self.timers.arm(id.slot(), Deadline::Pong, self.now);
        } else {
            connection.fail(Violation::PingUnanswered);
            self.settle_peer(id);
        }
    }

    /// Closes the connection of a peer that has been idle for too long, or gives it more time if the server does not read
    /// it or has not processed what it sent.
    fn is_idle(&mut self, id: PeerId) {
        let has_input = self.sockets.get(id).is_some_and(|socket| !socket.unprocessed.is_empty())
            || self.queue.contains(id.slot());
        if has_input || self.is_left_unread(id) {
            self.idle.arm(id.slot(), Deadline::Idle, self.now);
        } else {
            self.close(id, "idle for too long");
        }
    }

    /// Reports whether the server does not read from a peer, because the peer is paused or held back.
    fn is_left_unread(&self, id: PeerId) -> bool {
        self.board.flow.has_pause(id) || self.board.peers.get(id).is_some_and(is_held_back)
    }
}

/// The resources that the connections of a server hold, as [`Handle::snapshot`](crate::Handle::snapshot) returns them. A connection that closes releases its share of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections in their opening handshake, or between two plain requests.
    pub connecting: usize,
    /// Open connections.
    pub open: usize,
    /// Connections that have sent a Close and have not received one.
    pub closing: usize,
    /// Connections whose WebSocket is closed or was refused, and whose TCP connection is not closed yet.
    pub closed: usize,
    /// Memberships in groups, over all peers.
    pub memberships: usize,
    /// Armed deadlines.
    pub timers: usize,
    /// Peers whose reading is paused.
    pub paused: usize,
    /// Bytes of output that are not written yet.
    pub queued: usize,
    /// Bytes of memory that all connections hold: heads, partial messages, unprocessed input and output. A frame that
    /// is queued for several peers counts once.
    pub held: usize,
}

impl Snapshot {
    /// Returns the number of connections, in any state.
    pub fn connections(&self) -> usize {
        self.connecting + self.open + self.closing + self.closed
    }
}
