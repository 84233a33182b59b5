//! What clients ask of the class, and what they hear from it: the classroom passes requests on to the engine, and the engine's
//! replies and news on to the connections.
//!
//! ```text
//! event ──> event() ──> ask() ──> engine ──> follow() ──> replied(): the answer, then an acknowledgement
//!                                                     '─> heard():   the groups of the room
//! ```
//!
//! Rules of this file: a member does not receive its own messages to a room, and another room receives nothing; a private
//! message to one's own name comes back. A fault leaves everything as it was. This is the only place that delivers an
//! utterance.

use std::time::{Duration, Instant};

use framewise::{CloseCode, Message, Outbox, PeerId};

use crate::clock::timestamp_micros;
use crate::serve::class::engine::{self, News, Recalled, Receipt, Refusal, Reply, Request, Ticket};
use crate::serve::class::rooms::LOBBY;
use crate::serve::class::utterance::{Author, Body, Utterance};
use crate::serve::classroom::{Classroom, MOVE_COST};
use crate::serve::events::{Ack, Event, Fault, History, Moved, Pong, Said, Who, json};
use crate::serve::routes::Path;
use crate::serve::session::Group;

/// The steps that one attempt to find a free name takes.
const STEPS_PER_ATTEMPT: usize = 4;

/// How long a client that waits for a room or a name is not read at most. The reply ends the pause.
const LONG: Duration = Duration::from_secs(3_600);

/// A request to the engine whose reply has not come.
#[derive(Debug)]
pub struct Pending {
    /// The client that gets the answer.
    peer: PeerId,
    /// The id of its event.
    id: Option<String>,
    purpose: Purpose,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A connection has opened.
    Open,
    Join,
    /// The member goes from this room to the lobby.
    Leave(String),
    /// A message or a question.
    Other,
}

impl Classroom {
    /// Does what an event asks for.
    pub(super) fn event(&mut self, outbox: &mut Outbox<'_>, event: Event, id: Option<String>) {
        let peer = outbox.peer();
        let Some(session) = self.sessions.get(peer) else { return };
        let room = session.room.clone().unwrap_or_default();
        if id.is_some() || matches!(event, Event::History { .. }) {
            self.number(outbox);
        }
        match event {
            Event::Message { text, to } => self.say(outbox, Body::Text(text), to, id),
            Event::Join { room, name } => self.enter(outbox, room, name, Purpose::Join, id),
            Event::Leave => {
                let purpose = Purpose::Leave(room);
                self.enter(outbox, Some(LOBBY.to_owned()), None, purpose, id);
            }
            Event::Who => self.ask(outbox, Request::Who { room }, Purpose::Other, id),
            Event::History { after, limit } => {
                self.ask(outbox, Request::Recall { room, after, limit }, Purpose::Other, id);
            }
            Event::Ping => {
                self.reply(outbox, &json(&Pong::default()));
                self.answer(outbox, peer, id.as_deref(), Ok(&Receipt::default()));
            }
        }
    }

    /// Says something to the room of the client, or to one member.
    pub(super) fn say(
        &mut self,
        outbox: &mut Outbox<'_>,
        body: Body,
        to: Option<String>,
        id: Option<String>,
    ) {
        let Some(session) = self.sessions.get(outbox.peer()) else { return };
        let author = Author {
            member: session.member,
            sender: session.sender.clone(),
            id: id.as_deref().map(Into::into),
        };
        let room = if to.is_none() { session.room.clone() } else { None };
        let (from, at) = (session.name.clone(), timestamp_micros());
        let utterance = Utterance { seq: None, room, from, to, at, body, author };
        let request = match utterance.to {
            Some(_) => Request::Whisper(utterance),
            None => Request::Say(utterance),
        };
        self.ask(outbox, request, Purpose::Other, id);
    }

    /// Asks for a room, a name, or both. Until the reply comes, none of the client's messages is read, because the next one may
    /// be meant for the new room.
    pub(super) fn enter(
        &mut self,
        outbox: &mut Outbox<'_>,
        room: Option<String>,
        name: Option<String>,
        purpose: Purpose,
        id: Option<String>,
    ) {
        let peer = outbox.peer();
        let Some(session) = self.sessions.get_mut(peer) else { return };
        session.is_entering = true;
        let request = Request::Enter { member: session.member, room, name };
        self.ask(outbox, request, purpose, id);
        if self.sessions.get(peer).is_some_and(|session| session.is_entering) {
            outbox.pause_reading(peer, Instant::now() + LONG);
        }
    }

