//! What the events of `/ws/events` do: messages to a room or to one member, and changes of room and name.
//!
//! Rules of this file: a member does not receive its own messages to a room, and another room receives nothing; a private
//! message to one's own name comes back. A fault leaves everything as it was.

use std::time::Instant;

use framewise::{Message, Outbox, PeerId};

use crate::clock::timestamp_micros;
use crate::serve::classroom::{Classroom, MOVE_COST};
use crate::serve::events::{Event, Fault, Moved, Pong, Present, RoomMessage, json};
use crate::serve::rooms::{self, LOBBY, Path};

/// Names that one answer to `who` holds.
const MAX_NAMES: usize = 1_000;

/// The steps that one attempt to find a free name takes.
const STEPS_PER_ATTEMPT: usize = 4;

impl Classroom {
    /// Does what an event asks for.
    ///
    /// # Errors
    ///
    /// It cannot be done; nothing has changed.
    pub(super) fn event(
        &mut self,
        outbox: &mut Outbox<'_>,
        event: Event,
        id: Option<&str>,
    ) -> Result<(), Fault> {
        match event {
            Event::Message { text, to } => self.deliver_once(outbox, &text, to.as_deref(), id)?,
            Event::Join { room, name } => self.join(outbox, room, name)?,
            Event::Leave => self.leave(outbox),
            Event::Who => self.who(outbox),
            Event::Ping => self.reply(outbox, &json(&Pong::default())),
        }
        Ok(())
    }

    /// Delivers a message, unless its sender has delivered one with this id in the last five minutes. The other events may
    /// be carried out again: they only concern the connection that they come from, and the same one again changes nothing.
    fn deliver_once(
        &mut self,
        outbox: &mut Outbox<'_>,
        text: &str,
        to: Option<&str>,
        id: Option<&str>,
    ) -> Result<(), Fault> {
        let Some(member) = self.rooms.get(outbox.peer()) else { return Ok(()) };
        let (sender, now) = (member.sender.clone(), Instant::now());
        if id.is_some_and(|id| self.delivered.contains(&sender, id, now)) {
            return Ok(());
        }
        match to {
            Some(name) => self.say_to(outbox, text, name)?,
            None => self.say(outbox, text),
        }
        // After a fault, the client may try again with the same id.
        if let Some(id) = id {
            self.delivered.insert(&sender, id, now);
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

    fn say_to(&mut self, outbox: &mut Outbox<'_>, text: &str, wanted: &str) -> Result<(), Fault> {
        let to = self.rooms.named(wanted).ok_or_else(|| Fault::NoSuchPeer(wanted.to_owned()))?;
        let name_of = |peer| self.rooms.get(peer).and_then(|member| member.name.as_deref());
        // The owner's own spelling of the name.
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
        self.wire.sending(outbox.peer(), || vec![to], message.bytes());
        let is_sent = outbox.send(to, message);
        self.metrics.sent(message, usize::from(is_sent));
        // Its connection is closing, and its name is not free yet.
        if is_sent { Ok(()) } else { Err(Fault::NoSuchPeer(wanted.to_owned())) }
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
            let (free, tried) = self.rooms.free_name(wanted);
            self.add_steps(tried * STEPS_PER_ATTEMPT);
            let (wanted, existing) = (wanted.clone(), existing.to_owned());
            return Err(Fault::NameTaken { wanted, existing, free });
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

    /// Moves the member to a room, or into the same one under another name. The members who want to know it hear that the
    /// old name left and that the new one joined.
    fn go(&mut self, outbox: &mut Outbox<'_>, room: &str, name: Option<String>) {
        self.add_cost(MOVE_COST, 0);
        let peer = outbox.peer();
        let Some(before) = self.rooms.get(peer).map(|member| member.room.clone()) else { return };
        leave_groups(outbox, &before);
        self.tell(outbox, "peer_left", peer, &before);
        if let Some(name) = name {
            self.rooms.rename(peer, name);
        }
        self.rooms.go(peer, room);
        self.join_groups(outbox, peer);
        self.tell(outbox, "peer_joined", peer, room);
        if let Some(member) = self.rooms.get(peer) {
            self.log.joined(peer, member, &before);
            self.wire.member(peer, "/ws/events", Some(room), member.name.as_deref());
        }
    }

    /// Joins the groups of the member's room.
    pub(super) fn join_groups(&self, outbox: &mut Outbox<'_>, peer: PeerId) {
        let Some(member) = self.rooms.get(peer) else { return };
        let groups = match member.path {
            Path::Echo | Path::Explain => vec![],
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

    /// Tells the members of a room who want to know it that a member came or went.
    pub(super) fn tell(&self, outbox: &mut Outbox<'_>, kind: &str, peer: PeerId, room: &str) {
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
        let count = names.len() + more.unwrap_or_default() + unnamed;
        let answer = json(&Present { kind: "who", room, names, more, unnamed });
        self.add_steps(count);
        self.add_cost(0, answer.len());
        self.reply(outbox, &answer);
    }
}

fn leave_groups(outbox: &mut Outbox<'_>, room: &str) {
    for group in [rooms::raw(room), rooms::events(room), rooms::presence(room)] {
        outbox.leave(&group);
    }
}
