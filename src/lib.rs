//! framewise: WebSocket (RFC 6455) to read, to teach with, and to rely on.
//!
//! ```no_run
//! use framewise::{Config, Echo, Server};
//!
//! let mut server = Server::bind(Config::default(), || Echo::new("Echo: "))?;
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to read
//!
//! The files below stand in reading order: each uses only what stands above it, and a test keeps it so.
//! Read down to learn how it works; to follow one byte, see the journey after the list.
//!
//! ```text
//! lang.rs                        every text that a person reads, English beside Portuguese
//! config.rs                      every limit and policy, checked once
//! protocol/violation.rs          one variant per rule that a peer can break: section, code, reason
//! protocol/mask.rs               §5.3    masking
//! protocol/utf8.rs               §8.1    text that arrives in pieces
//! protocol/frame.rs              §5.2    the frame header
//! protocol/message.rs            §5.6    messages
//! protocol/close.rs              §5.5.1  close codes and reasons
//! protocol/refusal.rs            §4.2    one variant per reason to refuse a handshake, and its body
//! protocol/http/head.rs          finds the end of an HTTP head, byte by byte
//! protocol/http/fields.rs        header fields and the lists in them
//! protocol/http/request.rs       a request, taken apart
//! protocol/http/response.rs      an answer that is not an upgrade
//! protocol/url.rs                §3      ws:// addresses
//! protocol/handshake/key.rs      §4.2.2  Sec-WebSocket-Key and Sec-WebSocket-Accept
//! protocol/handshake/server.rs   §4.2    validates and answers a request
//! protocol/handshake/client.rs   §4.1    writes a request, verifies the answer
//! protocol/receive.rs            §5.4    bytes in, messages and control frames out
//! protocol/send.rs               §6.1    the one output buffer of a connection
//! protocol/connection.rs         §7      one end of a connection: state, pongs, closing handshake
//! protocol/dissect.rs            what each byte is for, told by the parser that acts on it
//! peers.rs                       the table of connections and their groups
//! dispatch.rs                    what a server does with messages: the trait, Echo, Broadcast
//! observe.rs                     watching a server without being in its way
//! trace.rs                       bytes as a person reads them: every line of `--trace`
//! console.rs                     the console of the example servers
//! net/timers.rs                  deadlines in constant time
//! net/listen.rs                  binding addresses, and what an error of accept means
//! net/admission.rs               who may come in, and who is told why not
//! net/sockets.rs                 the sockets of one loop
//! net/turns.rs                   what one loop holds
//! net/settle.rs                  what a turn leaves behind, and the end of a connection
//! net/turn.rs                    one peer's turn: flush, read, dispatch, settle
//! net/pass.rs                    turns for all that are due, then deadlines
//! net/handle.rs                  the way in from other threads
//! net/server.rs                  the loop: readiness, accepting, turns, deadlines
//! net/connect.rs                 reaching a server, and what can go wrong
//! net/client.rs                  the other end: a client that waits
//! ```
//!
//! # The journey of a byte
//!
//! ```text
//! kernel ──read──> net/turn.rs, one buffer for all peers
//!                     │ &mut [u8]
//!                     v
//!                  protocol/connection.rs ── receive.rs ── frame.rs, mask.rs, utf8.rs
//!                     │ Event::Message, borrowed from the buffer
//!                     v
//!                  dispatch.rs: your Dispatcher ── Outbox ── peers.rs: whose Sender?
//!                     │ frames
//!                     v
//!                  protocol/send.rs
//!                     │ pending slices
//! kernel <──write── net/sockets.rs, once per turn
//! ```
//!
//! # Without a socket
//!
//! The protocol never names a socket or a clock, so it runs on anything that moves bytes. Here two ends talk
//! in memory:
//!
//! ```
//! use framewise::protocol::connection::{Connection, Event, State};
//! use framewise::protocol::handshake::client::ClientRequest;
//! use framewise::protocol::{mask, url::Url};
//! use framewise::{Config, Message};
//!
//! let config = Config::default().validate()?;
//! let request = ClientRequest::new(Url::parse("ws://localhost/chat")?);
//! let nonce = *b"sixteen random..";
//! let mut client = Connection::client(config.clone(), &request, nonce, mask::random_keys()?);
//! let mut server = Connection::server(config);
//!
//! // The request goes over, the answer comes back, and both ends are open.
//! server.receive(&mut client.sender_mut().take(), |_, _| {});
//! client.receive(&mut server.sender_mut().take(), |_, _| {});
//! assert_eq!((client.state(), server.state()), (State::Open, State::Open));
//!
//! // A masked frame goes over; the server answers each text with the same text.
//! client.sender_mut().message(Message::Text("olá"));
//! server.receive(&mut client.sender_mut().take(), |event, sender| {
//!     if let Event::Message(message) = event {
//!         sender.message(message.as_message());
//!     }
//! });
//! assert_eq!(server.sender_mut().take(), b"\x81\x04ol\xc3\xa1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod config;
pub mod console;
pub mod dispatch;
pub mod lang;
pub mod net;
pub mod observe;
pub mod peers;
pub mod protocol;
pub mod trace;

pub use config::Config;
pub use dispatch::{Broadcast, Dispatcher, Echo, Outbox};
pub use net::client::Client;
pub use net::handle::Handle;
pub use net::server::Server;
pub use peers::PeerId;
pub use protocol::close::CloseCode;
pub use protocol::connection::{Closed, Connection};
pub use protocol::handshake::server::Answer;
pub use protocol::http::request::Request;
pub use protocol::http::response::Response;
pub use protocol::message::Message;

/// The code of the pages, compiled and run with the tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/dispatcher.md")]
    struct Dispatcher;
    #[doc = include_str!("../docs/another-runtime.md")]
    struct AnotherRuntime;
}
