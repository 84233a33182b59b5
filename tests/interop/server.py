"""A server on PyPI `websockets` for the client of the library. The path selects its behaviour, as in `server.mjs`.
With two arguments, the files of a certificate and its key, it speaks TLS."""
import asyncio, ssl, sys
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
    context = None
    if sys.argv[1:]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*sys.argv[1:])
    async with serve(behave, "127.0.0.1", 0, subprotocols=["chat"], select_subprotocol=choose, max_size=None,
                     ssl=context) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

def choose(_, offered):
    return "chat" if "chat" in offered else None

asyncio.run(main())
