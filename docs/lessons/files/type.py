#!/usr/bin/env python3
"""Sends the bytes that you type, in hexadecimal. Each line is sent at once, by itself; "exit" ends the program.

Usage: python3 type.py HOST PORT
"""

import socket
import sys

if len(sys.argv) != 3 or not sys.argv[2].isdigit():
    sys.exit(__doc__)

try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as server:
        # Without this, the kernel may hold a short piece back and send it together with the next one.
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (line := input("> ")) != "exit":
            try:
                server.sendall(bytes.fromhex(line))
            except ValueError:
                print("these are not bytes in hexadecimal, such as 81 05 48")
except OSError as error:
    sys.exit(f"{sys.argv[1]} port {sys.argv[2]}: {error}")
except (EOFError, KeyboardInterrupt):
    print()
