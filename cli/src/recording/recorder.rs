//! Records the bytes of a server as an observer of it.
//!
//! Rules of this file:
//!
//! - The event loop never waits. It redacts a copy of the bytes and queues it. If the queue is full, the recording ends there,
//!   which the log says once, and the class goes on.
//! - What is kept for a connection has a fixed size, besides the head of a request that is not complete, and is dropped when the
//!   connection closes.
//! - Of a connection that watches the class, nothing is recorded from the read on that completes its first request for the wire
//!   page. It would be a second copy of the class.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::Hash;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use framewise::config::ValidConfig;
use framewise::lang::Lang;
use framewise::observe::{Direction, Notice, Observer};
use framewise::protocol::frame::Role;
use framewise::{PeerId, Request};
use tracing::warn;

use crate::clock;
use crate::recording::format::{Head, VERSION};
use crate::recording::heads::{Found, Heads};
use crate::recording::redact::Redactor;
pub use crate::recording::writer::MIN_LIMIT;
use crate::recording::writer::{Item, Shared, What, Writer};
use crate::texts;

/// The most events that wait to be written.
const MAX_ITEMS: usize = 16 * 1024;

/// The most bytes of reads and writes that wait to be written.
const MAX_QUEUED: usize = 16 << 20;

/// An observer that records, or does nothing. `K` tells connections apart.
pub struct Recorder<K = PeerId>(Option<Recording<K>>);

/// A recording that is under way.
struct Recording<K> {
    lanes: HashMap<K, Lane>,
    /// How many connections there were.
    connections: u64,
    began: Instant,
    queue: SyncSender<Item>,
    shared: Arc<Shared>,
    lang: Lang,
    left_out: Option<LeftOut>,
}

/// Which connections are left out.
pub struct LeftOut {
    /// The configuration of the server.
    pub config: ValidConfig,
    /// Reports whether a connection with this request is left out, from this request on.
    pub is_left_out: fn(&Request<'_>) -> bool,
}

/// The state of one connection.
struct Lane {
    number: u64,
    redactor: Redactor,
    /// Finds a request with which the connection is left out. `None` if there can be none any more.
    requests: Option<Box<Heads>>,
    is_left_out: bool,
    /// The code with which the WebSocket has closed.
    code: Option<u16>,
}

/// Waits for the last lines of a recording. The default has nothing to wait for.
#[derive(Default)]
pub struct Ending(Option<(Receiver<()>, Lang)>);

impl Ending {
    /// Waits until everything is written, but not for longer than `time`. The recorder has to be dropped before.
    pub fn wait(self, time: Duration) {
        if let Some((is_done, lang)) = self.0
            && is_done.recv_timeout(time) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            warn!("{}", texts::RECORD_UNFINISHED.get(lang));
        }
    }
}

impl<K> Default for Recorder<K> {
    fn default() -> Recorder<K> {
        Recorder(None)
    }
}

