//! Where settings come from: flags, the environment, and `.env` in the working directory.

mod support;

use std::path::PathBuf;
use std::process::Command;

use support::{KEY, Serve, framewise, handshake};

/// A working directory that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    /// Creates a folder with this `.env`.
    fn with(name: &str, file: impl AsRef<[u8]>) -> Folder {
        let path = std::env::temp_dir().join(format!("framewise-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        let folder = Folder(path);
        folder.write(file);
        folder
    }

    fn write(&self, file: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(".env"), file).expect("a file");
    }

    /// Returns the server, to be started in this folder.
    fn serve(&self, arguments: &[&str]) -> Command {
        let mut command = framewise(&["serve"]);
        command.args(arguments).current_dir(&self.0);
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command that fails. Returns its exit code and what it wrote to standard error.
#[track_caller]
fn failure(command: &mut Command) -> (i32, String) {
    let output = command.output().expect("it runs");
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success(), "it runs: {error}");
    (output.status.code().expect("no signal, so no panic either"), error)
}

/// Checks that the server accepts this token, and none of the others.
#[track_caller]
fn has_token(serve: &Serve, token: &str, others: &[&str]) {
    let header = format!("Bearer {token}");
    let mut peer = serve
        .connect_as("/echo", |request| request.header("Authorization", &header).expect("text"));
    assert_eq!(peer.send("a").text(), "Echo: a");
    for other in others {
        let request = handshake("/echo", serve.address, KEY);
        let request = request.trim_end();
        let answer = serve.raw(&format!("{request}\r\nAuthorization: Bearer {other}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 401 "), "{other}: {answer}");
    }
}

#[test]
fn settings_come_from_flag_then_environment_then_file_then_default() {
    let folder = Folder::with("order", "HOST=127.0.0.1\nPORT=0\nFRAMEWISE_LANG=pt\n");
    let from_file = Serve::start_with(&mut folder.serve(&[]));
    assert!(from_file.greeting[0].starts_with("Servidor"), "{:?}", from_file.greeting);
    let from_environment = Serve::start_with(folder.serve(&[]).env("FRAMEWISE_LANG", "en"));
    assert!(from_environment.greeting[0].starts_with("Classroom server"));
    let from_flag = Serve::start_with(folder.serve(&["--lang", "pt"]).env("FRAMEWISE_LANG", "en"));
    assert!(from_flag.greeting[0].starts_with("Servidor"));
    // An empty variable sets nothing, so it does not hide the file either.
    let beside_nothing = Serve::start_with(folder.serve(&[]).env("FRAMEWISE_LANG", ""));
    assert!(beside_nothing.greeting[0].starts_with("Servidor"));
    // A faulty value is overridden as well, also one of an option that every command has.
    folder.write("HOST=no.such.host.invalid\nPORT=x\nFRAMEWISE_LANG=fr\n");
    Serve::start_with(&mut folder.serve(&["--host=127.0.0.1", "--port", "0", "--lang", "en"]));
    Serve::start_with(folder.serve(&[]).envs([
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("FRAMEWISE_LANG", "en"),
    ]));
}

#[test]
fn a_value_of_the_file_is_used_as_it_stands_there() {
    for (line, token, others) in [
        ("FRAMEWISE_TOKEN=$ecret", "$ecret", &["", "ecret"][..]),
        ("FRAMEWISE_TOKEN=\"pa$HOME\"", "pa$HOME", &["pa"]),
        ("FRAMEWISE_TOKEN='${PORT}\\'", "${PORT}\\", &["0\\", "0"]),
        ("export FRAMEWISE_TOKEN = a#b # class 7a", "a#b", &["a", "a#b # class 7a"]),
    ] {
        let folder =
            Folder::with("token", format!("\u{feff}PORT=0\r\nHOST=127.0.0.1\r\n{line}\r\n"));
        has_token(&Serve::start_with(&mut folder.serve(&[])), token, others);
    }
    // A list, and a flag without a value.
    let folder = Folder::with("list", "PORT=0\nHOST=127.0.0.1\nFRAMEWISE_LENIENT_KEY=true\n");
    let serve = Serve::start_with(&mut folder.serve(&["--token", "a"]));
    let request = handshake("/echo", serve.address, "SGVsbG8sIHdvcmxkIQ==");
    assert!(serve.raw(&request).starts_with("HTTP/1.1 401 "), "the key is not refused first");
}

/// A server without the token that somebody meant to set is open to everybody.
#[test]
fn an_empty_token_is_an_error_everywhere() {
    let folder = Folder::with("empty", "PORT=0\n");
    let expected = |error: &str, from: &str| {
        assert!(error.starts_with("error: invalid value '' for '--token <TOKEN>'"), "{error}");
        assert!(error.ends_with(from), "{error}");
    };
    let (code, error) = failure(&mut folder.serve(&["--token", ""]));
    assert_eq!(code, 2);
    expected(&error, "try '--help'.\n");
    let (code, error) = failure(folder.serve(&[]).env("FRAMEWISE_TOKEN", ""));
    assert_eq!(code, 2);
    expected(
        &error,
        "  the value comes from the environment variable FRAMEWISE_TOKEN; to override it: --token …\n",
    );
    // The environment wins over the file, also with an empty token.
    folder.write("PORT=0\nFRAMEWISE_TOKEN=segredo\n");
    failure(folder.serve(&[]).env("FRAMEWISE_TOKEN", ""));
    for empty in ["", "''", "\"\"", "   # segredo"] {
        folder.write(format!("PORT=0\nFRAMEWISE_TOKEN={empty}\n"));
        let (code, error) = failure(&mut folder.serve(&[]));
        assert_eq!(code, 2);
        expected(
            &error,
            "  the value comes from .env, line 2: FRAMEWISE_TOKEN; to override it: --token …\n",
        );
    }
}

#[test]
fn other_variables_set_to_nothing_set_nothing() {
    let folder = Folder::with("nothing", "PORT=0\nFRAMEWISE_MAX_MESSAGE=\nFRAMEWISE_LANG=''\n");
    let serve = Serve::start_with(folder.serve(&[]).envs([("HOST", ""), ("FRAMEWISE_RATE", "")]));
    assert!(serve.address.ip().is_loopback());
}

/// Every setting that the library refuses, and every one that clap refuses, is named with its source.
#[test]
fn a_fault_in_a_value_names_its_source() {
    let faults = [
        ("HOST", "192.0.2.1", "--host localhost"),
        ("PORT", "70000", "--port 8765"),
        ("FRAMEWISE_ALLOW_ORIGIN", "nowhere", "--allow-origin …"),
        ("FRAMEWISE_ALLOW_HOST", "*.example.org", "--allow-host …"),
        ("FRAMEWISE_PUBLIC_URL", "school.example", "--public-url …"),
        ("FRAMEWISE_BEHIND_PROXY", "10.0.0.0/40", "--behind-proxy …"),
        ("FRAMEWISE_TOKEN", "sénha", "--token …"),
        ("FRAMEWISE_TEACHER_TOKEN", "sénha", "--teacher-token …"),
        ("FRAMEWISE_TLS_CERT", "/", "--tls-cert …"),
        ("FRAMEWISE_TLS_KEY", "/", "--tls-key …"),
        ("FRAMEWISE_TLS_SELF_SIGNED", "perhaps", "--tls-self-signed"),
        ("FRAMEWISE_TLS_KEY_LOG", "true", "--tls-key-log"),
        ("FRAMEWISE_STRICT_KEY", "perhaps", "--strict-key"),
        ("FRAMEWISE_WIRE", "perhaps", "--wire"),
        ("FRAMEWISE_RATE", "fast", "--rate 100"),
        ("FRAMEWISE_RATE_BYTES", "fast", "--rate-bytes 262144"),
        ("FRAMEWISE_LANG", "fr", "--lang en"),
        ("FRAMEWISE_LENIENT_KEY", "perhaps", "--lenient-key"),
        ("FRAMEWISE_DEFLATE", "perhaps", "--deflate off"),
        ("FRAMEWISE_LOG_MESSAGES", "perhaps", "--log-messages"),
        ("FRAMEWISE_HISTORY", "20000", "--history"),
        ("FRAMEWISE_HISTORY_MEMORY", "-1", "--history-memory"),
        ("FRAMEWISE_LOG", "xml", "--log text"),
        ("FRAMEWISE_LOG_LEVEL", "loud", "--log-level info"),
        ("FRAMEWISE_MAX_CONNECTIONS", "0", "--max-connections …"),
        ("FRAMEWISE_MAX_PER_IP", "0", "--max-per-ip …"),
        ("FRAMEWISE_MAX_MEMORY", "1", "--max-memory …"),
        ("FRAMEWISE_MAX_MESSAGE", "0", "--max-message 1048576"),
        ("FRAMEWISE_MAX_FRAGMENTS", "0", "--max-fragments 4096"),
        ("FRAMEWISE_MAX_CONTROL_RATE", "0", "--max-control-rate 10000"),
        ("FRAMEWISE_MAX_FRAGMENT_RATE", "0", "--max-fragment-rate 100000"),
        ("FRAMEWISE_LESSONS", "perhaps", "--lessons"),
        ("FRAMEWISE_RECORD", "/", "--record …"),
        ("FRAMEWISE_RECORD_LIMIT", "1", "--record-limit 1073741824"),
        ("FRAMEWISE_MAX_OUTPUT", "0", "--max-output 1048576"),
        ("FRAMEWISE_MAX_REQUEST_LINE", "0", "--max-request-line "),
        ("FRAMEWISE_MAX_HEAD", "9999999", "--max-head "),
        ("FRAMEWISE_MAX_HEADERS", "0", "--max-headers "),
        ("FRAMEWISE_MAX_HANDSHAKES", "0", "--max-handshakes 1024"),
        ("FRAMEWISE_HANDSHAKE_TIMEOUT", "0", "--handshake-timeout 10"),
        ("FRAMEWISE_PING_INTERVAL", "99999999", "--ping-interval 20"),
        ("FRAMEWISE_PONG_TIMEOUT", "0", "--pong-timeout 20"),
        ("FRAMEWISE_WRITE_TIMEOUT", "0", "--write-timeout 20"),
        ("FRAMEWISE_CONGESTION_TIMEOUT", "0", "--congestion-timeout 5"),
        ("FRAMEWISE_IDLE_TIMEOUT", "99999999", "--idle-timeout 0"),
        ("FRAMEWISE_CLOSE_TIMEOUT", "0", "--close-timeout 5"),
    ];
    let folder = Folder::with("faults", "");
    for (name, value, flag) in faults {
        folder.write("");
        let (_, error) = failure(folder.serve(&[]).env(name, value));
        let last = error.lines().last().expect("a line");
        assert!(last.starts_with("  the value comes from the environment variable"), "{error}");
        assert!(last.contains(&format!(" {name}")) && last.contains(flag), "{name}: {error}");
        folder.write(format!("# class\n{name}={value}\n"));
        let (_, error) = failure(&mut folder.serve(&[]));
        let last = error.lines().last().expect("a line");
        let start = format!("  the value comes from .env, line 2: {name}; to override it: {flag}");
        assert!(last.starts_with(&start), "{name}: {error}");
        // Where the flag is given, the flag is at fault.
        if name == "FRAMEWISE_RATE" {
            let (_, error) = failure(folder.serve(&["--rate", "x"]).env(name, value));
            assert!(!error.contains("comes from"), "{error}");
        }
    }
    // A setting that is not in the list has no test of its fault.
    let help = framewise(&["serve", "--help"]).output().expect("it runs");
    let help = String::from_utf8(help.stdout).expect("text");
    for name in help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next()) {
        assert!(faults.iter().any(|fault| fault.0 == name), "{name}");
    }
}

