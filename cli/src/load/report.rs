//! What came of a load: counts, latencies, faults by kind.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use framewise::lang::Lang;
use hdrhistogram::Histogram;
use serde_json::json;

use crate::texts;

/// The longest latency that is told, in microseconds: an hour. What took longer counts as this.
const MAX_LATENCY: u64 = 3_600_000_000;

/// Kinds of faults that are told apart.
const MAX_KINDS: usize = 100;

/// What came of it.
pub struct Report {
    /// Those that were let in.
    pub peers: usize,
    /// Messages.
    pub sent: u64,
    /// Messages, also those that came after the last one was sent.
    pub received: u64,
    /// Messages that were due and not sent, because too many were under way.
    pub skipped: u64,
    /// Messages that were sent and never answered.
    pub unanswered: u64,
    /// For how long messages were sent.
    pub seconds: f64,
    /// What came within that time, for each second of it.
    pub per_second: f64,
    /// Microseconds from when a message was due to its answer.
    latency: Histogram<u64>,
    /// How often what went wrong.
    pub faults: BTreeMap<String, u64>,
}

impl Report {
    /// Nothing has happened yet.
    ///
    /// # Errors
    ///
    /// There is no memory for a histogram.
    pub fn new() -> io::Result<Report> {
        Ok(Report {
            peers: 0,
            sent: 0,
            received: 0,
            skipped: 0,
            unanswered: 0,
            seconds: 0.0,
            per_second: 0.0,
            latency: Histogram::new_with_bounds(1, MAX_LATENCY, 3).map_err(io::Error::other)?,
            faults: BTreeMap::new(),
        })
    }

    /// Every message was answered, and nothing went wrong.
    pub fn is_fine(&self) -> bool {
        self.faults.is_empty() && self.unanswered == 0
    }

    /// Counts an answer.
    pub fn answered(&mut self, took: Duration) {
        self.latency.saturating_record(took.as_micros().max(1) as u64);
    }

    /// Counts a fault.
    pub fn fault(&mut self, mut kind: String) {
        if self.faults.len() >= MAX_KINDS && !self.faults.contains_key(&kind) {
            kind = "other".to_owned();
        }
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Returns it as lines for people, or as one line of JSON.
    pub fn text(&self, as_json: bool, lang: Lang) -> String {
        let ms = |micros: u64| micros as f64 / 1e3;
        let at = |quantile| ms(self.latency.value_at_quantile(quantile));
        if as_json {
            let report = json!({
                "peers": self.peers,
                "seconds": self.seconds,
                "sent": self.sent,
                "received": self.received,
                "skipped": self.skipped,
                "unanswered": self.unanswered,
                "received_per_second": self.per_second,
                "latency_ms": {
                    "answers": self.latency.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99),
                    "p99.9": at(0.999), "max": ms(self.latency.max()),
                },
                "faults": self.faults,
            });
            return format!("{report}\n");
        }
        let rate = format!("{:.0}", self.per_second);
        let seconds = format!("{:.1}", self.seconds);
        let counts = texts::LOAD_COUNTS
            .with(lang, &[&self.peers, &seconds, &self.sent, &self.received, &rate]);
        let mut lines = vec![counts];
        if self.skipped > 0 {
            lines.push(texts::LOAD_SKIPPED.with(lang, &[&self.skipped]));
        }
        if self.unanswered > 0 {
            lines.push(texts::LOAD_UNANSWERED.with(lang, &[&self.unanswered]));
        }
        if !self.latency.is_empty() {
            lines.push(format!(
                "ms   p50 {:.2}   p90 {:.2}   p99 {:.2}   p99.9 {:.2}   max {:.2}",
                at(0.5),
                at(0.9),
                at(0.99),
                at(0.999),
                ms(self.latency.max())
            ));
            lines.extend(self.histogram());
        }
        for (kind, count) in &self.faults {
            lines.push(texts::LOAD_FAULT.with(lang, &[count, kind]));
        }
        lines.join("\n") + "\n"
    }

    /// Returns a row for each doubling, the widest as wide as the page.
    fn histogram(&self) -> Vec<String> {
        let first = self.latency.min().max(1);
        let rows: Vec<(u64, u64)> = self
            .latency
            .iter_log(first, 2.0)
            .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
            .collect();
        let most = rows.iter().map(|row| row.1).max().unwrap_or(1).max(1);
        let row = |(upto, count): &(u64, u64)| {
            let bar = "█".repeat((count * 50).div_ceil(most) as usize);
            format!("{:>10.2}  {bar} {count}", (*upto).min(self.latency.max()) as f64 / 1e3)
        };
        rows.iter().filter(|row| row.1 > 0).map(row).collect()
    }
}
