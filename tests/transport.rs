//! The `Transport` trait, between sockets and connections. The transport of these tests behaves as TLS does: it
//! exchanges greetings before any data, changes every byte, buffers bytes, and sends a goodbye before TCP closes.

mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use framewise::config::Config;
use framewise::{
    Client as WaitingClient, ClientRequest, CloseCode, Dispatcher, Drained, Echo, Event, Message,
    Outbox, ReadOutcome, Readiness, Server, Snapshot, Stream, Tcp, Transport, Url,
};
use support::framed::{BOUND, Framed, FramedClient, Framing, HELLO, WELCOME, chunks, clear};
use support::script::{Actor, Stage};
use support::*;

fn server() -> TestServer {
    TestServer::over(any_origin(), Echo::default(), Framing)
}

fn stage(config: Config) -> Stage<Echo, Framing> {
    Stage::over(config.validate().expect("valid"), Echo::default(), Framing)
}

/// Adds a TCP connection. Its socket is writable, so the server sends its greeting.
fn connect(stage: &mut Stage<Echo, Framing>) -> Actor {
    let actor = stage.connect();
    stage.make_room(&actor, None);
    stage.pass();
    actor
}

/// Opens a connection: greeting and opening handshake.
fn open(stage: &mut Stage<Echo, Framing>) -> Actor {
    let actor = connect(stage);
    stage.send(&actor, &[HELLO, &chunks(255, &request(""))].concat());
    stage.pass();
    assert_eq!(said(&stage.heard(&actor)), (SWITCHING.to_vec(), false));
    actor
}

/// Decodes what a server sent: its greeting, then clear bytes. Also returns whether it has said goodbye.
fn said(wire: &[u8]) -> (Vec<u8>, bool) {
    clear(WELCOME, wire)
}

/// Waits until every resource is released. (`TestServer::is_back_to_baseline` opens a plain TCP client.)
fn is_back_to_baseline(server: &TestServer) {
    server.wait_for("baseline", |now| now.held == Snapshot::default());
}

/// A server for which `over` is not called speaks plain TCP, the default of its type parameter.
#[test]
fn tcp_is_the_default() {
    fn is_over_tcp(server: Server<Echo>) -> Server<Echo, Tcp, ()> {
        server
    }
    let config = any_origin().listen("127.0.0.1", 0);
    let server = is_over_tcp(Server::bind(config, Echo::default()).expect("a free port"));
    assert!(server.local_addrs().next().is_some());
    Client::open(TestServer::echo().address).leave();
}

/// RFC 6455 §4.2.2-2
#[test]
fn messages_pass_through_the_transport() {
    let server = server();
    let mut client = FramedClient::open(server.address);
    let large: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    for payload in [&b""[..], b"x", &[7; 125], &[8; 126], &[9; 65_536], &large] {
        // Sends in a thread while the echo is read, because the large message does not fit into the buffers of either
        // side.
        let mut writer = client.tcp.try_clone().expect("a descriptor");
        let wire = chunks(200, &frame(0x82, payload));
        let sending = std::thread::spawn(move || writer.write_all(&wire).expect("it is read"));
        client.expect(&server_frame(0x82, payload));
        sending.join().expect("it was sent");
    }
    // A message in fragments with a ping between them, each byte in a chunk of its own.
    let wire = [frame(0x01, b"ol"), frame(0x89, b"?"), frame(0x80, b"\xc3\xa1")].concat();
    client.tcp.write_all(&chunks(1, &wire)).expect("the server reads");
    client.expect(&[&b"\x8a\x01?"[..], b"\x81\x04ol\xc3\xa1"].concat());
    client.leave();
    is_back_to_baseline(&server);
}

