//! What other threads can ask of the event loop: run a closure, adopt a connection, return a result. Also the ways to
//! build a server.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use framewise::observe::{Direction, Notice, Observer};
use framewise::{
    Application, Closed, Dispatcher, Echo, Handle, HandleError, Message, Opened, Outbox, PeerId,
    Server, Snapshot,
};
use support::*;

/// An application with state: the numbers that closures added, in order.
#[derive(Default)]
struct Notebook {
    numbers: Vec<u32>,
}

impl Dispatcher for Notebook {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

/// A closure gets the application and an outbox that belongs to no peer. All commands of one thread are carried out in
/// order, closures and others alike.
#[test]
fn closures_run_on_the_loop_in_order() {
    let server = TestServer::start(any_origin(), Notebook::default());
    let mut client = Client::open(server.address);
    server.wait_for("it is a member", |now| now.memberships == 1);
    let handle = server.handle.clone();
    let caller = thread::spawn(move || {
        for n in 0..200u32 {
            let run = move |notebook: &mut Notebook, outbox: &mut Outbox<'_>| {
                notebook.numbers.push(n);
                outbox.publish("all", n.to_be_bytes(), &[]);
            };
            handle.run(run).expect("it runs");
            handle.publish("all", (1000 + n).to_be_bytes(), &[]).expect("it runs");
        }
        handle.call(|notebook, _| std::mem::take(&mut notebook.numbers))
    });
    for n in 0..200u32 {
        client.expect(&server_frame(0x82, &n.to_be_bytes()));
        client.expect(&server_frame(0x82, &(1000 + n).to_be_bytes()));
    }
    let numbers = caller.join().expect("no panic");
    assert_eq!(numbers, Ok((0..200).collect()));

    // The outbox of a closure has no peer of its own: calls that concern the own peer have no effect and do not panic.
    let nobody = server.handle.call(|_, outbox| {
        let me = outbox.peer();
        let until = std::time::Instant::now() + Duration::from_secs(3600);
        outbox.pause_reading(me, until);
        let closes = outbox.close(framewise::CloseCode::NORMAL, "");
        let tried =
            (outbox.reply("x"), outbox.send(me, "x"), outbox.ping(b""), outbox.leave("all"));
        (tried, closes, outbox.join("all").is_err(), outbox.is_open(me), outbox.queued(me))
    });
    let nothing = (false, false, false, false);
    assert_eq!(nobody, Ok((nothing, Ok(false), true, false, 0)));
    client.leave();
    server.is_back_to_baseline();
}

/// A closure that panics closes no connection, even if it has sent something before, and the loop keeps running.
#[test]
fn a_panic_in_a_closure_hurts_nobody() {
    let server = TestServer::start(any_origin(), Notebook::default());
    let mut client = Client::open(server.address);
    server.wait_for("it is a member", |now| now.memberships == 1);
    let panics = |_: &mut Notebook, outbox: &mut Outbox<'_>| {
        outbox.publish("all", "before", &[]);
        panic!("a fault of the test");
    };
    server.handle.run(panics).expect("it runs");
    client.expect(b"\x81\x06before");
    // A caller that waits for the result of such a closure gets an error.
    let result: Result<(), _> = server.handle.call(panics);
    assert_eq!(result, Err(HandleError::Panicked));
    client.expect(b"\x81\x06before");
    client.send(&frame(0x81, b"after"));
    client.expect(b"\x81\x05after");
    assert_eq!(server.handle.call(|notebook, _| notebook.numbers.len()), Ok(0));
    client.leave();
    server.is_back_to_baseline();
}

// Adopted connections.

/// Runs a server in a thread until its handle shuts it down.
fn run<A: Application + Send + 'static>(mut server: Server<A>) -> (Handle<A>, JoinHandle<()>) {
    let handle = server.handle();
    (handle, thread::spawn(move || server.run().expect("the loop runs")))
}

/// Two event loops share one listener: a connection that was accepted elsewhere is served by the loop that adopts it.
#[test]
fn two_loops_serve_one_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let servers = [1, 2].map(|_| {
        run(Server::without_listener(any_origin(), Echo::default()).expect("valid settings"))
    });
    let handles = [servers[0].0.clone(), servers[1].0.clone()];
    let accepting = thread::spawn(move || {
        for n in 0..6 {
            let (connection, _) = listener.accept().expect("a client comes");
            handles[n % 2].adopt(connection).expect("it runs");
        }
    });
    let mut clients: Vec<Client> = (0..6).map(|_| Client::open(address)).collect();
    accepting.join().expect("no panic");
    for client in &mut clients {
        client.send(&frame(0x81, b"hi"));
        client.expect(b"\x81\x02hi");
    }
    for (handle, _) in &servers {
        assert_eq!(handle.snapshot().expect("it runs").open, 3);
    }
    clients.into_iter().for_each(Client::leave);
    for (handle, running) in servers {
        handle.shutdown(Duration::ZERO).expect("it runs");
        running.join().expect("no panic");
        let (connection, _client) = pair();
        assert_eq!(handle.adopt(connection), Err(HandleError::Stopped));
    }
}

