"""`framewise connect` in a terminal (tmux), against servers that can be told to wait, to fall silent and to break off.

usage: terminal.py FRAMEWISE [CHECK...]. Prints a line for each check, which begins with "ok" or "FAILED".
"""

import base64
import hashlib
import os
import queue
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 30
framewise = os.path.abspath(sys.argv[1])
only = sys.argv[2:]
work = tempfile.mkdtemp(prefix="framewise-terminal-")


with open(work + "/tmux.conf", "w") as settings:
    settings.write("set -g history-limit 20000\n")


class Lost(Exception):
    """The peer closed TCP."""


class Connection:
    """One client of a `Server`. The test decides when it is answered."""

    def __init__(self, sock):
        self.sock = sock
        self.unread = b""
        self.request = self.until(b"\r\n\r\n").decode("latin-1")

    def read(self):
        try:
            more = self.sock.recv(65536)
        except OSError:
            more = b""
        if not more:
            raise Lost
        self.unread += more

    def until(self, end):
        while end not in self.unread:
            self.read()
        found, self.unread = self.unread.split(end, 1)
        return found

    def take(self, count):
        while len(self.unread) < count:
            self.read()
        found, self.unread = self.unread[:count], self.unread[count:]
        return found

    def accept(self):
        """Answers the handshake."""
        key = next(line.split(": ")[1] for line in self.request.splitlines() if line.startswith("Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        self.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        return self

    def frame(self):
        """The next frame: opcode and payload."""
        first, second = self.take(2)
        length = second & 127
        if length > 125:
            length = int.from_bytes(self.take(2 if length == 126 else 8), "big")
        key = self.take(4)
        payload = self.take(length)
        return first & 15, bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))

    def send(self, text, opcode=1):
        payload = text.encode() if isinstance(text, str) else text
        assert len(payload) < 65536
        length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
        self.sock.sendall(bytes([128 | opcode]) + length + payload)

    def texts(self, count):
        """The next text messages, fewer if the client sends no more. Pings are answered."""
        texts = []
        while len(texts) < count:
            try:
                opcode, payload = self.frame()
            except Lost:
                break
            if opcode == 1:
                texts.append(payload.decode())
            elif opcode == 9:
                self.send(payload, 10)
            elif opcode == 8:
                break
        return texts

    def close_code(self):
        """The code of the client's Close, which is answered."""
        while True:
            opcode, payload = self.frame()
            if opcode == 8:
                self.send(payload, 8)
                self.sock.close()
                return int.from_bytes(payload[:2], "big")

    def drop(self):
        """Closes TCP without a Close."""
        self.sock.close()


