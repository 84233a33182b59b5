//! Slows down a client that guesses the token.
//!
//! ```text
//! wrong token   1 ... 10   11       12      13     14, 15, ...   further ones while 8 responses wait
//! response      at once    0.25 s   0.5 s   1 s    2 s           429 at once
//! ```
//!
//! The right token is never delayed, because a whole school may share one address with a client that guesses. Thus the
//! delay slows down a tool that waits for each response. What makes a token safe is its length.
//!
//! Rules of this file: an IPv6 client counts by its /64, the smallest network that a provider assigns. The number of
//! clients that are remembered is limited. No token is stored.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The number of wrong tokens from one client that get their response at once.
const MAX_FREE: u32 = 10;

/// The delay of the first response that is delayed. It doubles with each further wrong token.
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// The longest delay.
pub const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// The maximum number of responses to one client that wait at the same time. Each of them takes a connection.
const MAX_DELAYED: usize = 8;

/// The maximum number of clients that are remembered. One more takes the place of the client whose last wrong token is
/// the oldest.
const MAX_CLIENTS: usize = 1024;

/// After this time without a wrong token, a client is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);

/// The time between two lines in the log about one client.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// When a wrong token gets its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client is still within what happens by mistake. Each such refusal is logged.
    AtOnce,
    /// After this delay.
    Late(Duration),
    /// So many responses to the client wait already that this one is 429, at once.
    TooMany,
}

/// What to do about a wrong token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guess {
    pub verdict: Verdict,
    /// How many wrong tokens the line in the log reports, if one is due.
    pub report: Option<u32>,
}

/// One client that has sent a wrong token.
#[derive(Clone, Debug)]
struct Client {
    failures: u32,
    last: Instant,
    /// When the responses that wait are sent.
    waiting: Vec<Instant>,
    reported: Option<Instant>,
    unreported: u32,
}

/// The clients that have sent wrong tokens.
#[derive(Clone, Debug)]
pub struct Guesses {
    clients: HashMap<IpAddr, Client>,
    max_delayed: usize,
}

impl Guesses {
    /// Returns an empty table. If the connections from one address are limited to `max_per_address`, at most half of them
    /// are used for responses that wait.
    pub fn new(max_per_address: Option<usize>) -> Guesses {
        let half = max_per_address.map_or(usize::MAX, |most| most / 2);
        Guesses { clients: HashMap::new(), max_delayed: MAX_DELAYED.min(half) }
    }

    /// Counts a wrong token.
    pub fn wrong(&mut self, client: IpAddr, now: Instant) -> Guess {
        let network = network(client);
        if !self.clients.contains_key(&network) {
            self.make_room(now);
        }
        let client = self.clients.entry(network).or_insert_with(|| Client::new(now));
        if now.saturating_duration_since(client.last) >= FORGET_AFTER {
            *client = Client::new(now);
        }
        client.last = now;
        client.failures = client.failures.saturating_add(1);
        client.unreported = client.unreported.saturating_add(1);
        let Some(late) = client.failures.checked_sub(MAX_FREE + 1) else {
            return Guess { verdict: Verdict::AtOnce, report: None };
        };
        client.waiting.retain(|&at| at > now);
        let verdict = if client.waiting.len() >= self.max_delayed {
            Verdict::TooMany
        } else {
            let delay = LONGEST_DELAY.min(FIRST_DELAY * 2_u32.pow(late.min(10)));
            client.waiting.push(now + delay);
            Verdict::Late(delay)
        };
        Guess { verdict, report: client.report(now) }
    }

    /// Forgets clients, so that there is room for one more.
    fn make_room(&mut self, now: Instant) {
        if self.clients.len() < MAX_CLIENTS {
            return;
        }
        self.clients.retain(|_, client| now.saturating_duration_since(client.last) < FORGET_AFTER);
        if self.clients.len() >= MAX_CLIENTS
            && let Some((&oldest, _)) = self.clients.iter().min_by_key(|(_, client)| client.last)
        {
            self.clients.remove(&oldest);
        }
    }
}

impl Client {
    fn new(now: Instant) -> Client {
        Client { failures: 0, last: now, waiting: Vec::new(), reported: None, unreported: 0 }
    }

    fn report(&mut self, now: Instant) -> Option<u32> {
        let is_due =
            self.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_EVERY);
        is_due.then(|| {
            self.reported = Some(now);
            std::mem::take(&mut self.unreported)
        })
    }
}

