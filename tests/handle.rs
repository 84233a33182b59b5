//! Using a server from other threads with a `Handle`, and its shutdown (R13).

mod support;

use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use framewise::HandleError;
use framewise::InvalidClose;
use framewise::config::Config;
use framewise::{
    Broadcast, CloseCode, Dispatcher, Echo, Handle, Message, Opened, Outbox, PeerId, Server,
};
use support::*;

/// Adds every peer to one group and reports its id.
struct Greeter(Sender<PeerId>);

impl Dispatcher for Greeter {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
        outbox.join("all").expect("joins");
        let _ = self.0.send(outbox.peer());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

fn greeting(config: Config) -> (TestServer<Greeter>, Receiver<PeerId>) {
    let (came, comes) = channel();
    (TestServer::start(config, Greeter(came)), comes)
}

/// A handle can be cloned and sent to other threads, even if the application cannot.
#[test]
fn a_handle_is_send_and_sync_and_clone() {
    fn is<T: Send + Sync + Clone>() {}
    is::<Handle<std::rc::Rc<()>>>();
}

#[test]
fn a_handle_sends_publishes_and_closes() {
    let (server, comes) = greeting(any_origin());
    let (mut ana, mut rui) = (Client::open(server.address), Client::open(server.address));
    let (first, second) = (receive(&comes), receive(&comes));
    let handle = server.handle.clone();
    thread::spawn(move || {
        handle.send(first, Message::from("só para você")).expect("it runs");
        handle.publish("all", Message::Binary(b"\0\xff"), &[second]).expect("it runs");
        handle.publish("all", Message::from("everyone"), &[]).expect("it runs");
        handle.publish("nobody", Message::from("never"), &[]).expect("it runs");
    });
    ana.expect(&server_frame(0x81, "só para você".as_bytes()));
    ana.expect(b"\x82\x02\0\xff\x81\x08everyone");
    rui.expect(b"\x81\x08everyone");
    server.handle.close(second, CloseCode(4000), "enough").expect("it runs");
    rui.expect(&failure(4000, "enough"));
    rui.send(&frame(0x88, b""));
    rui.expect_end(b"");
    drop(rui);
    // A message to a peer that is gone reaches neither it nor any other peer.
    server.wait_for("it is gone", |now| now.peers == 1);
    server.handle.send(second, Message::from("too late")).expect("it runs");
    server.handle.close(second, CloseCode(4000), "").expect("it runs");
    ana.leave();
    let refused = server.handle.close(first, CloseCode::ABNORMAL, "");
    let why = InvalidClose::Code(CloseCode::ABNORMAL);
    assert_eq!(refused, Err(HandleError::InvalidClose(why)));
    server.is_back_to_baseline();
}

/// Messages from a handle count against the output limit of their peer, like all others.
#[test]
fn the_output_limit_applies_to_messages_from_a_handle() {
    let (server, comes) = greeting(any_origin().limits(|limits| limits.max_output = 64 * 1024));
    let mut silent = Client::open(server.address);
    let peer = receive(&comes);
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

/// If the queue of commands is full, the handle returns an error. Commands that were queued are carried out in order.
#[test]
fn a_full_queue_is_an_error() {
    struct Slow {
        begin: Sender<()>,
        go_on: Receiver<()>,
    }
    impl Dispatcher for Slow {
        fn on_open(&mut self, outbox: &mut Outbox<'_>, _: &Opened<'_>) {
            outbox.join("all").expect("joins");
        }

        fn on_message(&mut self, _: &mut Outbox<'_>, _: Message<'_>) {
            self.begin.send(()).expect("the test waits");
            self.go_on.recv().expect("the test continues");
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

    // The bytes in the queue are limited too: to 16 MiB, or to one message of any length.
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
fn a_snapshot_counts_connections_by_state() {
    let (server, comes) = greeting(any_origin());
    let opening = Client::connect(server.address);
    let open = Client::open(server.address);
    let closing = Client::open(server.address);
    let mut over = Client::open(server.address);
    receive(&comes);
    server.handle.close(receive(&comes), CloseCode::NORMAL, "").expect("it runs");
    over.send(&frame(0x88, b""));
    over.expect(b"\x88\0");
    server.wait_for("the fourth is closed", |now| now.held.closed == 1);
    let now = server.handle.snapshot().expect("it runs");
    assert_eq!((now.connecting, now.open, now.closing, now.closed), (1, 1, 1, 1));
    assert_eq!((now.connections(), now.memberships, now.timers, now.queued), (4, 2, 4, 0));
    drop((opening, open, closing, over));
    server.is_back_to_baseline();
}

/// R13: on shutdown the server stops listening, sends its output and Close 1001 to all peers, and `run` returns.
#[test]
fn a_shutdown_stops_the_server() {
    let config = any_origin().listen("127.0.0.1", 0);
    let mut server = Server::bind(config, Broadcast).expect("a free port");
    let address = server.local_addrs().next().expect("one address");
    let handle = server.handle();
    let running = thread::spawn(move || server.run());
    let mut clients: Vec<Client> = (0..3).map(|_| Client::open(address)).collect();
    let half = Client::connect(address);
    clients[0].send(&frame(0x81, b"last words"));
    // The pong shows that the server has processed the message, so it was also sent to the others.
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
    assert!(TcpStream::connect(address).is_err(), "the server does not listen any more");
    for client in &mut clients {
        client.send(&frame(0x88, &stops[2..]));
        client.expect_end(b"");
    }
    drop((clients, half));
    running.join().expect("no panic").expect("no error");
    assert_eq!(handle.shutdown(Duration::ZERO), Err(HandleError::Stopped));
    assert_eq!(handle.snapshot(), Err(HandleError::Stopped));
}

/// R13: connections whose peer does not answer are closed at the deadline. A second call can only make the deadline
/// earlier.
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
    let config = any_origin().timeouts(|timeouts| timeouts.close = Duration::from_secs(3600));
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

/// A server without connections stops at once. The handle of a server that was dropped reports that it has stopped.
#[test]
fn a_server_without_connections_stops_at_once() {
    let server = TestServer::start(any_origin(), Echo::default());
    server.handle.shutdown(Duration::from_secs(3600)).expect("it runs");
    server.wait_for("it has stopped", |now| now.stopped);

    let config = any_origin().listen("127.0.0.1", 0);
    let never_run = Server::bind(config, Echo::default()).expect("a free port");
    let handle = never_run.handle();
    assert_eq!(handle.publish("all", Message::from("to nobody"), &[]), Ok(()));
    drop(never_run);
    assert_eq!(handle.snapshot(), Err(HandleError::Stopped));
}
