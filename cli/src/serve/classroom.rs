//! The dispatcher of `framewise serve`: it receives each message, and decides by the path what becomes of it.
//!
//! ```text
//!  /, /echo      text ──> "Echo: " + text             binary ──> the same
//!  /ws           text ──> raw/room, events/room       binary ──> raw/room
//!  /ws/events    event ─> actions.rs: events/room, raw/room, or one member, or an answer
//!  /explain/ws   question ─> stepper/: bytes, labelled; no room
//! ```
//!
//! Rules of this file: a fault in an event is answered, and the connection stays open. Every message is paid for.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use framewise::lang::Lang;
use framewise::{
    Application, CloseCode, Closed, Decision, Message, Opened, Outbox, PeerId, Request,
};

use crate::clock::timestamp_micros;
use crate::serve::admission::Admission;
use crate::serve::budget::{Budget, Limits};
use crate::serve::class_log::ClassLog;
use crate::serve::delivered::{Delivered, Sender};
use crate::serve::events::{
    self, Ack, Fault, MAX_MESSAGE, Moved, Received, RoomMessage, SlowedDown, json,
};
use crate::serve::guard::Guard;
use crate::serve::metrics::Metrics;
use crate::serve::pages::Pages;
use crate::serve::rooms::{self, Member, Path, Rooms};
use crate::serve::routes::{client_of, path_of, room_of, route};
use crate::serve::stepper::Stepper;
use crate::serve::wire::{self, Wire};

/// The messages that a change of room or name costs besides the news about it.
pub(super) const MOVE_COST: u32 = 10;

/// The steps of work that cost a client as much as one message. A step is a recipient of what the client sends, or a member of
/// the room that it asks about.
const STEPS_PER_MESSAGE: usize = 100;

/// A message that costs as much as this many ends the turn of its sender, so that the others have theirs.
const MUCH: u32 = 10;

/// The cost of a message besides itself: the work that it causes.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    messages: u32,
    bytes: usize,
}

/// The classroom.
pub struct Classroom {
    pub(super) rooms: Rooms,
    admission: Admission,
    pub(super) metrics: Rc<Metrics>,
    /// The budget of each client.
    limits: Limits,
    pub(super) log: ClassLog,
    /// The messages that must not be delivered again.
    pub(super) delivered: Delivered,
    /// What the current message has cost besides itself.
    cost: Cell<Cost>,
    /// The wire page, and the WebSockets of those who watch it. They are not members of the class.
    pub(super) wire: Wire,
    viewers: HashMap<PeerId, Viewer>,
    /// What the explain page can send.
    pub(super) stepper: Stepper,
}

/// The WebSocket of an open wire page.
struct Viewer {
    client: IpAddr,
    budget: Budget,
}

impl Classroom {
    /// Returns a classroom that nobody is in.
    pub fn new(
        guard: Guard,
        pages: Pages,
        metrics: Rc<Metrics>,
        limits: Limits,
        max_per_client: Option<usize>,
        log_messages: bool,
        wire: Wire,
    ) -> Classroom {
        let log = ClassLog::new(guard.log_lang, log_messages);
        let watched = wire.clone();
        let admission = Admission::new(guard, pages, Rc::clone(&metrics), max_per_client, watched);
        let (rooms, cost, viewers) = (Rooms::default(), Cell::default(), HashMap::new());
        let (delivered, stepper) = (Delivered::default(), Stepper::default());
        Classroom {
            rooms,
            admission,
            metrics,
            limits,
            log,
            delivered,
            cost,
            wire,
            viewers,
            stepper,
        }
    }

    /// Adds a page that watches the class. It is no member of it.
    fn viewer_opened(&mut self, outbox: &mut Outbox<'_>, client: IpAddr) {
        let peer = outbox.peer();
        self.admission.opened(client);
        self.viewers.insert(peer, Viewer { client, budget: Budget::new(Instant::now()) });
        self.log.watches(peer, client, true);
        if !self.wire.watch(peer) {
            let again = CloseCode(1013);
            outbox.close(again, "too much to do").expect("a valid code and a short reason");
        }
    }

    /// Responds to a page that watches the class. One that asks too much is read more slowly.
    fn viewer_asks(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        let peer = outbox.peer();
        let text = if let Message::Text(text) = message { text.as_str() } else { "" };
        if let Some(response) = self.wire.asked(peer, text) {
            outbox.reply(response);
        }
        let (now, bytes) = (Instant::now(), message.bytes().len());
        let Some(viewer) = self.viewers.get_mut(&peer) else { return };
        if let Some(pause) = viewer.budget.charge(now, 1, bytes, &self.limits) {
            outbox.pause_reading(peer, pause.until);
        }
    }

    fn echo(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        match message {
            Message::Text(text) => self.reply(outbox, &format!("Echo: {text}")),
            binary => {
                self.wire.sending(outbox.peer(), || vec![outbox.peer()], binary.bytes());
                self.metrics.sent(binary, usize::from(outbox.reply(binary)));
            }
        }
    }

