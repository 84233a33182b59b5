//! The model checker: knows what each connection must have seen, and must not have seen. No sockets, no clock.
//!
//! It takes [events](Event) of all connections, in the order in which they were recorded, and yields [violations](Violation).
//!
//! # What is certain
//!
//! The server processes what it receives one message after the other, and each connection delivers what was sent to it in
//! order. So the stream of one client has no doubt in it: everything before the answer `joined` comes from the old room,
//! everything after it from the new one. Between two connections, something is certain only if the events that were
//! recorded prove it:
//!
//! - A message was **processed** before a moment if somebody had received it by then, or its sender had received the answer
//!   to something that it sent later (a request, a ping, its Close).
//! - A **membership** of a room lasts from the answer that begins it to the answer that ends it, in the client's own stream.
//! - A **fence** is an answer in the client's stream. What was processed before the client asked must have arrived before the
//!   answer.
//!
//! # What is checked
//!
//! Always, whoever moves:
//!
//! - A message was sent, with this content, and completely.
//! - It arrives at most once, and the messages of one sender arrive in order, over all rooms and private ones.
//! - It arrives in the room in which its sender was, and only there; a private message at one connection, which has the name.
//! - Within one membership there are no gaps: between two messages of a sender to the room, none of that sender is missing.
//! - One order of all messages exists with which all memberships of a room agree.
//! - Answers come in the order of the requests, and are right. No two connections have one name.
//! - News about somebody with a name alternates between joined and left, within one membership.
//!
//! Completeness, for a message that was sent after the recipient's membership had certainly begun:
//!
//! - At a fence, at the request that ends the membership, and at the client's own Close or half-close: whatever was processed
//!   before the client asked has arrived.
//! - At the Close with 1001 of a server that stops: whatever was processed *at all* has arrived, because a server that has
//!   begun to stop processes no message any more.
//! - A private message that was not refused has arrived at the one who certainly had the name from before it was sent until
//!   it was processed.
//!
//! Left open: a message in flight while its recipient joins (it may arrive, and if it does then so do all later ones of its
//! sender), and what a sender that vanished without a Close sent last. A client that stalled may be closed with 1008; what it
//! did receive is judged as that of others.

mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem;
use std::rc::Rc;

use crate::event::{ConnectionId, Content, Event, MessageId, Path, Request, Said, Target};
use crate::model::judge::{End, Finding, Judge, Membership, Step};
use crate::order;
use crate::violation::{Counts, Kind, Violation};

/// The room of those who ask for none.
pub const LOBBY: &str = "lobby";

/// The events of a connection that a violation shows.
const HISTORY: usize = 40;

/// The violations that are kept. More are only counted.
const MAX_VIOLATIONS: usize = 20;

/// The number of an event, in the order in which they are recorded.
type Moment = u64;

/// Where a connection is, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    room: String,
    name: Option<String>,
}

/// What is known about where a message was sent from.
#[derive(Clone, Debug)]
enum Place {
    Known(Rc<State>),
    /// The request before the message is not answered yet.
    Pending {
        room: String,
    },
    /// It never was: the sender may have been in one of these rooms.
    Lost {
        rooms: Vec<String>,
    },
}

#[derive(Clone, Debug)]
struct Sent {
    to: Target,
    content: Content,
    at: Moment,
    /// An index of `Connection::places`.
    place: usize,
}

#[derive(Clone, Debug)]
struct Asked {
    request: Request,
    at: Moment,
    /// How many messages were sent before.
    sent: usize,
    /// The index of the place that the answer decides.
    place: usize,
}

/// A state that lasts until the client does something about it.
#[derive(Clone, Debug)]
struct Certain {
    since: Moment,
    state: Rc<State>,
}

