//! The examples, run as programs: their output in both languages, their options and their errors.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use support::*;

/// Returns the command of an example, which Cargo builds before it runs the tests.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("this test is a file");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path: PathBuf = [profile.as_os_str(), "examples".as_ref(), name.as_ref()].iter().collect();
    let mut command = Command::new(path);
    for variable in ["LC_ALL", "LC_MESSAGES", "LANG", "HOST", "PORT"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running example, which is stopped when this is dropped.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Starts an example on 127.0.0.1 and a free port.
    fn start(command: &mut Command) -> Running {
        let mut child =
            command.args(["--host", "127.0.0.1", "--port", "0"]).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Running { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        line.trim_end_matches('\n').to_owned()
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line(), *line);
        }
    }

    /// Reads up to the line with the address that the server listens on. Returns the address.
    fn address(&mut self) -> SocketAddr {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "it exited before it listened");
            if let Some(address) = line.rsplit(' ').next().and_then(|word| word.parse().ok()) {
                return address;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs an example until it exits.
fn output(command: &mut Command) -> Output {
    command.output().expect("it starts")
}

/// Sends one message, expects `reply` and closes the connection. Returns the port of the client.
fn conversation(address: SocketAddr, reply: &str) -> u16 {
    let mut client = Client::open(address);
    let port = client.stream.local_addr().expect("connected").port();
    client.send(&frame(0x81, "Olá, servidor!".as_bytes()));
    client.expect(&server_frame(0x81, reply.as_bytes()));
    client.leave();
    port
}

#[test]
fn the_console_of_echo_in_portuguese() {
    let mut echo = Running::start(example("echo").args(["--lang", "pt"]));
    let address = echo.address();
    echo.expect(&["Aguardando mensagens... (Ctrl+C para encerrar)"]);
    let port = conversation(address, "Echo: Olá, servidor!");
    echo.expect(&[
        &format!("Conexão de ('127.0.0.1', {port})"),
        "Handshake WebSocket concluído!",
        "Mensagem recebida: Olá, servidor!",
        "Resposta enviada: Echo: Olá, servidor!",
        "Conexão fechada pelo cliente",
        "Conexão encerrada",
    ]);
}

#[test]
fn the_console_of_echo_in_english() {
    let mut echo = Running::start(&mut example("echo"));
    let first = echo.line();
    let address = first.strip_prefix("WebSocket listening on ").expect("the first line").parse();
    echo.expect(&["Waiting for messages... (Ctrl+C to stop)"]);
    let port = conversation(address.expect("an address"), "Echo: Olá, servidor!");
    echo.expect(&[
        &format!("Connection from ('127.0.0.1', {port})"),
        "WebSocket handshake complete!",
        "Message received: Olá, servidor!",
        "Reply sent: Echo: Olá, servidor!",
        "Connection closed by the client",
        "Connection ended",
    ]);
}

/// From the second simultaneous client on, each line names its client. After it has left, the fixed lines are back.
#[test]
fn echo_names_its_clients_while_there_are_several() {
    let mut echo = Running::start(&mut example("echo"));
    let address = echo.address();
    echo.expect(&["Waiting for messages... (Ctrl+C to stop)"]);
    let mut ana = Client::open(address);
    let ana_port = ana.stream.local_addr().expect("connected").port();
    echo.expect(&[
        &format!("Connection from ('127.0.0.1', {ana_port})"),
        "WebSocket handshake complete!",
    ]);
    let mut rui = Client::open(address);
    let rui_port = rui.stream.local_addr().expect("connected").port();
    ana.send(&frame(0x81, b"from ana"));
    ana.expect(&server_frame(0x81, b"Echo: from ana"));
    rui.send(&frame(0x82, b"rui"));
    rui.expect(&server_frame(0x82, b"rui"));
    rui.leave();
    echo.expect(&[
        &format!("[127.0.0.1:{rui_port}] Connection from ('127.0.0.1', {rui_port})"),
        &format!("[127.0.0.1:{rui_port}] WebSocket handshake complete!"),
        &format!("[127.0.0.1:{ana_port}] Message received: from ana"),
        &format!("[127.0.0.1:{ana_port}] Reply sent: Echo: from ana"),
        &format!("[127.0.0.1:{rui_port}] Message received: [binary, 3 bytes]"),
        &format!("[127.0.0.1:{rui_port}] Reply sent: [binary, 3 bytes]"),
        &format!("[127.0.0.1:{rui_port}] Connection closed by the client"),
        &format!("[127.0.0.1:{rui_port}] Connection ended"),
    ]);
    ana.send(&frame(0x81, b"alone"));
    ana.expect(&server_frame(0x81, b"Echo: alone"));
    ana.leave();
    echo.expect(&[
        "Message received: alone",
        "Reply sent: Echo: alone",
        "Connection closed by the client",
        "Connection ended",
    ]);
}

/// The lines about refusals and plain HTTP, and those of `--trace`, name the client too.
#[test]
fn every_kind_of_line_names_its_client() {
    let mut echo = Running::start(example("echo").arg("--trace"));
    let address = echo.address();
    let ana = Client::open(address);
    let lines_of = |echo: &mut Running, name: &str| {
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.ends_with("Connection ended")) {
            lines.push(echo.line());
        }
        let start = lines.iter().position(|line| line.starts_with(name)).expect("its first line");
        lines.split_off(start)
    };
    for request in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST / HTTP/1.1\r\n\r\n"] {
        let mut rui = Client::connect(address);
        let name = format!("[{}] ", rui.stream.local_addr().expect("connected"));
        rui.send(request.as_bytes());
        rui.finish();
        rui.read_to_end();
        let lines = lines_of(&mut echo, &name);
        assert!(lines.iter().all(|line| line.starts_with(&name)), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("Handshake refused: 4")), "{lines:#?}");
        assert!(lines.iter().any(|line| line[name.len()..].starts_with("[1.")), "{lines:#?}");
    }
    ana.leave();
}

