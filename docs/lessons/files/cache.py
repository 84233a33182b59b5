#!/usr/bin/env python3
"""A proxy with a cache, as simple-minded as the ones that masking defends against. Usage: python3 cache.py

It sits between everybody and the Internet, on port 9000, and keeps what servers answer. It knows HTTP and nothing of WebSocket:
to it, every byte of a connection belongs to a request or to a response.
"""

import socket
import threading

# Where the names of this little Internet lead.
INTERNET = {"school.example": ("localhost", 8765), "attacker.example": ("localhost", 9001)}

# The responses, by host and path.
cache = {}


def read_head(sock):
    """Reads up to an empty line, or until the connection closes."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := sock.recv(1)):
        head += byte
    return head


def field(head, name):
    """Returns the value of a header field, or an empty text."""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        if line.lower().startswith(name.lower() + ":"):
            return line.split(":", 1)[1].strip()
    return ""


def serve(client):
    server = None
    while head := read_head(client):
        # The mistake: a few strange bytes before a request do not matter, do they?
        start = head.find(b"GET ")
        if start < 0:
            print(f"no request: {head[:16].hex(' ')} ...", flush=True)
            if server:
                server.sendall(head)
                client.sendall(server.recv(4096))
            continue
        host, path = field(head, "Host"), head[start:].split(b" ")[1].decode("latin-1")
        if (host, path) in cache:
            print(f"{host}{path}: from the cache", flush=True)
            client.sendall(cache[host, path])
            continue
        # A connection leads to where its first request wanted to go.
        server = server or socket.create_connection(INTERNET[host])
        server.sendall(head[start:])
        response = read_head(server)
        length = len(response) + int(field(response, "Content-Length") or 0)
        while len(response) < length and (piece := server.recv(4096)):
            response += piece
        status = response.split(b"\r\n")[0].decode("latin-1")
        if status == "HTTP/1.1 200 OK":
            cache[host, path] = response
            print(f"{host}{path}: {status}, kept", flush=True)
        else:
            print(f"{host}{path}: {status}", flush=True)
        client.sendall(response)


def handle(client):
    with client:
        try:
            serve(client)
        except KeyError as host:
            print(f"there is no host {host} here", flush=True)
        except OSError as error:
            print(error, flush=True)


try:
    listener = socket.create_server(("localhost", 9000))
    print("The cache listens on port 9000. Ctrl+C stops it.", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=handle, args=[client], daemon=True).start()
except OSError as error:
    raise SystemExit(f"port 9000: {error}")
except KeyboardInterrupt:
    print()
