//! The side of the event loop: what the observer sees, redacted and queued for the thread that explains it.
//!
//! Rules of this file:
//!
//! - The event loop never waits. If the queue is full, bytes are left out, and the thread begins again with a later message.
//! - Without viewers, only the heads of requests and responses are copied. Frames are followed (`follow.rs`), not kept.
//! - Secrets are redacted before anything is queued.
//! - A connection that asks for the wire page is forgotten as soon as its request is known. Nothing of a request is queued
//!   for viewers before its head is complete.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use framewise::config::ValidConfig;
use framewise::observe::{Direction, Notice};
use framewise::protocol::frame::Role;
use framewise::protocol::violation::Violation;
use framewise::{Cause, PeerId, Request};

use crate::recording::heads::{Found, Heads};
use crate::recording::redact::Redactor;
use crate::serve::routes::Route;
use crate::serve::wire::follow::{Follower, Start};

/// The most connections that are followed at the same time. Further ones are counted.
pub const MAX_LANES: usize = 512;

/// The most items with bytes that wait for the thread. As many further places are for the other items.
const MAX_ITEMS: usize = 4 * 1024;

/// The most bytes that wait for the thread.
const MAX_QUEUED: usize = 4 << 20;

/// The most bytes of a payload that count for its digest.
pub const MAX_DIGESTED: usize = 4 * 1024;

/// One thing that the thread learns.
#[derive(Debug)]
pub struct Item {
    /// Microseconds since the server started.
    pub us: u64,
    pub peer: PeerId,
    pub what: What,
}

/// What an [`Item`] says about its connection.
#[derive(Debug)]
pub enum What {
    /// It was accepted, and has this number.
    Connected(u64, SocketAddr),
    /// Bytes, without secrets. If `start` is there, bytes before them are missing, and a message begins here.
    Bytes { direction: Direction, bytes: Vec<u8>, start: Option<Resumed> },
    /// It belongs to a viewer.
    Hidden,
    /// Its WebSocket has a path, and is in a room, under a name.
    Member { path: String, room: Option<String>, name: Option<String> },
    /// A message goes to these connections.
    Sent { cause: Option<Message>, to: Box<[PeerId]>, digest: u64 },
    /// Its WebSocket has closed.
    Closed { code: u16, reason: String, violation: Option<Violation> },
    /// The TCP connection is closed.
    Disconnected,
    /// So many connections were not followed, because there were too many.
    NotShown(u64),
    /// Items were lost, so everything begins anew.
    Reset,
    /// It is a viewer, which wants to see everything from now on.
    Watch,
    /// The viewer has left.
    Unwatch,
    /// The viewer asks for the event with this number.
    Event(u64),
    /// The viewer asks for everything that is kept of the connection with this number.
    Lane(u64),
}

/// A message of a client: the number of its connection, and its number among the messages of it, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub lane: u64,
    pub message: u64,
}

/// Where the labels of one direction begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// How many messages came before.
    pub messages: u64,
    /// How many bytes were left out.
    pub skipped: u64,
}

/// How much waits for the thread.
#[derive(Debug, Default)]
pub struct Load {
    items: AtomicUsize,
    bytes: AtomicUsize,
}

impl Load {
    /// Counts an item that the thread has taken.
    pub fn taken(&self, item: &Item) {
        self.items.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(item.what.length(), Ordering::Relaxed);
    }
}

impl What {
    /// Returns how many bytes of memory it holds that depend on the traffic.
    fn length(&self) -> usize {
        match self {
            What::Bytes { bytes, .. } => bytes.len(),
            What::Sent { to, .. } => size_of_val::<[PeerId]>(to),
            _ => 0,
        }
    }
}

/// The side of the event loop.
pub struct Tap {
    lanes: HashMap<PeerId, Lane>,
    /// How many connections there were.
    connections: u64,
    /// Connections that were not followed, because there were too many.
    not_shown: u64,
    /// How many viewers there are.
    viewers: usize,
    /// The message that is being dispatched.
    cause: Option<Message>,
    config: ValidConfig,
    began: Instant,
    queue: SyncSender<Item>,
    load: Arc<Load>,
    /// An item was lost that was not bytes.
    has_overflowed: bool,
}

/// One connection.
struct Lane {
    number: u64,
    /// Messages that the application has received.
    messages: u64,
    /// Sees everything in both directions up to the frames, which have no secrets that it knows.
    redactor: Redactor,
    input: Side,
    output: Side,
}

/// One direction of a connection.
struct Side {
    place: Place,
    /// Whether the thread has all bytes so far, or all since a [`Resumed`].
    is_complete: bool,
    /// How many bytes the thread does not have, since it had all.
    skipped: u64,
}

enum Place {
    /// Requests or responses.
    Heads(Box<Heads>),
    Frames(Follower),
    /// Nothing that follows is read.
    Over,
}

