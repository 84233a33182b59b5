// The wire page in Chromium, while wscat, Python and a page of the class talk:
// node wire.mjs FRAMEWISE CHROMIUM FOLDER-FOR-SCREENSHOTS WSCAT PYTHON [PART-OF-A-NAME]
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { run, startProgram, startServer, stop, watch } from './support.mjs';

const [framewise, executablePath, folder, wscat, python, part] = process.argv.slice(2);

/** Starts a program, and returns it with a promise of a line of its output that matches. */
function start(program, args, options = {}) {
  const child = startProgram(program, args, { stdio: ['pipe', 'pipe', 'ignore'], ...options });
  const waiting = [];
  const lines = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    for (const { pattern, resolve } of waiting) if (pattern.test(line)) resolve(line);
  });
  child.line = (pattern) =>
    lines.find((line) => pattern.test(line)) ?? new Promise((resolve) => waiting.push({ pattern, resolve }));
  return child;
}

const serve = (...options) => startServer(framewise, 0, '--lang', 'pt', ...options);

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
let server;

/** A page of its own, which reports what must never happen. */
async function visit(path, { lang = 'en-US', context, status = 200 } = {}) {
  context ??= await browser.newContext({ locale: lang, viewport: { width: 1280, height: 720 } });
  const page = watch(await context.newPage(), server.url);
  const response = await page.goto(new URL(path, server.url).href);
  assert.equal(response.status(), status, path);
  return page;
}

const state = (page, wanted) => page.locator(`#status[data-state="${wanted}"]`).waitFor();

async function wirePage(path = '/wire', options) {
  const page = await visit(path, options);
  await state(page, 'connected');
  return page;
}

async function classPage(name, room) {
  const page = await visit(`/?room=${room}`);
  await state(page, 'connected');
  await page.fill('#name', name);
  await page.click('#join button');
  await page.locator('#people .person', { hasText: name }).waitFor();
  return page;
}

const chip = (page, ...texts) => texts.reduce((found, hasText) => found.filter({ hasText }), page.locator('.chip')).last();
const lane = (page, text) => page.locator('.lane', { hasText: text });
const shown = (page, text) => page.locator('#parts', { hasText: text }).waitFor();

