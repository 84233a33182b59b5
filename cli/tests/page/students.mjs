// The pages that students open in a browser: docs/lessons/files/page.html, and those that the lessons tell them to write.
// node students.mjs FRAMEWISE CHROMIUM LESSONS [PART-OF-A-NAME]
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { run, startServer, stop } from './support.mjs';

const [framewise, executablePath, lessons, part] = process.argv.slice(2);
const PAGE = join(lessons, 'files', 'page.html');

async function serve(port = 0, ...options) {
  const server = await startServer(framewise, port, '--lang', 'en', ...options);
  return { ...server, events: `ws://127.0.0.1:${server.port}/ws/events` };
}

/** `framewise connect`, as the lessons use it: `shows` waits for a line that has all these texts. */
function terminal(url, ...lines) {
  const process_ = spawn(framewise, ['connect', '--lang', 'en', url], { stdio: ['pipe', 'pipe', 'ignore'] });
  const shown = createInterface({ input: process_.stdout })[Symbol.asyncIterator]();
  const type = (line) => process_.stdin.write(`${line}\n`);
  lines.forEach(type);
  return {
    type,
    async shows(...texts) {
      for (;;) {
        const { value, done } = await shown.next();
        assert.ok(!done, `no line with ${texts}`);
        if (texts.every((text) => value.includes(text))) return value;
      }
    },
    stop: () => process_.kill(),
  };
}

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const work = await mkdtemp(join(tmpdir(), 'framewise-students-'));
/** A web server on a port of its own, as `python3 -m http.server` in the folder of the page. */
const elsewhere = createServer(async (request, response) => {
  response.setHeader('Content-Type', 'text/html');
  response.end(await readFile(PAGE));
});
elsewhere.listen(0, '127.0.0.1');
await once(elsewhere, 'listening');
const ELSEWHERE = `http://127.0.0.1:${elsewhere.address().port}`;
const FILE = pathToFileURL(PAGE).href;

let server;

async function open(url) {
  const page = await (await browser.newContext()).newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  await page.goto(url);
  return page;
}

/** Opens page.html, joins, and waits for a status with this text. */
async function visit(url, name, status = `You are ${name} in 7a.`, events = server.events) {
  const page = await open(url);
  await page.fill('#server', events);
  await page.fill('#name', name);
  await page.fill('#room', '7a');
  await page.click('#join button');
  await shows(page, status);
  return page;
}

const shows = (page, text) => page.locator('#status', { hasText: text }).waitFor();
const hears = (page, text) => page.locator('#chat li', { hasText: text }).waitFor();
async function say(page, message, to = '') {
  await page.fill('#to', to);
  await page.fill('#message', message);
  await page.click('#say button');
}

/** The fenced blocks of a lesson, as `run` of the lessons finds them. */
async function blocks(lang) {
  const text = await readFile(join(lessons, lang, '09-your-own-page.md'), 'utf8');
  return [...text.matchAll(/^( *)```(\S*)(.*)\n([^]*?)^ *```$/gm)].map(([, indent, language, options, body]) => ({
    language,
    options,
    body: body.split('\n').map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line)).join('\n'),
  }));
}

/** The page of the student in Lesson 9, and what the attacker types in it. */
async function lesson(lang) {
  const found = await blocks(lang);
  const mine = found.find(({ options }) => options.includes('file=mine.html')).body;
  const attack = found.map(({ body }) => /^> (.*<img .*)$/m.exec(body)?.[1]).find(Boolean);
  // What the other terminal shows: what ana says, and what she has not said.
  const shown = found.map(({ language, body }) => language === 'text' && /^< (.*)$/m.exec(body)?.[1]).filter(Boolean);
  const mended = found.find(({ language, body }) => language === 'js' && body.startsWith('function add(')).body;
  const presence = found.find(({ language, body }) => language === 'js' && body.startsWith("case 'peer_joined':")).body;
  return { mine, attack, shown, mended, presence };
}

/** Writes a page that a student has changed. Returns its address. */
async function save(html) {
  const path = join(work, 'mine.html');
  await writeFile(path, html);
  return pathToFileURL(path).href;
}

/** Opens the page of a student against the server of this check. */
async function openOwn(html) {
  assert.ok(html.includes('ws://localhost:8765/ws/events'));
  const page = await open(await save(html.replace('ws://localhost:8765/ws/events', server.events)));
  await page.waitForFunction(() => socket.readyState === WebSocket.OPEN);
  return page;
}

const withoutTime = (json) => ({ ...JSON.parse(json), timestamp: 'T' });