#[test]
fn quiet_prints_only_the_start() {
    for quiet in ["-q", "--quiet"] {
        let mut echo = Running::start(example("echo").arg(quiet));
        let address = echo.address();
        echo.expect(&["Waiting for messages... (Ctrl+C to stop)"]);
        conversation(address, "Echo: Olá, servidor!");
        echo.child.kill().expect("it still runs");
        let mut rest = String::new();
        echo.lines.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "");
    }
}

#[test]
fn trace_explains_handshake_and_frames() {
    let mut echo = Running::start(example("echo").args(["--trace", "--raw"]));
    let address = echo.address();
    let mut client = Client::open(address);
    client.send(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    client.expect(b"\x81\x05Hello");
    client.leave();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line| line != "Connection ended") {
        seen.push(echo.line());
    }
    let seen = seen.join("\n");
    for part in [
        &format!("[0.0] < {} bytes read", request("").len()),
        "[0.0] <   GET / HTTP/1.1",
        "[0.0] <   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "[0.0] =   key + GUID: dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
        "[0.0] =   SHA-1: b3 7a 4f 2c c0 62 4f 16 90 f6 46 06 cf 38 59 45 b2 be c4 ea",
        "[0.0] =   base64: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "[0.0] >   HTTP/1.1 101 Switching Protocols",
        "[0.0] <   81 85 37 fa 21 3d | FIN=1 RSV=000 opcode=1 (text) MASK=1 length=5 key=37 fa 21 3d",
        "[0.0] <   7f 9f 4d 51 58 | payload data, unmasked: 48 65 6c 6c 6f 'Hello'",
        "[0.0] >   81 05 | FIN=1 RSV=000 opcode=1 (text) MASK=0 length=5",
        "[0.0] >   88 02 | FIN=1 RSV=000 opcode=8 (close) MASK=0 length=2",
    ] {
        assert!(seen.contains(part), "no {part:?} in:\n{seen}");
    }
}

