//! Random sequences of plain requests on connections that are kept, and of responses that are delayed.

#[path = "../../support/script.rs"]
mod script;

use std::net::SocketAddr;
use std::time::Duration;

use framewise::config::{Config, OriginPolicy};
use framewise::{Decision, Dispatcher, Message, Outbox, Request, Response, Snapshot};
use framewise_properties::{cases, request};
use proptest::prelude::*;
use script::{Actor, Stage};

const MAX_HANDSHAKES: usize = 6;

/// Responds to a plain request with its path, and delays it below `/late/`.
struct Site;

impl Dispatcher for Site {
    fn on_request(&mut self, request: &Request<'_>, _: SocketAddr) -> Decision {
        let path = request.path();
        let response = Response::new(200, "text/plain", path);
        match path.strip_prefix("/late/") {
            _ if request.is_handshake() => Decision::ACCEPT,
            Some(_) => Decision::Respond(response.delayed(Duration::from_secs(2))),
            None => Decision::Respond(response),
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, message: Message<'_>) {
        outbox.reply(message);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Connect(u8),
    /// The client sends this many plain requests.
    Ask(usize, usize),
    /// The response to this request is delayed.
    AskLate(usize),
    /// The client sends the beginning of a request. The rest comes with the next request.
    Begin(usize),
    Upgrade(usize),
    Finish(usize),
    Reset(usize),
    /// The socket of the client takes this many more bytes, or any number.
    Room(usize, Option<usize>),
    Wait(u64),
    CloseAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0usize..12;
    let step = prop_oneof![
        6 => (0u8..3).prop_map(Step::Connect),
        8 => (who.clone(), 1usize..30).prop_map(|(who, count)| Step::Ask(who, count)),
        2 => who.clone().prop_map(Step::AskLate),
        2 => who.clone().prop_map(Step::Begin),
        2 => who.clone().prop_map(Step::Upgrade),
        1 => who.clone().prop_map(Step::Finish),
        1 => who.clone().prop_map(Step::Reset),
        4 => (who, proptest::option::of(0usize..3000)).prop_map(|(who, room)| Step::Room(who, room)),
        3 => (0u64..16).prop_map(Step::Wait),
        1 => Just(Step::CloseAll),
    ];
    proptest::collection::vec(step, 0..100)
}

/// A client, how many requests it has sent, whether it has sent a part of the next one, and the bytes that it got.
struct Client {
    actor: Actor,
    sent: usize,
    has_begun: bool,
    heard: Vec<u8>,
}

impl Client {
    /// Returns the rest of the next request of this client.
    fn next(&mut self, kind: &str) -> Vec<u8> {
        let begin = if std::mem::take(&mut self.has_begun) { "" } else { "GET " };
        self.sent += 1;
        format!("{begin}/{kind}/{} HTTP/1.1\r\nHost: h\r\n\r\n", self.sent).into_bytes()
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// H24: the responses to each client are in order and without a gap, the places for connections without a WebSocket are
    /// limited, and in the end everything is released.
    #[test]
    fn responses_are_in_order_and_everything_is_released(steps in steps()) {
        let config = Config::default()
            .handshake(|handshake| handshake.origins = OriginPolicy::Any)
            .limits(|limits| {
                limits.max_output = 4096;
                limits.read_buffer = 1024;
                limits.max_handshakes = MAX_HANDSHAKES;
                limits.max_requests = 40;
            });
        let mut stage = Stage::new(config.validate().expect("valid"), Site);
        let mut clients = Vec::<Client>::new();
        for step in steps {
            act(&mut stage, &mut clients, step);
            for client in &mut clients {
                client.heard.extend(stage.heard(&client.actor));
            }
            let now = stage.event_loop.snapshot();
            prop_assert!(now.connecting <= MAX_HANDSHAKES, "{:?}", now);
            prop_assert!(now.queued <= clients.len() * 8192, "{:?}", now);
        }
        for client in &clients {
            are_in_order(&client.heard, client.sent);
        }
        stage.event_loop.close_all();
        for _ in 0..3 {
            stage.wait(Duration::from_secs(20));
        }
        prop_assert_eq!(stage.event_loop.snapshot(), Snapshot::default());
        prop_assert_eq!(stage.event_loop.next_deadline(), None);
    }
}

fn act(stage: &mut Stage<Site>, clients: &mut Vec<Client>, step: Step) {
    let count = clients.len().max(1);
    let mut with = |n: usize, act: &mut dyn FnMut(&mut Client)| {
        if let Some(client) = clients.get_mut(n % count) {
            act(client);
        }
    };
    match step {
        Step::Connect(address) => {
            let actor = stage.connect_from([127, 0, 0, 1 + address]);
            clients.push(Client { actor, sent: 0, has_begun: false, heard: Vec::new() });
        }
        Step::Ask(n, count) => with(n, &mut |client| {
            let wire: Vec<u8> = (0..count).flat_map(|_| client.next("page")).collect();
            stage.send(&client.actor, &wire);
        }),
        Step::AskLate(n) => with(n, &mut |client| {
            let wire = client.next("late");
            stage.send(&client.actor, &wire);
        }),
        Step::Begin(n) => with(n, &mut |client| {
            if !std::mem::replace(&mut client.has_begun, true) {
                stage.send(&client.actor, b"GET ");
            }
        }),
        Step::Upgrade(n) => with(n, &mut |client| stage.send(&client.actor, &request("/"))),
        Step::Finish(n) => with(n, &mut |client| stage.finish(&client.actor)),
        Step::Reset(n) => with(n, &mut |client| stage.reset(&client.actor)),
        Step::Room(n, room) => with(n, &mut |client| stage.make_room(&client.actor, room)),
        Step::Wait(seconds) => stage.wait(Duration::from_secs(seconds)),
        Step::CloseAll => stage.event_loop.close_all(),
    }
    stage.pass();
}

/// Checks the bytes of a client: responses to its requests 1, 2, ..., of which the last one may be cut or a refusal.
/// Frames may follow a 101.
fn are_in_order(heard: &[u8], sent: usize) {
    let text = String::from_utf8_lossy(heard);
    let mut rest = &*text;
    let mut expected = 1;
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        if !head.starts_with("HTTP/1.1 200 ") {
            assert!(
                head.starts_with("HTTP/1.1 101 ") || head.starts_with("HTTP/1.1 400 "),
                "{head}"
            );
            return;
        }
        let length = head.split("Content-Length: ").nth(1).expect("a length");
        let length: usize = length.split("\r\n").next().expect("a line").parse().expect("a number");
        let Some(body) = after.get(..length) else { return };
        let number = body.rsplit('/').next().expect("a number");
        assert_eq!(number, expected.to_string());
        assert!(expected <= sent);
        expected += 1;
        rest = &after[length..];
        assert!(head.contains("\r\nConnection: keep-alive") || rest.is_empty(), "{head}{rest}");
    }
}
