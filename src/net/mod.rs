//! Sockets and time: everything that the protocol leaves out.

pub mod listen;
pub mod server;
pub(crate) mod sockets;
pub mod timers;
pub(crate) mod turn;