#[derive(Debug)]
struct Connection {
    path: Path,
    sent: Vec<Sent>,
    places: Vec<Place>,
    requests: VecDeque<Asked>,
    /// When a ping was sent that has no pong, and how many messages before it.
    ping: Option<(Moment, usize)>,
    echoes: VecDeque<Content>,
    /// At each moment, how many messages were processed at least.
    processed: Vec<(Moment, usize)>,
    certain: Option<Certain>,
    /// The private message that is neither refused nor accepted yet.
    private: Option<usize>,
    /// Private messages that this connection must receive, and when they had been processed.
    owed: BTreeMap<MessageId, Moment>,
    closing: Option<(u16, Moment)>,
    half_closing: Option<Moment>,
    is_resetting: bool,
    has_stalled: bool,
    is_closed: bool,
    is_over: bool,
    judge: Judge,
    history: VecDeque<(Moment, Event)>,
}

#[derive(Debug, Default)]
struct Private {
    is_refused: bool,
    received_by: Option<ConnectionId>,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Model {
    now: Moment,
    connections: Vec<Connection>,
    /// Those that are not over.
    open: BTreeSet<ConnectionId>,
    /// The messages to each room, in the order in which it became known that they were sent there.
    rooms: HashMap<String, Vec<MessageId>>,
    /// What the members of each room saw.
    views: HashMap<String, Vec<Vec<MessageId>>>,
    privates: HashMap<MessageId, Private>,
    /// Who waits until the place of a message of this connection is known.
    waiting: HashMap<ConnectionId, BTreeSet<ConnectionId>>,
    is_stopping: bool,
    counts: Counts,
    violations: Vec<Violation>,
}

impl Connection {
    /// Returns when a message had been processed for certain.
    fn processed_at(&self, number: usize) -> Option<Moment> {
        let place = self.processed.partition_point(|(_, count)| *count <= number);
        self.processed.get(place).map(|(at, _)| *at)
    }

    fn place_of(&self, sent: &Sent) -> &Place {
        &self.places[sent.place]
    }

    /// Reports whether a message went to a room, where recipients of this path hear it.
    fn is_heard(&self, sent: &Sent, room: &str, path: Path) -> bool {
        let is_audible = path == Path::Raw || !sent.content.is_binary;
        let is_there = |state: &State| state.room == room;
        sent.to == Target::Room
            && is_audible
            && matches!(self.place_of(sent), Place::Known(state) if is_there(state))
    }

    /// Returns the place that is known last.
    fn last_known(&self, before: usize) -> Rc<State> {
        let known = self.places[..before].iter().rev().find_map(|place| match place {
            Place::Known(state) => Some(Rc::clone(state)),
            _ => None,
        });
        known.expect("the first place is known")
    }
}

impl Place {
    /// Returns the room that is known, or that was asked for.
    fn room(&self) -> &str {
        match self {
            Place::Known(state) => &state.room,
            Place::Pending { room } => room,
            Place::Lost { rooms } => rooms.last().map_or(LOBBY, String::as_str),
        }
    }
}

impl Model {
    /// An empty one.
    pub fn new() -> Model {
        Model::default()
    }

    /// Returns how much was checked.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns the violations that were found, in order.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Returns how many messages a connection has sent, which is the number of its next one.
    pub fn next_message(&self, sender: ConnectionId) -> MessageId {
        MessageId { sender, number: self.connections[sender].sent.len() }
    }

    /// Reports whether it is open what became of the last private message without an id of a connection. An error does not
    /// name it, so a connection may send only one at a time.
    pub fn has_open_private(&self, id: ConnectionId) -> bool {
        self.connections[id].private.is_some()
    }

    /// Returns how many answers a connection waits for.
    pub fn awaited(&self, id: ConnectionId) -> usize {
        let connection = &self.connections[id];
        let pings = usize::from(connection.ping.is_some());
        connection.requests.len() + connection.echoes.len() + pings
    }

    /// Returns the path of a connection, and its room if it is certainly in one.
    pub fn certain_room(&self, id: ConnectionId) -> Option<(Path, &str)> {
        let connection = &self.connections[id];
        Some((connection.path, connection.certain.as_ref()?.state.room.as_str()))
    }

