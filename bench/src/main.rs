//! `cargo run --release -p framewise-bench`: builds every server, measures all of them in turns, prints the tables.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use framewise_bench::contender::{Contender, Running, Used};
use framewise_bench::load::{Count, Load, handshakes};
use framewise_bench::report::{Row, Run, Table};
use framewise_bench::shape::{Shape, Traffic, duration};
use indicatif::{ProgressBar, ProgressStyle};

/// Measures framewise against a raw loop, a floor and other implementations, all in the same run.
#[derive(Parser)]
struct Options {
    /// Only check that the harness works: short runs, few peers, nothing but limit, floor and framewise
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Repetitions of each measurement
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only shapes whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Only these contenders, by name (repeatable)
    #[arg(long)]
    contender: Vec<String>,
    /// Also measure what `cargo build --release --examples --target-dir target/before` built
    #[arg(long)]
    before: bool,
    /// Put the load on the server that listens at this address, for ten seconds, and measure no other: for a profiler
    #[arg(long, value_name = "ADDRESS")]
    at: Option<SocketAddr>,
    /// Write an SVG chart of each shape into this folder
    #[arg(long)]
    charts: Option<PathBuf>,
}

/// The core of the server, and that of the load.
const CORES: [usize; 2] = [0, 1];

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no parent folder")?;
    let contenders = chosen(&options);
    if options.at.is_none() {
        build(root, &contenders)?;
    }
    core_affinity::set_for_current(core_affinity::CoreId { id: CORES[1] });
    let shapes = Shape::all().into_iter().filter(|shape| {
        options.only.as_ref().is_none_or(|part| shape.name.contains(part.as_str()))
    });
    let shapes: Vec<Shape> =
        shapes.map(|shape| if options.quick { shape.quick() } else { shape }).collect();
    if let Some(address) = options.at {
        for shape in shapes {
            let count = Load::open(address, &shape, true)?.run(Duration::from_secs(10))?;
            println!("{}: {:.0}/s", shape.name, count.done as f64 / count.time.as_secs_f64());
        }
        return Ok(());
    }
    let runs = if options.quick { 1 } else { options.runs };
    let steps: usize = shapes
        .iter()
        .map(|shape| {
            contenders.iter().filter(|contender| contender.enters(shape)).count()
                * runs_of(shape, runs)
        })
        .sum();
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?);
    let mut tables = Vec::new();
    for shape in shapes {
        let runs = runs_of(&shape, runs);
        let table = measure(&shape, &contenders, runs, root, options.quick, &bar)?;
        if let Some(folder) = &options.charts {
            std::fs::create_dir_all(folder)?;
            table.chart(folder)?;
        }
        if !options.json {
            bar.suspend(|| println!("{}", table.markdown()));
        }
        tables.push(table);
    }
    bar.finish_and_clear();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&tables)?);
    }
    Ok(())
}

/// Idle peers are watched for longer than a ping takes, and use the same memory every time: once is enough.
fn runs_of(shape: &Shape, runs: usize) -> usize {
    if shape.traffic == Traffic::Idle { 1 } else { runs }
}

fn chosen(options: &Options) -> Vec<Contender> {
    let all = Contender::ALL.into_iter();
    all.filter(|contender| {
        if *contender == Contender::Before {
            options.before
        } else if !options.contender.is_empty() {
            options.contender.iter().any(|name| name == contender.name())
        } else {
            !options.quick || !contender.is_peer()
        }
    })
    .collect()
}

/// Contenders take turns, so that what the machine does meanwhile meets all of them.
fn measure(
    shape: &Shape,
    contenders: &[Contender],
    runs: usize,
    root: &Path,
    quick: bool,
    bar: &ProgressBar,
) -> Result<Table, Box<dyn Error>> {
    let entering: Vec<Contender> =
        contenders.iter().copied().filter(|contender| contender.enters(shape)).collect();
    let mut rows: Vec<Row> = entering.iter().map(|&contender| Row::new(contender)).collect();
    for _ in 0..runs {
        for (contender, row) in entering.iter().zip(&mut rows) {
            bar.set_message(format!("{}: {}", shape.name, contender.name()));
            let run = run(*contender, shape, root, quick)
                .map_err(|error| format!("{}, {}: {error}", contender.name(), shape.name))?;
            row.runs.push(run);
            bar.inc(1);
        }
    }
    Ok(Table { shape: shape.clone(), rows })
}

