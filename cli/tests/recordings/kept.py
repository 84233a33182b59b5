"""Several requests and then a WebSocket on one connection, with secrets in each request: python3 kept.py ADDRESS"""

import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
stream = socket.create_connection((host, int(port)), timeout=30)
received = b""


def until(end):
    """Reads until what was received contains `end`, and forgets it up to there."""
    global received
    while end not in received:
        more = stream.recv(65536)
        assert more, received
        received += more
    received = received.split(end, 1)[1]


def ask(method, path, more=""):
    head = f"{method} {path}?token=segredo HTTP/1.1\r\nHost: {sys.argv[1]}\r\nCookie: id=segredo\r\n"
    stream.sendall((head + f"Referer: http://{sys.argv[1]}/?token=segredo\r\n{more}\r\n").encode())


ask("HEAD", "/asyncapi.json")
until(b"\r\n\r\n")
# Two at once.
ask("GET", "/nowhere")
ask("GET", "/asyncapi.json", "Authorization: Bearer segredo\r\n")
until(b" 404 Not Found\r\n")
until(b" 200 OK\r\n")
key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
ask("GET", "/echo", key + "Sec-WebSocket-Protocol: chat, bearer.segredo\r\n")
until(b" 101 Switching Protocols\r\n")
until(b"\r\n\r\n")
stream.sendall(bytes.fromhex("818537fa213d7f9f4d5158"))
until(b"Echo: Hello")
stream.sendall(bytes.fromhex("88820000000003e8"))
until(bytes.fromhex("880203e8"))
assert stream.recv(1) == b"" and received == b""