    /// The server has accepted a handshake. `room` is the one that the request asked for.
    pub fn opened(&mut self, path: Path, room: &str) -> ConnectionId {
        self.now += 1;
        self.counts.connections += 1;
        let id = self.connections.len();
        let state = Rc::new(State { room: room.to_owned(), name: None });
        let membership = Membership::new(room, self.now, self.rooms.get(room).map_or(0, Vec::len));
        let is_member = path != Path::Echo;
        self.open.insert(id);
        self.connections.push(Connection {
            path,
            sent: Vec::new(),
            places: vec![Place::Known(Rc::clone(&state))],
            requests: VecDeque::new(),
            ping: None,
            echoes: VecDeque::new(),
            processed: Vec::new(),
            certain: is_member.then_some(Certain { since: self.now, state }),
            private: None,
            owed: BTreeMap::new(),
            closing: None,
            half_closing: None,
            is_resetting: false,
            has_stalled: false,
            is_closed: false,
            is_over: false,
            judge: Judge::new(is_member.then_some(membership)),
            history: VecDeque::new(),
        });
        id
    }

    /// The server is about to be told to stop.
    pub fn stopping(&mut self) {
        self.now += 1;
        self.is_stopping = true;
    }

    /// The server has stopped, and all connections are over. Another one may start.
    pub fn stopped(&mut self) {
        self.now += 1;
        self.is_stopping = false;
        for id in 0..self.connections.len() {
            if !self.connections[id].is_over {
                self.record(id, Event::Ended);
            }
        }
        for id in 0..self.connections.len() {
            self.judge_goodbye(id);
        }
        let mut views: Vec<_> = mem::take(&mut self.views).into_iter().collect();
        views.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        for (room, views) in views {
            self.counts.views += views.len() as u64;
            if let Some(cycle) = order::cycle(&views) {
                let ids: Vec<String> = cycle.iter().map(MessageId::to_string).collect();
                let text = format!("in {room}, each comes before the next: {}", ids.join(" < "));
                let text = format!("{text} < {}", ids[0]);
                self.report(cycle[0].sender, (Kind::Disordered, text, Some(cycle[0])));
            }
        }
        self.rooms.clear();
        self.privates.clear();
    }

    /// Records what happened to a connection.
    pub fn record(&mut self, id: ConnectionId, event: Event) {
        self.now += 1;
        let now = self.now;
        let connection = &mut self.connections[id];
        if connection.history.len() == HISTORY {
            connection.history.pop_front();
        }
        connection.history.push_back((now, event.clone()));
        if connection.is_over {
            let text = format!("after the end: {event:?}");
            return self.report(id, (Kind::WrongAnswer, text, None));
        }
        match event {
            Event::Sending { to, content, has_id } => self.sending(id, to, content, has_id),
            Event::Repeating(number) => self.asking(id, Request::Message(number)),
            Event::Asking(request) => self.asking(id, request),
            Event::Pinging => connection.ping = Some((now, connection.sent.len())),
            Event::Closing(code) => {
                connection.certain = None;
                connection.closing = Some((code, now));
            }
            Event::HalfClosing => {
                connection.certain = None;
                connection.half_closing = Some(now);
            }
            Event::Resetting => {
                connection.certain = None;
                connection.is_resetting = true;
            }
            Event::Stalling => {
                // If the server closes it, its name is free before it knows.
                connection.certain = None;
                connection.has_stalled = true;
            }
            Event::Said(said) => self.said(id, said),
            Event::Echoed(content) => self.echoed(id, content),
            Event::Joined { room, name } => self.joined(id, room, name),
            Event::Left { room } => self.left(id, &room),
            Event::Present { room, names, unnamed } => self.present(id, &room, &names, unnamed),
            Event::Alive => {
                let asked = self.answer(id, "pong", |request| *request == Request::Ping);
                if let Some(asked) = asked {
                    self.fence(id, asked.at, asked.sent);
                }
            }
            Event::Acked(number) => self.acked(id, number),
            Event::Refused { code, message: None } => self.refused(id, &code),
            Event::Refused { code, message: Some(number) } => {
                self.refused_message(id, &code, number);
            }
            Event::Ponged => match connection.ping.take() {
                Some((at, sent)) => self.fence(id, at, sent),
                None => self.report(id, (Kind::WrongAnswer, "a pong without a ping".into(), None)),
            },
            Event::News(news) => {
                self.counts.news += 1;
                connection.judge.queue.push_back(Step::News(news));
            }
            Event::SlowedDown => self.counts.slowed_down += 1,
            Event::Silent => {
                let text = format!("{} answers are overdue", self.awaited(id));
                self.report(id, (Kind::Unanswered, text, None));
            }
            Event::Nonsense(text) => self.report(id, (Kind::WrongAnswer, text, None)),
            Event::Closed(code) => self.closed(id, code),
            Event::Ended => self.ended(id),
        }
        self.judge(id);
    }

