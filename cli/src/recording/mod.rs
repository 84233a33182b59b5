//! Recordings: what `framewise serve --record` writes.
//!
//! ```text
//! event loop ── recorder.rs ── redact.rs ──> [ bounded queue ] ──> writer.rs ──> FILE
//!                                                                 format.rs: one line of JSON per event
//! ```
//!
//! `docs/recordings.md` describes the format.

pub mod format;
pub mod recorder;
pub mod redact;
mod writer;
