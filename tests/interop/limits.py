"""Measures which program refuses what by default, and compares that with the tables of docs/limits.md#other-programs.

limits.py PYTHON CHROMIUM EXAMPLES FRAMEWISE [--own | --write]: PYTHON has `websockets` and `aiohttp`, EXAMPLES is the folder of
the examples, FRAMEWISE the tool. With --own, only the programs of this project are measured, and their rows compared. With
--write, the tables of both languages are replaced by what was measured.

Each program is asked with raw sockets. A client connects to a server that sends one message, or one broken frame, and then a
ping; a server gets the same from a client. A pong means that the message was accepted, a Close that it was not. Some programs
reply to pings before they have looked at the message, so there is a second ping after the first pong. The largest size is
searched between two powers of two, so it is exact.
"""
import base64, hashlib, pathlib, re, socket, struct, subprocess, sys, threading
from functools import partial

HERE = pathlib.Path(__file__).resolve().parent
PYTHON, CHROMIUM, EXAMPLES, FRAMEWISE = sys.argv[1:5]
# Nothing larger is tried.
MOST = {"message": 1 << 27, "fragments": 1 << 17, "head": 1 << 19, "fields": 1_000}
# Nothing smaller: a handshake has about as many bytes and fields.
LEAST = {"message": 1, "fragments": 2, "head": 512, "fields": 16}
PATIENCE = 30

def frame(opcode, payload, masked, fin=True):
    length = len(payload)
    mask = 0x80 if masked else 0
    head = bytes([opcode | (0x80 if fin else 0)])
    if length < 126:
        head += bytes([mask | length])
    elif length < 1 << 16:
        head += struct.pack(">BH", mask | 126, length)
    else:
        head += struct.pack(">BQ", mask | 127, length)
    # A masking key of zeros leaves the payload as it is.
    return head + (b"\0" * 4 if masked else b"") + payload

def reply(stream, ask_again):
    """Returns what came after a probe: "pong", the code of a Close, or "none" if the connection ended without one."""
    try:
        while True:
            first, second = stream.read(2)
            length = second & 127
            if length == 126:
                length, = struct.unpack(">H", stream.read(2))
            elif length == 127:
                length, = struct.unpack(">Q", stream.read(8))
            key = stream.read(4) if second & 128 else b"\0" * 4
            payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(stream.read(length)))
            if first & 15 == 10 and payload == b"first":
                ask_again()
            if first & 15 == 10 and payload == b"second":
                return "pong"
            if first & 15 == 8:
                return str(struct.unpack(">H", payload[:2])[0]) if len(payload) > 1 else "empty"
    except (ValueError, struct.error, ConnectionError):
        return "none"

# What follows the handshake, as a function of a size.
def message(size, masked):
    return frame(1, b"x" * size, masked)

def fragments(count, masked):
    middle = frame(0, b"x", masked, fin=False) * (count - 2)
    return frame(1, b"x", masked, fin=False) + middle + frame(0, b"x", masked)

def control(opcode, payload):
    return lambda _, masked: frame(opcode, payload, masked)

BROKEN = {
    "ping126": control(9, b"x" * 126),
    "close1": control(8, b"\x03"),
    "close1005": control(8, struct.pack(">H", 1005)),
    "close2999": control(8, struct.pack(">H", 2999)),
    "closeutf8": control(8, struct.pack(">H", 1000) + b"\xff"),
}

def head(start, probe, size):
    """Returns a head of a handshake with the size of the probe: so many bytes, or so many header fields."""
    if probe == "head":
        start += "X: " + "x" * (size - len(start) - len("X: \r\n\r\n")) + "\r\n"
    if probe == "fields":
        start += "".join(f"X{n}: x\r\n" for n in range(size - start.count("\r\n") + 1))
    return (start + "\r\n").encode()

def after_head(probe, size, masked):
    if probe in BROKEN:
        return BROKEN[probe](size, masked)
    return {"message": message, "fragments": fragments}.get(probe, lambda *_: b"")(size, masked)

def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()

