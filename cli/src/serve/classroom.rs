//! The dispatcher of `framewise serve`: who may come in, and what becomes of what they say.
//!
//! ```text
//!  /, /echo      text ──> "Echo: " + text             binary ──> the same
//!  /ws           text ──> raw/room, events/room       binary ──> raw/room
//!  /ws/events    event ─> events/room, raw/room, or one person, or an answer
//! ```
//!
//! Rules of this file: nobody hears what they say to a room, unless they write to their own name; another room hears
//! nothing; a fault in an event is answered and the connection stays.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use framewise::trace::printable;
use framewise::{Application, Cause, Closed, Decision, Message, Opened, Outbox, PeerId, Request};

use tracing::{info, warn};

use crate::clock::timestamp_micros;
use crate::serve::budget::Limits;
use crate::serve::events::{
    self, Event, Fault, MAX_MESSAGE, Moved, Present, RoomMessage, SlowedDown, json, shortened,
};
use crate::serve::guard::{Guard, Wanted, teach};
use crate::serve::metrics::Metrics;
use crate::serve::pages::{self, Pages};
use crate::serve::rooms::{self, LOBBY, Member, Path, Rooms};
use crate::serve::routes::{path_of, room_of, route};
use crate::texts;

/// The maximum number of characters of a path in a log line.
const MAX_SHOWN: usize = 80;

/// Names that one answer to `who` holds.
const MAX_NAMES: usize = 1_000;

/// The messages that a change of room or name costs, because many others hear of it.
const MOVE_COST: u32 = 10;

/// The cost of a message besides itself: the work that it causes.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    messages: u32,
    bytes: usize,
}

/// The classroom.
pub struct Classroom {
    rooms: Rooms,
    guard: Guard,
    pages: Pages,
    metrics: Rc<Metrics>,
    /// The budget of each client.
    limits: Limits,
    /// Whether the log has the text of messages.
    log_messages: bool,
    /// What the current message has cost besides itself.
    cost: Cost,
    /// The maximum number of open connections from one client's address, if the library cannot count them because they come
    /// through a proxy.
    max_per_client: Option<usize>,
    /// The open connections from each client's address.
    by_client: HashMap<IpAddr, usize>,
}

impl Classroom {
    /// An empty one.
    pub fn new(
        guard: Guard,
        pages: Pages,
        metrics: Rc<Metrics>,
        limits: Limits,
        max_per_client: Option<usize>,
        log_messages: bool,
    ) -> Classroom {
        let (rooms, by_client) = (Rooms::default(), HashMap::new());
        let cost = Cost::default();
        Classroom {
            rooms,
            guard,
            pages,
            metrics,
            limits,
            log_messages,
            cost,
            max_per_client,
            by_client,
        }
    }

    fn echo(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        match message {
            Message::Text(text) => self.reply(outbox, &format!("Echo: {text}")),
            binary => {
                self.metrics.sent(binary, usize::from(outbox.reply(binary)));
            }
        }
    }

    fn reply(&self, outbox: &mut Outbox<'_>, text: &str) {
        let message = Message::from(text);
        self.metrics.sent(message, usize::from(outbox.reply(message)));
    }

    fn publish(&self, outbox: &mut Outbox<'_>, group: &str, message: Message<'_>) {
        let speaker = outbox.peer();
        self.metrics.sent(message, outbox.publish(group, message, &[speaker]));
    }

    /// What somebody said on a raw path.
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

    fn event(&mut self, outbox: &mut Outbox<'_>, event: Event) -> Result<(), Fault> {
        match event {
            Event::Message { text, to: None } => self.say(outbox, &text),
            Event::Message { text, to: Some(name) } => self.say_to(outbox, &text, &name)?,
            Event::Join { room, name } => self.join(outbox, room, name)?,
            Event::Leave => self.leave(outbox),
            Event::Who => self.who(outbox),
        }
        Ok(())
    }

    fn say(&mut self, outbox: &mut Outbox<'_>, text: &str) {
        let Some(member) = self.rooms.get(outbox.peer()) else { return };
        let (from, room) = (member.name.as_deref(), member.room.as_str());
        let said = RoomMessage {
            message: text,
            timestamp: timestamp_micros(),
            from,
            room: Some(room),
            to: None,
        };
        self.publish(outbox, &rooms::events(room), Message::from(&json(&said)));
        self.publish(outbox, &rooms::raw(room), Message::from(text));
    }

