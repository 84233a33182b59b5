//! Access to the event loop from other threads: a bounded queue of commands, and a waker.
//!
//! ```text
//! any thread ── Handle ──> [ at most 1,024 commands, 16 MiB ] ──> the event loop, at the start of a pass
//!                  '── wakes the loop if the queue was empty: one system call for many commands
//! ```
//!
//! Rules of this file: No caller waits for space in the queue: if it is full, the call returns an error. If a command
//! acts on a peer that is no longer connected when the loop carries it out, it does nothing.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use mio::{Registry, Token, Waker};

use crate::net::event_loop::Snapshot;
use crate::outbox::Outbox;
use crate::peers::PeerId;
use crate::protocol::close::{self, CloseCode, InvalidClose};
use crate::protocol::encode::EncodedFrame;
use crate::protocol::message::Payload;

/// The most commands in the queue.
pub(crate) const MAX_COMMANDS: usize = 1024;

/// The most bytes of messages in the queue. A single message may always be queued, whatever its size.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// Acts on a running server from any thread. Cheap to clone.
///
/// A call only queues a command, and the event loop carries it out later. Commands from one thread keep their order.
///
/// ```no_run
/// use std::time::Duration;
/// use framewise::{Broadcast, Config, Server};
///
/// let mut server = Server::bind(Config::default(), Broadcast)?;
/// let handle = server.handle();
/// std::thread::spawn(move || {
///     handle.publish("everyone", "the lesson begins", &[])?;
///     handle.shutdown(Duration::from_secs(10))
/// });
/// server.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Handle<A> {
    commands: SyncSender<Command<A>>,
    shared: Arc<Shared>,
}

impl<A> Clone for Handle<A> {
    fn clone(&self) -> Handle<A> {
        Handle { commands: self.commands.clone(), shared: Arc::clone(&self.shared) }
    }
}

/// Why a command of a [`Handle`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// 1,024 commands or 16 MiB of messages are queued already, because the server is slower than its callers. Or there
    /// is no memory for another message.
    Full,
    /// The server has stopped.
    Stopped,
    /// The closure of [`call`](Handle::call) panicked.
    Panicked,
    /// The close code must not be sent, or the reason is too long.
    InvalidClose(InvalidClose),
    /// A callback of this event loop made a call that waits for the loop.
    WouldDeadlock,
}

impl fmt::Display for HandleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            HandleError::Full => "too many commands are queued for the server",
            HandleError::Stopped => "the server has stopped",
            HandleError::Panicked => "the closure panicked",
            HandleError::InvalidClose(why) => return why.fmt(out),
            HandleError::WouldDeadlock => "a callback of the server cannot wait for the server",
        })
    }
}

impl std::error::Error for HandleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HandleError::InvalidClose(why) => Some(why),
            _ => None,
        }
    }
}

impl From<InvalidClose> for HandleError {
    fn from(why: InvalidClose) -> HandleError {
        HandleError::InvalidClose(why)
    }
}

