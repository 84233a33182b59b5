//! TLS connections: the handshake of TLS and its failures, limits, closing, sessions and certificates. The peer is a
//! client of `rustls`, or literal bytes.

#[path = "../../support/mod.rs"]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use framewise::config::Config;
use framewise::lang::Lang;
use framewise::observe::{Direction, Notice, Observer};
use framewise::{
    Application, Client as WaitingClient, ClientRequest, CloseCode, ConnectError, Dispatcher, Echo,
    Event, Message, Outbox, PeerId, Server, Snapshot, TlsClient, TlsError, TlsServer, TlsStream,
    Url,
};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned,
    SupportedProtocolVersion,
};
use support::script::{Actor, Stage};
use support::*;
use tls_tests::{authority, client_config, connection, pair};

const VERSIONS: [(&SupportedProtocolVersion, ProtocolVersion); 2] =
    [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)];

/// Bytes that TLS may hold for a peer: its output limit, and a record with its header and tag.
const INSIDE: usize = 64 * 1024 + 17 * 1024;

fn server() -> TestServer {
    TestServer::over(any_origin(), Echo::default(), pair().server())
}

fn is_back_to_baseline(server: &TestServer) {
    server.wait_for("baseline", |now| now.held == Snapshot::default());
}

/// A client over a real socket, whose reads and writes block.
type Blocking = StreamOwned<ClientConnection, TcpStream>;

fn dial(server: &TestServer, config: &Arc<ClientConfig>) -> Blocking {
    StreamOwned::new(connection(config), Client::connect(server.address).stream)
}

fn expect(from: &mut impl Read, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    from.read_exact(&mut bytes).expect("the server sends these bytes");
    assert_eq!(show(&bytes), show(expected));
}

fn open(server: &TestServer, config: &Arc<ClientConfig>) -> Blocking {
    let mut client = dial(server, config);
    client.write_all(&request("")).expect("the server reads");
    expect(&mut client, SWITCHING);
    client
}

