//! The binary as a process: signals, settings, language, ports in use, closed outputs.

mod support;

use framewise::CloseCode;
use support::{SERVE, Serve, framewise, framewise_with_hangup};

#[test]
fn a_signal_drains_and_a_second_one_stops_at_once() {
    for signal in ["INT", "TERM", "HUP"] {
        let mut serve = Serve::start_with(&mut framewise_with_hangup(&SERVE));
        let mut peer = serve.connect("/ws");
        serve.signal(signal);
        let closed = peer.closed();
        assert_eq!(
            (closed.code, closed.reason.as_str()),
            (CloseCode::GOING_AWAY, "the server stops")
        );
        assert!(serve.wait().success());
    }
    let mut serve = Serve::start(&[]);
    // Somebody who never answers the Close.
    let _silent = serve.connect("/ws");
    serve.signal("INT");
    assert!(serve.line().starts_with("Stopping"));
    serve.signal("INT");
    assert_eq!(serve.wait().code(), Some(130));
}

#[test]
fn the_language_is_that_of_the_environment() {
    let start = |value: &str| {
        let mut command = framewise(&["serve", "--host", "127.0.0.1", "--port", "0"]);
        Serve::start_with(command.env("LANG", value)).greeting.clone()
    };
    assert!(start("pt_BR.UTF-8")[0].starts_with("Servidor da turma em http://127.0.0.1:"));
    assert!(start("C")[0].starts_with("Classroom server on http://127.0.0.1:"));
}

#[test]
fn help_and_usage_errors_are_in_the_language_of_the_environment() {
    let run = |arguments: &[&str], lang: &str| {
        let output = framewise(arguments).env("LANG", lang).output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8(text).expect("text"), output.status.code())
    };
    let (help, code) = run(&["serve", "--help"], "pt_BR.UTF-8");
    assert!(help.contains("Uso: framewise serve [OPÇÕES]"), "{help}");
    assert_eq!(code, Some(0));
    let (error, code) = run(&["serve", "--prot", "1"], "pt_BR.UTF-8");
    assert!(error.starts_with("erro: não existe a opção '--prot'\n  talvez: --port\n"), "{error}");
    assert_eq!(code, Some(2));
    let (error, code) = run(&["serve", "--prot", "1"], "C");
    assert!(error.starts_with("error: unexpected argument '--prot'"), "{error}");
    assert_eq!(code, Some(2));
}

#[test]
fn what_cannot_work_is_one_clear_line() {
    let taken = Serve::start(&[]);
    let port = taken.address.port().to_string();
    for (arguments, words, code) in [
        (vec!["--host", "127.0.0.1", "--port", &port], port.as_str(), 1),
        (vec!["--host", "no.such.host.invalid"], "no.such.host.invalid", 1),
        (vec!["--max-message", "0"], "max_message", 1),
        (vec!["--port", "70000"], "70000", 2),
        (vec!["--rate", "fast"], "fast", 2),
        (vec!["--token", ""], "--token", 2),
        (vec!["--token", "sénha"], "--token", 2),
    ] {
        let output = framewise(&["serve"]).args(&arguments).output().expect("it runs");
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn outputs_that_nobody_reads_cost_lines_and_not_the_server() {
    let mut command = framewise(&[
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--rate",
        "0",
        "--log-level",
        "debug",
    ]);
    let serve = Serve::start_unread(&mut command);
    let mut peer = serve.connect("/echo");
    // Several times what the pipe of the log holds.
    for _ in 0..5_000 {
        assert_eq!(peer.send("a").text(), "Echo: a");
    }
}

/// A result that cannot be written is an error, unless its reader has ended.
#[test]
fn a_full_disk_is_an_error() {
    let serve = Serve::start(&[]);
    let echo = format!("ws://{}/echo", serve.address);
    let load = ["load", &echo, "--peers", "1", "--duration", "1", "--rate", "1"];
    // Alone in a room, a client gets no message.
    let room = format!("ws://{}/ws", serve.address);
    let connect = ["connect", &room, "--json", "-x", "a"];
    for (arguments, code) in [
        (&["explain", "8100"][..], 2),
        (&["settings"], 1),
        (&["completions", "bash"], 1),
        (&["--help"], 1),
        (&["--version"], 1),
        (&["serve", "--help", "--lang", "pt"], 1),
        (&load, 1),
        (&connect, 1),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
        let output = framewise(arguments).stdout(full).output().expect("it runs");
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(error.contains("(os error 28)"), "{arguments:?}: {error}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");

        let (reader, gone) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = framewise(arguments).stdout(gone).output().expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!error.contains("os error"), "{arguments:?}: {error}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn localhost_is_both_families_and_the_page_says_where() {
    let serve = Serve::start_with(&mut framewise(&["serve", "--port", "0"]));
    let addresses: Vec<&str> = serve
        .greeting
        .iter()
        .filter_map(|line| line.rsplit_once("http://"))
        .map(|pair| pair.1)
        .collect();
    let port = |address: &str| address.rsplit_once(':').expect("a port").1.to_owned();
    assert!(addresses[0].starts_with("127.0.0.1:"));
    // Machines without ::1 have one line.
    if let Some(second) = addresses.get(1) {
        assert!(second.starts_with("[::1]:"), "{addresses:?}");
        assert_eq!(port(addresses[0]), port(second));
    }
    for address in addresses {
        let url = format!("ws://{address}/echo");
        assert!(framewise::Client::connect(&url).is_ok(), "{url}");
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = framewise(&["completions", shell]).output().expect("it runs");
        let script = String::from_utf8(output.stdout).expect("text");
        for word in
            ["serve", "connect", "explain", "export", "load", "relay", "replay", "allow-origin"]
        {
            assert!(script.contains(word), "{word} in the completions of {shell}");
        }
    }
    let folder = std::env::temp_dir().join(format!("framewise-man-{}", std::process::id()));
    for (lang, words) in
        [("en", "Start the classroom server"), ("pt", "Inicia o servidor da turma")]
    {
        let output = framewise(&["man", "--lang", lang]).arg(&folder).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let page = std::fs::read_to_string(folder.join("framewise-serve.1")).expect("a page");
        assert!(page.contains(words), "{page}");
        for command in [
            "serve",
            "connect",
            "explain",
            "export",
            "load",
            "relay",
            "replay",
            "completions",
            "man",
        ] {
            let page = folder.join(format!("framewise-{command}.1"));
            assert!(page.exists(), "{}", page.display());
        }
    }
    std::fs::remove_dir_all(folder).expect("the folder");
}