    fn say_to(&mut self, outbox: &mut Outbox<'_>, text: &str, name: &str) -> Result<(), Fault> {
        let to = self.rooms.named(name).ok_or_else(|| Fault::NoSuchPeer(name.to_owned()))?;
        let name_of = |peer| self.rooms.get(peer).and_then(|member| member.name.as_deref());
        // As it is spelled by whose it is.
        let (from, name) = (name_of(outbox.peer()), name_of(to));
        let said = RoomMessage {
            message: text,
            timestamp: timestamp_micros(),
            from,
            room: None,
            to: name,
        };
        let event = json(&said);
        let message = Message::from(&event);
        self.metrics.sent(message, usize::from(outbox.send(to, message)));
        Ok(())
    }

    /// Changes the member's room, name, or both. The answer has the room's own name, which may be spelled otherwise.
    fn join(
        &mut self,
        outbox: &mut Outbox<'_>,
        room: Option<String>,
        name: Option<String>,
    ) -> Result<(), Fault> {
        let peer = outbox.peer();
        if let Some(wanted) = &name
            && let Some(existing) = self.rooms.taken(wanted, peer)
        {
            return Err(Fault::NameTaken {
                wanted: wanted.clone(),
                existing: existing.to_owned(),
                free: self.rooms.free_name(wanted),
            });
        }
        let Some(member) = self.rooms.get(peer) else { return Ok(()) };
        let room = room.map_or_else(|| member.room.clone(), |room| self.rooms.room_called(&room));
        let is_renamed = name.is_some() && name != member.name;
        if room != member.room || is_renamed {
            self.go(outbox, &room, name);
        }
        let name = self.rooms.get(peer).and_then(|member| member.name.as_deref());
        self.reply(outbox, &json(&Moved { kind: "joined", room: &room, name }));
        Ok(())
    }

    fn leave(&mut self, outbox: &mut Outbox<'_>) {
        let Some(member) = self.rooms.get(outbox.peer()) else { return };
        let room = member.room.clone();
        if room != LOBBY {
            self.go(outbox, LOBBY, None);
        }
        self.reply(outbox, &json(&Moved { kind: "left", room: &room, name: None }));
    }

    /// From one room to another, or in again under another name, with a word to those who want it: the old
    /// name left, the new one joined.
    fn go(&mut self, outbox: &mut Outbox<'_>, room: &str, name: Option<String>) {
        self.cost.messages += MOVE_COST;
        let peer = outbox.peer();
        let Some(before) = self.rooms.get(peer).map(|member| member.room.clone()) else { return };
        leave_groups(outbox, &before);
        self.tell(outbox, "left", peer, &before);
        if let Some(name) = name {
            self.rooms.rename(peer, name);
        }
        self.rooms.go(peer, room);
        self.join_groups(outbox, peer);
        self.tell(outbox, "joined", peer, room);
        if let Some(member) = self.rooms.get(peer) {
            let (client, name) = (member.client, member.name.as_deref());
            let text = texts::LOG_JOINED.get(self.guard.log_lang);
            info!(%peer, address = %client, name, room, before, "{text}");
        }
    }

    fn join_groups(&self, outbox: &mut Outbox<'_>, peer: PeerId) {
        let Some(member) = self.rooms.get(peer) else { return };
        let groups = match member.path {
            Path::Echo => vec![],
            Path::Raw => vec![rooms::raw(&member.room)],
            Path::Events { presence: false } => vec![rooms::events(&member.room)],
            Path::Events { presence: true } => {
                vec![rooms::events(&member.room), rooms::presence(&member.room)]
            }
        };
        for group in groups {
            outbox.join(&group).expect("two groups at most, with names that fit");
        }
    }

    /// Tells those in a room who want to know that somebody came or went.
    fn tell(&self, outbox: &mut Outbox<'_>, kind: &str, peer: PeerId, room: &str) {
        let name = self.rooms.get(peer).and_then(|member| member.name.as_deref());
        self.publish(
            outbox,
            &rooms::presence(room),
            Message::from(&json(&Moved { kind, room, name })),
        );
    }

