//! TLS between the socket and the WebSocket, an optional feature. The cryptography is that of the crate `rustls`, whose
//! types stay inside this folder.

pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod server;
pub(crate) mod stream;