#[test]
fn broadcast_prints_a_title_and_sends_to_the_others() {
    let mut broadcast = Running::start(example("broadcast").args(["--lang=pt"]));
    let title = broadcast.line();
    let address = broadcast.address();
    assert_eq!(title, format!("Servidor WebSocket iniciado em ws://{address}"));
    let (mut speaker, mut listener) = (Client::open(address), Client::open(address));
    speaker.send(&frame(0x81, "Olá, turma!".as_bytes()));
    listener.expect(&server_frame(0x81, "Olá, turma!".as_bytes()));
    speaker.leave();
    listener.leave();
}

/// The messages go to the others, so the console of broadcast names their senders, even the only client.
#[test]
fn broadcast_always_names_the_sender() {
    let mut broadcast = Running::start(&mut example("broadcast"));
    let address = broadcast.address();
    broadcast.expect(&["Waiting for messages... (Ctrl+C to stop)"]);
    let mut speaker = Client::open(address);
    let port = speaker.stream.local_addr().expect("connected").port();
    speaker.send(&frame(0x81, "Olá, turma!".as_bytes()));
    speaker.leave();
    broadcast.expect(&[
        &format!("[127.0.0.1:{port}] Connection from ('127.0.0.1', {port})"),
        &format!("[127.0.0.1:{port}] WebSocket handshake complete!"),
        &format!("[127.0.0.1:{port}] Message received: Olá, turma!"),
        &format!("[127.0.0.1:{port}] Connection closed by the client"),
        &format!("[127.0.0.1:{port}] Connection ended"),
    ]);
}

/// The first of the three variables that is not empty sets the language. `--lang` overrides it.
#[test]
fn the_language_comes_from_the_environment() {
    let rows = [
        (vec![("LANG", "pt_BR.UTF-8")], vec![], "Servidor de eco"),
        (vec![("LC_ALL", "C"), ("LANG", "pt_BR.UTF-8")], vec![], "Echo server"),
        (vec![("LC_ALL", ""), ("LC_MESSAGES", "pt"), ("LANG", "en_US")], vec![], "Servidor de eco"),
        (vec![], vec![], "Echo server"),
        (vec![("LANG", "pt_BR.UTF-8")], vec!["--lang", "en"], "Echo server"),
        (vec![], vec!["--lang", "pt"], "Servidor de eco"),
    ];
    for (variables, arguments, expected) in rows {
        let output = output(example("echo").envs(variables.clone()).args(arguments).arg("--help"));
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success() && text.starts_with(expected), "{variables:?}: {text}");
        for option in
            ["--host", "--port", "--lang", "--trace", "--quiet", "--max-output", "--strict"]
        {
            assert!(text.contains(option), "{option} is not explained");
        }
    }
}

/// R14: an invalid option is reported in one line, and the exit code is not 0.
#[test]
fn an_invalid_option_is_reported_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let rows: [(&[&str], &str); 12] = [
        (&["--nonsense"], "error: unknown option '--nonsense' (--help lists them)"),
        (&["--trace=yes"], "error: unknown option '--trace=yes' (--help lists them)"),
        (&["--port"], "error: --port needs a value"),
        (&["--lang"], "error: --lang needs a value"),
        (&["--a\x1b[2J\nb"], "error: unknown option '--a\\u{1b}[2J\\u{a}b'"),
        (
            &["--port", "70000"],
            "error: value '70000' for --port: a port is a number from 0 to 65535",
        ),
        (&["--max-message", "x"], "error: value 'x' for --max-message: it must be a whole number"),
        (&["--max-message", "0"], "error: setting 'limits.max_message': at least 1 is needed"),
        (&["--lang", "fr"], "error: value 'fr' for --lang: the languages are en and pt"),
        (&["--host", "192.0.2.1"], "error: host '192.0.2.1' is not an address of this machine"),
        (&["--host", ""], "error: setting 'host': it must not be empty"),
        (&["--port", &port], "error: address 127.0.0.1:"),
    ];
    for (arguments, expected) in rows {
        let output = output(example("echo").args(arguments));
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success(), "{arguments:?}");
        assert!(error.starts_with(expected), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let output = output(example("echo").env("PORT", "x").args(["--lang", "pt"]));
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(error, "erro: valor 'x' para PORT: uma porta é um número de 0 a 65535\n");
}

