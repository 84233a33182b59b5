//! What one connection waits for: answers that are timed, the next ping, the end.
//!
//! Rules of this file: nothing here sends or reads; times are taken when they are asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connect::options::Args;

/// Messages and pings whose answers are timed; beyond it the oldest ones are not.
const MAX_TIMED: usize = 10_000;

/// How long nothing may move before the answers that are still missing are given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long, after the server has read everything.
const QUIET: Duration = Duration::from_secs(1);

/// How often it looks whether what waits has been sent, if nothing comes in meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What one connection waits for.
pub struct Talk {
    /// When the messages were sent that are not answered yet.
    messages: VecDeque<Instant>,
    /// When the pings were sent that are not answered yet, and with what.
    pings: VecDeque<(Vec<u8>, Instant)>,
    pinging: Option<Pinging>,
    ending: Option<Ending>,
    /// Messages that went out, and that came.
    messages_out: u64,
    messages_in: u64,
    /// Answers are timed.
    times: bool,
}

/// Pings at regular intervals.
struct Pinging {
    every: Duration,
    /// When the next one is due.
    next: Instant,
    /// How long nothing may arrive after a ping.
    timeout: Duration,
    /// The connection is lost then. Absent unless a ping waits for an answer.
    lost_at: Option<Instant>,
    /// How many bytes had arrived by the last check.
    received: u64,
    /// How many bytes waited to be sent at the last check.
    queued: usize,
}

/// Nothing more will be sent.
struct Ending {
    at: Instant,
    /// How long nothing may move; absent where it ends then, whatever moves.
    patience: Option<Duration>,
    /// The server has read all that was sent.
    is_read: bool,
    /// What waited to be sent when something moved last.
    queued: usize,
}

impl Talk {
    /// Nothing is waited for.
    pub fn new(args: &Args) -> Talk {
        Talk {
            messages: VecDeque::new(),
            pings: VecDeque::new(),
            pinging: args.ping.map(|every| Pinging {
                every,
                next: Instant::now() + every,
                timeout: args.pong_timeout,
                lost_at: None,
                received: 0,
                queued: 0,
            }),
            ending: None,
            messages_out: 0,
            messages_in: 0,
            times: args.rtt,
        }
    }

    /// A message goes out, which may be answered.
    pub fn sent(&mut self) {
        self.messages_out += 1;
        if self.times {
            push(&mut self.messages, Instant::now());
        }
    }

    /// A ping goes out.
    pub fn time_ping(&mut self, payload: &[u8]) {
        if self.times {
            push(&mut self.pings, (payload.to_vec(), Instant::now()));
        }
    }

    /// A message came: how long ago the one was sent that it answers, if that was timed.
    pub fn received(&mut self) -> Option<Duration> {
        self.messages_in += 1;
        self.messages.pop_front().map(|at| at.elapsed())
    }

    /// How long ago a ping with this payload was sent. A pong may answer several pings (RFC 6455 §5.5.3-1).
    pub fn ponged(&mut self, payload: &[u8]) -> Option<Duration> {
        let at = self.pings.iter().position(|(sent, _)| sent == payload)?;
        self.pings.drain(..=at).next_back().map(|(_, at)| at.elapsed())
    }

    /// Reports whether it is time for another ping, which the caller then sends.
    pub fn is_ping_due(&mut self) -> bool {
        let now = Instant::now();
        match &mut self.pinging {
            Some(pinging) if now >= pinging.next => {
                pinging.next = now + pinging.every;
                pinging.lost_at.get_or_insert(now + pinging.timeout);
                true
            }
            _ => false,
        }
    }

    /// Reports whether the connection is lost because nothing has arrived for the time-out after a ping. `received` is
    /// how many bytes have arrived in all, `queued` how many wait to be sent. A pong may have to wait behind a long
    /// message in either direction, so bytes that move are an answer too.
    pub fn is_lost(&mut self, received: u64, queued: usize) -> bool {
        let Some(pinging) = &mut self.pinging else { return false };
        if received != std::mem::replace(&mut pinging.received, received) {
            pinging.lost_at = None;
        }
        if queued < std::mem::replace(&mut pinging.queued, queued) && pinging.lost_at.is_some() {
            pinging.lost_at = Some(Instant::now() + pinging.timeout);
        }
        pinging.lost_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Nothing more will be sent: it ends after so long, or when nothing has moved for a while.
    pub fn end(&mut self, wait: Option<Duration>, queued: usize) {
        let at = Instant::now() + wait.unwrap_or(PATIENCE);
        let patience = if wait.is_none() { Some(PATIENCE) } else { None };
        self.ending = Some(Ending { at, patience, is_read: false, queued });
    }

    /// Whether that has been said.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The server has read the last message. Many have answered by then; others answer when they get around to it.
    pub fn all_is_read(&mut self) {
        if let Some(ending) = &mut self.ending {
            (ending.is_read, ending.patience) = (true, Some(QUIET));
        }
    }

    /// Whether that time is up; `has_moved` if something came in, `queued` what waits to be sent.
    pub fn has_ended(&mut self, has_moved: bool, queued: usize) -> bool {
        let Some(ending) = &mut self.ending else { return false };
        let now = Instant::now();
        if let Some(patience) = ending.patience
            && (has_moved || queued < ending.queued)
        {
            (ending.at, ending.queued) = (now + patience, queued);
        }
        now >= ending.at || (ending.is_read && self.messages_in >= self.messages_out)
    }

    /// Returns how long to wait for the next event, or `None` if nothing is due.
    pub fn wait(&self, has_much: bool) -> Option<Duration> {
        let pinging = self.pinging.as_ref();
        let ping =
            pinging.map(|pinging| pinging.lost_at.map_or(pinging.next, |at| at.min(pinging.next)));
        let end = self.ending.as_ref().map(|ending| ending.at);
        let next = ping.into_iter().chain(end).min();
        let next = next.map(|at| at.saturating_duration_since(Instant::now()));
        let look_again = has_much.then_some(LOOK_AGAIN);
        next.into_iter().chain(look_again).min()
    }
}

/// Forgets the oldest one where there are too many.
fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == MAX_TIMED {
        queue.pop_front();
    }
    queue.push_back(item);
}
