//! The way in from other threads: `Handle`, and the end of a server (FAULTS R13).

mod support;

use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use framewise::config::Config;
use framewise::net::handle::HandleError;
use framewise::protocol::close::InvalidClose;
use framewise::{
    Broadcast, CloseCode, Dispatcher, Echo, Handle, Message, Outbox, PeerId, Request, Server,
};
use support::*;

/// Joins everybody to one group and tells who came.
struct Greeter(Sender<PeerId>);

impl Dispatcher for Greeter {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Request<'_>) {
        outbox.join("all").expect("joins");
        let _ = self.0.send(outbox.peer());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

fn greeting(config: Config) -> (TestServer, Receiver<PeerId>) {
    let (came, comes) = channel();
    (TestServer::start(config, Greeter(came)), comes)
}

fn next(comes: &Receiver<PeerId>) -> PeerId {
    comes.recv_timeout(Duration::from_secs(30)).expect("it came")
}

/// It may be cloned and used anywhere.
#[test]
fn a_handle_goes_to_any_thread() {
    fn is<T: Send + Sync + Clone>() {}
    is::<Handle>();
}

#[test]
fn a_handle_sends_publishes_and_closes() {
    let (server, comes) = greeting(any_origin());
    let (mut ana, mut rui) = (Client::open(server.address), Client::open(server.address));
    let (first, second) = (next(&comes), next(&comes));
    let handle = server.handle.clone();
    thread::spawn(move || {
        handle.send(first, Message::Text("só para você")).expect("it runs");
        handle.publish("all", Message::Binary(b"\0\xff"), &[second]).expect("it runs");
        handle.publish("all", Message::Text("everyone"), &[]).expect("it runs");
        handle.publish("nobody", Message::Text("never"), &[]).expect("it runs");
    });
    ana.expect(&server_frame(0x81, "só para você".as_bytes()));
    ana.expect(b"\x82\x02\0\xff\x81\x08everyone");
    rui.expect(b"\x81\x08everyone");
    server.handle.close(second, CloseCode(4000), "enough").expect("it runs");
    rui.expect(&failure(4000, "enough"));
    rui.send(&frame(0x88, b""));
    rui.expect_end(b"");
    drop(rui);
    // Who is gone gets nothing, and nobody else gets it.
    server.wait_for("it is gone", |now| now.peers == 1);
    server.handle.send(second, Message::Text("too late")).expect("it runs");
    server.handle.close(second, CloseCode(4000), "").expect("it runs");
    ana.leave();
    let refused = server.handle.close(first, CloseCode::ABNORMAL, "");
    let why = InvalidClose::Code(CloseCode::ABNORMAL);
    assert_eq!(refused, Err(HandleError::InvalidClose(why)));
    server.is_back_to_baseline();
}

/// A message for a peer that takes nothing counts against the same bound as any other's.
#[test]
fn what_a_handle_sends_is_bounded_by_the_output_limit() {
    let (server, comes) = greeting(Config { max_output: 64 * 1024, ..any_origin() });
    let mut silent = Client::open(server.address);
    let peer = next(&comes);
    server.wait_for("it is a member", |now| now.memberships == 1);
    let payload = vec![7; 60_000];
    while server.snapshot().memberships == 1 {
        match server.handle.send(peer, Message::Binary(&payload)) {
            Ok(()) | Err(HandleError::Full) => {}
            Err(other) => panic!("{other}"),
        }
        server.handle.snapshot().expect("it runs");
    }
    let stream = silent.read_to_end();
    drop(silent);
    at_most_one_close(&stream);
    let close = failure(1008, "RFC 6455 10.4: output limit reached, the peer reads too slowly");
    assert!(stream.ends_with(&close));
    server.is_back_to_baseline();
}

/// The queue has its limit, and says so; what was taken is done, in order.
#[test]
fn a_full_queue_is_an_answer() {
    struct Slow {
        begin: Sender<()>,
        go_on: Receiver<()>,
    }
    impl Dispatcher for Slow {
        fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Request<'_>) {
            outbox.join("all").expect("joins");
        }

        fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {
            self.begin.send(()).expect("the test waits");
            self.go_on.recv().expect("the test says so");
        }
    }
    let ((begin, begins), (go, go_on)) = (channel(), channel());
    let server = TestServer::start(any_origin(), Slow { begin, go_on });
    let mut client = Client::open(server.address);
    client.send(&frame(0x81, b"be slow"));
    begins.recv().expect("the loop is busy");
    let say = |n: u32| server.handle.publish("all", Message::Binary(&n.to_be_bytes()), &[]);
    for n in 0..1024 {
        assert_eq!(say(n), Ok(()), "{n}");
    }
    assert_eq!(say(1024), Err(HandleError::Full));
    assert_eq!(server.handle.snapshot(), Err(HandleError::Full));
    go.send(()).expect("the loop waits");
    for n in 0..1024u32 {
        client.expect(&server_frame(0x82, &n.to_be_bytes()));
    }
    assert_eq!(say(7), Ok(()));
    client.expect(&server_frame(0x82, &7u32.to_be_bytes()));