/// RFC 6455 §10.6-1: messages of all sizes come back over both versions of TLS. The Close comes before the `close_notify`, and that before
/// the end of TCP. ALPN agrees on `http/1.1`.
#[test]
fn messages_pass_over_both_versions() {
    let server = server();
    let large: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    for (version, expected) in VERSIONS {
        let mut config = client_config(&[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = open(&server, &Arc::new(config));
        assert_eq!(client.conn.protocol_version(), Some(expected));
        assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        for payload in [&b""[..], b"x", &[8; 126], &[9; 16_384], &[9; 16_385], &[1; 65_536]] {
            client.write_all(&frame(0x82, payload)).expect("the server reads");
            expect(&mut client, &server_frame(0x82, payload));
        }
        // Reads the echo while it writes, because neither side can hold so much.
        let wire = frame(0x82, &large);
        let echo = server_frame(0x82, &large);
        let mut heard = Vec::new();
        for piece in wire.chunks(8 * 1024) {
            client.write_all(piece).expect("the server reads");
            client.sock.set_nonblocking(true).expect("a TCP option");
            let result = client.read_to_end(&mut heard).expect_err("it is open");
            assert_eq!(result.kind(), ErrorKind::WouldBlock);
            client.sock.set_nonblocking(false).expect("a TCP option");
        }
        let mut rest = vec![0; echo.len() - heard.len()];
        client.read_exact(&mut rest).expect("the rest of the echo");
        heard.extend(rest);
        assert!(heard == echo);
        client.write_all(&frame(0x88, b"\x03\xe8")).expect("the server reads");
        let mut end = Vec::new();
        // `rustls` returns an error if TCP ends without a `close_notify`.
        client.read_to_end(&mut end).expect("a close_notify");
        assert_eq!(show(&end), show(b"\x88\x02\x03\xe8"));
        client.conn.send_close_notify();
        client.flush().expect("TCP is open");
        client.sock.shutdown(Shutdown::Write).expect("TCP is open");
        let mut after = Vec::new();
        client.sock.read_to_end(&mut after).expect("the server closes TCP cleanly");
        assert_eq!(show(&after), "");
        is_back_to_baseline(&server);
    }
}

/// A refusal passes through TLS: of a plain request, and of an excess connection.
#[test]
fn refusals_pass_through_tls() {
    let config = any_origin().limits(|limits| limits.max_connections = Some(1));
    let server = TestServer::over(config, Echo::default(), pair().server());
    let trusting = Arc::new(client_config(&[&TLS13]));
    let mut client = dial(&server, &trusting);
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").expect("the server reads");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("a close_notify");
    assert_eq!(Answer::parse(&answer).status, 426);
    drop(client);
    is_back_to_baseline(&server);
    let _first = open(&server, &trusting);
    let mut excess = dial(&server, &trusting);
    let mut answer = Vec::new();
    excess.read_to_end(&mut answer).expect("a close_notify");
    assert_eq!(Answer::parse(&answer).status, 503);
}

/// A client of `rustls` on a scripted socket.
struct Peer {
    actor: Actor,
    tls: ClientConnection,
    /// Clear bytes that the server has sent since the last look.
    heard: Vec<u8>,
    /// Why the client's side has failed.
    error: Option<rustls::Error>,
    ended: bool,
}

fn stage(config: Config) -> Stage<Echo, TlsServer> {
    Stage::over(config.validate().expect("valid"), Echo::default(), pair().server())
}

impl Peer {
    fn connect<A: Application>(
        stage: &mut Stage<A, TlsServer>,
        version: &'static SupportedProtocolVersion,
    ) -> Peer {
        let actor = stage.connect();
        let tls = connection(&Arc::new(client_config(&[version])));
        Peer { actor, tls, heard: Vec::new(), error: None, ended: false }
    }

    fn open<A: Application>(
        stage: &mut Stage<A, TlsServer>,
        version: &'static SupportedProtocolVersion,
    ) -> Peer {
        let mut peer = Peer::connect(stage, version);
        peer.write(&request(""));
        peer.exchange(stage);
        assert_eq!(show(&peer.take()), show(SWITCHING));
        peer
    }

    /// Queues clear bytes.
    fn write(&mut self, bytes: &[u8]) {
        self.tls.set_buffer_limit(None);
        self.tls.writer().write_all(bytes).expect("there is no limit");
    }

    /// Returns the records that are queued.
    fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).expect("a vector takes everything");
        }
        records
    }

    /// Processes records from the server.
    fn receive(&mut self, records: &[u8]) {
        let mut rest = records;
        while !rest.is_empty() && self.error.is_none() {
            if self.tls.read_tls(&mut rest).expect("the clear bytes were taken") == 0 {
                break;
            }
            match self.tls.process_new_packets() {
                Ok(state) => self.ended |= state.peer_has_closed(),
                Err(error) => self.error = Some(error),
            }
            let _ = self.tls.reader().read_to_end(&mut self.heard);
        }
    }

    /// Runs passes until neither side has more to say.
    fn exchange<A: Application>(&mut self, stage: &mut Stage<A, TlsServer>) {
        loop {
            let records = self.records();
            let is_silent = records.is_empty();
            stage.send(&self.actor, &records);
            stage.pass();
            let answer = stage.heard(&self.actor);
            self.receive(&answer);
            if is_silent && answer.is_empty() {
                break;
            }
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }
}

/// Bytes that wait inside TLS count as queued output, with their header and tag, and as memory.
#[test]
fn bytes_inside_tls_count_as_queued() {
    let mut stage = stage(without_pings());
    let mut peer = Peer::open(&mut stage, &TLS13);
    stage.make_room(&peer.actor, Some(0));
    peer.write(&frame(0x82, &[7; 1000]));
    let records = peer.records();
    stage.send(&peer.actor, &records);
    stage.pass();
    let now = stage.event_loop.snapshot();
    assert_eq!((now.queued, now.held), (1004 + 22, 1004 + 22));
    stage.make_room(&peer.actor, Some(1000));
    stage.pass();
    assert_eq!(stage.event_loop.snapshot().queued, 26);
    // The deadline for a socket that accepts nothing applies to them.
    stage.wait(20 * SECOND);
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
}

/// R5: a peer that floods the server is read once in each turn, also if its records are tiny.
#[test]
fn a_flood_does_not_delay_other_peers() {
    for read_buffer in [4096, 512 * 1024] {
        for size in [1, 16_000] {
            let mut stage = stage(any_origin().limits(|limits| limits.read_buffer = read_buffer));
            let mut flood = Peer::open(&mut stage, &TLS13);
            let mut quiet = Peer::open(&mut stage, &TLS13);
            let mut wire = Vec::new();
            while wire.len() < 2 << 20 {
                flood.write(&frame(0x82, &vec![7; size]));
                wire.extend(flood.records());
            }
            quiet.write(&frame(0x81, b"hi"));
            let hi = quiet.records();
            stage.send(&flood.actor, &wire);
            stage.send(&quiet.actor, &hi);
            stage.event_loop.begin_pass(stage.now);
            stage.event_loop.take_turns();
            let left = stage.unread(&flood.actor);
            let most = read_buffer.max(2 * 37 * 1024);
            assert!(wire.len() - left <= most, "{} bytes in one turn", wire.len() - left);
            let answer = stage.heard(&quiet.actor);
            quiet.receive(&answer);
            assert_eq!(show(&quiet.take()), "\\x81\\x02hi");
            stage.pass();
            assert_eq!(stage.unread(&flood.actor), 0);
            assert!(!stage.event_loop.has_turns(), "the loop does not spin");
        }
    }
}

