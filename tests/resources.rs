//! What the system lends: descriptors, memory and addresses, seen through /proc where there is one (FAULTS R6, R10,
//! R15, and the invariants I2, I3 and I5 of a whole process).

#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use framewise::config::Config;
use framewise::{Echo, Server};
use support::*;

/// The echo example in a process of its own.
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
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo builds the examples before it runs this");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("text");
        let address = line.trim_end().rsplit(' ').next().and_then(|word| word.parse().ok());
        Process { child, address: address.expect("it says where it listens") }
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// Memory of its own, in KiB: what it has allocated and touched.
    fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("a number of kB")
    }

    /// Time on a core, in ticks.
    fn time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> =
            stat.rsplit(')').next().expect("after the name").split_whitespace().collect();
        fields[11].parse::<u64>().expect("user") + fields[12].parse::<u64>().expect("system")
    }

    /// Somebody comes, is served, and goes: all that came before has been seen to.
    fn visit(&self) {
        let mut client = Client::open(self.address);
        client.send(&frame(0x81, b"hi"));
        client.expect(b"\x81\x02hi");
        client.leave();
    }

    fn comes_back_to(&self, descriptors: usize) {
        for _ in 0..1000 {
            self.visit();
            if self.descriptors() == descriptors {
                return;
            }
        }
        panic!("{} descriptors, not {descriptors}", self.descriptors());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of the ways to come and go; every second one ends with a reset, because an answer comes to a socket that is
/// gone.
fn come_and_go(address: SocketAddr, round: usize) {
    let mut client = Client::connect(address);
    match round % 4 {
        0 => {}
        1 => client.send(&request("")[..round % 100]),
        2 => client.send(b"no request\r\n\r\n"),
        _ => client.send(&[request(""), frame(0x81, &[b'x'; 1000])].concat()),
    }
}

/// R10: 100,000 connections leave no descriptor and no memory behind, and a server that sleeps.
#[test]
fn connections_that_come_and_go_leave_nothing() {
    let server = Process::start();
    server.visit();
    let descriptors = server.descriptors();
    let storm = |rounds| {
        for round in 0..rounds {
            come_and_go(server.address, round);
            if round % 64 == 0 {
                // The backlog is short, and a connection that finds it full is tried again a second later.
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

/// I3: what peers send and never read is bounded; what they held is given back.
#[test]
fn memory_follows_the_bounds_and_comes_back() {
    let server = Process::start();
    server.visit();
    let (descriptors, memory) = (server.descriptors(), server.memory());
    let mut clients: Vec<Client> = (0..20).map(|_| Client::open(server.address)).collect();
    for client in &mut clients {
        // Half a message of 1 MiB in fragments, then pings without end that nobody reads the answers to.
        client.send(&frame(0x02, &vec![7; 500_000]));
        client.stream.set_nonblocking(true).expect("a TCP option");
        let pings = frame(0x89, &[b'p'; 125]).repeat(100);
        while std::io::Write::write(&mut client.stream, &pings).is_ok() {}
    }
    server.visit();
    let bound = memory + 20 * (2 * 500 + 2 * 1024 + 256);
    assert!(server.memory() <= bound, "{} KiB, {bound} are allowed", server.memory());
    drop(clients);
    server.comes_back_to(descriptors);
    assert!(server.memory() <= memory + 2048, "{memory} KiB before, {} KiB after", server.memory());
}

/// R15: `localhost` is served on every family that this machine has, and so is a literal address.
#[test]
fn every_address_that_is_listened_on_is_served() {
    for host in ["localhost", "::1", "[::1]", "127.0.0.1", "0.0.0.0"] {
        let config = Config { host: host.to_owned(), port: 0, ..any_origin() };
        let Ok(mut server) = Server::bind(config, || Echo::new("")) else {
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
        running.join().expect("no panic").expect("it ends well");
    }
}

/// Descriptors are those of a whole process, so a test that needs few or many of them runs again in a process of its
/// own. True inside of that one.
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

/// R6: without a free descriptor the loop rests instead of spinning, and who waits is served as soon as one is free.
#[test]
fn out_of_descriptors() {
    if !is_alone_with_descriptors(100, "out_of_descriptors") {
        return;
    }
    let config = Config { max_connections: Some(1000), ..any_origin() };
    let server = TestServer::start(config, Echo::default());
    Client::open(server.address).leave();
    server.wait_for("the visitor is gone", |now| now.passes > 0 && now.peers == 0);
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // One for the client's end; none is left for the server's.
    files.pop();
    let mut client = Client::connect(server.address);
    client.send(&request(""));
    let before = server.wait_for("a pass", |now| now.passes > 0).passes;
    client.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a TCP option");
    let silence = client.stream.read(&mut [0; 1]).expect_err("nobody serves it");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    let passes = server.snapshot().passes - before;
    assert!(passes < 30, "the loop does not rest: {passes} passes in 300 ms");
    client.stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a TCP option");
    files.pop();
    client.expect(SWITCHING);
    client.leave();
    drop(files);
    server.is_back_to_baseline();
}

/// R16: after a pause of any length, everybody who has spoken is heard before a deadline is judged, also when more
/// sockets have news than one answer of the kernel tells.
#[test]
fn a_late_wake_up_hears_everybody_first() {
    const CLIENTS: usize = 1500;
    if !is_alone_with_descriptors(2 * CLIENTS + 100, "a_late_wake_up_hears_everybody_first") {
        return;
    }
    for timeout in [1, 5, 60].map(Duration::from_secs) {
        let config = Config {
            port: 0,
            host: "127.0.0.1".to_owned(),
            handshake_timeout: timeout,
            max_handshakes: CLIENTS,
            max_connections: Some(CLIENTS),
            ..any_origin()
        };
        let mut server = Server::bind(config, || Echo::new("")).expect("a free port");
        let address = server.local_addrs().next().expect("one address");
        let start = Instant::now();
        let mut clients = Vec::new();
        while clients.len() < CLIENTS {
            clients.push(Client::connect(address));
            server.pass(Some(Duration::ZERO)).expect("the loop runs");
        }
        clients.iter_mut().for_each(|client| client.send(&request("")));
        if start.elapsed() > timeout / 2 || server.snapshot().connecting < CLIENTS {
            continue; // A slow machine: the first has been waiting for too long.
        }
        thread::sleep(timeout);
        server.pass(None).expect("the loop runs");
        assert_eq!(server.snapshot().open, CLIENTS);
        return;
    }
    panic!("to connect {CLIENTS} times takes more than half a minute here");
}
