//! The thread that explains what the tap has queued, keeps it, and sends it to the viewers.
//!
//! ```text
//! event loop ── tap.rs ──> [ bounded queue ] ──> this thread ── drawing.rs ── kept.rs
//!      ^                                              │
//!      └── Handle::run: a batch of events every 50 ms, sent to each viewer that has room for it
//! ```
//!
//! Rules of this file: a viewer that does not keep up misses events, is told how many, and slows down neither the class nor others. Viewers get
//! nothing of other viewers.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use framewise::config::ValidConfig;
use framewise::observe::Direction;
use framewise::protocol::frame::Role;
use framewise::{Handle, Message as Payload, Outbox, PeerId};
use serde::Serialize;

use crate::clock;
use crate::serve::classroom::Classroom;
use crate::serve::events::json;
use crate::serve::wire::drawing::{Broken, Frame, Shown, Track};
use crate::serve::wire::kept::{Json, Kept};
use crate::serve::wire::tap::{Item, Load, Message, What};

/// How long events wait for more of them.
const BATCH_EVERY: Duration = Duration::from_millis(50);

/// A batch with so many bytes is sent at once.
const FULL_BATCH: usize = 32 * 1024;

/// The most bytes that wait for one viewer.
const MAX_WAITING: usize = 256 * 1024;

/// The most batches that wait for the event loop.
const MAX_BATCHES: usize = 8;

/// The most bytes of events that wait until the event loop has taken earlier batches.
const MAX_PENDING: usize = 256 * 1024;

/// The newest events that a new viewer gets, and their most bytes.
const HISTORY: usize = 100;
const HISTORY_BYTES: usize = 96 * 1024;

/// The most closed connections that are kept: those that asked for a WebSocket or broke a rule, and those that did neither.
const MAX_CLOSED: usize = 64;
const MAX_CLOSED_PLAIN: usize = 16;

/// The most messages to one connection that are expected and not written yet.
const MAX_EXPECTED: usize = 512;

/// The thread, before it starts.
pub struct Hub {
    pub items: Receiver<Item>,
    pub load: Arc<Load>,
    pub config: ValidConfig,
}

impl Hub {
    /// Starts the thread. It ends with the tap.
    ///
    /// # Errors
    ///
    /// The operating system has no thread left.
    pub fn start(self, handle: Handle<Classroom>) -> io::Result<()> {
        // As many bytes as may wait for a client that does not read, without the server closing it.
        let room = MAX_WAITING.min(self.config.limits.max_output / 2);
        let running = Running {
            config: self.config,
            sender: Sender { handle, room, batches: Arc::default() },
            lanes: HashMap::new(),
            kept: Kept::default(),
            closed: VecDeque::new(),
            closed_plain: VecDeque::new(),
            viewers: Vec::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            last: 0,
            not_shown: 0,
            started: clock::timestamp_millis(),
        };
        let (items, load) = (self.items, self.load);
        thread::Builder::new().name("wire".to_owned()).spawn(move || running.run(&items, &load))?;
        Ok(())
    }
}

/// A page that watches.
#[derive(Debug)]
struct Viewer {
    peer: PeerId,
    /// Events that it has missed and was not told of.
    missed: AtomicU64,
    is_gone: AtomicBool,
}

/// Sends to viewers, on the thread of the event loop.
struct Sender {
    handle: Handle<Classroom>,
    /// The most bytes that may wait for a viewer.
    room: usize,
    /// The batches that wait for the event loop.
    batches: Arc<AtomicUsize>,
}

/// The state of the thread.
struct Running {
    config: ValidConfig,
    sender: Sender,
    lanes: HashMap<PeerId, Lane>,
    kept: Kept,
    /// Closed connections that are kept, the oldest first.
    closed: VecDeque<LaneShown>,
    closed_plain: VecDeque<LaneShown>,
    viewers: Vec<Arc<Viewer>>,
    /// Events for all viewers.
    pending: Vec<Json>,
    pending_bytes: usize,
    /// The number of the last event.
    last: u64,
    not_shown: u64,
    /// When the server started.
    started: String,
}

/// A connection that is open.
struct Lane {
    shown: LaneShown,
    /// Viewers know of it.
    is_announced: bool,
    input: Track,
    output: Track,
    /// What the application has sent here: the digest of each message, and its cause.
    expected: VecDeque<(u64, Option<Message>)>,
}

