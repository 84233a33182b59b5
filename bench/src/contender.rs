//! The measured servers: how each is built and started, and the resources that it has used.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::shape::{Compression, Shape, Traffic, Transport};
use crate::wire::Certificate;

/// The file for the standard error of a server.
pub const SERVER_LOG: &str = "target/bench-server.log";

/// The features of the library that some shapes need.
pub const FEATURES: &str = "deflate,tls";

/// The name of the example `echo` with these features.
pub const WITH_FEATURES: &str = "echo-with-features";

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// The placeholder of the port in the command of `--peer`.
const PORT: &str = "{port}";

/// A measured server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Only the system calls, without a protocol.
    Limit,
    /// The least work of a correct echo server.
    Floor,
    /// This library, with its defaults.
    Framewise,
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
    /// A server given with `--peer`.
    Given(&'static Peer),
}

/// An echo server given with `--peer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    name: String,
    /// The command that `sh` executes after [`PORT`] has been replaced.
    command: String,
}

impl Peer {
    /// Parses NAME=COMMAND, the value of `--peer`.
    ///
    /// # Errors
    ///
    /// A part or the placeholder is missing, or a contender of this name already exists.
    pub fn parse(text: &str) -> Result<Peer, String> {
        let (name, command) = text.split_once('=').ok_or("it is not NAME=COMMAND")?;
        let (name, command) = (name.trim().to_owned(), command.trim().to_owned());
        if name.is_empty() || command.is_empty() {
            return Err("the name or the command is empty".into());
        }
        if Contender::ALL.iter().any(|contender| contender.name() == name) {
            return Err(format!("a contender named {name} already exists"));
        }
        if !command.contains(PORT) {
            return Err(format!("the command does not contain {PORT}"));
        }
        Ok(Peer { name, command })
    }

    /// Returns the name in the tables.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the command that starts the server. `exec` replaces the shell by the server, so that the process that
    /// is measured and killed is the server.
    fn shell(&self, port: u16) -> Command {
        let mut shell = Command::new("sh");
        let command = self.command.replace(PORT, &port.to_string());
        shell.args(["-c", &format!("exec {command}")]);
        shell
    }