/// R1, R2: output that waits inside TLS counts. A peer that does not read its replies is not read any more, and loses
/// nothing once it reads.
#[test]
fn a_peer_that_does_not_read_is_bounded_and_loses_nothing() {
    for (version, _) in VERSIONS {
        let most = 256 * 1024;
        let config = without_pings().limits(|limits| {
            limits.max_output = most;
            limits.read_buffer = 64 * 1024;
        });
        let mut stage = stage(config);
        let mut peer = Peer::open(&mut stage, version);
        stage.make_room(&peer.actor, Some(0));
        let message = |n: u32| frame(0x82, &n.to_be_bytes().repeat(500));
        let sent: Vec<u8> = (0..1000).flat_map(message).collect();
        let expected: Vec<u8> =
            (0..1000).flat_map(|n: u32| server_frame(0x82, &n.to_be_bytes().repeat(500))).collect();
        peer.write(&sent);
        let records = peer.records();
        stage.send(&peer.actor, &records);
        stage.pass();
        let now = stage.event_loop.snapshot();
        assert!((most / 2..=most + INSIDE).contains(&now.queued), "{now:?}");
        assert!(now.held >= now.queued && now.held < 4 * most, "{now:?}");
        assert!(stage.unread(&peer.actor) > 1 << 20, "the rest is not read");
        let mut heard = Vec::new();
        while heard.len() < expected.len() {
            stage.make_room(&peer.actor, Some(30_000));
            stage.pass();
            assert!(stage.event_loop.snapshot().queued <= most + INSIDE);
            let records = stage.heard(&peer.actor);
            peer.receive(&records);
            heard.extend(peer.take());
        }
        assert!(heard == expected);
        assert_eq!(stage.event_loop.snapshot().open, 1);
    }
}

/// The same over real sockets, where the buffers of the kernel come first.
#[test]
fn a_real_peer_that_does_not_read_is_bounded_and_loses_nothing() {
    let config = without_pings().limits(|limits| limits.max_output = 256 * 1024);
    let server = TestServer::over(config, Echo::default(), pair().server());
    let client = open(&server, &Arc::new(client_config(&[&TLS13])));
    let (mut tls, socket) = (client.conn, client.sock);
    tls.set_buffer_limit(None);
    let message = frame(0x82, &[7; 10_000]);
    let count = 3_000;
    for _ in 0..count {
        tls.writer().write_all(&message).expect("there is no limit");
    }
    let mut records = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut records).expect("a vector takes everything");
    }
    let mut to_server = socket.try_clone().expect("a file descriptor");
    let writer = thread::spawn(move || to_server.write_all(&records).expect("it is read at last"));
    let now = server.wait_for("backpressure", |now| now.held.queued >= 128 * 1024);
    assert!(now.held.queued <= 256 * 1024 + INSIDE, "{now:?}");
    let mut client = StreamOwned::new(tls, socket);
    let echo = server_frame(0x82, &[7; 10_000]);
    let mut heard = vec![0; echo.len()];
    for _ in 0..count {
        client.read_exact(&mut heard).expect("nothing is lost");
        assert!(heard == echo);
        assert!(server.snapshot().held.queued <= 256 * 1024 + INSIDE);
    }
    writer.join().expect("it was sent");
}

/// T4: what TLS holds of an incomplete record counts as memory, and the limit in total applies to it.
#[test]
fn t4_incomplete_records_count_as_memory() {
    const LIMIT: usize = 256 * 1024;
    let mut stage = stage(without_pings().limits(|limits| limits.max_memory = Some(LIMIT)));
    let idle = stage.event_loop.snapshot().held;
    let mut peers = Vec::new();
    for n in 1..=40 {
        let mut peer = Peer::open(&mut stage, &TLS13);
        assert!(stage.event_loop.snapshot().held <= LIMIT, "after {n} peers");
        peer.write(&[7; 16_000]);
        let mut records = peer.records();
        records.pop();
        stage.send(&peer.actor, &records);
        stage.pass();
        peers.push(peer);
        let now = stage.event_loop.snapshot();
        assert!(now.held <= LIMIT, "{now:?}");
        if n == 1 {
            assert!(now.held >= idle + 16_000, "{now:?}");
        }
    }
    assert!(stage.event_loop.snapshot().open < 40, "the largest were closed");
}

