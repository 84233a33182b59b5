//! `Response::delayed`: a response that waits costs its client time, and nobody else.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use framewise::{Decision, Dispatcher, Message, Outbox, Request, Response};
use support::stage::*;
use support::*;

/// The delay of a refusal.
const DELAY: Duration = Duration::from_secs(2);

/// Delays the refusal of a wrong password, and of any request for `/late/SECONDS`.
struct Door;

impl Dispatcher for Door {
    fn on_request(&mut self, request: &Request<'_>, _: SocketAddr) -> Decision {
        if let Some(seconds) = request.path().strip_prefix("/late/") {
            let delay = Duration::from_secs(seconds.parse().expect("a number"));
            return Decision::Respond(Response::new(200, "text/plain", "late").delayed(delay));
        }
        match request.header("authorization") {
            Some("Bearer wrong") => {
                let refusal = Response::new(401, "text/plain", "x".repeat(5000));
                Decision::Respond(refusal.delayed(DELAY))
            }
            _ => Decision::ACCEPT,
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

fn wrong() -> Vec<u8> {
    request("Authorization: Bearer wrong\r\n")
}

/// The response comes after its delay, and then the connection closes. Meanwhile another client from the same address is
/// served at once.
#[test]
fn a_delayed_response_delays_nobody_else() {
    let mut stage = stage(any_origin(), Door);
    let guess = stage.connect();
    stage.send(&guess, &wrong());
    stage.pass();
    let right = open(&mut stage);
    stage.send(&right, &frame(0x81, b"hi"));
    stage.wait(DELAY - Duration::from_millis(1));
    assert_eq!(stage.heard(&right), b"\x81\x02hi");
    assert_eq!(show(&stage.heard(&guess)), "");
    assert_eq!(stage.event_loop.next_deadline(), Some(stage.now + Duration::from_millis(1)));
    stage.wait(Duration::from_millis(1));
    let answer = Answer::parse(&stage.heard(&guess));
    assert_eq!((answer.status, answer.header("Connection")), (401, "close"));
    assert_eq!(answer.body.len(), 5000);
    assert!(stage.is_shut(&guess));
    leave_all(&mut stage, &[&right, &guess]);
}

/// What the client sends during the delay is not read, and what it has sent before is not answered.
#[test]
fn a_client_is_not_read_during_the_delay() {
    for after in [0, 1, 1_000_000] {
        let mut stage = stage(any_origin(), Door);
        let client = stage.connect();
        stage.send(
            &client,
            &[b"GET /late/1 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), wrong()].concat(),
        );
        stage.pass();
        stage.send(&client, &vec![b'x'; after]);
        stage.pass();
        assert_eq!(stage.unread(&client), after);
        assert_eq!(stage.event_loop.snapshot().paused, 1);
        stage.wait(SECOND);
        let answer = Answer::parse(&stage.heard(&client));
        assert_eq!((answer.status, answer.body.as_str()), (200, "late"));
        assert_eq!(answer.header("Connection"), "close", "also after a plain request");
        stage.pass();
        assert_eq!(stage.unread(&client), 0, "it was read and discarded");
        stage.finish(&client);
        stage.pass();
        is_back_to_baseline(&stage);
    }
}

/// A delay is cut to half of the handshake time-out, so that the response is still sent.
#[test]
fn a_delay_is_limited() {
    let mut stage = stage(any_origin(), Door);
    let client = stage.connect();
    // The handshake has taken most of its time.
    stage.wait(9 * SECOND);
    stage.send(&client, b"GET /late/1000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    stage.pass();
    stage.wait(5 * SECOND - Duration::from_millis(1));
    assert_eq!(show(&stage.heard(&client)), "");
    stage.wait(Duration::from_millis(1));
    assert_eq!(Answer::parse(&stage.heard(&client)).body, "late");
    stage.finish(&client);
    stage.pass();
    is_back_to_baseline(&stage);
}

/// A client that goes away during the delay, or closes its side, releases everything.
#[test]
fn a_client_leaves_during_the_delay() {
    let mut stage = stage(any_origin(), Door);
    let (gone, half) = (stage.connect(), stage.connect());
    for client in [&gone, &half] {
        stage.send(client, &wrong());
    }
    stage.pass();
    let held = stage.event_loop.snapshot();
    assert_eq!((held.connecting, held.paused), (2, 2));
    assert!(held.held > 2 * 5000, "the responses count: {held:?}");
    stage.reset(&gone);
    stage.pass();
    assert!(!stage.holds(&gone));
    stage.finish(&half);
    stage.pass();
    assert!(stage.holds(&half), "it may still read");
    stage.wait(DELAY);
    assert_eq!(Answer::parse(&stage.heard(&half)).status, 401);
    stage.pass();
    assert!(!stage.holds(&half));
    is_back_to_baseline(&stage);
}

/// Delayed responses hold the places of opening handshakes, and are replaced when there are too many: first those of the
/// address that has the most of them.
#[test]
fn delayed_responses_have_a_limited_number_of_places() {
    let config = any_origin().limits(|limits| limits.max_handshakes = 20);
    let mut stage = stage(config, Door);
    let slow = stage.connect_from([127, 0, 0, 2]);
    let mut guesses = Vec::new();
    for _ in 0..100 {
        let guess = stage.connect();
        stage.send(&guess, &wrong());
        stage.pass();
        guesses.push(guess);
    }
    assert!(stage.holds(&slow));
    assert_eq!(stage.event_loop.snapshot().connecting, 20);
    assert_eq!(stage.event_loop.snapshot().paused, 19);
    assert_eq!(guesses.iter().filter(|guess| stage.holds(guess)).count(), 19);
    stage.send(&slow, &[request(""), frame(0x81, b"hi")].concat());
    stage.pass();
    assert_eq!(show(&stage.heard(&slow)), show(&[SWITCHING, b"\x81\x02hi"].concat()));
    // While handshakes are crowded, each has 2.5 s, which is still longer than the delay.
    stage.wait(DELAY);
    let answered = guesses.iter().filter(|guess| !stage.heard(guess).is_empty()).count();
    assert_eq!(answered, 19);
    let guesses: Vec<&Actor> = guesses.iter().chain([&slow]).collect();
    leave_all(&mut stage, &guesses);
}

/// R13, over real sockets: a stop does not wait for delayed responses, and does not send them.
#[test]
fn a_server_stops_with_delayed_responses() {
    let config = any_origin().timeouts(|timeouts| timeouts.handshake = Duration::from_secs(10_000));
    let server = TestServer::start(config, Door);
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(server.address)).collect();
    for client in &mut clients {
        client.send(b"GET /late/5000 HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    server.wait_for("all are delayed", |now| now.held.paused == 10);
    server.handle.shutdown(Duration::from_secs(1000)).expect("it runs");
    server.wait_for("it has stopped", |now| now.stopped);
    for client in &mut clients {
        client.expect_end(b"");
    }
}
