//! The unit for systemd and the compose file: what they promise, and whether it is so.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use support::{KEY, Serve, framewise, handshake};

/// Returns a file of the project.
fn file(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns what comes after `start` in the only line that begins with it.
fn setting(text: &str, start: &str) -> String {
    let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(start));
    let found = lines.next().unwrap_or_else(|| panic!("{start} is missing"));
    assert!(lines.next().is_none(), "{start} is there twice");
    found.trim().to_owned()
}

#[test]
fn unit_and_compose_file_limit_memory() {
    let unit = setting(&file("cli/packaging/framewise.service"), "MemoryMax=");
    let compose = setting(&file("compose.yaml"), "mem_limit:");
    assert_eq!(unit, "512M");
    assert_eq!(compose, "512m");
    for page in ["docs/limits.md", "docs/limits.pt-BR.md"] {
        let page = file(page);
        assert!(page.contains("`MemoryMax=512M`") && page.contains("`mem_limit: 512m`"));
        assert!(page.contains("128 MiB"), "a quarter of it");
    }
    // A limit of the process is found as the one of a control group is: a quarter of it is for the connections.
    let log = std::env::temp_dir().join(format!("framewise-memory-{}", std::process::id()));
    let binary = framewise(&[]).get_program().to_owned();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -d 524288 && exec \"$0\" serve --host 127.0.0.1 --port 0"]);
    let mut serve = Serve::start_logging_to(command.arg(binary).env("LC_ALL", "C"), &log);
    serve.signal("TERM");
    assert!(serve.wait().success());
    let lines = fs::read_to_string(&log).expect("a log");
    fs::remove_file(log).expect("a file");
    assert!(lines.contains(&format!("bytes={}", 128 << 20)), "{lines}");
}

/// The variables of the unit make the allocator return memory after a peak.
#[test]
fn memory_is_returned_after_unfinished_messages() {
    let unit = file("cli/packaging/framewise.service");
    let variables = setting(&unit, "Environment=MALLOC_ARENA_MAX=1 ");
    let mut command = framewise(&[
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--rate",
        "0",
        "--rate-bytes",
        "0",
    ]);
    command.env("MALLOC_ARENA_MAX", "1");
    command.envs(variables.split(' ').filter_map(|pair| pair.split_once('=')));
    let serve = Serve::start_with(&mut command);
    let mut witness = serve.connect("/echo");
    let mut wait_until = |what: &str, is_so: &dyn Fn() -> bool| {
        // Each answer means that the server has had a turn.
        let is_so = (0..10_000).any(|_| witness.send("a").text() == "Echo: a" && is_so());
        assert!(is_so, "{what}: {} KiB", serve.memory());
    };
    wait_until("it runs", &|| true);
    let (before, descriptors) = (serve.memory(), serve.descriptors());
    let mut after = Vec::new();
    for round in 0..3 {
        let mut clients = Vec::new();
        for index in 0..200_usize {
            let mut client = TcpStream::connect(serve.address).expect("it listens");
            let request = handshake("/echo", serve.address, KEY);
            client.write_all(request.as_bytes()).expect("a socket");
            // The header announces 1 MiB, most of which follows. The sizes differ, so that buffers of all sizes are held at
            // the same time.
            let length = 500_000 + (index * 7_919 + round * 104_729) % 500_000;
            let header = b"\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0";
            client.write_all(&[&header[..], &vec![7; length]].concat()).expect("a socket");
            clients.push(client);
        }
        wait_until("half of it is held", &|| serve.memory() > before + 60_000);
        drop(clients);
        wait_until("all are gone", &|| serve.descriptors() == descriptors);
        after.push(serve.memory());
    }
    assert!(
        after.iter().all(|&now| now <= before + 4_096),
        "{before} KiB before, {after:?} KiB after"
    );
}

/// Returns the command of the health check, as Docker passes it to a shell.
#[cfg(feature = "tls")]
fn health_check() -> String {
    let dockerfile = file("Dockerfile");
    let (_, instruction) = dockerfile.split_once("\nHEALTHCHECK ").expect("a health check");
    let (_, command) = instruction.split_once(" CMD ").expect("a command");
    let mut lines = command.lines().map(|line| line.strip_suffix('\\').ok_or(line));
    let mut whole = String::new();
    loop {
        match lines.next().expect("a last line") {
            Ok(part) => whole += part,
            Err(last) => return whole + last,
        }
    }
}

/// The health check connects as the variables set the server up: with TLS or without, with a token or without.
#[cfg(feature = "tls")]
#[test]
fn the_health_check_follows_the_variables_of_the_server() {
    let folder = std::env::temp_dir().join(format!("framewise-health-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let key = rcgen::KeyPair::generate().expect("random numbers");
    let params = rcgen::CertificateParams::new(["school.example".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let pem = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    };
    let cert = pem("cert.pem", certificate.pem());
    let key = pem("key.pem", key.serialize_pem());
    let (cert, key) = (("FRAMEWISE_TLS_CERT", &*cert), ("FRAMEWISE_TLS_KEY", &*key));
    let token = ("FRAMEWISE_TOKEN", "a b");
    let rows: &[&[(&str, &str)]] = &[
        &[],
        &[token],
        &[("FRAMEWISE_TLS_SELF_SIGNED", "")],
        &[("FRAMEWISE_TLS_SELF_SIGNED", "false")],
        &[("FRAMEWISE_TLS_SELF_SIGNED", "true")],
        &[("FRAMEWISE_TLS_SELF_SIGNED", "true"), token],
        &[cert, key],
        &[cert, key, ("FRAMEWISE_TLS_SELF_SIGNED", "false")],
        &[cert, key, ("FRAMEWISE_TLS_SELF_SIGNED", ""), token],
    ];
    let program = framewise(&[]).get_program().to_owned();
    let programs = std::path::Path::new(&program).parent().expect("a folder").to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    for variables in rows {
        let mut command = framewise(&["serve", "--host", "127.0.0.1", "--port", "0"]);
        let serve = Serve::start_with(command.envs(variables.iter().copied()));
        let check = |port: u16| {
            let mut command = Command::new("env");
            // As in the container: nothing but these variables.
            command.arg("-i").arg(format!("PATH={path}")).arg(format!("PORT={port}"));
            command.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
            command.args(["sh", "-c", &health_check()]).current_dir(&folder);
            command.output().expect("a shell")
        };
        let output = check(serve.address.port());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{variables:?}: {errors}");
        let port = serve.address.port();
        drop(serve);
        assert_ne!(check(port).status.code(), Some(0), "{variables:?}: no server");
    }
    fs::remove_dir_all(folder).expect("it is there");
}
