//! The part of HTTP/1.1 that an opening handshake needs: request heads, and responses to requests that are no
//! handshake.
//!
//! In reading order: `head` finds the end of a head, `fields` parses its header fields, `authority` host and port,
//! `request` a [`Request`](request::Request). `response` encodes a [`Response`](response::Response), and `body` finds the end
//! of the body of one.

pub(crate) mod authority;
pub(crate) mod body;
pub mod fields;
pub(crate) mod head;
pub(crate) mod origin;
pub mod request;
pub mod response;
