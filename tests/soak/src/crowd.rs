//! All clients on one thread: each does what is due, then the thread waits until a connection is ready.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::client::{Client, Deeds, World};
use crate::event::ConnectionId;
use crate::model::Model;
use crate::server::Server;
use crate::spoil::{Spoil, Spoiler};
use crate::violation::{Counts, Violation};

/// How often clients are asked whether something is due.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// How often progress is printed.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The time that clients have to hear of the end of the server, which promises to end within five seconds.
const GOODBYE: Duration = Duration::from_secs(15);

/// How long clients stall after the server was told to stop.
const LAST_STALL: Duration = Duration::from_secs(2);

/// What a run is about.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The program `framewise`.
    pub program: &'a Path,
    /// The time of both parts together.
    pub time: Duration,
    /// How many clients there are.
    pub clients: usize,
    /// What decides what the clients do.
    pub seed: u64,
    /// How the stream is spoiled.
    pub spoil: Option<Spoil>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the model has counted.
    pub counts: Counts,
    /// What clients have done.
    pub deeds: Deeds,
    /// How many messages were spoiled.
    pub spoiled: u64,
    /// What the server did wrong.
    pub violations: Vec<Violation>,
    /// What else went wrong, with the end of the server's log.
    pub failures: Vec<String>,
}

/// Both parts of a run: a server without limits of the rate, and one with those that it has by default. Each is stopped while
/// messages are under way. A violation ends the run.
pub fn run(plan: &Plan<'_>, mut progress: impl FnMut(&str)) -> Outcome {
    let parts: [(&str, &[&str]); 2] =
        [("no rate limits", &["--rate", "0", "--rate-bytes", "0"]), ("default rate limits", &[])];
    let world = World {
        model: Model::new(),
        address: None,
        names: vec![None; plan.clients],
        deeds: Deeds::default(),
    };
    let spoiler = Spoiler::new(plan.spoil, plan.seed);
    let mut crowd = Crowd { world, spoiler, clients: Vec::new(), open: Vec::new() };
    let mut failures = Vec::new();
    for (n, (name, arguments)) in parts.into_iter().enumerate() {
        progress(name);
        let seed = plan.seed.wrapping_add(n as u64);
        if let Err(failure) = crowd.part(plan, seed, arguments, &mut progress) {
            failures.push(failure);
        }
        if !crowd.world.model.violations().is_empty() || !failures.is_empty() {
            break;
        }
    }
    Outcome {
        counts: *crowd.world.model.counts(),
        deeds: crowd.world.deeds,
        spoiled: crowd.spoiler.spoiled(),
        violations: crowd.world.model.violations().to_vec(),
        failures,
    }
}

struct Crowd {
    world: World,
    spoiler: Spoiler,
    clients: Vec<Client>,
    /// The open connections, for the spoiler.
    open: Vec<ConnectionId>,
}

impl Crowd {
    fn part(
        &mut self,
        plan: &Plan<'_>,
        seed: u64,
        arguments: &[&str],
        progress: &mut impl FnMut(&str),
    ) -> Result<(), String> {
        let mut server = Server::start(plan.program, arguments)?;
        let with_log = |server: &Server, failure: String| {
            let log = server.log();
            let last = log[log.len().saturating_sub(20)..].join("\n    ");
            format!("{failure}\n  the end of the server's log:\n    {last}")
        };
        let began = Instant::now();
        self.world.address = Some(server.address());
        self.clients = (0..plan.clients).map(|slot| Client::new(slot, seed, began)).collect();
        let mut reported = began;
        while began.elapsed() < plan.time / 2 && self.world.model.violations().is_empty() {
            if let Err(failure) = self.turn() {
                return Err(with_log(&server, failure));
            }
            if reported.elapsed() > REPORT_EVERY {
                reported = Instant::now();
                progress(&self.progress(began));
            }
        }
        if let Some(status) = server.ended() {
            return Err(with_log(&server, format!("the server ended with {status}")));
        }
        if !self.world.model.violations().is_empty() {
            return Ok(());
        }
        // Nobody connects any more, and everybody goes on talking.
        self.world.address = None;
        self.world.model.stopping();
        server.terminate()?;
        let stopped = Instant::now();
        self.clients.iter_mut().for_each(|client| client.hurry(stopped + LAST_STALL));
        while self.clients.iter().any(|client| client.connection().is_some())
            && stopped.elapsed() < GOODBYE
        {
            self.turn()?;
        }
        let late = self.clients.iter().filter(|client| client.connection().is_some()).count();
        self.world.model.stopped();
        server.wait().map_err(|failure| with_log(&server, failure))?;
        match late {
            0 => Ok(()),
            late => Err(with_log(&server, format!("{late} connections outlived the server"))),
        }
    }

    fn progress(&self, began: Instant) -> String {
        let counts = self.world.model.counts();
        let clients = self.clients.iter().filter(|client| client.connection().is_some()).count();
        format!(
            "{:>5} s  {clients} connected  {} sent  {} received  {} violations",
            began.elapsed().as_secs(),
            counts.sent + counts.private,
            counts.received,
            counts.violations
        )
    }

    /// Each client does what is due, and reads what has arrived.
    fn turn(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for client in &mut self.clients {
            client.act(&mut self.world, now)?;
        }
        let mut slots = Vec::new();
        let mut interests = Vec::new();
        for (slot, client) in self.clients.iter().enumerate() {
            let Some((socket, reads, writes)) = client.interest() else { continue };
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads);
            flags.set(PollFlags::OUT, writes);
            if !flags.is_empty() {
                slots.push((slot, reads));
                interests.push(PollFd::new(socket, flags));
            }
        }
        poll(&mut interests, Some(&TICK)).map_err(|error| format!("poll: {error}"))?;
        let ready: Vec<PollFlags> = interests.iter().map(PollFd::revents).collect();
        let ready = slots.into_iter().zip(ready).filter(|(_, flags)| !flags.is_empty());
        let ready: Vec<_> = ready.collect();
        self.open = self.clients.iter().filter_map(Client::connection).collect();
        for ((slot, reads), flags) in ready {
            if flags.contains(PollFlags::OUT) {
                self.clients[slot].flush();
            }
            if reads {
                self.read(slot, now);
            }
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, now: Instant) {
        let Some(id) = self.clients[slot].connection() else { return };
        for event in self.clients[slot].read(now, &mut self.world.names) {
            for (id, event) in self.spoiler.pass(&self.world.model, &self.open, id, event) {
                self.world.model.record(id, event);
            }
        }
    }
}
