//! Sockets and time: everything that the protocol leaves out.

pub(crate) mod accept;
pub(crate) mod admission;
pub(crate) mod bind;
pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod event_loop;
pub(crate) mod handle;
pub(crate) mod link;
pub(crate) mod process;
pub(crate) mod read_buffer;
pub(crate) mod server;
pub(crate) mod settle;
pub(crate) mod sockets;
pub(crate) mod timers;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod turn;
