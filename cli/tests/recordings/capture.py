"""What tshark reads in a capture, beside the recording that it was made from: python3 capture.py RECORDING CAPTURE"""

import json
import subprocess
import sys
import xml.etree.ElementTree as xml

RECORDING, CAPTURE = sys.argv[1:]
TSHARK = ["tshark", "-r", CAPTURE, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]


def check(name, is_fine):
    print(f"{'ok    ' if is_fine else 'FAILED'} tshark: {name}")


# What only the heads of a handshake have.
HANDSHAKE = {"in": b"\r\nSec-WebSocket-Key: ", "out": b"HTTP/1.1 101 Switching Protocols\r\n"}


def decode(stream, side):
    """Yields the frames after the handshake, as RFC 6455 section 5.2 has them: fin, opcode, mask, payload."""
    at = stream.index(b"\r\n\r\n", stream.index(HANDSHAKE[side])) + 4
    while at < len(stream):
        first, second = stream[at : at + 2]
        at += 2
        length = second & 0x7F
        if length > 125:
            size = {126: 2, 127: 8}[length]
            length = int.from_bytes(stream[at : at + size], "big")
            at += size
        key = b"\0\0\0\0"
        if second & 0x80:
            key = stream[at : at + 4]
            at += 4
        payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(stream[at : at + length]))
        at += length
        yield first >> 7, first & 0x0F, second >> 7, payload


def joined(frames):
    """Returns the same frames, with the payload of each message in its last one."""
    message, result = b"", []
    for fin, opcode, mask, payload in frames:
        if opcode < 8:
            message += payload
            payload, message = (message, b"") if fin else (b"", message)
        result.append((fin, opcode, mask, payload))
    return result


# The frames of the recording, by the address of the client and the side that has sent them.
clients, streams = {}, {}
for line in open(RECORDING):
    event = json.loads(line)
    if event.get("event") == "open":
        clients[event["connection"]] = event["address"].strip("[").replace("]", "")
    elif event.get("event") in ("in", "out"):
        key = clients[event["connection"]], event["event"]
        streams[key] = streams.get(key, b"") + bytes.fromhex(event["hex"])
recorded = {
    key: list(decode(stream, key[1]))
    for key, stream in streams.items()
    if HANDSHAKE["out"] in streams.get((key[0], "out"), b"")
}

packets = subprocess.run([*TSHARK, "-T", "pdml"], capture_output=True, check=True, text=True).stdout
port = json.loads(open(RECORDING).readline())["listening"][0].rsplit(":", 1)[1]
read, hosts = {}, set()
for packet in xml.fromstring(packets).iter("packet"):
    shown = lambda name, of=packet: next((f.get("show") for f in of.iter("field") if f.get("name") == name), None)
    source = shown("ip.src") or shown("ipv6.src"), shown("tcp.srcport")
    target = shown("ip.dst") or shown("ipv6.dst"), shown("tcp.dstport")
    hosts |= {source[0], target[0]}
    key = (":".join(target), "out") if source[1] == port else (":".join(source), "in")
    for frame in packet.iter("proto"):
        data = next((f.get("value") for f in frame.iter("field") if f.get("name") == "data.data"), None)
        if data and key in read and read[key][-1][1] in (0, 2):
            # Binary data stands behind the frame that it belongs to.
            read[key][-1] = *read[key][-1][:3], bytes.fromhex(data)
        if frame.get("name") != "websocket":
            continue
        payload = b""
        for field in frame.iter("field"):
            name = field.get("name")
            is_whole = name.startswith("websocket.payload.") and name != "websocket.payload.close"
            if is_whole and field.get("value"):
                payload += bytes.fromhex(field.get("value"))
        number = lambda name: int(shown(name, frame), 0)
        frame = number("websocket.fin"), number("websocket.opcode"), number("websocket.mask"), payload
        read.setdefault(key, []).append(frame)

check(f"addresses {hosts}", hosts == {client.rsplit(":", 1)[0] for client in clients.values()})
check("every connection", len(recorded) == 10 and read.keys() == recorded.keys())
for key, frames in sorted(recorded.items()):
    # tshark joins fragments: the last one has the payload of the whole message.
    shown = [(fin, opcode, mask, payload if fin else b"") for fin, opcode, mask, payload in read.get(key, [])]
    same = shown == joined(frames)
    check(f"{len(frames)} frames {key[1]} of {key[0]}: fin, opcode, mask and payload", frames and same)
    if not same:
        print([pair for pair in zip(shown, joined(frames)) if pair[0] != pair[1]][:1], file=sys.stderr)
opcodes = {opcode for frames in read.values() for _, opcode, _, _ in frames}
check("all opcodes", opcodes == {0, 1, 2, 8, 9, 10})
texts = {payload.decode() for frames in read.values() for _, opcode, _, payload in frames if opcode == 1}
check("texts", {"Olá", "Echo: Olá", "Echo: fragmentos ✓", "€" * 30000} <= texts)


def fields(which, *names):
    """Returns the values of these fields in each packet that has them."""
    columns = [option for name in names for option in ("-e", name)]
    command = [*TSHARK, "-Y", which, "-T", "fields", "-E", "occurrence=a", *columns]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


requests = fields("http.request", "http.request.uri", "http.cookie", "http.authorization", "http.referer")
check("requests without secrets", "/echo?token=*******" in requests and "segredo" not in requests)
methods = sorted(fields("http.request", "http.request.method").replace(",", "\n").split())
check("every request of a connection", methods == ["GET"] * 10 + ["HEAD"])
codes = sorted(fields("http.response", "http.response.code").replace(",", "\n").split())
check("every response of a connection", codes == ["101"] * 5 + ["200"] * 4 + ["404"] * 2)
wrong = "_ws.malformed || tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0"
faults = subprocess.run([*TSHARK, "-Y", wrong], capture_output=True, check=True, text=True).stdout
check("no packet that it calls wrong", not faults)
print(faults[:2000], end="", file=sys.stderr)