    fn who(&mut self, outbox: &mut Outbox<'_>) {
        let Some(member) = self.rooms.get(outbox.peer()) else { return };
        let room = member.room.as_str();
        let everybody = self.rooms.within(room).map(|member| member.name.as_deref());
        let (mut names, mut unnamed) = (Vec::new(), 0);
        for name in everybody {
            match name {
                Some(name) => names.push(name),
                None => unnamed += 1,
            }
        }
        names.sort_unstable();
        let more = names.len().checked_sub(MAX_NAMES).filter(|&more| more > 0);
        names.truncate(MAX_NAMES);
        let answer = json(&Present { kind: "who", room, names, more, unnamed });
        self.cost.bytes += answer.len();
        self.reply(outbox, &answer);
    }

    fn log_closed(&self, peer: PeerId, member: &Member, closed: &Closed) {
        let (lang, address, code) = (self.guard.log_lang, member.client, closed.code.0);
        let name = member.name.as_deref();
        let room = (member.path != Path::Echo).then_some(member.room.as_str());
        match &closed.cause {
            Cause::Violation(violation) => {
                let (clause, text) = (violation.clause(), texts::LOG_BROKEN.get(lang));
                warn!(%peer, %address, name, room, code, clause, "{text}: {}", violation.text());
            }
            cause => {
                let (reason, text) = (printable(&closed.reason), texts::LOG_CLOSED.get(lang));
                info!(%peer, %address, name, room, code, reason, ?cause, "{text}");
            }
        }
    }

    /// Logs the text of a message, which is private unless the teacher has asked for it.
    fn log_message(&self, peer: PeerId, message: Message<'_>) {
        let Some(member) = self.rooms.get(peer).filter(|_| self.log_messages) else { return };
        let (address, name, room) = (member.client, member.name.as_deref(), member.room.as_str());
        let text = match message {
            Message::Text(text) => printable(text.as_str()),
            binary => texts::BINARY_MESSAGE.with(self.guard.log_lang, &[&binary.bytes().len()]),
        };
        info!(%peer, %address, name, room, text, "{}", texts::LOG_MESSAGE.get(self.guard.log_lang));
    }

    /// Charges a message and the work that it has caused. A client beyond its budget is not read for a while.
    fn charge(&mut self, outbox: &mut Outbox<'_>, message_bytes: usize) {
        let (peer, cost) = (outbox.peer(), mem::take(&mut self.cost));
        let Some(member) = self.rooms.get_mut(peer) else { return };
        let (messages, bytes) = (1 + cost.messages, message_bytes + cost.bytes);
        let pause = member.budget.charge(Instant::now(), messages, bytes, &self.limits);
        let Some(pause) = pause else { return };
        outbox.pause_reading(peer, pause.until);
        self.metrics.slowed_down();
        if !pause.is_reported {
            return;
        }
        let (client, path) = (member.client, member.path);
        let (name, room) = (member.name.as_deref(), member.room.as_str());
        let text = texts::LOG_SLOWED.get(self.guard.log_lang);
        warn!(%peer, address = %client, name, room, "{text}");
        if matches!(path, Path::Events { .. }) {
            self.reply(outbox, &json(&SlowedDown::default()));
        }
    }
}

impl Application for Classroom {
    /// The address of the client, which is not that of the connection if it comes through a proxy.
    type Ticket = IpAddr;