    fn ask(
        &mut self,
        outbox: &mut Outbox<'_>,
        request: Request,
        purpose: Purpose,
        id: Option<String>,
    ) {
        let ticket = self.next_ticket;
        self.next_ticket = Ticket(ticket.0 + 1);
        self.pending.insert(ticket, Pending { peer: outbox.peer(), id, purpose });
        self.engine.submit(ticket, request);
        self.follow(outbox);
    }

    /// Passes on what the engine has to say.
    pub(super) fn follow(&mut self, outbox: &mut Outbox<'_>) {
        while let Some(event) = self.engine.next() {
            match event {
                engine::Event::News(news) => self.heard(outbox, &news),
                engine::Event::Reply(ticket, reply) => {
                    let Some(pending) = self.pending.remove(&ticket) else { continue };
                    // A client that has gone gets no answer.
                    if self.sessions.get(pending.peer).is_some() {
                        self.replied(outbox, pending, reply);
                    }
                }
            }
        }
    }

    /// Acts on the reply to a request of a client that is still there.
    fn replied(
        &mut self,
        outbox: &mut Outbox<'_>,
        pending: Pending,
        reply: Result<Reply, Refusal>,
    ) {
        let Pending { peer, id, purpose } = pending;
        let id = id.as_deref();
        let done = Receipt::default();
        match reply {
            Ok(Reply::Entered { room, name }) => {
                self.entered(outbox, peer, room, name, &purpose);
                self.answer(outbox, peer, id, Ok(&done));
            }
            Ok(Reply::Said(receipt)) => self.answer(outbox, peer, id, Ok(&receipt)),
            Ok(Reply::Found(member, utterance)) => {
                let to = self.sessions.peer_of(member);
                let said = Said::of(&utterance, false).map(|said| json(&said));
                let is_sent = to.zip(said).is_some_and(|(to, said)| self.send(outbox, to, &said));
                if is_sent {
                    self.engine.delivered(&utterance);
                    self.answer(outbox, peer, id, Ok(&done));
                } else {
                    // Its connection is closing, and its name is not free yet.
                    let name = utterance.to.unwrap_or_default();
                    let refusal = Refusal::NoSuchMember(name);
                    self.answer(outbox, peer, id, Err(Fault::Refused(refusal)));
                }
            }
            Ok(Reply::Recalled(recalled)) => self.recalled(outbox, peer, id, &recalled),
            Ok(Reply::Present(present)) => {
                let answer = json(&Who::of(&present));
                self.add_steps(present.names.len() + present.more + present.unnamed);
                self.add_cost(0, answer.len());
                self.send(outbox, peer, &answer);
                self.answer(outbox, peer, id, Ok(&done));
            }
            Err(refusal) => {
                self.stopped_entering(outbox, peer);
                if let Refusal::NameTaken { tried, .. } = &refusal {
                    self.add_steps(tried * STEPS_PER_ATTEMPT);
                }
                let is_raw = self.sessions.get(peer).is_some_and(|own| own.path == Path::Raw);
                if !is_raw {
                    self.answer(outbox, peer, id, Err(Fault::Refused(refusal)));
                }
                if purpose == Purpose::Open {
                    let again = CloseCode(1013);
                    let closed = outbox.close_peer(peer, again, "too many rooms");
                    closed.expect("a valid code and a short reason");
                }
            }
        }
    }

    /// Moves a client into the groups of the room that the engine has let it into.
    fn entered(
        &mut self,
        outbox: &mut Outbox<'_>,
        peer: PeerId,
        room: String,
        name: Option<String>,
        purpose: &Purpose,
    ) {
        self.stopped_entering(outbox, peer);
        let Some(session) = self.sessions.get_mut(peer) else { return };
        let before = session.room.replace(room.clone());
        let has_moved = before.as_ref() != Some(&room);
        let has_changed = has_moved || session.name != name;
        session.name.clone_from(&name);
        let path = session.path.as_str();
        let groups = session.groups();
        if has_moved {
            for group in before.iter().flat_map(|before| Group::all_of(before)) {
                outbox.leave_peer(peer, &group);
            }
            for group in groups {
                outbox.join_peer(peer, &group).expect("two groups at most, with names that fit");
            }
        }
        if has_changed {
            self.add_cost(MOVE_COST, 0);
            self.wire.member(peer, path, Some(&room), name.as_deref());
            if let Some(session) = self.sessions.get(peer) {
                match &before {
                    None => self.log.opened(peer, session.client, path, Some(&room)),
                    Some(before) => self.log.joined(peer, session, before),
                }
            }
        }
        let moved = match purpose {
            Purpose::Join => Moved { kind: "joined", room: &room, name: name.as_deref() },
            Purpose::Leave(left) => Moved { kind: "left", room: left, name: None },
            Purpose::Open | Purpose::Other => return,
        };
        self.send(outbox, peer, &json(&moved));
    }

