//! How many messages one client may send in a second.
//!
//! ```text
//! second      1          2          3          4
//! messages    |||||!     ||||||!    |||||||!   1008
//!                  '- told once, the rest of the second is dropped
//! ```
//!
//! The first second with too many costs those that are too many, and an error event where there are events; the third
//! one in a row costs the connection. A second without excess is forgiven all.

use std::time::{Duration, Instant};

/// Seconds of excess in a row that end a connection.
const SECONDS_TO_THE_END: u32 = 3;

/// What to do with a message, given how many came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateDecision {
    /// Act on it.
    Take,
    /// Drop it, and say so: the first one of this second that is too many.
    Tell,
    /// Drop it.
    Drop,
    /// End the connection.
    End,
}

/// The messages of one client.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    second: Instant,
    messages: u32,
    /// Seconds in a row that had too many, this one included.
    excesses: u32,
}

impl Rate {
    /// Nothing was sent yet.
    pub fn new(now: Instant) -> Rate {
        Rate { second: now, messages: 0, excesses: 0 }
    }

    /// Judges one more message; `limit` is per second, 0 for none.
    pub fn judge(&mut self, now: Instant, limit: u32) -> RateDecision {
        if limit == 0 {
            return RateDecision::Take;
        }
        let passed = now.duration_since(self.second);
        if passed >= Duration::from_secs(1) {
            // A second without excess, be it one in which nothing came, ends the row.
            if self.messages <= limit || passed >= Duration::from_secs(2) {
                self.excesses = 0;
            }
            (self.second, self.messages) = (now, 0);
        }
        self.messages = self.messages.saturating_add(1);
        if self.messages <= limit {
            return RateDecision::Take;
        }
        if self.messages > limit + 1 {
            return RateDecision::Drop;
        }
        self.excesses += 1;
        if self.excesses >= SECONDS_TO_THE_END { RateDecision::End } else { RateDecision::Tell }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(rate: &mut Rate, at: Instant, messages: usize) -> Vec<RateDecision> {
        (0..messages).map(|_| rate.judge(at, 2)).collect()
    }

    #[test]
    fn the_third_second_in_a_row_ends_it() {
        use RateDecision::{Drop, End, Take, Tell};
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(tenths * 100);
        let mut rate = Rate::new(start);
        assert_eq!(send(&mut rate, at(0), 4), [Take, Take, Tell, Drop]);
        assert_eq!(send(&mut rate, at(10), 3), [Take, Take, Tell]);
        assert_eq!(send(&mut rate, at(20), 3), [Take, Take, End]);
    }

    #[test]
    fn a_second_without_excess_is_forgiven_all() {
        use RateDecision::{Take, Tell};
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(tenths * 100);
        for pause in [at(20), at(45)] {
            let mut rate = Rate::new(start);
            send(&mut rate, at(0), 3);
            send(&mut rate, at(10), 3);
            // One message in the third second, or nothing for a while.
            send(&mut rate, pause, 1);
            assert_eq!(send(&mut rate, pause + Duration::from_secs(1), 3), [Take, Take, Tell]);
        }
    }

    #[test]
    fn no_limit_takes_everything() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        assert!((0..1000).all(|_| rate.judge(now, 0) == RateDecision::Take));
    }
}
