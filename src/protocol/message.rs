//! RFC 6455 §5.6: messages, as an application sends and receives them. A [`Message`] borrows its bytes, a
//! [`MessageBuf`] may own them.

use std::borrow::Cow;
use std::fmt;

use crate::protocol::frame::Opcode;
use crate::protocol::utf8::{InvalidUtf8, Text};

/// A whole message that borrows its bytes.
///
/// ```
/// use framewise::Message;
///
/// let text = Message::from("olá");
/// let binary = Message::from(&[0xff, 0x00]);
/// assert_eq!((text.bytes().len(), binary.bytes().len()), (4, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text: valid UTF-8, which the type guarantees.
    Text(Text<'a>),
    /// Binary data: any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Returns the payload data.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// Returns the text, or `None` for a binary message.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Message::Text(text) => Some(text.as_str()),
            Message::Binary(_) => None,
        }
    }

    /// Returns the opcode of the frame that carries the message (§6.1-6).
    #[inline]
    pub fn opcode(self) -> Opcode {
        match self {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        }
    }
}

/// A type that can be sent as a message: `str` and `String` as text, bytes as binary, and messages themselves.
///
/// ```
/// use framewise::{Message, Payload};
///
/// assert_eq!("olá".as_message(), Message::from("olá"));
/// assert_eq!(format!("{}", 42).as_message(), Message::from("42"));
/// assert_eq!(vec![1, 2].as_message(), Message::from(&[1, 2]));
/// ```
pub trait Payload {
    /// Borrows the message.
    fn as_message(&self) -> Message<'_>;
}

impl<T: Payload + ?Sized> Payload for &T {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        T::as_message(self)
    }
}

impl Payload for Message<'_> {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        *self
    }
}

impl Payload for MessageBuf<'_> {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        MessageBuf::as_message(self)
    }
}

impl Payload for Text<'_> {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        Message::Text(*self)
    }
}

impl Payload for str {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        self.into()
    }
}

impl Payload for String {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        self.into()
    }
}

impl Payload for [u8] {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        Message::Binary(self)
    }
}

impl<const N: usize> Payload for [u8; N] {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        Message::Binary(self)
    }
}

impl Payload for Vec<u8> {
    #[inline]
    fn as_message(&self) -> Message<'_> {
        Message::Binary(self)
    }
}

impl<'a> From<Text<'a>> for Message<'a> {
    #[inline]
    fn from(text: Text<'a>) -> Message<'a> {
        Message::Text(text)
    }
}

impl<'a> From<&'a str> for Message<'a> {
    #[inline]
    fn from(text: &'a str) -> Message<'a> {
        Message::Text(text.into())
    }
}

impl<'a> From<&'a String> for Message<'a> {
    #[inline]
    fn from(text: &'a String) -> Message<'a> {
        text.as_str().into()
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Message<'a> {
        Message::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    #[inline]
    fn from(bytes: &'a [u8; N]) -> Message<'a> {
        Message::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    #[inline]
    fn from(bytes: &'a Vec<u8>) -> Message<'a> {
        Message::Binary(bytes)
    }
}

impl<'a> From<&'a MessageBuf<'_>> for Message<'a> {
    #[inline]
    fn from(message: &'a MessageBuf<'_>) -> Message<'a> {
        message.as_message()
    }
}

/// A whole message that borrows or owns its bytes. They are borrowed from the read buffer if the message arrived in one
/// piece, and owned if it was assembled from several.
///
/// ```
/// use framewise::{Message, MessageBuf};
///
/// let owned = MessageBuf::from(String::from("olá"));
/// assert_eq!(Message::from(&owned), Message::from("olá"));
/// assert_eq!(format!("{owned:?}"), "Text(\"olá\")");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct MessageBuf<'b> {
    /// Whether this is a text message. Its bytes are valid UTF-8.
    is_text: bool,
    bytes: Cow<'b, [u8]>,
}

impl<'b> MessageBuf<'b> {
    /// Creates a message that owns its bytes. The caller has checked that the bytes of a text message are UTF-8.
    pub(crate) fn assembled(is_text: bool, bytes: Vec<u8>) -> MessageBuf<'static> {
        MessageBuf { is_text, bytes: Cow::Owned(bytes) }
    }

    /// Borrows the message.
    #[inline]
    pub fn as_message(&self) -> Message<'_> {
        match self.is_text {
            true => Message::Text(Text::from_checked(&self.bytes)),
            false => Message::Binary(&self.bytes),
        }
    }

    /// Returns the payload data.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the text, or `None` for a binary message.
    pub fn as_str(&self) -> Option<&str> {
        self.as_message().as_str()
    }

    /// Converts the message into one that owns its bytes. Borrowed bytes are copied.
    pub fn into_owned(self) -> MessageBuf<'static> {
        MessageBuf { is_text: self.is_text, bytes: Cow::Owned(self.bytes.into_owned()) }
    }

    /// Converts the message into its payload data. Borrowed bytes are copied.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_owned()
    }

    /// Converts the message into a `String`. Borrowed bytes are copied.
    ///
    /// # Errors
    ///
    /// The message is binary and its bytes are not UTF-8.
    pub fn into_text(self) -> Result<String, InvalidUtf8> {
        String::from_utf8(self.bytes.into_owned()).map_err(|_| InvalidUtf8)
    }
}

impl fmt::Debug for MessageBuf<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_message().fmt(out)
    }
}

impl<'a> From<Message<'a>> for MessageBuf<'a> {
    #[inline]
    fn from(message: Message<'a>) -> MessageBuf<'a> {
        let is_text = matches!(message, Message::Text(_));
        MessageBuf { is_text, bytes: Cow::Borrowed(message.bytes()) }
    }
}

impl<'a> From<&'a str> for MessageBuf<'a> {
    fn from(text: &'a str) -> MessageBuf<'a> {
        Message::from(text).into()
    }
}

impl From<String> for MessageBuf<'_> {
    fn from(text: String) -> Self {
        MessageBuf { is_text: true, bytes: Cow::Owned(text.into_bytes()) }
    }
}

impl From<Vec<u8>> for MessageBuf<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        MessageBuf { is_text: false, bytes: Cow::Owned(bytes) }
    }
}