    fn report(&mut self, id: ConnectionId, (kind, text, message): Finding) {
        self.counts.violations += 1;
        if self.violations.len() == MAX_VIOLATIONS {
            return;
        }
        let show = |id: ConnectionId| {
            let of = &self.connections[id];
            of.history.iter().map(move |(at, event)| format!("{at:>8}  #{id}  {event:?}"))
        };
        let mut history: Vec<String> = show(id).collect();
        if let Some(message) = message
            && let Some(sender) = self.connections.get(message.sender)
        {
            if let Some(sent) = sender.sent.get(message.number) {
                let place = sender.place_of(sent);
                let at = sent.at;
                history.push(format!("{at:>8}  message {message}: {sent:?} from {place:?}"));
            }
            if message.sender != id {
                history.extend(show(message.sender));
            }
        }
        self.violations.push(Violation { kind, connection: id, text, history });
    }

    // What a client does.

    fn sending(&mut self, id: ConnectionId, to: Target, content: Content, has_id: bool) {
        let message = self.next_message(id);
        let connection = &mut self.connections[id];
        let place = connection.places.len() - 1;
        match &to {
            Target::Room => {
                self.counts.sent += 1;
                if let Place::Known(state) = &connection.places[place] {
                    self.rooms.entry(state.room.clone()).or_default().push(message);
                }
            }
            Target::Echo => {
                self.counts.sent += 1;
                connection.echoes.push_back(content);
            }
            Target::Name(_) => {
                self.counts.private += 1;
                if !has_id {
                    assert_eq!(connection.private, None, "one private message at a time");
                    connection.private = Some(message.number);
                }
                self.privates.insert(message, Private::default());
            }
            Target::Nobody => {}
        }
        connection.sent.push(Sent { to, content, at: self.now, place });
        if has_id {
            self.asking(id, Request::Message(message.number));
        }
    }

    fn asking(&mut self, id: ConnectionId, request: Request) {
        let connection = &mut self.connections[id];
        let room = match &request {
            Request::Join { room, .. } => {
                let last = connection.places.last().expect("never empty").room();
                Some(room.as_deref().unwrap_or(last).to_owned())
            }
            Request::Leave => Some(LOBBY.to_owned()),
            Request::Who | Request::Ping | Request::Message(_) | Request::Invalid(_) => None,
        };
        if let Some(room) = room {
            connection.certain = None;
            connection.places.push(Place::Pending { room });
        }
        connection.requests.push_back(Asked {
            request,
            at: self.now,
            sent: connection.sent.len(),
            place: connection.places.len() - 1,
        });
    }

    // What the server answers.

