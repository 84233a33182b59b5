"""Shows that a page that is not true any more is noticed: plays a small page, and then the same page with one change each."""

import concurrent.futures
import os
import pathlib
import shutil
import tempfile

import form

PAGE = """\
# Self-test

*[Em português](../pt/01-self.md)*

- **Goal:** none
- **Time:** 20 minutes
- **You need:** `framewise`, `curl`, `xxd`

[Worksheet](01-self-worksheet.md)

```console terminal=1 runs
$ framewise serve --log-level warn
Classroom server on http://127.0.0.1:8765
Classroom server on http://[::1]:8765
Ctrl+C stops it
```

```text file=bytes.txt
one
```

```console terminal=2
$ xxd bytes.txt
00000000: 6f6e 650a                                one.
$ printf 'two' | \\
  xxd
00000000: 7477 6f                                  two
$ curl http://localhost:8765/health
{"status":"ok","connections":0,"uptime_seconds":7,"version":"VERSION"}
```

```console terminal=2 random=sizes
$ seq 528328 528328
541234
```

```console terminal=2 random=order
$ printf '> one\\n> more\\n< two\\n'
< two
> one
> more
```

```console terminal=2 random=records
$ printf '> 17 03 03 00 1c | application data, %s bytes\\n' 28
> 17 03 03 00 1d | application data, 29 bytes
```

```powershell
Format-Hex bytes.txt
```

```console terminal=2 random=speed
$ framewise load ws://localhost:8765/echo --peers 1 --rate 10 --duration 1
1 peers, 1.0 s: 10 messages sent, 10 received, 10 a second
ms   p50 0.71   p90 0.95   p99 1.33   p99.9 1.33   max 1.33
      1.33  ██████████████████████████████████████████████████ 10
```

```console terminal=2 random=keys
$ framewise connect --trace -x hello -1 localhost:8765/echo
> GET /echo HTTP/1.1
> Host: localhost:8765
> Upgrade: websocket
> Connection: Upgrade
> Sec-WebSocket-Key: 5ZNXx1Ft63G1L6Hg0Ip+vQ==
= key + GUID: 5ZNXx1Ft63G1L6Hg0Ip+vQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11
= SHA-1: 73 6f da 56 6d 40 3a 71 ef 5e 6a bc 5d 0b ae a2 00 c3 50 86
= base64: c2/aVm1AOnHvXmq8XQuuogDDUIY=
> Sec-WebSocket-Version: 13
> Accept-Language: en
>
< HTTP/1.1 101 Switching Protocols
< Upgrade: websocket
< Connection: Upgrade
< Sec-WebSocket-Accept: c2/aVm1AOnHvXmq8XQuuogDDUIY=
<
> 81 85 4e db 0f 7b | FIN=1 RSV=000 opcode=1 (text) MASK=1 length=5 key=4e db 0f 7b
> 26 be 63 17 21 | payload data, unmasked: 68 65 6c 6c 6f 'hello'
< 81 0b | FIN=1 RSV=000 opcode=1 (text) MASK=0 length=11
< 45 63 68 6f 3a 20 68 65 6c 6c 6f | payload data 'Echo: hello'
Echo: hello
> 88 82 5d 56 b8 db | FIN=1 RSV=000 opcode=8 (close) MASK=1 length=2 key=5d 56 b8 db
> 5e be | payload data, unmasked: 03 e8 1000
< 88 02 | FIN=1 RSV=000 opcode=8 (close) MASK=0 length=2
< 03 e8 | payload data 1000
Closed: 1000
```

```console terminal=3 input=">"
$ framewise connect localhost:8765/echo
Connected to localhost:8765/echo. /help shows the commands, /exit leaves.
> hello
< Echo: hello
> /raw 81 05
Closed: 1002 RFC 6455 5.1: a client must mask every frame
```

```console terminal=1 runs tail
2026-11-26T19:17:55Z  WARN closed: a rule was broken: a client must mask every frame peer=0.3 address=127.0.0.1 code=1002 clause="5.1-2"
```

```console terminal=1
^CStopping: everybody gets a Close 1001. Ctrl+C again stops at once.
```

<details><summary>Answer</summary>

Nothing.

</details>

## Exercises

All of it.
"""