/// Counts the bytes that the server has received.
struct Counted(Arc<AtomicUsize>);

impl Observer for Counted {
    fn bytes(&mut self, _: PeerId, direction: Direction, bytes: &[u8]) {
        if direction == Direction::In {
            self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        }
    }
}

/// A peer that is closed for its memory gets the time to read why, also if TLS holds a part of a record. What it sends
/// meanwhile is discarded, and the observer does not see it, because it is encrypted.
#[test]
fn a_peer_that_is_closed_for_memory_reads_why() {
    for (version, _) in VERSIONS {
        let config = without_pings().limits(|limits| limits.max_memory = Some(128 * 1024));
        let server = Server::bind(config.listen("127.0.0.1", 0), Echo::default());
        let count = Arc::new(AtomicUsize::new(0));
        let server = server.expect("a free port").over(pair().server());
        let mut server = server.observed_by(Counted(Arc::clone(&count)));
        let address = server.local_addr().expect("bound");
        let until = |server: &mut Server<_, _, _>, is_reached: &dyn Fn(Snapshot) -> bool| {
            while !is_reached(server.snapshot()) {
                server.pass(None).expect("the loop runs");
            }
        };
        let opening = thread::spawn(move || {
            let config = Arc::new(client_config(&[version]));
            let socket = Client::connect(address).stream;
            let mut client = StreamOwned::new(connection(&config), socket);
            client.write_all(&request("")).expect("the server reads");
            expect(&mut client, SWITCHING);
            client
        });
        until(&mut server, &|now| now.open == 1);
        let StreamOwned { conn: mut tls, sock: mut socket, .. } = opening.join().expect("it opens");
        tls.set_buffer_limit(None);
        tls.writer().write_all(&frame(0x82, &vec![7; 800 * 1024])).expect("there is no limit");
        let mut records = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut records).expect("a vector takes everything");
        }
        // One record after the other, each without its last byte, which comes with the next one.
        let record = 5 + usize::from(u16::from_be_bytes([records[3], records[4]]));
        let mut sent = 0;
        while server.snapshot().open == 1 {
            let end = sent + record - usize::from(sent == 0);
            socket.write_all(&records[sent..end]).expect("the server reads");
            sent = end;
            until(&mut server, &|now| now.held >= end - end / 10 || now.open == 0);
        }
        assert!(sent < records.len() / 2, "the message was not complete");
        let observed = count.load(Ordering::Relaxed);
        let running = thread::spawn(move || {
            until(&mut server, &|now| now == Snapshot::default());
        });
        // The rest arrives after the Close was sent.
        socket.write_all(&records[sent..]).expect("the server reads");
        let mut client = StreamOwned::new(tls, socket);
        let mut end = Vec::new();
        client.read_to_end(&mut end).expect("a Close, and a close_notify");
        assert_eq!(&end[2..4], b"\x03\xf1", "{}", show(&end));
        client.sock.shutdown(Shutdown::Write).expect("TCP is open");
        assert_eq!(client.sock.read(&mut [0]).expect("no reset"), 0);
        running.join().expect("the server closes the connection");
        assert_eq!(count.load(Ordering::Relaxed), observed);
    }
}

/// An idle connection holds no memory that grows with traffic.
#[test]
fn an_idle_connection_holds_nothing() {
    for (version, _) in VERSIONS {
        let mut stage = stage(without_pings());
        let mut peer = Peer::open(&mut stage, version);
        peer.write(&frame(0x82, &[7; 100_000]));
        peer.exchange(&mut stage);
        assert_eq!(peer.take().len(), server_frame(0x82, &[7; 100_000]).len());
        assert_eq!(stage.event_loop.snapshot().held, 0);
    }
}

/// The time-out of the opening handshake includes that of TLS: for a silent client, for one that sends a part of its
/// ClientHello, and for one that completes TLS and sends no request.
#[test]
fn a_stalled_handshake_ends_with_the_handshake_timeout() {
    let mut stage = stage(any_origin());
    let silent = stage.connect();
    let mut half = Peer::connect(&mut stage, &TLS13);
    let hello = half.records();
    stage.send(&half.actor, &hello[..hello.len() / 2]);
    let mut shaken = Peer::connect(&mut stage, &TLS13);
    shaken.exchange(&mut stage);
    assert!(!shaken.tls.is_handshaking());
    stage.wait(10 * SECOND - SECOND / 1000);
    assert!(stage.holds(&silent) && stage.holds(&half.actor) && stage.holds(&shaken.actor));
    stage.wait(SECOND / 1000);
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
    // The same over a real socket.
    let config = any_origin().timeouts(|timeouts| timeouts.handshake = SECOND / 20);
    let server = TestServer::over(config, Echo::default(), pair().server());
    let mut client = Client::connect(server.address);
    client.send(&hello[..hello.len() / 2]);
    assert_eq!(show(&client.read_to_end()), "");
    is_back_to_baseline(&server);
}

