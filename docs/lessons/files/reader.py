#!/usr/bin/env python3
"""A reader that stops: it enters the room of talker.py and reads nothing until you type "read".

Usage: python3 reader.py [PORT]        8765 unless given
"""

import os
import socket
import struct
import sys


class Connection:
    def __init__(self, port):
        self.buffer = b""
        self.server = socket.socket()
        # The kernel collects what arrives until the program reads it. It shall collect little.
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.server.connect(("localhost", port))
        self.server.sendall(
            b"GET /ws?room=flood HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % port
        )
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.read()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        response = head.decode("latin-1").split("\r\n")[0]
        if response != "HTTP/1.1 101 Switching Protocols":
            sys.exit(response)

    def read(self):
        data = self.server.recv(65536)
        if not data:
            raise EOFError
        return data

    def take(self, count):
        """Returns the next bytes of the stream, and reads until they are there."""
        while len(self.buffer) < count:
            self.buffer += self.read()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def frame(self):
        """Returns the opcode and the payload data of the next frame. A server's frames are not masked."""
        first, length = self.take(2)
        if length == 126:
            (length,) = struct.unpack("!H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.take(8))
        return first & 0x0F, self.take(length)

    def send(self, opcode, payload):
        """Sends a frame of at most 125 bytes."""
        key = os.urandom(4)
        masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
        self.server.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + key + masked)


def read_all(connection):
    """Reads until the last message of talker.py or the end of the connection. Returns whether the connection is still open."""
    messages = 0
    try:
        while True:
            opcode, payload = connection.frame()
            if opcode in (1, 2):
                messages += 1
                if payload.startswith(b"the end"):
                    print(f"{messages} messages, the last one included", flush=True)
                    return True
            elif opcode == 9:
                connection.send(10, payload)
            elif opcode == 8:
                connection.send(8, payload[:2])
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                print(f"some messages, and then Close {code} {payload[2:].decode()}".rstrip(), flush=True)
                return False
    except (EOFError, ConnectionError):
        print("some messages, and then the connection was lost without a Close: 1006", flush=True)
        return False


if len(sys.argv) > 2 or not all(argument.isdigit() for argument in sys.argv[1:]):
    sys.exit(__doc__)
try:
    connection = Connection(int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
    print('Connected, and reading nothing. Type "read" to read, "exit" to leave.', flush=True)
    while (line := input("> ")) != "exit":
        if line == "read" and not read_all(connection):
            sys.exit()
    connection.send(8, b"\x03\xe8")
except OSError as error:
    sys.exit(f"{error}: does the server run?")
except (EOFError, KeyboardInterrupt):
    print()
