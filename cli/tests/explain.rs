//! `framewise explain`: what it prints for digits, raw bytes and files, and its exit codes.

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use support::{HELLO, Serve, framewise, handshake, open, read_until};

/// Runs `framewise explain` with some bytes as its input.
fn explain(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = framewise(&["explain"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // A program that has refused its arguments reads nothing.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// RFC 6455 §5.7: the masked "Hello", as digits and as bytes, from the standard input, a file and the command line.
#[test]
fn the_example_of_the_standard_is_explained_bit_by_bit() {
    let expected = "From the client:

81  1.......                 FIN                      1                §5.2
    .0......                 RSV1                     0                §5.2
    ..0.....                 RSV2                     0                §5.2
    ...0....                 RSV3                     0                §5.2
    ....0001                 opcode                   1 (text)         §5.2
85  1.......                 MASK                     1                §5.2
    .0000101                 payload length           5                §5.2
    37 fa 21 3d              masking key                               §5.3
    payload data             7f 9f 4d 51 58
    masking key, repeated    37 fa 21 3d 37
    XOR: payload unmasked    48 65 6c 6c 6f
                             'Hello'
=> valid

";
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hello.bin");
    fs::write(&file, HELLO).expect("written");
    let file = file.to_str().expect("text");
    let digits = b"0x81 85\n37fa213d 7F9F4D51 58\n";
    for (arguments, input) in [
        (&[][..], HELLO),
        (&[], digits),
        (&["-", "--hex"], digits),
        (&["--raw"], HELLO),
        (&[file], b""),
        (&["8185", "37fa213d7f9f4d5158"], b""),
        (&["--from", "client", "818537fa213d7f9f4d5158"], b""),
    ] {
        let output = explain(arguments, input);
        assert_eq!((printed(&output).as_str(), output.status.code()), (expected, Some(0)));
    }
}

/// Both READMEs begin with this command and what it prints.
#[test]
fn the_readmes_show_what_explain_prints() {
    for (page, lang) in [("README.md", "en"), ("README.pt-BR.md", "pt")] {
        let text = fs::read_to_string(Path::new("..").join(page)).expect("a page");
        let output = explain(&["--lang", lang, "818537fa213d7f9f4d5158"], b"");
        let printed = printed(&output);
        let command = "$ framewise explain 818537fa213d7f9f4d5158";
        let block = format!("\n{command}\n{}\n```\n", printed.trim_end());
        assert!(text.contains(&block), "{page} should have {block}");
    }
}

/// RFC 6455 §5.5.1: the numbers of a Close have names, and a Close without a body has no code.
#[test]
fn the_body_of_a_close_is_explained() {
    for (lang, digits, line) in [
        ("en", "880503e8627965", "close code 1000, reason 'bye'\n=> valid\n\n"),
        ("pt", "880503e8627965", "código de fechamento 1000, motivo 'bye'\n=> válido\n\n"),
        ("en", "880203e9", "close code 1001\n=> valid\n\n"),
        ("en", "8800", "no close code, which a program reports as 1005\n=> valid\n\n"),
        (
            "pt",
            "8800",
            "sem código de fechamento, o que um programa relata como 1005\n=> válido\n\n",
        ),
    ] {
        let output = explain(&["--lang", lang, digits], b"");
        let end = format!("                             {line}");
        assert!(printed(&output).ends_with(&end), "{}", printed(&output));
    }
    let bad = printed(&explain(&["880203ed"], b""));
    assert!(bad.contains("  close code 1005\n=> broken at payload bytes 0 to 1"), "{bad}");
}

/// A broken frame: the bit, the rule, its section and the close code. The rest is not read.
#[test]
fn a_broken_frame_is_explained_up_to_the_bit_that_breaks_the_rule() {
    let output = explain(&["--from", "client", "810548656c6c6f"], b"");
    assert!(printed(&output).ends_with(
        "05  0.......                 MASK                     0                §5.2
    .0000101                 payload length           5                §5.2
=> broken at bit 8 (MASK): RFC 6455 5.1: a client must mask every frame (close code 1002)
not read: 48 65 6c 6c 6f
"
    ));
    assert_eq!(output.status.code(), Some(3));
    let output = explain(&["--lang", "pt", "--from", "server", "8885"], b"");
    assert!(printed(&output).starts_with("Do servidor:\n"));
    assert_eq!(output.status.code(), Some(3));
    // A limit is the choice of a server.
    let output = explain(&["827f0000000010000000"], b"");
    assert!(printed(&output).ends_with(
        "message larger than the limit (close code 1009)
   This is a limit of the server, which it may choose (RFC 6455 10.4).
"
    ));
}

/// A request with the computation of the Accept value, a request that is refused, and a response with frames after it.
#[test]
fn heads_are_explained() {
    let request =
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let output = explain(&[], request);
    let text = printed(&output);
    assert!(
        text.starts_with("From the client:\n\n    request line             GET /ws HTTP/1.1\n")
    );
    assert!(text.contains("                             base64: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n"));
    assert!(text.ends_with("=> valid: part of an opening handshake\n\n"), "{text}");
    assert_eq!(output.status.code(), Some(0));

    let output = explain(&[], b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n\x81\x80");
    assert!(printed(&output).ends_with(
        "=> refused with 400: Connection contains Upgrade (RFC 6455 4.2.1)
   found: nothing
not read: 81 80
"
    ));
    assert_eq!(output.status.code(), Some(3));

    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let output = explain(&[], &[switching.as_bytes(), b"\x8a\0"].concat());
    assert!(
        printed(&output)
            .contains("    status line              HTTP/1.1 101 Switching Protocols\n")
    );
    assert!(printed(&output).ends_with("=> valid\n\n"));

    let output = explain(&[], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert!(
        printed(&output).ends_with("=> valid: plain HTTP\n\n    body                     hello\n")
    );
    assert_eq!(output.status.code(), Some(0));
    let output = explain(&[], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
    assert!(printed(&output).ends_with("the input ends in the middle of the body\n"));
    assert_eq!(output.status.code(), Some(1));

    let output = explain(&[], b"GET / HTTP/1.1\r\nHost: h\r\n");
    assert!(
        printed(&output).ends_with("the input ends before the empty line that ends the head\n")
    );
    assert_eq!(output.status.code(), Some(1));
}

/// The standard refuses the well-known key of 13 bytes, and `framewise serve` does not. The explanation says both.
#[test]
fn a_key_that_the_server_accepts_all_the_same_has_a_note() {
    let short = handshake("/ws", "localhost", "SGVsbG8sIHdvcmxkIQ==");
    for (lang, end) in [
        (
            "en",
            "=> refused with 400: Sec-WebSocket-Key decodes to 16 bytes (RFC 6455 4.2.1)
   found: a key of 13 bytes
   framewise serve accepts such a key, unless it is started with --strict-key.\n",
        ),
        (
            "pt",
            "=> recusado com 400: Sec-WebSocket-Key decodificado tem 16 bytes (RFC 6455 4.2.1)
   encontrado: uma chave de 13 bytes
   framewise serve aceita uma chave assim, a menos que seja iniciado com --strict-key.\n",
        ),
    ] {
        let output = explain(&["--lang", lang], short.as_bytes());
        assert!(printed(&output).ends_with(end), "{}", printed(&output));
        assert_eq!(output.status.code(), Some(3));
    }
    for other in ["", "SGVsbG8sIHdvcmxkIQ"] {
        let output = explain(&[], handshake("/ws", "localhost", other).as_bytes());
        assert!(!printed(&output).contains("--strict-key"), "{}", printed(&output));
    }
    // What the note promises.
    let serve = Serve::start(&[]);
    let request = handshake("/ws", serve.address, "SGVsbG8sIHdvcmxkIQ==");
    let response = read_until(&mut open(&serve, request.as_bytes()), b"\r\n\r\n");
    assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", response.escape_ascii());
}

/// RFC 6455 §4.1-42, §4.1-47: a response is judged as a client judges it, and the frames after a broken one are not read.
#[test]
fn a_broken_response_is_explained_as_a_client_explains_it() {
    let why = "=> broken: the response does not open a WebSocket (RFC 6455 4.1)";
    for (head, end) in [
        ("HTTP/1.1 101\r\nUpgrade: h2c", ": Upgrade is not websocket\nnot read: 8a 00\n"),
        ("HTTP/1.1 101 x", ": Upgrade is not websocket\nnot read: 8a 00\n"),
        ("HTTP/1.1 1010 x", ": the first line is not a status line of HTTP/1.1\nnot read: 8a 00\n"),
    ] {
        let output = explain(&[], &[head.as_bytes(), b"\r\n\r\n\x8a\0"].concat());
        assert!(printed(&output).ends_with(&format!("{why}{end}")), "{}", printed(&output));
        assert_eq!(output.status.code(), Some(3));
    }
    let output = explain(&[], b"HTTP/1.1 101 x\n");
    assert!(
        printed(&output)
            .ends_with(&format!("{why}: each line of the head ends with CR LF\n   found: \\x0a\n"))
    );
}

/// Input that ends in the middle of a frame is shown as far as it goes.
#[test]
fn incomplete_input_is_explained_as_far_as_it_goes() {
    for (digits, end) in [
        ("81", "=> incomplete: the input ends before bit 8 (MASK)\n"),
        ("818537", "=> incomplete: the input ends before bit 24 (masking key)\n"),
        (
            "818500000000ff",
            "=> broken at payload byte 0: RFC 6455 8.1: text must be valid UTF-8 (close code 1007)\n",
        ),
        ("81850000000048", "=> incomplete: the input ends after 1 of 5 payload bytes\n"),
    ] {
        let output = explain(&["--from", "client", digits], b"");
        assert!(printed(&output).ends_with(end), "{}", printed(&output));
        assert_ne!(output.status.code(), Some(0));
    }
}

/// Mistyped digits in a pipe are not taken as raw bytes without a word. A prefix may be written in capitals.
#[test]
fn text_that_is_taken_as_raw_bytes_is_pointed_out() {
    let output = explain(&[], b"0X8100\n");
    assert!(printed(&output).ends_with("=> valid\n\n"), "{}", printed(&output));
    for (lang, start) in [("en", "note: this text is neither"), ("pt", "nota: este texto n\u{e3}o")]
    {
        let output = explain(&["--lang", lang], b"hello world");
        let note = String::from_utf8_lossy(&output.stderr);
        assert!(
            note.starts_with(start) && note.ends_with("81 05 ou 0x8105\n") == (lang == "pt"),
            "{note}"
        );
        assert_eq!(note.lines().count(), 1);
        assert_eq!(output.status.code(), Some(3));
    }
    for (arguments, input) in [(&["--raw"][..], &b"hello world"[..]), (&[], HELLO)] {
        assert_eq!(explain(arguments, input).stderr, b"", "{arguments:?}");
    }
}

/// Input that cannot be what was meant is refused with exit code 2.
#[test]
fn unusable_input_is_a_clear_error() {
    for (arguments, input, error) in [
        (&[][..], &b""[..], "error: there is nothing to explain: the input is empty\n"),
        (&[], b" \r\n", "error: there is nothing to explain: the input is empty\n"),
        (
            &[],
            b"818",
            "error: 3 hexadecimal digits make no whole bytes; with --raw, the input is taken as it is\n",
        ),
        (&["--hex"], b"81 zz", "error: the input has something other than hexadecimal digits\n"),
        (
            &["no such file"],
            b"",
            "error: 'no such file' is neither a file nor hexadecimal digits\n",
        ),
    ] {
        let output = explain(arguments, input);
        assert_eq!(String::from_utf8_lossy(&output.stderr), error);
        assert_eq!((printed(&output).as_str(), output.status.code()), ("", Some(2)));
    }
}