def conclude(connection, stream, probe, size, masked):
    """Sends the probe and a ping, and returns what comes back."""
    def send(data):
        try:
            connection.sendall(data)
        except OSError:
            # A program that refuses a message may close before it has read all of it.
            pass
    sending = threading.Thread(target=send, args=[after_head(probe, size, masked) + frame(9, b"first", masked)])
    sending.start()
    result = reply(stream, lambda: send(frame(9, b"second", masked)))
    connection.close()
    sending.join()
    return result

class Client:
    """A client program. Its connections come to a listener of ours."""
    def __init__(self, name, command, per_connection=False):
        self.name, self.command, self.per_connection = name, command, per_connection
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.process = None if per_connection else self.start(command)

    def start(self, command):
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE)

    def probe(self, probe, size=0):
        process = self.process
        if self.per_connection:
            process = self.start([*self.command, self.url])
        else:
            process.stdin.write(f"{self.url}\n".encode())
            process.stdin.flush()
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        stream = connection.makefile("rb")
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += stream.readline()
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)[1]
        response = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n")
        try:
            connection.sendall(head(response, probe, size))
            return conclude(connection, stream, probe, size, masked=False)
        finally:
            if self.per_connection:
                process.kill()
                process.wait()

    def end(self):
        if self.process:
            self.process.kill()
        self.listener.close()