impl Tap {
    /// Returns a tap, and the queue that the thread reads. `config` is that of the server.
    pub fn new(config: ValidConfig) -> (Tap, Receiver<Item>, Arc<Load>) {
        let (queue, items) = sync_channel(2 * MAX_ITEMS);
        let load = Arc::<Load>::default();
        let tap = Tap {
            lanes: HashMap::new(),
            connections: 0,
            not_shown: 0,
            viewers: 0,
            cause: None,
            config,
            began: Instant::now(),
            queue,
            load: Arc::clone(&load),
            has_overflowed: false,
        };
        (tap, items, load)
    }

    // The queue.

    /// Queues something that must not be lost. If that is impossible, all connections are forgotten.
    fn tell(&mut self, peer: PeerId, what: What) -> bool {
        if self.has_overflowed {
            self.has_overflowed = !self.push(peer, What::Reset);
        }
        if !self.has_overflowed && !self.push(peer, what) {
            self.has_overflowed = true;
            self.lanes.clear();
        }
        !self.has_overflowed
    }

    /// Queues something that may be left out. Returns whether there was room for it.
    fn offer(&self, peer: PeerId, what: What) -> bool {
        let has_room = !self.has_overflowed
            && self.load.items.load(Ordering::Relaxed) < MAX_ITEMS
            && self.load.bytes.load(Ordering::Relaxed) + what.length() <= MAX_QUEUED;
        has_room && self.push(peer, what)
    }

    fn push(&self, peer: PeerId, what: What) -> bool {
        let us = self.began.elapsed().as_micros() as u64;
        let item = Item { us, peer, what };
        self.load.items.fetch_add(1, Ordering::Relaxed);
        self.load.bytes.fetch_add(item.what.length(), Ordering::Relaxed);
        match self.queue.try_send(item) {
            Ok(()) => true,
            Err(error) => {
                use std::sync::mpsc::TrySendError::{Disconnected, Full};
                let (Full(item) | Disconnected(item)) = error;
                self.load.taken(&item);
                false
            }
        }
    }

    // Viewers.

    /// Adds a viewer. Returns false if the thread cannot be told.
    pub fn watch(&mut self, peer: PeerId) -> bool {
        self.viewers += 1;
        self.tell(peer, What::Watch)
    }

    /// Removes a viewer.
    pub fn unwatch(&mut self, peer: PeerId) {
        self.viewers = self.viewers.saturating_sub(1);
        self.tell(peer, What::Unwatch);
    }

    /// Returns how many viewers there are.
    pub fn viewers(&self) -> usize {
        self.viewers
    }

    /// Passes on a question of a viewer. It is dropped if the thread has too much to do.
    pub fn ask(&mut self, peer: PeerId, what: What) {
        self.offer(peer, what);
    }

    // What the classroom knows.

    /// Notes the path, the room and the name of a WebSocket.
    pub fn member(&mut self, peer: PeerId, path: &str, room: Option<&str>, name: Option<&str>) {
        if self.lanes.contains_key(&peer) {
            let (room, name) = (room.map(str::to_owned), name.map(str::to_owned));
            self.tell(peer, What::Member { path: path.to_owned(), room, name });
        }
    }

    /// Notes to which connections the application is about to send a payload.
    pub fn sending(&mut self, peer: PeerId, to: impl FnOnce() -> Vec<PeerId>, payload: &[u8]) {
        if self.viewers == 0 {
            return;
        }
        // Further connections are not followed, and there may be thousands of them.
        let followed = to().into_iter().filter(|to| self.lanes.contains_key(to));
        let to = followed.collect::<Vec<_>>().into_boxed_slice();
        if !to.is_empty() {
            self.offer(peer, What::Sent { cause: self.cause, to, digest: digest(payload) });
        }
    }

    /// Notes that the application has dealt with its message.
    pub fn dispatched(&mut self) {
        self.cause = None;
    }

    // What the observer sees.

