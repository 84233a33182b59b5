//! The engine of one process: everything is in memory, and every reply comes at once.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use crate::serve::class::delivered::Delivered;
use crate::serve::class::engine::{
    Engine, Event, MAX_PRESENT, Mark, News, Present, Receipt, Refusal, Reply, Request, Ticket,
};
use crate::serve::class::rooms::{Keeping, LOBBY, Rooms};
use crate::serve::class::roster::{Member, MemberId, Roster};
use crate::serve::class::utterance::{Author, Body, Sender, Utterance};

/// See the [module](self).
#[derive(Debug)]
pub struct Memory {
    roster: Roster,
    rooms: Rooms,
    delivered: Delivered,
    events: VecDeque<Event>,
}

impl Memory {
    /// Returns the engine of a class that nobody is in.
    pub fn new(keeping: Keeping) -> Memory {
        let (roster, delivered) = (Roster::default(), Delivered::default());
        Memory { roster, rooms: Rooms::new(keeping), delivered, events: VecDeque::new() }
    }

    fn enter(
        &mut self,
        id: MemberId,
        room: Option<String>,
        name: Option<String>,
    ) -> Result<Reply, Refusal> {
        if let Some(wanted) = &name
            && let Some(existing) = self.roster.taken(wanted, id)
        {
            let (wanted, existing) = (wanted.clone(), existing.to_owned());
            let (free, tried) = self.roster.free_name(&wanted);
            return Err(Refusal::NameTaken { wanted, existing, free, tried });
        }
        let before = self.roster.get(id).cloned();
        let old_room = before.as_ref().map(|before| before.room.clone());
        let room = match room {
            Some(room) => self.rooms.own_name(&room),
            None => old_room.unwrap_or_else(|| LOBBY.to_owned()),
        };
        let name = name.or_else(|| before.as_ref().and_then(|before| before.name.clone()));
        let member = Member { room: room.clone(), name: name.clone() };
        let reply = Reply::Entered { room: room.clone(), name: name.clone() };
        if before.as_ref() == Some(&member) {
            return Ok(reply);
        }
        self.rooms.enter(&room, id).map_err(Refusal::TooManyRooms)?;
        if let Some(Member { room: old, name }) = before {
            if old != room {
                self.rooms.leave(&old, id);
            }
            self.tell(News::Left { member: id, room: old, name });
        }
        self.roster.set(id, member);
        self.tell(News::Joined { member: id, room, name });
        Ok(reply)
    }

    fn say(&mut self, utterance: Utterance) -> Receipt {
        if let Some(receipt) = self.receipt(&utterance.author) {
            return receipt;
        }
        let author = utterance.author.clone();
        let (utterance, place) = match utterance.body {
            Body::Text(_) => self.rooms.keep(utterance),
            Body::Bytes(_) => (Rc::new(utterance), None),
        };
        self.tell(News::Said(utterance));
        self.remember(&author, place)
    }

    fn whisper(&mut self, mut utterance: Utterance) -> Result<Reply, Refusal> {
        if let Some(receipt) = self.receipt(&utterance.author) {
            return Ok(Reply::Said(receipt));
        }
        let wanted = utterance.to.clone().unwrap_or_default();
        let Some((member, name)) = self.roster.named(&wanted) else {
            return Err(Refusal::NoSuchMember(wanted));
        };
        // The owner's own spelling of the name.
        utterance.to = Some(name.to_owned());
        Ok(Reply::Found(member, utterance))
    }

    /// Returns the receipt of a message that was delivered already.
    fn receipt(&mut self, author: &Author) -> Option<Receipt> {
        let id = author.id.as_deref()?;
        self.delivered.receipt(&author.sender, id, Instant::now())
    }

    /// Remembers that a message was delivered, and returns its receipt.
    fn remember(&mut self, author: &Author, place: Option<Mark>) -> Receipt {
        let receipt = Receipt { place };
        if let Some(id) = &author.id {
            self.delivered.insert(&author.sender, id, receipt.clone(), Instant::now());
        }
        receipt
    }

    fn who(&self, room: String) -> Present {
        let (mut names, mut unnamed) = (Vec::new(), 0);
        for member in self.rooms.members(&room) {
            match self.roster.get(member).and_then(|member| member.name.clone()) {
                Some(name) => names.push(name),
                None => unnamed += 1,
            }
        }
        names.sort_unstable();
        let more = names.len().saturating_sub(MAX_PRESENT);
        names.truncate(MAX_PRESENT);
        Present { room, names, more, unnamed }
    }

    fn tell(&mut self, news: News) {
        self.events.push_back(Event::News(news));
    }
}

impl Engine for Memory {
    fn submit(&mut self, ticket: Ticket, request: Request) {
        let reply = match request {
            Request::Enter { member, room, name } => self.enter(member, room, name),
            Request::Say(utterance) => Ok(Reply::Said(self.say(utterance))),
            Request::Whisper(utterance) => self.whisper(utterance),
            Request::Recall { room, after, limit } => {
                Ok(Reply::Recalled(self.rooms.recall(&room, after.as_ref(), limit)))
            }
            Request::Who { room } => Ok(Reply::Present(self.who(room))),
        };
        self.events.push_back(Event::Reply(ticket, reply));
    }

    fn depart(&mut self, member: MemberId) {
        self.delivered.forget_sender(&Sender::Member(member));
        if let Some(Member { room, name }) = self.roster.remove(member) {
            self.rooms.leave(&room, member);
            self.tell(News::Left { member, room, name });
        }
    }

    fn delivered(&mut self, utterance: &Utterance) {
        self.remember(&utterance.author, None);
    }

    fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