    /// Takes the oldest request if it is of the right kind.
    fn answer(
        &mut self,
        id: ConnectionId,
        what: &str,
        is_right: impl FnOnce(&Request) -> bool,
    ) -> Option<Asked> {
        let requests = &mut self.connections[id].requests;
        if requests.front().is_some_and(|asked| is_right(&asked.request)) {
            return requests.pop_front();
        }
        let text = match requests.front() {
            Some(asked) => format!("{what} as the answer to {:?}", asked.request),
            None => format!("{what}, and nobody asked"),
        };
        self.report(id, (Kind::WrongAnswer, text, None));
        None
    }

    fn joined(&mut self, id: ConnectionId, room: String, name: Option<String>) {
        let is_join = |request: &Request| matches!(request, Request::Join { .. });
        let Some(asked) = self.answer(id, "joined", is_join) else { return };
        let before = self.connections[id].last_known(asked.place);
        let Request::Join { room: wanted_room, name: wanted_name } = &asked.request else { return };
        let wanted = State {
            room: wanted_room.as_ref().unwrap_or(&before.room).clone(),
            name: wanted_name.as_ref().or(before.name.as_ref()).cloned(),
        };
        let found = State { room, name };
        if found != wanted {
            let text = format!("{found:?} as the answer to {:?}", asked.request);
            self.report(id, (Kind::WrongAnswer, text, None));
        }
        self.check_name(id, &found, asked.at);
        self.counts.moves += 1;
        self.moved(id, &asked, &before, found);
    }

    fn left(&mut self, id: ConnectionId, room: &str) {
        let Some(asked) = self.answer(id, "left", |request| *request == Request::Leave) else {
            return;
        };
        let before = self.connections[id].last_known(asked.place);
        if before.room != room {
            let text = format!("left {room}, and was in {}", before.room);
            self.report(id, (Kind::WrongAnswer, text, None));
        }
        let found = State { room: LOBBY.to_owned(), name: before.name.clone() };
        self.counts.moves += 1;
        self.moved(id, &asked, &before, found);
    }

    /// A name is given to one connection while another one certainly had it.
    fn check_name(&mut self, id: ConnectionId, found: &State, asked_at: Moment) {
        let Some(name) = &found.name else { return };
        let holder = self.holder(name, asked_at);
        if let Some(holder) = holder.filter(|&holder| holder != id) {
            let text = format!("{name}, which #{holder} has");
            self.report(id, (Kind::NameTwice, text, None));
        }
    }

    /// Returns the connection that has had this name since before a moment and still has it.
    fn holder(&self, name: &str, since: Moment) -> Option<ConnectionId> {
        self.open.iter().copied().find(|&id| {
            self.connections[id].certain.as_ref().is_some_and(|certain| {
                certain.since < since && certain.state.name.as_deref() == Some(name)
            })
        })
    }

    /// A request that decides a place was answered.
    fn moved(&mut self, id: ConnectionId, asked: &Asked, before: &Rc<State>, found: State) {
        let found = if **before == found { Rc::clone(before) } else { Rc::new(found) };
        self.resolve(id, asked, &found);
        let now = self.now;
        let log = self.rooms.get(&found.room).map_or(0, Vec::len);
        let connection = &mut self.connections[id];
        let is_last = asked.place == connection.places.len() - 1;
        let is_leaving = connection.closing.is_some() || connection.half_closing.is_some();
        if is_last && !is_leaving && !connection.has_stalled {
            connection.certain = Some(Certain { since: now, state: Rc::clone(&found) });
        }
        if before.room != found.room {
            let (state, until) = (found, asked.at);
            connection.judge.queue.push_back(Step::Moved { state, until, from: now, log });
        } else if before.name != found.name {
            connection.judge.queue.push_back(Step::Renamed(found.name.clone()));
        }
        self.fence(id, asked.at, asked.sent);
    }

