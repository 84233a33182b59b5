//! TLS at the command line: the certificate of the server and its replacement, and the commands that connect.

#![cfg(all(unix, feature = "tls"))]

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::Receiver;

use framewise::{Client, ClientRequest, Config, TlsClient, TlsStream, Url};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use support::{SERVE, Serve, framewise, line_with};

/// A folder with the certificate of a server and its key, which is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("framewise-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        let folder = Folder(path);
        folder.renew();
        folder
    }

    /// Writes a new certificate for `localhost` and 127.0.0.1, and its key.
    fn renew(&self) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let key = KeyPair::generate().expect("random numbers");
        let params = CertificateParams::new(names).expect("valid names");
        let certificate = params.self_signed(&key).expect("a certificate");
        self.write("cert.pem", certificate.pem());
        self.write("key.pem", key.serialize_pem());
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), text).expect("a file");
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("text").to_owned()
    }

    fn start(&self, arguments: &[&str]) -> (Serve, Receiver<String>) {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        let files = ["--tls-cert", &cert, "--tls-key", &key];
        Serve::start_logged(&[&files[..], arguments].concat())
    }

    /// Returns a client that trusts the certificate that is in the folder now.
    fn client(&self) -> TlsClient {
        let pem = std::fs::read(self.0.join("cert.pem")).expect("a file");
        TlsClient::with_ca(&pem).expect("a certificate")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn connect(serve: &Serve, tls: &TlsClient) -> Result<Client<TlsStream>, framewise::ConnectError> {
    let url = Url::parse(&format!("wss://localhost:{}/echo", serve.address.port())).expect("valid");
    let stream = tls.stream(&url).expect("a name");
    Client::open_over(&ClientRequest::new(url), Config::default(), stream, ())
}

fn echoes(client: &mut Client<TlsStream>) {
    assert!(client.send("oi").expect("it is sent"));
    let message = client.recv_message().expect("it works").expect("it is open");
    assert_eq!(message.as_str(), Some("Echo: oi"));
}

fn run(arguments: &[&str]) -> Output {
    framewise(arguments).output().expect("it runs")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

/// The certificate is replaced on SIGUSR1. A broken pair is reported and changes nothing. A connection keeps its certificate.
#[test]
fn a_certificate_is_replaced_on_a_signal() {
    let folder = Folder::new("signal");
    let (serve, log) = folder.start(&[]);
    assert!(serve.greeting[0].contains("https://"), "{:?}", serve.greeting);
    let old = folder.client();
    let mut open = connect(&serve, &old).expect("it is trusted");

    let key = std::fs::read(folder.0.join("key.pem")).expect("a file");
    folder.renew();
    folder.write("key.pem", key);
    serve.signal("USR1");
    let line = line_with(&log, "the old one stays in use");
    assert!(line.contains("the private key does not belong to the certificate"), "{line}");
    assert!(line.contains("WARN") && line.contains("cert.pem"), "{line}");
    assert!(connect(&serve, &old).is_ok());
    std::fs::remove_file(folder.0.join("cert.pem")).expect("it is there");
    serve.signal("USR1");
    assert!(line_with(&log, "the old one stays in use").contains("No such file"));
    assert!(connect(&serve, &old).is_ok());

    folder.renew();
    serve.signal("USR1");
    line_with(&log, "the TLS certificate was read again");
    assert!(connect(&serve, &folder.client()).is_ok());
    assert!(connect(&serve, &old).is_err(), "it is another one");
    echoes(&mut open);
}

/// The certificate is also replaced when its files change.
#[test]
fn a_certificate_is_replaced_when_its_files_change() {
    let folder = Folder::new("change");
    let (serve, log) = folder.start(&[]);
    let old = folder.client();
    assert!(connect(&serve, &old).is_ok());
    folder.renew();
    line_with(&log, "the TLS certificate was read again");
    assert!(connect(&serve, &folder.client()).is_ok());
    assert!(connect(&serve, &old).is_err());
}

/// Without files there is nothing to read again, and a reload does not end the server.
#[test]
fn without_files_the_signal_does_nothing() {
    for arguments in [&[][..], &["--tls-self-signed"]] {
        let mut serve = Serve::start(arguments);
        serve.signal("USR1");
        serve.signal("TERM");
        assert!(serve.wait().success());
    }
}

#[test]
fn settings_that_do_not_fit_together_are_errors() {
    let folder = Folder::new("settings");
    let other = Folder::new("settings-other");
    let (cert, key) = (folder.path("cert.pem"), folder.path("key.pem"));
    let (missing, stranger) = (folder.path("missing.pem"), other.path("key.pem"));
    let rows: &[(&[&str], &str)] = &[
        (&["--tls-cert", &cert], "--tls-cert needs --tls-key"),
        (&["--tls-key", &key], "--tls-key needs --tls-cert"),
        (
            &["--tls-cert", &cert, "--tls-key", &key, "--tls-self-signed"],
            "makes a certificate of its own",
        ),
        (&["--tls-cert", &missing, "--tls-key", &key], "missing.pem: No such file"),
        (&["--tls-cert", &cert, "--tls-key", &missing], "missing.pem: No such file"),
        (&["--tls-cert", &cert, "--tls-key", &stranger], "the private key does not belong"),
        (&["--tls-cert", &key, "--tls-key", &key], "there is no certificate in the PEM file"),
        (&["--tls-cert", &cert, "--tls-key", &cert], "there is no private key in the PEM file"),
        (&["--tls-key-log"], "--tls-key-log is only useful with TLS"),
        (&["--tls-self-signed", "--tls-key-log"], "set the environment variable SSLKEYLOGFILE"),
    ];
    for (arguments, words) in rows {
        let mut command = framewise(&SERVE);
        let output =
            command.args(*arguments).env_remove("SSLKEYLOGFILE").output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
    let output = run(&["serve", "--lang", "pt", "--tls-cert", &cert]);
    assert!(stderr(&output).contains("--tls-cert precisa de --tls-key"), "{}", stderr(&output));
}

/// `--tls-self-signed` prints the fingerprint of the certificate that clients get. The certificate is for the names and
/// addresses of this machine.
#[test]
fn a_certificate_of_its_own_has_a_fingerprint_and_names() {
    let serve = Serve::start(&["--tls-self-signed", "--allow-host", "sala.example"]);
    let line = serve.greeting.iter().find_map(|line| line.split_once("SHA-256: "));
    let (_, fingerprint) = line.expect("a line with the fingerprint");
    assert!(serve.greeting.iter().any(|line| line.contains("Firefox: ")), "{:?}", serve.greeting);
    let address = serve.address.to_string();
    let shown = Command::new("sh")
        .args([
            "-c",
            "openssl s_client -connect \"$0\" </dev/null 2>/dev/null | \
             openssl x509 -noout -fingerprint -sha256 -ext subjectAltName -enddate",
            &address,
        ])
        .output()
        .expect("openssl runs");
    let shown = stdout(&shown).to_owned();
    assert!(shown.contains(&format!("Fingerprint={fingerprint}")), "{shown}\n{fingerprint}");
    for name in ["DNS:localhost", "DNS:sala.example", "IP Address:127.0.0.1"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
    assert!(shown.contains("notAfter=") && !shown.contains("4096"), "{shown}");
}

/// `connect` with a CA file, without checking, with another name, and without trust.
#[test]
fn connect_verifies_the_server() {
    let folder = Folder::new("connect");
    let (serve, log) = folder.start(&[]);
    let ca = folder.path("cert.pem");
    let url = |host: &str| format!("wss://{host}:{}/echo", serve.address.port());
    let once =
        |url: &str, more: &[&str]| run(&[&["connect", "-1", "-x", "oi", url][..], more].concat());
    for host in ["localhost", "127.0.0.1"] {
        let output = once(&url(host), &["--ca", &ca]);
        assert_eq!((stdout(&output), output.status.code()), ("Echo: oi\n", Some(0)));
        assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
    }
    let output = once(&url("localhost"), &["--insecure"]);
    assert_eq!(stdout(&output), "Echo: oi\n");
    assert!(stderr(&output).starts_with("warning: --insecure: "), "{}", stderr(&output));
    let output = once(&url("127.0.0.1"), &["--ca", &ca, "--servername", "localhost"]);
    assert_eq!(stdout(&output), "Echo: oi\n");
    let output = once(&url("localhost"), &["--ca", &ca, "--servername", "sala.example"]);
    assert_eq!(output.status.code(), Some(1));
    let words = "the server's certificate is not for sala.example, but for localhost, 127.0.0.1";
    assert!(stderr(&output).contains(words), "{}", stderr(&output));
    let other = Folder::new("connect-other");
    let output = once(&url("localhost"), &["--ca", &other.path("cert.pem"), "--reconnect"]);
    assert_eq!(output.status.code(), Some(1), "another attempt would not help");
    assert!(stderr(&output).contains("is not trusted"), "{}", stderr(&output));
    assert!(line_with(&log, "TLS failed").contains("WARN"));
    let output = once(&url("localhost"), &["--ca", &folder.path("missing.pem")]);
    assert!(stderr(&output).contains("missing.pem: No such file"), "{}", stderr(&output));
    let output = once(&url("localhost"), &["--ca", &ca, "--insecure"]);
    assert_eq!(output.status.code(), Some(2), "one excludes the other");

    // Plain text on the port of TLS, and TLS on a plain port.
    let output = once(&format!("ws://{}/echo", serve.address), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(line_with(&log, "does not speak TLS").contains("TLS failed"));
    let plain = Serve::start(&[]);
    let output = once(&format!("wss://{}/echo", plain.address), &["--insecure"]);
    assert!(stderr(&output).contains("does not speak TLS"), "{}", stderr(&output));
}

/// The keys are written where `SSLKEYLOGFILE` says, after a warning, by the server and by a client.
#[test]
fn keys_are_logged_if_asked_for() {
    let folder = Folder::new("keys");
    let (of_server, of_client) = (folder.path("server.log"), folder.path("client.log"));
    let mut command = framewise(&SERVE);
    command.args(["--tls-self-signed", "--tls-key-log"]).env("SSLKEYLOGFILE", &of_server);
    let (serve, log) = Serve::start_logged_with(&mut command);
    assert!(line_with(&log, "--tls-key-log").contains("can decrypt"));
    let url = format!("wss://{}/echo", serve.address);
    let mut connect =
        framewise(&["connect", "-1", "-x", "oi", &url, "--insecure", "--tls-key-log"]);
    let output = connect.env("SSLKEYLOGFILE", &of_client).output().expect("it runs");
    assert_eq!(stdout(&output), "Echo: oi\n");
    assert!(stderr(&output).contains("warning: --tls-key-log: "), "{}", stderr(&output));
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).expect("a file");
    let keys = read(&of_client);
    assert!(keys.contains("CLIENT_TRAFFIC_SECRET_0 "), "{keys}");
    let mut both = [keys, read(&of_server)].map(|keys| {
        let mut lines: Vec<String> = keys.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    });
    both[0].retain(|line| !line.starts_with('#'));
    both[1].retain(|line| !line.starts_with('#'));
    assert_eq!(both[0], both[1], "the two sides have the same keys");
}

/// `load` over TLS, and why it fails where it cannot verify the server.
#[test]
fn load_works_over_tls() {
    let folder = Folder::new("load");
    let (serve, _log) = folder.start(&["--rate", "0", "--rate-bytes", "0"]);
    let url = format!("wss://localhost:{}/echo", serve.address.port());
    let ca = folder.path("cert.pem");
    let load = ["load", &url, "--peers", "20", "--rate", "0", "--size", "5000", "--duration", "1"];
    let output = run(&[&load[..], &["--json", "--ca", &ca]].concat());
    assert!(output.status.success(), "{} {}", stdout(&output), stderr(&output));
    let report: Value = serde_json::from_str(stdout(&output)).expect("JSON");
    assert_eq!(report["peers"], 20);
    assert!(report["received"].as_u64().expect("a number") >= 20, "{report}");
    assert_eq!(report["received"], report["sent"]);
    let other = Folder::new("load-other");
    let output = run(&[&load[..], &["--ca", &other.path("cert.pem")]].concat());
    assert!(!output.status.success());
    assert!(stderr(&output).contains("is not trusted"), "{}", stderr(&output));
}

/// A class over TLS is recorded in clear bytes. Its recording is replayed over TLS without a difference.
#[test]
fn a_recording_is_replayed_over_tls() {
    let folder = Folder::new("replay");
    let file = folder.path("class.jsonl");
    let ca = folder.path("cert.pem");
    let replay = |serve: &Serve, scheme: &str, more: &[&str]| {
        let url = format!("{scheme}://localhost:{}", serve.address.port());
        run(&[&["replay", &file, &url, "--fast"][..], more].concat())
    };
    // Pages of other sites are refused, so the Origin has to become that of the new server.
    let origin = ["--allow-origin", "same-host"];
    {
        let (mut serve, _log) = folder.start(&[&["--record", &file][..], &origin].concat());
        let origin = format!("Origin: https://localhost:{}", serve.address.port());
        let url = format!("wss://localhost:{}/echo", serve.address.port());
        let large = "x".repeat(100_000);
        let connect = ["connect", "-x", "oi", "-x", &large, "-H", &origin, &url, "--ca", &ca];
        let output = run(&connect);
        assert!(stdout(&output) == format!("Echo: oi\nEcho: {large}\n"), "{}", stderr(&output));
        // A connection that fails in the handshake of TLS has no bytes.
        assert!(!run(&["connect", "-x", "oi", &url]).status.success());
        serve.signal("TERM");
        assert!(serve.wait().success());
    }
    let recording = std::fs::read_to_string(&file).expect("a recording");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(recording.contains(&hex("GET /echo HTTP/1.1")), "{recording}");
    assert!(recording.contains(&hex("Echo: oi")), "{recording}");

    let (serve, log) = folder.start(&origin);
    let output = replay(&serve, "wss", &["--ca", &ca]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).starts_with("No difference: 2 connections"), "{}", stdout(&output));
    assert_eq!(stderr(&output), "");
    let output = replay(&serve, "wss", &["--insecure"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).starts_with("warning: --insecure: "), "{}", stderr(&output));

    // What keeps TLS from working is no difference.
    let other = Folder::new("replay-other");
    let output = replay(&serve, "wss", &["--ca", &other.path("cert.pem")]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("is not trusted"), "{}", stderr(&output));
    let output = replay(&serve, "wss", &["--ca", &ca, "--servername", "sala.example"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("is not for sala.example"), "{}", stderr(&output));
    let output = replay(&serve, "wss", &["--ca", &folder.path("missing.pem")]);
    assert!(stderr(&output).contains("missing.pem: No such file"), "{}", stderr(&output));
    let output = replay(&serve, "ws", &[]);
    assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
    assert!(line_with(&log, "does not speak TLS").contains("TLS failed"));

    // To a server without TLS.
    let plain = Serve::start(&origin);
    let output = replay(&plain, "ws", &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let output = replay(&plain, "wss", &["--insecure"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("does not speak TLS"), "{}", stderr(&output));
}

/// The handshake of TLS may be longer than what one read takes, and no readiness announces the rest.
#[test]
fn a_replay_reads_a_long_handshake() {
    let folder = Folder::new("long");
    let file = folder.path("class.jsonl");
    let mut record = Serve::start(&["--record", &file]);
    let url = format!("ws://{}/echo", record.address);
    assert_eq!(stdout(&run(&["connect", "-x", "oi", &url])), "Echo: oi\n");
    record.signal("TERM");
    assert!(record.wait().success());
    // A certificate with many names: about 40 KiB.
    let names = (0..1_500).map(|n| format!("computer-{n}.school.example"));
    let names: Vec<String> = names.chain(["localhost".to_owned()]).collect();
    let key = KeyPair::generate().expect("random numbers");
    let params = CertificateParams::new(names).expect("valid names");
    let certificate = params.self_signed(&key).expect("a certificate");
    folder.write("cert.pem", certificate.pem());
    folder.write("key.pem", key.serialize_pem());
    let (serve, _log) = folder.start(&[]);
    let url = format!("wss://localhost:{}", serve.address.port());
    let output = run(&["replay", &file, &url, "--fast", "--ca", &folder.path("cert.pem")]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

/// A relay passes TLS on as it is.
#[test]
fn a_relay_passes_tls_on() {
    let folder = Folder::new("relay");
    let (serve, _log) = folder.start(&[]);
    let mut relay =
        framewise(&["relay", "127.0.0.1:0", &serve.address.to_string(), "--slice", "7"]);
    relay.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut relay = relay.spawn().expect("it starts");
    let mut first = String::new();
    let mut said = std::io::BufReader::new(relay.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut said, &mut first).expect("a line");
    let port = first.split(':').nth(1).and_then(|rest| rest.split(' ').next()).expect("a port");
    let url = format!("wss://localhost:{port}/echo");
    let output = run(&["connect", "-1", "-x", "oi", &url, "--ca", &folder.path("cert.pem")]);
    relay.kill().expect("it runs");
    relay.wait().expect("it ends");
    assert_eq!(stdout(&output), "Echo: oi\n", "{first} {}", stderr(&output));
}

/// A relay to a server that speaks TLS injects its faults into the clear bytes, between a client without TLS and the server.
#[test]
fn a_relay_speaks_tls_to_its_target() {
    let folder = Folder::new("relay-to");
    let (serve, _log) = folder.start(&[]);
    let target = format!("wss://localhost:{}", serve.address.port());
    let start = |more: &[&str]| {
        let mut relay = framewise(&["relay", "127.0.0.1:0", &target]);
        relay.args(more).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut relay = relay.spawn().expect("it starts");
        let mut said = std::io::BufReader::new(relay.stdout.take().expect("a pipe"));
        let mut first = String::new();
        std::io::BufRead::read_line(&mut said, &mut first).expect("a line");
        let address = first.split(' ').nth(1).expect("an address").to_owned();
        (relay, said, address)
    };
    let ca = folder.path("cert.pem");
    let large = "x".repeat(100_000);
    let (mut relay, _said, address) = start(&["--ca", &ca]);
    let url = format!("ws://{address}/echo");
    let output = run(&["connect", "-x", &large, "-x", "oi", &url]);
    assert!(stdout(&output) == format!("Echo: {large}\nEcho: oi\n"), "{}", stderr(&output));
    relay.kill().and_then(|()| relay.wait()).expect("it runs");

    // A client sends a ping after its last line, and the relay drops the pong, which it could not see in encrypted bytes.
    let (mut relay, mut said, address) = start(&["--ca", &ca, "--drop-pong"]);
    let url = format!("ws://{address}/echo");
    let mut client = framewise(&["connect", "-x", "oi", &url]);
    client.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut client = client.spawn().expect("it starts");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
    assert!(line.contains("pong"), "{line}");
    client.kill().and_then(|()| client.wait()).expect("it runs");
    relay.kill().and_then(|()| relay.wait()).expect("it runs");

    // A server that cannot be verified.
    let other = Folder::new("relay-to-other");
    let (mut relay, _said, address) = start(&["--ca", &other.path("cert.pem")]);
    let output = run(&["connect", "-x", "oi", &format!("ws://{address}/echo")]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let mut errors = std::io::BufReader::new(relay.stderr.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut errors, &mut line).expect("a line");
    assert!(line.contains("is not trusted"), "{line}");
    relay.kill().and_then(|()| relay.wait()).expect("it runs");
}

/// The explain page sends its bytes to the server itself, also over TLS.
#[test]
fn the_explain_page_reaches_its_own_server() {
    let folder = Folder::new("explain");
    let (serve, _log) = folder.start(&[]);
    let port = serve.address.port();
    let url = Url::parse(&format!("wss://localhost:{port}/explain/ws")).expect("valid");
    let stream = folder.client().stream(&url).expect("a name");
    let request = ClientRequest::new(url);
    let mut client = Client::open_over(&request, Config::default(), stream, ()).expect("it opens");
    let send = r#"{"type": "send", "id": 1, "input": "81 82 00 00 00 00 6f 69", "path": "/echo"}"#;
    assert!(client.send(send).expect("it is sent"));
    loop {
        let message = client.recv_message().expect("it works").expect("it is open");
        let event: Value = serde_json::from_str(message.as_str().expect("text")).expect("JSON");
        assert_eq!(event["type"], "received", "{event}");
        if !event["ended"].is_null() {
            assert_eq!(event["written"], 8, "{event}");
            assert!(event.to_string().contains("Echo: oi"), "{event}");
            return;
        }
    }
}

/// The server closes a client that sends nothing after the time for the handshake, and answers plain HTTP with an alert.
#[test]
fn the_time_for_the_handshake_includes_tls() {
    let folder = Folder::new("stall");
    let (serve, _log) = folder.start(&["--handshake-timeout", "1"]);
    let mut silent = TcpStream::connect(serve.address).expect("it listens");
    silent.set_read_timeout(Some(support::PATIENCE)).expect("a socket");
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).expect("a clean end");
    assert_eq!(answer, b"");
    let answer = serve.http("/", "");
    assert!(answer.starts_with('\u{15}'), "{answer:?}");
}