/// The handshakes of both versions, a message and the closing handshake, with input that is cut at any byte.
#[test]
fn input_is_exact_wherever_it_is_cut() {
    for (version, _) in VERSIONS {
        let mut cut = 0;
        loop {
            let mut stage = stage(any_origin());
            let mut peer = Peer::connect(&mut stage, version);
            peer.write(&[request(""), frame(0x81, "olá".as_bytes())].concat());
            // Bytes of the client until the cut.
            let mut left = cut;
            let mut was_cut = false;
            loop {
                let records = peer.records();
                let (first, second) = records.split_at(left.min(records.len()));
                was_cut |= !second.is_empty();
                left -= first.len();
                for part in [first, second] {
                    stage.send(&peer.actor, part);
                    stage.pass();
                    let answer = stage.heard(&peer.actor);
                    peer.receive(&answer);
                }
                if records.is_empty() && !peer.tls.wants_write() {
                    break;
                }
            }
            let expected = [SWITCHING, &server_frame(0x81, "olá".as_bytes())].concat();
            assert_eq!(show(&peer.take()), show(&expected), "{version:?} cut at {cut}");
            peer.write(&frame(0x88, b"\x03\xe8"));
            peer.exchange(&mut stage);
            assert_eq!(show(&peer.take()), show(b"\x88\x02\x03\xe8"));
            assert!(peer.ended && stage.is_shut(&peer.actor));
            stage.finish(&peer.actor);
            stage.pass();
            assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
            if !was_cut {
                break;
            }
            cut += 7;
        }
        assert!(cut > 300, "the handshake was cut");
    }
}

/// The socket becomes full after any number of bytes of the output.
#[test]
fn output_is_exact_wherever_it_is_cut() {
    let mut cut = 0;
    loop {
        let mut stage = stage(any_origin());
        let mut peer = Peer::connect(&mut stage, &TLS13);
        stage.make_room(&peer.actor, Some(cut));
        peer.write(&[request(""), frame(0x82, &[7; 20_000]), frame(0x88, b"")].concat());
        peer.exchange(&mut stage);
        let is_whole = stage.is_shut(&peer.actor);
        stage.make_room(&peer.actor, None);
        peer.exchange(&mut stage);
        let expected = [SWITCHING, &server_frame(0x82, &[7; 20_000]), b"\x88\0"].concat();
        assert!(peer.take() == expected, "cut at {cut}");
        assert!(peer.ended && stage.is_shut(&peer.actor), "cut at {cut}");
        stage.finish(&peer.actor);
        stage.pass();
        assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
        if is_whole {
            break;
        }
        cut += 101;
    }
    assert!(cut > 20_000);
}

/// A peer that ends TCP without a `close_notify` is like one that ends it without a Close, or with one, if it has sent
/// one.
#[test]
fn a_missing_close_notify_is_tolerated() {
    for (version, _) in VERSIONS {
        let (notices, seen) = channel();
        let server = observed(any_origin(), pair().server(), notices);
        for (wire, told) in [(frame(0x88, b"\x03\xe8"), "closed 1000"), (vec![], "closed 1006")] {
            let mut client =
                StreamOwned::new(connection(&Arc::new(client_config(&[version]))), server.dial());
            client.write_all(&request("")).expect("the server reads");
            expect(&mut client, SWITCHING);
            client.write_all(&wire).expect("the server reads");
            client.flush().expect("the server reads");
            client.sock.shutdown(Shutdown::Write).expect("TCP is open");
            let mut rest = Vec::new();
            client.sock.read_to_end(&mut rest).expect("the server ends TCP cleanly");
            assert_eq!(receive(&seen), told);
            assert_eq!(receive(&seen), "disconnected");
        }
    }
}

/// Reports notices as short texts.
struct Reporter(Sender<String>);

impl Observer for Reporter {
    fn notice(&mut self, _: Option<PeerId>, notice: &Notice<'_>) {
        let _ = self.0.send(match notice {
            Notice::TransportFailed(error) => format!("failed: {error}"),
            Notice::Closed(closed) => format!("closed {}", closed.code.0),
            Notice::Disconnected => "disconnected".to_owned(),
            _ => return,
        });
    }
}