/// A connection as the page lists it.
#[derive(Clone, Debug, Serialize)]
struct LaneShown {
    k: &'static str,
    /// Its number.
    c: u64,
    address: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// It has asked for a WebSocket, or broken a rule.
    ws: bool,
    open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
}

/// An event.
#[derive(Serialize)]
struct Event<'a> {
    id: u64,
    /// The number of its connection.
    c: u64,
    d: &'static str,
    us: u64,
    #[serde(flatten)]
    shown: &'a Shown,
}

/// News that concern the list of connections.
#[derive(Serialize)]
struct News {
    k: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    c: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
}

impl Running {
    fn run(mut self, items: &Receiver<Item>, load: &Load) {
        let mut flush_at: Option<Instant> = None;
        loop {
            let item = match flush_at {
                None => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => items.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match item {
                Ok(item) => {
                    load.taken(&item);
                    self.take(item);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = Instant::now();
            if flush_at.is_some_and(|at| at <= now) || self.pending_bytes >= FULL_BATCH {
                self.flush();
            }
            flush_at = match (self.pending.is_empty(), flush_at) {
                (true, _) => None,
                (false, Some(at)) if at > now => Some(at),
                (false, _) => Some(now + BATCH_EVERY),
            };
        }
    }

    fn take(&mut self, item: Item) {
        let Item { us, peer, what } = item;
        match what {
            What::Connected(number, address) => self.connected(peer, number, address),
            What::Bytes { direction, bytes, start } => {
                let Some(lane) = self.lanes.get_mut(&peer) else { return };
                let mut shown = Vec::new();
                if let Direction::Out = direction {
                    lane.output.responds_to(&mut lane.input);
                }
                let track = lane.track(direction);
                shown.extend(start.and_then(|start| track.resume(start)));
                shown.extend(track.feed(&bytes));
                self.show(peer, direction, us, shown);
            }
            What::Member { path, room, name } => {
                if let Some(lane) = self.lanes.get_mut(&peer) {
                    (lane.shown.path, lane.shown.room, lane.shown.name) = (Some(path), room, name);
                    self.announce(peer);
                }
            }
            What::Sent { cause, to, digest } => {
                for peer in to {
                    if let Some(lane) = self.lanes.get_mut(&peer) {
                        lane.expected.push_back((digest, cause));
                        if lane.expected.len() > MAX_EXPECTED {
                            lane.expected.pop_front();
                        }
                    }
                }
            }
            What::Closed { code, reason, violation } => {
                if let Some(lane) = self.lanes.get_mut(&peer) {
                    lane.shown.code = Some(code);
                    let broken = violation.map(Broken::violation);
                    let closed = Shown::Closed { code, reason, broken };
                    self.show(peer, Direction::Out, us, vec![closed]);
                    self.announce(peer);
                }
            }
            What::Disconnected => self.disconnected(peer, us),
            What::Hidden => {
                if let Some(lane) = self.lanes.remove(&peer) {
                    self.forget(lane.shown.c, lane.is_announced);
                }
            }
            What::NotShown(count) => {
                self.not_shown = count;
                self.news("more", None, Some(count));
            }
            What::Reset => self.reset(),
            What::Watch => self.watch(peer),
            What::Unwatch => self.viewers.retain(|viewer| viewer.peer != peer),
            What::Event(number) => self.respond_event(peer, number),
            What::Lane(number) => self.respond_lane(peer, number),
        }
    }

    // Connections.

    fn connected(&mut self, peer: PeerId, number: u64, address: SocketAddr) {
        let shown = LaneShown {
            k: "lane",
            c: number,
            address,
            path: None,
            room: None,
            name: None,
            ws: false,
            open: true,
            code: None,
        };
        let track = |sender| Track::new(sender, self.config.clone());
        let (input, output) = (track(Role::Client), track(Role::Server));
        let lane = Lane { shown, is_announced: false, input, output, expected: VecDeque::new() };
        self.lanes.insert(peer, lane);
    }

    /// Tells the viewers what is known of a connection, if they know of it.
    fn announce(&mut self, peer: PeerId) {
        if let Some(lane) = self.lanes.get(&peer)
            && lane.is_announced
        {
            let json = json(&lane.shown);
            self.send(json.into());
        }
    }

    fn disconnected(&mut self, peer: PeerId, us: u64) {
        for direction in [Direction::In, Direction::Out] {
            let Some(lane) = self.lanes.get_mut(&peer) else { return };
            let shown = lane.track(direction).finish();
            self.show(peer, direction, us, shown);
        }
        let Some(lane) = self.lanes.get_mut(&peer) else { return };
        lane.shown.open = false;
        self.announce(peer);
        let Some(lane) = self.lanes.remove(&peer) else { return };
        if !lane.is_announced {
            return;
        }
        let (closed, most) = match lane.shown.ws {
            true => (&mut self.closed, MAX_CLOSED),
            false => (&mut self.closed_plain, MAX_CLOSED_PLAIN),
        };
        closed.push_back(lane.shown);
        if closed.len() > most
            && let Some(oldest) = closed.pop_front()
        {
            self.forget(oldest.c, true);
        }
    }

    fn forget(&mut self, number: u64, is_announced: bool) {
        self.kept.forget(number);
        if is_announced {
            self.news("forget", Some(number), None);
        }
    }

    fn reset(&mut self) {
        self.lanes.clear();
        self.closed.clear();
        self.closed_plain.clear();
        self.kept = Kept::default();
        self.news("reset", None, None);
    }

    // Events.

    /// Keeps events of a connection, and sends them to the viewers.
    fn show(&mut self, peer: PeerId, direction: Direction, us: u64, shown: Vec<Shown>) {
        for mut shown in shown {
            let Some(lane) = self.lanes.get_mut(&peer) else { return };
            lane.note(direction, &mut shown);
            if !lane.is_announced {
                lane.is_announced = true;
                self.announce(peer);
            }
            let Some(lane) = self.lanes.get(&peer) else { return };
            self.last += 1;
            let d = if direction == Direction::In { "in" } else { "out" };
            let event = Event { id: self.last, c: lane.shown.c, d, us, shown: &shown };
            let json: Json = json(&event).into();
            let is_handshake = matches!(&shown, Shown::Head(head) if head.handshake);
            self.kept.push(self.last, lane.shown.c, Arc::clone(&json), is_handshake);
            self.send(json);
        }
    }

    fn news(&mut self, k: &'static str, c: Option<u64>, n: Option<u64>) {
        self.send(json(&News { k, c, n }).into());
    }

    /// Queues an event for all viewers.
    fn send(&mut self, json: Json) {
        if self.viewers.is_empty() {
            return;
        }
        if self.pending_bytes + json.len() > MAX_PENDING {
            // The event loop has not taken the batches before.
            self.drop_pending();
        }
        self.pending_bytes += json.len();
        self.pending.push(json);
    }

    fn drop_pending(&mut self) {
        let missed = self.pending.len() as u64;
        for viewer in &self.viewers {
            viewer.missed.fetch_add(missed, Ordering::Relaxed);
        }
        self.pending.clear();
        self.pending_bytes = 0;
    }

    fn flush(&mut self) {
        self.viewers.retain(|viewer| !viewer.is_gone.load(Ordering::Relaxed));
        if self.viewers.is_empty() || self.pending.is_empty() {
            self.pending.clear();
            self.pending_bytes = 0;
        } else if self.sender.is_free() {
            let (events, text) = (self.pending.len() as u64, batch(&self.pending));
            if self.sender.send(self.viewers.clone(), text, events) {
                self.pending.clear();
                self.pending_bytes = 0;
            }
        }
    }

    // Viewers.

    fn watch(&mut self, peer: PeerId) {
        self.flush();
        let viewer = Viewer { peer, missed: AtomicU64::new(0), is_gone: AtomicBool::new(false) };
        let viewer = Arc::new(viewer);
        let open = self.lanes.values().filter(|lane| lane.is_announced).map(|lane| &lane.shown);
        let closed = self.closed.iter().chain(&self.closed_plain);
        let mut lanes: Vec<&LaneShown> = open.chain(closed).collect();
        lanes.sort_unstable_by_key(|lane| lane.c);
        let hello = Hello {
            kind: "hello",
            started: &self.started,
            last: self.last,
            more: self.not_shown,
            lanes,
        };
        self.sender.send(vec![Arc::clone(&viewer)], json(&hello), 1);
        let newest = self.kept.newest(HISTORY, HISTORY_BYTES);
        let newest: Vec<Json> = newest.into_iter().cloned().collect();
        let count = newest.len() as u64;
        self.sender.send(vec![Arc::clone(&viewer)], batch(&newest), count);
        self.viewers.push(viewer);
    }

    fn viewer(&self, peer: PeerId) -> Option<Vec<Arc<Viewer>>> {
        let viewer = self.viewers.iter().find(|viewer| viewer.peer == peer)?;
        Some(vec![Arc::clone(viewer)])
    }

    fn respond_event(&mut self, peer: PeerId, number: u64) {
        let Some(viewer) = self.viewer(peer) else { return };
        let event = self.kept.get(number).map_or("null", |json| json);
        let text = format!(r#"{{"type":"event","id":{number},"event":{event}}}"#);
        self.sender.send(viewer, text, 1);
    }

    fn respond_lane(&mut self, peer: PeerId, number: u64) {
        let Some(viewer) = self.viewer(peer) else { return };
        let events = self.kept.of_lane(number);
        let count = events.len() as u64;
        let events = events.iter().map(|json| json.as_ref()).collect::<Vec<&str>>().join(",");
        let text = format!(r#"{{"type":"lane","lane":{number},"events":[{events}]}}"#);
        self.sender.send(viewer, text, count);
    }
}

/// The first message to a viewer.
#[derive(Serialize)]
struct Hello<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// When the server started; the times of events count from here.
    started: &'a str,
    /// The number of the last event.
    last: u64,
    /// Connections that were not followed.
    more: u64,
    lanes: Vec<&'a LaneShown>,
}

/// Returns the message with some events.
fn batch(events: &[Json]) -> String {
    let length: usize = events.iter().map(|event| event.len() + 1).sum();
    let mut text = String::with_capacity(length + 32);
    text.push_str(r#"{"type":"wire","events":["#);
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(event);
    }
    text.push_str("]}");
    text
}

impl Lane {
    fn track(&mut self, direction: Direction) -> &mut Track {
        match direction {
            Direction::In => &mut self.input,
            Direction::Out => &mut self.output,
        }
    }

    /// Learns from an event what the connection is for, and finds out which message caused it.
    fn note(&mut self, direction: Direction, shown: &mut Shown) {
        match shown {
            Shown::Head(head) => {
                self.shown.ws |= head.handshake || head.broken.is_some();
                if direction == Direction::In && self.shown.path.is_none() {
                    let line = head.lines.first().map(|line| line.1.as_str());
                    let target = line.and_then(|line| line.split(' ').nth(1));
                    let path = target.and_then(|target| target.split('?').next());
                    self.shown.path = path.map(str::to_owned);
                }
            }
            Shown::Frame(frame) if direction == Direction::Out => self.find_cause(frame),
            Shown::Rest { .. } => self.shown.ws = true,
            _ => {}
        }
    }

    /// The messages to a client are written in the order in which the application sent them. Some may be missing here.
    fn find_cause(&mut self, frame: &mut Frame) {
        if frame.message.is_none() {
            return;
        }
        let at = self.expected.iter().position(|(digest, _)| *digest == frame.digest);
        if let Some(at) = at
            && let Some((_, cause)) = self.expected.drain(..=at).next_back()
        {
            frame.cause = cause.map(|cause| (cause.lane, cause.message));
        }
    }
}

impl Sender {
    /// Reports whether the event loop has taken most of the batches.
    fn is_free(&self) -> bool {
        self.batches.load(Ordering::Relaxed) < MAX_BATCHES
    }

    /// Sends a text with so many events to viewers. Returns false if the event loop has too much to do.
    fn send(&self, viewers: Vec<Arc<Viewer>>, text: String, events: u64) -> bool {
        let (room, batches) = (self.room, Arc::clone(&self.batches));
        batches.fetch_add(1, Ordering::Relaxed);
        let missing = viewers.clone();
        let sent = self.handle.run(move |_, outbox| {
            batches.fetch_sub(1, Ordering::Relaxed);
            viewers.iter().for_each(|viewer| viewer.send(outbox, &text, events, room));
        });
        if sent.is_err() {
            self.batches.fetch_sub(1, Ordering::Relaxed);
            // A batch is tried again, and a response is not.
            let [viewer] = missing.as_slice() else { return false };
            viewer.missed.fetch_add(events, Ordering::Relaxed);
        }
        sent.is_ok()
    }
}

impl Viewer {
    /// Sends a text with so many events, unless too much waits for the viewer already.
    fn send(&self, outbox: &mut Outbox<'_>, text: &str, events: u64, room: usize) {
        let queued = outbox.queued(self.peer);
        if queued > 0 && queued + text.len() > room {
            self.missed.fetch_add(events, Ordering::Relaxed);
            return;
        }
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let text = format!(r#"{{"type":"missed","events":{missed}}}"#);
            outbox.send(self.peer, Payload::from(&text));
        }
        if !outbox.send(self.peer, Payload::from(text)) {
            self.is_gone.store(true, Ordering::Relaxed);
        }
    }
}
