//! What happens to a connection, as the client that owns it sees it: the input of the [model](crate::model).
//!
//! Rules of this file: an event about something that a client *does* is recorded before its first byte is written; an
//! event about something that it *hears* is recorded after its last byte was read. The order in which events are recorded
//! is therefore never the reverse of the order of their causes.

use std::fmt;

/// The number of a connection, in the order of their opening handshakes. A client that reconnects has a new one.
pub type ConnectionId = usize;

/// A message: the connection that sent it, and how many that one had sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The connection that sent it.
    pub sender: ConnectionId,
    /// From 0.
    pub number: usize,
}

impl fmt::Display for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.sender, self.number)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// `/echo`: each message comes back.
    Echo,
    /// `/ws`: messages without an envelope, text and binary.
    Raw,
    /// `/ws/events`.
    Events {
        /// It asked for the subprotocol `framewise.classroom`, and hears who comes and goes.
        news: bool,
    },
}

/// For whom a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All others in the room that the sender is in.
    Room,
    /// The one with this name.
    Name(String),
    /// The sender.
    Echo,
    /// Nobody: its last frame is never completed.
    Nobody,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// A digest of the payload.
    pub digest: u64,
    /// Binary, not text.
    pub is_binary: bool,
}

/// What the server answers, always and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Changes the room, the name, or both.
    Join {
        /// The same room if absent.
        room: Option<String>,
        /// The same name if absent.
        name: Option<String>,
    },
    /// Returns to the lobby.
    Leave,
    /// Asks who is in the room.
    Who,
    /// Asks whether the server answers.
    Ping,
    /// The message with this number has an id, and is acknowledged or refused.
    Message(usize),
    /// An event that the server must refuse, with this code.
    Invalid(&'static str),
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The message that it claims to be.
    pub id: MessageId,
    /// What it says.
    pub content: Content,
    /// The room that the event names.
    pub room: Option<String>,
    /// The sender that the event names.
    pub from: Option<String>,
    /// The recipient that the event names.
    pub to: Option<String>,
}

/// Who came to a room, or left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Came, not left.
    pub has_joined: bool,
    /// The room.
    pub room: String,
    /// The name, unless that one has none.
    pub name: Option<String>,
}

/// Something that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message is about to be written. Its number is the count of those before.
    Sending {
        /// For whom it is.
        to: Target,
        /// What it says.
        content: Content,
        /// It has an id, so that an acknowledgement or an error names it.
        has_id: bool,
    },
    /// The message to the room with this number, which has an id, is about to be written once more.
    Repeating(usize),
    /// A request is about to be written.
    Asking(Request),
    /// A ping is about to be written.
    Pinging,
    /// A Close with this code is about to be written.
    Closing(u16),
    /// The client is about to shut down its sending side without a Close.
    HalfClosing,
    /// The client is about to reset the connection.
    Resetting,
    /// The client reads nothing for a while. The server may close the connection for that.
    Stalling,
    /// A message arrived from a room or from one person.
    Said(Said),
    /// A message came back.
    Echoed(Content),
    /// The answer to a join.
    Joined {
        /// The room.
        room: String,
        /// The name, unless it has none.
        name: Option<String>,
    },
    /// The answer to a leave, with the room that was left.
    Left {
        /// The room that was left.
        room: String,
    },
    /// The answer to who.
    Present {
        /// The room.
        room: String,
        /// The names.
        names: Vec<String>,
        /// How many more are there.
        unnamed: usize,
    },
    /// The answer to the ping that is an event.
    Alive,
    /// A message was carried out.
    Acked(usize),
    /// An error.
    Refused {
        /// Its code.
        code: String,
        /// The number of the message that it names.
        message: Option<usize>,
    },
    /// The answer to a ping.
    Ponged,
    /// News about others.
    News(News),
    /// The server reads this client more slowly.
    SlowedDown,
    /// The client has read for a long time, and an answer or the end of the connection is overdue.
    Silent,
    /// Something that no server should send, in words.
    Nonsense(String),
    /// A Close arrived, with this code (1005 if it had none).
    Closed(u16),
    /// The connection is over: the end of the stream, or a reset.
    Ended,
}