/** A WebSocket without a library, so that it can break rules. */
async function bare() {
  const socket = connect(server.port, '127.0.0.1').setNoDelay();
  socket.on('error', () => {});
  socket.write(`GET /echo HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
    + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
  await once(socket, 'data');
  return socket;
}

async function noViolations(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes[0].html]), []);
}

const PYTHON = `
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], additional_headers={"Cookie": "id=segredo"}) as socket:
        await socket.send("oi do Python")
        await (await socket.ping(b"vivo?"))
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
asyncio.run(main())
`;

const checks = {
  async 'wscat, Python and a page of the class are followed byte by byte'() {
    const wire = await wirePage();
    await wire.locator('#empty', { hasText: 'Nobody has spoken yet' }).waitFor();
    const ana = await classPage('ana', '7a');
    const cat = start(wscat, ['-c', `ws://127.0.0.1:${server.port}/ws?room=7a&token=segredo`]);
    await lane(wire, '/ws · 7a').waitFor();
    const snake = start(python, ['-c', PYTHON, `ws://127.0.0.1:${server.port}/ws?room=7a`]);
    await snake.line(/ready/);
    await ana.locator('#chat .entry', { hasText: 'oi do Python' }).waitFor();
    cat.stdin.write('oi do wscat\n');
    await ana.locator('#chat .entry', { hasText: 'oi do wscat' }).waitFor();
    // A lane for each, with name and room.
    await lane(wire, 'ana').filter({ hasText: '/ws/events · 7a' }).waitFor();
    await wire.locator('.lane', { hasText: '/ws · 7a' }).nth(1).waitFor();
    assert.equal(await wire.locator('.lane', { hasText: '/wire' }).count(), 0);
    assert.equal(await wire.locator('.lane').count(), 3, 'requests for pages are not in the way');

    // One frame: its fields, the mask shown and undone.
    await chip(wire, '▲ text', 'oi do wscat').click();
    await shown(wire, 'oi do wscat');
    const fields = await wire.locator('#parts .field small').allTextContents();
    assert.deepEqual(fields, ['FIN', 'RSV1', 'RSV2', 'RSV3', 'opcode text', 'MASK', 'payload length 11', 'masking key']);
    const rows = await wire.locator('#parts .octets tr').allTextContents();
    const bytes = async (n) => (await wire.locator('#parts .octets tr').nth(n).locator('td').allTextContents()).map((hex) => Number.parseInt(hex, 16));
    assert.equal(rows.length, 4);
    const [onWire, key, clear] = [await bytes(0), await bytes(1), await bytes(2)];
    assert.deepEqual(onWire.map((byte, at) => byte ^ key[at]), clear);
    assert.equal(Buffer.from(clear).toString(), 'oi do wscat');
    // A click on a field shows its rule in plain words, with its clause.
    await wire.locator('#parts .field.mask').click();
    await wire.locator('#rule', { hasText: 'A client always masks, a server never does.' }).waitFor();
    await wire.locator('#rule', { hasText: 'RFC 6455 §5.1-2' }).waitFor();

    // The message is followed from its sender through the server to all receivers.
    await wire.click('#follow');
    const way = wire.locator('#followed');
    await way.filter({ hasText: /^#\d+ 'oi do wscat' → server → ana, #\d+$/ }).or(way.filter({ hasText: /^#\d+ 'oi do wscat' → server → #\d+, ana$/ })).waitFor();
    assert.equal(await wire.locator('.chip.followed').count(), 3);
    await way.locator('a', { hasText: 'ana' }).click();
    await shown(wire, '"message":"oi do wscat"');
    await wire.click('#follow');
    await way.waitFor({ state: 'hidden' });

    // The handshake of Python: Accept step by step, and no cookie.
    const request = wire.locator('.lane', { has: wire.locator('.chip', { hasText: 'ping' }) }).locator('.chip', { hasText: 'request' });
    await request.click();
    await wire.locator('#parts .steps li').nth(3).waitFor();
    const steps = await wire.locator('#parts .steps li').allTextContents();
    assert.equal(steps.length, 4);
    assert.match(steps[1], /258EAFA5-E914-47DA-95CA-C5AB0DC85B11$/);
    await shown(wire, '**********');
    await wire.locator('.lane', { has: wire.locator('.chip', { hasText: 'ping' }) }).locator('.chip', { hasText: 'response' }).click();
    await shown(wire, steps[3].split(': ').at(-1).trim());
    assert.ok(!(await wire.content()).includes('segredo'));

    // Ping, pong and close, which browsers hide.
    await chip(wire, '▲ ping', 'vivo?').waitFor();
    await chip(wire, '▼ pong', 'vivo?').waitFor();
    snake.stdin.write('\n');
    await chip(wire, '▲ close', '1000').waitFor();
    await lane(wire, '✕ 1000').waitFor();
    await wire.screenshot({ path: join(folder, 'wire.png') });
    await noViolations(wire);
    await stop({ process: cat });
    return [wire, ana];
  },
  async 'a violation stands out, and reads are shown as they split'() {
    const wire = await wirePage('/wire', { lang: 'pt-BR' });
    const socket = await bare();
    const hello = Buffer.from('818537fa213d7f9f4d5158', 'hex');
    socket.write(hello.subarray(0, 4));
    await chip(wire, '▲ leitura', '4 B').waitFor();
    socket.write(hello.subarray(4));
    await chip(wire, '▲ text', 'Hello').click();
    await shown(wire, 'Veio em 2 pedaços: uma leitura não é um frame.');
    assert.deepEqual(await wire.locator('#parts .byte .cut').allTextContents(), ['21'], 'the cut is within the key');
    socket.write(Buffer.concat([hello, hello]));
    await wire.click('#newest');
    await wire.locator('.chip', { hasText: 'Echo: Hello' }).nth(2).waitFor();
    await chip(wire, '▲ text', 'Hello').click();
    await shown(wire, 'É o 2º de 2 frames que uma leitura de 22 bytes completou');
    socket.write(Buffer.from('810548656c6c6f', 'hex'));
    const broken = wire.locator('.chip.broken.in');
    await broken.filter({ hasText: '✖ 1002' }).click();
    await shown(wire, 'Regra violada: um cliente deve mascarar cada frame');
    await shown(wire, 'RFC 6455 §5.1 cláusula §5.1-2 · Close 1002');
    assert.equal(await wire.locator('#parts .field.wrong').textContent(), '0✖ MASK');
    await chip(wire, '▼ close', '1002').waitFor();
    await noViolations(wire);
    await wire.click('#lang');
    await shown(wire, 'Broken rule: a client must mask every frame');
    await wire.screenshot({ path: join(folder, 'wire-broken.png') });
    socket.destroy();
    return [wire];
  },
  async 'it is paused, stepped, filtered, and a link reopens a frame'() {
    const wire = await wirePage();
    const [ana, bia] = [await classPage('ana', '7a'), await classPage('bia', '7b')];
    await lane(wire, 'bia').waitFor();
    const acks = await wire.locator('.chip', { hasText: '"ack"' }).count();
    await wire.click('#pause');
    await ana.fill('#message', 'um');
    await ana.click('#send button');
    await ana.locator('.mark[data-state="delivered"]').waitFor();
    await wire.locator('#count', { hasText: '2 waiting' }).waitFor();
    assert.equal(await chip(wire, '"um"').count(), 0);
    await wire.click('#step');
    await chip(wire, '"um"').waitFor();
    await wire.locator('#count', { hasText: '1 waiting' }).waitFor();
    assert.equal(await wire.locator('.chip', { hasText: '"ack"' }).count(), acks);
    await wire.click('#pause');
    await wire.locator('.chip', { hasText: '"ack"' }).nth(acks).waitFor();
    // By room, by connection, by type.
    await wire.selectOption('#by-room', '7b');
    await lane(wire, 'ana').waitFor({ state: 'detached' });
    await wire.selectOption('#by-room', '');
    await wire.fill('#by-lane', 'ana');
    await lane(wire, 'bia').waitFor({ state: 'detached' });
    await wire.fill('#by-lane', '');
    await lane(wire, 'bia').waitFor();
    await wire.locator('#by-kind input[value="text"]').uncheck();
    await chip(wire, '"um"').waitFor({ state: 'detached' });
    await chip(wire, 'request').waitFor();
    await wire.locator('#by-kind input[value="text"]').check();
    await wire.locator('#plain').check();
    await wire.locator('.lane', { hasText: '/style.css' }).or(wire.locator('.lane', { hasText: '.js' })).first().waitFor();
    await wire.locator('#plain').uncheck();
    // A link to a frame leads back to it, in a page that has not seen it.
    await chip(wire, '▲ text', '"um"').click();
    await shown(wire, '"um"');
    const link = await wire.locator('#detail-heading a').getAttribute('href');
    const other = await wirePage(`/wire${link}`);
    await shown(other, '"um"');
    assert.equal(await other.locator('#newest').getAttribute('aria-pressed'), 'false');
    const gone = await wirePage(`/wire#99999.${link.split('.')[1]}`);
    await gone.locator('#problem', { hasText: 'no longer kept' }).waitFor();
    const run = await wirePage('/wire#1.abc');
    await run.locator('#problem', { hasText: 'another run' }).waitFor();
    return [wire, ana, bia, other, gone, run];
  },
  async 'open connections come before closed ones'() {
    const wire = await wirePage();
    for (let n = 0; n < 6; n += 1) {
      const socket = await bare();
      socket.write(Buffer.from('818537fa213d7f9f4d5158', 'hex'));
      await once(socket, 'data');
      socket.destroy();
    }
    await wire.locator('.lane', { hasText: '✕ 1006' }).nth(5).waitFor();
    const open = [await bare(), await bare()];
    for (const socket of open) socket.write(Buffer.from('818537fa213d7f9f4d5158', 'hex'));
    await wire.locator('.lane:not(.closed)').nth(1).waitFor();
    const names = await wire.locator('.lane .who').allTextContents();
    const numbers = (some) => some.map((name) => Number(name.match(/#(\d+)/)[1]));
    const [first, rest] = [names.slice(0, 2), names.slice(2)];
    assert.ok(first.every((name) => !name.includes('✕')) && rest.every((name) => name.includes('✕')), names.join());
    for (const part of [first, rest]) assert.deepEqual(numbers(part), numbers(part).sort((a, b) => a - b));
    // A connection that closes goes down to the others.
    open[0].destroy();
    await wire.locator('.lane', { hasText: '✕ 1006' }).nth(6).waitFor();
    assert.deepEqual(numbers(await wire.locator('.lane:not(.closed) .who').allTextContents()), numbers(first.slice(1)));
    assert.match((await wire.locator('.lane .who').allTextContents())[0], /#\d+$/);
    open[1].destroy();
    return [wire];
  },
  async 'a row keeps the keyboard focus when the rows change their order'() {
    const wire = await wirePage();
    const hello = Buffer.from('818537fa213d7f9f4d5158', 'hex');
    const open = [await bare(), await bare(), await bare()];
    for (const socket of open) {
      socket.write(hello);
      await once(socket, 'data');
    }
    await wire.locator('.lane:not(.closed)').nth(2).waitFor();
    const names = () => wire.locator('.lane .who').allTextContents();
    const numbers = (await names()).map((name) => name.match(/#\d+/)[0]);
    const focused = () => wire.evaluate(() => document.activeElement.closest('.lane')?.querySelector('.who').textContent);
    // The first row goes below the others, and the row with the focus goes up.
    await wire.locator('.lane-name', { hasText: numbers[1] }).focus();
    open[0].destroy();
    await wire.waitForFunction((last) => [...document.querySelectorAll('.lane .who')].at(-1).textContent.startsWith(last), numbers[0]);
    assert.equal(await focused(), numbers[1]);
    assert.deepEqual((await names()).map((name) => name.match(/#\d+/)[0]), [numbers[1], numbers[2], numbers[0]]);
    // The row with the focus itself goes down.
    open[1].destroy();
    await wire.waitForFunction((first) => document.querySelector('.lane .who').textContent === first, numbers[2]);
    assert.match(await focused(), new RegExp(`^${numbers[1]} `));
    assert.deepEqual((await names()).map((name) => name.match(/#\d+/)[0]), [numbers[2], numbers[0], numbers[1]]);
    // The keyboard goes on from there.
    await wire.keyboard.press('Enter');
    assert.equal(await wire.inputValue('#by-lane'), numbers[1]);
    open[2].destroy();
    return [wire];
  },
  async 'a compressed message is shown with its bytes, its text and the parameters'() {
    await stop(server);
    server = await serve('--wire', '--deflate', 'on');
    const wire = await wirePage();
    // Chromium offers the extension by itself. Another page talks, so that nothing else is on its lane.
    const visitor = await visit('/explain');
    await visitor.evaluate(async () => {
      const socket = new WebSocket(new URL('/echo', location.href.replace('http', 'ws')));
      await new Promise((resolve) => socket.addEventListener('open', resolve));
      const answer = new Promise((resolve) => socket.addEventListener('message', resolve));
      socket.send('lição '.repeat(40));
      await answer;
    });
    await lane(wire, '/echo').waitFor();
    const track = lane(wire, '/echo');
    await track.locator('.chip.out', { hasText: 'text' }).click();
    for (const [direction, says] of [['in', ''], ['out', 'Echo: ']]) {
      await track.locator(`.chip.${direction}`, { hasText: 'text' }).click();
      await wire.locator('#parts .said', { hasText: new RegExp(`^${says}lição lição `) }).waitFor();
      const length = Buffer.byteLength(says + 'lição '.repeat(40));
      await wire.locator('#parts p', { hasText: new RegExp(`^\\d+ compressed bytes \\(RSV1\\), which become a message of ${length} bytes$`) }).waitFor();
      assert.match(await wire.locator('#parts .field.rsv').first().textContent(), /^1\s*RSV1/);
      const rows = await wire.locator('#parts .octets tr th').allTextContents();
      const first = direction === 'in' ? ['on the wire', 'key, repeated', 'XOR: unmasked'] : ['on the wire'];
      assert.deepEqual([...new Set(rows)], first, 'compressed bytes are not shown as text');
      const bytes = await wire.locator('#parts .octets tr').nth(0).locator('td').count();
      assert.ok(bytes > 8, `${bytes} bytes`);
    }
    await wire.locator('#parts .field.rsv').first().click();
    await wire.locator('#rule', { hasText: 'RSV1 marks the first frame of a compressed message' }).waitFor();
    await noViolations(wire);
    await wire.screenshot({ path: join(folder, 'wire-deflate.png') });
    // What both sides have agreed on, in the handshake.
    await track.locator('.chip', { hasText: 'request' }).click();
    await shown(wire, 'Sec-WebSocket-Extensions:permessage-deflate; client_max_window_bits');
    await track.locator('.chip', { hasText: 'response' }).click();
    await shown(wire, 'Sec-WebSocket-Extensions:permessage-deflate; server_no_context_takeover; client_no_context_takeover');
    await wire.click('#lang');
    await track.locator('.chip.in', { hasText: 'text' }).click();
    await shown(wire, 'bytes comprimidos (RSV1), que viram uma mensagem de');
    // In fragments, the text comes with the last one.
    const request = `GET /echo HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
      + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n';
    const socket = connect(server.port, '127.0.0.1').setNoDelay();
    socket.write(request);
    await once(socket, 'data');
    socket.write(Buffer.from('418300000000f248cd808400000000c9c90700', 'hex'));
    await chip(wire, '▲ text', '3 B').click();
    await shown(wire, 'Dados comprimidos: o texto vem com o último frame da mensagem');
    await chip(wire, '▲ continuation', 'Hello').click();
    await shown(wire, 'Com os frames anteriores, uma mensagem de 5 bytes, descomprimida');
    socket.destroy();
    return [wire, visitor];
  },
  async "the teacher's token is taken from the address, or asked for"() {
    await stop(server);
    server = await serve('--wire', '--token', 'turma', '--teacher-token', 'professor & cia');
    const wire = await wirePage('/wire?token=professor%20%26%20cia');
    assert.equal(await wire.evaluate(() => location.search), '', 'the token is not on the wall');
    const asked = await visit('/wire', { status: 401 });
    await state(asked, 'disconnected');
    await asked.locator('#problem', { hasText: '--teacher-token' }).waitFor();
    await noViolations(asked);
    await asked.fill('#token', 'turma');
    await asked.keyboard.press('Enter');
    await asked.locator('#problem', { hasText: "not the teacher's token" }).waitFor();
    await asked.fill('#token', 'professor & cia');
    await asked.keyboard.press('Enter');
    await state(asked, 'connected');
    await asked.locator('#token-form').waitFor({ state: 'hidden' });
    await asked.reload();
    await state(asked, 'connected');
    return [wire, asked];
  },
  /** 1,000 frames a second: 500 messages to /echo and as many back. */
  async '1,000 frames a second freeze neither the page nor the class'() {
    await stop(server);
    server = await serve('--wire', '--rate', '0');
    const load = async () => {
      const args = ['load', `ws://127.0.0.1:${server.port}/echo`, '--peers', '10', '--rate', '50', '--duration', '4', '--json'];
      const child = start(framewise, args);
      return JSON.parse(await child.line(/^\{/));
    };
    const alone = await load();
    const wire = await wirePage();
    await wire.evaluate(() => {
      window.gaps = [];
      let last = performance.now();
      const step = (now) => {
        window.gaps.push(now - last);
        last = now;
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    });
    const loaded = load();
    await chip(wire, '▼ text', 'Echo').waitFor();
    // A click has its effect while frames pour in.
    const clicks = [];
    for (let n = 0; n < 6; n += 1) {
      clicks.push(await wire.evaluate(async () => {
        const began = performance.now();
        document.getElementById('pause').click();
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
        return performance.now() - began;
      }));
    }
    const watched = await loaded;
    const gaps = (await wire.evaluate(() => window.gaps)).sort((a, b) => a - b);
    const elements = await wire.evaluate(() => document.querySelectorAll('*').length);
    const [median, worst] = [gaps[Math.floor(gaps.length / 2)], gaps.at(-1)];
    const count = await wire.textContent('#count');
    console.log(`       alone ${JSON.stringify(alone)}`);
    console.log(`       watched ${JSON.stringify(watched)}`);
    console.log(`       screen: ${gaps.length} frames, median gap ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms; clicks ${clicks.map((ms) => ms.toFixed(0))} ms; ${elements} elements; ${count}`);
    assert.ok(watched.received >= 0.95 * alone.received && watched.unanswered === 0, 'the class is as fast as before');
    assert.ok(elements < 3000, `${elements} elements`);
    assert.ok(worst < 1000, `the page stood still for ${worst} ms`);
    assert.ok(Math.max(...clicks) < 1000, `a click took ${clicks} ms`);
    return [wire];
  },
};

await run(checks, {
  part,
  async before() {
    server = await serve('--wire');
  },
  async after(failure) {
    const [page] = browser.contexts().flatMap((context) => context.pages());
    if (failure) await page?.screenshot({ path: join(folder, 'wire-failed.png') });
    await Promise.all(browser.contexts().map((context) => context.close()));
    await stop(server);
  },
});
await browser.close();