class Server:
    """Listens. Each client waits in a queue until a test takes it."""

    def __init__(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        self.clients = queue.Queue()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            self.clients.put(sock)

    def client(self):
        return Connection(self.clients.get(timeout=PATIENCE))

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def tmux(*arguments, **options):
    command = ["tmux", "-S", work + "/socket", "-f", work + "/tmux.conf", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def wait_until(condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


class Terminal:
    """A tmux window with a command in it."""

    count = 0

    def __init__(self, command, width=100, height=30):
        Terminal.count += 1
        self.name = f"t{Terminal.count}"
        environment = f"HOME={shlex.quote(work)} LANG=en_US.UTF-8 PS1='shell$ '"
        tmux("new-session", "-d", "-s", self.name, "-x", str(width), "-y", str(height), f"env {environment} {command}")

    def screen(self):
        return tmux("capture-pane", "-p", "-J", "-t", self.name)

    def everything(self):
        """The lines of the screen, and those that have left it at the top."""
        return [line.rstrip() for line in tmux("capture-pane", "-p", "-J", "-S", "-", "-t", self.name).splitlines()]

    def shows(self, text, times=1):
        """Waits until the text is on the screen. A terminal has no events, so its content is polled."""
        try:
            wait_until(lambda: self.screen().count(text) >= times)
        except AssertionError:
            print(self.screen()[-2000:])
            raise AssertionError(f"{text!r} is not on the screen") from None

    def paste(self, text, *options):
        """Everything at once. Without the option -p there are no brackets around what is pasted."""
        tmux("load-buffer", "-b", self.name, "-", input=text)
        tmux("paste-buffer", *options, "-d", "-b", self.name, "-t", self.name)

    def keys(self, *keys):
        tmux("send-keys", "-t", self.name, *keys)

    def type(self, text):
        tmux("send-keys", "-t", self.name, "-l", text)


def connect(arguments, before="", after=""):
    """`framewise connect` in a terminal that stays open after it."""
    # On Ctrl+C without a line editor, the shell gets SIGINT too.
    inner = f"trap : INT; {before} {shlex.quote(framewise)} connect {arguments} {after}; echo code $?; exec cat"
    return Terminal("sh -c " + shlex.quote(inner))


checks = []


def check(function):
    checks.append(function)
    return function


def equal(found, wanted):
    assert found == wanted, f"{found!r:.300} is not {wanted!r:.300}"


EIGHT = [f"line {n}" for n in range(1, 9)]


def burst(lines):
    return "".join(line + "\n" for line in lines)


@check
def eight_lines_pasted_at_once_are_all_sent():
    server = Server()
    terminal = connect(server.url)
    client = server.client().accept()
    terminal.shows("Connected to")
    terminal.paste(burst(EIGHT))
    equal(client.texts(8), EIGHT)


@check
def keys_in_one_burst_are_all_sent():
    server = Server()
    terminal = connect(server.url)
    client = server.client().accept()
    terminal.shows("Connected to")
    terminal.keys(*[key for line in EIGHT for key in (line, "Enter")])
    equal(client.texts(8), EIGHT)


@check
def a_thousand_lines_are_all_sent():
    server = Server()
    terminal = connect(server.url)
    client = server.client().accept()
    terminal.shows("Connected to")
    lines = [f"line {n} " + "x" * (n % 90) for n in range(1000)]
    terminal.paste(burst(lines))
    equal(client.texts(1000), lines)
    # The kernel echoes nothing between two prompts.
    equal([line for line in terminal.everything()[1:] if line and not line.startswith(">")], [])


@check
def lines_typed_before_the_connection_is_open_are_sent():
    server = Server()
    terminal = connect(server.url)
    client = server.client()
    long = "y" * 10_000
    terminal.paste(burst([*EIGHT, long, "last"]))
    # tmux has passed it all on when it shows what is typed after it.
    terminal.type("half")
    terminal.shows("half")
    client.accept()
    equal(client.texts(10), [*EIGHT, long, "last"])
    terminal.keys("Enter")
    equal(client.texts(1), ["half"])


@check
def lines_pasted_while_replies_arrive_are_sent():
    server = Server()
    terminal = connect(server.url)
    client = server.client().accept()
    terminal.shows("Connected to")

    def talk():
        for n in range(500):
            client.send(f"reply {n}")

    talker = threading.Thread(target=talk)
    talker.start()
    lines = [f"line {n}" for n in range(200)]
    terminal.paste(burst(lines))
    equal(client.texts(200), lines)
    talker.join()


@check
def lines_pasted_during_a_reconnect_are_sent():
    server = Server()
    terminal = connect("--reconnect " + server.url)
    client = server.client().accept()
    terminal.shows("Connected to")
    server.stop()
    client.drop()
    terminal.shows("Connecting again")
    terminal.paste(burst(EIGHT))
    again = Server(server.port)
    client = again.client().accept()
    equal(client.texts(8), EIGHT)


@check
def a_tab_is_sent():
    server = Server()
    terminal = connect(server.url)
    client = server.client().accept()
    terminal.shows("Connected to")
    terminal.paste("a\tb\n")
    equal(client.texts(1), ["a\tb"])


@check
def lines_before_exit_and_before_ctrl_d_are_sent():
    for end in "/exit\n", "\x04", "\x03":
        server = Server()
        terminal = connect(server.url)
        client = server.client().accept()
        terminal.shows("Connected to")
        terminal.paste(burst(EIGHT) + end)
        equal(client.texts(8), EIGHT)
        equal(client.close_code(), 1000)
        terminal.shows("code 0")


@check
def typed_lines_of_a_closed_connection_are_counted():
    server = Server()
    terminal = connect(server.url)
    client = server.client()
    terminal.paste("one\ntwo\nthree\n")
    terminal.type("half")
    terminal.shows("half")
    client.drop()
    terminal.shows("Lines not sent, because the connection is closed: 3")
    terminal.shows("code 1")
    # What was typed of another line is still there, and the terminal works as before.
    terminal.shows("> half")
    terminal.type("works")
    terminal.keys("Enter")
    terminal.shows("works", 2)


@check
def the_last_message_is_shown():
    for count in 5, 5000:
        server = Server()
        terminal = connect(server.url)
        client = server.client().accept()
        terminal.shows("Connected to")
        for n in range(count):
            client.send(f"last words {n}")
        client.send(b"\x03\xe8bye", 8)
        terminal.shows("Closed: 1000 bye")
        terminal.shows("code 0")
        lines = [line for line in terminal.everything() if line and line != ">"]
        equal(lines[1:], [f"< last words {n}" for n in range(count)] + ["Closed: 1000 bye", "code 0"])


@check
def ctrl_c_ends_it_although_the_server_does_not_read():
    server = Server()
    terminal = connect(server.url)
    server.client().accept()
    terminal.shows("Connected to")
    # More than the buffers of TCP and the client's own hold. With brackets the editor takes it all at once.
    for _ in range(5):
        terminal.paste("z" * 1_500_000, "-p")
        terminal.keys("Enter")
    terminal.paste("last\n")
    terminal.keys("C-c")
    terminal.shows("Lines not sent, because the connection is closed: ")
    terminal.shows("code 3")


@check
def messages_are_received_while_the_history_is_searched():
    server = Server()
    terminal = connect(server.url)
    client = server.client().accept()
    terminal.shows("Connected to")
    # An empty history is not searched.
    terminal.paste("one\n")
    equal(client.texts(1), ["one"])
    terminal.keys("C-r")
    terminal.shows("reverse-i-search")
    for n in range(20):
        client.send(f"message {n}")
    client.send(b"still there?", 9)
    while client.frame() != (10, b"still there?"):
        pass
    terminal.keys("C-g")
    terminal.shows("< message 19")
    # The server closes during the next search.
    terminal.keys("C-r")
    terminal.shows("reverse-i-search")
    for n in range(20):
        client.send(f"late {n}")
    client.send(b"\x03\xe8bye", 8)
    terminal.shows("code 0")
    lines = [line for line in terminal.everything() if line]
    equal(lines[-22:], [f"< late {n}" for n in range(20)] + ["Closed: 1000 bye", "code 0"])


@check
def sigterm_restores_the_terminal():
    server = Server()
    pid_file = f"{work}/pid"
    terminal = Terminal("sh -c " + shlex.quote(f"sh -c 'echo $$ >{pid_file}; exec {framewise} connect {server.url}'; echo code $?; exec cat"))
    client = server.client().accept()
    terminal.shows("Connected to")
    terminal.type("half")
    terminal.shows("half")
    os.kill(int(open(pid_file).read()), signal.SIGTERM)
    equal(client.close_code(), 1000)
    terminal.shows("code 0")
    terminal.type("works")
    terminal.keys("Enter")
    terminal.shows("works", 2)


@check
def what_is_no_utf_8_is_refused_and_the_session_goes_on():
    server = Server()
    terminal = connect(server.url)
    client = server.client().accept()
    terminal.shows("Connected to")
    tmux("send-keys", "-t", terminal.name, "-H", "61", "ff", "0d")
    terminal.shows("Not sent: what was typed is not UTF-8")
    terminal.paste("olá\n")
    equal(client.texts(1)[-1][-3:], "olá")


@check
def a_dumb_terminal_has_prompts_and_commands():
    server = Server()
    terminal = connect(server.url, "TERM=dumb")
    client = server.client()
    terminal.shows("> ")
    terminal.paste("early\n")
    client.accept()
    terminal.shows("Connected to")
    equal(client.texts(1), ["early"])
    client.send("hello")
    terminal.shows("< hello\n>")
    terminal.paste(burst(EIGHT))
    equal(client.texts(8), EIGHT)
    terminal.paste("/ping hi\n")
    equal(client.frame(), (9, b"hi"))
    client.send("hi", 10)
    terminal.shows("< pong hi")
    terminal.paste("/help\n/dance\n")
    terminal.shows("/frag N text")
    terminal.shows("there is no command /dance")
    assert "\x1b" not in terminal.screen()
    terminal.paste("y" * 5000 + "\n")
    terminal.shows("Not sent: this terminal passes on at most 4095 bytes")
    terminal.paste("x" * 4094 + "\n")
    equal(client.texts(1), ["x" * 4094])
    terminal.paste("/exit\n")
    equal(client.close_code(), 1000)
    terminal.shows("Closed: 1000")
    terminal.shows("code 0")


@check
def a_piped_output_has_messages_only_and_the_terminal_prompts_and_commands():
    server = Server()
    heard = f"{work}/heard"
    terminal = connect(server.url, after=f">{heard}")
    client = server.client().accept()
    terminal.shows("Connected to")
    terminal.shows("> ")
    terminal.paste(burst(EIGHT) + "/ping hi\n")
    equal(client.texts(8), EIGHT)
    equal(client.frame(), (9, b"hi"))
    client.send("hi", 10)
    terminal.shows("< pong hi")
    client.send("one")
    client.send("two")
    wait_until(lambda: open(heard).read() == "one\ntwo\n")
    terminal.paste("/dance\n/close 4000 bye\n")
    terminal.shows("there is no command /dance")
    equal(client.close_code(), 4000)
    terminal.shows("Closed: 4000 bye")
    terminal.shows("code 3")
    equal(open(heard).read(), "one\ntwo\n")


@check
def ctrl_c_closes_it_properly_without_a_line_editor():
    server = Server()
    for before, after in ("TERM=dumb", ""), ("", f">{work}/none"):
        terminal = connect(server.url, before, after)
        client = server.client().accept()
        terminal.shows("Connected to")
        terminal.keys("C-c")
        equal(client.close_code(), 1000)
        terminal.shows("Closed: 1000")


@check
def after_ctrl_z_and_fg_the_line_editor_is_in_its_mode():
    for shell in "bash --norc -i", "dash -i":
        server = Server()
        terminal = Terminal(shell)
        terminal.shows("shell$")
        terminal.type(f"{framewise} connect {server.url}\n")
        client = server.client().accept()
        terminal.shows("Connected to")
        terminal.type("ab")
        terminal.shows("> ab")
        terminal.keys("C-z")
        # The shell's prompt, and its mode.
        terminal.shows("shell$", 2)
        terminal.type("stty -a | grep -ow -e '-*icanon' -e '-*echo' -e '-*isig' | tr '\\n' ' '; echo mode\n")
        terminal.shows("isig icanon echo mode")
        terminal.type("fg\n")
        # Left is a key of the editor only. The line was kept.
        terminal.shows("> ab")
        terminal.keys("Left")
        terminal.type("-")
        terminal.shows("> a-b")
        terminal.keys("Enter")
        equal(client.texts(1), ["a-b"])
        terminal.paste(burst(EIGHT))
        equal(client.texts(8), EIGHT)
        # A second time, with a line pasted after it.
        terminal.keys("C-z")
        terminal.shows("shell$", 4)
        terminal.type("fg\n")
        terminal.shows("fg", 2)
        terminal.paste("again\n")
        equal(client.texts(1), ["again"])
        terminal.type("/exit\n")
        equal(client.close_code(), 1000)
        terminal.shows("Closed: 1000")


@check
def a_stop_from_elsewhere_keeps_the_mode():
    server = Server()
    # This shell does not restore the mode of a job, as others do.
    terminal = Terminal("dash -i")
    terminal.shows("shell$")
    pid_file = f"{work}/pid.stop"
    terminal.type(f"sh -c 'echo $$ >{pid_file}; exec {framewise} connect {server.url}'\n")
    client = server.client().accept()
    terminal.shows("Connected to")
    terminal.type("ab")
    terminal.shows("> ab")
    os.kill(int(open(pid_file).read()), signal.SIGSTOP)
    terminal.shows("shell$", 2)
    terminal.type("stty sane; echo sane\n")
    terminal.shows("shell$", 3)
    terminal.type("fg\n")
    terminal.shows("> ab", 2)
    terminal.keys("Left")
    terminal.type("-")
    terminal.shows("> a-b")
    terminal.keys("Enter")
    equal(client.texts(1), ["a-b"])


@check
def ctrl_z_without_a_shell_changes_nothing():
    server = Server()
    terminal = connect(server.url)
    client = server.client().accept()
    terminal.shows("Connected to")
    terminal.type("ab")
    terminal.shows("> ab")
    terminal.keys("C-z", "Left")
    terminal.type("-")
    terminal.keys("Enter")
    equal(client.texts(1), ["a-b"])


@check
def ctrl_z_and_fg_without_a_line_editor():
    server = Server()
    terminal = Terminal("bash --norc -i")
    terminal.shows("shell$")
    terminal.type(f"TERM=dumb {framewise} connect {server.url}\n")
    client = server.client().accept()
    terminal.shows("Connected to")
    terminal.keys("C-z")
    terminal.shows("shell$", 2)
    terminal.type("fg\n")
    terminal.type("again\n")
    equal(client.texts(1), ["again"])


@check
def a_first_attempt_that_fails_is_repeated_until_ctrl_c():
    server = Server()
    terminal = connect("--reconnect " + server.url)
    server.client().drop()
    terminal.shows("Connecting again in 1 s")
    server.client().drop()
    terminal.shows("Connecting again in 2 s")
    terminal.paste("kept\n")
    server.stop()
    terminal.shows("Connecting again in 4 s")
    again = Server(server.port)
    equal(again.client().accept().texts(1), ["kept"])
    # Ctrl+C ends the wait before the next attempt, and the wait for an answer.
    for silent in False, True:
        server = Server()
        terminal = connect("--reconnect " + server.url)
        client = server.client()
        if not silent:
            client.drop()
            terminal.shows("Connecting again in 1 s")
        terminal.paste("lost\n")
        terminal.keys("C-c")
        terminal.shows("Lines not sent, because the connection is closed: 1")
        terminal.shows("code 1")


@check
def a_peer_that_is_silent_is_given_up():
    server = Server()
    terminal = connect("--ping 0.2 --pong-timeout 1 --reconnect " + server.url)
    server.client().accept()
    terminal.shows("Nothing arrived for 1 s after a ping")
    terminal.shows("Closed: 1006")
    terminal.paste("two\n")
    equal(server.client().accept().texts(1), ["two"])


for function in checks:
    name = function.__name__.replace("_", " ")
    if only and function.__name__ not in only:
        continue
    try:
        function()
        print(f"ok     terminal: {name}", flush=True)
    except (AssertionError, Lost, queue.Empty, subprocess.CalledProcessError) as error:
        print(f"FAILED terminal: {name}: {type(error).__name__} {error}", flush=True)
subprocess.run(["tmux", "-S", work + "/socket", "kill-server"], capture_output=True)
shutil.rmtree(work, ignore_errors=True)