/// A server with an observer.
struct Observed(std::net::SocketAddr);

impl Observed {
    fn dial(&self) -> TcpStream {
        Client::connect(self.0).stream
    }
}

fn observed(config: Config, tls: TlsServer, notices: Sender<String>) -> Observed {
    let config = config.listen("127.0.0.1", 0);
    let server = Server::bind(config, Echo::default()).expect("a free port");
    let mut server = server.over(tls).observed_by(Reporter(notices));
    let address = server.local_addr().expect("bound");
    thread::spawn(move || server.run().expect("the loop runs"));
    Observed(address)
}

/// With TLS: input that is no TLS, a record that is longer than allowed, application data before the handshake ends, and
/// a version that is too old. The peer gets an alert and a clean end of TCP, and the observer learns why.
#[test]
fn a_broken_handshake_ends_with_an_alert() {
    let (notices, seen) = channel();
    let server = observed(any_origin(), pair().server(), notices);
    let plain = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    let long = [&b"GET / HTTP/1.1\r\nCookie: "[..], &[b'x'; 300_000], b"\r\n\r\n"].concat();
    let old = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x2f\x01\x00"
        .to_vec();
    let oversized = [&b"\x16\x03\x03\x48\x01"[..], &[0; 0x4801]].concat();
    let rows: [(&str, Vec<u8>, &str); 6] = [
        ("plain HTTP", plain, "does not speak TLS"),
        ("long plain HTTP", long, "does not speak TLS"),
        ("a WebSocket frame", frame(0x81, b"hi"), "does not speak TLS"),
        ("TLS 1.0", old, "peer is incompatible"),
        ("an oversized record", oversized, "TLS failed"),
        ("early application data", b"\x17\x03\x03\x00\x05hello".to_vec(), "TLS failed"),
    ];
    for (name, wire, why) in rows {
        let mut client = Client { stream: server.dial() };
        client.send(&wire);
        let answer = client.read_to_end();
        assert_eq!(show(&answer[..1]), "\\x15", "{name}: an alert");
        assert_eq!((answer.len(), answer[5]), (7, 2), "{name}: one fatal alert, {}", show(&answer));
        let told = receive(&seen);
        assert!(told.starts_with("failed: ") && told.contains(why), "{name}: {told}");
        drop(client);
        assert_eq!(receive(&seen), "disconnected");
    }
}

/// Echoes and counts messages.
#[derive(Default)]
struct Count(u32);

impl Dispatcher for Count {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        self.0 += 1;
        outbox.reply(message);
    }
}

/// A record that was changed on its way closes an open WebSocket, after what came before it.
#[test]
fn a_changed_record_closes_the_connection() {
    for (version, _) in VERSIONS {
        let config = any_origin().validate().expect("valid");
        let mut stage = Stage::over(config, Count::default(), pair().server());
        let mut peer = Peer::open(&mut stage, version);
        peer.write(&frame(0x81, b"whole"));
        let mut records = peer.records();
        peer.write(&frame(0x81, b"changed"));
        let mut changed = peer.records();
        *changed.last_mut().expect("not empty") ^= 1;
        records.extend(changed);
        stage.send(&peer.actor, &records);
        stage.pass();
        assert_eq!(stage.event_loop.act(|count, _| count.0), Some(1));
        let answer = stage.heard(&peer.actor);
        peer.receive(&answer);
        assert!(matches!(peer.error, Some(rustls::Error::AlertReceived(_))), "{:?}", peer.error);
        assert!(stage.is_shut(&peer.actor), "the write side is shut after the alert");
        // What the peer still sends is discarded, up to a limit.
        stage.send(&peer.actor, &[0; 100_000]);
        stage.pass();
        assert_eq!((stage.unread(&peer.actor), stage.holds(&peer.actor)), (0, true));
        stage.send(&peer.actor, &[0; 1 << 20]);
        stage.pass();
        assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
    }
}

/// A record that is not encrypted, after the handshake, closes the connection.
#[test]
fn a_clear_record_after_the_handshake_closes_the_connection() {
    let mut stage = stage(any_origin());
    let mut peer = Peer::open(&mut stage, &TLS12);
    stage.send(&peer.actor, b"\x16\x03\x03\x00\x04\x01\0\0\0");
    stage.pass();
    let answer = stage.heard(&peer.actor);
    peer.receive(&answer);
    assert!(matches!(peer.error, Some(rustls::Error::AlertReceived(_))), "{:?}", peer.error);
    stage.finish(&peer.actor);
    stage.pass();
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
}

