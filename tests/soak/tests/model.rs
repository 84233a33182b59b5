//! The model against a server without sockets, which is always right: every order in which clients send, the server
//! processes and clients read is accepted. Then against one whose deliveries are spoiled, which is always noticed.

use std::collections::VecDeque;

use proptest::prelude::*;
use soak::event::{ConnectionId, Content, Event, MessageId, News, Path, Request, Said, Target};
use soak::model::{LOBBY, Model};
use soak::violation::Kind;

const ROOMS: [&str; 2] = [LOBBY, "7a"];

/// What a client does, or what happens next.
#[derive(Clone, Debug)]
enum Step {
    Open(usize),
    Say,
    SayBinary,
    SayTo(usize),
    Join(usize),
    Rename(usize),
    Leave,
    Who,
    Ping,
    Close,
    HalfClose,
    Reset,
    /// The server processes the next message of this client.
    Process,
    /// The client reads the next message.
    Read,
}

/// What is under way to the server.
#[derive(Clone, Debug)]
enum Up {
    Message(MessageId, Target, Content, bool),
    Request(Request),
    Ping,
    Close,
    HalfClose,
}

/// One connection, on both sides.
struct Peer {
    id: ConnectionId,
    path: Path,
    room: String,
    name: Option<String>,
    up: VecDeque<Up>,
    down: VecDeque<Event>,
    /// The client sends nothing more.
    is_leaving: bool,
    /// The server sends nothing more.
    is_closed: bool,
    has_ping: bool,
}

/// How deliveries are spoiled, from the first one on that can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoil {
    Nothing,
    Drop,
    Duplicate,
    Alter,
    Leak,
}

struct Class {
    model: Model,
    peers: Vec<Peer>,
    spoil: Spoil,
    spoilt: usize,
}

fn content(number: usize, is_binary: bool) -> Content {
    Content { digest: number as u64, is_binary }
}

impl Class {
    fn new(spoil: Spoil) -> Class {
        Class { model: Model::new(), peers: Vec::new(), spoil, spoilt: 0 }
    }

    fn open(&mut self, kind: usize) {
        let path = match kind % 4 {
            0 => Path::Echo,
            1 => Path::Raw,
            2 => Path::Events { news: false },
            _ => Path::Events { news: true },
        };
        let room = ROOMS[kind / 4 % 2];
        // The server has processed the request before the client reads the answer, which is at once here.
        let id = self.model.opened(path, room);
        self.tell(room, None, true, id);
        self.peers.push(Peer {
            id,
            path,
            room: room.to_owned(),
            name: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            is_leaving: false,
            is_closed: false,
            has_ping: false,
        });
    }

    fn step(&mut self, who: usize, step: &Step) {
        if let Step::Open(kind) = step {
            return self.open(*kind);
        }
        if self.peers.is_empty() {
            return;
        }
        let who = who % self.peers.len();
        match step {
            Step::Process => self.process(who),
            Step::Read => self.read(who),
            step => self.act(who, step),
        }
    }

    fn act(&mut self, who: usize, step: &Step) {
        let peer = &mut self.peers[who];
        if peer.is_leaving {
            return;
        }
        let (id, is_events) = (peer.id, matches!(peer.path, Path::Events { .. }));
        let request = |request: Request| is_events.then_some(Up::Request(request));
        let next = self.model.next_message(id);
        let is_open = self.model.has_open_private(id);
        let say = |to: Target, is_binary: bool| {
            // Every other message to a room has an id, and private ones if there is another one without.
            let has_id = is_events && (next.number.is_multiple_of(2) || is_open);
            Some(Up::Message(next, to, content(next.number, is_binary), has_id))
        };
        let to_room = if peer.path == Path::Echo { Target::Echo } else { Target::Room };
        let up = match step {
            Step::Say => say(to_room, false),
            Step::SayBinary if !is_events => say(to_room, true),
            Step::SayTo(name) if is_events => say(Target::Name(name.to_string()), false),
            Step::Join(room) => {
                request(Request::Join { room: Some(ROOMS[room % 2].to_owned()), name: None })
            }
            Step::Rename(name) => {
                request(Request::Join { room: None, name: Some(name.to_string()) })
            }
            Step::Leave => request(Request::Leave),
            Step::Who => request(Request::Who),
            Step::Ping if !peer.has_ping => {
                peer.has_ping = true;
                Some(Up::Ping)
            }
            Step::Close => Some(Up::Close),
            Step::HalfClose => Some(Up::HalfClose),
            Step::Reset => {
                self.model.record(id, Event::Resetting);
                self.model.record(id, Event::Ended);
                return self.depart(who);
            }
            _ => None,
        };
        let Some(up) = up else { return };
        peer.is_leaving = matches!(up, Up::Close | Up::HalfClose);
        let event = match &up {
            Up::Message(_, to, content, has_id) => {
                Event::Sending { to: to.clone(), content: *content, has_id: *has_id }
            }
            Up::Request(request) => Event::Asking(request.clone()),
            Up::Ping => Event::Pinging,
            Up::Close => Event::Closing(1000),
            Up::HalfClose => Event::HalfClosing,
        };
        peer.up.push_back(up);
        self.model.record(id, event);
    }