impl<K: Copy + Eq + Hash> Recorder<K> {
    /// Creates the file, which must not exist, and starts to record into it everything but what is `left_out`.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or exists already. The error is one line that names it.
    pub fn start(
        path: &Path,
        limit: u64,
        listening: Vec<SocketAddr>,
        left_out: Option<LeftOut>,
        lang: Lang,
        log_lang: Lang,
    ) -> Result<(Recorder<K>, Ending), String> {
        let shown = path.display();
        let file = create_private(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => texts::FILE_EXISTS.with(lang, &[&shown]),
            _ => format!("{shown}: {error}"),
        })?;
        Recorder::record_to(file, limit, listening, left_out, log_lang)
            .map_err(|error| format!("{shown}: {error}"))
    }

    fn record_to(
        out: impl Write + Send + 'static,
        limit: u64,
        listening: Vec<SocketAddr>,
        left_out: Option<LeftOut>,
        lang: Lang,
    ) -> io::Result<(Recorder<K>, Ending)> {
        let head = Head {
            framewise_recording: VERSION,
            program: concat!("framewise ", env!("CARGO_PKG_VERSION")).to_owned(),
            started: clock::timestamp_micros(),
            listening,
        };
        let began = Instant::now();
        let writer = Writer::new(out, limit, &head)?;
        let (queue, items) = sync_channel(MAX_ITEMS);
        let (done, is_done) = sync_channel(1);
        let shared = Arc::<Shared>::default();
        let of_writer = Arc::clone(&shared);
        thread::Builder::new().name("recording".to_owned()).spawn(move || {
            writer.run(&items, &of_writer, lang);
            let _ = done.send(());
        })?;
        let lanes = HashMap::new();
        let recording = Recording { lanes, connections: 0, began, queue, shared, lang, left_out };
        Ok((Recorder(Some(recording)), Ending(Some((is_done, lang)))))
    }

    /// Passes an event to the recording. Ends the recording if that is impossible.
    fn pass(&mut self, event: impl FnOnce(&mut Recording<K>) -> Result<(), Full>) {
        let Some(recording) = &mut self.0 else { return };
        if recording.shared.has_stopped.load(Ordering::Relaxed) {
            // The writer has said why.
            self.0 = None;
        } else if event(recording).is_err() {
            recording.shared.was_slow.store(true, Ordering::Relaxed);
            warn!("{}", texts::RECORD_SLOW.get(recording.lang));
            self.0 = None;
        }
    }

    fn see_bytes(&mut self, peer: K, direction: Direction, bytes: &[u8]) {
        self.pass(|recording| recording.bytes(peer, direction, bytes));
    }

    fn see(&mut self, peer: K, notice: &Notice<'_>) {
        self.pass(|recording| recording.notice(peer, notice));
    }
}

/// The queue has no room left.
struct Full;

impl<K: Copy + Eq + Hash> Recording<K> {
    fn queue(&self, connection: u64, what: What) -> Result<(), Full> {
        let us = self.began.elapsed().as_micros() as u64;
        let length = if let What::Bytes(_, bytes) = &what { bytes.len() } else { 0 };
        let queued = self.shared.queued.fetch_add(length, Ordering::Relaxed);
        self.shared.now.store(us, Ordering::Relaxed);
        if queued + length > MAX_QUEUED {
            return Err(Full);
        }
        // The writer may have stopped just now, which the next event notices.
        match self.queue.try_send(Item { us, connection, what }) {
            Err(std::sync::mpsc::TrySendError::Full(_)) => Err(Full),
            _ => Ok(()),
        }
    }

    fn bytes(&mut self, peer: K, direction: Direction, bytes: &[u8]) -> Result<(), Full> {
        let Some(lane) = self.lanes.get_mut(&peer) else { return Ok(()) };
        if let (Direction::In, Some(requests), Some(left_out)) =
            (direction, &mut lane.requests, &self.left_out)
        {
            match requests.read(bytes, left_out.is_left_out) {
                Found::Heads => {}
                Found::Frames(_) => lane.requests = None,
                Found::LeftOut => (lane.requests, lane.is_left_out) = (None, true),
            }
        }
        if lane.is_left_out {
            return Ok(());
        }
        let bytes = lane.redactor.redact(direction, bytes);
        let number = lane.number;
        self.queue(number, What::Bytes(direction, bytes))
    }

