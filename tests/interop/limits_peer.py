"""A program that `limits.py` examines: limits_peer.py KIND. A client reads URLs from its input and connects to each. A server
prints "listening PORT"."""
import asyncio, sys
import aiohttp
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

async def with_websockets(url):
    async with connect(url, proxy=None) as socket:
        async for _ in socket:
            pass

async def with_aiohttp(url):
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        async for _ in socket:
            pass

async def quietly(connecting):
    try:
        await connecting
    except Exception:
        pass

async def clients(run):
    loop, tasks = asyncio.get_running_loop(), set()
    while url := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        tasks.add(asyncio.create_task(quietly(run(url))))

async def websockets_server():
    async def behave(socket):
        async for _ in socket:
            pass
    async with serve(behave, "127.0.0.1", 0) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

async def aiohttp_server():
    async def behave(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket
    application = web.Application()
    application.router.add_get("/", behave)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("listening", site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

RUN = {
    "websockets": lambda: clients(with_websockets),
    "aiohttp": lambda: clients(with_aiohttp),
    "websockets-server": websockets_server,
    "aiohttp-server": aiohttp_server,
}
asyncio.run(RUN[sys.argv[1]]())
