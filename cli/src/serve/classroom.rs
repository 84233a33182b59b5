//! The dispatcher of `framewise serve`: it receives each message, and decides by the path what becomes of it.
//!
//! ```text
//!  /, /echo      text ──> "Echo: " + text             binary ──> the same
//!  /ws           text or binary ──> an utterance
//!  /ws/events    event ──> an utterance, or another request to the engine; actions.rs
//!  /explain/ws   question ──> stepper/: bytes, labelled; no room
//!
//!  request ──> class/engine.rs ──> reply to the client, news to the groups of the room; actions.rs
//! ```
//!
//! Rules of this file: a fault in an event is answered, and the connection stays open. Every message is paid for.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use framewise::{
    Application, CloseCode, Closed, Decision, Message, Opened, Outbox, PeerId, Request,
};

use crate::serve::actions::{Pending, Purpose};
use crate::serve::admission::Admission;
use crate::serve::budget::{Budget, Limits};
use crate::serve::class::engine::{Engine, Ticket};
use crate::serve::class::roster::MemberIds;
use crate::serve::class::utterance::{Body, Sender};
use crate::serve::class_log::ClassLog;
use crate::serve::events::{self, Fault, Received, SlowedDown, json};
use crate::serve::metrics::Metrics;
use crate::serve::routes::{Path, Route, client_of, room_of};
use crate::serve::session::{Session, Sessions};
use crate::serve::stepper::Stepper;
use crate::serve::wire::Wire;

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
    pub(super) sessions: Sessions,
    member_ids: MemberIds,
    pub(super) engine: Box<dyn Engine>,
    /// The requests whose replies have not come.
    pub(super) pending: HashMap<Ticket, Pending>,
    pub(super) next_ticket: Ticket,
    admission: Admission,
    pub(super) metrics: Rc<Metrics>,
    /// The budget of each client.
    limits: Limits,
    pub(super) log: ClassLog,
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
        engine: Box<dyn Engine>,
        admission: Admission,
        metrics: Rc<Metrics>,
        limits: Limits,
        log: ClassLog,
        wire: Wire,
    ) -> Classroom {
        Classroom {
            sessions: Sessions::default(),
            member_ids: MemberIds::default(),
            engine,
            pending: HashMap::new(),
            next_ticket: Ticket(0),
            admission,
            metrics,
            limits,
            log,
            cost: Cell::default(),
            wire,
            viewers: HashMap::new(),
            stepper: Stepper::default(),
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

    /// Sends a text to the client that is being served.
    pub(super) fn reply(&self, outbox: &mut Outbox<'_>, text: &str) {
        self.send(outbox, outbox.peer(), text);
    }

    /// Sends a text to a client. Reports whether its connection is open.
    pub(super) fn send(&self, outbox: &mut Outbox<'_>, to: PeerId, text: &str) -> bool {
        let message = Message::from(text);
        self.wire.sending(outbox.peer(), || vec![to], message.bytes());
        let is_sent = match to == outbox.peer() {
            true => outbox.reply(message),
            false => outbox.send(to, message),
        };
        self.metrics.sent(message, usize::from(is_sent));
        is_sent
    }

    /// Sends a message to all members of a group but one. Each hundred of recipients cost as much as the message itself.
    pub(super) fn publish(
        &self,
        outbox: &mut Outbox<'_>,
        group: &str,
        message: Message<'_>,
        except: Option<PeerId>,
    ) {
        let others = || {
            let members = outbox.members(group).iter().copied();
            members.filter(|&member| Some(member) != except).collect()
        };
        self.wire.sending(outbox.peer(), others, message.bytes());
        let recipients = outbox.publish(group, message, except.as_slice());
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
    fn raw(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        let body = match message {
            Message::Text(text) => Body::Text(text.as_str().to_owned()),
            binary => Body::Bytes(binary.bytes().to_vec()),
        };
        self.say(outbox, body, None, None);
    }

    /// Carries out an event, which is answered later or at once.
    fn receive(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        let Received { id, event } = match message {
            Message::Text(text) => events::parse(text.as_str()),
            Message::Binary(_) => Received { id: None, event: Err(Fault::InvalidMessage) },
        };
        match event {
            Ok(event) => self.event(outbox, event, id),
            Err(fault) => self.answer(outbox, outbox.peer(), id.as_deref(), Err(fault)),
        }
    }

    /// Charges a message and the work that it has caused. A client beyond its budget is not read for a while.
    fn charge(&mut self, outbox: &mut Outbox<'_>, message_bytes: usize) {
        let (peer, cost, now) = (outbox.peer(), self.cost.take(), Instant::now());
        let Some(session) = self.sessions.get_mut(peer) else { return };
        let (messages, bytes) = (1 + cost.messages, message_bytes + cost.bytes);
        let Some(pause) = session.budget.charge(now, messages, bytes, &self.limits) else {
            if messages >= MUCH {
                // A pause that is already over ends the turn.
                outbox.pause_reading(peer, now);
            }
            return;
        };
        outbox.pause_reading(peer, pause.until);
        session.paused_until = Some(pause.until);
        self.metrics.slowed_down();
        if !pause.is_reported {
            return;
        }
        self.log.slowed(peer, session);
        if matches!(session.path, Path::Events { .. }) {
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
        self.admission.decide(request, from, self.sessions.len())
    }

    fn on_open(&mut self, outbox: &mut Outbox<'_>, opened: &Opened<'_>, client: IpAddr) {
        let (request, route) = (&opened.request, Route::of(&opened.request));
        if route == Route::Wire {
            return self.viewer_opened(outbox, client);
        }
        let (Some(path), Some(room)) = (route.socket(request), room_of(request)) else { return };
        let (peer, lang) = (outbox.peer(), self.admission.lang_of(request));
        self.admission.opened(client);
        let member = self.member_ids.next();
        let sender = match client_of(request) {
            Ok(Some(client)) => Sender::Client(client),
            _ => Sender::Member(member),
        };
        let session = Session {
            path,
            client,
            sender,
            lang,
            member,
            room: None,
            name: None,
            is_entering: false,
            paused_until: None,
            is_numbered: path == Path::Events { presence: true },
            budget: Budget::new(Instant::now()),
        };
        self.sessions.insert(peer, session);
        if !path.is_in_room() {
            self.log.opened(peer, client, route.path(), None);
            return self.wire.member(peer, route.path(), None, None);
        }
        self.enter(outbox, Some(room), None, Purpose::Open, None);
        self.charge(outbox, 0);
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        let Some(session) = self.sessions.get(outbox.peer()) else {
            return self.viewer_asks(outbox, message);
        };
        let (path, lang) = (session.path, session.lang);
        // A question about bytes is no message of the class.
        if path != Path::Explain {
            self.log.message(outbox.peer(), session, message);
        }
        match path {
            Path::Echo => self.echo(outbox, message),
            Path::Raw => self.raw(outbox, message),
            Path::Events { .. } => self.receive(outbox, message),
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
        let Some(session) = self.sessions.remove(outbox.peer()) else { return };
        self.stepper.forget(outbox.peer());
        self.log.closed(outbox.peer(), &session, closed);
        self.admission.closed(session.client);
        if session.path.is_in_room() {
            self.engine.depart(session.member);
            self.follow(outbox);
        }
        // Nobody is left who could pay.
        self.cost.take();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::JoinHandle;
    use std::time::Duration;

    use framewise::config::OriginPolicy;
    use framewise::lang::Lang;
    use framewise::{Client, Config, Event, Handle, Server};

    use super::*;
    use crate::serve::class::engine;
    use crate::serve::class::memory::Memory;
    use crate::serve::class::rooms::Keeping;
    use crate::serve::class::roster::MemberId;
    use crate::serve::class::utterance::Utterance;
    use crate::serve::forwarded::Proxies;
    use crate::serve::guard::Guard;
    use crate::serve::guesses::Guesses;
    use crate::serve::hosts::Hosts;
    use crate::serve::pages::Pages;
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

    /// Returns a classroom with an engine, and without limits.
    fn classroom(engine: impl Engine + 'static) -> Classroom {
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
        let (pages, metrics) = (Pages::new(Lang::En, None, 200), Rc::new(Metrics::new()));
        let limits = Limits { messages: 0, bytes: 0, burst_bytes: 0 };
        let (wire, log) = (Wire::default(), ClassLog::new(Lang::En, false));
        let admission = Admission::new(guard, pages, Rc::clone(&metrics), None, wire.clone());
        Classroom::new(Box::new(engine), admission, metrics, limits, log, wire)
    }

    fn memory() -> Memory {
        Memory::new(Keeping { messages: 200, bytes: 1 << 20 })
    }

    /// Serves on a thread. Returns the address and a handle.
    fn serve<A: Application + 'static>(
        classroom: impl FnOnce() -> A + Send + 'static,
    ) -> (SocketAddr, Handle<A>, JoinHandle<()>) {
        let config = Config::default().listen("127.0.0.1", 0);
        let (told, address) = std::sync::mpsc::channel();
        let serving = std::thread::spawn(move || {
            let mut server = Server::bind(config, classroom()).expect("a port");
            let address = server.local_addrs().next().expect("bound");
            told.send((address, server.handle())).expect("the test waits");
            server.run().expect("it serves");
        });
        let (address, handle) = address.recv().expect("it is told");
        (address, handle, serving)
    }

    fn connect(address: SocketAddr) -> Client {
        Client::connect(&format!("ws://{address}/ws/events")).expect("it answers")
    }

    fn say(client: &mut Client, event: &str) {
        assert!(client.send(event).expect("it takes bytes"));
    }

    /// Expects a message with these words, or a Close with this code.
    fn hears(client: &mut Client, words: &str) {
        match client.recv_timeout(Duration::from_secs(30)).expect("a socket") {
            Some(Event::Message(message)) => {
                let bytes = message.as_message();
                let text = String::from_utf8_lossy(bytes.bytes()).into_owned();
                assert!(text.contains(words), "{text}");
            }
            Some(Event::Closed(closed)) => assert_eq!(closed.code.to_string(), words),
            other => panic!("{words} was due, not {other:?}"),
        }
    }

    /// R18: a fault in the classroom costs one of the class, whose name is free again.
    #[test]
    fn a_panic_costs_one_of_the_class() {
        let (address, handle, serving) = serve(|| Faulty(classroom(memory())));
        let (mut ana, mut bia) = (connect(address), connect(address));
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
        drop(bia);
        serving.join().expect("it ends");
    }

    /// An engine that replies only when it is prompt.
    struct Late {
        inner: Memory,
        is_prompt: Arc<AtomicBool>,
    }

    impl Engine for Late {
        fn submit(&mut self, ticket: Ticket, request: engine::Request) {
            self.inner.submit(ticket, request);
        }

        fn depart(&mut self, member: MemberId) {
            self.inner.depart(member);
        }

        fn delivered(&mut self, utterance: &Utterance) {
            self.inner.delivered(utterance);
        }

        fn next(&mut self) -> Option<engine::Event> {
            if self.is_prompt.load(Ordering::SeqCst) { self.inner.next() } else { None }
        }
    }

    /// A client that waits for a room or a name is not read, so that its next message goes to the right room. The others go on.
    #[test]
    fn a_late_engine_keeps_the_order() {
        let is_prompt = Arc::new(AtomicBool::new(true));
        let prompt = Arc::clone(&is_prompt);
        let (address, handle, serving) =
            serve(move || classroom(Late { inner: memory(), is_prompt: prompt }));
        let pending = |count: usize| {
            while handle.call(|room, _| room.pending.len()).expect("it serves") != count {
                std::thread::yield_now();
            }
        };
        let release = || {
            is_prompt.store(true, Ordering::SeqCst);
            handle.run(|room, outbox| room.follow(outbox)).expect("it serves");
        };
        let (mut ana, mut bia, mut caio) = (connect(address), connect(address), connect(address));
        for (client, name) in [(&mut ana, "ana"), (&mut bia, "bia"), (&mut caio, "caio")] {
            say(client, &format!(r#"{{"type": "join", "name": "{name}", "room": "{name}"}}"#));
            hears(client, "joined");
        }
        is_prompt.store(false, Ordering::SeqCst);
        // The answer to a ping needs no engine.
        say(&mut ana, r#"{"type": "join", "room": "bia"}"#);
        pending(1);
        say(&mut ana, r#"{"message": "olá, bia", "id": "1"}"#);
        say(&mut ana, r#"{"type": "ping"}"#);
        say(&mut bia, r#"{"type": "ping"}"#);
        hears(&mut bia, "pong");
        // Another one opens, and one that waits goes.
        let mut duda = connect(address);
        say(&mut caio, r#"{"type": "join", "room": "bia", "name": "c"}"#);
        pending(3);
        caio.close(CloseCode::NORMAL, "").expect("a valid code");
        say(&mut duda, r#"{"type": "who"}"#);
        pending(3);
        release();
        hears(&mut ana, r#""room":"bia""#);
        hears(&mut ana, r#""type":"ack","id":"1","seq":1"#);
        hears(&mut ana, "pong");
        hears(&mut bia, "olá, bia");
        hears(&mut duda, r#""room":"lobby""#);
        // What was asked for, and nothing else, is the case, as soon as the one that waited has gone.
        while handle.call(|room, _| room.sessions.len()).expect("it serves") != 3 {
            std::thread::yield_now();
        }
        pending(0);
        say(&mut bia, r#"{"type": "who"}"#);
        hears(&mut bia, r#""names":["ana","bia"]"#);
        drop((ana, caio, duda));
        handle.shutdown(Duration::from_secs(5)).expect("it still serves");
        hears(&mut bia, "1001");
        drop(bia);
        serving.join().expect("it ends");
    }
}