    /// Reads again from a client that has waited for a room or a name.
    fn stopped_entering(&mut self, outbox: &mut Outbox<'_>, peer: PeerId) {
        let Some(session) = self.sessions.get_mut(peer).filter(|own| own.is_entering) else {
            return;
        };
        session.is_entering = false;
        outbox.resume_reading(peer);
        // It may be beyond its budget as well.
        if let Some(until) = session.paused_until.take() {
            outbox.pause_reading(peer, until);
        }
    }

    fn recalled(
        &mut self,
        outbox: &mut Outbox<'_>,
        peer: PeerId,
        id: Option<&str>,
        recalled: &Recalled,
    ) {
        let Some(session) = self.sessions.get(peer) else { return };
        let history = json(&History::of(recalled, &session.sender));
        self.add_cost(0, history.len());
        if recalled.has_gap {
            let oldest = recalled.utterances.first().and_then(|utterance| utterance.seq);
            let gap = Fault::HistoryGap(oldest.unwrap_or(recalled.last.seq + 1));
            self.answer(outbox, peer, id, Err(gap));
            self.send(outbox, peer, &history);
        } else {
            self.send(outbox, peer, &history);
            self.answer(outbox, peer, id, Ok(&Receipt::default()));
        }
    }

    /// Sends the last answer to an event: an acknowledgement if the event has an id, or an error.
    pub(super) fn answer(
        &self,
        outbox: &mut Outbox<'_>,
        peer: PeerId,
        id: Option<&str>,
        result: Result<&Receipt, Fault>,
    ) {
        match (result, id) {
            (Ok(receipt), Some(id)) => {
                self.send(outbox, peer, &json(&Ack::of(id, receipt)));
            }
            (Ok(_), None) => {}
            (Err(fault), id) => {
                let Some(session) = self.sessions.get(peer) else { return };
                let error = fault.event(session.lang, id);
                self.add_cost(0, error.len());
                self.send(outbox, peer, &error);
            }
        }
    }

    /// Adds the numbers of messages to the events of a client, from now on.
    fn number(&mut self, outbox: &mut Outbox<'_>) {
        let peer = outbox.peer();
        let Some(session) = self.sessions.get_mut(peer).filter(|own| !own.is_numbered) else {
            return;
        };
        session.is_numbered = true;
        if let Some(room) = &session.room {
            outbox.leave(&Group::Events.of(room));
            outbox.join(&Group::Numbered.of(room)).expect("it has left another group");
        }
    }

    /// Passes news on to the room that they are about.
    fn heard(&self, outbox: &mut Outbox<'_>, news: &News) {
        match news {
            News::Said(utterance) => self.deliver(outbox, utterance),
            News::Joined { member, room, name } | News::Left { member, room, name } => {
                let has_joined = matches!(news, News::Joined { .. });
                let kind = if has_joined { "peer_joined" } else { "peer_left" };
                let event = json(&Moved { kind, room, name: name.as_deref() });
                let except = self.sessions.peer_of(*member);
                let group = Group::Presence.of(room);
                self.publish(outbox, &group, Message::from(&event), except);
            }
        }
    }

    /// Delivers what was said to a room.
    fn deliver(&self, outbox: &mut Outbox<'_>, utterance: &Utterance) {
        let Some(room) = &utterance.room else { return };
        let except = self.sessions.peer_of(utterance.author.member);
        for (group, is_numbered) in [(Group::Events, false), (Group::Numbered, true)] {
            let group = group.of(room);
            // Most classes have clients of one kind.
            if outbox.members(&group).is_empty() {
                continue;
            }
            if let Some(said) = Said::of(utterance, is_numbered) {
                self.publish(outbox, &group, Message::from(&json(&said)), except);
            }
        }
        let message = match &utterance.body {
            Body::Text(text) => Message::from(text),
            Body::Bytes(bytes) => Message::from(bytes),
        };
        self.publish(outbox, &Group::Raw.of(room), message, except);
    }
}
