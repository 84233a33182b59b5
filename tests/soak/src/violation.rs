//! What the model reports: violations, and how much it has checked.

use std::fmt;

use crate::event::ConnectionId;

/// The kind of a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A message has certainly not arrived.
    Missing,
    /// A message arrived twice.
    Duplicate,
    /// A message arrived after a later one of its sender.
    Reordered,
    /// Two members saw messages of several senders in contradictory orders.
    Disordered,
    /// A message arrived outside of its room, or at its sender.
    Leaked,
    /// A private message arrived at somebody else, or at two, or was refused as well.
    Misdelivered,
    /// A message has another content or envelope than it was sent with.
    Altered,
    /// A message that was never sent, or not completely.
    NeverSent,
    /// An answer is wrong, or nobody asked.
    WrongAnswer,
    /// A request has no answer.
    Unanswered,
    /// Two connections have one name.
    NameTwice,
    /// News about others is wrong, or was not asked for.
    WrongNews,
    /// A connection was closed for no reason, or with the wrong code.
    WrongClose,
    /// A connection ended without a Close.
    Lost,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Kind::Missing => "missing",
            Kind::Duplicate => "duplicate",
            Kind::Reordered => "reordered",
            Kind::Disordered => "disordered",
            Kind::Leaked => "leaked",
            Kind::Misdelivered => "misdelivered",
            Kind::Altered => "altered",
            Kind::NeverSent => "never sent",
            Kind::WrongAnswer => "wrong answer",
            Kind::Unanswered => "unanswered",
            Kind::NameTwice => "name twice",
            Kind::WrongNews => "wrong news",
            Kind::WrongClose => "wrong close",
            Kind::Lost => "lost",
        })
    }
}

/// Something that the server must not do.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What kind it is.
    pub kind: Kind,
    /// The connection that shows it.
    pub connection: ConnectionId,
    /// What happened, in words.
    pub text: String,
    /// The last events of the connection, and what the sender did.
    pub history: Vec<String>,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections.
    pub connections: u64,
    /// Answered changes of room or name.
    pub moves: u64,
    /// Messages sent to a room or as an echo.
    pub sent: u64,
    /// Messages sent to a name.
    pub private: u64,
    /// Messages received.
    pub received: u64,
    /// Messages whose arrival was certain, and checked.
    pub certain: u64,
    /// Fences.
    pub fences: u64,
    /// News about others.
    pub news: u64,
    /// Names that were refused because somebody else had them.
    pub refused_names: u64,
    /// How often a client was told that it is read more slowly.
    pub slowed_down: u64,
    /// Closes with 1008 for clients that did not read.
    pub closed_stalled: u64,
    /// Closes with 1001 when the server stopped.
    pub goodbyes: u64,
    /// Views of a room that were compared with each other.
    pub views: u64,
    /// Violations, including those that are not kept.
    pub violations: u64,
}
