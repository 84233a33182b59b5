#!/usr/bin/env python3
"""Sends 8000 messages of 4096 bytes to everybody in the room, as fast as the server reads them.

Usage: python3 talker.py [PORT]        8765 unless given
"""

import os
import select
import socket
import struct
import sys

MESSAGES, SIZE = 8000, 4096
PATIENCE = 3


def frame(opcode, payload):
    """Returns a masked frame with a new key."""
    key = os.urandom(4)
    length = len(payload)
    header = bytes([0x80 | opcode]) + (bytes([0x80 | length]) if length <= 125 else struct.pack("!BH", 0x80 | 126, length))
    # XOR of all bytes at once: both texts as one large number.
    keys = (key * (length // 4 + 1))[:length]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(length, "big")
    return header + key + masked


def send(server, data):
    """Sends data, and reports when the socket does not take more for some time."""
    is_waiting = False
    while data:
        _, writable, _ = select.select([], [server], [], PATIENCE)
        if not writable:
            if not is_waiting:
                print("The socket is full: the server does not read.", flush=True)
            is_waiting = True
            continue
        if is_waiting:
            print("The server reads again.", flush=True)
            is_waiting = False
        data = data[server.send(data) :]


def talk(port):
    with socket.create_connection(("localhost", port)) as server:
        server.sendall(
            b"GET /ws?room=flood HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % port
        )
        response = server.recv(4096).decode("latin-1").split("\r\n")[0]
        if response != "HTTP/1.1 101 Switching Protocols":
            sys.exit(response)
        print(f"Sending {MESSAGES} messages of {SIZE} bytes ...", flush=True)
        server.setblocking(False)
        for number in range(1, MESSAGES):
            send(server, frame(1, f"message {number} ".ljust(SIZE, ".").encode()))
        send(server, frame(1, "the end".ljust(SIZE, ".").encode()))
        send(server, frame(8, b"\x03\xe8"))
        server.setblocking(True)
        # The server closes the connection after its Close.
        while server.recv(4096):
            pass
        print("All messages are sent.", flush=True)


if len(sys.argv) > 2 or not all(argument.isdigit() for argument in sys.argv[1:]):
    sys.exit(__doc__)
try:
    talk(int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
except OSError as error:
    sys.exit(f"{error}: does the server run?")
except KeyboardInterrupt:
    print()