fn run(
    contender: Contender,
    shape: &Shape,
    root: &Path,
    quick: bool,
) -> Result<Run, Box<dyn Error>> {
    let server = contender.start(root, shape, CORES[0])?;
    let lasts = duration(quick);
    if shape.traffic == Traffic::Idle {
        return idle(&server, shape, quick);
    }
    if shape.traffic == Traffic::SlowReaders {
        return slow_readers(&server, shape, quick);
    }
    if shape.traffic == Traffic::Handshakes {
        handshakes(server.address, lasts / 5)?;
        let before = server.used()?;
        let count = handshakes(server.address, lasts)?;
        return Ok(per_message(before, server.used()?, &count));
    }
    let mut load = Load::open(server.address, shape, contender.speaks())?;
    load.run(lasts / 5)?;
    let before = server.used()?;
    let count = load.run(lasts)?;
    Ok(per_message(before, server.used()?, &count))
}

fn per_message(before: Used, after: Used, count: &Count) -> Run {
    let micro = 1e6 / count.done.max(1) as f64;
    Run {
        value: count.done as f64 / count.time.as_secs_f64(),
        user: (after.user - before.user) * micro,
        system: (after.system - before.system) * micro,
        latency: count.latency,
        held: None,
    }
}

/// Half of the readers do not read: the others have everything, and what waits for the slow ones is held once.
fn slow_readers(server: &Running, shape: &Shape, quick: bool) -> Result<Run, Box<dyn Error>> {
    let mut load = Load::open(server.address, shape, true)?;
    let (before, start) = (server.used()?, Instant::now());
    let (mut done, mut most) = (0, before.memory);
    for _ in 0..if quick { 10 } else { 200 } {
        done += load.publish(50)?;
        most = most.max(server.used()?.memory);
    }
    let count = Count { done, time: start.elapsed(), latency: None };
    let run = per_message(before, server.used()?, &count);
    // A few messages fit into the buffers of the system, but not ten thousand.
    if !quick {
        load.read_to_the_end()?;
    }
    Ok(Run { held: Some(most - before.memory), ..run })
}

/// Memory of connections that say nothing, and what their pings cost.
fn idle(server: &Running, shape: &Shape, quick: bool) -> Result<Run, Box<dyn Error>> {
    // What the first connection makes a server allocate belongs to nobody.
    let one = Shape { peers: 1, ..shape.clone() };
    drop(Load::open(server.address, &one, false)?);
    let before = server.used()?;
    let mut load = Load::open(server.address, shape, false)?;
    let opened = server.used()?;
    let (start, watched) = (Instant::now(), Duration::from_secs(if quick { 0 } else { 25 }));
    while start.elapsed() < watched {
        load.answer_pings()?;
        thread::sleep(Duration::from_millis(1));
    }
    let after = server.used()?;
    let percent = 100.0 / start.elapsed().as_secs_f64().max(0.001);
    Ok(Run {
        value: (opened.memory - before.memory) / shape.peers as f64,
        user: (after.user - opened.user) * percent,
        system: (after.system - opened.system) * percent,
        latency: None,
        held: None,
    })
}

/// Builds what is measured, as it is shipped.
fn build(root: &Path, contenders: &[Contender]) -> Result<(), Box<dyn Error>> {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(root).args(["build", "--release", "--quiet"]).args(arguments);
        command
    };
    let examples = ["-p", "framewise", "--example", "echo", "--example", "broadcast"];
    let mut commands = vec![cargo(&examples), cargo(&["-p", "framewise-bench", "--bins"])];
    let peers: BTreeSet<&str> =
        contenders.iter().filter(|contender| contender.is_peer()).map(|peer| peer.name()).collect();
    if contenders.contains(&Contender::FramewiseSimd) {
        let mut command = cargo(&examples);
        command.args(["--features", "simdutf8", "--target-dir", "target/simdutf8"]);
        commands.push(command);
    }
    if !peers.is_empty() {
        let mut command = Command::new("bench/peers/install");
        command.current_dir(root);
        commands.push(command);
    }
    for mut command in commands {
        if !command.status()?.success() {
            return Err(format!("failed: {command:?}").into());
        }
    }
    Ok(())
}
