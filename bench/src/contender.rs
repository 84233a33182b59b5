//! The servers that are measured: how each is built, started on its core, and what it used.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::shape::{Payload, Shape, Traffic};

/// What a server says on standard error.
pub const SERVER_LOG: &str = "target/bench-server.log";

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The system calls and nothing else.
    Limit,
    /// The least that is honest.
    Floor,
    /// This library, with its defaults.
    Framewise,
    /// This library with the feature `simdutf8`.
    FramewiseSimd,
    /// This library as it was built into `target/before`, to judge a change.
    Before,
    /// fastwebsockets.
    Fastwebsockets,
    /// sockudo-ws, its raw protocol.
    Sockudo,
    /// tokio-tungstenite.
    Tungstenite,
    /// PyPI `websockets`.
    Python,
    /// npm `ws`.
    Node,
}

impl Contender {
    /// All, in the order of the tables.
    pub const ALL: [Contender; 10] = [
        Contender::Limit,
        Contender::Floor,
        Contender::Framewise,
        Contender::FramewiseSimd,
        Contender::Before,
        Contender::Fastwebsockets,
        Contender::Sockudo,
        Contender::Tungstenite,
        Contender::Python,
        Contender::Node,
    ];

    /// As the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Limit => "limit",
            Contender::Floor => "floor",
            Contender::Framewise => "framewise",
            Contender::FramewiseSimd => "framewise (simdutf8)",
            Contender::Before => "framewise (before)",
            Contender::Fastwebsockets => "fastwebsockets",
            Contender::Sockudo => "sockudo-ws",
            Contender::Tungstenite => "tokio-tungstenite",
            Contender::Python => "websockets (Python)",
            Contender::Node => "ws (Node)",
        }
    }

    /// Somebody else's implementation.
    pub fn is_peer(self) -> bool {
        use Contender::{Fastwebsockets, Node, Python, Sockudo, Tungstenite};
        matches!(self, Fastwebsockets | Sockudo | Tungstenite | Python | Node)
    }

    /// Whether what it sends back means something.
    pub fn speaks(self) -> bool {
        self != Contender::Limit
    }

    /// Whether it takes part in this shape.
    pub fn enters(self, shape: &Shape) -> bool {
        match self {
            // The same code without multi-byte text.
            Contender::FramewiseSimd => shape.payload == Payload::MultiByte,
            // There is no room that one of these comes with.
            _ if shape.traffic == Traffic::Broadcast => !self.is_peer() && self != Contender::Floor,
            _ if shape.traffic == Traffic::SlowReaders => {
                matches!(self, Contender::Framewise | Contender::Before)
            }
            Contender::Python | Contender::Node => {
                shape.traffic != Traffic::Idle && shape.silent == 0
            }
            _ => true,
        }
    }

    /// What `bench/peers/install` has to install for it.
    pub fn needs(self) -> Option<&'static str> {
        match self {
            Contender::Fastwebsockets | Contender::Sockudo | Contender::Tungstenite => Some("rust"),
            Contender::Python => Some("python"),
            Contender::Node => Some("node"),
            _ => None,
        }
    }

    fn command(self, root: &Path, shape: &Shape) -> Command {
        let release = root.join("target/release");
        let peers = root.join("bench/peers");
        let program = |path: PathBuf| Command::new(path);
        match self {
            Contender::Limit => {
                let mut command = program(release.join("limit"));
                command.args(["--frame", &shape.frame().len().to_string()]);
                if shape.traffic == Traffic::Broadcast {
                    command.arg("--broadcast");
                }
                command
            }
            Contender::Floor => program(release.join("floor")),
            Contender::Framewise | Contender::FramewiseSimd | Contender::Before => {
                let target = match self {
                    Contender::Framewise => release,
                    Contender::Before => root.join("target/before/release"),
                    _ => root.join("target/simdutf8/release"),
                };
                let broadcast = matches!(shape.traffic, Traffic::Broadcast | Traffic::SlowReaders);
                let mut command = program(target.join("examples").join(if broadcast {
                    "broadcast"
                } else {
                    "echo"
                }));
                command.args(["--quiet", "--lang", "en", "--host", "127.0.0.1", "--port", "0"]);
                if !broadcast {
                    command.arg("--raw");
                }
                command
            }
            Contender::Fastwebsockets => program(peers.join("target/release/peer-fastwebsockets")),
            Contender::Sockudo => program(peers.join("target/release/peer-sockudo")),
            Contender::Tungstenite => {
                let mut command = program(peers.join("target/release/peer-tungstenite"));
                command.arg(shape.read_buffer().to_string());
                command
            }
            Contender::Python => {
                let mut command = program(peers.join("target/venv/bin/python"));
                command.arg(peers.join("echo.py"));
                command
            }
            Contender::Node => {
                let mut command = program("node".into());
                command.arg(peers.join("echo.mjs"));
                command
            }
        }
    }

    /// Starts it on a core of its own.
    ///
    /// # Errors
    ///
    /// It does not start, or does not say where it listens.
    pub fn start(self, root: &Path, shape: &Shape, core: usize) -> io::Result<Running> {
        let inner = self.command(root, shape);
        let child = Command::new("taskset")
            .arg("-c")
            .arg(core.to_string())
            .arg(inner.get_program())
            .args(inner.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(fs::File::create(root.join(SERVER_LOG))?))
            .spawn()
            .map_err(|error| io::Error::other(format!("taskset: {error}")))?;
        // From here on it is stopped, whatever happens.
        let mut running = Running { child, address: ([0, 0, 0, 0], 0).into() };
        let stdout = running.child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (said, hears) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = said.send(line);
        });
        let line = hears.recv_timeout(START).unwrap_or_default();
        let word = line.split_whitespace().last().unwrap_or_default();
        let address = word.trim_start_matches("ws://").parse();
        running.address =
            address.map_err(|_| io::Error::other(format!("does not listen, see {SERVER_LOG}")))?;
        Ok(running)
    }
}

/// A server that runs.
pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Seconds of its own.
    pub user: f64,
    /// Seconds of the system on its behalf.
    pub system: f64,
    /// Bytes of memory of its own.
    pub memory: f64,
}

impl Running {
    /// What it has used so far.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn used(&self) -> io::Result<Used> {
        let of = |file| fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        let (stat, status) = (of("stat")?, of("status")?);
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let gone = || io::Error::other(format!("the server is gone, see {SERVER_LOG}"));
        if fields.first().is_none_or(|state| *state == "Z") {
            return Err(gone());
        }
        // Hundredths of a second on every Linux of today, estimated from samples every few milliseconds.
        let ticks =
            |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).ok_or_else(gone);
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let memory = memory.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(Used {
            user: ticks(11)? / 100.0,
            system: ticks(12)? / 100.0,
            memory: memory.unwrap_or_default() * 1024.0,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
