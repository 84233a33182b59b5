//! Sockets and time: everything that the protocol leaves out.

pub(crate) mod admission;
pub mod client;
pub mod connect;
pub mod handle;
pub mod listen;
pub(crate) mod pass;
pub mod server;
pub(crate) mod settle;
pub mod sockets;
pub mod timers;
pub(crate) mod turn;
pub mod turns;