/// A closure for the event loop to call.
type Action<A> = Box<dyn FnOnce(&mut A, &mut Outbox<'_>) + Send>;

/// A command for the event loop.
pub(crate) enum Command<A> {
    Run { action: Action<A>, bytes: usize },
    Adopt(TcpStream),
    Shutdown(Duration),
    Snapshot(SyncSender<Snapshot>),
}

impl<A> Command<A> {
    fn bytes(&self) -> usize {
        match self {
            Command::Run { bytes, .. } => *bytes,
            _ => 0,
        }
    }
}

impl<A> Handle<A> {
    /// Calls a closure on the thread of the event loop, with the application and an [`Outbox`].
    ///
    /// If the closure panics, the panic is caught, and the server continues.
    ///
    /// # Errors
    ///
    /// The queue is full, or the server has stopped.
    pub fn run(
        &self,
        action: impl FnOnce(&mut A, &mut Outbox<'_>) + Send + 'static,
    ) -> Result<(), HandleError> {
        self.command(Command::Run { action: Box::new(action), bytes: 0 })
    }

    /// Calls a closure as [`run`](Handle::run) does, waits for it, and returns its result.
    ///
    /// It waits until the server runs. A thread must therefore not call it before it calls
    /// [`Server::run`](crate::Server::run) itself, and two servers must not call each other from their callbacks.
    ///
    /// # Errors
    ///
    /// The queue is full, the server has stopped, or the closure panicked. Or the caller is a callback of this server,
    /// which would wait for itself.
    pub fn call<R: Send + 'static>(
        &self,
        action: impl FnOnce(&mut A, &mut Outbox<'_>) -> R + Send + 'static,
    ) -> Result<R, HandleError> {
        let (result, returned) = sync_channel(1);
        let returned = self.wait(returned, || {
            self.run(move |application, outbox| {
                let mut report = Report { result, value: None };
                report.value = Some(action(application, outbox));
            })
        })?;
        returned.ok_or(HandleError::Panicked)
    }

    /// Sends a message to one peer, if its connection is still open when the loop carries out the command.
    ///
    /// # Errors
    ///
    /// The queue is full, or the server has stopped.
    pub fn send(&self, to: PeerId, message: impl Payload) -> Result<(), HandleError> {
        let frame = self.encode(message)?;
        let bytes = frame.bytes().len();
        let action: Action<A> = Box::new(move |_, outbox| {
            outbox.send_encoded(to, frame);
        });
        self.command(Command::Run { action, bytes })
    }

    /// Sends a message to every member of a group except those in `except`.
    ///
    /// # Errors
    ///
    /// The queue is full, or the server has stopped.
    pub fn publish(
        &self,
        group: &str,
        message: impl Payload,
        except: &[PeerId],
    ) -> Result<(), HandleError> {
        let frame = self.encode(message)?;
        let bytes = frame.bytes().len();
        let (group, except) = (group.to_owned(), except.to_vec());
        let action: Action<A> = Box::new(move |_, outbox| {
            outbox.publish_encoded(&group, frame, &except);
        });
        self.command(Command::Run { action, bytes })
    }

    /// Starts the closing handshake with one peer, if its connection is still open when the loop carries out the
    /// command.
    ///
    /// # Errors
    ///
    /// The code must not be sent, the reason is longer than 123 bytes, the queue is full, or the server has stopped.
    pub fn close(&self, peer: PeerId, code: CloseCode, reason: &str) -> Result<(), HandleError> {
        close::encode(code, reason, &mut [0; close::MAX_BODY])?;
        let reason = reason.to_owned();
        self.run(move |_, outbox| {
            outbox.close_peer(peer, code, &reason).expect("code and reason were checked above");
        })
    }

    /// Passes the server a TCP connection that was accepted elsewhere. The server treats it like one of its own.
    ///
    /// A program can use this to run one event loop per core behind one listener, or to serve connections that its
    /// parent process has accepted.
    ///
    /// # Errors
    ///
    /// The queue is full, or the server has stopped.
    pub fn adopt(&self, connection: TcpStream) -> Result<(), HandleError> {
        self.command(Command::Adopt(connection))
    }

    /// Shuts the server down gracefully. It stops accepting connections, writes its queued output, and sends each peer
    /// a Close with 1001. [`run`](crate::Server::run) returns when all connections are closed, after `deadline` at the
    /// latest. A second call can only make the deadline earlier.
    ///
    /// # Errors
    ///
    /// The queue is full, or the server has stopped.
    pub fn shutdown(&self, deadline: Duration) -> Result<(), HandleError> {
        self.command(Command::Shutdown(deadline))
    }

    /// Returns the resources that the connections of the server hold at this moment. It waits as [`call`](Handle::call)
    /// does.
    ///
    /// # Errors
    ///
    /// The queue is full, or the server has stopped. Or the caller is a callback of this server, which would wait for
    /// itself.
    pub fn snapshot(&self) -> Result<Snapshot, HandleError> {
        let (snapshot, returned) = sync_channel(1);
        self.wait(returned, || self.command(Command::Snapshot(snapshot)))
    }

    /// Queues a command and waits for its result.
    fn wait<R>(
        &self,
        returned: Receiver<R>,
        command: impl FnOnce() -> Result<(), HandleError>,
    ) -> Result<R, HandleError> {
        if self.shared.is_of_this_thread() {
            return Err(HandleError::WouldDeadlock);
        }
        command()?;
        returned.recv().map_err(|_| HandleError::Stopped)
    }

    /// Encodes a message on this thread. Its bytes count towards the memory limit of all connections once the event loop
    /// has taken it from the queue: queued commands must not close any connection.
    fn encode(&self, message: impl Payload) -> Result<EncodedFrame, HandleError> {
        EncodedFrame::new(message.as_message()).ok_or(HandleError::Full)
    }

    fn command(&self, command: Command<A>) -> Result<(), HandleError> {
        let bytes = command.bytes();
        let is_within = |waiting| waiting == 0 || waiting + bytes <= MAX_WAITING_BYTES;
        self.shared
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                is_within(waiting).then_some(waiting + bytes)
            })
            .map_err(|_| HandleError::Full)?;
        if let Err(error) = self.commands.try_send(command) {
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(match error {
                TrySendError::Full(_) => HandleError::Full,
                TrySendError::Disconnected(_) => HandleError::Stopped,
            });
        }
        self.shared.wake();
        Ok(())
    }
}

