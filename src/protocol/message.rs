//! RFC 6455 §5.6: messages, as an application sends and receives them.

use std::borrow::Cow;

use crate::protocol::frame::Opcode;
use crate::protocol::utf8::{InvalidUtf8, TextBuffer};

/// One whole message, borrowed from whoever holds its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text: valid UTF-8, which the type keeps.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The opcode of the frame that carries it (§6.1-6).
    #[inline]
    pub fn opcode(self) -> Opcode {
        match self {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        }
    }

    /// The payload data.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

/// A message under way: what has arrived of it so far, unmasked and checked.
#[derive(Debug)]
pub(crate) enum Partial {
    Text(TextBuffer),
    Binary(Vec<u8>),
}

impl Partial {
    pub(crate) fn new(opcode: Opcode) -> Partial {
        match opcode {
            Opcode::Text => Partial::Text(TextBuffer::default()),
            _ => Partial::Binary(Vec::new()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Partial::Text(text) => text.len(),
            Partial::Binary(bytes) => bytes.len(),
        }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        match self {
            Partial::Text(text) => text.push(piece),
            Partial::Binary(bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    pub(crate) fn finish(self) -> Result<Received<'static>, InvalidUtf8> {
        match self {
            Partial::Text(text) => Ok(Received::Text(Cow::Owned(text.finish()?))),
            Partial::Binary(bytes) => Ok(Received::Binary(Cow::Owned(bytes))),
        }
    }
}

/// A whole message just received: borrowed from the read buffer when it arrived in one piece, owned when
/// it had to be put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received<'b> {
    /// Text.
    Text(Cow<'b, str>),
    /// Any bytes.
    Binary(Cow<'b, [u8]>),
}

impl Received<'_> {
    /// A message that lies in the read buffer.
    #[inline]
    pub(crate) fn borrowed(message: Message<'_>) -> Received<'_> {
        match message {
            Message::Text(text) => Received::Text(Cow::Borrowed(text)),
            Message::Binary(bytes) => Received::Binary(Cow::Borrowed(bytes)),
        }
    }

    /// The message with bytes of its own.
    pub fn into_owned(self) -> Received<'static> {
        match self {
            Received::Text(text) => Received::Text(Cow::Owned(text.into_owned())),
            Received::Binary(bytes) => Received::Binary(Cow::Owned(bytes.into_owned())),
        }
    }

    /// The message, wherever its bytes lie.
    #[inline]
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Received::Text(text) => Message::Text(text),
            Received::Binary(bytes) => Message::Binary(bytes),
        }
    }
}