    /// From now on it is known where the messages after a request were sent from.
    fn resolve(&mut self, id: ConnectionId, asked: &Asked, found: &Rc<State>) {
        let connection = &mut self.connections[id];
        connection.places[asked.place] = Place::Known(Rc::clone(found));
        let after = connection.sent.iter().enumerate().skip(asked.sent);
        let after = after.take_while(|(_, sent)| sent.place == asked.place);
        let to_room = after.filter(|(_, sent)| sent.to == Target::Room);
        let log = to_room.map(|(number, _)| MessageId { sender: id, number });
        self.rooms.entry(found.room.clone()).or_default().extend(log);
        self.wake(id);
    }

    /// Goes on with the judgement of those who waited for a connection.
    fn wake(&mut self, id: ConnectionId) {
        for waiting in self.waiting.remove(&id).unwrap_or_default() {
            self.judge(waiting);
        }
    }

    fn present(&mut self, id: ConnectionId, room: &str, names: &[String], unnamed: usize) {
        let Some(asked) = self.answer(id, "who", |request| *request == Request::Who) else {
            return;
        };
        let place = &self.connections[id].places[asked.place];
        let is_here = matches!(place, Place::Known(state) if state.room == room);
        if !is_here {
            let text = format!("who is in {room}, asked in {place:?}");
            self.report(id, (Kind::WrongAnswer, text, None));
        }
        // Those who were certainly in one room from before the question was sent until now.
        let mut unnamed_here = 0;
        let mut findings = Vec::new();
        for &other in &self.open {
            let certain =
                self.connections[other].certain.as_ref().filter(|certain| certain.since < asked.at);
            let Some(Certain { state, .. }) = certain else { continue };
            match &state.name {
                None => unnamed_here += usize::from(state.room == room),
                Some(name) if names.contains(name) == (state.room == room) => {}
                Some(name) => {
                    let text = format!("who in {room}: #{other}, {name}, is in {}", state.room);
                    findings.push((Kind::WrongAnswer, text, None));
                }
            }
        }
        if unnamed < unnamed_here {
            let text =
                format!("who in {room}: {unnamed} without a name, instead of {unnamed_here}");
            findings.push((Kind::WrongAnswer, text, None));
        }
        findings.into_iter().for_each(|finding| self.report(id, finding));
        self.fence(id, asked.at, asked.sent);
    }

    fn refused(&mut self, id: ConnectionId, code: &str) {
        match code {
            "no_such_peer" => self.refused_private(id),
            "name_taken" => {
                let is_name =
                    |request: &Request| matches!(request, Request::Join { name: Some(_), .. });
                let Some(asked) = self.answer(id, code, is_name) else { return };
                self.counts.refused_names += 1;
                let before = self.connections[id].last_known(asked.place);
                self.moved(id, &asked, &before, State::clone(&before));
            }
            code => {
                let is_invalid =
                    |request: &Request| matches!(request, Request::Invalid(due) if *due == code);
                let Some(asked) = self.answer(id, code, is_invalid) else { return };
                self.fence(id, asked.at, asked.sent);
            }
        }
    }

    fn refused_private(&mut self, id: ConnectionId) {
        let Some(number) = self.connections[id].private.take() else {
            let text = "no_such_peer, and no private message was sent".to_owned();
            return self.report(id, (Kind::WrongAnswer, text, None));
        };
        self.private_refused(id, number);
    }

    /// The message was carried out: what is to arrive has been sent.
    fn acked(&mut self, id: ConnectionId, number: usize) {
        let is_it = |request: &Request| *request == Request::Message(number);
        let Some(asked) = self.answer(id, "an acknowledgement", is_it) else { return };
        let message = MessageId { sender: id, number };
        if matches!(self.connections[id].sent[number].to, Target::Name(_)) {
            self.private_accepted(message);
        }
        self.fence(id, asked.at, asked.sent);
    }

