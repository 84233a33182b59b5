//! The results: medians, spreads and ratios, as tables, JSON and charts.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use plotters::prelude::*;
use serde::Serialize;

use crate::contender::Contender;
use crate::shape::{Shape, Traffic};

/// The columns of the time of the server.
const CPU: &str = " user µs, system µs | busy |";

/// One run of one contender.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Run {
    /// Messages, rounds or handshakes per second. For idle peers and memory: bytes per peer.
    pub value: f64,
    /// User time per message in microseconds. For idle peers: percent of a core.
    pub user: f64,
    /// System time per message in microseconds. For idle peers: percent of a core.
    pub system: f64,
    /// p50, p99 and p99.9 in microseconds.
    pub latency: Option<[f64; 3]>,
    /// For slow readers: by how many bytes the memory of the server grew at most.
    pub held: Option<f64>,
    /// For compressed messages: how many times longer the text is than the reply.
    pub ratio: Option<f64>,
}

/// All runs of one contender in one shape.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub contender: &'static str,
    /// Whether it is another implementation.
    pub is_peer: bool,
    /// One run for each repetition.
    pub runs: Vec<Run>,
}

/// All rows of one shape.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The traffic.
    pub shape: Shape,
    /// One row for each contender.
    pub rows: Vec<Row>,
}

impl Row {
    /// Returns a row without runs.
    pub fn new(contender: Contender) -> Row {
        Row { contender: contender.name(), is_peer: contender.is_peer(), runs: Vec::new() }
    }

    /// Returns the median of a figure. If their number is even, it is the mean of the two in the middle.
    ///
    /// # Panics
    ///
    /// There are no runs.
    pub fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        if figures.len().is_multiple_of(2) {
            (figures[middle - 1] + figures[middle]) / 2.0
        } else {
            figures[middle]
        }
    }

    /// Returns the mean of a figure over all runs. The kernel samples user and system time only every few milliseconds,
    /// so the figures of a single run are too coarse.
    fn mean(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        self.runs.iter().map(figure).sum::<f64>() / self.runs.len() as f64
    }

    /// Returns the ratio of compression, which is the same in all runs.
    fn ratio(&self) -> Option<f64> {
        self.runs.first()?.ratio
    }

    fn spread(&self) -> f64 {
        let values = self.runs.iter().map(|run| run.value);
        let (least, most) = values.fold((f64::MAX, 0.0), |(least, most): (f64, f64), value| {
            (least.min(value), most.max(value))
        });
        (most - least) / self.median(|run| run.value) * 100.0
    }
}