/// conda sets HOST to the platform of its compilers.
#[test]
fn a_host_of_another_program_is_explained() {
    let folder = Folder::with("host", "PORT=0\n");
    let conda = "x86_64-conda-linux-gnu";
    let (code, error) = failure(folder.serve(&[]).env("HOST", conda));
    assert_eq!(code, 1);
    assert!(error.starts_with("error: ") && error.contains(conda), "{error}");
    let words = "the value comes from the environment variable HOST, which other programs set too; \
        to override it: --host localhost\n";
    assert!(error.ends_with(words), "{error}");
    let (_, error) = failure(folder.serve(&["--lang", "pt"]).env("HOST", conda));
    assert!(error.contains("o valor vem da variável de ambiente HOST, que outros"), "{error}");
    let serve = Serve::start_with(folder.serve(&["--host", "localhost"]).env("HOST", conda));
    // The port is taken, so it is the one to change.
    let port = serve.address.port().to_string();
    let (_, error) = failure(folder.serve(&[]).envs([("HOST", "127.0.0.1"), ("PORT", &port)]));
    assert!(error.contains("variable PORT") && !error.contains("variable HOST"), "{error}");
}

#[test]
fn a_secret_is_not_repeated() {
    let folder = Folder::with("secret", "PORT=0\nFRAMEWISE_TOKEN='senhá secreta'\n");
    for lang in ["en", "pt"] {
        let (_, error) = failure(&mut folder.serve(&["--lang", lang]));
        assert!(error.contains("'…'") && !error.contains("secreta"), "{error}");
        let (_, error) = failure(&mut folder.serve(&["--lang", lang, "--token", "senhá"]));
        assert!(error.contains("'…'") && !error.contains("senhá"), "{error}");
        folder.write("PORT=0\nFRAMEWISE_TOKEN=secreta\n");
        let help = folder.serve(&["--lang", lang, "--help"]).output().expect("it runs");
        let help = String::from_utf8(help.stdout).expect("text");
        assert!(help.contains("--token") && !help.contains("secreta"), "{help}");
        assert!(help.contains("8765"), "the default of the program: {help}");
        folder.write("PORT=0\nFRAMEWISE_TOKEN='senhá secreta'\n");
    }
}

