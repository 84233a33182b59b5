"""PyPI `websockets`, as a class would use it. `--deflate`: compresses with level 1, as framewise does."""
import asyncio
import logging
import sys
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main():
    deflate = [ServerPerMessageDeflateFactory(compress_settings={"level": 1})] if "--deflate" in sys.argv else None
    async with serve(echo, "127.0.0.1", 0, compression=None, extensions=deflate, max_size=None) as server:
        print("listening 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

# The load closes its connections with a reset. Without this, each one would print a traceback.
logging.disable()
asyncio.run(main())
