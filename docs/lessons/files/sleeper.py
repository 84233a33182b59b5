#!/usr/bin/env python3
"""A reader that stops: it is in the room of /ws, and reads nothing until you wake it up. Then it reads all that is left.

Usage: python3 sleeper.py [HOST [PORT]]
"""

import socket
import sys

HOST = sys.argv[1] if len(sys.argv) > 1 else "localhost"
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 8765
REQUEST = (
    f"GET /ws HTTP/1.1\r\nHost: {HOST}:{PORT}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

with socket.socket() as server:
    # Little room in the kernel, so that what is not read soon waits in the server.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server.connect((HOST, PORT))
    server.sendall(REQUEST.encode())
    print(f"{server.recv(12).decode()}: in the room, and asleep. Any line wakes it up.")
    input("> ")
    received = 0
    try:
        while piece := server.recv(65536):
            received += len(piece)
    except ConnectionError:
        # The server has given it up.
        pass
    print(f"It has read the {received / 1024 / 1024:.1f} MiB that had waited, and the connection is closed.")
