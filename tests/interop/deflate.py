"""permessage-deflate with PyPI `websockets` and aiohttp, as clients of the echo examples and as servers of `framewise connect`, with
and without contexts on either side: deflate.py ECHO ECHO-WITH-CONTEXTS FRAMEWISE"""
import asyncio, json, sys, traceback
import aiohttp
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

PLAIN, CONTEXTS, FRAMEWISE = sys.argv[1:]
LINE = [json.dumps({"event": "message", "text": f"the lesson number {n} begins, see you", "n": n}) for n in range(4)]
TEXTS = [LINE[0], LINE[1], "short", LINE[2] * 1000, LINE[0], "Olá, turma! 😀 " * 40]
ALL = [*TEXTS, b"framewise" * 100_000, bytes(n * n * 31 % 251 for n in range(5000)), *TEXTS]
COMBINATIONS = [(server, client) for server in (False, True) for client in (False, True)]
failed = False

def named(server, client):
    return f"server {'no ' * server}context, client {'no ' * client}context"

async def check(name, run):
    global failed
    try:
        await asyncio.wait_for(run, 60)
        print(f"ok     {name}")
    except Exception:
        failed = True
        print(f"FAILED {name}: {traceback.format_exc()}")

async def websockets_client(url, server, client, bits):
    offer = ClientPerMessageDeflateFactory(server_no_context_takeover=server, client_no_context_takeover=client,
                                           server_max_window_bits=bits, client_max_window_bits=bits or True)
    async with connect(url, extensions=[offer], compression=None, max_size=None) as socket:
        assert [extension.name for extension in socket.protocol.extensions] == ["permessage-deflate"]
        for message in ALL:
            await socket.send(message)
            assert await socket.recv() == message

async def aiohttp_client(url):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=15, max_msg_size=0) as socket:
        assert socket.compress
        for message in ALL:
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
            assert (await socket.receive()).data == message

async def talk(port, mode):
    arguments = [part for text in TEXTS for part in ("-x", text)]
    process = await asyncio.create_subprocess_exec(FRAMEWISE, "connect", f"ws://127.0.0.1:{port}", "--deflate", mode, *arguments,
                                                   stdout=asyncio.subprocess.PIPE, limit=1 << 24)
    output, _ = await process.communicate()
    assert process.returncode == 0 and output.decode() == "".join(f"{text}\n" for text in TEXTS), output[:200]

async def websockets_server(server, client, mode):
    agreed = []
    async def echo(socket):
        agreed.extend(extension.name for extension in socket.protocol.extensions)
        async for message in socket:
            await socket.send(message)
    accept = ServerPerMessageDeflateFactory(server_no_context_takeover=server, client_no_context_takeover=client)
    async with serve(echo, "127.0.0.1", 0, extensions=[accept], compression=None) as running:
        await talk(running.sockets[0].getsockname()[1], mode)
    assert agreed == ["permessage-deflate"], agreed

async def aiohttp_server(mode):
    agreed = []
    async def echo(request):
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        agreed.append(socket.compress)
        async for message in socket:
            await socket.send_str(message.data)
        return socket
    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await talk(site._server.sockets[0].getsockname()[1], mode)
    await runner.cleanup()
    assert agreed and agreed[0], agreed

async def main():
    for url, kind in [(PLAIN, "without contexts"), (CONTEXTS, "with contexts")]:
        for server, client in COMBINATIONS:
            for bits in (None, 10):
                name = f"websockets: deflate, client of a server {kind}, {named(server, client)}{', small windows' * bool(bits)}"
                await check(name, websockets_client(url, server, client, bits))
        await check(f"aiohttp: deflate, client of a server {kind}", aiohttp_client(url))
    for mode in ("on", "takeover"):
        for server, client in COMBINATIONS:
            name = f"websockets: deflate, server of connect --deflate {mode}, {named(server, client)}"
            await check(name, websockets_server(server, client, mode))
        await check(f"aiohttp: deflate, server of connect --deflate {mode}", aiohttp_server(mode))

asyncio.run(main())
sys.exit(failed)
