#!/usr/bin/env python3
"""Opens a WebSocket, sends bytes, and shows what comes back until the server closes the connection.

Usage: python3 closing.py [BYTES]...
BYTES are hexadecimal: python3 closing.py "81 85 37 fa 21 3d 7f 9f 4d 51 58" "88 80 00 00 00 00". Each is sent by itself.
It answers nothing by itself: no Ping, and no Close.
"""

import socket
import sys

try:
    parts = [bytes.fromhex(argument) for argument in sys.argv[1:]]
except ValueError:
    sys.exit(__doc__)

try:
    with socket.create_connection(("localhost", 8765)) as server:
        with open("request.http", "rb") as request:
            server.sendall(request.read())
        head = b""
        while not head.endswith(b"\r\n\r\n") and (byte := server.recv(1)):
            head += byte
        print("server:", head.decode("latin-1").split("\r\n")[0], flush=True)
        for part in parts:
            server.sendall(part)
            print("client:", part.hex(" "), flush=True)
        # An empty read means that the server has closed its side of the TCP connection.
        while data := server.recv(4096):
            print("server:", data.hex(" "), flush=True)
        print("server: closes TCP", flush=True)
except OSError as error:
    sys.exit(f"{error}")
except KeyboardInterrupt:
    print()
