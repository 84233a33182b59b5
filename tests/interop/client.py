"""PyPI `websockets` against the echo and broadcast servers: client.py ECHO BROADCAST"""
import asyncio, sys
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

ECHO, BROADCAST = sys.argv[1:]
CHECKS = []

def check(name):
    return lambda function: CHECKS.append((name, function))

async def closes(client, code=1000, reason=""):
    await client.close(code, reason)
    try:
        await client.recv()
        raise AssertionError("a message after the end")
    except ConnectionClosed as end:
        assert (end.rcvd.code, end.rcvd.reason) == (code, reason), end.rcvd

@check("text and binary")
async def _():
    async with connect(ECHO, max_size=None) as client:
        for message in ["hello", "Olá, turma! 😀", "", b"\0\xff\x80", b""]:
            await client.send(message)
            assert await client.recv() == message

@check("1 MiB")
async def _():
    async with connect(ECHO, max_size=None) as client:
        message = bytes(range(256)) * 4096
        await client.send(message)
        assert await client.recv() == message

@check("a message in fragments")
async def _():
    async with connect(ECHO) as client:
        await client.send(["Ol", "á, ", "turma"])
        assert await client.recv() == "Olá, turma"

@check("ping and pong")
async def _():
    async with connect(ECHO) as client:
        # It resolves when the pong with the same payload arrives.
        await (await client.ping("are you there"))

@check("close codes and reasons")
async def _():
    for code, reason in [(1000, ""), (3000, "até logo"), (4999, "x" * 123)]:
        await closes(await connect(ECHO), code, reason)

@check("a subprotocol that nobody speaks")
async def _():
    async with connect(ECHO, subprotocols=["chat"]) as client:
        assert client.subprotocol is None

@check("an offer of permessage-deflate is passed over")
async def _():
    async with connect(ECHO, compression="deflate") as client:
        assert client.protocol.extensions == []

@check("a broadcast reaches all but its sender")
async def _():
    async with connect(BROADCAST) as ana, connect(BROADCAST) as rui, connect(BROADCAST) as eva:
        await ana.send("Olá, turma!")
        assert await rui.recv() == "Olá, turma!" == await eva.recv()
        # The next message that Ana gets is Rui's, so her own did not come back.
        await rui.send(b"\1\2")
        assert await ana.recv() == b"\1\2" == await eva.recv()

async def main():
    failed = 0
    for name, function in CHECKS:
        try:
            await asyncio.wait_for(function(), 30)
            print(f"ok     websockets: {name}")
        except Exception as error:
            failed += 1
            print(f"FAILED websockets: {name}: {error!r}")
    sys.exit(1 if failed else 0)

asyncio.run(main())
