//! The thread that writes a recording.
//!
//! Rules of this file: the file never exceeds its limit, and the room for its last line is kept. After the first failure
//! nothing more is written, which the log says once.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};

use data_encoding::HEXLOWER;
use framewise::lang::Lang;
use framewise::observe::Direction;
use serde::Serialize;
use tracing::warn;

use crate::recording::format::{Head, Line, MAX_BYTES, Reason};
use crate::texts;

/// Room for the last line.
const ROOM_FOR_END: u64 = 100;

/// The smallest limit: room for the first and the last line.
pub const MIN_LIMIT: u64 = 4096;

/// An event that waits to be written.
pub struct Item {
    pub us: u64,
    pub connection: u64,
    pub what: What,
}

pub enum What {
    Open(SocketAddr),
    Bytes(Direction, Vec<u8>),
    Close(Option<u16>),
}

/// What the event loop and the writer know of each other.
#[derive(Default)]
pub struct Shared {
    /// Bytes of the items in the queue.
    pub queued: AtomicUsize,
    /// The event loop has given up because the queue was full.
    pub was_slow: AtomicBool,
    /// The writer has given up.
    pub has_stopped: AtomicBool,
    /// The time of the last event, in microseconds since the start.
    pub now: AtomicU64,
}

/// Writes lines to a file, or whatever else takes bytes.
pub struct Writer<W: Write> {
    out: BufWriter<W>,
    limit: u64,
    written: u64,
    line: Vec<u8>,
}

/// Why a line was not written.
#[derive(Debug)]
enum Stop {
    Limit,
    Failed(io::Error),
}

impl<W: Write> Writer<W> {
    /// Writes the first line.
    ///
    /// # Errors
    ///
    /// The file takes no bytes.
    pub fn new(out: W, limit: u64, head: &Head) -> io::Result<Writer<W>> {
        let mut writer = Writer { out: BufWriter::new(out), limit, written: 0, line: Vec::new() };
        match writer.line(head).and_then(|()| writer.flush()) {
            // Room for this line is part of every limit.
            Ok(()) | Err(Stop::Limit) => Ok(writer),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Writes items until there are no more to come, or until the limit or a failure.
    pub fn run(mut self, items: &Receiver<Item>, shared: &Shared, lang: Lang) {
        let result = self.write_all(items, shared);
        shared.has_stopped.store(true, Ordering::Relaxed);
        let reason = match result {
            Ok(()) if shared.was_slow.load(Ordering::Relaxed) => Reason::Slow,
            Ok(()) => Reason::Stopped,
            Err(Stop::Limit) => {
                let bytes = self.limit + ROOM_FOR_END;
                warn!(bytes, "{}", texts::RECORD_LIMIT.get(lang));
                Reason::Limit
            }
            Err(Stop::Failed(error)) => {
                warn!(%error, "{}", texts::RECORD_FAILED.get(lang));
                return;
            }
        };
        let us = shared.now.load(Ordering::Relaxed);
        self.limit += ROOM_FOR_END;
        if let Err(Stop::Failed(error)) =
            self.line(&Line::End { us, reason }).and_then(|()| self.flush())
        {
            warn!(%error, "{}", texts::RECORD_FAILED.get(lang));
        }
    }

    fn write_all(&mut self, items: &Receiver<Item>, shared: &Shared) -> Result<(), Stop> {
        self.limit = self.limit.saturating_sub(ROOM_FOR_END);
        loop {
            let item = match items.try_recv() {
                Ok(item) => item,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    // Write what is buffered before waiting, so that a reader of the file sees every event so far.
                    self.flush()?;
                    let Ok(item) = items.recv() else { return Ok(()) };
                    item
                }
            };
            if let What::Bytes(_, bytes) = &item.what {
                shared.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
            }
            self.item(&item)?;
        }
    }

    fn item(&mut self, item: &Item) -> Result<(), Stop> {
        let &Item { us, connection, .. } = item;
        match &item.what {
            &What::Open(address) => self.line(&Line::Open { us, connection, address }),
            &What::Close(code) => self.line(&Line::Close { us, connection, code }),
            What::Bytes(direction, bytes) => bytes.chunks(MAX_BYTES).try_for_each(|bytes| {
                let (length, hex) = (bytes.len(), Cow::Owned(HEXLOWER.encode(bytes)));
                self.line(&match direction {
                    Direction::In => Line::In { us, connection, length, hex },
                    Direction::Out => Line::Out { us, connection, length, hex },
                })
            }),
        }
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), Stop> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(|error| Stop::Failed(error.into()))?;
        self.line.push(b'\n');
        let written = self.written + self.line.len() as u64;
        if written > self.limit {
            return Err(Stop::Limit);
        }
        self.out.write_all(&self.line).map_err(Stop::Failed)?;
        self.written = written;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stop> {
        self.out.flush().map_err(Stop::Failed)
    }
}