/// Returns the address by which a client is counted.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Counts wrong tokens at one time. Returns the verdicts.
    fn wrong(guesses: &mut Guesses, client: &str, now: Instant, count: usize) -> Vec<Verdict> {
        (0..count).map(|_| guesses.wrong(address(client), now).verdict).collect()
    }

    #[test]
    fn the_delay_grows_after_some_mistakes() {
        let (mut guesses, start) = (Guesses::new(None), Instant::now());
        assert_eq!(wrong(&mut guesses, "10.0.0.1", start, 10), [Verdict::AtOnce; 10]);
        let late: Vec<_> = (0..6)
            .map(|n| guesses.wrong(address("10.0.0.1"), start + 3 * n * SECOND).verdict)
            .collect();
        let milliseconds = [250, 500, 1000, 2000, 2000, 2000];
        assert_eq!(late, milliseconds.map(|n| Verdict::Late(Duration::from_millis(n))));
        assert_eq!(wrong(&mut guesses, "10.0.0.2", start, 1), [Verdict::AtOnce], "another client");
    }

    #[test]
    fn few_responses_to_one_client_wait() {
        for (max_per_address, most) in [(None, 8), (Some(100), 8), (Some(5), 2), (Some(1), 0)] {
            let (mut guesses, start) = (Guesses::new(max_per_address), Instant::now());
            wrong(&mut guesses, "10.0.0.1", start, 10);
            let late = wrong(&mut guesses, "10.0.0.1", start, 20);
            assert_eq!(
                late.iter().filter(|verdict| **verdict == Verdict::TooMany).count(),
                20 - most
            );
            assert!(late[most..].iter().all(|verdict| *verdict == Verdict::TooMany));
            let later = wrong(&mut guesses, "10.0.0.1", start + LONGEST_DELAY, 20);
            let late = later.iter().filter(|verdict| **verdict == Verdict::Late(LONGEST_DELAY));
            assert_eq!(late.count(), most, "they were sent");
        }
    }

    #[test]
    fn a_client_is_forgotten_after_a_while() {
        let (mut guesses, start) = (Guesses::new(None), Instant::now());
        wrong(&mut guesses, "10.0.0.1", start, 11);
        let soon = start + FORGET_AFTER - SECOND;
        assert_ne!(wrong(&mut guesses, "10.0.0.1", soon, 1), [Verdict::AtOnce]);
        assert_eq!(wrong(&mut guesses, "10.0.0.1", soon + FORGET_AFTER, 1), [Verdict::AtOnce]);
    }

    /// One line about each client and minute, which counts the wrong tokens since the last one.
    #[test]
    fn one_line_a_minute_is_due() {
        let (mut guesses, start) = (Guesses::new(None), Instant::now());
        let mut reports = Vec::new();
        for second in 0..130 {
            let guess = guesses.wrong(address("10.0.0.1"), start + second * SECOND);
            reports.extend(guess.report.map(|count| (second, count)));
        }
        assert_eq!(reports, [(10, 11), (70, 60)]);
    }

    /// A provider assigns a whole /64 to one customer.
    #[test]
    fn an_ipv6_client_counts_by_its_network() {
        let (mut guesses, start) = (Guesses::new(None), Instant::now());
        for n in 0..10 {
            wrong(&mut guesses, &format!("2001:db8:0:1::{n:x}"), start, 1);
        }
        assert_ne!(wrong(&mut guesses, "2001:db8:0:1:ffff::", start, 1), [Verdict::AtOnce]);
        assert_eq!(wrong(&mut guesses, "2001:db8:0:2::", start, 1), [Verdict::AtOnce]);
        wrong(&mut guesses, "10.0.0.1", start, 10);
        assert_ne!(wrong(&mut guesses, "::ffff:10.0.0.1", start, 1), [Verdict::AtOnce]);
    }

    #[test]
    fn the_oldest_client_leaves_a_full_table() {
        let (mut guesses, start) = (Guesses::new(None), Instant::now());
        let client = |n: usize| format!("10.0.{}.{}", n / 256, n % 256);
        for n in 0..MAX_CLIENTS {
            wrong(&mut guesses, &client(n), start + Duration::from_millis(n as u64), 10);
        }
        // The first one guesses again, so the second is the oldest now.
        let later = start + 5 * SECOND;
        assert_ne!(wrong(&mut guesses, &client(0), later, 1), [Verdict::AtOnce]);
        wrong(&mut guesses, &client(MAX_CLIENTS), later, 1);
        assert_eq!(guesses.clients.len(), MAX_CLIENTS);
        assert_ne!(wrong(&mut guesses, &client(0), later, 1), [Verdict::AtOnce]);
        assert_ne!(wrong(&mut guesses, &client(2), later, 1), [Verdict::AtOnce]);
        assert_eq!(
            wrong(&mut guesses, &client(1), later, 1),
            [Verdict::AtOnce],
            "it was forgotten"
        );
        assert_eq!(guesses.clients.len(), MAX_CLIENTS);
        // A client that was not heard of for long leaves before that.
        wrong(&mut guesses, "10.1.0.0", later + FORGET_AFTER, 1);
        assert_eq!(guesses.clients.len(), 1);
    }
}