    fn depart(&mut self, who: usize) {
        let peer = self.peers.remove(who);
        if !peer.is_closed {
            self.tell(&peer.room, peer.name, false, peer.id);
        }
    }

    /// News for those in a room who want it.
    fn tell(&mut self, room: &str, name: Option<String>, has_joined: bool, except: ConnectionId) {
        let news = Event::News(News { has_joined, room: room.to_owned(), name });
        let wants = |peer: &&mut Peer| {
            peer.path == Path::Events { news: true }
                && peer.id != except
                && peer.room == room
                && !peer.is_closed
        };
        self.peers.iter_mut().filter(wants).for_each(|peer| peer.down.push_back(news.clone()));
    }

    fn process(&mut self, who: usize) {
        let Some(up) = self.peers[who].up.pop_front() else { return };
        match up {
            Up::Message(id, to, content, has_id) => self.deliver(who, id, to, content, has_id),
            Up::Request(request) => self.answer(who, request),
            Up::Ping => self.peers[who].down.push_back(Event::Ponged),
            Up::Close | Up::HalfClose => {
                let peer = &mut self.peers[who];
                if matches!(up, Up::Close) {
                    peer.down.push_back(Event::Closed(1000));
                }
                peer.down.push_back(Event::Ended);
                peer.is_closed = true;
                let (room, name, id) = (peer.room.clone(), peer.name.take(), peer.id);
                self.tell(&room, name, false, id);
            }
        }
    }

    fn deliver(&mut self, who: usize, id: MessageId, to: Target, content: Content, has_id: bool) {
        let Peer { name: from, room, .. } = &self.peers[who];
        let (from, room) = (from.clone(), room.clone());
        let said = |path: Path, to: Option<String>| {
            let mut said = Said { id, content, room: None, from: None, to: None };
            if path != Path::Raw {
                said.room = to.is_none().then(|| room.clone());
                (said.from, said.to) = (from.clone(), to);
            }
            Event::Said(said)
        };
        match to {
            Target::Echo => self.peers[who].down.push_back(Event::Echoed(content)),
            Target::Name(name) => {
                let is_called =
                    |peer: &&mut Peer| !peer.is_closed && peer.name.as_ref() == Some(&name);
                match self.peers.iter_mut().find(is_called) {
                    Some(peer) => peer.down.push_back(said(peer.path, Some(name))),
                    None => {
                        let message = has_id.then_some(id.number);
                        let event = Event::Refused { code: "no_such_peer".to_owned(), message };
                        return self.peers[who].down.push_back(event);
                    }
                }
            }
            Target::Room => {
                for peer in &mut self.peers {
                    let is_audible = match peer.path {
                        Path::Echo => false,
                        Path::Raw => true,
                        Path::Events { .. } => !content.is_binary,
                    };
                    if is_audible && peer.room == room && peer.id != id.sender && !peer.is_closed {
                        peer.down.push_back(said(peer.path, None));
                    }
                }
            }
            Target::Nobody => {}
        }
        if has_id {
            self.peers[who].down.push_back(Event::Acked(id.number));
        }
    }

    fn answer(&mut self, who: usize, request: Request) {
        let Peer { id, room: before, name: old, .. } = &self.peers[who];
        let (id, before, old) = (*id, before.clone(), old.clone());
        let (room, name) = match &request {
            Request::Join { room, name } => {
                let is_taken = |peer: &Peer| name.is_some() && peer.name == *name && peer.id != id;
                if self.peers.iter().any(is_taken) {
                    let code = "name_taken".to_owned();
                    let event = Event::Refused { code, message: None };
                    return self.peers[who].down.push_back(event);
                }
                (room.clone().unwrap_or_else(|| before.clone()), name.clone().or(old.clone()))
            }
            Request::Leave => (LOBBY.to_owned(), old.clone()),
            _ => (before.clone(), old.clone()),
        };
        if room != before || name != old {
            self.tell(&before, old, false, id);
            self.tell(&room, name.clone(), true, id);
        }
        self.peers[who].room.clone_from(&room);
        self.peers[who].name.clone_from(&name);
        let event = match request {
            Request::Join { .. } => Event::Joined { room, name },
            Request::Leave => Event::Left { room: before },
            Request::Who => {
                let is_here =
                    |peer: &&Peer| peer.room == room && !peer.is_closed && peer.path != Path::Echo;
                let here: Vec<_> = self.peers.iter().filter(is_here).collect();
                let names: Vec<_> = here.iter().filter_map(|peer| peer.name.clone()).collect();
                Event::Present { room, unnamed: here.len() - names.len(), names }
            }
            Request::Ping => Event::Alive,
            Request::Message(_) => return,
            Request::Invalid(code) => Event::Refused { code: code.to_owned(), message: None },
        };
        self.peers[who].down.push_back(event);
    }

    fn read(&mut self, who: usize) {
        let Some(event) = self.peers[who].down.pop_front() else { return };
        let id = self.peers[who].id;
        if event == Event::Ponged {
            self.peers[who].has_ping = false;
        }
        for event in self.spoiled(id, event) {
            if event == Event::Ended {
                self.peers.retain(|peer| peer.id != id);
            }
            self.model.record(id, event);
        }
    }