/// Whichever side closes, the Close is sent before the goodbye, and the goodbye before TCP closes.
#[test]
fn the_goodbye_comes_after_the_close_and_before_the_end_of_tcp() {
    let server = server();
    let mut client = FramedClient::open(server.address);
    client.send(&[frame(0x81, b"hi"), frame(0x88, b"\x03\xe8")].concat());
    assert_eq!(show(&client.read_to_end()), show(b"\x81\x02hi\x88\x02\x03\xe8"));
    client.finish();

    let mut client = FramedClient::open(server.address);
    client.send(&frame(0x83, b""));
    let close = client.read_to_end();
    assert!(close.starts_with(&[0x88]) && close[2..4] == 1002u16.to_be_bytes(), "{}", show(&close));
    client.finish();

    // A goodbye without a Close is like TCP that closes without one: the code is 1006, and no Close is sent in return.
    let mut client = FramedClient::open(server.address);
    client.finish();
    assert_eq!(show(&client.read_to_end()), "");
    is_back_to_baseline(&server);
}

/// RFC 6455 §4.2.2-2: a refusal is sent through the transport, for a refused request and for an excess connection.
#[test]
fn refusals_pass_through_the_transport() {
    let server = server();
    let mut client = FramedClient::connect(server.address);
    client.greet();
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(Answer::parse(&client.read_to_end()).status, 426);
    client.finish();
    is_back_to_baseline(&server);

    let one = any_origin().limits(|limits| limits.max_connections = Some(1));
    let server = TestServer::over(one, Echo::default(), Framing);
    let first = FramedClient::open(server.address);
    let mut excess = FramedClient::connect(server.address);
    excess.greet();
    assert_eq!(Answer::parse(&excess.read_to_end()).status, 503);
    excess.finish();
    first.leave();
    is_back_to_baseline(&server);
}

/// Bytes that the transport has accepted count as queued output. So reading from a peer that does not read its replies
/// is paused, and it loses nothing.
#[test]
fn bytes_inside_the_transport_count_as_queued() {
    let mut stage = stage(any_origin().limits(|limits| limits.max_output = 8 * 1024));
    let actor = open(&mut stage);
    stage.make_room(&actor, Some(0));
    stage.send(&actor, &chunks(255, &frame(0x82, &[7; 1000])));
    stage.pass();
    let now = stage.event_loop.snapshot();
    assert_eq!(now.queued, 1004 + 4, "all of it is in the transport, with a length for each chunk");
    assert!(now.held >= now.queued, "it counts as memory as well: {now:?}");
    let messages = |n: u16| frame(0x82, &n.to_be_bytes().repeat(200));
    let sent: Vec<u8> = (0..300).flat_map(messages).collect();
    stage.send(&actor, &chunks(255, &sent));
    stage.pass();
    let queued = stage.event_loop.snapshot().queued;
    assert!((4 * 1024..=8 * 1024).contains(&queued), "{queued} bytes wait");
    let mut wire = Vec::new();
    let first = server_frame(0x82, &[7; 1000]);
    let replies = (0..300u16).flat_map(|n| server_frame(0x82, &n.to_be_bytes().repeat(200)));
    let expected: Vec<u8> = first.into_iter().chain(replies).collect();
    while clear(b"", &wire).0.len() < expected.len() {
        stage.make_room(&actor, Some(900));
        stage.pass();
        wire.extend(stage.heard(&actor));
        assert!(stage.event_loop.snapshot().queued <= 8 * 1024 + BOUND);
        assert_eq!(stage.event_loop.snapshot().open, 1);
    }
    assert!(clear(b"", &wire) == (expected, false));
}

/// Bytes inside the transport have the write time-out. A connection whose socket takes none of them for that long is
/// closed, and each byte that it takes restarts the time.
#[test]
fn bytes_inside_the_transport_have_a_deadline() {
    let mut stage = stage(any_origin());
    let actor = open(&mut stage);
    stage.make_room(&actor, Some(0));
    stage.send(&actor, &chunks(255, &frame(0x81, b"hello")));
    stage.pass();
    for _ in 0..3 {
        stage.wait(19 * SECOND);
        stage.make_room(&actor, Some(1));
        stage.pass();
    }
    stage.wait(19 * SECOND);
    assert!(stage.holds(&actor));
    stage.wait(SECOND);
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
}