impl Table {
    /// Returns the median value of a contender, if it has run.
    pub fn value_of(&self, name: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.contender == name)?;
        Some(row.median(|run| run.value)).filter(|value| value.is_finite())
    }

    /// Returns the table in Markdown.
    pub fn markdown(&self) -> String {
        let (unit, times) = match self.shape.traffic {
            Traffic::Idle => ("bytes/peer", " user %, system % |"),
            Traffic::Memory => ("bytes/peer", ""),
            Traffic::Broadcast => ("rounds/s", CPU),
            Traffic::Handshakes => ("handshakes/s", CPU),
            Traffic::Latency(_) | Traffic::LatencyBesideFlood(_) => {
                ("messages/s", " p50 µs, p99 µs, p99.9 µs |")
            }
            Traffic::SlowReaders => ("deliveries/s", CPU),
            Traffic::ClosedLoop | Traffic::Pipelined(_) => ("messages/s", CPU),
        };
        let has_ratio = self.rows.iter().any(|row| row.ratio().is_some());
        let shorter = if has_ratio { " ratio |" } else { "" };
        let columns = "|---".repeat(5 + times.matches('|').count() + usize::from(has_ratio));
        let mut text = format!(
            "### {}\n\n| | {unit} | spread | to limit | to floor |{times}{shorter}\n{columns}|\n",
            self.shape.name
        );
        let ratio = |value: f64, to: &str| match self.value_of(to) {
            Some(other) => format!("{:.2}", value / other),
            None => "-".to_owned(),
        };
        for row in &self.rows {
            let value = row.median(|run| run.value);
            let (user, system) = (row.mean(|run| run.user), row.mean(|run| run.system));
            let of_latency = |at: usize| {
                format!("{:.1}", row.median(|run| run.latency.map_or(0.0, |latency| latency[at])))
            };
            let times = match self.shape.traffic {
                Traffic::Memory => String::new(),
                Traffic::Idle => format!(" {user:.3}, {system:.3} |"),
                Traffic::Latency(_) | Traffic::LatencyBesideFlood(_) => {
                    format!(" {} |", [0, 1, 2].map(of_latency).join(", "))
                }
                // The share of its core that the server used. If it is low, the load was the bottleneck.
                _ => {
                    let busy = value * (user + system) / 1e6;
                    format!(" {user:.3}, {system:.3} | {busy:.2} |")
                }
            };
            let shorter = match row.ratio() {
                _ if !has_ratio => String::new(),
                Some(ratio) => format!(" {ratio:.2} |"),
                None => " - |".to_owned(),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.0} % | {} | {} |{times}{shorter}",
                row.contender,
                grouped(value),
                row.spread(),
                ratio(value, "limit"),
                ratio(value, "floor"),
            );
        }
        let best =
            self.rows.iter().filter(|row| row.is_peer).map(|row| row.median(|run| run.value));
        let is_less_better = matches!(self.shape.traffic, Traffic::Idle | Traffic::Memory);
        let better = |a: f64, b: f64| if is_less_better { a.min(b) } else { a.max(b) };
        if let (Some(best), Some(ours)) = (best.reduce(better), self.value_of("framewise"))
            && !matches!(self.shape.traffic, Traffic::Latency(_) | Traffic::LatencyBesideFlood(_))
        {
            let _ = writeln!(text, "\nframewise to the best peer: {:.2}", ours / best);
        }
        for row in self.rows.iter().filter(|row| row.runs.iter().any(|run| run.held.is_some())) {
            let held = row.median(|run| run.held.unwrap_or_default()) / 1e6;
            let _ = writeln!(text, "\n{} held {held:.1} MB more, at the most", row.contender);
        }
        text
    }

    /// Writes a chart with a bar for each contender: its rate, or its p99 latency.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn chart(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let (unit, figure): (_, fn(&Run) -> f64) = match self.shape.traffic {
            Traffic::Latency(_) | Traffic::LatencyBesideFlood(_) => {
                ("p99 in µs", |run| run.latency.map_or(0.0, |latency| latency[1]))
            }
            Traffic::Idle | Traffic::Memory => ("bytes for each peer", |run| run.value),
            Traffic::Broadcast => ("rounds/s", |run| run.value),
            Traffic::Handshakes => ("handshakes/s", |run| run.value),
            Traffic::SlowReaders => ("deliveries/s", |run| run.value),
            Traffic::ClosedLoop | Traffic::Pipelined(_) => ("messages/s", |run| run.value),
        };
        let title = format!("{}: {unit}", self.shape.name);
        let words = self.shape.name.replace([',', '-'], "").replace('/', " per ");
        let words: Vec<&str> = words.split_whitespace().collect();
        let file = folder.join(format!("{}.svg", words.join("-").to_lowercase()));
        let rows: Vec<(&str, f64)> =
            self.rows.iter().map(|row| (row.contender, row.median(figure))).collect();
        let most = rows.iter().map(|row| row.1).fold(0.0, f64::max);
        let height = 40 + 26 * rows.len() as u32;
        let area = SVGBackend::new(&file, (720, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let style = ("sans-serif", 14).into_font();
        area.draw(&Text::new(title, (10, 8), ("sans-serif", 16).into_font()))?;
        for (n, (name, value)) in rows.iter().enumerate() {
            let top = 34 + 26 * n as i32;
            let width = (value / most * 390.0) as i32;
            let color = if name.starts_with("framewise") {
                RGBColor(33, 102, 172)
            } else {
                RGBColor(150, 160, 170)
            };
            area.draw(&Text::new(*name, (10, top + 2), style.clone()))?;
            area.draw(&Rectangle::new([(190, top), (190 + width, top + 18)], color.filled()))?;
            area.draw(&Text::new(grouped(*value), (196 + width, top + 2), style.clone()))?;
        }
        area.present()?;
        Ok(())
    }
}

/// Formats a number so that it is easy to read: 12,345,678 or 3.14.
fn grouped(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
