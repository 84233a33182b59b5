//! What is said in the class: a value that survives the connection of its author, and the process.

use std::borrow::Cow;
use std::rc::Rc;

use crate::serve::class::roster::MemberId;
use crate::serve::shorten::shortened;

/// The most characters of a text that event clients receive and that is kept. A text of a raw path may be longer, and is then cut.
pub const MAX_TEXT: usize = 16_384;

/// One message, to a room or to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Utterance {
    /// Its number in the room, which grows by one from 1. `None` before the engine has numbered it, and for what a room does not
    /// keep: bytes, and private messages.
    pub seq: Option<u64>,
    /// The room, by its own name. `None` if the message is for one member.
    pub room: Option<String>,
    /// The name of the author, if it has one.
    pub from: Option<String>,
    /// The name of the member that alone receives it.
    pub to: Option<String>,
    /// When it was said, by the server's clock: UTC with six decimals.
    pub at: String,
    pub body: Body,
    pub author: Author,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Text(String),
    /// Bytes, which only raw paths send and receive.
    Bytes(Vec<u8>),
}

/// Who said something, and the id that the client gave to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    pub member: MemberId,
    pub sender: Sender,
    pub id: Option<Rc<str>>,
}

/// Whose ids they are. An id means something only together with its sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A connection. Its ids are forgotten when it closes.
    Member(MemberId),
    /// All connections that were opened with this `?client=`. A client that lost its connection continues with it.
    Client(Rc<str>),
}

impl Utterance {
    /// Returns what is kept of it: the same with a text of at most [`MAX_TEXT`] characters.
    pub fn kept(self: &Rc<Utterance>) -> Rc<Utterance> {
        match &self.body {
            Body::Text(text) => match shortened(text, MAX_TEXT) {
                Cow::Borrowed(_) => Rc::clone(self),
                Cow::Owned(text) => {
                    Rc::new(Utterance { body: Body::Text(text), ..Utterance::clone(self) })
                }
            },
            Body::Bytes(_) => Rc::clone(self),
        }
    }

    /// Returns about how many bytes of memory it takes.
    pub fn size(&self) -> usize {
        let body = match &self.body {
            Body::Text(text) => text.len(),
            Body::Bytes(bytes) => bytes.len(),
        };
        let names = [&self.room, &self.from, &self.to].into_iter().flatten().map(String::len);
        let id = self.author.id.as_ref().map_or(0, |id| id.len());
        size_of::<Utterance>() + self.at.len() + body + names.sum::<usize>() + id
    }
}