    /// Waits until the server listens at the address of `running`.
    fn wait(&self, running: &mut Running, root: &Path) -> io::Result<()> {
        let (start, address) = (Instant::now(), running.address);
        let failure = loop {
            if let Some(status) = running.child.try_wait()? {
                break format!("ended before it listened ({status})");
            }
            // Without a listener, a socket that is assigned the same port connects to itself.
            let local = TcpStream::connect(address).and_then(|stream| stream.local_addr());
            if local.is_ok_and(|local| local != address) {
                return Ok(());
            }
            if start.elapsed() > START {
                break format!("does not listen at {address} after {} s", START.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        };
        let log = fs::read(root.join(SERVER_LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        Err(io::Error::other(format!("`{}` {failure}, see {SERVER_LOG}{last}", self.command)))
    }
}

impl Contender {
    /// All built-in servers, in the order of the tables.
    pub const ALL: [Contender; 9] = [
        Contender::Limit,
        Contender::Floor,
        Contender::Framewise,
        Contender::Before,
        Contender::Fastwebsockets,
        Contender::Sockudo,
        Contender::Tungstenite,
        Contender::Python,
        Contender::Node,
    ];

    /// Returns the name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Contender::Limit => "limit",
            Contender::Floor => "floor",
            Contender::Framewise => "framewise",
            Contender::Before => "framewise (before)",
            Contender::Fastwebsockets => "fastwebsockets",
            Contender::Sockudo => "sockudo-ws",
            Contender::Tungstenite => "tokio-tungstenite",
            Contender::Python => "websockets (Python)",
            Contender::Node => "ws (Node)",
            Contender::Given(peer) => peer.name(),
        }
    }

    /// Reports whether it is another implementation.
    pub fn is_peer(self) -> bool {
        use Contender::{Fastwebsockets, Given, Node, Python, Sockudo, Tungstenite};
        matches!(self, Fastwebsockets | Sockudo | Tungstenite | Python | Node | Given(_))
    }

    /// Reports whether its replies are verified.
    pub fn speaks(self) -> bool {
        self != Contender::Limit
    }

    /// Reports whether it takes part in this shape.
    pub fn enters(self, shape: &Shape) -> bool {
        use Contender::{
            Before, Fastwebsockets, Floor, Framewise, Given, Limit, Node, Python, Tungstenite,
        };
        match (shape.traffic, shape.compression) {
            // `ws` gives no new ticket when a session is resumed, so that the load would soon have none left.
            _ if shape.transport == Transport::ResumedTls => {
                matches!(self, Limit | Framewise | Before)
            }
            _ if shape.transport == Transport::Tls => {
                matches!(self, Limit | Framewise | Before | Node)
            }
            // The others have no broadcast.
            (Traffic::Broadcast, _) => !self.is_peer() && self != Floor,
            (Traffic::SlowReaders, _) => matches!(self, Framewise | Before),
            (Traffic::Idle, _) => !matches!(self, Python | Node),
            (_, Compression::Off) => !matches!(self, Python | Node) || shape.silent == 0,
            // The limit keeps no more for a connection that compresses, and the floor has no contexts.
            (Traffic::Memory, _) if self == Limit => false,
            (_, Compression::WithContexts) if self == Floor => false,
            // These do not compress, or it is not known.
            _ => !matches!(self, Fastwebsockets | Tungstenite | Given(_)),
        }
    }

    /// Returns what `bench/peers/install` has to install for it.
    pub fn needs(self) -> Option<&'static str> {
        match self {
            Contender::Fastwebsockets | Contender::Sockudo | Contender::Tungstenite => Some("rust"),
            Contender::Python => Some("python"),
            Contender::Node => Some("node"),
            _ => None,
        }
    }

    fn command(self, root: &Path, shape: &Shape, port: u16) -> Command {
        let release = root.join("target/release");
        let peers = root.join("bench/peers");
        let program = |path: PathBuf| Command::new(path);
        let deflate = (shape.compression != Compression::Off).then_some("--deflate");
        let mut tls: Vec<OsString> = Vec::new();
        if shape.transport != Transport::Tcp {
            let Certificate { chain, key } = Certificate::of_harness();
            tls.extend(["--tls-cert".into(), chain.into(), "--tls-key".into(), key.into()]);
        }
        match self {
            Contender::Limit => {
                let mut command = program(release.join("limit"));
                command.args(tls);
                command.args(["--frame", &shape.frame().len().to_string()]);
                if shape.traffic == Traffic::Broadcast {
                    command.arg("--broadcast");
                }
                command
            }
            Contender::Floor => {
                let mut command = program(release.join("floor"));
                command.args(deflate);
                command
            }
            Contender::Framewise | Contender::Before => {
                let is_before = self == Contender::Before;
                let target = if is_before { root.join("target/before/release") } else { release };
                let broadcasts = matches!(shape.traffic, Traffic::Broadcast | Traffic::SlowReaders);
                let format: &[_] = match shape.compression {
                    _ if broadcasts => &[],
                    Compression::Off => &["--raw"],
                    Compression::EachAlone => &["--raw", "--deflate"],
                    Compression::WithContexts => &["--raw", "--context-takeover"],
                };
                let example = match () {
                    () if broadcasts => "broadcast",
                    () if shape.needs_features() && !is_before => WITH_FEATURES,
                    () => "echo",
                };
                let mut command = program(target.join("examples").join(example));
                command.args(["--quiet", "--lang", "en", "--host", "127.0.0.1", "--port", "0"]);
                command.args(format).args(tls);
                command
            }
            Contender::Fastwebsockets => program(peers.join("target/release/peer-fastwebsockets")),
            Contender::Sockudo => {
                let mut command = program(peers.join("target/release/peer-sockudo"));
                command.args(deflate);
                command
            }
            Contender::Tungstenite => {
                let mut command = program(peers.join("target/release/peer-tungstenite"));
                command.arg(shape.read_buffer().to_string());
                command
            }
            Contender::Python => {
                let mut command = program(peers.join("target/venv/bin/python"));
                command.arg(peers.join("echo.py")).args(deflate);
                command
            }
            Contender::Node => {
                let mut command = program("node".into());
                command.arg(peers.join("echo.mjs")).args(deflate).args(tls);
                command
            }
            Contender::Given(peer) => peer.shell(port),
        }
    }

    /// Starts it on its own core.
    ///
    /// # Errors
    ///
    /// It does not start, or does not listen.
    pub fn start(self, root: &Path, shape: &Shape, core: usize) -> io::Result<Running> {
        // Only a server given with `--peer` gets a port. The others choose one and print it.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let inner = self.command(root, shape, port);
        let log = fs::File::create(root.join(SERVER_LOG))?;
        let given = matches!(self, Contender::Given(_));
        let stdout = if given { Stdio::from(log.try_clone()?) } else { Stdio::piped() };
        let child = Command::new("taskset")
            .arg("-c")
            .arg(core.to_string())
            .arg(inner.get_program())
            .args(inner.get_args())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log)
            .spawn()
            .map_err(|error| io::Error::other(format!("taskset: {error}")))?;
        // From here on it is stopped when this is dropped, even after an error.
        let mut running = Running { child, address: (Ipv4Addr::LOCALHOST, port).into() };
        if let Contender::Given(peer) = self {
            peer.wait(&mut running, root)?;
            return Ok(running);
        }
        let stdout = running.child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (said, hears) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = said.send(line);
        });
        let line = hears.recv_timeout(START).unwrap_or_default();
        let word = line.split_whitespace().last().unwrap_or_default();
        let address = word.trim_start_matches("ws://").trim_start_matches("wss://").parse();
        running.address =
            address.map_err(|_| io::Error::other(format!("does not listen, see {SERVER_LOG}")))?;
        Ok(running)
    }
}

/// A running server, which is stopped when this is dropped.
pub struct Running {
    child: Child,
    /// The address that it listens on.
    pub address: SocketAddr,
}

/// The resources that a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Seconds of user time.
    pub user: f64,
    /// Seconds of system time.
    pub system: f64,
    /// Bytes of anonymous memory.
    pub memory: f64,
}

impl Running {
    /// Returns the resources that it has used so far.
    ///
    /// # Errors
    ///
    /// The process has exited.
    pub fn used(&self) -> io::Result<Used> {
        let of = |file| fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        let (stat, status) = (of("stat")?, of("status")?);
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let gone = || io::Error::other(format!("the server is gone, see {SERVER_LOG}"));
        if fields.first().is_none_or(|state| *state == "Z") {
            return Err(gone());
        }
        // Ticks are hundredths of a second on Linux, estimated from samples every few milliseconds.
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