/// The time-out of the opening handshake includes the greeting of the transport.
#[test]
fn a_stalled_greeting_ends_with_the_handshake_timeout() {
    let mut stage = stage(any_origin());
    let (silent, half, greeted) = (connect(&mut stage), connect(&mut stage), connect(&mut stage));
    assert_eq!(stage.heard(&silent), WELCOME);
    stage.send(&half, &HELLO[..3]);
    stage.wait(5 * SECOND);
    stage.send(&greeted, HELLO);
    stage.wait(5 * SECOND - Duration::from_millis(1));
    for actor in [&silent, &half, &greeted] {
        assert!(stage.holds(actor));
    }
    stage.wait(Duration::from_millis(1));
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());

    // A malformed greeting closes the connection at once.
    let wrong = connect(&mut stage);
    stage.send(&wrong, b"GET / HTTP/1.1\r\n");
    stage.pass();
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
}

/// Output waits until the greeting is complete, even the refusal of an excess connection. It is sent then, although the
/// socket never became unwritable and so reports no new readiness.
#[test]
fn output_waits_for_the_greeting() {
    let mut stage = stage(any_origin().limits(|limits| limits.max_connections = Some(1)));
    let first = open(&mut stage);
    let excess = connect(&mut stage);
    stage.pass();
    assert_eq!(stage.heard(&excess), WELCOME);
    stage.send(&excess, HELLO);
    stage.pass();
    let (answer, goodbye) = clear(b"", &stage.heard(&excess));
    assert!(answer.starts_with(b"HTTP/1.1 503 ") && goodbye, "{}", show(&answer));
    assert!(stage.is_shut(&excess));
    stage.finish(&excess);
    stage.reset(&first);
    stage.pass();
    assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
}

/// Returns all bytes of a client, from its greeting to its goodbye, and the clear bytes that the server sends in
/// return.
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let texts = [frame(0x01, b"ol"), frame(0x89, b"?"), frame(0x80, b"\xc3\xa1")].concat();
    let said = [request(""), texts, frame(0x82, &[7; 600]), frame(0x88, b"\x03\xe8")].concat();
    let replies = [b"\x8a\x01?".to_vec(), server_frame(0x81, "olá".as_bytes())].concat();
    let heard =
        [SWITCHING.to_vec(), replies, server_frame(0x82, &[7; 600]), b"\x88\x02\x03\xe8".to_vec()];
    ([HELLO, &chunks(40, &said), &[0]].concat(), heard.concat())
}

/// The input may be split at any byte.
#[test]
fn input_is_exact_wherever_it_is_cut() {
    let (wire, expected) = conversation();
    for cut in 0..=wire.len() {
        let mut stage = stage(any_origin());
        let actor = connect(&mut stage);
        for part in [&wire[..cut], &wire[cut..]] {
            stage.send(&actor, part);
            stage.pass();
        }
        assert_eq!(said(&stage.heard(&actor)), (expected.clone(), true), "cut at {cut}");
        stage.finish(&actor);
        stage.pass();
        assert_eq!(stage.event_loop.snapshot(), Snapshot::default(), "cut at {cut}");
    }
}

/// The socket may become full at any byte of the output, greeting and goodbye included.
#[test]
fn output_is_exact_wherever_it_is_cut() {
    let (wire, expected) = conversation();
    let mut uncut = stage(any_origin());
    let actor = connect(&mut uncut);
    uncut.send(&actor, &wire);
    uncut.pass();
    for cut in 0..uncut.heard(&actor).len() {
        let mut stage = stage(any_origin());
        let actor = stage.connect();
        stage.make_room(&actor, Some(cut));
        stage.send(&actor, &wire[..wire.len() - 1]);
        stage.pass();
        let mut heard = stage.heard(&actor);
        assert_eq!(heard.len(), cut, "cut at {cut}");
        assert!(!stage.is_shut(&actor), "output is left, cut at {cut}");
        stage.make_room(&actor, None);
        stage.pass();
        heard.extend(stage.heard(&actor));
        assert_eq!(said(&heard), (expected.clone(), true), "cut at {cut}");
        assert!(stage.is_shut(&actor));
        stage.finish(&actor);
        stage.pass();
        assert_eq!(stage.event_loop.snapshot(), Snapshot::default(), "cut at {cut}");
    }
}