impl<A> fmt::Debug for Handle<A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// Reports the result of a closure when it is dropped: `None` if the closure panicked.
struct Report<R> {
    result: SyncSender<Option<R>>,
    value: Option<R>,
}

impl<R> Drop for Report<R> {
    fn drop(&mut self) {
        // The channel has space for the one result.
        let _ = self.result.try_send(self.value.take());
    }
}

/// What the handles and the loop share: the waker, and the counters.
struct Shared {
    waker: Waker,
    /// The waker has been used since the loop last looked at the queue.
    woken: AtomicBool,
    /// Bytes of messages in the queue.
    bytes: AtomicUsize,
}

thread_local! {
    /// The address of the `Shared` of the loop whose callbacks may run on this thread now, or 0.
    static CALLING: Cell<usize> = const { Cell::new(0) };
}

impl Shared {
    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // If waking fails, polling fails too, and `run` returns that error.
            let _ = self.waker.wake();
        }
    }

    fn is_of_this_thread(&self) -> bool {
        CALLING.get() == std::ptr::from_ref(self).addr()
    }
}

/// The receiving end of the command queue, which the loop owns.
///
/// Dropping it drops the commands in the queue. From then on, handles report that the server has stopped.
pub(crate) struct Inbox<A> {
    commands: Receiver<Command<A>>,
    shared: Arc<Shared>,
}

/// Marks this thread as one on which callbacks of a loop run, until it is dropped.
pub(crate) struct Calling {
    before: usize,
}

impl Drop for Calling {
    fn drop(&mut self) {
        CALLING.set(self.before);
    }
}

impl<A> Inbox<A> {
    /// Returns both ends of a command queue. Its waker is registered with `registry`.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<(Handle<A>, Inbox<A>)> {
        let waker = Waker::new(registry, token)?;
        let shared =
            Arc::new(Shared { waker, woken: AtomicBool::new(false), bytes: AtomicUsize::new(0) });
        let (sender, commands) = sync_channel(MAX_COMMANDS);
        Ok((Handle { commands: sender, shared: Arc::clone(&shared) }, Inbox { commands, shared }))
    }

    /// Records that callbacks run on this thread, until the returned value is dropped.
    pub(crate) fn calling(&self) -> Calling {
        Calling { before: CALLING.replace(Arc::as_ptr(&self.shared).addr()) }
    }

    /// Records that the loop is awake, so that the next command wakes it again.
    pub(crate) fn awake(&self) {
        self.shared.woken.swap(false, Ordering::AcqRel);
    }

    /// Wakes the loop again, because commands may be left for the next pass.
    pub(crate) fn wake(&self) {
        self.shared.wake();
    }

    /// Removes and returns the next command.
    pub(crate) fn next(&self) -> Option<Command<A>> {
        let command = self.commands.try_recv().ok()?;
        self.shared.bytes.fetch_sub(command.bytes(), Ordering::Relaxed);
        Some(command)
    }
}
