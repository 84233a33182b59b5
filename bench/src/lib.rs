//! Measures WebSocket servers: a load generator, the servers that are compared, and a report of the results.

pub mod contender;
pub mod deflate;
pub mod dial;
pub mod load;
pub mod report;
pub mod shape;
pub mod wire;

use std::io;
use std::net::Ipv4Addr;

use mio::net::TcpListener;

/// The request of every connection, with the key of the example in RFC 6455 §1.3.
pub const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The `Sec-WebSocket-Accept` for this key.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The response to it.
pub const ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Listens on a free port and prints the address, as every measured server does.
///
/// # Errors
///
/// No port is free.
pub fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    println!("listening {}", listener.local_addr()?);
    Ok(listener)
}
