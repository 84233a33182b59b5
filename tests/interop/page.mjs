// A page in Chromium against the echo and broadcast servers: node page.mjs ECHO BROADCAST CHROMIUM [KEY]
// KEY is the SHA-256 of the public key of a server, in base64, that Chromium accepts without knowing its authority.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

const [echo, broadcast, executablePath, key] = process.argv.slice(2);

// A page has an origin, as in class.
const site = createServer((_, answer) => {
  answer.setHeader('Content-Type', 'text/html');
  answer.end('<!doctype html><title>interop</title>');
});
await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
const args = ['--no-sandbox', ...(key ? [`--ignore-certificate-errors-spki-list=${key}`] : [])];
const browser = await chromium.launch({ executablePath, args });

async function newPage() {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  // open(url) resolves to a socket that keeps its messages until next() takes them.
  await page.evaluate(() => {
    window.open = (url) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(url);
        const received = [];
        const waiting = [];
        socket.binaryType = 'arraybuffer';
        socket.onmessage = ({ data }) => (waiting.length ? waiting.shift()(data) : received.push(data));
        socket.onopen = () => resolve(socket);
        socket.onerror = () => reject(new Error('no connection'));
        socket.next = () =>
          received.length ? received.shift() : new Promise((resolve) => waiting.push(resolve));
      });
  });
  return page;
}

const checks = {
  async 'text and binary'(page) {
    const seen = await page.evaluate(async (url) => {
      const socket = await window.open(url);
      const seen = [];
      for (const text of ['hello', 'Olá, turma! 😀', '']) {
        socket.send(text);
        seen.push(await socket.next());
      }
      socket.send(new Uint8Array([0, 255, 128]));
      seen.push(Array.from(new Uint8Array(await socket.next())));
      return seen;
    }, echo);
    assert.deepEqual(seen, ['hello', 'Olá, turma! 😀', '', [0, 255, 128]]);
  },
  async '1 MiB'(page) {
    const same = await page.evaluate(async (url) => {
      const socket = await window.open(url);
      const bytes = new Uint8Array(1 << 20).map((_, n) => n % 251);
      socket.send(bytes);
      const back = new Uint8Array(await socket.next());
      return back.length === bytes.length && back.every((byte, n) => byte === bytes[n]);
    }, echo);
    assert.equal(same, true);
  },
  async 'close with a code and a reason'(page) {
    const end = await page.evaluate(async (url) => {
      const socket = await window.open(url);
      const ended = new Promise((resolve) => {
        socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
      });
      socket.close(4000, 'até logo');
      return ended;
    }, echo);
    assert.deepEqual(end, { code: 4000, reason: 'até logo', wasClean: true });
  },
  async 'two pages hear each other, nobody hears itself'(page) {
    const other = await newPage();
    await page.evaluate(async (url) => { window.socket = await window.open(url); }, broadcast);
    await other.evaluate(async (url) => { window.socket = await window.open(url); }, broadcast);
    await page.evaluate(() => window.socket.send('Olá, turma!'));
    assert.equal(await other.evaluate(() => window.socket.next()), 'Olá, turma!');
    await other.evaluate(() => window.socket.send('oi'));
    assert.equal(await page.evaluate(() => window.socket.next()), 'oi');
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  const page = await newPage();
  page.setDefaultTimeout(30000);
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error('nothing came')), 30000).unref());
  try {
    await Promise.race([check(page), late]);
    console.log(`ok     Chromium: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED Chromium: ${name}: ${error.message}`);
  }
  await page.close();
}
await browser.close();
process.exit(failed ? 1 : 0);
