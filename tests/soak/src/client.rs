//! One client: what it does next, which its seed decides, and what becomes of it. A client that loses its connection opens
//! another one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::content;
use crate::event::{ConnectionId, Event, Path, Request, Target};
use crate::model::{LOBBY, Model};
use crate::socket::{Incoming, Socket, Wanted};
use crate::wire;

/// The rooms besides the lobby. A crowd of 200 has about 20 in each.
const ROOMS: [&str; 8] = ["7a", "7b", "8a", "8b", "9a", "9b", "sala é", "room 10"];

/// Names that more than one wants.
const CONTESTED: [&str; 4] = ["monitor", "teacher", "guest", "speaker"];

/// A room of its own for large messages. Some of its members stall for so long that the server closes them.
const HEAVY_ROOM: &str = "heavy";

/// The largest payload there, about. The output limit of a client that does not read is 1 MiB.
const HEAVY: usize = 32 * 1024;

/// A name that nobody has.
const ABSENT: &str = "nobody";

/// How long an answer may take. A burst of 400 messages at 100 a second takes four, and a stalled reader pauses senders for
/// five.
const OVERDUE: Duration = Duration::from_secs(60);

/// Messages that are read in one go, before it is another client's turn.
const MAX_READ: usize = 200;

/// What all clients share.
#[derive(Debug)]
pub struct World {
    /// What is known.
    pub model: Model,
    /// Where the server is. Nobody connects any more if it is absent.
    pub address: Option<SocketAddr>,
    /// The name that each client has or has asked for.
    pub names: Vec<Option<String>>,
    /// What was done besides what the model counts.
    pub deeds: Deeds,
}

/// How often clients did something to their connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Messages in fragments.
    pub fragmented: u64,
    /// Pings.
    pub pings: u64,
    /// Closes with a closing handshake.
    pub closes: u64,
    /// Resets.
    pub resets: u64,
    /// Half-closes.
    pub half_closes: u64,
    /// Messages that were not completed.
    pub torn: u64,
    /// Messages that were sent once more, with the same id.
    pub repeated: u64,
    /// Times when a client read nothing.
    pub stalls: u64,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    slot: usize,
    rng: Rng,
    path: Path,
    /// Its kernel keeps little of what it does not read.
    is_small: bool,
    /// It sends large messages.
    is_heavy: bool,
    live: Option<Live>,
    /// When it does something again.
    next: Instant,
    /// How many names it has had.
    named: usize,
}

/// An open connection.
#[derive(Debug)]
struct Live {
    id: ConnectionId,
    socket: Socket,
    stalls_until: Option<Instant>,
    /// It has done what ends the connection, and waits for the end.
    is_leaving: bool,
    /// The number of the last message to a room that has an id, and its event.
    repeatable: Option<(usize, Vec<u8>)>,
    /// A Close has arrived.
    is_closed: bool,
    /// Since when an answer or the end is due.
    waits_since: Option<Instant>,
}

