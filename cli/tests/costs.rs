//! A client of `framewise serve` pays for the work that it causes, and takes turns with the others.
//!
//! The tests judge by the order in which the server answers, which does not depend on how fast this machine is. They stop the
//! server, give it work for all its clients at once, and let it go on.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use support::bare::{Bare, Options};
use support::{PATIENCE, Serve};

/// How many clients make work at the same time.
const BUSY: usize = 40;

/// Lets this process and the servers that it starts have as many file descriptors as the operating system permits.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the hard limit is allowed");
}

/// Opens a connection that offers the subprotocol, and so receives news about others.
fn with_presence(serve: &Serve, path: &str) -> Bare {
    Bare::open(serve.address, path, Options { presence: true, ..Options::default() })
}

fn open(serve: &Serve, path: &str) -> Bare {
    Bare::open(serve.address, path, Options::default())
}

fn join_as(name: &str) -> String {
    json!({"type": "join", "name": name}).to_string()
}

/// Reads messages until one has this text, and returns how many of the others have this type.
fn count_before(client: &mut Bare, text: &str, kind: &str) -> usize {
    let mut count = 0;
    loop {
        let event = client.json();
        if event["message"] == text {
            return count;
        }
        count += usize::from(event["type"] == kind);
    }
}

/// Returns the value of a metric without labels.
fn metric(serve: &Serve, name: &str) -> usize {
    let metrics = serve.http("/metrics", "");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

/// In a room of 2,000, clients that ask `who` as fast as they can, and clients that talk as fast as they can, have one request
/// served in each pass. So a message that a bystander sends at the same time is not behind all of theirs.
#[test]
fn nobody_waits_for_all_requests_of_others() {
    const MEMBERS: usize = 2_000;
    const REQUESTS: usize = 150;
    raise_descriptor_limit();
    let serve = Serve::start(&["--ping-interval", "0"]);
    let members: Vec<Bare> = (0..MEMBERS)
        .map(|n| {
            let mut member = open(&serve, "/ws/events");
            let name = format!("{n:04} {}", "é".repeat(40));
            member.send(&[&join_as(&name)]);
            assert_eq!(member.json()["name"], name);
            member
        })
        .collect();
    let mut bystander = open(&serve, "/ws/events");
    let mut echo = open(&serve, "/echo");

    let mut asking: Vec<Bare> = (0..BUSY).map(|_| open(&serve, "/ws/events")).collect();
    serve.stop();
    asking.iter_mut().for_each(|client| client.send(&[r#"{"type": "who"}"#; REQUESTS]));
    bystander.send(&[r#"{"message": "now"}"#]);
    serve.signal("CONT");
    for client in &mut asking {
        let before = count_before(client, "now", "who");
        assert!(before <= 2, "{before} answers came first");
    }
    for _ in 0..20 {
        echo.send(&["still there?"]);
        assert_eq!(echo.text(), "Echo: still there?");
    }
    // A long answer is cut, and counts the rest.
    let answer = loop {
        let event = asking[0].json();
        if event["type"] == "who" {
            break event;
        }
    };
    assert_eq!(answer["names"].as_array().map(Vec::len), Some(1_000));
    assert_eq!((&answer["more"], &answer["unnamed"]), (&json!(1_000), &json!(BUSY + 1)));
    drop(asking);

    let mut talking: Vec<Bare> = (0..BUSY).map(|_| open(&serve, "/ws/events")).collect();
    let mut listening = open(&serve, "/ws");
    serve.stop();
    talking.iter_mut().for_each(|client| client.send(&[r#"{"message": "oi"}"#; REQUESTS]));
    bystander.send(&[r#"{"message": "and now"}"#]);
    serve.signal("CONT");
    let mut before = 0;
    while listening.text() != "and now" {
        before += 1;
    }
    assert!(before <= 2 * BUSY, "{before} messages came first");
    echo.send(&["still there?"]);
    assert_eq!(echo.text(), "Echo: still there?");
    drop(members);
}

/// Sends the same requests at once, and returns how many of them were answered before the client was told that it is read more
/// slowly. `None` means that it never was.
fn answers_before_slowed_down(
    client: &mut Bare,
    requests: &[&str],
    is_answer: impl Fn(&Value) -> bool,
) -> Option<usize> {
    client.send(requests);
    let (mut answers, mut slowed_after) = (0, None);
    while answers < requests.len() {
        let event = client.json();
        if event["type"] == "slowed_down" {
            slowed_after = Some(answers);
        }
        answers += usize::from(is_answer(&event));
    }
    slowed_after
}

/// Work for many costs more than one message: the list of a large room, a message to it, a new name that it hears of, and a name
/// for which a free one is searched.
#[test]
fn work_for_many_costs_more() {
    const MEMBERS: usize = 400;
    raise_descriptor_limit();
    // 60 messages may come at once, so 30 of one client are within its budget if nothing else costs.
    let serve = Serve::start(&[
        "--ping-interval",
        "0",
        "--rate",
        "30",
        "--rate-bytes",
        "100000",
        "--max-message",
        "200000",
    ]);
    let _members: Vec<Bare> = (1..=MEMBERS)
        .map(|n| {
            let mut member = with_presence(&serve, "/ws/events?room=7a");
            let name = if n == 1 { "ana".to_owned() } else { format!("ana {n}") };
            member.send(&[&join_as(&name)]);
            while member.json()["name"] != name {}
            member
        })
        .collect();
    let is_who = |event: &Value| event["type"] == "who";
    let is_error = |event: &Value| event["type"] == "error";
    let who = &[r#"{"type": "who"}"#; 30];
    let talk = |text: &str| {
        [vec![json!({"message": text}).to_string(); 30], vec!["{}".to_owned()]].concat()
    };

    let mut quiet = open(&serve, "/ws/events?room=8b");
    assert_eq!(answers_before_slowed_down(&mut quiet, who, is_who), None);
    let mut asks = open(&serve, "/ws/events?room=7a");
    assert!(answers_before_slowed_down(&mut asks, who, is_who).is_some());

    // The error at the end comes after everything else. A message of 5 kB to 400 members costs as much as 25 kB.
    for (room, text, is_slowed) in
        [("8b", "oi", false), ("7a", "oi", true), ("8b", &*"a".repeat(5_000), false)]
    {
        let mut talker = open(&serve, &format!("/ws/events?room={room}"));
        let messages = talk(text);
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        talker.send(&messages);
        let first = talker.json();
        assert_eq!(first["type"] == "slowed_down", is_slowed, "{room}: {first}");
        assert!(is_error(&if is_slowed { talker.json() } else { first }));
    }
    let mut talker = open(&serve, "/ws/events?room=7a");
    let long = json!({"message": "a".repeat(10_000)}).to_string();
    talker.send(&[&long, &long, &long, &long, &long, &long, "{}"]);
    assert_eq!(talker.json()["type"], "slowed_down");
    assert!(is_error(&talker.json()));

    let mut renamed = open(&serve, "/ws/events?room=7a");
    let names = ["rui 1", "rui 2", "rui 3", "rui 4", "rui 5"].map(join_as);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let is_joined = |event: &Value| event["type"] == "joined";
    assert!(answers_before_slowed_down(&mut renamed, &names[..4], is_joined).is_some());
    let mut alone = open(&serve, "/ws/events?room=8b");
    assert_eq!(answers_before_slowed_down(&mut alone, &names[4..], is_joined), None);

    let mut taken = open(&serve, "/ws/events?room=8b");
    let taken_name = join_as("ana");
    assert!(answers_before_slowed_down(&mut taken, &[&*taken_name; 10], is_error).is_some());
    let mut other = open(&serve, "/ws/events?room=8b");
    let other_name = join_as("rui 4");
    assert_eq!(answers_before_slowed_down(&mut other, &[&*other_name; 10], is_error), None);
}

/// Clients that send nothing but faults are slowed down. Each fault is answered, and nobody else waits.
#[test]
fn faults_are_answered_and_cost() {
    const FAULTS: usize = 300;
    let serve = Serve::start(&["--ping-interval", "0"]);
    let mut echo = open(&serve, "/echo");
    let mut faulty: Vec<Bare> = (0..BUSY).map(|_| open(&serve, "/ws/events")).collect();
    serve.stop();
    faulty.iter_mut().for_each(|client| client.send(&["{"; FAULTS]));
    serve.signal("CONT");
    thread::scope(|scope| {
        for client in &mut faulty {
            scope.spawn(|| {
                let mut kinds = (0, 0);
                while kinds != (FAULTS, 1) {
                    let event = client.json();
                    match event["type"].as_str() {
                        Some("error") => kinds.0 += 1,
                        Some("slowed_down") => kinds.1 += 1,
                        _ => panic!("{event}"),
                    }
                }
            });
        }
        for _ in 0..20 {
            echo.send(&["still there?"]);
            assert_eq!(echo.text(), "Echo: still there?");
        }
    });
    assert!(metric(&serve, "framewise_slowed_down_total") >= BUSY);
}

/// Clients that come, take a name, change rooms and go, again and again: a bystander's messages are answered, the watchers of the
/// room hear of each one that came that it also went, and no connection is lost.
#[test]
fn churn_costs_nobody_a_message() {
    const ROUNDS: usize = 5;
    const WATCHERS: usize = 100;
    let (serve, log) = Serve::start_logged(&["--ping-interval", "0"]);
    let mut watchers: Vec<Bare> =
        (0..WATCHERS).map(|_| with_presence(&serve, "/ws/events?room=7a")).collect();
    let mut echo = open(&serve, "/echo");
    let mut last = open(&serve, "/ws/events?room=7a");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let churning: Vec<_> = (0..BUSY)
            .map(|n| {
                let serve = &serve;
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let mut client = open(serve, "/ws/events");
                        let name = format!("aluno {n}");
                        let join = json!({"type": "join", "room": "7a", "name": name}).to_string();
                        // The name is taken until the server has seen that the connection before is closed.
                        let joined = loop {
                            client.send(&[&join]);
                            let event = client.json();
                            if event["type"] == "joined" {
                                break event;
                            }
                        };
                        assert_eq!(joined["name"], name);
                        client.send(&[r#"{"type": "leave"}"#, &join]);
                        for kind in ["left", "joined"] {
                            while client.json()["type"] != kind {}
                        }
                    }
                })
            })
            .collect();
        let bystander = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(Ordering::SeqCst) {
                echo.send(&["still there?"]);
                assert_eq!(echo.text(), "Echo: still there?");
                count += 1;
            }
            count
        });
        let results: Vec<_> = churning.into_iter().map(|client| client.join()).collect();
        is_over.store(true, Ordering::SeqCst);
        assert!(results.iter().all(Result::is_ok), "each client was answered");
        assert!(bystander.join().expect("it was answered") > 0);
    });
    let began = std::time::Instant::now();
    while serve.json("/health")["connections"] != WATCHERS as u64 + 2 {
        assert!(began.elapsed() < PATIENCE, "{}", serve.json("/health"));
    }
    last.send(&[r#"{"message": "over"}"#]);
    for watcher in &mut watchers {
        let mut news = (0, 0);
        loop {
            let event = watcher.json();
            if event["message"] == "over" {
                break;
            }
            let kind = event["type"].as_str().expect("a type");
            // Those without a name are other watchers.
            if event.get("name").is_some() {
                news.0 += usize::from(kind.ends_with("joined"));
                news.1 += usize::from(kind.ends_with("left"));
            }
        }
        assert_eq!(news, (2 * BUSY * ROUNDS, 2 * BUSY * ROUNDS));
    }
    assert!(log.try_iter().all(|line| !line.contains("code=1008")));
}
