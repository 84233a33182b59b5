//! `cargo run --release -p framewise-bench`: builds every server, measures them in turn and prints tables.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use framewise_bench::contender::{Contender, FEATURES, Peer, Running, Used, WITH_FEATURES};
use framewise_bench::dial::Dialer;
use framewise_bench::load::{Count, Load};
use framewise_bench::report::{Row, Run, Table};
use framewise_bench::shape::{Shape, Traffic, Transport, duration};
use framewise_bench::wire::Certificate;
use indicatif::{ProgressBar, ProgressStyle};

/// Measures framewise, a bare loop of system calls, a minimal echo server and other implementations, all in one run
#[derive(Parser)]
struct Options {
    /// Only check that the harness works: short runs, few peers, nothing but limit, floor and framewise
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Repetitions of each measurement
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Only shapes whose name contains this, or the one shape with this name
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// Only these contenders, by name (repeatable)
    #[arg(long, value_name = "NAME", value_parser = Contender::ALL.map(Contender::name))]
    contender: Vec<String>,
    /// Also measure an echo server of your own, which `sh` starts with COMMAND (repeatable)
    ///
    /// `{port}` in COMMAND is replaced by a free port of 127.0.0.1, where the server has to listen within 20 seconds.
    /// The server echoes each message with the same opcode. Since the harness runs `sh -c 'exec COMMAND'`, COMMAND is
    /// one simple command, quoted for the shell; processes that it starts are neither measured nor stopped. The server
    /// takes part in every shape except the broadcast and the slow readers, in addition to the contenders that
    /// --contender and --quick select.
    ///
    /// Example: --peer 'mine=./echo --port {port}'
    #[arg(long, value_name = "NAME=COMMAND", value_parser = Peer::parse)]
    peer: Vec<Peer>,
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

/// The core of the server, and the core of the load.
const CORES: [usize; 2] = [0, 1];

fn main() -> ExitCode {
    match run_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_all() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no parent folder")?;
    let contenders = chosen(&options)?;
    let shapes = shapes(&options)?;
    if shapes.iter().any(|shape| shape.transport != Transport::Tcp) {
        Certificate::of_harness().make()?;
    }
    if options.at.is_none() {
        build(root, &contenders, &shapes)?;
    }
    if !core_affinity::set_for_current(core_affinity::CoreId { id: CORES[1] }) {
        return Err("the load cannot be pinned to the second core: it takes two".into());
    }
    if let Some(address) = options.at {
        let [shape] = shapes.as_slice() else { return Err("--at takes --only one shape".into()) };
        let count = Load::open(address, shape, true)?.run(Duration::from_secs(10))?;
        println!("{}: {:.0}/s", shape.name, count.done as f64 / count.time.as_secs_f64());
        return Ok(());
    }
    if let Some(folder) = &options.charts {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    if options.quick && !options.json {
        println!("Quick: fewer peers and a tenth of a second each. The figures mean nothing.\n");
    }
    let runs = if options.quick { 1 } else { usize::from(options.runs) };
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

/// Returns the number of repetitions. Idle peers are measured once, because that takes long and the memory is always
/// the same.
fn runs_of(shape: &Shape, runs: usize) -> usize {
    if shape.traffic == Traffic::Idle { 1 } else { runs }
}

fn shapes(options: &Options) -> Result<Vec<Shape>, String> {
    let part = options.only.as_deref().unwrap_or_default().to_lowercase();
    let mut shapes = Shape::all();
    // A whole name may be a part of another one.
    match shapes.iter().position(|shape| shape.name.to_lowercase() == part) {
        Some(exact) => shapes = vec![shapes.swap_remove(exact)],
        None => shapes.retain(|shape| shape.name.to_lowercase().contains(&part)),
    }
    if shapes.is_empty() {
        let names: Vec<&str> = Shape::all().iter().map(|shape| shape.name).collect();
        return Err(format!("no shape's name contains that; there are\n{}", names.join("\n")));
    }
    Ok(shapes.into_iter().map(|shape| if options.quick { shape.quick() } else { shape }).collect())
}

fn chosen(options: &Options) -> Result<Vec<Contender>, String> {
    let all = Contender::ALL.into_iter();
    let chosen = all.filter(|contender| {
        if *contender == Contender::Before {
            options.before
        } else if !options.contender.is_empty() {
            options.contender.iter().any(|name| name == contender.name())
        } else {
            !options.quick || !contender.is_peer()
        }
    });
    let mut chosen: Vec<Contender> = chosen.collect();
    for peer in &options.peer {
        // Leaked, so that `Contender` stays `Copy`; the options live as long as the process anyway.
        let given = Contender::Given(Box::leak(Box::new(peer.clone())));
        if chosen.iter().any(|contender| contender.name() == given.name()) {
            return Err(format!("two peers are named {}", peer.name()));
        }
        chosen.push(given);
    }
    Ok(chosen)
}

/// Measures all contenders in turn, so that other work of the machine affects all of them equally.
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
    if shape.traffic == Traffic::Memory {
        return memory(&server, shape, contender.speaks());
    }
    if shape.traffic == Traffic::Handshakes {
        let dialer = Dialer::new(server.address, shape, contender.speaks())?;
        dialer.handshakes(lasts / 5)?;
        let before = server.used()?;
        let count = dialer.handshakes(lasts)?;
        return Ok(per_message(before, server.used()?, &count));
    }
    let mut load = Load::open(server.address, shape, contender.speaks())?;
    load.run(lasts / 5)?;
    let before = server.used()?;
    let count = load.run(lasts)?;
    Ok(Run { ratio: load.ratio(), ..per_message(before, server.used()?, &count) })
}

fn per_message(before: Used, after: Used, count: &Count) -> Run {
    let micro = 1e6 / count.done.max(1) as f64;
    Run {
        value: count.done as f64 / count.time.as_secs_f64(),
        user: (after.user - before.user) * micro,
        system: (after.system - before.system) * micro,
        latency: count.latency,
        ..Run::default()
    }
}

/// Measures a broadcast in which half of the receivers do not read. The others must get everything, and each message
/// that waits for the slow ones must be in memory only once.
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
    // The socket buffers have room for a few messages, but not for ten thousand.
    if !quick {
        load.read_to_the_end()?;
        drop(Load::open(server.address, &Shape { peers: 1, ..shape.clone() }, true)?);
    }
    Ok(Run { held: Some(most - before.memory), ..run })
}

/// Measures the memory of idle connections and the time for their pings.
fn idle(server: &Running, shape: &Shape, quick: bool) -> Result<Run, Box<dyn Error>> {
    // The first connection makes the server allocate buffers that it shares with all others, so it does not count.
    let one = Shape { peers: 1, ..shape.clone() };
    drop(Load::open(server.address, &one, false)?);
    let before = server.used()?;
    let mut load = Load::open(server.address, shape, false)?;
    let opened = server.used()?;
    // A whole number of rounds of pings, which are 20 s apart.
    let (start, watched) = (Instant::now(), Duration::from_secs(if quick { 0 } else { 40 }));
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
        ..Run::default()
    })
}

