//! A WebSocket (RFC 6455) server, client and protocol core to read, to teach with, and to rely on.
//!
//! A server needs a [`Config`] and a [`Dispatcher`], which handles the messages:
//!
//! ```no_run
//! use framewise::{Config, Echo, Server};
//!
//! let mut server = Server::bind(Config::default(), Echo::new("Echo: "))?;
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The client is blocking:
//!
//! ```no_run
//! use framewise::{Client, CloseCode};
//!
//! let mut client = Client::connect("ws://localhost:8765")?;
//! client.send("olá")?;
//! if let Some(message) = client.recv_message()? {
//!     println!("{:?}", message.as_str());
//! }
//! client.close(CloseCode::NORMAL, "bye")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | see |
//! |---|---|
//! | handle messages, groups, private messages | [`Dispatcher`], [`Outbox`], [A dispatcher of your own](https://github.com/framewise/framewise/blob/main/docs/dispatcher.md) |
//! | decide which clients may connect | [`Dispatcher::on_request`], [`Application`] |
//! | act from other threads, stop gracefully | [`Handle`] |
//! | set limits and time-outs | [`Config`], [Limits](https://github.com/framewise/framewise/blob/main/docs/limits.md) |
//! | watch connections, bytes and messages | [`Observer`] |
//! | use the protocol on another runtime | [`protocol`], [The protocol on another runtime](https://github.com/framewise/framewise/blob/main/docs/another-runtime.md) |
//! | compress messages | the feature `deflate`, which adds `config::Deflate` |
//! | use TLS (`wss://`) | the feature `tls`, which adds `TlsServer` and `TlsClient` |
//! | put another transport between socket and WebSocket | [`Transport`], [`Stream`] |
//! | log to the `tracing` crate | the feature `tracing`, which adds the observer `Tracing` |
//! | look up a term | [Glossary](https://github.com/framewise/framewise/blob/main/docs/glossary.md) |
//! | find lessons, a section of the standard, or how to do something | [Documentation](https://github.com/framewise/framewise/blob/main/docs/README.md) |
//!
//! # The reading order
//!
//! Read the files in this order to follow a message from its first byte to the callback and back. A leading slash
//! stands for the folder `src/protocol`.
//!
//! ```text
//!  1  /frame.rs          §5.2    the frame header: the 2 to 14 bytes before each payload
//!  2  /mask.rs           §5.3    masking
//!  3  /utf8.rs           §8.1    validation of text that arrives in pieces
//!  4  /extension.rs      §9      the interface for extensions; /deflate/ has the one that compresses
//!  5  /receive.rs        §5.4    bytes in, messages and control frames out
//!  6  /encode.rs         §6.1    messages as frames
//!  7  /output.rs         §5.5.1  output that is queued to be written
//!  8  /connection.rs     §7      one side of a connection: state, pongs, closing handshake
//!  9  peers.rs                   the table of connections
//! 10  groups.rs                  the groups that peers join
//! 11  flow.rs                    backpressure: the peers whose reading is paused
//! 12  switchboard.rs             what the event loop and all callbacks act on
//! 13  outbox.rs                  the actions of an application
//! 14  dispatcher.rs              the application: the trait, Echo, Broadcast
//! 15  net/transport.rs           the stream between a socket and a WebSocket
//! 16  net/link.rs                a socket, its transport and its readiness
//! 17  net/event_loop.rs          the state of one loop, and the steps of a pass
//! 18  net/turn.rs                one peer's turn: read, process, dispatch
//! 19  net/settle.rs              after a turn: output, deadlines, closing
//! 20  net/server.rs              the loop with the operating system: readiness, accepting, commands
//! 21  net/client.rs              a blocking client
//! 22  texts.rs, lang.rs          the texts for people, in English and Portuguese
//! ```
//!
//! # The import order
//!
//! A file uses only files above it in this list, which `tests/import_order.rs` checks. There are no cycles, so every
//! file can be understood from the files above it.
//!
//! ```text
//! lang.rs                        English and Portuguese
//! texts.rs                       the texts of the library for users, in both languages
//! protocol/http/authority.rs     host and port
//! protocol/http/origin.rs        §10.2   which web pages may connect
//! protocol/deflate/settings.rs   the settings of permessage-deflate, an optional feature
//! config.rs                      every setting, checked once
//! protocol/violation.rs          one variant for each rule that a peer can break: section, code, reason
//! protocol/mask.rs               §5.3    masking
//! protocol/utf8.rs               §8.1    validation of text that arrives in pieces
//! protocol/frame.rs              §5.2    the frame header
//! protocol/header_bits.rs        §5.2    the bits of a header, labelled
//! protocol/message.rs            §5.6    messages
//! protocol/close.rs              §5.5.1  close codes and reasons
//! protocol/refusal.rs            §4.2    one variant for each reason to refuse a handshake, and its body
//! protocol/http/head.rs          finds the end of an HTTP head, byte by byte
//! protocol/http/fields.rs        header fields and the lists in them
//! protocol/http/request.rs       a parsed request
//! protocol/http/response.rs      a response that is not an upgrade
//! protocol/http/body.rs          the body of a response to a client
//! protocol/url.rs                §3      ws:// URLs
//! protocol/deflate/negotiate.rs  the parameters of permessage-deflate (RFC 7692)
//! protocol/deflate/codec.rs      compresses and decompresses messages
//! protocol/extension.rs          §9      the interface for extensions
//! protocol/handshake/key.rs      §4.2.2  Sec-WebSocket-Key and Sec-WebSocket-Accept
//! protocol/handshake/client.rs   §4.1    writes a request, verifies the response
//! protocol/handshake/server.rs   §4.2    validates a request and responds to it
//! protocol/receive.rs            §5.4    bytes in, messages and control frames out
//! protocol/encode.rs             §6.1    messages as frames
//! protocol/output.rs             §5.5.1  output that is queued to be written
//! protocol/connection.rs         §7      one side of a connection
//! protocol/dissect.rs            labels every byte, using the parsers of a connection
//! peers.rs                       the table of connections
//! groups.rs                      the groups that peers join
//! flow.rs                        backpressure: the peers whose reading is paused
//! switchboard.rs                 what the event loop and all callbacks act on
//! outbox.rs                      the actions of an application
//! dispatcher.rs                  the application: the trait, Echo, Broadcast
//! observe.rs                     watching a server without slowing it down
//! log.rs                         events for the `tracing` crate, an optional feature
//! labels.rs                      a label for every bit
//! trace.rs                       the lines of `--trace`
//! rows.rs                        the rows of `dissect` and `framewise explain`
//! net/process.rs                 the limits of the process: file descriptors and memory
//! net/timers.rs                  deadlines in constant time
//! net/admission.rs               the connection limits
//! net/transport.rs               the stream between a socket and a WebSocket
//! net/tls/error.rs               TLS errors, of an optional feature, as the other files of TLS
//! net/tls/stream.rs              the stream of one TLS connection
//! net/tls/server.rs              the certificate and the key of a server
//! net/tls/client.rs              which servers a client trusts
//! net/link.rs                    a socket, its transport and its readiness
//! net/sockets.rs                 the sockets of one loop, and flushing
//! net/read_buffer.rs             the one buffer that a loop reads into
//! net/event_loop.rs              the state of one loop, and the steps of a pass
//! net/settle.rs                  after a turn: output, deadlines, closing
//! net/turn.rs                    one peer's turn: read, process, dispatch
//! net/bind.rs                    binding addresses
//! net/accept.rs                  accepting connections, and its errors
//! net/handle.rs                  access to the loop from other threads
//! net/server.rs                  the loop with the operating system
//! net/connect.rs                 connecting to a server, and its errors
//! net/client.rs                  a blocking client
//! ```
//!
//! # The journey of a byte
//!
//! The files that the bytes of a message pass through, in order:
//!
//! ```text
//! kernel ──> net/transport.rs, link.rs ──> turn.rs       read once, into one buffer for all peers
//!              │ &mut [u8]
//!              v
//!            protocol/connection.rs ──> receive.rs       frame.rs: header · mask.rs: unmask in place
//!              │                                         extension.rs: decode · utf8.rs: check
//!              │ Message, borrowed from the buffer
//!              v
//!            net/turn.rs ──> dispatcher.rs               your callback
//!              │
//!              v
//!            outbox.rs ──> groups.rs, peers.rs           find the recipients
//!              │
//!              v
//!            protocol/output.rs <── encode.rs            header, extension, payload
//!              │ slices
//!              v
//! kernel <── net/transport.rs, link.rs <── sockets.rs    once per turn, in net/settle.rs
//! ```
//!
//! # Without a socket
//!
//! The protocol uses no sockets and no clock, so it runs on anything that transports bytes. Here a client and a server
//! communicate in memory:
//!
//! ```
//! use framewise::protocol::connection::{Connection, Event, State};
//! use framewise::protocol::handshake::client::ClientRequest;
//! use framewise::protocol::{mask, url::Url};
//! use framewise::Config;
//!
//! let config = Config::default().validate()?;
//! let request = ClientRequest::new(Url::parse("ws://localhost/chat")?);
//! let nonce = *b"sixteen random..";
//! let mut client = Connection::client(config.clone(), &request, nonce, mask::random_keys()?);
//! let mut server = Connection::server(config);
//!
//! // Pass the request to the server and the response to the client. Then both are open.
//! server.receive(&mut client.output_mut().take(), |_, _| {});
//! client.receive(&mut server.output_mut().take(), |_, _| {});
//! assert_eq!((client.state(), server.state()), (State::Open, State::Open));
//!
//! // Pass a masked frame to the server, which sends each text back.
//! client.output_mut().send("olá");
//! server.receive(&mut client.output_mut().take(), |event, output| {
//!     if let Event::Message(message) = event {
//!         output.send(&message);
//!     }
//! });
//! assert_eq!(server.output_mut().take(), b"\x81\x04ol\xc3\xa1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod config;
mod dispatcher;
mod flow;
mod groups;
/// A label for every bit, which the examples and tools share. Not stable.
#[doc(hidden)]
pub mod labels;
pub mod lang;
#[cfg(feature = "tracing")]
mod log;
mod net;
pub mod observe;
mod outbox;
mod peers;
pub mod protocol;
/// The rows of `dissect` and `framewise explain`. Not stable.
#[doc(hidden)]
pub mod rows;
mod switchboard;
mod texts;
/// The lines of `--trace`, which the examples and tools share. Not stable.
#[doc(hidden)]
pub mod trace;

