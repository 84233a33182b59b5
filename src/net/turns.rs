//! What one loop holds: its peers, their sockets and deadlines, and whose turn is next.
//!
//! ```text
//! peers      connection | connection |    -     | connection     slot by slot: the protocol,
//! sockets    socket     | socket     |    -     | socket         the system's end of it,
//! timers     Ping 20 s  | Pong 3 s   |    -     | Handshake 8 s  and what it waits for
//! queue      slots that have something to read or write
//! ```
//!
//! Three files act on it: `settle.rs` (what a turn leaves behind, and the end of a connection), `turn.rs` (one
//! peer's turn) and `pass.rs` (all that are due). None of them knows the readiness queue, and the time comes
//! from outside: a test can script the sockets and be in charge of the clock.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::SocketAddr;
use std::time::Instant;

use crate::config::ValidConfig;
use crate::dispatch::Dispatcher;
use crate::net::admission::Admission;
use crate::net::sockets::{Sockets, Stream};
use crate::net::timers::{Deadline, Timers};
use crate::observe::Observer;
use crate::peers::Peers;
use crate::protocol::connection::State;

/// The peers of one loop, and everything that serving them takes but the readiness queue.
///
/// A pass of a loop is: [`begin_pass`](Turns::begin_pass), [`note_readiness`](Turns::note_readiness) for
/// each socket that has news, [`add`](Turns::add) for each that is new, [`take_all`](Turns::take_all),
/// [`judge_deadlines`](Turns::judge_deadlines). [`Server`](crate::net::server::Server) does it with `mio`; tests
/// do it with scripted streams and a clock of their own.
pub struct Turns<D, S, O = ()> {
    pub(super) config: ValidConfig,
    pub(super) dispatcher: D,
    pub(super) peers: Peers,
    pub(super) sockets: Sockets<S, O>,
    pub(super) admission: Admission,
    pub(super) timers: Timers,
    /// Idle deadlines, beside what a connection waits for otherwise.
    pub(super) idle: Timers,
    /// Slots in their opening handshake, and where each connection comes from.
    pub(super) opening: HashMap<usize, SocketAddr>,
    /// Slots that have something to read or write, in the order in which they get their turn.
    pub(super) queue: VecDeque<usize>,
    /// The one buffer that everything is read into.
    pub(super) buffer: Box<[u8]>,
    /// The time of this pass.
    pub(super) now: Instant,
    /// A descriptor was closed since the loop last asked.
    pub(super) descriptor_freed: bool,
}

impl<D: Dispatcher, S: Stream, O: Observer> Turns<D, S, O> {
    /// Nobody is connected yet. `max_connections` is how many may be; the config's word for it may be
    /// "as many as fit".
    pub fn new(
        config: ValidConfig,
        max_connections: usize,
        dispatcher: D,
        observer: O,
        now: Instant,
    ) -> Turns<D, S, O> {
        let lasts = |kind| match kind {
            Deadline::Handshake => config.handshake_timeout,
            Deadline::Ping => config.ping_interval.unwrap_or_default(),
            Deadline::Pong => config.pong_timeout,
            Deadline::Write => config.write_timeout,
            Deadline::Close => config.close_timeout,
            Deadline::Idle => config.idle_timeout.unwrap_or_default(),
        };
        Turns {
            dispatcher,
            peers: Peers::new(config.clone()),
            sockets: Sockets::new(observer),
            admission: Admission::new(max_connections, config.max_per_address),
            timers: Timers::new(lasts),
            idle: Timers::new(lasts),
            opening: HashMap::new(),
            queue: VecDeque::new(),
            buffer: vec![0; config.read_buffer].into_boxed_slice(),
            now,
            descriptor_freed: false,
            config,
        }
    }

    // How it stands.

    /// The connections, to look at.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// How much there is of everything that has to be given back one day. Walks over all peers.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            timers: self.timers.len() + self.idle.len(),
            memberships: self.peers.memberships(),
            ..Snapshot::default()
        };
        for connection in self.peers.ids().filter_map(|id| self.peers.get(id)) {
            *match connection.state() {
                State::Connecting => &mut snapshot.connecting,
                State::Open => &mut snapshot.open,
                State::Closing => &mut snapshot.closing,
                State::Closed => &mut snapshot.closed,
            } += 1;
            snapshot.queued += connection.sender().queued();
        }
        snapshot
    }

    /// Some peer has its turn yet to come.
    pub fn are_due(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When the earliest deadline is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.idle.next()).min()
    }

    /// There is room for one more connection, if only to refuse it, and for one more opening handshake.
    pub fn may_add(&self) -> bool {
        self.admission.has_place() && self.opening.len() < self.config.max_handshakes
    }

    /// Whether a descriptor was closed since this was asked last.
    pub(crate) fn take_descriptor_freed(&mut self) -> bool {
        mem::take(&mut self.descriptor_freed)
    }

    pub(crate) fn observer(&mut self) -> &mut O {
        &mut self.sockets.observer
    }
}

/// How much there is of everything that a server has to give back one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections in their opening handshake.
    pub connecting: usize,
    /// Open connections.
    pub open: usize,
    /// Connections that were sent a Close and have not answered it.
    pub closing: usize,
    /// Connections whose WebSocket is over, or never was, and whose TCP has not ended.
    pub closed: usize,
    /// Memberships in groups, over all peers.
    pub memberships: usize,
    /// Deadlines that are armed.
    pub timers: usize,
    /// Bytes of output that wait for sockets.
    pub queued: usize,
}

impl Snapshot {
    /// Connections in any state.
    pub fn connections(&self) -> usize {
        self.connecting + self.open + self.closing + self.closed
    }
}