#[test]
fn a_line_that_can_be_read_in_two_ways_is_an_error() {
    let folder = Folder::with("lines", "");
    for (line, words) in [
        ("FRAMEWISE_TOKEN segredo", "line 3: this is not NAME=value"),
        ("FRAMEWISE_TOKEN: segredo", "line 3: this is not NAME=value"),
        ("FRAMEWISE_TOKEN=segredo da turma", "line 3, FRAMEWISE_TOKEN: a value with spaces"),
        ("FRAMEWISE_TOKEN=\"segredo", "line 3, FRAMEWISE_TOKEN: the closing quote is missing"),
        ("FRAMEWISE_TOKEN=segredo's", "line 3, FRAMEWISE_TOKEN: quotes belong around"),
        ("FRAMEWISE_TOKEN=\"segredo\\x\"", "line 3, FRAMEWISE_TOKEN: in double quotes"),
        ("FRAMEWISE_TOKEN='segredo'a", "line 3, FRAMEWISE_TOKEN: after the closing quote"),
        ("FRAMEWISE_TOKEN=segredo\0", "line 3: this line contains a control character"),
        ("FRAMEWISE_TOKEN=segredo\u{1b}[2J", "line 3: this line contains a control character"),
        (
            "FRAMEWISE_TOKN=segredo",
            "line 3: there is no setting FRAMEWISE_TOKN; the nearest one is FRAMEWISE_TOKEN",
        ),
        (
            "framewise_token=segredo",
            "line 3: there is no setting framewise_token; the nearest one is FRAMEWISE_TOKEN",
        ),
        // Kubernetes injects this name, but not into a file.
        (
            "FRAMEWISE_PORT=segredo",
            "line 3: there is no setting FRAMEWISE_PORT; the nearest one is PORT",
        ),
        ("PORT=segredo", "line 3: PORT is already set in line 1"),
    ] {
        folder.write(format!("PORT=0\n# of the class\n{line}\n"));
        let (code, error) = failure(&mut folder.serve(&[]));
        assert_eq!(code, 1, "{line:?}: {error}");
        assert!(error.starts_with(&format!("error: in .env {words}")), "{line:?}: {error}");
        assert!(!error.contains("segredo"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for file in [&b"\xff\xfeP\0O\0"[..], b"PORT=\xff\n"] {
        folder.write(file);
        let (_, error) = failure(&mut folder.serve(&[]));
        assert!(error.starts_with("error: in .env line 1: this is not UTF-8"), "{error}");
    }
    folder.write("#".repeat(64 * 1024 + 1));
    let (_, error) = failure(&mut folder.serve(&[]));
    assert!(error.starts_with("error: .env: the file has more than 65536 bytes"), "{error}");
    // Other commands have no settings in the file, which may be that of another program.
    let mut other = framewise(&["completions", "bash"]);
    assert!(other.current_dir(&folder.0).output().expect("it runs").status.success());
}

#[test]
fn the_file_may_be_of_another_program() {
    let folder = Folder::with("other", "DATABASE_URL='a b'\nTOKEN=x\nTOKEN=y\nPORT=0\n");
    Serve::start_with(&mut folder.serve(&[]));
    // It is the file of this folder that counts, not of one above.
    let below = folder.0.join("below");
    std::fs::create_dir_all(below.join(".env")).expect("a folder");
    folder.write("nonsense");
    // There, `.env` is a virtual environment of Python.
    Serve::start_with(framewise(&["serve", "--port", "0"]).current_dir(&below));
}

#[test]
fn an_unknown_variable_is_an_error_unless_it_was_injected() {
    let folder = Folder::with("unknown", "PORT=0\n");
    for name in ["FRAMEWISE_TOKN", "framewise_token", "FRAMEWISE_MAX_MESAGES"] {
        let (code, error) = failure(folder.serve(&[]).env(name, "segredo"));
        assert_eq!(code, 1);
        let start = format!(
            "error: environment variable {name}: there is no such setting; the nearest one is FRAMEWISE_"
        );
        assert!(error.starts_with(&start) && !error.contains("segredo"), "{error}");
    }
    let mut connect = framewise(&["connect", "127.0.0.1:1"]);
    let (_, error) = failure(connect.env("FRAMEWISE_LNAG", "pt"));
    assert!(error.contains("FRAMEWISE_LNAG") && error.contains("FRAMEWISE_LANG"), "{error}");
    // What Kubernetes and Docker links inject for a service of this name.
    let injected = [
        ("FRAMEWISE_PORT", "tcp://10.0.0.1:8765"),
        ("FRAMEWISE_PORT_8765_TCP_ADDR", "10.0.0.1"),
        ("FRAMEWISE_SERVICE_HOST", "10.0.0.1"),
        ("FRAMEWISE_SERVICE_PORT", "8765"),
        ("FRAMEWISE_NAME", "/web/framewise"),
        ("FRAMEWISE_ENV_PATH", "/bin"),
    ];
    let log = folder.0.join("log");
    let mut serve = folder.serve(&["--log-level", "debug"]);
    let mut serve = Serve::start_logging_to(serve.envs(injected), &log);
    serve.signal("TERM");
    assert!(serve.wait().success());
    let log = std::fs::read_to_string(log).expect("a log");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("Kubernetes")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("DEBUG"), "{log}");
    assert!(injected.iter().all(|(name, _)| lines[0].contains(name)), "{log}");
    assert!(!log.contains("10.0.0.1"), "names, and no values: {log}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_an_error() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = Folder::with("bytes", "PORT=0\n");
    let bytes = OsStr::from_bytes(b"\xff\xfe");
    for (lang, words) in [
        ("en", "the environment variable FRAMEWISE_TOKEN is not UTF-8 text\n"),
        ("pt", "a variável de ambiente FRAMEWISE_TOKEN não é texto UTF-8\n"),
    ] {
        let (_, error) = failure(folder.serve(&["--lang", lang]).env("FRAMEWISE_TOKEN", bytes));
        assert!(error.ends_with(words), "{error}");
    }
    // Names and values of other programs are not looked at.
    let mut serve = folder.serve(&[]);
    Serve::start_with(serve.env(bytes, bytes));
    let mut name = b"FRAMEWISE_".to_vec();
    name.push(0xff);
    let (_, error) = failure(folder.serve(&[]).env(OsStr::from_bytes(&name), "x"));
    assert!(error.contains("there is no such setting"), "{error}");
}