    fn notice(&mut self, peer: K, notice: &Notice<'_>) -> Result<(), Full> {
        match notice {
            Notice::Connected(address) => {
                self.connections += 1;
                let number = self.connections;
                let heads = |left_out: &LeftOut| Heads::new(Role::Client, left_out.config.clone());
                let lane = Lane {
                    number,
                    redactor: Redactor::default(),
                    requests: self.left_out.as_ref().map(|left_out| Box::new(heads(left_out))),
                    is_left_out: false,
                    code: None,
                };
                self.lanes.insert(peer, lane);
                self.queue(number, What::Open(*address))
            }
            Notice::Closed(closed) => {
                if let Some(lane) = self.lanes.get_mut(&peer).filter(|lane| !lane.is_left_out) {
                    lane.code = Some(closed.code.0);
                }
                Ok(())
            }
            Notice::Disconnected => match self.lanes.remove(&peer) {
                Some(lane) => self.queue(lane.number, What::Close(lane.code)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Observer for Recorder {
    fn bytes(&mut self, peer: PeerId, direction: Direction, bytes: &[u8]) {
        self.see_bytes(peer, direction, bytes);
    }

    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        if let Some(peer) = peer {
            self.see(peer, notice);
        }
    }
}

/// Creates a file that only its owner can read. It must not exist.
///
/// # Errors
///
/// It exists, or cannot be created.
pub fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::Sender;

    use serde_json::Value;

    use super::*;

    /// A file in memory, which takes bytes only while `gate` is not locked.
    #[derive(Clone, Default)]
    struct Memory {
        gate: Arc<Mutex<()>>,
        bytes: Arc<Mutex<Vec<u8>>>,
        /// Learns of each write before it waits.
        writes: Option<Sender<()>>,
        /// The most bytes that fit.
        most: Option<usize>,
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(writes) = &self.writes {
                let _ = writes.send(());
            }
            let _gate = self.gate.lock().expect("no panic");
            let mut written = self.bytes.lock().expect("no panic");
            let room = self.most.map_or(bytes.len(), |most| most - written.len());
            if room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(room);
            written.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Memory {
        fn start(&self, limit: u64) -> (Recorder<u8>, Ending) {
            Recorder::record_to(self.clone(), limit, Vec::new(), None, Lang::En)
                .expect("it has room")
        }

        fn text(&self) -> String {
            String::from_utf8(self.bytes.lock().expect("no panic").clone()).expect("text")
        }

        fn lines(&self) -> Vec<Value> {
            let line = |line| serde_json::from_str(line).expect("JSON");
            self.text().lines().map(line).collect()
        }
    }

    fn open(recorder: &mut Recorder<u8>) {
        let address = SocketAddr::from(([127, 0, 0, 1], 5000));
        recorder.see(PEER, &Notice::Connected(address));
    }

    const PATIENCE: Duration = Duration::from_secs(30);
    const PEER: u8 = 7;

    #[test]
    fn events_become_lines_without_secrets() {
        let memory = Memory::default();
        let (mut recorder, ending) = memory.start(1 << 20);
        open(&mut recorder);
        recorder.see_bytes(PEER, Direction::In, b"GET / HTTP/1.1\r\nCook");
        recorder.see_bytes(PEER, Direction::In, b"ie: abc\r\n");
        recorder.see_bytes(PEER, Direction::Out, b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\n");
        recorder.see(PEER, &Notice::Disconnected);
        drop(recorder);
        ending.wait(PATIENCE);
        let lines = memory.lines();
        assert_eq!(lines[0]["framewise_recording"], 1);
        let events: Vec<_> = lines[1..].iter().map(|line| line["event"].as_str()).collect();
        let expected = ["open", "in", "in", "out", "close", "end"];
        assert_eq!(events, expected.map(Some));
        assert_eq!(lines[1]["address"], "127.0.0.1:5000");
        let bytes = |line: usize| {
            let hex = lines[line]["hex"].as_str().expect("bytes");
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("digits");
            assert_eq!(lines[line]["length"], bytes.len());
            String::from_utf8(bytes).expect("text")
        };
        assert_eq!(bytes(2), "GET / HTTP/1.1\r\nCook");
        assert_eq!(bytes(3), "ie: ***\r\n");
        assert_eq!(bytes(4), "HTTP/1.1 200 OK\r\nSet-Cookie: *\r\n");
        assert_eq!(lines[6]["reason"], "stopped");
    }

    /// Neither bytes nor events pile up without bound behind a disk that does not write, and the event loop does not wait.
    #[test]
    fn a_full_queue_ends_the_recording_and_not_the_class() {
        for (size, most) in [(1 << 20, MAX_QUEUED >> 20), (1, MAX_ITEMS)] {
            let (writes, has_written) = std::sync::mpsc::channel();
            let memory = Memory { writes: Some(writes), ..Memory::default() };
            let (mut recorder, ending) = memory.start(1 << 30);
            has_written.recv_timeout(PATIENCE).expect("the first line");
            let gate = memory.gate.clone();
            let closed = gate.lock().expect("no panic");
            open(&mut recorder);
            // The writer has taken this one, and waits.
            has_written.recv_timeout(PATIENCE).expect("the second line");
            let bytes = vec![b'x'; size];
            let mut taken = 0;
            while recorder.0.is_some() {
                recorder.see_bytes(PEER, Direction::In, &bytes);
                taken += 1;
                assert!(taken <= most + 1, "it goes on after {taken}");
            }
            assert_eq!(taken, most + 1);
            recorder.see_bytes(PEER, Direction::In, &bytes);
            drop(closed);
            ending.wait(PATIENCE);
            // Everything before is there, and it is said that the rest is not.
            let lines = memory.lines();
            assert_eq!(lines.len(), 1 + 1 + most + 1);
            assert_eq!(lines[lines.len() - 1]["reason"], "slow");
        }
    }

    #[test]
    fn the_limit_is_never_exceeded() {
        for limit in MIN_LIMIT..MIN_LIMIT + 300 {
            let memory = Memory::default();
            let (mut recorder, ending) = memory.start(limit);
            open(&mut recorder);
            for _ in 0..100 {
                recorder.see_bytes(PEER, Direction::In, &[b'x'; 50]);
            }
            drop(recorder);
            ending.wait(PATIENCE);
            let text = memory.text();
            assert!(text.len() as u64 <= limit && text.len() as u64 > limit - 400, "{limit}");
            assert_eq!(memory.lines().last().expect("lines")["reason"], "limit");
        }
    }

    #[test]
    fn a_full_disk_ends_the_recording() {
        let memory = Memory { most: Some(1000), ..Memory::default() };
        let (mut recorder, ending) = memory.start(1 << 20);
        open(&mut recorder);
        (0..100).for_each(|_| recorder.see_bytes(PEER, Direction::In, &[b'x'; 50]));
        ending.wait(PATIENCE);
        assert_eq!(memory.text().len(), 1000);
        recorder.see_bytes(PEER, Direction::In, b"x");
        assert!(recorder.0.is_none());
    }

    /// The end of the server is not held up by a disk that does not write.
    #[test]
    fn the_last_lines_are_not_waited_for_without_end() {
        let (writes, has_written) = std::sync::mpsc::channel();
        let memory = Memory { writes: Some(writes), ..Memory::default() };
        let (mut recorder, ending) = memory.start(1 << 20);
        has_written.recv_timeout(PATIENCE).expect("the first line");
        let gate = memory.gate.clone();
        let closed = gate.lock().expect("no panic");
        open(&mut recorder);
        has_written.recv_timeout(PATIENCE).expect("the second line");
        drop(recorder);
        // The writer cannot end before the gate opens, so this only returns because of its time.
        ending.wait(Duration::from_millis(20));
        assert!(memory.bytes.try_lock().is_ok_and(|bytes| !bytes.ends_with(b"\"stopped\"}\n")));
        drop(closed);
    }

    #[test]
    fn a_connection_that_closes_leaves_nothing() {
        let (mut recorder, _ending) = Memory::default().start(1 << 30);
        let lanes = |recorder: &Recorder<u8>| recorder.0.as_ref().map(|r| r.lanes.len());
        open(&mut recorder);
        assert_eq!(lanes(&recorder), Some(1));
        recorder.see(PEER, &Notice::Disconnected);
        assert_eq!(lanes(&recorder), Some(0));
        assert!(size_of::<Lane>() <= 448, "{}", size_of::<Lane>());
    }
}
