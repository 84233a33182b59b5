#!/usr/bin/env python3
"""A server that breaks the rules, to see what a client does. Usage: python3 rude.py BYTES

It opens a WebSocket for one client, on port 9000, as a good server does. Then it sends BYTES, which are hexadecimal, and shows
what the client sends back: python3 rude.py "81 82 00 00 00 00 48 69"
"""

import base64
import hashlib
import socket
import sys

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

try:
    data = bytes.fromhex(sys.argv[1])
except (IndexError, ValueError):
    sys.exit(__doc__)
try:
    listener = socket.create_server(("localhost", 9000))
except OSError as error:
    sys.exit(f"port 9000: {error}")
print("The rude server listens on port 9000.", flush=True)
client, _ = listener.accept()
head = b""
while b"\r\n\r\n" not in head and (piece := client.recv(4096)):
    head += piece
fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line)
accept = base64.b64encode(hashlib.sha1((fields["Sec-WebSocket-Key"] + GUID).encode()).digest())
client.sendall(
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept + data
)
received = b""
while piece := client.recv(4096):
    received += piece
# The frames of a client: a header with a short length, a masking key, and the masked data.
while received:
    end = 6 + (received[1] & 127)
    key, masked, opcode = received[2:6], received[6:end], received[0] & 15
    payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(masked))
    if opcode == 8:
        print(f"the client sent a Close: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}")
    else:
        print(f"the client sent opcode {opcode}: {payload}")
    received = received[end:]
