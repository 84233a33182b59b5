//! What one connection waits for: answers that are timed, the next ping, the end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connect::options::Args;

/// Messages and pings whose answers are timed; beyond it the oldest ones are not.
const MAX_TIMED: usize = 10_000;

/// How often it looks whether what waits has been sent, if nothing comes in meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What one connection waits for.
pub struct Talk {
    /// When the messages were sent that are not answered yet.
    messages: VecDeque<Instant>,
    /// When the pings were sent that are not answered yet, and with what.
    pings: VecDeque<(Vec<u8>, Instant)>,
    /// When the next one is due, with `--ping`.
    pub next_ping: Option<Instant>,
    /// When it closes, because there is nothing more to send.
    pub ends_at: Option<Instant>,
    /// What waited to be sent when that was decided.
    pub queued: usize,
    /// Answers are timed.
    times: bool,
}

impl Talk {
    /// Nothing is waited for.
    pub fn new(args: &Args) -> Talk {
        let next_ping = args.ping.map(|every| Instant::now() + every);
        let (messages, pings) = (VecDeque::new(), VecDeque::new());
        Talk { messages, pings, next_ping, ends_at: None, queued: 0, times: args.rtt }
    }

    /// A message goes out, which will be answered.
    pub fn time_message(&mut self) {
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

    /// How long ago the message was sent that is answered now, if it was timed.
    pub fn answered(&mut self) -> Option<Duration> {
        self.messages.pop_front().map(|at| at.elapsed())
    }

    /// How long ago a ping with this payload was sent. A pong may answer several pings (RFC 6455 §5.5.3-1).
    pub fn ponged(&mut self, payload: &[u8]) -> Option<Duration> {
        let at = self.pings.iter().position(|(sent, _)| sent == payload)?;
        self.pings.drain(..=at).next_back().map(|(_, at)| at.elapsed())
    }

    /// How long to wait for something to come.
    pub fn wait(&self, has_much: bool) -> Option<Duration> {
        let next = self.next_ping.into_iter().chain(self.ends_at).min();
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
