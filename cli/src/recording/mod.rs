//! Recordings: what `framewise serve --record` writes, and `export` and `replay` read.
//!
//! ```text
//! event loop ── recorder.rs ── heads.rs, redact.rs ──> [ bounded queue ] ──> writer.rs ──> FILE
//!                                                                                         │ format.rs: one line of JSON per event
//! export, replay <── parts.rs: heads, frames, bodies <── reader.rs <──────────────────────┘
//! ```
//!
//! `docs/recordings.md` describes the format.

pub mod format;
pub mod heads;
pub mod parts;
pub mod reader;
pub mod recorder;
pub mod redact;
mod writer;