class Server:
    """A server program, which prints a line with its port."""
    def __init__(self, name, command, path="/"):
        self.name, self.path = name, path
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=HERE)
        for line in self.process.stdout:
            if found := re.search(r"(?:listening |127\.0\.0\.1:)(\d+)", line):
                self.port = int(found[1])
                break
        # Its further lines are of no interest, but must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def probe(self, probe, size=0):
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.settimeout(PATIENCE)
        stream = connection.makefile("rb")
        try:
            request = (
                f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
            connection.sendall(head(request, probe, size))
            status = stream.readline().split()
            if len(status) < 2:
                return "none"
            if status[1] != b"101":
                return status[1].decode()
            while stream.readline().strip():
                pass
        except ConnectionError:
            return "none"
        return conclude(connection, stream, probe, size, masked=True)

    def end(self):
        self.process.kill()

def largest(program, probe):
    """Returns the largest size that a program accepts, up to MOST, and what it replies to one more."""
    most = MOST[probe]
    if program.probe(probe, most) == "pong":
        return most, None
    low, high = LEAST[probe], most
    assert program.probe(probe, low) == "pong", (program.name, probe)
    while low * 2 < high and program.probe(probe, low * 2) == "pong":
        low *= 2
    high = min(high, low * 2)
    while high - low > 1:
        middle = (low + high) // 2
        if program.probe(probe, middle) == "pong":
            low = middle
        else:
            high = middle
    return low, program.probe(probe, low + 1)

def bytes_of(size, lang):
    return number(size, lang) if size % (1 << 20) else f"{size >> 20} MiB"

def number(count, lang):
    text = f"{count:,}"
    return text.replace(",", ".") if lang == "pt" else text

WORDS = {
    "en": {"or more": "at least {}", "none": "no Close", "no open": "no WebSocket", "pong": "accepted", "empty": "a Close without a code"},
    "pt": {"or more": "no mínimo {}", "none": "nenhum Close", "no open": "nenhum WebSocket", "pong": "aceita", "empty": "um Close sem código"},
}

PORTUGUESE = {", client": ", cliente", ", server": ", servidor", "the `WebSocket` of": "o `WebSocket` do", "example": "exemplo"}

def named(name, lang):
    for english, portuguese in PORTUGUESE.items() if lang == "pt" else ():
        name = name.replace(english, portuguese)
    return name

def cell(found, probe, lang):
    size, refusal = found[probe]
    show = bytes_of if probe == "message" else number
    if refusal == "none" and probe in ("head", "fields"):
        refusal = "no open"
    if refusal is None:
        return WORDS[lang]["or more"].format(show(size, lang))
    return f"{show(size, lang)}, {WORDS[lang].get(refusal, refusal)}"

def sizes(results, lang):
    for name, found in results.items():
        yield f"| {named(name, lang)} | {' | '.join(cell(found, probe, lang) for probe in MOST)} |"

def rules(results, lang):
    for name, found in results.items():
        yield f"| {named(name, lang)} | {' | '.join(WORDS[lang].get(found[probe], found[probe]) for probe in BROKEN)} |"

def framewise_server(command, *options):
    return [command, *options, "--lang", "en", "--host", "127.0.0.1", "--port", "0"]

def programs():
    """Yields a function that starts a program, for each of them. Its first argument is the name."""
    node = ["node", str(HERE / "limits_peer.mjs")]
    python = [PYTHON, str(HERE / "limits_peer.py")]
    yield partial(Client, "`framewise connect`", [FRAMEWISE, "connect"], per_connection=True)
    yield partial(Client, "framewise, `Client::connect`", [f"{EXAMPLES}/interop_client", "stay"], per_connection=True)
    yield partial(Client, "Chromium", [*node, "chromium", CHROMIUM])
    yield partial(Client, f"undici {version('undici')}, the `WebSocket` of Node.js", [*node, "undici"])
    yield partial(Client, f"npm `ws` {version('ws')}, client", [*node, "ws"])
    yield partial(Client, f"`wscat` {version('wscat')}", ["node_modules/.bin/wscat", "-c"], per_connection=True)
    yield partial(Client, f"Python `websockets` {pinned('websockets')}, client", [*python, "websockets"])
    yield partial(Client, f"Python `aiohttp` {pinned('aiohttp')}, client", [*python, "aiohttp"])
    yield partial(Server, "`framewise serve`", framewise_server(FRAMEWISE, "serve"), "/ws")
    yield partial(Server, "framewise, example `echo`", framewise_server(f"{EXAMPLES}/echo"))
    yield partial(Server, f"npm `ws` {version('ws')}, server", [*node, "ws-server"])
    yield partial(Server, f"Python `websockets` {pinned('websockets')}, server", [*python, "websockets-server"])
    yield partial(Server, f"Python `aiohttp` {pinned('aiohttp')}, server", [*python, "aiohttp-server"])

def is_own(text):
    return "framewise" in text

def version(package):
    return re.search(rf'"{package}": "([^"]+)"', (HERE / "package.json").read_text())[1]

def pinned(package):
    return re.search(rf"(?m)^{package}==(\S+)", (HERE / "requirements.txt").read_text())[1]

def measure(start):
    program = start()
    try:
        found = {probe: largest(program, probe) for probe in MOST}
        found.update((probe, program.probe(probe)) for probe in BROKEN)
        return program.name, found
    finally:
        program.end()

def tables(page):
    """Returns the rows of the two tables in the section about other programs, as the places in the page where they are."""
    text = page.read_text()
    begin = re.search(r"(?m)^## (Other programs|Outros programas)$", text).end()
    end = text.find("\n## ", begin)
    section = text[begin:end if end >= 0 else len(text)]
    places = [(begin + found.start(1), begin + found.end(1)) for found in re.finditer(r"(?m)^\|(?:---\|)+\n((?:\|.*\n?)*)", section)]
    assert len(places) == 2, page
    return text, places

def main():
    own = "--own" in sys.argv
    chosen = [start for start in programs() if is_own(start.args[0]) or not own]
    results = dict(map(measure, chosen))
    failed = False
    for lang, name in (("en", "limits.md"), ("pt", "limits.pt-BR.md")):
        page = HERE.parent.parent / "docs" / name
        text, places = tables(page)
        measured = ["\n".join(rows(results, lang)) + "\n" for rows in (sizes, rules)]
        if "--write" in sys.argv:
            for (start, end), rows in reversed(list(zip(places, measured))):
                text = text[:start] + rows + text[end:]
            page.write_text(text)
        for (start, end), rows, what in zip(places, measured, ("sizes", "rules")):
            documented = [row for row in text[start:end].splitlines() if is_own(row) or not own]
            if "--write" in sys.argv or documented == rows.splitlines():
                print(f"ok     limits of other programs: {what} in {name}")
            else:
                failed = True
                print(f"FAILED limits of other programs: {what} in {name}, which --write replaces by\n{rows}")
    sys.exit(failed)

main()
