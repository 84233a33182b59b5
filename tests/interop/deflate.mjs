// permessage-deflate with npm `ws`, as a client of the echo examples and as a server of `framewise connect`, with and without
// contexts on either side: node deflate.mjs ECHO ECHO-WITH-CONTEXTS FRAMEWISE
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import WebSocket, { WebSocketServer } from 'ws';

const [plain, contexts, framewise] = process.argv.slice(2);

const json = (n) => JSON.stringify({ event: 'message', from: `ana${n % 7}`, text: `the lesson number ${n} begins, see you`, n });
const texts = [json(1), json(2), 'short', '', json(3).repeat(1000), json(1), 'Olá, turma! 😀 '.repeat(40)];
const bytes = [Buffer.alloc(1 << 20, 'framewise'), Buffer.from(Array.from({ length: 5000 }, (_, n) => (n * n * 31) % 251))];
const all = [...texts, ...bytes, ...texts];

/** All combinations of what `ws` asks for. With `false`, it would refuse a peer that asks for the same. */
const combinations = [undefined, true].flatMap((server) =>
  [undefined, true].map((client) => ({ serverNoContextTakeover: server, clientNoContextTakeover: client })));
const named = (options) => `server ${options.serverNoContextTakeover ? 'no ' : ''}context, client ${options.clientNoContextTakeover ? 'no ' : ''}context`;

let failed = false;
async function check(name, run) {
  try {
    await run();
    console.log(`ok     ws: deflate, ${name}`);
  } catch (error) {
    failed = true;
    console.log(`FAILED ws: deflate, ${name}: ${error.stack}`);
  }
}

for (const [url, kind] of [[plain, 'without contexts'], [contexts, 'with contexts']]) {
  for (const options of combinations) {
    for (const window of [{}, { serverMaxWindowBits: 9, clientMaxWindowBits: 10 }]) {
      await check(`client of a server ${kind}, ${named(options)}${window.serverMaxWindowBits ? ', small windows' : ''}`, async () => {
        const socket = new WebSocket(url, { perMessageDeflate: { ...options, ...window, threshold: 0 } });
        await once(socket, 'open');
        assert.match(socket.extensions, /permessage-deflate/);
        for (const message of all) {
          socket.send(message);
          const [data, isBinary] = await once(socket, 'message');
          assert.ok(Buffer.from(message).equals(data) && isBinary === (typeof message !== 'string'));
        }
        socket.close(1000);
        const [code] = await once(socket, 'close');
        assert.equal(code, 1000);
      });
    }
  }
}

for (const options of combinations) {
  for (const mode of ['on', 'takeover']) {
    await check(`server of connect --deflate ${mode}, ${named(options)}`, async () => {
      const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: { ...options, threshold: 0 } });
      await once(server, 'listening');
      let extensions;
      server.on('connection', (socket) => {
        extensions = socket.extensions;
        socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
      });
      const lines = texts.filter((text) => text);
      const url = `ws://127.0.0.1:${server.address().port}`;
      const { stdout } = await promisify(execFile)(framewise, ['connect', url, '--deflate', mode, ...lines.flatMap((text) => ['-x', text])], { maxBuffer: 1 << 24 });
      assert.match(extensions, /permessage-deflate/);
      assert.equal(stdout, lines.map((text) => `${text}\n`).join(''));
      server.close();
    });
  }
}
process.exit(failed ? 1 : 0);