    fn spoiled(&mut self, id: ConnectionId, event: Event) -> Vec<Event> {
        let Event::Said(said) = &event else { return vec![event] };
        let is_room = said.to.is_none();
        match self.spoil {
            Spoil::Drop => {
                self.spoilt += 1;
                vec![]
            }
            Spoil::Duplicate => {
                self.spoilt += 1;
                vec![event.clone(), event]
            }
            Spoil::Alter => {
                self.spoilt += 1;
                let mut said = said.clone();
                said.content.digest += 1_000;
                vec![Event::Said(said)]
            }
            Spoil::Leak if is_room => {
                let elsewhere = self.peers.iter().find(|peer| {
                    let is_certain = self.model.certain_room(peer.id).is_some();
                    peer.id != id
                        && is_certain
                        && peer.down.is_empty()
                        && peer.path == Path::Raw
                        && self.model.certain_room(id).is_some_and(|(_, room)| room != peer.room)
                });
                if let Some(elsewhere) = elsewhere.map(|peer| peer.id) {
                    self.spoilt += 1;
                    self.model.record(elsewhere, event.clone());
                }
                vec![event]
            }
            _ => vec![event],
        }
    }

    /// Everything that is under way arrives, and everybody asks once more.
    fn settle(&mut self) {
        for _ in 0..2 {
            while let Some(who) = self.peers.iter().position(|peer| !peer.up.is_empty()) {
                self.process(who);
            }
            while let Some(who) = self.peers.iter().position(|peer| !peer.down.is_empty()) {
                self.read(who);
            }
            for who in 0..self.peers.len() {
                self.act(who, &Step::Ping);
            }
        }
    }

    /// The server stops: a Close for each connection, and then nothing.
    fn stop(&mut self) {
        self.model.stopping();
        for peer in &mut self.peers {
            if !peer.is_closed {
                peer.down.extend([Event::Closed(1001), Event::Ended]);
            }
        }
        while let Some(who) = self.peers.iter().position(|peer| !peer.down.is_empty()) {
            self.read(who);
        }
        self.model.stopped();
    }

    fn kinds(&self) -> Vec<Kind> {
        self.model.violations().iter().map(|violation| violation.kind).collect()
    }
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        1 => (0..8_usize).prop_map(Step::Open),
        6 => Just(Step::Say),
        1 => Just(Step::SayBinary),
        2 => (0..3_usize).prop_map(Step::SayTo),
        2 => (0..2_usize).prop_map(Step::Join),
        2 => (0..3_usize).prop_map(Step::Rename),
        1 => Just(Step::Leave),
        1 => Just(Step::Who),
        2 => Just(Step::Ping),
        1 => prop_oneof![Just(Step::Close), Just(Step::HalfClose), Just(Step::Reset)],
        12 => Just(Step::Process),
        20 => Just(Step::Read),
    ];
    (0..100_usize, step)
}

/// Six connections, and what happens to them.
fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    prop::collection::vec(step(), 0..300).prop_map(|mut steps| {
        let opening = [1, 2, 3, 6, 7, 5].map(|kind| (0, Step::Open(kind)));
        steps.splice(0..0, opening);
        steps
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn run(spoil: Spoil, steps: &[(usize, Step)], stops_at_once: bool) -> Class {
    let mut class = Class::new(spoil);
    steps.iter().for_each(|(who, step)| class.step(*who, step));
    if !stops_at_once {
        class.settle();
    }
    class.stop();
    class
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_server_that_is_right_is_accepted(steps in steps(), stops_at_once: bool) {
        let class = run(Spoil::Nothing, &steps, stops_at_once);
        prop_assert!(class.model.violations().is_empty(), "{:#?}", class.model.violations());
    }

    /// What is in flight may be lost, so not every drop is noticed. If one is, it is called what it is.
    #[test]
    fn a_message_that_is_dropped_is_missing(steps in steps()) {
        let class = run(Spoil::Drop, &steps, false);
        prop_assert!(class.kinds().iter().all(|kind| *kind == Kind::Missing), "{:?}", class.kinds());
        let certain = class.model.counts().certain;
        prop_assert!(class.spoilt > 0 || class.kinds().is_empty(), "{certain}");
    }

    #[test]
    fn a_second_delivery_is_noticed(steps in steps()) {
        let class = run(Spoil::Duplicate, &steps, false);
        prop_assert_eq!(class.kinds().contains(&Kind::Duplicate), class.spoilt > 0);
    }

    #[test]
    fn another_content_is_noticed(steps in steps()) {
        let class = run(Spoil::Alter, &steps, false);
        prop_assert_eq!(class.kinds().contains(&Kind::Altered), class.spoilt > 0);
    }

    #[test]
    fn a_message_in_another_room_is_noticed(steps in steps()) {
        let class = run(Spoil::Leak, &steps, false);
        prop_assert_eq!(class.kinds().contains(&Kind::Leaked), class.spoilt > 0);
    }
}
