//! The WebSocket protocol without sockets and without a clock: bytes go in, events and bytes come out.
//!
//! Nothing in this folder uses `mio`, `std::io`, `std::net` or a clock, and a test checks this. Therefore every rule
//! can be tested in memory, byte by byte, and the protocol runs on any runtime.
//!
//! Start with [`Connection`](connection::Connection), which is one side of a connection. The first page of the crate
//! connects two of them in memory, and [The protocol on another runtime](https://github.com/framewise/framewise/blob/main/docs/another-runtime.md)
//! runs one on a blocking socket.

pub mod close;
pub mod connection;
#[cfg(feature = "deflate")]
pub(crate) mod deflate;
pub mod dissect;
pub mod encode;
pub(crate) mod extension;
pub mod frame;
pub mod handshake;
pub mod header_bits;
pub mod http;
pub mod mask;
pub mod message;
pub mod output;
pub mod receive;
pub mod refusal;
pub mod url;
pub mod utf8;
pub mod violation;
