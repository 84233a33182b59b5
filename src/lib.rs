//! framewise
#![forbid(unsafe_code)]
pub mod config;
pub mod dispatch;
pub mod lang;
pub mod net;
pub mod observe;
pub mod peers;
pub mod protocol;
pub mod trace;
pub use config::Config;
pub use dispatch::{Broadcast, Dispatcher, Echo, Outbox};
pub use net::server::Server;
pub use protocol::message::Message;
