//! The class as values: who is in which room under which name, what is said, and what is kept of it. Nothing here knows a socket,
//! HTTP or JSON.
//!
//! ```text
//! classroom.rs ── Request ──> engine.rs, a trait ──> memory.rs, the engine of one process
//!              <─ Reply ─────                        ├─ roster.rs    the members and their names; names.rs
//!              <─ News ──────                        ├─ rooms.rs     the rooms: who is there, and the last messages
//!                                                    '─ delivered.rs the ids of messages, so that none is delivered twice
//! utterance.rs  what is said
//! ```

pub mod delivered;
pub mod engine;
pub mod memory;
pub mod names;
pub mod rooms;
pub mod roster;
pub mod utterance;

use std::hash::{BuildHasher, RandomState};

/// Returns a number that is different each time, also after a restart. It is not secret.
fn random() -> u64 {
    RandomState::new().hash_one(())
}
