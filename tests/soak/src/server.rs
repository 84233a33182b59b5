//! The server under test: a `framewise serve` on a free port, as a process of its own.

use std::collections::VecDeque;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The lines of the log that are kept.
const MAX_LOG: usize = 200;

/// The time that a server has to end after it was told to stop. It promises five seconds.
const STOP: Duration = Duration::from_secs(10);

/// A server that runs. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
    reads_log: Option<thread::JoinHandle<()>>,
}

/// Builds the server as this program was built, and returns its path.
///
/// # Errors
///
/// It does not build.
pub fn build() -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let mut command = Command::new(cargo);
    // With the features of the whole workspace, as its tests build it, so that nothing is built twice.
    command.args(["build", "--workspace", "--bin", "framewise", "--manifest-path"]).arg(manifest);
    command.arg("--message-format=json-render-diagnostics");
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err("framewise does not build".to_owned());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable = |message: Value| Some(PathBuf::from(message["executable"].as_str()?));
    messages.filter_map(executable).next_back().ok_or("cargo names no executable".to_owned())
}

impl Server {
    /// Starts it with these further arguments.
    ///
    /// # Errors
    ///
    /// It does not start to listen.
    pub fn start(program: &Path, arguments: &[&str]) -> Result<Server, String> {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if ["HOST", "PORT"].contains(&&*name) || name.starts_with("FRAMEWISE_") {
                command.env_remove(&*name);
            }
        }
        // No `.env` of the folder in which this program was started.
        command.current_dir(env::temp_dir());
        command.args(["serve", "--host", "127.0.0.1", "--port", "0", "--lang", "en"]);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", program.display()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let lines = Arc::clone(&log);
        let reads_log = thread::spawn(move || {
            for line in BufReader::new(stderr.expect("a pipe")).lines().map_while(Result::ok) {
                let mut lines = lines.lock().expect("no panic");
                if lines.len() == MAX_LOG {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
        let mut server =
            Server { child, address: ([0, 0, 0, 0], 0).into(), log, reads_log: Some(reads_log) };
        let mut greeting = BufReader::new(stdout.expect("a pipe"));
        let mut line = String::new();
        while server.address.port() == 0 {
            line.clear();
            if greeting.read_line(&mut line).unwrap_or(0) == 0 {
                return Err(format!("framewise serve ended: {}", server.log().join("\n")));
            }
            let url = line.trim_end().rsplit_once("http://").map(|(_, address)| address);
            if let Some(address) = url.and_then(|address| address.parse().ok()) {
                server.address = address;
            }
        }
        // What it prints from now on, nobody needs; but the pipe must not fill up.
        thread::spawn(move || io::copy(&mut greeting, &mut io::sink()));
        Ok(server)
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the last lines of its log.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic").iter().cloned().collect()
    }

    /// Returns its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to stop.
    ///
    /// # Errors
    ///
    /// It has ended already.
    pub fn terminate(&self) -> Result<(), String> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|error| format!("no SIGTERM: {error}"))
    }

    /// Waits for its end, after [`terminate`](Server::terminate).
    ///
    /// # Errors
    ///
    /// It ends too late, with another code than 0, or has panicked before.
    pub fn wait(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let status = loop {
            match self.ended() {
                Some(status) => break status,
                None if began.elapsed() > STOP => {
                    return Err(format!("it still runs {} s after SIGTERM", STOP.as_secs()));
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        if let Some(reads_log) = self.reads_log.take() {
            let _ = reads_log.join();
        }
        let panic = self.log().into_iter().find(|line| line.contains("panicked"));
        match panic {
            Some(line) => Err(line),
            None if !status.success() => Err(format!("it ended with {status}")),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
