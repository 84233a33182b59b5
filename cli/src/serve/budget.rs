//! How much one client may send: messages and bytes per second. A client beyond its budget is read more slowly, and nothing
//! that it sends is lost.
//!
//! ```text
//! credit   |<---------- burst ---------->|
//!          ^ paid until                  ^ now + burst
//!          each message moves "paid until" to the right; beyond the burst, reading pauses until time has caught up
//! ```

use std::time::{Duration, Instant};

/// The longest single pause. A client whose message costs more pauses again after its next one.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The shortest pause, so that a client at its limit is paused ten times in a second and not once for each message.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// How often a client over its budget is reported.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// The budget of each client. 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages per second. Twice as many may come at once.
    pub messages: u32,
    /// Bytes per second.
    pub bytes: u32,
    /// The number of bytes that may come at once.
    pub burst_bytes: usize,
}

/// What one client has used of its budget.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The times until which the messages and the bytes so far are paid for.
    messages: Instant,
    bytes: Instant,
    reported: Option<Instant>,
}

/// A pause, and whether the client and the log should be told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub until: Instant,
    pub is_reported: bool,
}

impl Budget {
    /// Returns a budget of which nothing is used.
    pub fn new(now: Instant) -> Budget {
        Budget { messages: now, bytes: now, reported: None }
    }

    /// Charges messages and bytes. Returns a pause if the client is now beyond its budget.
    pub fn charge(
        &mut self,
        now: Instant,
        messages: u32,
        bytes: usize,
        limits: &Limits,
    ) -> Option<Pause> {
        let by_messages = charge(&mut self.messages, now, messages as usize, limits.messages, 2.0);
        let burst = limits.burst_bytes as f64 / f64::from(limits.bytes.max(1));
        let by_bytes = charge(&mut self.bytes, now, bytes, limits.bytes, burst);
        let excess = by_messages.max(by_bytes)?;
        let is_reported =
            self.reported.is_none_or(|reported| now.duration_since(reported) >= REPORT_EVERY);
        if is_reported {
            self.reported = Some(now);
        }
        Some(Pause { until: now + excess.clamp(MIN_PAUSE, MAX_PAUSE), is_reported })
    }
}

/// Charges `count` at `per_second`, and returns by how much the result exceeds a burst of so many seconds.
fn charge(
    paid_until: &mut Instant,
    now: Instant,
    count: usize,
    per_second: u32,
    burst: f64,
) -> Option<Duration> {
    if per_second == 0 {
        return None;
    }
    let cost = Duration::from_secs_f64(count as f64 / f64::from(per_second));
    *paid_until = (*paid_until).max(now) + cost;
    let used = paid_until.duration_since(now);
    used.checked_sub(Duration::from_secs_f64(burst)).filter(|excess| !excess.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { messages: 100, bytes: 1_000, burst_bytes: 4_000 };

    /// Charges messages at the end of each pause and returns how many there were in so many seconds.
    fn charged_in(seconds: u64, bytes: usize) -> usize {
        let start = Instant::now();
        let (mut budget, mut now, mut count) = (Budget::new(start), start, 0);
        while now < start + Duration::from_secs(seconds) {
            count += 1;
            if let Some(pause) = budget.charge(now, 1, bytes, &LIMITS) {
                assert!(pause.until <= now + MAX_PAUSE && pause.until >= now + MIN_PAUSE);
                now = pause.until;
            }
        }
        count
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        assert!((0..200).all(|_| budget.charge(now, 1, 0, &LIMITS).is_none()));
        assert_eq!(
            budget.charge(now, 1, 0, &LIMITS),
            Some(Pause { until: now + MIN_PAUSE, is_reported: true })
        );
        // 200 at once and 100 a second, give or take a pause.
        assert!((1_190..=1_212).contains(&charged_in(10, 0)), "{}", charged_in(10, 0));
    }

    #[test]
    fn bytes_have_a_budget_of_their_own() {
        // 4,000 at once and 1,000 a second, 100 in each message.
        assert!((140..=142).contains(&charged_in(10, 100)), "{}", charged_in(10, 100));
        // A message that is larger than the whole budget is paid for afterwards, in pauses of 5 s at most.
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let pause = budget.charge(now, 1, 24_000, &LIMITS).expect("over the budget");
        assert_eq!(pause.until, now + MAX_PAUSE);
        let again = budget.charge(pause.until, 1, 0, &LIMITS).expect("the rest is still owed");
        assert_eq!(again.until, pause.until + MAX_PAUSE);
    }

    #[test]
    fn a_client_is_reported_once_a_minute() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let mut is_reported = |seconds| {
            let pause = budget.charge(now + Duration::from_secs(seconds), 10_000, 0, &LIMITS);
            pause.expect("over the budget").is_reported
        };
        assert_eq!(
            [is_reported(0), is_reported(1), is_reported(59), is_reported(60)],
            [true, false, false, true]
        );
    }

    #[test]
    fn no_limit_never_pauses() {
        let (now, limits) = (Instant::now(), Limits { messages: 0, bytes: 0, burst_bytes: 1 });
        let mut budget = Budget::new(now);
        assert!((0..1_000).all(|_| budget.charge(now, 1, 1 << 20, &limits).is_none()));
    }
}
