"""A Python client in the class, and the metrics read by a real parser: python class.py ADDRESS"""

import asyncio
import json
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

ADDRESS = sys.argv[1]


async def events_and_rooms():
    async with connect(f"ws://{ADDRESS}/ws/events") as ana, connect(f"ws://{ADDRESS}/ws/events") as bia:
        await ana.send(json.dumps({"type": "join", "room": "sala 3", "name": "ana", "id": "c1"}))
        assert json.loads(await ana.recv()) == {"type": "joined", "room": "sala 3", "name": "ana"}
        assert json.loads(await ana.recv()) == {"type": "ack", "id": "c1"}
        await bia.send(json.dumps({"message": "só para você", "to": "ana"}))
        said = json.loads(await ana.recv())
        assert (said["message"], said["to"]) == ("só para você", "ana"), said


async def raw_broadcast():
    async with connect(f"ws://{ADDRESS}/ws?room=py") as one, connect(f"ws://{ADDRESS}/ws?room=py") as two:
        # Whoever answers a ping has been let into the room.
        await (await two.ping())
        await one.send("a todos")
        assert await two.recv() == "a todos"
        await one.send(b"\x00\xff")
        assert await two.recv() == b"\x00\xff"


async def openmetrics():
    async with connect(f"ws://{ADDRESS}/echo") as peer:
        await peer.send("oi")
        assert await peer.recv() == "Echo: oi"
        with urllib.request.urlopen(f"http://{ADDRESS}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    assert families["framewise_connections"].type == "gauge"
    assert families["framewise_messages"].type == "counter"
    assert families["framewise_loop_pass_seconds"].type == "histogram"
    assert families["framewise_output_queued_bytes"].unit == "bytes"
    opened = [
        sample.value
        for sample in families["framewise_handshakes"].samples
        if sample.labels.get("result") == "opened"
    ]
    assert opened and opened[0] >= 1, opened


async def main():
    for check in (events_and_rooms, raw_broadcast, openmetrics):
        try:
            await asyncio.wait_for(check(), 30)
            print(f"ok     python: {check.__name__}")
        except Exception as error:  # Whatever it is, it is a failure with a name.
            print(f"FAILED python: {check.__name__}: {error!r}")


asyncio.run(main())
