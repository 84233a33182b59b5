//! The whole program: a short run against a real server has no violation, and each way to spoil its stream is reported.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use soak::server;
use soak::spoil::Spoil;

/// The server, built once for all tests of this file.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| server::build().expect("the server builds"))
}

/// Runs a crowd of 40 and returns the exit code and what it printed.
fn soak(arguments: &[&str]) -> (Option<i32>, String) {
    soak_with(program(), arguments)
}

fn soak_with(server: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.arg("--server").arg(server).args(["--clients", "40", "--seed", "7"]);
    let output = command.args(arguments).output().expect("it starts");
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

/// Runs with a spoilt stream until it is noticed, and expects a violation of this kind with its history.
fn reports(spoil: Spoil, kind: &str, seconds: &str) {
    let (code, output) = soak(&["--seconds", seconds, "--spoil", spoil.name()]);
    let is_due = |line: &str| line.starts_with("seed 7, connection #") && line.contains(kind);
    let found = output.lines().position(is_due);
    let found = found.unwrap_or_else(|| panic!("no violation {kind}:\n{output}"));
    let history = output.lines().nth(found + 1).unwrap_or_default();
    assert!(history.starts_with("  ") && history.contains('#'), "no history:\n{output}");
    assert!(output.contains("spoiled on purpose"), "{output}");
    assert_eq!(code, Some(1), "{output}");
}

#[test]
fn a_short_run_has_no_violation() {
    let (code, output) = soak(&["--seconds", "4"]);
    assert_eq!(code, Some(0), "{output}");
    let count = |name: &str| -> u64 {
        let line = output.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().next_back()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name}:\n{output}"))
    };
    assert_eq!(count("violations"), 0, "{output}");
    let deeds = ["joins and leaves", "messages sent", "messages received", "  certain to arrive"];
    for name in deeds.into_iter().chain(["fences checked", "views compared", "goodbyes (1001)"]) {
        assert!(count(name) > 0, "{name}:\n{output}");
    }
}

// A run ends at the first violation, so the time is only what it may take at most.

#[test]
fn a_dropped_message_is_reported() {
    reports(Spoil::Drop, ": missing: ", "120");
}

#[test]
fn a_second_delivery_is_reported() {
    reports(Spoil::Duplicate, ": duplicate: ", "120");
}

#[test]
fn a_wrong_order_of_one_sender_is_reported() {
    reports(Spoil::Reorder, ": reordered: ", "120");
}

/// The orders that members saw are compared at the end.
#[test]
fn contradictory_orders_of_two_senders_are_reported() {
    reports(Spoil::Disorder, ": disordered: ", "10");
}

#[test]
fn a_message_in_another_room_is_reported() {
    reports(Spoil::Leak, ": leaked: ", "120");
}

#[test]
fn a_private_message_at_a_second_client_is_reported() {
    reports(Spoil::Private, ": misdelivered: ", "120");
}

#[test]
fn another_content_is_reported() {
    reports(Spoil::Alter, ": altered: ", "120");
}

#[test]
fn a_server_that_does_not_start_is_a_failure() {
    let (code, output) = soak_with(Path::new("false"), &["--seconds", "2"]);
    assert_eq!(code, Some(1));
    assert!(output.contains("framewise serve ended"), "{output}");
}
