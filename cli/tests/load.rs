//! `framewise load`: counts, faults by kind, and whom it refuses to load.

mod support;

use std::io::BufRead;

use framewise::{Dispatcher, Outbox, Server};
use serde_json::Value;
use support::{Serve, framewise};

#[test]
fn counts_what_it_sent_and_what_came_back() {
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0"]);
    let url = format!("ws://{}/echo", serve.address);
    for rate in ["0", "50"] {
        let output = framewise(&[
            "load",
            &url,
            "--peers",
            "20",
            "--rate",
            rate,
            "--duration",
            "1",
            "--json",
        ])
        .output()
        .expect("it runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(output.status.success(), "{report}");
        assert_eq!(report["peers"], 20);
        assert!(report["sent"].as_u64().expect("a number") >= 20);
        assert_eq!(report["sent"], report["received"], "{report}");
        assert_eq!(report["latency_ms"]["answers"], report["received"]);
        assert_eq!(report["faults"], serde_json::json!({}));
    }
}

#[test]
fn faults_are_counted_by_kind() {
    let serve = Serve::start(&[
        "--rate",
        "0",
        "--rate-bytes",
        "0",
        "--max-connections",
        "5",
        "--max-message",
        "10",
    ]);
    let url = format!("ws://{}/echo", serve.address);
    let output = framewise(&["load", &url, "--peers", "8", "--duration", "1", "--json"])
        .output()
        .expect("it runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1));
    let faults = report["faults"].as_object().expect("faults");
    let of = |part: &str| -> u64 {
        let found = faults.iter().filter(|(kind, _)| kind.contains(part));
        found.map(|(_, count)| count.as_u64().expect("a number")).sum()
    };
    assert_eq!((of("503"), of("1009")), (3, 5), "{report}");
}

#[test]
fn what_is_never_answered_is_a_fault_unless_nothing_was_to_be() {
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0"]);
    let url = format!("ws://{}/ws", serve.address);
    let run = |more: &[&str]| {
        let mut command = framewise(&["load", &url, "--duration", "1", "--json"]);
        let output = command.args(more).output().expect("it runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (report, output.status.code())
    };
    // Nobody else is there.
    let (report, code) = run(&["--peers", "1"]);
    assert_eq!((&report["unanswered"], code), (&report["sent"], Some(1)), "{report}");
    let (report, code) = run(&["--peers", "3", "--broadcast"]);
    let sent = report["sent"].as_u64().expect("a number");
    assert_eq!((report["received"].as_u64(), code), (Some(2 * sent), Some(0)), "{report}");
    assert_eq!(report["latency_ms"]["answers"], 0);
}

#[test]
fn an_answer_that_is_missing_is_not_taken_for_the_next() {
    /// Replies to every other message.
    #[derive(Default)]
    struct Half(bool);

    impl Dispatcher for Half {
        fn on_message(&mut self, outbox: &mut Outbox<'_>, message: framewise::Message<'_>) {
            self.0 = !self.0;
            if self.0 {
                outbox.reply(message);
            }
        }
    }

    let config = framewise::Config::default().listen("127.0.0.1", 0);
    let mut server = Server::bind(config, Half::default()).expect("a free port");
    let url = format!("ws://{}", server.local_addr().expect("bound"));
    let handle = server.handle();
    let running = std::thread::spawn(move || server.run());
    let mut command = framewise(&["load", &url, "--peers", "1", "--rate", "60", "--duration", "2"]);
    let output = command.arg("--json").output().expect("it runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let of = |name: &str| report[name].as_u64().expect("a number");
    assert_eq!(of("unanswered"), of("sent") - of("received"), "{report}");
    assert!(of("unanswered") > 0, "{report}");
    // A message that was dropped is half a second older than the one that is answered next.
    assert!(report["latency_ms"]["p50"].as_f64().expect("a number") < 250.0, "{report}");
    handle.shutdown(std::time::Duration::ZERO).expect("it runs");
    running.join().expect("no panic").expect("it ran");
}

#[test]
fn latencies_are_what_they_are() {
    let serve = Serve::start(&[]);
    let mut relay =
        framewise(&["relay", "127.0.0.1:0", &serve.address.to_string(), "--latency", "100"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
    let mut line = String::new();
    let stdout = relay.stdout.take().expect("a pipe");
    std::io::BufReader::new(stdout).read_line(&mut line).expect("a line");
    let url = format!("ws://{}/echo", line.split(' ').nth(1).expect("an address"));
    let output = framewise(&["load", &url, "--peers", "2", "--duration", "1", "--json"]).output();
    relay.kill().and_then(|()| relay.wait()).expect("it ends");
    let report: Value = serde_json::from_slice(&output.expect("it runs").stdout).expect("JSON");
    // Twice the latency of one way, and nothing shows less.
    let p50 = report["latency_ms"]["p50"].as_f64().expect("a number");
    assert!((200.0..10_000.0).contains(&p50), "{report}");
}

#[test]
fn the_longest_message_comes_back() {
    let serve = Serve::start(&["--rate", "0", "--rate-bytes", "0"]);
    let url = format!("ws://{}/echo", serve.address);
    let output = framewise(&["load", &url, "--peers", "2", "--size", "1048576", "--duration", "1"])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_server_elsewhere_is_not_loaded() {
    let output =
        framewise(&["load", "ws://192.0.2.1:8765/", "--lang", "pt"]).output().expect("it runs");
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("--yes-i-own-this-server") && error.contains("192.0.2.1"), "{error}");
}
