//! What the class asks of its engine, and what it hears from it.
//!
//! An engine does four things for all members of the class, on however many machines they are: it numbers and passes on what is
//! said, keeps it, gives out names and rooms, and knows who is there. It may reply at once or later, and replies once to
//! each request.
//!
//! ```text
//! submit(ticket, Enter)   ──>     next() ── News::Joined            to everybody in the room
//!                                        ── Reply(ticket, Entered)  to the member
//! ```
//!
//! Rules of this file: a request that is refused has changed nothing. The news of a room come in one order for all members.

use std::rc::Rc;

use crate::serve::class::roster::MemberId;
use crate::serve::class::utterance::Utterance;

/// Identifies a request, and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What a member asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Enter the class, or move to another room, or take another name. Without a value, the room or the name stays as it is.
    Enter { member: MemberId, room: Option<String>, name: Option<String> },
    /// Say something to the room of the utterance.
    Say(Utterance),
    /// Say something to the member of the utterance alone, who may be in any room.
    Whisper(Utterance),
    /// Ask for what was said in a room.
    Recall { room: String, after: Option<After>, limit: usize },
    /// Ask who is in a room.
    Who { room: String },
}

/// The reply to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The member is in this room, by the room's own name, under this name.
    Entered {
        room: String,
        name: Option<String>,
    },
    /// The message was accepted. Or it was before: the sender has used its id already.
    Said(Receipt),
    /// The member that a private message is for is connected to this process, which delivers it and then calls
    /// [`Engine::delivered`].
    Found(MemberId, Utterance),
    Recalled(Recalled),
    Present(Present),
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else has this name, or one that looks like it.
    NameTaken {
        /// The name that was asked for.
        wanted: String,
        /// The name of the other one.
        existing: String,
        /// A name like the wanted one that nobody has.
        free: String,
        /// How many names were tried to find it.
        tried: usize,
    },
    /// Nobody has this name.
    NoSuchMember(String),
    /// So many rooms have members, and there may be no more.
    TooManyRooms(usize),
}

/// A place in the history of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The history that the number belongs to. A room whose history began anew has another one.
    pub epoch: Rc<str>,
    /// The number of a message. 0 is before the first one.
    pub seq: u64,
}

/// The place of the last message that a client has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    pub seq: u64,
    /// `None` if the client does not know it.
    pub epoch: Option<String>,
}

/// Tells the author of a message where it is in the history of its room. A private message is in none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub place: Option<Mark>,
}

/// What was said in a room, from the oldest to the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    pub room: String,
    pub utterances: Vec<Rc<Utterance>>,
    /// Whether more was said after the last one of these.
    pub is_cut: bool,
    /// Whether messages between `after` and the first one of these are not kept, or belong to another epoch.
    pub has_gap: bool,
    /// The last message of the room.
    pub last: Mark,
}

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub room: String,
    /// Those with a name, sorted; at most [`MAX_PRESENT`].
    pub names: Vec<String>,
    /// How many more have a name.
    pub more: usize,
    /// How many have none.
    pub unnamed: usize,
}

/// The most names of one [`Present`].
pub const MAX_PRESENT: usize = 1_000;

/// What the members of a room hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Said(Rc<Utterance>),
    Joined { member: MemberId, room: String, name: Option<String> },
    Left { member: MemberId, room: String, name: Option<String> },
}

/// What an engine has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Reply(Ticket, Result<Reply, Refusal>),
    News(News),
}

/// See the [module](self).
pub trait Engine {
    /// Takes a request. Its reply is an event, now or later.
    fn submit(&mut self, ticket: Ticket, request: Request);

    /// Removes a member. Its name is free again.
    fn depart(&mut self, member: MemberId);

    /// Remembers that a private message was delivered, so that it is not delivered again.
    fn delivered(&mut self, utterance: &Utterance);

    /// Returns what has happened next.
    fn next(&mut self) -> Option<Event>;
}
