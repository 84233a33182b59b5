//! Resources of the operating system: file descriptors, memory and addresses, as `/proc` reports them (R6, R10, R15,
//! T6, and the invariants I2, I3 and I5 for a whole process).

#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use framewise::{Echo, Server};
use support::*;

/// The echo example in a separate process.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start() -> Process {
        let test = std::env::current_exe().expect("this test is a file");
        let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
        let path: PathBuf = profile.join("examples").join("echo");
        let mut child = Command::new(path)
            .args(["--raw", "--quiet", "--lang", "en", "--host", "127.0.0.1", "--port", "0"])
            .envs(allocator_variables())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo builds the examples before it runs this");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let address = line.trim_end().rsplit(' ').next().and_then(|word| word.parse().ok());
        Process { child, address: address.expect("it prints its address") }
    }

    /// Returns the number of open file descriptors.
    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// Returns the anonymous memory in KiB: what the process has allocated and written to.
    fn memory(&self) -> usize {
        self.status("RssAnon:")
    }

    /// Returns the resident memory in KiB: the anonymous memory, and the pages of the program that are loaded.
    fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("a number of kB")
    }

    /// Returns the processor time in ticks of 10 ms.
    fn time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> =
            stat.rsplit(')').next().expect("after the name").split_whitespace().collect();
        fields[11].parse::<u64>().expect("user") + fields[12].parse::<u64>().expect("system")
    }

    /// Opens a connection, exchanges a message and closes it. After that, all earlier connections have been accepted.
    fn visit(&self) {
        let mut client = Client::open(self.address);
        client.send(&frame(0x81, b"hi"));
        client.expect(b"\x81\x02hi");
        client.leave();
    }

    /// Waits until the process has this number of file descriptors.
    fn comes_back_to(&self, descriptors: usize) {
        // What the clients had sent is still processed, so this takes many turns.
        for _ in 0..20_000 {
            self.visit();
            if self.descriptors() == descriptors {
                return;
            }
        }
        panic!("{} descriptors, not {descriptors}", self.descriptors());
    }
}

/// Returns the variables that make glibc return freed memory to the operating system. The systemd unit, the image and
/// the page of limits must agree on them.
fn allocator_variables() -> Vec<(String, String)> {
    let variables = |path: &str| -> Vec<(String, String)> {
        let text = fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")));
        let text = text.expect("a file of the project");
        let words = text.split(|c: char| c.is_whitespace() || c == '=');
        let words: Vec<&str> = words.collect();
        let pairs = words.windows(2).filter(|pair| pair[0].starts_with("MALLOC_"));
        pairs.map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
    };
    let unit = variables("cli/packaging/framewise.service");
    assert_eq!(unit.len(), 3);
    assert_eq!(unit, variables("Dockerfile"));
    assert_eq!(unit, variables("docs/limits.md"));
    unit
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a connection, sends something and closes it, in one of four ways. In two of them the server responds to a
/// socket that is closed, which resets the connection.
fn come_and_go(address: SocketAddr, round: usize) {
    let mut client = Client::connect(address);
    match round % 4 {
        0 => {}
        1 => client.send(&request("")[..round % 100]),
        2 => client.send(b"no request\r\n\r\n"),
        _ => client.send(&[request(""), frame(0x81, &[b'x'; 1000])].concat()),
    }
}

/// R10: after 100,000 connections the server has no more file descriptors and memory than before, and its loop sleeps.
#[test]
fn closed_connections_release_descriptors_and_memory() {
    let server = Process::start();
    server.visit();
    let descriptors = server.descriptors();
    let storm = |rounds| {
        for round in 0..rounds {
            come_and_go(server.address, round);
            if round % 64 == 0 {
                // The backlog of the listener is short. A connection that finds it full waits a second.
                server.visit();
            }
        }
    };
    storm(2_000);
    server.comes_back_to(descriptors);
    let memory = server.memory();
    storm(98_000);
    server.comes_back_to(descriptors);
    let now = server.memory();
    assert!(now <= memory + 2048, "{memory} KiB before, {now} KiB after");
    // I5: a loop that does not sleep would use a tick each 10 ms.
    let time = server.time();
    thread::sleep(Duration::from_millis(300));
    assert!(server.time() <= time + 3, "the loop does not sleep");
}

/// I3: the memory for peers that send much and read nothing is limited, and released when they are gone.
#[test]
fn memory_is_limited_and_released() {
    let server = Process::start();
    server.visit();
    let (descriptors, memory) = (server.descriptors(), server.memory());
    let mut clients: Vec<Client> = (0..20).map(|_| Client::open(server.address)).collect();
    for client in &mut clients {
        // Half of a message of 1 MiB in fragments, then as many pings as the socket takes. The client never reads a
        // pong.
        client.send(&frame(0x02, &vec![7; 500_000]));
        client.stream.set_nonblocking(true).expect("a TCP option");
        let pings = frame(0x89, &[b'p'; 125]).repeat(100);
        while client.stream.write(&pings).is_ok() {}
    }
    server.visit();
    let bound = memory + 20 * (2 * 500 + 2 * 1024 + 256);
    assert!(server.memory() <= bound, "{} KiB, {bound} are allowed", server.memory());
    drop(clients);
    server.comes_back_to(descriptors);
    assert!(server.memory() <= memory + 2048, "{memory} KiB before, {} KiB after", server.memory());
}

/// T6: after peers that read nothing are gone, the process has at most twice the memory it had before.
#[test]
fn memory_is_returned_after_a_storm() {
    let server = Process::start();
    let visit = || {
        let mut client = Client::open(server.address);
        client.send(&frame(0x82, &[7; 200_000]));
        client.expect(&server_frame(0x82, &[7; 200_000]));
        client.leave();
    };
    visit();
    let (base, descriptors) = (server.resident(), server.descriptors());
    let mut after = Vec::new();
    for round in 0..3 {
        let mut clients = Vec::new();
        for i in 0..40 {
            let mut client = Client::open(server.address);
            client.stream.set_nonblocking(true).expect("a TCP option");
            // The sizes differ, so that buffers of all sizes are held at the same time.
            let message = frame(0x82, &vec![9; 3_000 + (i * 7_919 + round * 104_729) % 90_000]);
            let stream = message.repeat(6_000_000 / message.len());
            let (mut rest, mut refusals) = (stream.as_slice(), 0);
            // The socket is full if it takes nothing although the server has had turns in between.
            while refusals < 3 && !rest.is_empty() {
                match client.stream.write(rest) {
                    Ok(count) => (rest, refusals) = (&rest[count..], 0),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        refusals += 1;
                        server.visit();
                    }
                    Err(_) => break,
                }
            }
            clients.push(client);
        }
        drop(clients);
        server.comes_back_to(descriptors);
        visit();
        after.push(server.resident());
    }
    assert!(after.iter().all(|&now| now <= 2 * base), "{base} KiB before, {after:?} KiB after");
}