/// A client that returns resumes its session in both versions, and the WebSocket works as before.
#[test]
fn sessions_are_resumed() {
    let server = server();
    for (version, _) in VERSIONS {
        let config = Arc::new(client_config(&[version]));
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut client = open(&server, &config);
            assert_eq!(client.conn.handshake_kind(), Some(expected));
            client.write_all(&frame(0x81, b"hi")).expect("the server reads");
            expect(&mut client, b"\x81\x02hi");
        }
    }
}

/// The certificate is replaced for new connections. A pair that cannot be used changes nothing.
#[test]
fn certificates_are_replaced_for_new_connections() {
    let tls = pair().server();
    let server = TestServer::over(any_origin(), Echo::default(), tls.clone());
    let config = Arc::new(client_config(&[&TLS13]));
    let presented =
        |client: &Blocking| client.conn.peer_certificates().expect("a certificate")[0].to_vec();
    let mut old = open(&server, &config);
    let first = presented(&old);

    let new = authority().issue(&["localhost"], |_| {});
    let (chain, key) = (new.chain.as_bytes(), new.key.as_bytes());
    let rows: [(&[u8], &[u8], TlsError); 4] = [
        (chain, pair().key.as_bytes(), TlsError::KeyMismatch),
        (b"", key, TlsError::NoCertificate),
        (chain, b"", TlsError::NoKey),
        (key, chain, TlsError::NoCertificate),
    ];
    for (chain, key, expected) in rows {
        assert_eq!(tls.replace(chain, key), Err(expected));
    }
    assert!(matches!(
        tls.replace(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", key),
        Err(TlsError::Pem(_))
    ));
    let fresh = || Arc::new(client_config(&[&TLS13]));
    assert_eq!(presented(&open(&server, &fresh())), first);

    tls.replace(chain, key).expect("a valid pair");
    assert_ne!(presented(&open(&server, &fresh())), first);
    old.write_all(&frame(0x81, b"hi")).expect("the server reads");
    expect(&mut old, b"\x81\x02hi");
}

// The client.

fn url(server: &TestServer, host: &str) -> Url {
    Url::parse(&format!("wss://{host}:{}/", server.address.port())).expect("a URL")
}

fn try_connect(
    server: &TestServer,
    host: &str,
    tls: &TlsClient,
) -> Result<WaitingClient<TlsStream>, ConnectError> {
    let url = url(server, host);
    let stream = tls.stream(&url).expect("a name");
    WaitingClient::open_over(&ClientRequest::new(url), Config::default(), stream, ())
}

fn trusting() -> TlsClient {
    TlsClient::with_ca(authority().pem.as_bytes()).expect("a certificate")
}

/// RFC 6455 §4.1-14, §4.1-16: the client of the library, to a name and to an address.
#[test]
fn a_client_connects_over_tls() {
    let server = server();
    for host in ["localhost", "127.0.0.1"] {
        let mut client = try_connect(&server, host, &trusting()).expect("it is trusted");
        let large = "x".repeat(1 << 20);
        for message in ["olá", &large] {
            assert!(client.send(message).expect("it is sent"));
            let echo = client.recv_message().expect("it works").expect("open");
            assert!(echo.as_str() == Some(message));
        }
        let closed = client.close(CloseCode::NORMAL, "bye").expect("a valid Close");
        assert_eq!(closed.code, CloseCode::NORMAL);
        is_back_to_baseline(&server);
    }
}

/// RFC 6455 §4.1-15: a client refuses a server that it cannot verify, with an error that says why.
#[test]
fn a_client_refuses_a_server_that_it_cannot_verify() {
    let server = server();
    let why =
        |server: &TestServer, host: &str, tls: &TlsClient| match try_connect(server, host, tls)
            .expect_err("it cannot be verified")
        {
            ConnectError::Transport(error) => {
                error.downcast_ref::<TlsError>().expect("an error of TLS").clone()
            }
            other => panic!("{other:?}"),
        };
    for name in ["a stranger", "tests"] {
        let other = tls_tests::Authority::new(name);
        let tls = TlsClient::with_ca(other.pem.as_bytes()).expect("a certificate");
        assert_eq!(why(&server, "localhost", &tls), TlsError::UnknownIssuer);
    }
    let elsewhere = trusting().server_name("elsewhere.example");
    let wrong = why(&server, "localhost", &elsewhere);
    assert_eq!(
        wrong.text(Lang::En),
        "the server's certificate is not for elsewhere.example, but for localhost, 127.0.0.1"
    );
    assert!(matches!(wrong, TlsError::WrongName { .. }));

    let date = |year| rcgen::date_time_ymd(year, 1, 1);
    let expired = authority().issue(&["localhost"], |params| {
        (params.not_before, params.not_after) = (date(2000), date(2001));
    });
    let early = authority().issue(&["localhost"], |params| {
        (params.not_before, params.not_after) = (date(4000), date(4001));
    });
    for (pair, expected) in [(expired, TlsError::Expired), (early, TlsError::NotYetValid)] {
        let server = TestServer::over(any_origin(), Echo::default(), pair.server());
        assert_eq!(why(&server, "localhost", &trusting()), expected);
        assert!(try_connect(&server, "localhost", &TlsClient::insecure()).is_ok());
    }
    assert!(try_connect(&server, "localhost", &TlsClient::insecure()).is_ok());
    assert!(trusting().server_name("no name").stream(&url(&server, "h")).is_err());
    assert!(matches!(TlsClient::with_ca(b""), Err(TlsError::NoCertificate)));

    let plain = TestServer::over(any_origin(), Echo::default(), framewise::Tcp);
    assert_eq!(why(&plain, "localhost", &trusting()), TlsError::NotTls);
}

/// A server that speaks no protocol in common, and one that closes TCP in the handshake.
#[test]
fn a_client_reports_how_the_handshake_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    for (answer, expected) in
        [(&b"\x15\x03\x03\x00\x02\x02\x28"[..], Some("HandshakeFailure")), (b"", None)]
    {
        let url = Url::parse(&format!("wss://{address}/")).expect("a URL");
        let listener = listener.try_clone().expect("a file descriptor");
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("the client connects");
            let mut hello = [0; 100];
            socket.read_exact(&mut hello).expect("a ClientHello");
            socket.write_all(answer).expect("the client reads");
            socket.shutdown(Shutdown::Write).expect("TCP is open");
            let _ = socket.read_to_end(&mut Vec::new());
        });
        let stream = trusting().stream(&url).expect("an address");
        let request = ClientRequest::new(url);
        let result = WaitingClient::open_over(&request, Config::default(), stream, ());
        match (result.expect_err("there is no TLS"), expected) {
            (ConnectError::Transport(error), Some(alert)) => {
                assert!(error.to_string().ends_with(alert), "{error}");
            }
            (ConnectError::Lost, None) => {}
            (other, _) => panic!("{other:?}"),
        }
        server.join().expect("no panic");
    }
}