    fn on_request(&mut self, request: &Request<'_>, from: SocketAddr) -> Decision<IpAddr> {
        let (lang, route) = (self.pages.lang_of(request), route(request));
        let path = path_of(request, &route);
        // At / there is a page as well.
        let is_page = !request.is_handshake() && (path.is_none() || route == "/");
        let wanted = match (is_page, route.as_str()) {
            (false, _) => Wanted::WebSocket,
            (true, "/metrics" | "/wire") => Wanted::PrivatePage,
            (true, _) => Wanted::Page,
        };
        let client = match self.guard.admit(request, wanted, from, lang) {
            Ok(client) => client,
            Err(refusal) => return Decision::Respond(refusal),
        };
        let is_known = path.is_some() || is_page && self.pages.has(&route);
        if !is_known {
            let found = shortened(&printable(request.path()), MAX_SHOWN).into_owned();
            let text = texts::LOG_NOT_FOUND.get(self.guard.log_lang);
            info!(address = %client, path = found, status = 404, "{text}");
            return Decision::Respond(pages::not_found(request, &route, lang));
        }
        if is_page {
            return Decision::Respond(match route.as_str() {
                "/metrics" => self.metrics.page(),
                _ => self.pages.answer(request, &route, lang, self.rooms.len()),
            });
        }
        if room_of(request).is_none() {
            return Decision::Respond(pages::bad_room(request, lang));
        }
        if !request.is_handshake() {
            return Decision::Respond(pages::upgrade_required(request, lang));
        }
        let open = self.by_client.get(&client).copied().unwrap_or_default();
        if self.max_per_client.is_some_and(|most| open >= most) {
            let (rule, fix) = (texts::MANY_RULE, texts::MANY_FIX.get(lang));
            let found = format!("{client}: {open}");
            return Decision::Respond(teach(429, rule, "RFC 6585 4", &found, fix, lang));
        }
        Decision::Accept(client)
    }

    fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>, client: IpAddr) {
        let request = &opened.request;
        let path = path_of(request, &route(request));
        let (Some(path), Some(room)) = (path, room_of(request)) else { return };
        let (peer, lang) = (outbox.peer(), self.pages.lang_of(request));
        *self.by_client.entry(client).or_default() += 1;
        let room = self.rooms.enter(peer, path, lang, &room, client, Instant::now());
        self.join_groups(outbox, peer);
        let (path_shown, room_shown) = (route(request), (path != Path::Echo).then_some(&room));
        let text = texts::LOG_OPENED.get(self.guard.log_lang);
        info!(%peer, address = %client, path = path_shown, room = room_shown, "{text}");
        if path != Path::Echo {
            self.tell(outbox, "joined", peer, &room);
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        self.log_message(outbox.peer(), message);
        let Some(member) = self.rooms.get(outbox.peer()) else { return };
        let (path, lang, room) = (member.path, member.lang, member.room.clone());
        match path {
            Path::Echo => self.echo(outbox, message),
            Path::Raw => self.raw(outbox, &room, message),
            Path::Events { .. } => {
                let event = match message {
                    Message::Text(text) => events::parse(text.as_str()),
                    Message::Binary(_) => Err(Fault::InvalidMessage),
                };
                if let Err(fault) = event.and_then(|event| self.event(outbox, event)) {
                    let error = fault.event(lang);
                    self.cost.bytes += error.len();
                    self.reply(outbox, &error);
                }
            }
        }
        self.charge(outbox, message.bytes().len());
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, closed: &Closed) {
        let Some(member) = self.rooms.depart(outbox.peer()) else { return };
        self.log_closed(outbox.peer(), &member, closed);
        if let Entry::Occupied(mut open) = self.by_client.entry(member.client) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        if member.path != Path::Echo {
            let moved = Moved { kind: "left", room: &member.room, name: member.name.as_deref() };
            self.publish(outbox, &rooms::presence(&member.room), Message::from(&json(&moved)));
        }
    }
}

fn leave_groups(outbox: &mut Outbox<'_>, room: &str) {
    for group in [rooms::raw(room), rooms::events(room), rooms::presence(room)] {
        outbox.leave(&group);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use framewise::config::OriginPolicy;
    use framewise::lang::Lang;
    use framewise::{Client, Config, Event, Server};

    use super::*;
    use crate::serve::forwarded::Proxies;
    use crate::serve::hosts::Hosts;

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
                hosts: Rc::new(Hosts::new([])),
                proxies: Proxies::default(),
                origins: OriginPolicy::SameHost,
                token: None,
                log_lang: Lang::En,
            };
            let (pages, metrics) = (Pages::new(Lang::En), Rc::new(Metrics::new()));
            let limits = Limits { messages: 0, bytes: 0, burst_bytes: 0 };
            Faulty(Classroom::new(guard, pages, metrics, limits, None, false))
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