const checks = {
  async 'page.html: from a file and from another port, they hear each other, in private too'() {
    const [ana, bia] = [await visit(FILE, 'ana'), await visit(ELSEWHERE, 'bia')];
    const caio = await visit(FILE, 'caio');
    await say(ana, 'good morning');
    await hears(bia, 'ana: good morning');
    await hears(ana, 'you: good morning');
    await say(bia, 'psst', 'ana');
    await hears(ana, 'bia to you alone: psst');
    await say(bia, 'the end');
    await hears(caio, 'bia: the end');
    assert.deepEqual(await caio.locator('#chat li').allTextContents(), ['ana: good morning', 'bia: the end']);
    // Another room.
    await caio.fill('#room', '7b');
    await caio.click('#join button');
    await shows(caio, 'You are caio in 7b.');
    await say(ana, 'only 7a');
    await hears(bia, 'only 7a');
    await say(caio, 'nobody there', 'zoe');
    await hears(caio, "error: nobody here is called 'zoe'");
    assert.equal(await caio.locator('#chat li', { hasText: 'only 7a' }).count(), 0);
    return [ana, bia, caio];
  },
  async 'page.html: a name that somebody has gets a number'() {
    const [ana, other] = [await visit(FILE, 'ana'), await visit(FILE, 'ana', 'You are ana 2 in 7a.')];
    await hears(other, "somebody else is called 'ana'; 'ana 2' is free");
    return [ana, other];
  },
  async 'page.html: what others write never becomes HTML'() {
    const attacker = terminal(server.events, '{"type": "join", "room": "7a", "name": "<b>eve</b>"}');
    const ana = await visit(FILE, 'ana');
    attacker.type(`{"message": "<img src=x onerror='document.title = 1'>"}`);
    await hears(ana, `<b>eve</b>: <img src=x onerror='document.title = 1'>`);
    assert.equal(await ana.locator('#chat li *').count(), 0);
    assert.equal(await ana.title(), 'My chat');
    attacker.stop();
    return [ana];
  },
  async 'page.html: it comes back when the server does, and says what was not sent'() {
    const ana = await visit(FILE, 'ana');
    const { port } = server;
    await stop(server);
    await shows(ana, 'Next attempt in ');
    await shows(ana, 'No server answers at ');
    await say(ana, 'too early');
    await hears(ana, 'There is no connection, so this was not sent.');
    assert.equal(await ana.inputValue('#message'), 'too early');
    server = await serve(port);
    await shows(ana, 'You are ana in 7a.');
    return [ana];
  },
  async 'page.html: the delay grows, and is not the same twice'() {
    const ana = await open(FILE);
    const times = await ana.evaluate(() => [1, 2, 3, 4, 5, 6, 2000].map((n) => Array.from({ length: 100 }, () => delay(n))));
    [1, 2, 4, 8, 16, 30, 30].forEach((most, index) => {
      assert.ok(times[index].every((time) => time >= most / 2 && time <= most), `${most}: ${times[index]}`);
      assert.ok(new Set(times[index]).size > 50);
    });
    return [ana];
  },
  async 'page.html: it says which option the server needs, and with it gets in'() {
    await stop(server);
    server = await serve(0, '--allow-origin', 'same-host');
    const refused = [await visit(FILE, 'ana', '--allow-origin null'), await visit(ELSEWHERE, 'bia', `--allow-origin ${ELSEWHERE}`)];
    await stop(server);
    server = await serve(0, '--allow-origin', 'null', '--allow-origin', ELSEWHERE);
    return [...refused, await visit(FILE, 'ana'), await visit(ELSEWHERE, 'bia')];
  },
  async 'page.html: a server with a token'() {
    await stop(server);
    server = await serve(0, '--token', 'segredo');
    const ana = await visit(FILE, 'ana', 'Does it need ?token=');
    return [ana, await visit(FILE, 'bia', undefined, `${server.events}?token=segredo`)];
  },
  async 'page.html: an address that is none'() {
    const ana = await visit(FILE, 'ana', 'Failed to construct', 'mailto:ana');
    return [ana];
  },
};
for (const lang of ['en', 'pt']) {
  checks[`${lang}/09: the page with innerHTML obeys a message, as the lesson shows`] = async () => {
    const { mine, attack, shown } = await lesson(lang);
    const caio = terminal(server.events, '{"type": "join", "room": "7a", "name": "caio"}');
    await caio.shows('"joined"');
    const ana = await openOwn(mine);
    await ana.fill('#text', JSON.parse(shown[0]).message);
    await ana.click('button');
    assert.deepEqual(withoutTime(await caio.shows('"from":"ana"')), withoutTime(shown[0]));
    caio.type('{"message": "<b>one</b>"}');
    await ana.locator('#chat b').waitFor();
    caio.type('{"message": "<script>add(1)</script>two"}');
    await hears(ana, 'two');
    assert.equal(await ana.locator('#chat li').count(), 3);
    caio.type(attack);
    assert.deepEqual(withoutTime(await caio.shows('"from":"ana"')), withoutTime(shown[1]));
    caio.stop();
    return [ana];
  };
  checks[`${lang}/09: the mended page shows the same message as text`] = async () => {
    const { mine, attack, mended } = await lesson(lang);
    const before = /function add\(line\) \{[^]*?\n  \}\n/.exec(mine)[0];
    const caio = terminal(server.events, '{"type": "join", "room": "7a", "name": "caio"}');
    await caio.shows('"joined"');
    const ana = await openOwn(mine.replace(before, mended));
    await ana.fill('#text', 'hello');
    await ana.click('button');
    await caio.shows('"message":"hello"');
    caio.type(attack);
    await hears(ana, `caio: ${JSON.parse(attack).message}`);
    assert.equal(await ana.locator('#chat img').count(), 0);
    caio.stop();
    return [ana];
  };
  checks[`${lang}/09: page.html shows who comes and goes, as the exercise says`] = async () => {
    const { presence } = await lesson(lang);
    const html = await readFile(PAGE, 'utf8');
    const [socket, cases] = ['new WebSocket(address)', "      case 'joined':\n"];
    assert.ok(html.includes(socket) && html.includes(cases));
    const changed = html.replace(socket, "new WebSocket(address, 'framewise.classroom')").replace(cases, presence + cases);
    const ana = await visit(await save(changed), 'ana');
    const caio = terminal(server.events, '{"type": "join", "room": "7a", "name": "caio"}');
    const [, gone, here] = /\? '([^']+)' : '([^']+)'/.exec(presence);
    await hears(ana, `caio ${here}.`);
    caio.stop();
    await hears(ana, `caio ${gone}.`);
    return [ana];
  };
}

await run(checks, {
  part,
  async before() {
    server = await serve();
  },
  async after() {
    await Promise.all(browser.contexts().map((context) => context.close()));
    await stop(server);
  },
});
await browser.close();
elsewhere.close();
await rm(work, { recursive: true });
