//! What one connection waits for: answers that are timed, the next ping, the end.
//!
//! Rule of this file: nothing here sends or reads. The session does, and reports it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connect::options::Args;

/// Messages and pings whose answers are timed; beyond it the oldest ones are not.
const MAX_TIMED: usize = 10_000;

/// How long nothing may move before the client stops waiting for the answers that are still missing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that limits its clients reads more than this many messages, or bytes of messages, slowly. `framewise serve` does
/// so.
const MANY: u64 = 100;
const MANY_BYTES: u64 = 64 * 1024;

/// How long nothing may arrive, not even a ping, while a server reads many messages. `framewise serve` sends a ping every
/// 20 s.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing may move once the server has read everything.
const QUIET: Duration = Duration::from_secs(1);

/// How often it looks whether what waits has been sent, if nothing comes in meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What has moved on a connection so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes that have arrived in all.
    pub received: u64,
    /// Bytes that wait to be sent.
    pub queued: usize,
}

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
    /// The bytes of the messages that went out.
    bytes_out: u64,
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
    /// How many bytes had arrived by the last check, if any of them shows that the server still reads.
    received: Option<u64>,
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
            bytes_out: 0,
            times: args.rtt,
        }
    }

    /// Records that a message of so many bytes goes out, which may be answered.
    pub fn sent(&mut self, bytes: usize) {
        self.messages_out += 1;
        self.bytes_out += bytes as u64;
        if self.times {
            push(&mut self.messages, Instant::now());
        }
    }

    /// Records that a ping goes out.
    pub fn time_ping(&mut self, payload: &[u8]) {
        if self.times {
            push(&mut self.pings, (payload.to_vec(), Instant::now()));
        }
    }

    /// Records that a message has arrived. Returns how long ago the message that it answers was sent, if that was timed.
    pub fn received(&mut self) -> Option<Duration> {
        self.messages_in += 1;
        self.messages.pop_front().map(|at| at.elapsed())
    }

    /// Returns how long ago a ping with this payload was sent. A pong may answer several pings (RFC 6455 §5.5.3-1).
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

    /// Reports whether the connection is lost because nothing has arrived for the time-out after a ping. A pong may have to
    /// wait behind a long message in either direction, so bytes that move are an answer too.
    pub fn is_lost(&mut self, traffic: Traffic) -> bool {
        let Some(pinging) = &mut self.pinging else { return false };
        let Traffic { received, queued } = traffic;
        if received != std::mem::replace(&mut pinging.received, received) {
            pinging.lost_at = None;
        }
        if queued < std::mem::replace(&mut pinging.queued, queued) && pinging.lost_at.is_some() {
            pinging.lost_at = Some(Instant::now() + pinging.timeout);
        }
        pinging.lost_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Begins the end: nothing more will be sent. The connection ends after `wait` or, without it, when nothing has moved for
    /// a while.
    pub fn end(&mut self, now: Instant, wait: Option<Duration>, traffic: Traffic) {
        let has_many = self.messages_out > MANY || self.bytes_out > MANY_BYTES;
        let patience = if has_many { LONG_PATIENCE } else { PATIENCE };
        self.ending = Some(Ending {
            at: now + wait.unwrap_or(patience),
            patience: if wait.is_none() { Some(patience) } else { None },
            is_read: false,
            queued: traffic.queued,
            received: has_many.then_some(traffic.received),
        });
    }

    /// Reports whether the end has begun.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The server has read the last message. Many have answered by then; others answer when they get around to it.
    pub fn all_is_read(&mut self) {
        if let Some(ending) = &mut self.ending {
            (ending.is_read, ending.patience) = (true, Some(QUIET));
            ending.received = None;
        }
    }

    /// Reports whether that time is up. `has_moved` is true if a message has arrived. Without many messages, other bytes do
    /// not count: they are pings and pongs, which do not announce a message.
    pub fn has_ended(&mut self, now: Instant, has_moved: bool, traffic: Traffic) -> bool {
        let Some(ending) = &mut self.ending else { return false };
        let still_reads = ending.received.is_some_and(|before| traffic.received > before);
        if let Some(patience) = ending.patience
            && (has_moved || still_reads || traffic.queued < ending.queued)
        {
            (ending.at, ending.queued) = (now + patience, traffic.queued);
            ending.received = ending.received.map(|_| traffic.received);
        }
        now >= ending.at || (ending.is_read && self.messages_in >= self.messages_out)
    }

    /// Reports whether messages were sent, and the server has not confirmed that it has read all of them.
    pub fn is_unconfirmed(&self) -> bool {
        self.messages_out > 0 && !self.ending.as_ref().is_some_and(|ending| ending.is_read)
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    /// Returns a talk in which `messages` were sent and the end has begun.
    fn ending(now: Instant, messages: u64) -> Talk {
        let mut talk = Talk::new(&Command::parse_from(["connect", "ws://h/"]).args);
        (0..messages).for_each(|_| talk.sent(5));
        talk.end(now, None, Traffic::default());
        talk
    }

    /// After many messages, each ping of the server shows that it still reads, until the pong after the last line.
    #[test]
    fn many_messages_are_waited_for_while_the_server_is_there() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut talk = ending(start, 10_000);
        for round in 1..=10 {
            let traffic = Traffic { received: 2 * round, queued: 0 };
            assert!(!talk.has_ended(after(20 * round), false, traffic));
        }
        assert!(talk.is_unconfirmed());
        let traffic = Traffic { received: 20, queued: 0 };
        assert!(!talk.has_ended(after(229), false, traffic));
        assert!(talk.has_ended(after(230), false, traffic), "30 s without a sign of the server");

        let mut talk = ending(start, 10_000);
        talk.all_is_read();
        assert!(!talk.has_ended(after(20), true, Traffic { received: 50, queued: 0 }));
        // From now on only messages count.
        assert!(talk.has_ended(after(21), false, Traffic { received: 99, queued: 0 }));
        assert!(!talk.is_unconfirmed());
    }

    /// After a few messages, a server that only pings is not waited for.
    #[test]
    fn a_few_messages_are_waited_for_for_a_while() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut talk = ending(start, 100);
        assert!(!talk.has_ended(after(9), false, Traffic { received: 2, queued: 0 }));
        assert!(talk.has_ended(after(10), false, Traffic { received: 4, queued: 0 }));
    }

    /// A few long messages may take a server as long as many short ones.
    #[test]
    fn long_messages_are_waited_for_like_many() {
        let start = Instant::now();
        let mut talk = Talk::new(&Command::parse_from(["connect", "ws://h/"]).args);
        talk.sent(900_000);
        talk.end(start, None, Traffic::default());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(!talk.has_ended(after(20), false, Traffic { received: 2, queued: 0 }));
        assert!(!talk.has_ended(after(49), false, Traffic { received: 2, queued: 0 }));
        assert!(talk.has_ended(after(50), false, Traffic { received: 2, queued: 0 }));
    }
}