    /// Notes bytes that were read or written.
    pub fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        let Some(lane) = self.lanes.get_mut(&peer) else { return };
        let here = lane.side(direction);
        if self.viewers == 0
            && let Place::Frames(follower) = &mut here.place
        {
            follower.follow(bytes);
            here.is_complete = false;
            here.skipped += bytes.len() as u64;
            return;
        }
        let Some(mut lane) = self.lanes.remove(&peer) else { return };
        let mut here = lane.side(direction);
        let (mut frames, mut in_heads) = (bytes, None);
        if matches!(here.place, Place::Heads(..)) {
            let copy = lane.redactor.redact(direction, bytes);
            here = lane.side(direction);
            let found = here.read_heads(&copy);
            match (found, direction) {
                (Found::LeftOut, _) => {
                    self.tell(peer, What::Hidden);
                    return;
                }
                (Found::Heads, Direction::In) => {
                    lane.pass_on_requests();
                    frames = &[];
                }
                (Found::Heads, Direction::Out) => frames = &[],
                (Found::Frames(at), _) => {
                    here.place = Place::Frames(Follower::new(sender_of(direction)));
                    frames = bytes.get(at..).unwrap_or_default();
                }
            }
            here = lane.side(direction);
            in_heads = Some(copy);
        }
        let start = match &mut here.place {
            Place::Frames(follower) => follower.follow(frames),
            Place::Heads(..) | Place::Over => None,
        };
        let is_over = matches!(here.place, Place::Over);
        match in_heads {
            // The heads, and the frames in the same read.
            Some(bytes) if here.is_complete => {
                let what = What::Bytes { direction, bytes, start: None };
                here.is_complete = self.offer(peer, what);
                here.skipped = if here.is_complete { 0 } else { frames.len() as u64 };
            }
            None if self.viewers > 0 && here.is_complete && !is_over => {
                let what = What::Bytes { direction, bytes: bytes.to_vec(), start: None };
                here.is_complete = self.offer(peer, what);
                here.skipped = if here.is_complete { 0 } else { bytes.len() as u64 };
            }
            _ => {
                here.is_complete = false;
                self.resume(peer, direction, here, start, frames);
            }
        }
        self.lanes.insert(peer, lane);
    }

    /// Begins again with the first message that begins in these bytes, if there is a viewer.
    fn resume(
        &self,
        peer: PeerId,
        direction: Direction,
        here: &mut Side,
        start: Option<Start>,
        bytes: &[u8],
    ) {
        let Some(Start { at, messages }) = start.filter(|_| self.viewers > 0) else {
            here.skipped += bytes.len() as u64;
            return;
        };
        let start = Some(Resumed { messages, skipped: here.skipped + at as u64 });
        let what = What::Bytes { direction, bytes: bytes[at..].to_vec(), start };
        here.is_complete = self.offer(peer, what);
        here.skipped = if here.is_complete { 0 } else { here.skipped + bytes.len() as u64 };
    }

    /// Notes what has happened to a connection.
    pub fn notice(&mut self, peer: PeerId, notice: &Notice<'_>) {
        match notice {
            Notice::Connected(address) => self.connected(peer, *address),
            Notice::Message(_) => {
                if let Some(lane) = self.lanes.get_mut(&peer) {
                    lane.messages += 1;
                    self.cause = Some(Message { lane: lane.number, message: lane.messages });
                }
            }
            // A handshake that was refused may be followed by anything.
            Notice::Responded(_) | Notice::Refused(_) => {
                if let Some(lane) = self.lanes.get_mut(&peer)
                    && !matches!(
                        (notice, &lane.input.place),
                        (Notice::Responded(_), Place::Heads(..))
                    )
                {
                    lane.input.place = Place::Over;
                }
            }
            Notice::Closed(closed) if self.lanes.contains_key(&peer) => {
                self.cause = None;
                let violation = match closed.cause {
                    Cause::Violation(violation) => Some(violation),
                    _ => None,
                };
                let (code, reason) = (closed.code.0, closed.reason.clone());
                if !matches!(closed.cause, Cause::NotOpened) {
                    self.tell(peer, What::Closed { code, reason, violation });
                }
            }
            Notice::Disconnected if self.lanes.remove(&peer).is_some() => {
                self.tell(peer, What::Disconnected);
            }
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, address: SocketAddr) {
        self.connections += 1;
        if self.lanes.len() >= MAX_LANES {
            self.not_shown += 1;
            self.tell(peer, What::NotShown(self.not_shown));
            return;
        }
        let config = self.config.clone();
        let side = |sender| Side {
            place: Place::Heads(Box::new(Heads::new(sender, config.clone()))),
            is_complete: true,
            skipped: 0,
        };
        let (number, messages) = (self.connections, 0);
        let (input, output) = (side(Role::Client), side(Role::Server));
        if self.tell(peer, What::Connected(number, address)) {
            let redactor = Redactor::default();
            self.lanes.insert(peer, Lane { number, messages, redactor, input, output });
        }
    }
}

/// Reports whether a request is for the wire page or its WebSocket.
pub fn is_of_viewer(request: &Request<'_>) -> bool {
    Route::of(request) == Route::Wire
}

/// Returns the side that sends the bytes of a direction.
pub fn sender_of(direction: Direction) -> Role {
    match direction {
        Direction::In => Role::Client,
        Direction::Out => Role::Server,
    }
}

impl Lane {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::In => &mut self.input,
            Direction::Out => &mut self.output,
        }
    }

    /// Tells the responses which requests they respond to.
    fn pass_on_requests(&mut self) {
        if let (Place::Heads(requests), Place::Heads(responses)) =
            (&mut self.input.place, &mut self.output.place)
        {
            responses.responds_to(requests);
        }
    }
}

