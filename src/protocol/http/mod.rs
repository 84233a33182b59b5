//! HTTP/1.1 as far as an opening handshake needs it: a head, never a body.
//!
//! In reading order: `head` finds the end of a head byte by byte, `fields` takes its lines apart,
//! `request` is what a server reads, `response` what it writes.

pub mod fields;
pub mod head;
pub mod request;
pub mod response;
