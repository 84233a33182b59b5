"""tshark decrypts sessions with `framewise serve` with the key log of the server: decrypt.py PORT CA KEYS FOLDER."""
import pathlib, socket, ssl, struct, subprocess, sys, threading

from checks import exactly

PORT, CA, KEYS, FOLDER = int(sys.argv[1]), sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
REQUEST = (b"GET /echo HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % PORT)
MASK = b"\x12\x34\x56\x78"
SYN, FIN, ACK = 2, 1, 16

class Capture:
    """A capture of one TCP connection from port 50000, made of the bytes that pass. To capture real packets takes privileges."""

    def __init__(self, path):
        # https://www.tcpdump.org/manpages/pcap-savefile.5.txt, with link type 101: each packet begins with its IP header.
        self.file = open(path, "wb")
        self.file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        self.ports, self.next, self.count, self.lock = (50000, PORT), [0, 0], 0, threading.Lock()
        self.packet(0, SYN)
        self.packet(1, SYN | ACK)
        self.packet(0, ACK)

    def packet(self, side, flags, payload=b""):
        """Writes a packet from the client (side 0) or the server (side 1)."""
        acknowledged = self.next[1 - side] if flags & ACK else 0
        numbers = self.ports[side], self.ports[1 - side], self.next[side], acknowledged
        tcp = struct.pack(">HHIIBBHHH", *numbers, 5 << 4, flags, 65535, 0, 0)
        # tshark does not verify checksums, unless it is told to.
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 0, 0, 64, 6, 0, *[socket.inet_aton("127.0.0.1")] * 2)
        packet = ip + tcp + payload
        self.file.write(struct.pack("<IIII", 1768573800, self.count, len(packet), len(packet)) + packet)
        self.count += 1
        self.next[side] += len(payload) + (1 if flags & (SYN | FIN) else 0)

    def pass_on(self, side, source, target):
        while piece := source.recv(1400):
            with self.lock:
                self.packet(side, ACK, piece)
            target.sendall(piece)
        with self.lock:
            self.packet(side, FIN | ACK)
        target.shutdown(socket.SHUT_WR)

def frame(first, payload):
    masked = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([first, 0x80 | len(payload)]) + MASK + masked

def session(version, capture, text):
    """Sends a text to /echo through the capture, and closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    raw = socket.create_connection(listener.getsockname(), 30)
    near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", PORT), 30)
    directions = [threading.Thread(target=capture.pass_on, args=args) for args in ((0, near, far), (1, far, near))]
    for direction in directions:
        direction.start()
    context = ssl.create_default_context(cafile=CA)
    context.minimum_version = context.maximum_version = version
    client = context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)
    client.sendall(REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(client, 1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    client.sendall(frame(0x81, text.encode()))
    echo = b"Echo: " + text.encode()
    assert exactly(client, 2 + len(echo)) == bytes([0x81, len(echo)]) + echo
    client.sendall(frame(0x88, b"\x03\xe8"))
    assert exactly(client, 4) == b"\x88\x02\x03\xe8" and client.recv(1) == b""
    client.unwrap().close()
    for direction in directions:
        direction.join()
    capture.file.close()

def texts(path, *options):
    """Returns what tshark shows of the WebSocket messages: from the client or not, and the text."""
    command = ["tshark", "-r", path, "-d", f"tcp.port=={PORT},tls", "-d", f"tls.port=={PORT},http", *options,
               "-Y", "websocket.opcode == 1", "-T", "fields", "-e", "tcp.srcport", "-e", "websocket.payload.text"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return [tuple(line.split("\t")) for line in result.stdout.splitlines()]

if __name__ == "__main__":
    failed = 0
    def check(name, shown, expected):
        global failed
        failed += shown != expected
        print(f"ok     tshark: {name}" if shown == expected else f"FAILED tshark: {name}: {shown} instead of {expected}")

    other = FOLDER / "other-keys"
    other.write_text("")
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        name, text = version.name.replace("v", " ").replace("_", "."), f"segredo de {version.name}"
        path = FOLDER / f"{version.name}.pcap"
        try:
            session(version, Capture(path), text)
        except Exception as error:
            check(f"{name}, a session", repr(error), None)
            continue
        expected = [("50000", text), (str(PORT), f"Echo: {text}")]
        check(f"{name}, with the key log", texts(path, "-o", f"tls.keylog_file:{KEYS}"), expected)
        check(f"{name}, without it", texts(path), [])
        check(f"{name}, with another one", texts(path, "-o", f"tls.keylog_file:{other}"), [])
    sys.exit(1 if failed else 0)
