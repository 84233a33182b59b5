//! The way in from other threads: a bounded queue of commands, and a bell that wakes the loop.
//!
//! ```text
//! any thread ── Handle ──> [ at most 1,024 commands, 16 MiB ] ──> the loop, between two passes
//!                  '── the bell rings when the queue was empty: one system call for many commands
//! ```
//!
//! Rules of this file: nobody waits for room in the queue, a full one is an answer; what a command acts on may
//! be gone when its turn comes, and then it does nothing.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use mio::{Registry, Token, Waker};

use crate::net::turns::Snapshot;
use crate::peers::PeerId;
use crate::protocol::close::{self, CloseCode, InvalidClose};
use crate::protocol::message::Message;
use crate::protocol::send::EncodedFrame;

/// Commands that may wait for the loop.
pub(crate) const MAX_COMMANDS: usize = 1024;

/// Bytes of messages that may wait for the loop; one message may always wait alone.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// Acts on a running server from any thread. Cheap to clone.
///
/// A command is carried out by the loop, after this call has returned; commands of one thread keep their
/// order.
#[derive(Clone)]
pub struct Handle {
    commands: SyncSender<Command>,
    bell: Arc<Bell>,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleError {
    /// 1,024 commands, or 16 MiB of messages, wait already: the server is slower than its callers.
    Full,
    /// The server has stopped.
    Stopped,
    /// The close could never be sent.
    InvalidClose(InvalidClose),
}

impl fmt::Display for HandleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandleError::Full => out.write_str("too many commands wait for the server"),
            HandleError::Stopped => out.write_str("the server has stopped"),
            HandleError::InvalidClose(why) => why.fmt(out),
        }
    }
}

impl std::error::Error for HandleError {}

/// What the loop is asked to do.
pub(crate) enum Command {
    Send(PeerId, EncodedFrame),
    Publish(String, EncodedFrame, Vec<PeerId>),
    Close(PeerId, CloseCode, String),
    Shutdown(Duration),
    Snapshot(SyncSender<Snapshot>),
}

impl Command {
    fn bytes(&self) -> usize {
        match self {
            Command::Send(_, frame) | Command::Publish(_, frame, _) => frame.len(),
            _ => 0,
        }
    }
}

impl Handle {
    /// Sends a message to one peer, if it is still open then.
    ///
    /// # Errors
    ///
    /// Too much waits already, or the server has stopped.
    pub fn send(&self, to: PeerId, message: Message<'_>) -> Result<(), HandleError> {
        self.command(Command::Send(to, EncodedFrame::new(message)))
    }

    /// Sends a message to every member of a group but those in `except`.
    ///
    /// # Errors
    ///
    /// Too much waits already, or the server has stopped.
    pub fn publish(
        &self,
        group: &str,
        message: Message<'_>,
        except: &[PeerId],
    ) -> Result<(), HandleError> {
        let frame = EncodedFrame::new(message);
        self.command(Command::Publish(group.to_owned(), frame, except.to_vec()))
    }

    /// Starts the closing handshake with one peer, if it is still open then.
    ///
    /// # Errors
    ///
    /// The code may not be sent, the reason is longer than 123 bytes, too much waits already, or the server
    /// has stopped.
    pub fn close(&self, peer: PeerId, code: CloseCode, reason: &str) -> Result<(), HandleError> {
        close::encode(code, reason, &mut [0; close::MAX_BODY])
            .map_err(HandleError::InvalidClose)?;
        self.command(Command::Close(peer, code, reason.to_owned()))
    }

    /// Stops the server: no connection is accepted any more, what waits is written out, each peer gets a
    /// Close with 1001, and after `deadline` at the latest [`run`](crate::Server::run) returns. A second call
    /// can only bring the end nearer.
    ///
    /// # Errors
    ///
    /// Too many commands wait already, or the server has stopped.
    pub fn shutdown(&self, deadline: Duration) -> Result<(), HandleError> {
        self.command(Command::Shutdown(deadline))
    }

    /// How much the server holds at this moment. Waits for the loop to answer, so a dispatcher, which is
    /// called by the loop, must not ask: it would wait for itself.
    ///
    /// # Errors
    ///
    /// Too many commands wait already, or the server has stopped.
    pub fn snapshot(&self) -> Result<Snapshot, HandleError> {
        let (answer, answered) = sync_channel(1);
        self.command(Command::Snapshot(answer))?;
        answered.recv().map_err(|_| HandleError::Stopped)
    }

    fn command(&self, command: Command) -> Result<(), HandleError> {
        let bytes = command.bytes();
        let waiting = self.bell.bytes.fetch_add(bytes, Ordering::Relaxed);
        let result = if waiting > 0 && waiting + bytes > MAX_WAITING_BYTES {
            Err(HandleError::Full)
        } else {
            self.commands.try_send(command).map_err(|error| match error {
                TrySendError::Full(_) => HandleError::Full,
                TrySendError::Disconnected(_) => HandleError::Stopped,
            })
        };
        match result {
            Ok(()) => self.bell.ring(),
            Err(_) => drop(self.bell.bytes.fetch_sub(bytes, Ordering::Relaxed)),
        }
        result
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// Wakes the loop, once for all commands that it has not looked at yet.
struct Bell {
    waker: Waker,
    rung: AtomicBool,
    /// Bytes of messages in the queue.
    bytes: AtomicUsize,
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A readiness queue that cannot be woken has failed, and the loop finds out by itself.
            let _ = self.waker.wake();
        }
    }
}

/// The loop's end of the queue.
///
/// When it is dropped, commands that still wait are dropped with it, and handles learn that the server stopped.
pub(crate) struct Inbox {
    commands: Receiver<Command>,
    bell: Arc<Bell>,
}

impl Inbox {
    /// Both ends of the queue of a loop whose readiness queue this is.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<(Handle, Inbox)> {
        let waker = Waker::new(registry, token)?;
        let bell =
            Arc::new(Bell { waker, rung: AtomicBool::new(false), bytes: AtomicUsize::new(0) });
        let (sender, commands) = sync_channel(MAX_COMMANDS);
        Ok((Handle { commands: sender, bell: Arc::clone(&bell) }, Inbox { commands, bell }))
    }

    /// The bell was heard: from now on a new command rings it again.
    pub(crate) fn heard(&self) {
        self.bell.rung.swap(false, Ordering::AcqRel);
    }

    /// Rings the bell for commands that are left for the next pass.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// The next command, if one waits.
    pub(crate) fn next(&self) -> Option<Command> {
        let command = self.commands.try_recv().ok()?;
        self.bell.bytes.fetch_sub(command.bytes(), Ordering::Relaxed);
        Some(command)
    }
}