/// Returns both ends of a TCP connection: the accepted one and the one of the client.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    (listener.accept().expect("it came").0, client)
}

/// Adopted connections count towards the limits. A connection that is already closed, or that arrives during the
/// shutdown, is dropped.
#[test]
fn adopted_connections_keep_the_limits() {
    let one = any_origin().limits(|limits| limits.max_connections = Some(1));
    let server = TestServer::start(one, Echo::default());
    let mut first = Client::connect(server.address);
    first.send(&request(""));
    first.expect(SWITCHING);
    let (excess, its_client) = pair();
    server.handle.adopt(excess).expect("it runs");
    let mut its_client = Client { stream: its_client };
    assert_eq!(its_client.answer().status, 503);
    drop(its_client);

    let (gone, its_client) = pair();
    drop(its_client);
    server.handle.adopt(gone).expect("it runs");
    first.leave();
    server.is_back_to_baseline();

    let mut open = Client::open(server.address);
    server.handle.shutdown(Duration::from_secs(3600)).expect("it runs");
    let (late, its_client) = pair();
    server.handle.adopt(late).expect("it still runs");
    Client { stream: its_client }.expect_end(b"");
    open.expect(&failure(1001, "the server stops"));
}

// Callbacks that call their own handle.

/// Requests two snapshots in each callback: one of its own server and one of another server.
struct Asking {
    own: Option<Handle<Asking>>,
    other: Handle<Echo>,
    results: Sender<(&'static str, Result<Snapshot, HandleError>, bool)>,
}

impl Asking {
    fn ask(&self, whence: &'static str) {
        let own = self.own.as_ref().expect("set before a client comes");
        assert_eq!(own.call(|_, _| ()), Err(HandleError::WouldDeadlock));
        let _ = self.results.send((whence, own.snapshot(), self.other.snapshot().is_ok()));
    }
}

impl Dispatcher for Asking {
    fn on_request(&mut self, _: &framewise::Request<'_>, _: SocketAddr) -> framewise::Decision {
        self.ask("request");
        framewise::Decision::Accept(())
    }

    fn on_open(&mut self, _: &mut Outbox<'_>, _: &Opened<'_>) {
        self.ask("open");
    }

    fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {
        self.ask("message");
    }

    fn on_close(&mut self, _: &mut Outbox<'_>, _: &Closed) {
        self.ask("close");
    }
}

/// A callback that waited for its own loop would wait for ever, so the call returns an error. It may wait for the loop
/// of another server.
#[test]
fn a_callback_cannot_wait_for_its_own_loop() {
    let (results, told): (_, Receiver<_>) = channel();
    let other = TestServer::echo().handle;
    let asking = Asking { own: None, other, results };
    let server = TestServer::start(any_origin(), asking);
    let own = server.handle.clone();
    server.handle.run(move |asking, _| asking.own = Some(own)).expect("it runs");
    server.handle.run(|asking, _| asking.ask("closure")).expect("it runs");
    let mut client = Client::open(server.address);
    client.send(&frame(0x81, b"hi"));
    client.leave();
    for whence in ["closure", "request", "open", "message", "close"] {
        let told = told.recv_timeout(Duration::from_secs(30)).expect("it asks");
        assert_eq!(told, (whence, Err(HandleError::WouldDeadlock), true));
    }
    // Outside of callbacks the same calls still work.
    assert!(server.handle.snapshot().is_ok());
    server.is_back_to_baseline();
}

// Building a server.

/// The caller brings the listener; host and port of the configuration are ignored.
#[test]
fn a_server_accepts_from_a_listener_of_the_caller() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let config = any_origin().listen("no such host", 1);
    let server = Server::from_listener(listener, config, Echo::default()).expect("it is usable");
    assert_eq!(server.local_addrs().collect::<Vec<_>>(), [address]);
    assert!(!server.is_without_ipv6());
    let (handle, running) = run(server);
    let mut client = Client::open(address);
    client.send(&frame(0x81, b"hi"));
    client.expect(b"\x81\x02hi");
    client.leave();
    handle.shutdown(Duration::ZERO).expect("it runs");
    running.join().expect("no panic");
    assert!(TcpStream::connect(address).is_err(), "the listener is closed with the server");
    let nowhere = Server::without_listener(any_origin(), Echo::default()).expect("valid settings");
    assert!(nowhere.local_addr().is_err() && nowhere.local_addrs().next().is_none());
}

/// Sends a line through its channel for each notice, and for the bytes of each direction.
struct Log(Sender<String>);

impl Observer for Log {
    fn bytes(&mut self, _: PeerId, direction: Direction, bytes: &[u8]) {
        let _ = self.0.send(format!("{direction:?} {}", show(bytes)));
    }