    fn refused_message(&mut self, id: ConnectionId, code: &str, number: usize) {
        let is_it = |request: &Request| *request == Request::Message(number);
        let Some(asked) = self.answer(id, code, is_it) else { return };
        let is_private = matches!(self.connections[id].sent[number].to, Target::Name(_));
        if code == "no_such_peer" && is_private {
            self.private_refused(id, number);
        } else {
            let message = MessageId { sender: id, number };
            let text = format!("{code} for the message {message}");
            self.report(id, (Kind::WrongAnswer, text, Some(message)));
        }
        self.fence(id, asked.at, asked.sent);
    }

    fn private_refused(&mut self, id: ConnectionId, number: usize) {
        let message = MessageId { sender: id, number };
        self.mark(id, number + 1);
        let sent = &self.connections[id].sent[number];
        let Target::Name(name) = &sent.to else { return };
        let holder = self.holder(name, sent.at);
        let name = name.clone();
        let private = self.privates.entry(message).or_default();
        private.is_refused = true;
        let received_by = private.received_by;
        if let Some(other) = received_by {
            let text = format!("{message} was refused, and arrived at #{other}");
            self.report(id, (Kind::Misdelivered, text, Some(message)));
        } else if let Some(holder) = holder {
            let text = format!("{message} was refused, and #{holder} is {name}");
            self.report(id, (Kind::WrongAnswer, text, Some(message)));
        }
    }

    /// An answer arrived to something that was sent at a moment, after so many messages.
    fn fence(&mut self, id: ConnectionId, at: Moment, sent: usize) {
        self.counts.fences += 1;
        self.accept(id, sent);
        self.connections[id].judge.queue.push_back(Step::Fence(at));
    }

    /// The first so many messages of a connection have been processed.
    fn mark(&mut self, id: ConnectionId, count: usize) {
        let now = self.now;
        let connection = &mut self.connections[id];
        if connection.processed.last().is_none_or(|(_, before)| *before < count) {
            connection.processed.push((now, count));
        }
    }

    /// The connection itself has received an answer to something that came after so many messages. An error about a private
    /// message among them would have come before.
    fn accept(&mut self, id: ConnectionId, count: usize) {
        self.mark(id, count);
        let is_accepted = |number: &mut usize| *number < count;
        if let Some(number) = self.connections[id].private.take_if(is_accepted) {
            self.private_accepted(MessageId { sender: id, number });
        }
    }

    /// Somebody must receive the message.
    fn private_accepted(&mut self, message: MessageId) {
        let now = self.now;
        let sent = &self.connections[message.sender].sent[message.number];
        let (at, Target::Name(name)) = (sent.at, sent.to.clone()) else { return };
        let is_there =
            self.privates.get(&message).is_some_and(|private| private.received_by.is_some());
        if !is_there && let Some(holder) = self.holder(&name, at) {
            self.counts.certain += 1;
            self.connections[holder].owed.insert(message, now);
        }
    }

    // What arrives.

    fn echoed(&mut self, id: ConnectionId, content: Content) {
        let connection = &mut self.connections[id];
        let Some(due) = connection.echoes.pop_front() else {
            return self.report(id, (Kind::NeverSent, "an echo of nothing".to_owned(), None));
        };
        let missing = connection.echoes.iter().position(|later| *later == content);
        let waiting = connection.echoes.len();
        let sent = connection.sent.len() - waiting;
        self.counts.received += 1;
        self.counts.certain += 1;
        if due == content {
            return self.mark(id, sent);
        }
        let was_sent = self.connections[id].sent.iter().any(|sent| sent.content == content);
        let message = Some(MessageId { sender: id, number: sent - 1 });
        // The message that was due may come later, or not at all; the rest is compared from here on.
        let (kind, text) = match missing {
            Some(skipped) => {
                self.connections[id].echoes.drain(..=skipped);
                (Kind::Missing, format!("the echo of {} messages is missing", skipped + 1))
            }
            None => {
                self.connections[id].echoes.push_front(due);
                match was_sent {
                    true => (Kind::Duplicate, "an echo came twice".to_owned()),
                    false => (Kind::Altered, "an echo has another content".to_owned()),
                }
            }
        };
        self.report(id, (kind, text, message));
    }

