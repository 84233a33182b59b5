//! A crowd of clients against `framewise serve`, and a model that knows what each of them must have seen.
//!
//! ```text
//! client.rs   decides (seed) ──> socket.rs ──> framewise serve ──> socket.rs ──> spoil.rs ──> model.rs ──> violations
//!    └── what it does, before it does it ──────────────────────────────────────────────────────^
//! ```
//!
//! [`crowd`] drives all clients on one thread. [`model`] is pure: another test may feed it with clients of its own.

pub mod client;
pub mod content;
pub mod crowd;
pub mod event;
pub mod model;
mod order;
pub mod server;
pub mod socket;
pub mod spoil;
pub mod violation;
pub mod wire;