impl Side {
    /// Reads heads, and the bodies of responses. At the end of a handshake, frames follow.
    fn read_heads(&mut self, bytes: &[u8]) -> Found {
        match &mut self.place {
            Place::Heads(heads) => heads.read(bytes, is_of_viewer),
            _ => Found::Heads,
        }
    }
}

/// Returns a number by which a payload is recognized when it is written.
pub fn digest(payload: &[u8]) -> u64 {
    let mut digest = DefaultHasher::new();
    digest.write(&payload[..payload.len().min(MAX_DIGESTED)]);
    digest.write_usize(payload.len());
    digest.finish()
}

#[cfg(test)]
mod tests {
    use framewise::{Application, Client, Config, Decision, Opened, Outbox, Server};

    use super::*;

    #[test]
    fn a_request_for_the_page_is_found_however_it_is_written() {
        let is_of_viewer = |path: &str| {
            let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
            is_of_viewer(&Request::parse(head.as_bytes()).expect("valid"))
        };
        for path in ["/wire", "/wire/", "/wire?token=a", "/%77ire", "http://h/wire"] {
            assert!(is_of_viewer(path), "{path}");
        }
        for path in ["/wires", "/ws?a=/wire", "/wire/a", "/WIRE"] {
            assert!(!is_of_viewer(path), "{path}");
        }
    }

    /// Accepts everything, and passes on which connections there are.
    struct Peers(std::sync::mpsc::Sender<PeerId>);

    impl Application for Peers {
        type Ticket = ();

        fn on_request(&mut self, _: &Request<'_>, _: SocketAddr) -> Decision<()> {
            Decision::Accept(())
        }

        fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>, (): ()) {
            self.0.send(outbox.peer()).expect("the test waits");
        }

        fn on_message(&mut self, _: &mut Outbox<'_>, _: framewise::Message<'_>) {}
    }

    /// Returns the ids of two connections of a server.
    fn two_peers() -> [PeerId; 2] {
        let (opened, peers) = std::sync::mpsc::channel();
        let (told, address) = std::sync::mpsc::channel();
        let serving = std::thread::spawn(move || {
            let config = Config::default().listen("127.0.0.1", 0);
            let mut server = Server::bind(config, Peers(opened)).expect("a port");
            told.send((server.local_addrs().next().expect("bound"), server.handle()))
                .expect("the test waits");
            server.run().expect("it serves");
        });
        let (address, handle) = address.recv().expect("it is told");
        let clients =
            [0, 1].map(|_| Client::connect(&format!("ws://{address}/")).expect("a server"));
        let both = [0, 1].map(|_| peers.recv().expect("a connection"));
        drop(clients);
        handle.shutdown(std::time::Duration::ZERO).expect("it still serves");
        serving.join().expect("it ends");
        both
    }

    /// However many receivers messages have, what waits for the thread has a limit. Connections that are not followed take no
    /// room.
    #[test]
    fn the_receivers_of_messages_count() {
        let [peer, other] = two_peers();
        let (mut tap, items, load) = Tap::new(Config::default().validate().expect("valid"));
        tap.notice(peer, &Notice::Connected(SocketAddr::from(([127, 0, 0, 1], 5000))));
        assert!(tap.watch(peer));
        for _ in 0..MAX_ITEMS {
            tap.sending(peer, || vec![peer; 1_000], b"oi");
        }
        tap.sending(peer, || vec![other], b"oi");
        let queued = load.bytes.load(Ordering::Relaxed);
        assert!((MAX_QUEUED - 8_000..=MAX_QUEUED).contains(&queued), "{queued}");
        let mut bytes = 0;
        for item in items.try_iter() {
            load.taken(&item);
            if let What::Sent { to, .. } = item.what {
                assert!(!to.contains(&other));
                bytes += 8 * to.len();
            }
        }
        assert_eq!((bytes, load.bytes.load(Ordering::Relaxed)), (queued, 0));
        tap.sending(peer, || vec![other, peer, other], b"oi");
        assert!(
            items
                .try_iter()
                .any(|item| matches!(item.what, What::Sent { to, .. } if *to == [peer]))
        );
    }

    #[test]
    fn a_digest_does_not_depend_on_pieces_and_has_the_length() {
        let long = vec![7; MAX_DIGESTED + 10];
        assert_ne!(digest(&long), digest(&long[1..]));
        assert_ne!(digest(b"oi"), digest(b"io"));
        let mut pieces = DefaultHasher::new();
        pieces.write(b"o");
        pieces.write(b"i");
        pieces.write_usize(2);
        assert_eq!(pieces.finish(), digest(b"oi"));
    }
}