    fn said(&mut self, id: ConnectionId, said: Said) {
        self.counts.received += 1;
        let message = said.id;
        let sender = self.connections.get(message.sender);
        if sender.is_none_or(|sender| message.number >= sender.sent.len()) {
            let text = format!("{message} arrived, and was never sent");
            return self.report(id, (Kind::NeverSent, text, None));
        }
        // Only one connection may receive it, whatever becomes of the rest.
        if let Some(private) = self.privates.get_mut(&message) {
            let first = *private.received_by.get_or_insert(id);
            let is_refused = private.is_refused;
            self.connections[id].owed.remove(&message);
            if first != id || is_refused {
                let why =
                    if is_refused { "it was refused".into() } else { format!("#{first} has it") };
                let text = format!("the private {message} arrived, and {why}");
                return self.report(id, (Kind::Misdelivered, text, Some(message)));
            }
        }
        self.mark(message.sender, message.number + 1);
        self.connections[id].judge.queue.push_back(Step::Said(said));
    }

    // The end.

    fn closed(&mut self, id: ConnectionId, code: u16) {
        let is_goodbye = self.is_stopping && code == 1001;
        let connection = &mut self.connections[id];
        if mem::replace(&mut connection.is_closed, true) {
            return self.report(id, (Kind::WrongClose, "a second Close".to_owned(), None));
        }
        connection.certain = None;
        match connection.closing {
            Some((own, at)) if own == code => {
                self.check_answered(id);
                let sent = self.connections[id].sent.len();
                self.accept(id, sent);
                self.end(id, End::Processed(at));
            }
            _ if is_goodbye => {
                self.counts.goodbyes += 1;
                // What was not read of a client that stalled may have reached the limit.
                let end = if connection.has_stalled { End::Open } else { End::Everything };
                self.end(id, end);
            }
            _ if connection.has_stalled && code == 1008 => {
                self.counts.closed_stalled += 1;
                self.end(id, End::Open);
            }
            closing => {
                let due = closing.map(|(code, _)| code);
                let text = format!("Close {code} arrived; ours was {due:?}");
                self.report(id, (Kind::WrongClose, text, None));
                self.end(id, End::Open);
            }
        }
    }

    /// Checks that everything before a Close was answered, because it comes after all answers.
    fn check_answered(&mut self, id: ConnectionId) {
        let connection = &self.connections[id];
        let (requests, echoes) = (connection.requests.len(), connection.echoes.len());
        let pings = usize::from(connection.ping.is_some());
        if requests + echoes + pings > 0 {
            let text =
                format!("{requests} requests, {echoes} echoes and {pings} pings at the Close");
            self.report(id, (Kind::Unanswered, text, None));
        }
    }

    fn ended(&mut self, id: ConnectionId) {
        let connection = &mut self.connections[id];
        connection.is_over = true;
        connection.certain = None;
        self.open.remove(&id);
        if !connection.is_closed {
            let is_own_doing = connection.is_resetting
                || connection.half_closing.is_some()
                || connection.has_stalled;
            let end = match connection.half_closing {
                Some(at) if !connection.has_stalled && !connection.is_resetting => {
                    End::Processed(at)
                }
                _ => End::Open,
            };
            if !is_own_doing {
                let text = "the connection ended without a Close".to_owned();
                self.report(id, (Kind::Lost, text, None));
            }
            self.end(id, end);
        }
        let connection = &mut self.connections[id];
        let rooms = connection.places.iter().map(Place::room).map(str::to_owned);
        let rooms: Vec<String> = rooms.collect();
        for place in &mut connection.places {
            if matches!(place, Place::Pending { .. }) {
                *place = Place::Lost { rooms: rooms.clone() };
            }
        }
        self.wake(id);
    }

    fn end(&mut self, id: ConnectionId, end: End) {
        self.connections[id].judge.queue.push_back(Step::End(end));
    }
}