/// The same for a peer that closed its side of TCP before it read anything, with a goodbye or without.
#[test]
fn a_peer_that_has_ended_still_gets_what_waits() {
    let (wire, expected) = conversation();
    for goodbye in [true, false] {
        let wire = if goodbye { &wire[..] } else { &wire[..wire.len() - 1] };
        for cut in 0..WELCOME.len() + expected.len() {
            let mut stage = stage(any_origin());
            let actor = stage.connect();
            stage.make_room(&actor, Some(cut));
            stage.send(&actor, wire);
            stage.finish(&actor);
            stage.pass();
            let mut heard = stage.heard(&actor);
            stage.make_room(&actor, None);
            stage.pass();
            heard.extend(stage.heard(&actor));
            let (heard, _) = said(&heard);
            assert_eq!(show(&heard), show(&expected), "cut at {cut}");
            assert_eq!(stage.event_loop.snapshot(), Snapshot::default(), "cut at {cut}");
        }
    }
}

/// A connection that is reset after any byte of its input releases everything.
#[test]
fn a_reset_anywhere_gives_everything_back() {
    let (wire, _) = conversation();
    for cut in 0..=wire.len() {
        let mut stage = stage(any_origin());
        let actor = connect(&mut stage);
        if cut % 2 == 0 {
            stage.make_room(&actor, Some(cut));
        }
        stage.send(&actor, &wire[..cut]);
        stage.pass();
        stage.reset(&actor);
        stage.pass();
        assert_eq!(stage.event_loop.snapshot(), Snapshot::default(), "after {cut} bytes");
    }
}

fn connect_client<A>(server: &TestServer<A>, config: Config) -> WaitingClient<Framed> {
    let url = Url::parse(&format!("ws://{}/", server.address)).expect("a URL");
    WaitingClient::open_over(&ClientRequest::new(url), config, Framed::client(), ())
        .expect("the server is there")
}

/// RFC 6455 §4.1-16: the client supports the same trait, here both sides use the transport.
#[test]
fn a_client_uses_the_same_transport() {
    let server = server();
    let mut client = connect_client(&server, Config::default());
    let large = vec![7; 1 << 20];
    assert!(client.send("olá").expect("it is sent") && client.send(&large).expect("it is sent"));
    assert!(client.ping(b"?"));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match client.recv().expect("an event") {
            Event::Message(message) => seen.push(message.into_bytes()),
            Event::Pong(payload) => seen.push(payload.into_owned()),
            other => panic!("{other:?}"),
        }
    }
    assert!(seen == ["olá".as_bytes(), &large, b"?"].map(<[u8]>::to_vec));
    let closed = client.close(CloseCode::NORMAL, "bye").expect("a valid Close");
    assert_eq!((closed.code, closed.reason.as_str()), (CloseCode::NORMAL, "bye"));
    is_back_to_baseline(&server);
}

/// Replies to the first message, then stops reading.
struct Deaf;

impl Dispatcher for Deaf {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
        outbox.pause_reading(outbox.peer(), Instant::now() + 3600 * SECOND);
    }
}

