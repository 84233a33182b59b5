#!/usr/bin/env python3
"""Sends bytes to a server and shows the bytes that come back, on any operating system.

Usage: python3 send.py HOST PORT PART...
A PART is a file, or bytes in hexadecimal: python3 send.py localhost 8765 request.http "81 85 37 fa 21 3d 7f 9f 4d 51 58 88 80 00 00 00 00"
"""

import os
import socket
import sys

if len(sys.argv) < 4:
    sys.exit(__doc__)
host, port, *parts = sys.argv[1:]

data = b""
for part in parts:
    if os.path.exists(part):
        with open(part, "rb") as file:
            data += file.read()
    else:
        try:
            data += bytes.fromhex(part)
        except ValueError:
            sys.exit(f"{part!r} is neither a file nor bytes in hexadecimal")

received = b""
with socket.create_connection((host, int(port))) as server:
    server.sendall(data)
    # An empty read means that the server has closed the connection.
    while piece := server.recv(4096):
        received += piece

for start in range(0, len(received), 16):
    row = received[start : start + 16]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    print(f"{start:08x}: {row.hex(' '):47}  {text}")