    // Bytes are counted too: 16 MiB of them, or one message of any size.
    client.send(&frame(0x81, b"be slow"));
    begins.recv().expect("the loop is busy");
    let large = vec![0; 12 << 20];
    let say = || server.handle.publish("nobody", Message::Binary(&large), &[]);
    assert_eq!((say(), say()), (Ok(()), Err(HandleError::Full)));
    go.send(()).expect("the loop waits");
    server.handle.snapshot().expect("the queue has been emptied");
    assert_eq!(say(), Ok(()));
    client.leave();
    server.is_back_to_baseline();
}

#[test]
fn a_snapshot_tells_the_states_apart() {
    let (server, comes) = greeting(any_origin());
    let opening = Client::connect(server.address);
    let open = Client::open(server.address);
    let closing = Client::open(server.address);
    let mut over = Client::open(server.address);
    next(&comes);
    server.handle.close(next(&comes), CloseCode::NORMAL, "").expect("it runs");
    over.send(&frame(0x88, b""));
    over.expect(b"\x88\0");
    server.wait_for("the fourth is over", |now| now.held.closed == 1);
    let now = server.handle.snapshot().expect("it runs");
    assert_eq!((now.connecting, now.open, now.closing, now.closed), (1, 1, 1, 1));
    assert_eq!((now.connections(), now.memberships, now.timers, now.queued), (4, 2, 4, 0));
    drop((opening, open, closing, over));
    server.is_back_to_baseline();
}

/// R13: nobody new, what waits goes out, Close 1001 to all, and `run` returns.
#[test]
fn a_shutdown_ends_the_server() {
    let config = Config { port: 0, host: "127.0.0.1".to_owned(), ..any_origin() };
    let mut server = Server::bind(config, || Broadcast).expect("a free port");
    let address = server.local_addrs().next().expect("one address");
    let handle = server.handle();
    let running = thread::spawn(move || server.run());
    let mut clients: Vec<Client> = (0..3).map(|_| Client::open(address)).collect();
    let half = Client::connect(address);
    clients[0].send(&frame(0x81, b"last words"));
    // It has been heard, so it was also sent to the others.
    clients[0].send(&frame(0x89, b""));
    clients[0].expect(b"\x8a\0");
    handle.shutdown(Duration::from_secs(60)).expect("it runs");
    let stops = failure(1001, "the server stops");
    for (n, client) in clients.iter_mut().enumerate() {
        if n > 0 {
            client.expect(b"\x81\x0alast words");
        }
        client.expect(&stops);
    }
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    for client in &mut clients {
        client.send(&frame(0x88, &stops[2..]));
        client.expect_end(b"");
    }
    drop((clients, half));
    running.join().expect("it does not panic").expect("it ends well");
    assert_eq!(handle.shutdown(Duration::ZERO), Err(HandleError::Stopped));
    assert_eq!(handle.snapshot(), Err(HandleError::Stopped));
}

/// R13: who does not answer is cut off at the deadline; a second call can only bring it nearer.
#[test]
fn a_shutdown_waits_no_longer_than_its_deadline() {
    let closes = Arc::new(Mutex::new(Vec::new()));
    struct Keeper(Arc<Mutex<Vec<framewise::Closed>>>);
    impl Dispatcher for Keeper {
        fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {}
        fn on_close(&mut self, _: &mut Outbox<'_>, closed: &framewise::Closed) {
            self.0.lock().expect("not poisoned").push(closed.clone());
        }
    }
    let config = Config { close_timeout: Duration::from_secs(3600), ..any_origin() };
    let server = TestServer::start(config, Keeper(Arc::clone(&closes)));
    let mut mute = Client::open(server.address);
    server.handle.shutdown(Duration::from_secs(3600)).expect("it runs");
    mute.expect(&failure(1001, "the server stops"));
    assert!(!server.snapshot().stopped);
    server.handle.shutdown(Duration::ZERO).expect("it still runs");
    server.handle.shutdown(Duration::from_secs(3600)).ok();
    server.wait_for("it has stopped", |now| now.stopped && now.peers == 0);
    let closes = closes.lock().expect("not poisoned");
    assert_eq!(closes.iter().map(|closed| closed.code).collect::<Vec<_>>(), [CloseCode::ABNORMAL]);
}

/// A server that nobody is connected to stops at once, and so does one that was dropped.
#[test]
fn an_empty_server_stops_at_once() {
    let server = TestServer::start(any_origin(), Echo::default());
    server.handle.shutdown(Duration::from_secs(3600)).expect("it runs");
    server.wait_for("it has stopped", |now| now.stopped);

    let config = Config { port: 0, host: "127.0.0.1".to_owned(), ..any_origin() };
    let never_run = Server::bind(config, Echo::default).expect("a free port");
    let handle = never_run.handle();
    assert_eq!(handle.publish("all", Message::Text("to nobody"), &[]), Ok(()));
    drop(never_run);
    assert_eq!(handle.snapshot(), Err(HandleError::Stopped));
}
