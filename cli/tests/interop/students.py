"""The clients of students, docs/lessons/files/client.py and client.mjs, in one class: python students.py FRAMEWISE FOLDER

FOLDER is empty. The clients are played there as a student has them, next to the package ws."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
FILES = HERE.parent.parent.parent / "docs" / "lessons" / "files"
FRAMEWISE, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
PATIENCE = 30


class Program:
    """A program whose output is read as it comes."""

    def __init__(self, *command):
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=0, cwd=FOLDER, env=environment
        )
        self.output, self.seen = "", 0
        self.news = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while piece := os.read(self.process.stdout.fileno(), 4096):
            with self.news:
                self.output += piece.decode()
                self.news.notify()

    def shows(self, text):
        """Waits until a text comes after the last one that was waited for."""
        with self.news:
            is_there = self.news.wait_for(lambda: text in self.output[self.seen :], PATIENCE)
            assert is_there, f"no {text!r} in {self.output[self.seen:]!r} after {self.output[:self.seen]!r}"
            self.seen = self.output.index(text, self.seen) + len(text)

    def type(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ends(self, code):
        ended_with = self.process.wait(PATIENCE)
        assert ended_with == code, (ended_with, self.output)


def serve(port=0):
    """Starts a server. Returns it and its port."""
    server = Program(FRAMEWISE, "serve", "--host", "127.0.0.1", "--port", str(port), "--lang", "en", "--log-level", "error")
    server.shows("Ctrl+C stops it")
    return server, int(re.search(r"http://127\.0\.0\.1:(\d+)", server.output)[1])


def stop(server):
    server.process.terminate()
    server.ends(0)


def node(*options):
    """The command of client.mjs, with the WebSocket of Node.js or with the package ws."""
    return ["node", *options, "client.mjs"]


PYTHON = [sys.executable, "client.py"]
WITH_WS = node(*(["--no-experimental-websocket"] if "--no-experimental-websocket" in subprocess.run(["node", "--help"], capture_output=True, text=True).stdout else []))
KINDS = {"python": PYTHON, "node, built in": node("--experimental-websocket"), "node, ws": WITH_WS}


def in_class(command):
    """One client among the others, of each kind."""
    server, port = serve()
    join = lambda name, command: Program(*command, name, "7a", f"ws://127.0.0.1:{port}/ws/events")
    ana, bia = join("ana", command), join("bia", PYTHON)
    ana.shows("You are ana in 7a.")
    bia.shows("You are bia in 7a.")
    ana.type("good morning: all")
    bia.shows("ana: good morning: all")
    bia.type("@ana: psst: you")
    ana.shows("bia to you alone: psst: you")
    ana.type("/who")
    ana.shows("In the room: ana, bia")
    ana.type("@zoe: hello")
    ana.shows("error: nobody here is called 'zoe'")
    # Neither moves the cursor.
    bia.type("\x1b[2Jno\x07")
    ana.shows("bia: ?[2Jno?")
    # A name that somebody has.
    other = join("ana", command)
    other.shows("error: somebody else is called 'ana'; 'ana 2' is free")
    other.shows("You are ana 2 in 7a.")
    ana.type("/room 7b")
    ana.shows("You are ana in 7b.")
    # The server goes and comes back.
    stop(server)
    for client in ana, bia:
        client.shows("Not connected")
        client.shows("Trying again.")
    ana.type("too early")
    ana.shows("There is no connection, so this was not sent.")
    server, _ = serve(port)
    ana.shows("You are ana in 7b.")
    bia.shows("You are bia in 7a.")
    bia.type("/room 7b")
    bia.shows("You are bia in 7b.")
    ana.type("back again")
    bia.shows("ana: back again")
    assert "too early" not in bia.output
    ana.type("/exit")
    ana.ends(0)
    bia.process.stdin.close()
    bia.ends(0)
    stop(server)
    other.type("/exit")
    other.ends(0)


def without(command, text):
    """A client that misses something says what to type."""
    program = Program(*command, "ana")
    program.shows(text)
    assert program.process.wait(PATIENCE) not in (0, None)


for name in "client.py", "client.mjs":
    shutil.copy(FILES / name, FOLDER)
checks = {kind: lambda command=command: in_class(command) for kind, command in KINDS.items()}
checks["python, without the package"] = lambda: without([sys.executable, "-S", "client.py"], "pip install --upgrade websockets")
checks["node, without a WebSocket"] = lambda: without(WITH_WS, "npm install ws")
for name, check in checks.items():
    if name == "node, ws":
        (FOLDER / "node_modules").symlink_to(HERE / "node_modules")
    if name == "node, without a WebSocket":
        (FOLDER / "node_modules").unlink()
    try:
        check()
        print(f"ok     students: {name}", flush=True)
    except Exception as error:  # Whatever it is, it is a failure with a name.
        print(f"FAILED students: {name}: {error!r}", flush=True)