/// conda sets HOST to the platform of its compilers.
#[test]
fn a_host_of_another_program_is_explained() {
    for (lang, words) in [
        (
            "en",
            "(the host comes from the environment variable HOST; --host localhost overrides it)\n",
        ),
        ("pt", "(o host vem da variável de ambiente HOST; --host localhost usa outro)\n"),
    ] {
        let mut command = example("echo");
        command.envs([("HOST", "x86_64-conda-linux-gnu"), ("PORT", "0")]).args(["--lang", lang]);
        let error = String::from_utf8(output(&mut command).stderr).expect("text");
        assert!(error.contains("'x86_64-conda-linux-gnu'") && error.ends_with(words), "{error}");
        let mut command = example("client");
        command.envs([("HOST", "x86_64-conda-linux-gnu"), ("PORT", "1")]).args(["--lang", lang]);
        let error = String::from_utf8(output(&mut command).stderr).expect("text");
        assert!(error.contains("x86_64-conda-linux-gnu:1") && error.contains(words), "{error}");
    }
    // Options override both variables, even those that make no sense.
    let nonsense = [("HOST", "x86_64-conda-linux-gnu"), ("PORT", "x")];
    let mut echo = Running::start(example("echo").envs(nonsense));
    let address = echo.address();
    let url = format!("ws://{address}");
    // The port is taken, so the host is not the fault.
    let port = address.port().to_string();
    let taken = output(example("echo").envs([("HOST", "127.0.0.1"), ("PORT", &port)]));
    let error = String::from_utf8(taken.stderr).expect("text");
    assert!(error.contains(&port) && !error.contains("HOST"), "{error}");
    assert!(output(example("client").envs(nonsense).arg(url)).status.success());
}

/// HOST and PORT in the environment set the defaults. Options override them.
#[test]
fn host_and_port_come_from_the_environment() {
    let mut child =
        example("echo").envs([("HOST", "127.0.0.1"), ("PORT", "0")]).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut echo = Running { child, lines };
    assert!(echo.address().ip().is_loopback());
    let mut overruled =
        Running::start(example("echo").envs([("HOST", "192.0.2.1"), ("PORT", "1")]));
    conversation(overruled.address(), "Echo: Olá, servidor!");
}

#[test]
fn options_of_echo_change_the_reply() {
    let mut echo = Running::start(example("echo").args(["--prefix", "eco> "]));
    conversation(echo.address(), "eco> Olá, servidor!");
    let mut echo = Running::start(example("echo").arg("--raw"));
    conversation(echo.address(), "Olá, servidor!");
    let mut echo = Running::start(example("echo").args(["--max-message", "10"]));
    let mut client = Client::open(echo.address());
    client.send(&frame(0x81, &[b'x'; 11]));
    client.expect_end(&failure(1009, "RFC 6455 10.4: message larger than the limit"));

    let short_key =
        String::from_utf8(request("")).expect("ASCII").replace(KEY, "SGVsbG8sIHdvcmxkIQ==");
    let status = |arguments: &[&str]| {
        let mut echo = Running::start(example("echo").args(arguments));
        let mut client = Client::connect(echo.address());
        client.send(short_key.as_bytes());
        client.finish();
        client.answer().status
    };
    assert_eq!((status(&[]), status(&["--strict"])), (101, 400));
}