# What is changed in the page, and a text on the line, of the page as it was, at which the fault is reported.
CHANGES = [
    ("a word of an output", "6f6e 650a                                one.", "6f6e 650a                                two.", "6f6e"),
    ("a command", "$ xxd bytes.txt", "$ xxd -p bytes.txt", "6f6e"),
    ("a file", "\none\n```", "\none more\n```", "6f6e"),
    ("a line too many", "two\n$ curl", "two\nand three\n$ curl", "$ curl"),
    ("a line too few at the end of a program that goes on", "Ctrl+C stops it\n", "", "Ctrl+C stops it"),
    ("a line too few in between", "Classroom server on http://[::1]:8765\n", "", "[::1]"),
    ("a line too few after Ctrl+C", "^CStopping: everybody gets a Close 1001. Ctrl+C again stops at once.", "^C", "stops at once"),
    ("a reply", "< Echo: hello", "< hello", "< Echo: hello"),
    ("what is typed", "> hello", "> hallo", "< Echo: hello"),
    ("the last line of a program", "Closed: 1002 RFC 6455 5.1", "Closed: 1002 RFC 6455 5.2", "Closed: 1002"),
    ("a log line", "code=1002 clause", "code=1007 clause", "WARN"),
    ("a port", 'address=127.0.0.1 code=1002 clause', 'address=127.0.0.1:8765 code=1002 clause', "WARN"),
    ("another first digit of a size", "541234", "641234", "541234"),
    ("another count of digits of a size", "541234", "54123", "541234"),
    ("a size that is said to be fixed", " random=sizes", "", "541234"),
    ("an order that is said to be fixed", " random=order", "", "< two\n>"),
    ("an order within a direction", "> one\n> more\n```", "> more\n> one\n```", "< two\n>"),
    ("a line of one direction", "< two\n>", "< three\n>", "< two\n>"),
    ("a length that is said to be fixed", " random=records", "", "29 bytes"),
    ("another kind of record", "> 17 03 03 00 1d", "> 16 03 03 00 1d", "29 bytes"),
    ("a number of messages", "10 messages sent", "11 messages sent", "10 messages sent"),
    ("the name of a latency", "p50", "p51", "p50"),
    ("a random key that is said to be fixed", " random=keys", "", "> Sec-WebSocket-Key"),
    ("a header next to a random key", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 14", "Version: 13"),
    ("a program that the page does not list", "`curl`, `xxd`", "`curl`", "6f6e"),
    ("a program that is not installed", "`curl`, `xxd`", "`curl`, `xxd`, `no-such-program`", "- **You need"),
    ("a package that is not installed", "`xxd`\n", "`xxd`, `python3` with the package no_such_package\n", "- **You need"),
    ("a busy terminal", "```console terminal=2\n$ xxd", "```console terminal=1\n$ xxd", "$ xxd"),
    ("a program that has to go on", "```console terminal=2\n$ xxd", "```console terminal=2 runs\n$ xxd", "$ curl"),
    ("a program that has to end", "```console terminal=1 runs\n", "```console terminal=1\n", "$ framewise serve"),
    ("an option that does not exist", "terminal=1 runs tail", "terminal=1 run tail", "runs tail"),
    ("a block that is not closed", "stops at once.\n```", "stops at once.", "```console terminal=1\n^C"),
]

FORMS = [
    ("no time", "- **Time:** 20 minutes", "", "# Self-test"),
    ("a long lesson", "20 minutes", "90 minutes", "# Self-test"),
    ("no programs", "- **You need:**", "- You need:", "# Self-test"),
    ("nothing to predict", "<summary>Answer</summary>", "", "# Self-test"),
    ("no other language", "(../pt/01-self.md)", "", "# Self-test"),
    ("no worksheet", "(01-self-worksheet.md)", "", "# Self-test"),
    ("a link that leads nowhere", "All of it.", "[All of it](none.md).", "All of it."),
    ("no form for PowerShell", "```powershell", "```text", "```console terminal=2\n$ xxd"),
    ("a text that is not rendered", "</summary>\n\n", "</summary>\n", "\nNothing."),
    ("a fold that stays open", "</details>", "", "All of it."),
]


def line_of(page, text):
    """Returns the number of the line on which a text begins."""
    return page[: page.index(text)].count("\n") + 1


# What is changed in a copy of all lessons, and what is reported then.
LESSONS_CHANGES = [
    ("a page that is missing in a language", "pt/01-handshake.md", None, "FAILED en/01-handshake.md:1: there is no pt/01-handshake.md"),
    ("a lesson that no index lists", "README.pt-BR.md", ("(pt/02-frame.md)", ""), "FAILED README.pt-BR.md:1: there is no link to pt/02-frame.md"),
    ("a picture that was changed by hand", "pictures/frame-en.svg", ("fa", "fb"), "FAILED pictures/frame-en.svg"),
    ("bytes that a picture does not show", "files/attack.py", ("school.example", "library.example"), "FAILED pictures/poisoning-pt.svg"),
    ("a compressed message that a picture does not show", "pt/11-compression.md", ("ca cf c9", "ca ce c9"), "FAILED pictures/pieces-pt.svg"),
    ("a record that no lesson shows", "pt/12-tls.md", ("> 17 03 03 00 1c |", "> 17 03 03 00 1d |"), "FAILED pictures"),
    ("a delay that a picture does not show", "files/client.py", ("2 ** (", "3 ** ("), "FAILED pictures/reconnect-en.svg"),
    ("a key that a picture does not show", "files/request.http", ("dGhl", "dGhm"), "FAILED pictures/accept-en.svg"),
]


def check_all(lessons, framewise, pictures):
    """Returns a line for each change of a copy of all lessons."""
    log = []
    for words, name, change, wanted in LESSONS_CHANGES:
        with tempfile.TemporaryDirectory(prefix="framewise-lesson-") as folder:
            copy = pathlib.Path(folder) / "docs" / "lessons"
            shutil.copytree(lessons, copy)
            path = copy / name
            if change:
                before = path.read_bytes()
                after = before.replace(change[0].encode(), change[1].encode(), 1)
                assert before != after, words
                path.write_bytes(after)
            else:
                path.unlink()
            result = form.check(copy) + pictures(copy, framewise)
            is_found = any(row.startswith(wanted) for row in result.splitlines())
            log.append(f"{'ok    ' if is_found else 'FAILED'} self-test: {words} is noticed")
            log += [] if is_found else ["    | " + row for row in result.splitlines()]
    return "".join(line + "\n" for line in log)


def check(framewise, play, version):
    """Returns a line for each change."""
    page = PAGE.replace("VERSION", version)
    log = []

    def expect(is_fine, words, details):
        log.append(f"{'ok    ' if is_fine else 'FAILED'} self-test: {words}")
        if not is_fine:
            log.extend("    | " + row for row in details.splitlines())

    with tempfile.TemporaryDirectory(prefix="framewise-lesson-") as folder:

        def pages(name):
            """Returns a place for the page, in a folder of its own."""
            path = pathlib.Path(folder) / name / "en" / "01-self.md"
            for other in path, path.with_name("01-self-worksheet.md"), path.parent.parent / "pt" / path.name:
                other.parent.mkdir(parents=True, exist_ok=True)
                other.touch()
            return path

        path = pages("true")
        path.write_text(page)
        result, is_fine = play(path, framewise)
        expect(is_fine and result.count("ok ") == 10, "a page that is true", result)

        def changed(case):
            words, old, new, place = case
            assert page.count(old) == 1, words
            path = pages(words)
            path.write_text(page.replace(old, new))
            # What does not come is not waited for as long as elsewhere.
            result, _ = play(path, framewise, patience=3)
            failures = [row for row in result.splitlines() if row.startswith("FAILED ")]
            is_found = [row.startswith(f"FAILED en/01-self.md:{line_of(page, place)}:") for row in failures] == [True]
            return is_found, f"{words} is noticed", result

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as players:
            for outcome in players.map(changed, CHANGES):
                expect(*outcome)

        path.write_text(page.replace("< Echo: hello", "< hello").replace("one.", "two."))
        play(path, framewise, update=True, patience=3)
        repaired = path.read_text()
        expect("< Echo: hello" in repaired and play(path, framewise)[1], "--update repairs a page", repaired)

        expect(form.faults(path, page) == [], "a page of the right form", "\n".join(form.faults(path, page)))
        for words, old, new, place in FORMS:
            assert page.count(old) == 1, words
            faults = form.faults(path, page.replace(old, new))
            is_found = any(fault.startswith(f"en/01-self.md:{line_of(page, place)}:") for fault in faults)
            expect(is_found, f"form: {words} is noticed", "\n".join(faults))
    return "".join(line + "\n" for line in log)
