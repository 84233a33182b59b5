"""The module `ssl` of Python against the echo server: tls.py PORT CA. How TLS ends, and frames in records of any size."""
import socket, ssl, sys

from checks import check, exactly, run

PORT, CA = int(sys.argv[1]), sys.argv[2]
REQUEST = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
MASK = bytes(4)

def connect(**options):
    context = ssl.create_default_context(cafile=CA)
    for name, value in options.items():
        setattr(context, name, value)
    client = context.wrap_socket(socket.create_connection(("localhost", PORT), 30), server_hostname="localhost",
                                 suppress_ragged_eofs=False)
    client.sendall(REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client

@check("the Close, the close_notify, and the end of TCP")
def _():
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        client = connect(minimum_version=version, maximum_version=version)
        client.sendall(b"\x88\x82" + MASK + b"\x03\xe8")
        assert exactly(client, 4) == b"\x88\x02\x03\xe8"
        # Without a close_notify this raises SSLEOFError.
        assert client.recv(1) == b""
        client.unwrap().close()

@check("a record for each byte")
def _():
    client = connect()
    for byte in b"\x81\x85" + MASK + b"hello":
        client.sendall(bytes([byte]))
    assert exactly(client, 7) == b"\x81\x05hello"

@check("1 MiB")
def _():
    client = connect()
    payload = bytes(range(256)) * 4096
    client.sendall(b"\x82\xff" + len(payload).to_bytes(8, "big") + MASK + payload)
    header = b"\x82\x7f" + len(payload).to_bytes(8, "big")
    assert exactly(client, 10) == header and exactly(client, len(payload)) == payload

@check("TCP ends without a close_notify, and the server lives")
def _():
    client = connect()
    raw = socket.socket(fileno=client.detach())
    raw.setblocking(True)
    raw.shutdown(socket.SHUT_WR)
    while raw.recv(4096):
        pass
    raw.close()
    connect().close()

sys.exit(run("Python ssl"))
