//! The protocol without sockets and without a clock: bytes in, events and bytes out.
//!
//! Nothing in this folder names `mio`, `std::io`, `std::net` or a clock; a test keeps it so. That is
//! why every rule here can be tested in memory, byte by byte, and why the core runs on any runtime.

pub mod close;
pub mod connection;
pub mod dissect;
pub mod frame;
pub mod handshake;
pub mod http;
pub mod mask;
pub mod message;
pub mod receive;
pub mod refusal;
pub mod send;
pub mod url;
pub mod utf8;
pub mod violation;