pub use config::Config;
pub use dispatcher::{Application, Broadcast, Dispatcher, Echo};
pub use groups::JoinError;
#[cfg(feature = "tracing")]
pub use log::Tracing;
pub use net::bind::{ListenError, StartError};
pub use net::client::{Client, Interrupter};
pub use net::connect::{ConnectError, Rejected};
pub use net::event_loop::Snapshot;
pub use net::handle::{Handle, HandleError};
pub use net::server::Server;
#[cfg(feature = "tls")]
pub use net::tls::{client::TlsClient, error::TlsError, server::TlsServer, stream::TlsStream};
pub use net::transport::{Drained, ReadOutcome, Readiness, Stream, Tcp, Transport};
pub use observe::Observer;
pub use outbox::Outbox;
pub use peers::PeerId;
pub use protocol::close::{CloseCode, InvalidClose};
pub use protocol::connection::{Cause, Closed, Event};
pub use protocol::extension::Negotiated;
pub use protocol::handshake::client::ClientRequest;
pub use protocol::handshake::server::{Decision, Opened};
pub use protocol::http::request::Request;
pub use protocol::http::response::Response;
pub use protocol::message::{Message, MessageBuf, Payload};
pub use protocol::url::Url;
pub use protocol::utf8::Text;

/// Items that the tests, tools and benchmarks of this project need. None of them is stable.
#[doc(hidden)]
pub mod internal {
    pub use crate::net::bind::lan_address;
    pub use crate::net::connect::transport_text;
    pub use crate::net::event_loop::EventLoop;
    pub use crate::net::link::Socket;
    #[cfg(feature = "deflate")]
    pub use crate::protocol::deflate::codec::compressions;
    pub use crate::protocol::http::head::HeadReader;
}

/// The code examples of the documentation, compiled and run with the tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    #[doc = include_str!("../README.pt-BR.md")]
    struct Readme;
    #[doc = include_str!("../docs/dispatcher.md")]
    #[doc = include_str!("../docs/dispatcher.pt-BR.md")]
    struct OwnDispatcher;
    #[doc = include_str!("../docs/another-runtime.md")]
    #[doc = include_str!("../docs/another-runtime.pt-BR.md")]
    struct AnotherRuntime;
}
