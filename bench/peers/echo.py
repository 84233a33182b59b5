"""PyPI `websockets`, as a class would use it."""
import asyncio
import logging
from websockets.asyncio.server import serve

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    async with serve(echo, "127.0.0.1", 0, compression=None, max_size=None) as server:
        print("listening 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

# The load closes its connections with a reset. Without this, each one would print a traceback.
logging.disable()
asyncio.run(main())