    /// Sends a text to the member that is being served.
    pub(super) fn reply(&self, outbox: &mut Outbox<'_>, text: &str) {
        let message = Message::from(text);
        self.wire.sending(outbox.peer(), || vec![outbox.peer()], message.bytes());
        self.metrics.sent(message, usize::from(outbox.reply(message)));
    }

    /// Sends a message to all other members of a group. Each hundred of recipients cost as much as the message itself.
    pub(super) fn publish(&self, outbox: &mut Outbox<'_>, group: &str, message: Message<'_>) {
        let speaker = outbox.peer();
        let others = || {
            let members = outbox.members(group).iter().copied();
            members.filter(|&member| member != speaker).collect()
        };
        self.wire.sending(speaker, others, message.bytes());
        let recipients = outbox.publish(group, message, &[speaker]);
        self.metrics.sent(message, recipients);
        self.add_cost(0, recipients / STEPS_PER_MESSAGE * message.bytes().len());
        self.add_steps(recipients);
    }

    /// Adds to the cost of the current message.
    pub(super) fn add_cost(&self, messages: u32, bytes: usize) {
        let cost = self.cost.get();
        self.cost.set(Cost { messages: cost.messages + messages, bytes: cost.bytes + bytes });
    }

    /// Adds steps of work to the cost of the current message.
    pub(super) fn add_steps(&self, steps: usize) {
        self.add_cost((steps / STEPS_PER_MESSAGE) as u32, 0);
    }

    /// Passes on a message of a raw path.
    fn raw(&mut self, outbox: &mut Outbox<'_>, room: &str, message: Message<'_>) {
        self.publish(outbox, &rooms::raw(room), message);
        if let Message::Text(text) = message {
            // Event clients are promised no longer messages than they may send.
            let text = events::shortened(text.as_str(), MAX_MESSAGE);
            let said = RoomMessage {
                message: &text,
                timestamp: timestamp_micros(),
                from: None,
                room: Some(room),
                to: None,
            };
            self.publish(outbox, &rooms::events(room), Message::from(&json(&said)));
        }
    }

    /// Carries out an event, and answers it with an acknowledgement if it has an id, or with an error.
    fn receive(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>, lang: Lang) {
        let Received { id, event } = match message {
            Message::Text(text) => events::parse(text.as_str()),
            Message::Binary(_) => Received { id: None, event: Err(Fault::InvalidMessage) },
        };
        let id = id.as_deref();
        match (event.and_then(|event| self.event(outbox, event, id)), id) {
            (Ok(()), Some(id)) => self.reply(outbox, &json(&Ack::of(id))),
            (Ok(()), None) => {}
            (Err(fault), id) => {
                let error = fault.event(lang, id);
                self.add_cost(0, error.len());
                self.reply(outbox, &error);
            }
        }
    }

    /// Charges a message and the work that it has caused. A client beyond its budget is not read for a while.
    fn charge(&mut self, outbox: &mut Outbox<'_>, message_bytes: usize) {
        let (peer, cost, now) = (outbox.peer(), self.cost.take(), Instant::now());
        let Some(member) = self.rooms.get_mut(peer) else { return };
        let (messages, bytes) = (1 + cost.messages, message_bytes + cost.bytes);
        let Some(pause) = member.budget.charge(now, messages, bytes, &self.limits) else {
            if messages >= MUCH {
                // A pause that is already over ends the turn.
                outbox.pause_reading(peer, now);
            }
            return;
        };
        outbox.pause_reading(peer, pause.until);
        self.metrics.slowed_down();
        if !pause.is_reported {
            return;
        }
        self.log.slowed(peer, member);
        if matches!(member.path, Path::Events { .. }) {
            self.reply(outbox, &json(&SlowedDown::default()));
        }
    }
}

impl Application for Classroom {
    /// The address of the client, which is not that of the connection if it comes through a proxy.
    type Ticket = IpAddr;

    fn counted_as(&mut self, from: SocketAddr) -> IpAddr {
        self.admission.counted_as(from)
    }

    fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Decision<IpAddr> {
        self.admission.decide(request, from, self.rooms.len())
    }

    fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>, client: IpAddr) {
        let request = &opened.request;
        if route(request) == wire::PATH {
            return self.viewer_opened(outbox, client);
        }
        let path = path_of(request, &route(request));
        let (Some(path), Some(room)) = (path, room_of(request)) else { return };
        let (peer, lang) = (outbox.peer(), self.admission.lang_of(request));
        self.admission.opened(client);
        let sender = match client_of(request) {
            Ok(Some(client)) => Sender::Client(client),
            _ => Sender::Connection(peer),
        };
        let budget = Budget::new(Instant::now());
        let member = Member { path, client, sender, lang, room, name: None, budget };
        let room = self.rooms.enter(peer, member);
        self.join_groups(outbox, peer);
        let (path_shown, room_shown) = (route(request), path.is_in_room().then_some(&room));
        self.log.opened(peer, client, &path_shown, room_shown);
        self.wire.member(peer, &path_shown, room_shown.map(String::as_str), None);
        if path.is_in_room() {
            self.add_cost(MOVE_COST, 0);
            self.tell(outbox, "peer_joined", peer, &room);
            self.charge(outbox, 0);
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        let Some(member) = self.rooms.get(outbox.peer()) else {
            return self.viewer_asks(outbox, message);
        };
        let (path, lang, room) = (member.path, member.lang, member.room.clone());
        // A question about bytes is no message of the class.
        if path != Path::Explain {
            self.log.message(outbox.peer(), member, message);
        }
        match path {
            Path::Echo => self.echo(outbox, message),
            Path::Raw => self.raw(outbox, &room, message),
            Path::Events { .. } => self.receive(outbox, message, lang),
            Path::Explain => self.explain(outbox, message, lang),
        }
        self.wire.dispatched();
        self.charge(outbox, message.bytes().len());
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        if let Some(viewer) = self.viewers.remove(&outbox.peer()) {
            self.wire.unwatch(outbox.peer());
            self.admission.closed(viewer.client);
            return self.log.watches(outbox.peer(), viewer.client, false);
        }
        let Some(member) = self.rooms.depart(outbox.peer()) else { return };
        self.stepper.forget(outbox.peer());
        self.log.closed(outbox.peer(), &member, closed);
        self.admission.closed(member.client);
        if matches!(member.sender, Sender::Connection(_)) {
            self.delivered.forget_sender(&member.sender);
        }
        if member.path.is_in_room() {
            let moved =
                Moved { kind: "peer_left", room: &member.room, name: member.name.as_deref() };
            self.publish(outbox, &rooms::presence(&member.room), Message::from(&json(&moved)));
        }
        // Nobody is left who could pay.
        self.cost.take();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use framewise::config::OriginPolicy;
    use framewise::{Client, Config, Event, Server};

    use super::*;
    use crate::serve::forwarded::Proxies;
    use crate::serve::guesses::Guesses;
    use crate::serve::hosts::Hosts;
    use std::cell::RefCell;

    /// A classroom with a fault of its own, which shows itself after the message was acted on.
    struct Faulty(Classroom);

    impl Application for Faulty {
        type Ticket = IpAddr;

        fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Decision<IpAddr> {
            self.0.on_request(request, from)
        }

        fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>, client: IpAddr) {
            self.0.on_open(outbox, opened, client);
        }

        fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
            self.0.on_message(outbox, message);
            assert!(!message.bytes().ends_with(b"fault\"}"), "as it was asked to");
        }

        fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
            self.0.on_close(outbox, closed);
        }
    }

    /// R18: a fault in the classroom costs one of the class, whose name is free again.
    #[test]
    fn a_panic_costs_one_of_the_class() {
        let config = Config::default().listen("127.0.0.1", 0);
        let classroom = || {
            let guard = Guard {
                hosts: Rc::new(Hosts::new(None, [])),
                proxies: Proxies::default(),
                attempts: Rc::default(),
                origins: OriginPolicy::SameHost,
                own_pages: OriginPolicy::SameHost,
                token: None,
                teacher_token: None,
                guesses: Rc::new(RefCell::new(Guesses::new(None))),
                log_lang: Lang::En,
            };
            let (pages, metrics) = (Pages::new(Lang::En, None), Rc::new(Metrics::new()));
            let limits = Limits { messages: 0, bytes: 0, burst_bytes: 0 };
            Faulty(Classroom::new(guard, pages, metrics, limits, None, false, Wire::default()))
        };
        let (told, address) = std::sync::mpsc::channel();
        let serving = std::thread::spawn(move || {
            let mut server = Server::bind(config, classroom()).expect("a port");
            let address = server.local_addrs().next().expect("bound");
            told.send((address, server.handle())).expect("the test waits");
            server.run().expect("it serves");
        });
        let (address, handle) = address.recv().expect("it is told");
        let connect = || Client::connect(&format!("ws://{address}/ws/events")).expect("it answers");
        let hears = |client: &mut Client, words: &str| match client
            .recv_timeout(Duration::from_secs(30))
            .expect("a socket")
        {
            Some(Event::Message(message)) => {
                let bytes = message.as_message();
                let text = String::from_utf8_lossy(bytes.bytes()).into_owned();
                assert!(text.contains(words), "{text}");
            }
            Some(Event::Closed(closed)) => assert_eq!(closed.code.to_string(), words),
            other => panic!("{words} was due, not {other:?}"),
        };
        let say = |client: &mut Client, event: &str| {
            assert!(client.send(event).expect("it takes bytes"));
        };
        let (mut ana, mut bia) = (connect(), connect());
        say(&mut ana, r#"{"type": "join", "name": "ana"}"#);
        hears(&mut ana, "joined");
        say(&mut bia, r#"{"type": "join", "name": "bia"}"#);
        hears(&mut bia, "joined");
        say(&mut ana, r#"{"message": "fault"}"#);
        hears(&mut ana, "1011");
        hears(&mut bia, "fault");
        say(&mut bia, r#"{"type": "join", "name": "ana"}"#);
        hears(&mut bia, "joined");
        handle.shutdown(Duration::from_secs(5)).expect("it still serves");
        hears(&mut bia, "1001");
        serving.join().expect("it ends");
    }
}