/// R17: if stdout is closed, lines are lost, and the server keeps running.
#[test]
fn a_closed_stdout_does_not_stop_the_server() {
    let mut child = example("echo")
        .args(["--host", "127.0.0.1", "--port", "0", "--trace"])
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut first = String::new();
    lines.read_line(&mut first).expect("text");
    drop(lines);
    let address = first.trim_end().rsplit(' ').next().and_then(|word| word.parse().ok());
    for _ in 0..20 {
        conversation(address.expect("an address"), "Echo: Olá, servidor!");
    }
    assert_eq!(child.try_wait().expect("a child"), None, "it still runs");
    child.kill().and_then(|()| child.wait()).expect("it ends");
}

/// R17: stdout is a pipe that is full because the test does not read it. The event loop does not wait for it.
#[test]
fn a_full_stdout_does_not_stop_the_server() {
    let mut echo = Running::start(example("echo").arg("--raw"));
    let mut client = Client::open(echo.address());
    for _ in 0..20_000 {
        client.send(&frame(0x81, b"more than a pipe holds"));
        client.expect(b"\x81\x16more than a pipe holds");
    }
    client.leave();
}

/// Text from a peer can neither move the cursor nor reorder a line.
#[test]
fn terminal_escapes_of_a_peer_are_escaped() {
    let mut echo = Running::start(example("echo").arg("--raw"));
    let mut client = Client::open(echo.address());
    let text = "\x1b[2J\u{202e}\u{9b}".as_bytes();
    client.send(&frame(0x81, text));
    client.expect(&server_frame(0x81, text));
    let received = loop {
        let line = echo.line();
        if line.starts_with("Message received") {
            break line;
        }
    };
    assert_eq!(received, "Message received: \\u{1b}[2J\\u{202e}\\u{9b}");
}

/// The HTTP responses in the READMEs are those of the echo server.
#[test]
fn the_readmes_show_the_responses_of_echo() {
    let mut echo = Running::start(&mut example("echo"));
    let address = echo.address();
    let ask = |lines: &str| {
        let mut client = Client::connect(address);
        client.send(format!("GET / HTTP/1.1\r\nHost: localhost:8765\r\n{lines}\r\n").as_bytes());
        client.finish();
        String::from_utf8(client.read_to_end()).expect("text").replace("\r\n", "\n")
    };
    let upgrade = ask(&format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    ));
    let without_date = |text: &str| {
        text.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n")
    };
    for (file, plain) in
        [("README.md", ask("")), ("README.pt-BR.md", ask("Accept-Language: pt-BR\r\n"))]
    {
        let page = without_date(&std::fs::read_to_string(file).expect("a page"));
        assert!(page.contains(upgrade.trim_end()), "{file} and\n{upgrade}");
        assert!(page.contains(&without_date(&plain)), "{file} and\n{plain}");
    }
}

/// The lines with addresses in the READMEs are those of the echo server, except for the port.
#[test]
fn the_readmes_show_the_lines_of_the_second_client() {
    for (file, lang, message) in
        [("README.md", "en", "good morning"), ("README.pt-BR.md", "pt", "bom dia")]
    {
        let mut echo = Running::start(example("echo").args(["--lang", lang]));
        let address = echo.address();
        let first = Client::open(address);
        let mut second = Client::open(address);
        second.send(&frame(0x81, message.as_bytes()));
        second.expect(&server_frame(0x81, format!("Echo: {message}").as_bytes()));
        let name = format!("[{}]", second.stream.local_addr().expect("connected"));
        let mut lines = std::iter::from_fn(|| Some(echo.line()));
        let received = lines.find(|line| line.ends_with(&format!(": {message}"))).expect("endless");
        let both = format!("\n{received}\n{}\n", lines.next().expect("endless"));
        let page = std::fs::read_to_string(file).expect("a page");
        assert!(page.contains(&both.replace(&name, "[127.0.0.1:52514]")), "{file} and {both}");
        second.leave();
        first.leave();
    }
}

