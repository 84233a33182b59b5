#!/usr/bin/env python3
"""An eavesdropper between client and server. Usage: python3 tap.py [--pcap FILE] [--as FILE]

Clients connect to port 9000, and tap.py forwards every byte to the server on port 8765 and back. It prints what it understands: >
from the client, < from the server. --pcap also writes the bytes into FILE, for Wireshark. With --as it does not only listen: FILE
has a certificate and its key, with which it poses as the server, and it opens a TLS connection of its own to the server.
"""

import argparse
import socket
import ssl
import struct
import sys
import threading
import time

RECORDS = {20: "change cipher spec", 21: "alert", 22: "handshake", 23: "application data"}
FRAMES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


def server_name(hello):
    """Returns the name of the server that a ClientHello asks for, from the extension 0, or None."""
    at = 38
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at] + 2
    while at < len(hello):
        kind, length = struct.unpack(">HH", hello[at : at + 4])
        if kind == 0:
            return hello[at + 9 : at + 4 + length].decode()
        at += 4 + length


def records(data):
    """Splits records of TLS off `data`. Yields a line for each."""
    while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[3:5], "big"):
        header, length = data[:5], int.from_bytes(data[3:5], "big")
        body = bytes(data[5 : 5 + length])
        del data[: 5 + length]
        line = f"{header.hex(' ')} | {RECORDS.get(header[0], 'unknown')}, {length} byte{'s' * (length != 1)}"
        if header[0] == 22 and body[0] in (1, 2):
            line += f": {('ClientHello', 'ServerHello')[body[0] - 1]}"
            if body[0] == 1 and (name := server_name(body)):
                line += f" for {name}"
        yield line


def frames(data):
    """Splits frames of WebSocket off `data`. Yields a line for each. The key of a masked frame is in the frame."""
    while len(data) >= 2:
        length, at = data[1] & 127, 2
        if length > 125:
            at = 4 if length == 126 else 10
            length = int.from_bytes(data[2:at], "big")
        key = bytes(data[at : at + 4]) if data[1] & 128 else b""
        at += len(key)
        if len(data) < at + length:
            return
        payload = bytes(byte ^ key[i % 4] if key else byte for i, byte in enumerate(data[at : at + length]))
        opcode = data[0] & 15
        del data[: at + length]
        code = f"{int.from_bytes(payload[:2], 'big')} " if opcode == 8 and payload else ""
        said = code + payload[2 if code else 0 :].decode(errors="backslashreplace")
        yield f"{FRAMES.get(opcode, 'unknown')}{', key=' + key.hex(' ') if key else ''}: {said}".rstrip()


class Direction:
    """What is known about the bytes of one direction of a connection."""

    def __init__(self):
        self.data, self.kind = bytearray(), None

    def lines(self, data):
        """Returns a line for all that is complete now."""
        self.data += data
        if self.kind is None and self.data[0] == 22:
            self.kind = records
        if self.kind is None and b"\r\n\r\n" in self.data:
            head, _, rest = self.data.partition(b"\r\n\r\n")
            self.kind = frames if b"upgrade: websocket" in head.lower() else records
            self.data = rest
            return [*head.decode("latin-1").split("\r\n"), "", *self.kind(self.data)]
        return list(self.kind(self.data)) if self.kind else []


class Capture:
    """A file for Wireshark. Each piece becomes a packet, with headers of IP and TCP that are made up."""

    def __init__(self, path):
        self.file = open(path, "xb", buffering=0)
        # The format of the file, and 101: packets that begin with the header of IP.
        self.file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        self.lock, self.sent = threading.Lock(), {}

    def write(self, source, target, data):
        with self.lock:
            for start in range(0, len(data), 1400):
                piece = data[start : start + 1400]
                sent = self.sent.get((source, target), 1)
                seen = self.sent.get((target, source), 1)
                self.sent[source, target] = sent + len(piece)
                tcp = struct.pack(">HHIIBBHHH", source, target, sent, seen, 5 << 4, 0x18, 65535, 0, 0) + piece
                ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1") + tcp
                seconds, nanoseconds = divmod(time.time_ns(), 10**9)
                self.file.write(struct.pack("<IIII", seconds, nanoseconds // 1000, len(ip), len(ip)) + ip)


def forward(source, target, arrow, ports, capture):
    """Forwards one direction until it closes."""
    direction = Direction()
    try:
        while data := source.recv(65536):
            if capture:
                capture.write(*ports, data)
            text = "".join(f"{arrow} {line}".rstrip() + "\n" for line in direction.lines(data))
            print(text, end="", flush=True)
            target.sendall(data)
    except OSError:
        # One side is gone; the other one is told below.
        pass
    try:
        target.shutdown(socket.SHUT_RDWR if isinstance(target, ssl.SSLSocket) else socket.SHUT_WR)
    except OSError:
        pass


def handle(client, port, options, capture):
    """Connects one client with the server."""
    server = socket.create_connection(("localhost", 8765))
    if options.certificate:
        try:
            pose = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            pose.load_cert_chain(options.certificate)
            client = pose.wrap_socket(client, server_side=True)
            trusting = ssl.create_default_context()
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
            server = trusting.wrap_socket(server)
        except OSError as error:
            is_refused = "ALERT" in (getattr(error, "reason", None) or "")
            print("the client has refused this certificate" if is_refused else f"no TLS: {error}", flush=True)
            client.close()
            server.close()
            return
    with client, server:
        answers = threading.Thread(target=forward, args=[server, client, "<", (9000, port), capture], daemon=True)
        answers.start()
        forward(client, server, ">", (port, 9000), capture)
        answers.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pcap", metavar="FILE")
    parser.add_argument("--as", metavar="FILE", dest="certificate")
    options = parser.parse_args()
    capture = Capture(options.pcap) if options.pcap else None
    listener = socket.create_server(("localhost", 9000))
    print("The tap listens on port 9000. Ctrl+C stops it.", flush=True)
    while True:
        client, address = listener.accept()
        threading.Thread(target=handle, args=[client, address[1], options, capture], daemon=True).start()


try:
    main()
except OSError as error:
    sys.exit(str(error))
except KeyboardInterrupt:
    print()