/// If the server does not read, `send` waits and fails after the write time-out, although the client's transport has
/// buffered the bytes that the socket did not take.
#[test]
fn a_client_gives_a_full_transport_up() {
    let server = TestServer::over(any_origin(), Deaf, Framing);
    let config = Config::default()
        .limits(|limits| limits.max_output = 1024)
        .timeouts(|timeouts| timeouts.write = SECOND / 10);
    let mut client = connect_client(&server, config);
    assert!(client.send("hi").expect("it is sent"));
    assert!(matches!(client.recv().expect("an event"), Event::Message(_)));
    let message = vec![7; BOUND - 500];
    let error = loop {
        match client.send(&message) {
            Ok(sent) => assert!(sent),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

/// A transport that begins to break the rules of `Stream` once it is told to.
#[derive(Clone, Default)]
struct Faulty(Rc<Cell<Fault>>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// A read reports more bytes than there is space for.
    ReadsTooMuch,
    /// A write reports more bytes than it was given.
    WritesTooMuch,
    /// After a read, the stream has bytes to write and fails to.
    CannotRespond,
}

impl Transport for Faulty {
    type Stream = Faulty;

    fn accept(&mut self) -> Faulty {
        self.clone()
    }
}

impl Stream for Faulty {
    fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        let count = io.read(into)?;
        let too_much = if self.0.get() == Fault::ReadsTooMuch { into.len() } else { 0 };
        Ok(ReadOutcome::new(count + too_much, Drained::Unknown))
    }

    fn write(&mut self, io: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = io.write_vectored(slices)?;
        Ok(count + usize::from(self.0.get() == Fault::WritesTooMuch))
    }

    fn wants_write(&self) -> bool {
        self.0.get() == Fault::CannotRespond
    }

    fn drive(&mut self, _: &mut (impl Read + Write), _: Readiness) -> io::Result<()> {
        match self.0.get() {
            Fault::CannotRespond => Err(ErrorKind::InvalidData.into()),
            _ => Ok(()),
        }
    }
}

/// A transport that reports impossible counts costs its own connection. The server does not panic, and other connections
/// are served.
#[test]
fn a_faulty_transport_costs_its_own_connection() {
    for fault in [Fault::ReadsTooMuch, Fault::WritesTooMuch] {
        let transport = Faulty::default();
        let config = without_pings().validate().expect("valid");
        let mut stage = Stage::over(config, Echo::default(), transport.clone());
        let connect = |stage: &mut Stage<Echo, Faulty>| {
            let actor = stage.connect();
            stage.send(&actor, &request(""));
            stage.pass();
            assert_eq!(show(&stage.heard(&actor)), show(SWITCHING));
            actor
        };
        let (victim, other) = (connect(&mut stage), connect(&mut stage));
        transport.0.set(fault);
        stage.send(&victim, &frame(0x81, b"x"));
        stage.pass();
        assert!(!stage.holds(&victim), "the faulty connection is removed");
        transport.0.set(Fault::None);
        stage.send(&other, &frame(0x81, b"hi"));
        stage.pass();
        assert_eq!(show(&stage.heard(&other)), "\\x81\\x02hi");
    }
}

/// Counts messages.
#[derive(Default)]
struct Count(u32);

impl Dispatcher for Count {
    fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {
        self.0 += 1;
    }
}

/// What a transport has delivered is processed, even if the transport fails right after that.
#[test]
fn bytes_read_before_a_failure_are_processed() {
    let transport = Faulty::default();
    let config = without_pings().validate().expect("valid");
    let mut stage = Stage::over(config, Count::default(), transport.clone());
    let actor = stage.connect();
    stage.send(&actor, &request(""));
    stage.pass();
    transport.0.set(Fault::CannotRespond);
    stage.send(&actor, &frame(0x81, b"last words"));
    stage.pass();
    assert_eq!(stage.event_loop.act(|count, _| count.0), Some(1));
    assert!(!stage.holds(&actor));
}

/// Reads from the socket in every call, but has clear bytes to deliver only in every second one, as a stream that waits
/// for the rest of a record.
#[derive(Clone, Default)]
struct Halting {
    held: Vec<u8>,
    halts: bool,
    ended: bool,
}

impl Transport for Halting {
    type Stream = Halting;

    fn accept(&mut self) -> Halting {
        Halting::default()
    }
}

impl Stream for Halting {
    fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        let mut piece = [0; 3];
        match io.read(&mut piece) {
            Ok(count) => {
                self.ended = count == 0;
                self.held.extend(&piece[..count]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && !self.held.is_empty() => {}
            Err(error) => return Err(error),
        }
        self.halts = !self.halts && !self.ended;
        if self.halts {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.held.len().min(into.len());
        into[..count].copy_from_slice(&self.held[..count]);
        self.held.drain(..count);
        Ok(ReadOutcome::new(count, Drained::Unknown))
    }

    fn write(&mut self, io: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        io.write_vectored(slices)
    }
}

/// A stream that has read a part of a record is read again, although no new readiness announces the rest.
#[test]
fn a_part_of_a_record_does_not_stop_the_stream() {
    let config = without_pings().validate().expect("valid");
    let mut stage = Stage::over(config, Echo::default(), Halting::default());
    let actor = stage.connect();
    stage.send(&actor, &[request(""), frame(0x81, b"hello")].concat());
    stage.pass();
    assert_eq!(show(&stage.heard(&actor)), show(&[SWITCHING, b"\x81\x05hello"].concat()));
    assert!(!stage.event_loop.has_turns(), "the loop does not spin");
}

/// T4: bytes that a transport holds for peers that do not read are freed with their connections.
#[test]
fn t4_what_a_transport_holds_has_a_bound_in_total() {
    const LIMIT: usize = 1 << 16;
    let mut stage = stage(without_pings().limits(|limits| limits.max_memory = Some(LIMIT)));
    for _ in 0..100 {
        let actor = open(&mut stage);
        stage.make_room(&actor, Some(0));
        stage.send(&actor, &chunks(255, &frame(0x82, &[7; 1_900])));
        stage.pass();
        assert!(stage.event_loop.snapshot().held <= LIMIT);
    }
}

/// A client's stream that can write nothing and has nothing to read.
struct Mute;

impl Stream for Mute {
    fn read(&mut self, _: &mut impl Read, _: &mut [u8]) -> io::Result<ReadOutcome> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, _: &mut impl Write, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }
}

/// RFC 6455 §4.1-15: if a client cannot send its request, for example because TLS has failed, connecting fails at once.
#[test]
fn a_request_that_cannot_be_sent_is_an_error_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let request = ClientRequest::new(Url::parse(&url).expect("valid"));
    let config = Config::default().timeouts(|timeouts| timeouts.handshake = Duration::from_secs(2));
    let error = WaitingClient::open_over(&request, config, Mute, ()).expect_err("it is mute");
    assert!(matches!(error, framewise::ConnectError::Lost), "{error:?}");
}

/// Keeps bytes in `write`, and writes them only in `drive`.
#[derive(Clone, Default)]
struct Buffering {
    out: Vec<u8>,
}

impl Transport for Buffering {
    type Stream = Buffering;

    fn accept(&mut self) -> Buffering {
        Buffering::default()
    }
}

impl Stream for Buffering {
    fn read(&mut self, io: &mut impl Read, into: &mut [u8]) -> io::Result<ReadOutcome> {
        Tcp.read(io, into)
    }

    fn write(&mut self, _: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.out.len() > 1 << 16 {
            return Err(ErrorKind::WouldBlock.into());
        }
        slices.iter().for_each(|slice| self.out.extend_from_slice(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn queued(&self) -> usize {
        self.out.len()
    }

    fn drive(&mut self, io: &mut (impl Read + Write), _: Readiness) -> io::Result<()> {
        while !self.out.is_empty() {
            let count = io.write(&self.out)?;
            self.out.drain(..count);
        }
        Ok(())
    }
}

/// A stream that only buffers in `write` is driven at once, on both sides of a connection.
#[test]
fn a_stream_is_driven_after_a_write() {
    let server = TestServer::over(any_origin(), Echo::default(), Buffering::default());
    let request =
        ClientRequest::new(Url::parse(&format!("ws://{}", server.address)).expect("valid"));
    let mut client =
        WaitingClient::open_over(&request, Config::default(), Buffering::default(), ())
            .expect("it opens");
    for message in ["olá", &"x".repeat(1 << 20)] {
        assert!(client.send(message).expect("it is taken"));
        let echo = client.recv_message().expect("it works").expect("open");
        assert!(echo.as_str() == Some(message));
    }
    client.close(CloseCode::NORMAL, "").expect("a valid close");
    server.wait_for("baseline", |now| now.held == Snapshot::default());
}