/// Starts an echo server for the example clients. Returns it and its URL.
fn echo_for_clients(arguments: &[&str]) -> (Running, String) {
    let mut echo = Running::start(example("echo").args(arguments));
    let url = format!("ws://{}", echo.address());
    (echo, url)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

const CLIENT_PT: &str = "\
============================================================
Cliente WebSocket - Testando Conexão
============================================================

Conectando ao servidor URL...
✓ Conexão WebSocket estabelecida!
✓ Handshake WebSocket concluído com sucesso!

1. Enviando mensagem: Olá, servidor!
   Resposta recebida: Echo: Olá, servidor!

2. Enviando mensagem: Esta é uma mensagem de teste
   Resposta recebida: Echo: Esta é uma mensagem de teste

3. Enviando mensagem: WebSocket funcionando!
   Resposta recebida: Echo: WebSocket funcionando!

============================================================
Teste concluído com sucesso!
============================================================

Conexão fechada.
";

#[test]
fn the_scripted_client_prints_its_conversation_with_echo() {
    let (_echo, url) = echo_for_clients(&["--quiet"]);
    let portuguese = output(example("client").env("LANG", "pt_BR.UTF-8").arg(&url));
    assert!(portuguese.status.success());
    assert_eq!(text(&portuguese.stdout), CLIENT_PT.replace("URL", &url));
    let port = url.rsplit(':').next().expect("a port");
    let english = output(example("client").args(["--host", "127.0.0.1", "--port", port]));
    assert!(english.status.success());
    let said = text(&english.stdout);
    assert_eq!(said.lines().count(), CLIENT_PT.lines().count());
    assert!(
        said.contains(
            "1. Sending message: Hello, server!\n   Reply received: Echo: Hello, server!"
        )
    );
    assert!(said.ends_with("\nConnection closed.\n"));
}

/// If no server listens, the exit code is 1 and the error says how to start one. An invalid URL or option is an error
/// too.
#[test]
fn a_client_that_cannot_connect_says_why() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let unused = format!("ws://{}", free.local_addr().expect("bound"));
    drop(free);
    for client in ["client", "chat"] {
        let output = output(example(client).arg(&unused));
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.starts_with("error: cannot connect to 127.0.0.1:"), "{said}");
        assert!(
            said.ends_with(
                "\nStart a server first, in another terminal: cargo run --example echo\n"
            )
        );
    }
    let output_of = |arguments: &[&str]| output(example("client").args(arguments));
    let no_url = output_of(&["--lang", "pt", "http://localhost"]);
    assert_eq!(no_url.status.code(), Some(1));
    assert!(text(&no_url.stderr).contains("uma URL WebSocket começa com ws://"));
    assert_eq!(output_of(&["--nonsense"]).status.code(), Some(2));
    assert_eq!(output_of(&["ws://a", "ws://b"]).status.code(), Some(2));
}

/// `--lang` as the value of another option is not the option `--lang`.
#[test]
fn the_value_of_an_option_is_not_an_option() {
    let mut echo = Running::start(example("echo").args(["--prefix", "--lang", "--lang", "pt"]));
    let address = echo.address();
    echo.expect(&["Aguardando mensagens... (Ctrl+C para encerrar)"]);
    conversation(address, "--langOlá, servidor!");
}

