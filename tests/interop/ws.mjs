// npm `ws` against the echo and broadcast servers: node ws.mjs ECHO BROADCAST
import assert from 'node:assert/strict';
import { once } from 'node:events';
import WebSocket from 'ws';

const [echo, broadcast] = process.argv.slice(2);

async function open(url, ...more) {
  const socket = new WebSocket(url, ...more);
  socket.received = [];
  socket.waiting = [];
  // Messages may arrive before next() is called.
  socket.on('message', (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    const waiting = socket.waiting.shift();
    if (waiting) waiting(message);
    else socket.received.push(message);
  });
  await once(socket, 'open');
  return socket;
}

const next = (socket) =>
  socket.received.length ? socket.received.shift() : new Promise((resolve) => socket.waiting.push(resolve));

async function close(socket, code = 1000, reason = '') {
  socket.close(code, reason);
  const [gotCode, gotReason] = await once(socket, 'close');
  assert.deepEqual([gotCode, gotReason.toString()], [code, reason]);
}

const checks = {
  async 'text'() {
    const socket = await open(echo);
    for (const text of ['hello', 'Olá, turma! 😀', '']) {
      socket.send(text);
      assert.equal(await next(socket), text);
    }
    await close(socket);
  },
  async 'binary'() {
    const socket = await open(echo);
    for (const bytes of [Buffer.from([0, 255, 128]), Buffer.alloc(0)]) {
      socket.send(bytes);
      assert.deepEqual(await next(socket), bytes);
    }
    await close(socket);
  },
  async '1 MiB'() {
    const socket = await open(echo);
    const bytes = Buffer.alloc(1 << 20, 'framewise');
    socket.send(bytes);
    assert.deepEqual(await next(socket), bytes);
    await close(socket);
  },
  async 'a message in fragments'() {
    const socket = await open(echo);
    socket.send('Ol', { fin: false });
    socket.send('á, ', { fin: false });
    socket.ping('between');
    socket.send('turma', { fin: true });
    assert.equal(await next(socket), 'Olá, turma');
    await close(socket);
  },
  async 'ping and pong'() {
    const socket = await open(echo);
    socket.ping('are you there');
    const [payload] = await once(socket, 'pong');
    assert.equal(payload.toString(), 'are you there');
    await close(socket);
  },
  async 'close codes and reasons'() {
    for (const [code, reason] of [[1000, ''], [3000, 'até logo'], [4999, 'x'.repeat(123)]]) {
      await close(await open(echo), code, reason);
    }
  },
  async 'a subprotocol that nobody speaks'() {
    const socket = new WebSocket(echo, ['chat']);
    const [error] = await once(socket, 'error');
    assert.match(error.message, /no subprotocol/);
  },
  async 'an offer of permessage-deflate is passed over'() {
    const socket = await open(echo, { perMessageDeflate: true });
    assert.equal(socket.extensions, '');
    await close(socket);
  },
  async 'a broadcast reaches all but its sender'() {
    const members = [];
    for (let n = 0; n < 3; n += 1) members.push(await open(broadcast));
    const [speaker, ...others] = members;
    speaker.send('Olá, turma!');
    for (const other of others) assert.equal(await next(other), 'Olá, turma!');
    // The next message that the speaker gets is from another client, so its own did not come back.
    others[0].send(Buffer.from([1, 2, 3]));
    assert.deepEqual(await next(speaker), Buffer.from([1, 2, 3]));
    assert.deepEqual(await next(others[1]), Buffer.from([1, 2, 3]));
    await Promise.all(members.map((member) => close(member)));
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('nothing came')), 30000).unref());
  try {
    await Promise.race([check(), late]);
    console.log(`ok     ws: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ws: ${name}: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