/// R15: a server on `localhost` accepts connections over IPv4 and, if the machine has it, IPv6. Literal addresses work
/// too.
#[test]
fn a_server_accepts_on_every_address_it_listens_on() {
    for host in ["localhost", "::1", "[::1]", "127.0.0.1", "0.0.0.0"] {
        let config = any_origin().listen(host, 0);
        let Ok(mut server) = Server::bind(config, Echo::new("")) else {
            assert!(host.contains("::1"), "{host}");
            continue; // No IPv6 on this machine.
        };
        let addresses: Vec<SocketAddr> = server.local_addrs().collect();
        assert_eq!(
            addresses.len(),
            if host == "localhost" && !server.is_without_ipv6() { 2 } else { 1 }
        );
        let handle = server.handle();
        let running = thread::spawn(move || server.run());
        for mut address in addresses {
            if address.ip().is_unspecified() {
                address.set_ip([127, 0, 0, 1].into());
            }
            let mut client = Client::open(address);
            client.send(&frame(0x81, b"hi"));
            client.expect(b"\x81\x02hi");
            client.leave();
        }
        handle.shutdown(Duration::from_secs(30)).expect("it runs");
        running.join().expect("no panic").expect("no error");
    }
}

/// Runs a test again in a separate process with its own limit of file descriptors, because the limit applies to a whole
/// process. Returns true inside that process.
fn is_alone_with_descriptors(count: usize, test: &str) -> bool {
    const INSIDE: &str = "FRAMEWISE_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -n {count} && exec \"$0\" --exact {test} --nocapture")])
        .arg(std::env::current_exe().expect("this test is a file"))
        .env(INSIDE, "1")
        .output()
        .expect("there is a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
    false
}

/// R6: without a free file descriptor the loop pauses accepting instead of spinning. The waiting client is served as
/// soon as a descriptor is free.
#[test]
fn without_descriptors_accepting_is_paused() {
    if !is_alone_with_descriptors(100, "without_descriptors_accepting_is_paused") {
        return;
    }
    let config = any_origin().limits(|limits| limits.max_connections = Some(1000));
    let server = TestServer::start(config, Echo::default());
    Client::open(server.address).leave();
    server.wait_for("the client is gone", |now| now.passes > 0 && now.peers == 0);
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // The client's socket takes the last descriptor; none is left for the server's.
    files.pop();
    let mut client = Client::connect(server.address);
    client.send(&request(""));
    let before = server.wait_for("a pass", |now| now.passes > 0).passes;
    client.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a TCP option");
    let silence = client.stream.read(&mut [0; 1]).expect_err("the server has no descriptor for it");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    let passes = server.snapshot().passes - before;
    assert!(passes < 30, "the loop does not sleep: {passes} passes in 300 ms");
    client.stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a TCP option");
    files.pop();
    client.expect(SWITCHING);
    client.leave();
    drop(files);
    server.is_back_to_baseline();
}

/// R16: a loop that wakes up late reads all sockets before it checks deadlines, even if more sockets are ready than the
/// kernel reports at once.
#[test]
fn a_late_loop_reads_all_sockets_first() {
    const CLIENTS: usize = 1500;
    if !is_alone_with_descriptors(2 * CLIENTS + 100, "a_late_loop_reads_all_sockets_first") {
        return;
    }
    for timeout in [1, 5, 60].map(Duration::from_secs) {
        let config = any_origin()
            .listen("127.0.0.1", 0)
            .limits(|limits| {
                limits.max_handshakes = CLIENTS;
                limits.max_connections = Some(CLIENTS);
            })
            .timeouts(|timeouts| timeouts.handshake = timeout);
        let mut server = Server::bind(config, Echo::new("")).expect("a free port");
        let address = server.local_addrs().next().expect("one address");
        let start = Instant::now();
        let mut clients = Vec::new();
        while clients.len() < CLIENTS {
            clients.push(Client::connect(address));
            server.pass(Some(Duration::ZERO)).expect("the loop runs");
        }
        clients.iter_mut().for_each(|client| client.send(&request("")));
        if start.elapsed() > timeout / 2 || server.snapshot().connecting < CLIENTS {
            continue; // On a slow machine the first handshake has already timed out.
        }
        thread::sleep(timeout);
        server.pass(None).expect("the loop runs");
        assert_eq!(server.snapshot().open, CLIENTS);
        return;
    }
    panic!("opening {CLIENTS} connections takes more than half a minute on this machine");
}