impl Client {
    /// Decides what kind of client this is. Most speak events; some hear news.
    pub fn new(slot: usize, seed: u64, now: Instant) -> Client {
        let mut rng = Rng::with_seed(seed ^ (slot as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let path = match slot % 10 {
            0 => Path::Echo,
            1..=3 => Path::Raw,
            4..=6 => Path::Events { news: false },
            _ => Path::Events { news: true },
        };
        let is_heavy = slot % 20 == 3;
        let is_small = is_heavy || rng.u8(..8) == 0;
        Client { slot, rng, path, is_small, is_heavy, live: None, next: now, named: 0 }
    }

    /// Returns its connection.
    pub fn connection(&self) -> Option<ConnectionId> {
        self.live.as_ref().map(|live| live.id)
    }

    /// Returns the connection to wait for, and whether it wants to read and to write.
    pub fn interest(&self) -> Option<(&Socket, bool, bool)> {
        let live = self.live.as_ref()?;
        Some((&live.socket, live.stalls_until.is_none(), !live.socket.is_flushed()))
    }

    /// Ends a stall soon, because the server stops.
    pub fn hurry(&mut self, until: Instant) {
        if let Some(live) = &mut self.live {
            live.stalls_until = live.stalls_until.map(|stalls_until| stalls_until.min(until));
        }
    }

    /// Does what is due, if anything is.
    ///
    /// # Errors
    ///
    /// The server does not accept a connection.
    pub fn act(&mut self, world: &mut World, now: Instant) -> Result<(), String> {
        let Some(live) = &mut self.live else {
            return match world.address {
                Some(address) if self.next <= now => self.open(world, address, now),
                _ => Ok(()),
            };
        };
        if live.stalls_until.is_some_and(|until| until <= now) {
            live.stalls_until = None;
        }
        let is_waiting = live.is_leaving
            || live.is_closed
            || world.model.awaited(live.id) > 0
            || !live.socket.is_flushed();
        if live.stalls_until.is_some() || !is_waiting {
            live.waits_since = None;
        } else if now.duration_since(*live.waits_since.get_or_insert(now)) > OVERDUE {
            world.model.record(live.id, Event::Silent);
            live.waits_since = None;
        }
        if !is_waiting && live.stalls_until.is_none() && self.next <= now {
            self.next = now + Duration::from_millis(self.rng.u64(20..400));
            self.choose(world, now);
        }
        Ok(())
    }

    fn open(&mut self, world: &mut World, address: SocketAddr, now: Instant) -> Result<(), String> {
        let room = self.room();
        let query = room.replace(' ', "+").replace('é', "%C3%A9");
        let (target, subprotocol) = match self.path {
            Path::Echo => ("/echo".to_owned(), None),
            Path::Raw => (format!("/ws?room={query}"), None),
            Path::Events { news } => {
                (format!("/ws/events?room={query}"), news.then_some("framewise.classroom"))
            }
        };
        let wanted = Wanted { target: &target, subprotocol, is_small: self.is_small };
        let socket = Socket::open(address, &wanted)?;
        let id = world.model.opened(self.path, &room);
        self.live = Some(Live {
            id,
            socket,
            stalls_until: None,
            is_leaving: false,
            repeatable: None,
            is_closed: false,
            waits_since: None,
        });
        if matches!(self.path, Path::Events { .. }) && self.rng.u8(..10) > 0 {
            self.rename(world, None);
        }
        self.next = now + Duration::from_millis(self.rng.u64(..500));
        Ok(())
    }

    fn room(&mut self) -> String {
        if self.is_heavy {
            return HEAVY_ROOM.to_owned();
        }
        let place = self.rng.usize(..=ROOMS.len());
        ROOMS.get(place).copied().unwrap_or(LOBBY).to_owned()
    }

    /// What is done, and how often.
    fn choose(&mut self, world: &mut World, now: Instant) {
        let is_events = matches!(self.path, Path::Events { .. });
        let say_to = if self.path == Path::Echo { Target::Echo } else { Target::Room };
        match self.rng.u16(..1_000) {
            0..400 => {
                for _ in 0..self.rng.usize(1..=4) {
                    self.say(world, say_to.clone());
                }
                if !is_events || self.rng.bool() {
                    self.ping(world);
                }
            }
            400..550 if is_events => {
                (0..self.rng.usize(1..3)).for_each(|_| self.say_privately(world));
                // The answer shows that it was not refused.
                match self.rng.u8(..3) {
                    0 => self.ping(world),
                    1 => self.ask(world, Request::Who),
                    _ => self.ask(world, Request::Ping),
                }
            }
            550..650 if is_events => {
                let room = self.room();
                self.ask(world, Request::Join { room: Some(room), name: None });
            }
            650..690 if is_events => self.rename(world, None),
            690..720 if is_events => {
                let name = self.rng.choice(CONTESTED).map(str::to_owned);
                self.rename(world, name);
            }
            720..740 if is_events => self.ask(world, Request::Leave),
            // Requests and messages without waiting for answers.
            740..780 if is_events => {
                for _ in 0..self.rng.usize(2..5) {
                    let room = self.room();
                    self.say(world, Target::Room);
                    self.ask(world, Request::Join { room: Some(room), name: None });
                    self.say(world, Target::Room);
                }
                self.ask(world, Request::Who);
            }
            780..790 if is_events => self.repeat(world),
            790..800 if is_events => {
                let code = self.rng.choice(wire::INVALID).expect("some");
                self.ask(world, Request::Invalid(code));
            }
            800..810 if !self.is_heavy => self.burst(world, &say_to),
            // Most of those who send large messages go on, or nothing would pile up for the others.
            810..830 if !self.is_heavy || self.slot % 40 == 3 => self.stall(world, now),
            830..850 => self.close(world),
            850..870 => self.half_close(world),
            870..890 => self.reset(world),
            _ => self.ping(world),
        }
    }

    /// More messages than the budget of a client allows at once.
    fn burst(&mut self, world: &mut World, to: &Target) {
        for _ in 0..self.rng.usize(100..400) {
            let Some(live) = &mut self.live else { return };
            let length = self.rng.usize(..60);
            let payload = Payload { length, is_binary: false, has_id: false };
            send(live, world, self.path, to.clone(), payload, &[], false);
        }
        self.ping(world);
    }

    fn say(&mut self, world: &mut World, to: Target) {
        let length = match self.rng.u8(..40) {
            _ if self.is_heavy => HEAVY,
            0 => 6_000,
            1..4 => 1_000,
            _ => 40,
        };
        let length = self.rng.usize(..length);
        let is_events = matches!(self.path, Path::Events { .. });
        let is_binary = !is_events && (self.is_heavy || self.rng.u8(..3) == 0);
        let mut ends = Vec::new();
        if self.rng.u8(..5) == 0 {
            world.deeds.fragmented += 1;
            // Every payload is longer than this, and fragments may be empty or end inside a character.
            ends = (0..self.rng.usize(1..5)).map(|_| self.rng.usize(..5)).collect();
            ends.sort_unstable();
        }
        let pings = self.rng.bool();
        let has_id = is_events && (self.rng.bool() || self.has_open_private(world));
        let Some(live) = &mut self.live else { return };
        let payload = Payload { length, is_binary, has_id };
        send(live, world, self.path, to, payload, &ends, pings);
    }

    /// To somebody, to itself, or to a name that nobody has.
    fn say_privately(&mut self, world: &mut World) {
        let name = match self.rng.u8(..10) {
            0 => ABSENT.to_owned(),
            1 => self.rng.choice(CONTESTED).expect("some").to_owned(),
            _ => {
                let slot = self.rng.usize(..world.names.len());
                world.names[slot].clone().unwrap_or(ABSENT.to_owned())
            }
        };
        self.say(world, Target::Name(name));
    }

    /// Reports whether another private message without an id would make an error ambiguous.
    fn has_open_private(&self, world: &World) -> bool {
        self.live.as_ref().is_some_and(|live| world.model.has_open_private(live.id))
    }

    /// Sends the last message to the room that has an id once more, as a client does that has lost the acknowledgement.
    fn repeat(&mut self, world: &mut World) {
        let Some(live) = &mut self.live else { return };
        let Some((number, event)) = live.repeatable.clone() else { return };
        world.deeds.repeated += 1;
        world.model.record(live.id, Event::Repeating(number));
        live.socket.send(&event, false, &[], false);
    }

    fn ask(&mut self, world: &mut World, request: Request) {
        let Some(live) = &mut self.live else { return };
        let text = wire::request(&request);
        world.model.record(live.id, Event::Asking(request));
        live.socket.send(text.as_bytes(), false, &[], false);
    }

    /// Takes a name: this one, or a new one of its own.
    fn rename(&mut self, world: &mut World, name: Option<String>) {
        self.named += 1;
        let name = name.unwrap_or_else(|| format!("s{}-{}", self.slot, self.named));
        let is_own = !CONTESTED.contains(&name.as_str());
        if is_own {
            world.names[self.slot] = Some(name.clone());
        }
        let room = self.rng.bool().then(|| self.room());
        self.ask(world, Request::Join { room, name: Some(name) });
    }

    fn ping(&mut self, world: &mut World) {
        let Some(live) = &mut self.live else { return };
        world.deeds.pings += 1;
        world.model.record(live.id, Event::Pinging);
        live.socket.ping();
    }

    /// Reads nothing for a while: seldom for so long that the server may close the connection.
    fn stall(&mut self, world: &mut World, now: Instant) {
        let Some(live) = &mut self.live else { return };
        let time = match self.rng.u8(..6) {
            _ if self.is_heavy => self.rng.u64(10_000..16_000),
            0 => self.rng.u64(5_000..10_000),
            _ => self.rng.u64(200..3_000),
        };
        world.deeds.stalls += 1;
        world.model.record(live.id, Event::Stalling);
        live.stalls_until = Some(now + Duration::from_millis(time));
    }

    fn close(&mut self, world: &mut World) {
        let to = if self.path == Path::Echo { Target::Echo } else { Target::Room };
        // They are processed before the Close.
        for _ in 0..self.rng.usize(..3) {
            self.say(world, to.clone());
        }
        let code = self.rng.choice([1000, 3000, 4999]).expect("some");
        let Some(live) = &mut self.live else { return };
        live.is_leaving = true;
        world.deeds.closes += 1;
        world.model.record(live.id, Event::Closing(code));
        live.socket.close(code);
    }

    fn half_close(&mut self, world: &mut World) {
        if self.rng.bool() {
            self.tear(world);
        }
        let Some(live) = &mut self.live else { return };
        live.is_leaving = true;
        world.deeds.half_closes += 1;
        world.model.record(live.id, Event::HalfClosing);
        live.socket.half_close();
    }

    fn reset(&mut self, world: &mut World) {
        if self.rng.bool() {
            self.tear(world);
        }
        let Some(live) = self.live.take() else { return };
        world.deeds.resets += 1;
        world.model.record(live.id, Event::Resetting);
        world.model.record(live.id, Event::Ended);
        live.socket.reset();
        world.names[self.slot] = None;
    }

    /// Sends a part of a message that never ends.
    fn tear(&mut self, world: &mut World) {
        let Some(live) = &mut self.live else { return };
        world.deeds.torn += 1;
        let id = world.model.next_message(live.id);
        // Longer than the 125 bytes that a header without a length of its own has.
        let text = content::text(id, 200);
        let content = content::content(text.as_bytes(), false);
        world.model.record(live.id, Event::Sending { to: Target::Nobody, content, has_id: false });
        let text = match self.path {
            Path::Events { .. } => wire::message(&text, &Target::Room, None),
            _ => text,
        };
        live.socket.tear(text.as_bytes());
    }

    /// Sends what the kernel did not take before.
    pub fn flush(&mut self) {
        if let Some(live) = &mut self.live {
            live.socket.flush();
        }
    }

    /// Returns what has arrived since the last time, up to a limit.
    pub fn read(&mut self, now: Instant, names: &mut [Option<String>]) -> Vec<Event> {
        let Some(live) = &mut self.live else { return Vec::new() };
        let mut heard = Vec::new();
        let path = self.path;
        let mut is_over = false;
        while heard.len() < MAX_READ && !is_over {
            let Some(incoming) = live.socket.read() else { break };
            is_over = matches!(incoming, Incoming::Broken(_) | Incoming::End);
            live.is_closed |= matches!(incoming, Incoming::Close(_));
            heard.extend(match incoming {
                Incoming::Message { payload, is_binary } => vec![match path {
                    Path::Echo => wire::echo(&payload, is_binary),
                    Path::Raw => wire::raw(&payload, is_binary),
                    Path::Events { .. } if is_binary => {
                        Event::Nonsense("a binary event".to_owned())
                    }
                    Path::Events { .. } => wire::event(&payload),
                }],
                Incoming::Pong => vec![Event::Ponged],
                Incoming::Close(code) => vec![Event::Closed(code)],
                Incoming::Broken(text) => vec![Event::Nonsense(text), Event::Ended],
                Incoming::End => vec![Event::Ended],
            });
        }
        if is_over {
            self.live = None;
            names[self.slot] = None;
            self.next = now + Duration::from_millis(self.rng.u64(..300));
        }
        heard
    }
}

/// The size and kind of a message.
#[derive(Clone, Copy)]
struct Payload {
    length: usize,
    is_binary: bool,
    has_id: bool,
}

/// Sends a message with the next number. The model knows of it before.
fn send(
    live: &mut Live,
    world: &mut World,
    path: Path,
    to: Target,
    payload: Payload,
    ends: &[usize],
    pings: bool,
) {
    let id = world.model.next_message(live.id);
    let Payload { length, is_binary, has_id } = payload;
    let bytes = match is_binary {
        true => content::binary(id, length),
        false => content::text(id, length).into_bytes(),
    };
    let content = content::content(&bytes, is_binary);
    let bytes = match path {
        Path::Events { .. } => {
            let text = String::from_utf8(bytes).expect("text");
            let event = wire::message(&text, &to, has_id.then_some(id.number)).into_bytes();
            if has_id && to == Target::Room {
                live.repeatable = Some((id.number, event.clone()));
            }
            event
        }
        _ => bytes,
    };
    world.model.record(live.id, Event::Sending { to, content, has_id });
    live.socket.send(&bytes, is_binary, ends, pings);
}
