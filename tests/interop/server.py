"""A server on PyPI `websockets` for the client of the library. The path selects its behaviour, as in `server.mjs`."""
import asyncio
from websockets.asyncio.server import serve

async def behave(socket):
    what, _, code = socket.request.path.strip("/").partition("/")
    if what == "echo":
        async for message in socket:
            await socket.send(message)
    if what == "fragments":
        async for message in socket:
            await socket.send([message[at:at + 3] for at in range(0, len(message), 3)])
    if what == "ping":
        await (await socket.ping("are you there"))
        await socket.send("pong seen")
    if what == "close":
        await socket.close(int(code), "because")
    if what == "big":
        await socket.send(bytes(n % 251 for n in range(1 << 20)))
    await socket.wait_closed()

async def main():
    async with serve(behave, "127.0.0.1", 0, subprotocols=["chat"], select_subprotocol=choose, max_size=None) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

def choose(_, offered):
    return "chat" if "chat" in offered else None

asyncio.run(main())