/// Measures the memory of connections that are idle after one message each.
fn memory(server: &Running, shape: &Shape, verifies: bool) -> Result<Run, Box<dyn Error>> {
    // The first connection makes the server allocate what all connections share, so it does not count.
    let one = Shape { peers: 1, ..shape.clone() };
    Load::open(server.address, &one, verifies)?.exchange()?;
    let before = server.used()?;
    let mut load = Load::open(server.address, shape, verifies)?;
    load.exchange()?;
    let value = (server.used()?.memory - before.memory) / shape.peers as f64;
    Ok(Run { value, ..Run::default() })
}

/// Builds the servers with the release profile.
fn build(root: &Path, contenders: &[Contender], shapes: &[Shape]) -> Result<(), Box<dyn Error>> {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(root).env("CARGO_TARGET_DIR", root.join("target"));
        command.args(["build", "--release", "--quiet"]).args(arguments);
        command
    };
    let run = |mut command: Command| {
        let status = command.status();
        if status.as_ref().is_ok_and(|status| status.success()) {
            return Ok(());
        }
        Err(format!("failed: {command:?}: {status:?}"))
    };
    if shapes.iter().any(Shape::needs_features) {
        // The next build replaces the example by one without features, so this one gets a name of its own.
        run(cargo(&["-p", "framewise", "--example", "echo", "--features", FEATURES]))?;
        let examples = root.join("target/release/examples");
        std::fs::copy(examples.join("echo"), examples.join(WITH_FEATURES))?;
    }
    run(cargo(&["-p", "framewise", "--example", "echo", "--example", "broadcast"]))?;
    run(cargo(&["-p", "framewise-bench", "--bins"]))?;
    let kinds: BTreeSet<&str> =
        contenders.iter().filter_map(|contender| contender.needs()).collect();
    if !kinds.is_empty() {
        let mut command = Command::new("bench/peers/install");
        command.current_dir(root).args(kinds);
        run(command)?;
    }
    Ok(())
}