/// A client that sends to a peer that does not read is bounded: `send` waits, and fails after the write time-out.
#[test]
fn a_client_gives_a_peer_up_that_does_not_read() {
    struct Deaf;
    impl Dispatcher for Deaf {
        fn on_message(&mut self, outbox: &mut Outbox<'_>, _: Message<'_>) {
            outbox.pause_reading(outbox.peer(), std::time::Instant::now() + 3600 * SECOND);
        }
    }
    let server = TestServer::over(any_origin(), Deaf, pair().server());
    let url = Url::parse(&format!("wss://{}/", server.address)).expect("a URL");
    let stream = trusting().stream(&url).expect("an address");
    let config = Config::default()
        .limits(|limits| limits.max_output = 64 * 1024)
        .timeouts(|timeouts| timeouts.write = SECOND / 10);
    let mut client = WaitingClient::open_over(&ClientRequest::new(url), config, stream, ())
        .expect("it is trusted");
    let message = vec![7; 60_000];
    let error = loop {
        match client.send(&message) {
            Ok(sent) => assert!(sent && client.queued() <= 64 * 1024 + INSIDE),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

/// The transport of a server can be left out.
#[test]
fn a_transport_can_be_left_out() {
    for tls in [None, Some(pair().server())] {
        let client = tls.is_some().then(trusting);
        let server = TestServer::over(any_origin(), Echo::default(), tls);
        let scheme = if client.is_some() { "wss" } else { "ws" };
        let url = Url::parse(&format!("{scheme}://{}/", server.address)).expect("a URL");
        let stream = client.map(|client| client.stream(&url).expect("an address"));
        let request = ClientRequest::new(url);
        let mut client = WaitingClient::open_over(&request, Config::default(), stream, ())
            .expect("the server is there");
        assert!(client.send("olá").expect("it is sent"));
        let event = client.recv().expect("an event");
        assert!(matches!(event, Event::Message(message) if message.as_str() == Some("olá")));
        client.close(CloseCode::NORMAL, "").expect("a valid Close");
    }
}