    fn notice(&mut self, peer: Option<PeerId>, notice: &Notice<'_>) {
        assert!(peer.is_some(), "each of these concerns one peer");
        let name = format!("{notice:?}");
        let name = name.split(|c: char| !c.is_alphanumeric()).next();
        let _ = self.0.send(name.expect("a first word").to_owned());
    }
}

/// Both observers of a pair get the same notices and bytes in the same order, each once.
#[test]
fn a_pair_of_observers_sees_everything_twice() {
    let ((one, of_one), (two, of_two)) = (channel(), channel());
    let config = any_origin().listen("127.0.0.1", 0);
    let server = Server::bind(config, Echo::default()).expect("a free port");
    let address = server.local_addr().expect("it listens");
    // A handle that was taken before `observed_by` still controls the server.
    let handle = server.handle();
    let mut server = server.observed_by((Log(one), Log(two)));
    let running = thread::spawn(move || server.run());
    let mut client = Client::open(address);
    client.send(&frame(0x89, b"?"));
    client.expect(b"\x8a\x01?");
    client.send(&frame(0x8a, b"!"));
    client.send(&frame(0x81, b"hi"));
    client.expect(b"\x81\x02hi");
    client.leave();
    handle.shutdown(Duration::from_secs(30)).expect("it runs");
    running.join().expect("no panic").expect("it ends well");
    let (one, two): (Vec<String>, Vec<String>) = (of_one.iter().collect(), of_two.iter().collect());
    assert_eq!(one, two);
    let notices: Vec<&str> =
        one.iter().map(String::as_str).filter(|line| !line.contains(' ')).collect();
    let expected = ["Connected", "Opened", "Ping", "Pong", "Message", "Closed", "Disconnected"];
    assert_eq!(notices, expected);
    let bytes = |way: &str| -> String {
        one.iter().filter_map(|line| line.strip_prefix(way)?.strip_prefix(' ')).collect()
    };
    let out = [SWITCHING, b"\x8a\x01?\x81\x02hi\x88\x02\x03\xe8"].concat();
    assert_eq!(bytes("Out"), out.escape_ascii().to_string());
    let frames = [frame(0x89, b"?"), frame(0x8a, b"!"), frame(0x81, b"hi")].concat();
    let sent = [request(""), frames, frame(0x88, b"\x03\xe8")].concat();
    assert_eq!(bytes("In"), sent.escape_ascii().to_string());
}

/// An observer sees the request before its refusal, and no request if the head is malformed.
#[test]
fn an_observer_sees_the_request_that_is_refused() {
    struct Refusals(Sender<String>);
    impl Observer for Refusals {
        fn notice(&mut self, _: Option<PeerId>, notice: &Notice<'_>) {
            let _ = self.0.send(match notice {
                Notice::RefusedRequest { request, refusal } => {
                    format!("request {} {:?}", request.path(), refusal.rule)
                }
                Notice::Refused(refusal) => format!("refused {:?}", refusal.rule),
                _ => return,
            });
        }
    }
    let (sender, notices) = channel();
    let config = any_origin().listen("127.0.0.1", 0);
    let server = Server::bind(config, Echo::default()).expect("a free port");
    let address = server.local_addr().expect("it listens");
    let handle = server.handle();
    let mut server = server.observed_by(Refusals(sender));
    let running = thread::spawn(move || server.run());
    for head in ["GET /a HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: x\r\n\r\n", "GET /b\r\n\r\n"] {
        let mut client = Client::connect(address);
        client.send(head.as_bytes());
        client.read_to_end();
    }
    handle.shutdown(Duration::from_secs(30)).expect("it runs");
    running.join().expect("no panic").expect("it ends well");
    let notices: Vec<String> = notices.iter().collect();
    assert_eq!(notices, ["request /a Upgrade", "refused Upgrade", "refused RequestLine"]);
}

/// Asks its own server for a result when a connection closes.
struct Asks {
    handle: Option<Handle<Asks>>,
    answers: Sender<HandleError>,
}

impl Dispatcher for Asks {
    fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {}

    fn on_close(&mut self, _: &mut Outbox<'_>, _: &Closed) {
        let handle = self.handle.as_ref().expect("it was set");
        let error = handle.call(|_, _| ()).expect_err("the loop would wait for itself");
        self.answers.send(error).expect("the test waits");
    }
}

/// The callbacks of connections that are closed because the deadline of a shutdown has passed cannot wait for the loop
/// either.
#[test]
fn a_callback_at_the_end_of_a_shutdown_does_not_wait_for_the_loop() {
    let (answers, received) = channel();
    let server = TestServer::start(any_origin(), Asks { handle: None, answers });
    let handle = server.handle.clone();
    server.handle.call(|asks, _| asks.handle = Some(handle)).expect("it runs");
    // The client does not respond to the Close.
    let _silent = Client::open(server.address);
    server.handle.shutdown(Duration::from_millis(1)).expect("it runs");
    let answer = received.recv_timeout(Duration::from_secs(30));
    assert_eq!(answer, Ok(HandleError::WouldDeadlock));
}