/// If stdout is not a terminal, the chat client prints plain lines.
#[test]
fn chat_in_a_pipe_prints_plain_lines() {
    let mut broadcast = Running::start(&mut example("broadcast"));
    let address = broadcast.address();
    let mut listener = Client::open(address);
    let mut chat = example("chat")
        .args([&format!("ws://{address}"), "--lang", "pt"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(chat.stdout.take().expect("piped"));
    let mut line = || {
        let mut line = String::new();
        lines.read_line(&mut line).expect("text");
        line
    };
    assert_eq!(line(), "Conectado ao servidor WebSocket!\n");
    listener.send(&frame(0x81, "olá\x1b[2J".as_bytes()));
    assert_eq!(line(), "olá\\u{1b}[2J\n");
    let mut input = chat.stdin.take().expect("piped");
    input.write_all("Olá, turma!\n\nsair\n".as_bytes()).expect("it reads");
    listener.expect(&server_frame(0x81, "Olá, turma!".as_bytes()));
    assert_eq!(line(), "Conexão fechada.\n");
    assert!(chat.wait().expect("it ends").success());
    listener.leave();
}

#[test]
fn dissect_labels_the_bits_of_a_frame() {
    let dissect = |arguments: &[&str]| output(example("dissect").args(arguments));
    let hello = dissect(&["81 85", "0x37fa213d", "7f9f4d5158"]);
    assert!(hello.status.success());
    let said = text(&hello.stdout);
    for part in [
        "81  1.......                 FIN                      1                §5.2\n",
        "    ....0001                 opcode                   1 (text)         §5.2\n",
        "    .0000101                 payload length           5                §5.2\n",
        "    37 fa 21 3d              masking key                               §5.3\n",
        "    XOR: payload unmasked    48 65 6c 6c 6f\n                             'Hello'\n=> valid\n",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    for arguments in [
        &["--", "81 85", "37fa213d7f9f4d5158"][..],
        &["--from=client", "--", "818537fa213d7f9f4d5158"],
        &["0X8185", "37fa213d7f9f4d5158"],
    ] {
        let same = dissect(arguments);
        assert_eq!((same.status.code(), text(&same.stdout)), (Some(0), said), "{arguments:?}");
    }
    for wrong in [
        &["8"][..],
        &["xy"],
        &[],
        &["--"],
        &["--from", "me", "8100"],
        &["--from"],
        &["--", "--lang", "pt"],
    ] {
        let refused = dissect(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        assert_eq!(text(&refused.stderr).lines().count(), 1);
    }
}

/// What cannot be written is an error, unless the reader has ended.
#[test]
fn dissect_reports_that_it_cannot_write() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
    let output = example("dissect").arg("8100").stdout(full).output().expect("it runs");
    assert!(text(&output.stderr).starts_with("error: "), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(2));
    let (reader, gone) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = example("dissect").arg("8100").stdout(gone).output().expect("it runs");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

/// Returns the exit code of `dissect` and what it prints for these bytes from a client.
fn dissected(lang: &str, hex: &str) -> (Option<i32>, String) {
    let output = output(example("dissect").args(["--from", "client", "--lang", lang, "--", hex]));
    (output.status.code(), text(&output.stdout).to_owned())
}

/// The rows of the bits that were read, with the names of the fields, then the place of the fault.
#[test]
fn dissect_shows_a_broken_header_and_the_bit_that_breaks_it() {
    let (code, printed) = dissected("en", "810548656c6c6f");
    let expected = "\
81  1.......                 FIN                      1                §5.2
    .0......                 RSV1                     0                §5.2
    ..0.....                 RSV2                     0                §5.2
    ...0....                 RSV3                     0                §5.2
    ....0001                 opcode                   1 (text)         §5.2
05  0.......                 MASK                     0                §5.2
    .0000101                 payload length           5                §5.2
=> broken at bit 8 (MASK): RFC 6455 5.1: a client must mask every frame (close code 1002)
not read: 48 65 6c 6c 6f
";
    assert_eq!((code, printed.as_str()), (Some(3), expected));
    let (_, printed) = dissected("pt", "810548656c6c6f");
    let expected = "\n=> violação no bit 8 (MASK): RFC 6455 5.1: um cliente deve mascarar cada frame \
        (código de fechamento 1002)\nnão lido: 48 65 6c 6c 6f\n";
    assert!(printed.ends_with(expected), "{printed}");

    // The bytes, the rows above the verdict, and the place in the verdict.
    for (hex, rows, place) in [
        ("c1", 5, "bit 1 (RSV1)"),
        ("b1", 5, "bit 2 (RSV2), bit 3 (RSV3)"),
        ("83", 5, "bits 4 to 7 (opcode)"),
        ("0980", 5, "bit 0 (FIN)"),
        ("89fe", 7, "bits 9 to 15 (payload length)"),
        ("81fe0005", 8, "bits 16 to 31 (extended payload length)"),
        ("81ff000000000000ffff", 8, "bits 16 to 79 (extended payload length)"),
        ("81ff8000000000000001", 8, "bit 16 (extended payload length)"),
        ("808000000000", 8, "bits 4 to 7 (opcode)"),
        ("81ff000000000010000100000000", 9, "bits 16 to 79 (extended payload length)"),
        ("8182000000006180", 12, "payload byte 1"),
        ("88810000000003", 12, "payload byte 0"),
        ("88820000000003ec", 12, "payload bytes 0 to 1"),
        ("88840000000003e861ff", 12, "payload byte 3"),
    ] {
        let (code, printed) = dissected("en", hex);
        let (before, verdict) = printed.split_once("=> ").expect("a verdict");
        assert_eq!((code, before.lines().count()), (Some(3), rows), "{hex}:\n{printed}");
        assert!(verdict.starts_with(&format!("broken at {place}: RFC 6455 ")), "{hex}: {verdict}");
    }
}

/// The rows of the bits that were read, then the first bit that is missing.
#[test]
fn dissect_shows_an_incomplete_frame_and_fails() {
    let (code, printed) = dissected("en", "81fe01");
    let expected = "\
81  1.......                 FIN                      1                §5.2
    .0......                 RSV1                     0                §5.2
    ..0.....                 RSV2                     0                §5.2
    ...0....                 RSV3                     0                §5.2
    ....0001                 opcode                   1 (text)         §5.2
fe  1.......                 MASK                     1                §5.2
    .1111110                 payload length           126              §5.2
    01 ..                    extended payload length                   §5.2
=> incomplete: the input ends before bit 24 (extended payload length)
";
    assert_eq!((code, printed.as_str()), (Some(1), expected));
    for (hex, last_row, verdict) in [
        ("81", "opcode", "before bit 8 (MASK)"),
        ("8185", "payload length", "before bit 16 (masking key)"),
        ("818537fa", "37 fa .. ..", "before bit 32 (masking key)"),
        ("81fe", "payload length", "before bit 16 (extended payload length)"),
        ("81fe0100", "01 00", "before bit 32 (masking key)"),
        ("81ff00000000", "00 00 00 00 .. .. .. ..", "before bit 48 (extended payload length)"),
        ("818537fa213d", "masking key", "after 0 of 5 payload bytes"),
        ("818537fa213d7f9f", "'He'", "after 2 of 5 payload bytes"),
        // The second of two frames.
        ("89800000000081", "opcode", "before bit 8 (MASK)"),
    ] {
        let (code, printed) = dissected("en", hex);
        assert_eq!(code, Some(1), "{hex}");
        let mut lines = printed.lines().rev();
        let expected = format!("=> incomplete: the input ends {verdict}");
        assert_eq!(lines.next(), Some(expected.as_str()), "{hex}");
        assert!(lines.next().is_some_and(|row| row.contains(last_row)), "{hex}:\n{printed}");
    }
    let (_, printed) = dissected("pt", "818537fa213d7f9f");
    let expected =
        "\n=> incompleto: a entrada termina depois de 2 de 5 bytes dos dados (payload)\n";
    assert!(printed.ends_with(expected), "{printed}");
}

/// `--` ends the options of every example.
#[test]
fn words_follow_two_dashes() {
    let (_echo, url) = echo_for_clients(&["--quiet"]);
    let client = output(example("client").args(["--lang", "pt", "--", &url]));
    assert_eq!(text(&client.stdout), CLIENT_PT.replace("URL", &url));
    // After `--`, `--lang` is a word too: the error is in English.
    let echo = output(example("echo").args(["--", "--lang", "pt"]));
    let expected = "error: unknown option '--lang' (--help lists them)\n";
    assert_eq!((echo.status.code(), text(&echo.stderr)), (Some(2), expected));
}
