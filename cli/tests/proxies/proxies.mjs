// Reverse proxies and pages from elsewhere: node proxies.mjs FRAMEWISE CHROMIUM FOLDER
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { HOST, blocks, chromiumPath, handshake, pings, proxies, proxy, replaced, request, serve, stop, stopAll, work } from './support.mjs';

const PAGE = blocks(new URL('../../../docs/deploy.md', import.meta.url));
const recipe = (name) => PAGE[name][0];
/** The command of the page, on a free port. */
const words = (text, port = 0) => replaced(text, [['--port 8765', `--port ${port}`]]).trim().split(/\s+/).slice(2);
const COMMAND = words(PAGE.sh[0]);
const PUBLIC_URL = `https://${HOST}/turma`;
const MODULES = /^a2enmod (.*)$/m.exec(PAGE.sh[1])[1].split(' ');

const browsers = [];

/** A browser that finds these hosts on this machine: `MAP name:port 127.0.0.1:port`. */
async function browse(...rules) {
  const args = ['--no-sandbox', '--ignore-certificate-errors', `--host-resolver-rules=${rules.join(',')}`];
  const browser = await chromium.launch({ executablePath: chromiumPath, args });
  browsers.push(browser);
  return browser;
}

/** Opens a page as a visitor of its own. It keeps the addresses of its WebSockets, and what must never happen. */
async function visit(browser, url) {
  const page = await (await browser.newContext({ locale: 'en' })).newPage();
  [page.sockets, page.faults] = [[], []];
  page.on('websocket', (socket) => page.sockets.push(socket.url()));
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('response', (response) => response.status() === 404 && page.faults.push(`404 ${response.url()}`));
  await page.goto(url);
  return page;
}

const state = (page, wanted) => page.locator(`#status[data-state="${wanted}"]`).waitFor();
const hears = (page, text) => page.locator('#chat .entry', { hasText: text }).waitFor();
const problem = (page, text) => page.locator('#problem', { hasText: text }).waitFor();

async function joinAs(page, name) {
  await state(page, 'connected');
  await page.fill('#name', name);
  await page.click('#join button');
  await page.locator('#people .person', { hasText: name }).waitFor();
}

async function say(page, message) {
  await page.fill('#message', message);
  await page.click('#send button');
}

async function chat(ana, bia) {
  await joinAs(ana, 'ana');
  await joinAs(bia, 'bia');
  await say(ana, 'Does it work?');
  await hears(bia, 'Does it work?');
  await say(bia, 'It does.');
  await hears(ana, 'It does.');
}

/** What a client writes to look like this machine, or like somebody else. */
const FORGED = [
  { 'X-Forwarded-For': '127.0.0.1' },
  { 'X-Forwarded-For': '203.0.113.66, 127.0.0.1' },
  { 'X-Forwarded-Host': 'localhost' },
  { Forwarded: 'for=127.0.0.1;host=localhost;proto=http' },
  { Forwarded: 'for="[::1]", for=127.0.0.1', 'X-Forwarded-For': '127.0.0.1', 'X-Forwarded-Host': 'localhost', 'X-Real-IP': '127.0.0.1' },
];

const checks = {};

for (const name of Object.keys(proxies)) {
  checks[`${name}: a class under a path, over TLS`] = async () => {
    const server = await serve(...COMMAND);
    assert.ok(server.greeting.includes(`Others open ${PUBLIC_URL}/`), server.greeting.join('\n'));
    const front = await proxy(name, recipe(name), server, MODULES);
    const browser = await browse(`MAP ${HOST}:443 127.0.0.1:${front.port}`);
    // Without the slash, as people type it.
    const [ana, bia] = [await visit(browser, PUBLIC_URL), await visit(browser, `${PUBLIC_URL}/?room=lobby`)];
    await chat(ana, bia);
    assert.equal(ana.url(), `${PUBLIC_URL}/`);
    assert.match(ana.sockets[0], /^wss:\/\/class\.school\.example\/turma\/ws\/events\?/);
    await server.log.with('opened', 'address=127.0.0.1', 'path="/ws/events"');
    await ana.click('footer a[href="docs"]');
    await ana.locator('#messages article').first().waitFor();
    assert.deepEqual([...ana.faults, ...bia.faults], []);
  };

  checks[`${name}: forged header fields change nothing`] = async () => {
    let server = await serve(...COMMAND);
    const front = await proxy(name, recipe(name), server, MODULES);
    for (const [index, fields] of FORGED.entries()) {
      const what = JSON.stringify(fields);
      // A client that is not the proxy: the log has its address, and not the one that it wrote.
      const opened = await request(front.port, `/turma/ws?room=forged-${index}`, { ...handshake(), ...fields });
      assert.match(opened, /^HTTP\/1\.1 101 /, what);
      const line = await server.log.with('opened', `room="forged-${index}"`);
      assert.match(line, /address=127\.0\.0\.2 /, what);
      assert.match(await request(front.port, '/turma/metrics', fields), /^HTTP\/1\.1 403 /, what);
    }
    await server.log.with('status=403', 'address=127.0.0.2 ');
    const addresses = server.log.all.flatMap((line) => /address="?([^ "]*)/.exec(line)?.[1] ?? []);
    assert.deepEqual(new Set(addresses), new Set(['127.0.0.2']));
    // A client on the machine of the proxy has an address of --behind-proxy itself, and still is not this machine.
    for (const fields of [{}, ...FORGED]) {
      assert.match(await request(front.port, '/turma/metrics', fields, { from: '127.0.0.1' }), /^HTTP\/1\.1 403 /, JSON.stringify(fields));
    }
    assert.match(await request(server.port, '/metrics', { Host: 'localhost' }, { from: '127.0.0.1', tls: false }), /^HTTP\/1\.1 200 /);
    // Without --behind-proxy, nobody who comes through the proxy is on this machine.
    await stop(server);
    server = await serve(...words(replaced(PAGE.sh[0], [[' --behind-proxy 127.0.0.1', '']]), server.port));
    for (const fields of [{}, ...FORGED]) {
      assert.match(await request(front.port, '/turma/metrics', fields, { from: '127.0.0.1' }), /^HTTP\/1\.1 403 /, JSON.stringify(fields));
    }
    assert.match(await request(server.port, '/metrics', { Host: 'localhost' }, { from: '127.0.0.1', tls: false }), /^HTTP\/1\.1 200 /);
  };
}

/** The time-outs of docs/deploy.md, shortened to two seconds. Caddy has none. */
const SHORT = {
  nginx: [['proxy_http_version', 'proxy_read_timeout 2s; proxy_http_version']],
  haproxy: [['timeout tunnel 60s', 'timeout tunnel 2s']],
  apache: [['SSLEngine on', 'SSLEngine on\nTimeout 2']],
};

checks['pings keep a silent WebSocket open, and without them the proxy closes it'] = async () => {
  const opened = async (name, interval) => {
    const server = await serve(...COMMAND, '--ping-interval', interval);
    const front = await proxy(name, replaced(recipe(name), SHORT[name]), server, MODULES);
    return pings(front.port, 4);
  };
  // All at once, because each of them takes its time.
  const both = Object.keys(SHORT).map(async (name) => [name, ...(await Promise.all([opened(name, '1'), opened(name, '0')]))]);
  assert.deepEqual(await Promise.all(both), Object.keys(SHORT).map((name) => [name, 4, 0]));
};

/** A configuration with a fault, and what the page and the log say of it. */
const FAULTS = {
  'nginx speaks HTTP/1.0': ['nginx', [['        proxy_http_version 1.1;\n', '']], 'proxy_http_version 1.1', 'the proxy speaks HTTP/1.0'],
  'nginx drops the upgrade': [
    'nginx',
    [['        proxy_set_header Upgrade $http_upgrade;\n', ''], ['        proxy_set_header Connection "upgrade";\n', '']],
    'proxy_set_header Upgrade $http_upgrade', 'a proxy in front of the server has dropped them',
  ],
  'nginx with its defaults': [
    'nginx', [[/ {8}proxy_(http_version|set_header (Upgrade|Connection|Host)).*\n/, '']], 'proxy_http_version 1.1', 'the proxy speaks HTTP/1.0',
  ],
  'nginx drops every field of the handshake': [
    'nginx',
    [['proxy_set_header Upgrade $http_upgrade;', ['Key', 'Version', 'Protocol', 'Extensions'].map((name) => `proxy_set_header Sec-WebSocket-${name} "";`).join(' ')],
      ['proxy_set_header Connection "upgrade";', '']],
    'proxy_set_header Upgrade $http_upgrade', 'Upgrade: -, Connection: close',
  ],
  'Apache drops the upgrade': ['apache', [[' upgrade=websocket', '']], 'upgrade=websocket', 'a proxy in front of the server has dropped them'],
};

for (const [what, [name, changes, remedy, logged]] of Object.entries(FAULTS)) {
  checks[`${what}: the log and the page name the remedy`] = async () => {
    const server = await serve(...COMMAND);
    let wrong = recipe(name);
    for (const [from, to] of changes) {
      const changed = wrong.replaceAll(from instanceof RegExp ? new RegExp(from, 'g') : from, to);
      assert.notEqual(changed, wrong, `there is no ${from}`);
      wrong = changed;
    }
    const front = await proxy(name, wrong, server, MODULES);
    const page = await visit(await browse(`MAP ${HOST}:443 127.0.0.1:${front.port}`), PUBLIC_URL);
    await problem(page, remedy);
    await state(page, 'disconnected');
    await server.log.with('refused', logged, remedy, 'address=127.0.0.1 ');
  };
}

Object.assign(checks, {
  async 'a WebSocket that something keeps on its way: the page says so'() {
    const server = await serve(...COMMAND);
    const keeps = replaced(recipe('nginx'), [['proxy_pass', 'if ($http_upgrade) { return 403; }\n proxy_pass']]);
    const front = await proxy('nginx', keeps, server);
    const page = await visit(await browse(`MAP ${HOST}:443 127.0.0.1:${front.port}`), PUBLIC_URL);
    await problem(page, 'has seen nothing of it');
    assert.notEqual(await page.getAttribute('#status', 'data-state'), 'disconnected', 'it tries again');
  },

  async 'without --public-url: the page says what is missing'() {
    const server = await serve('--host', '127.0.0.1', '--port', '0');
    // HAProxy keeps Host, and Apache replaces it.
    const [keeps, replaces] = [await proxy('haproxy', recipe('haproxy'), server), await proxy('apache', recipe('apache'), server, MODULES)];
    const browser = await browse(`MAP ${HOST}:443 127.0.0.1:${keeps.port}`, `MAP ${HOST}:444 127.0.0.1:${replaces.port}`);
    const refused = await visit(browser, PUBLIC_URL);
    await refused.locator('body', { hasText: `--allow-host ${HOST}` }).waitFor();
    const page = await visit(browser, `https://${HOST}:444/turma/`);
    await problem(page, `--allow-origin https://${HOST}:444`);
    await server.log.with('refused', `--allow-origin https://${HOST}:444`);
  },

  async 'a proxy without a server: the page says so, and connects when the server is back'() {
    const server = await serve(...COMMAND);
    const front = await proxy('caddy', recipe('caddy'), server);
    const page = await visit(await browse(`MAP ${HOST}:443 127.0.0.1:${front.port}`), PUBLIC_URL);
    await state(page, 'connected');
    await stop(server);
    await problem(page, 'A proxy answered 502');
    await serve(...words(PAGE.sh[0], server.port));
    await state(page, 'connected');
    assert.equal(await page.textContent('#problem'), '');
  },

  async 'the Portuguese page has the same configurations'() {
    const other = blocks(new URL('../../../docs/deploy.pt-BR.md', import.meta.url));
    assert.deepEqual(other, PAGE);
    assert.deepEqual(Object.keys(proxies).filter((name) => !PAGE[name]), []);
  },
});

// Pages from elsewhere.

/** A student's page, which connects to the address after its #, and shows what happens. */
const STUDENT = `<!doctype html><meta charset="utf-8"><title>mine</title><pre id="log"></pre><script>
  const log = (line) => (document.getElementById('log').textContent += line + '\\n');
  const socket = new WebSocket(decodeURIComponent(location.hash.slice(1)));
  socket.onopen = () => { log('open'); socket.send(JSON.stringify({ message: 'hello from ' + location.origin })); };
  socket.onmessage = ({ data }) => log('message ' + JSON.parse(data).message);
  socket.onclose = ({ code, reason }) => log('close ' + code + ' ' + JSON.stringify(reason));
</script>`;
writeFileSync(join(work, 'mine.html'), STUDENT);
const FILE = pathToFileURL(join(work, 'mine.html')).href;

/** The port of a development server with this page. */
async function development() {
  const server = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end(STUDENT));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  // It does not keep this process running.
  server.unref();
  return server.address().port;
}

const transcript = [];
const note = (who, line) => transcript.push(`  ${who.padEnd(9)}${line}`);

/** Opens a student's page and waits for its last line. The transcript has all that the page and the server saw. */
async function student(browser, url, to, ...expected) {
  note('browser', `opens ${url.replace(work, '…')}`);
  note('page', `new WebSocket(${JSON.stringify(to)})`);
  const page = await visit(browser, 'about:blank');
  const events = await page.context().newCDPSession(page);
  await events.send('Network.enable');
  events.on('Network.webSocketWillSendHandshakeRequest', ({ request: { headers } }) => note('browser', `sends Origin: ${headers.Origin}`));
  events.on('Network.webSocketHandshakeResponseReceived', ({ response }) => note('browser', `receives ${response.status}`));
  await page.goto(`${url}#${encodeURIComponent(to)}`);
  const lines = async (...texts) => {
    await page.locator('#log', { hasText: texts.at(-1) }).waitFor();
    return (await page.textContent('#log')).trim().split('\n');
  };
  return { page, lines };
}

/** A student's page and somebody of the class talk to each other. */
async function talks(title, server, browser, url, to, origin) {
  transcript.push('', title);
  const ana = await visit(browser, `http://localhost:${server.port}/`);
  await joinAs(ana, 'ana');
  const { lines } = await student(browser, url, to);
  await hears(ana, `hello from ${origin}`);
  await say(ana, 'welcome!');
  for (const line of await lines('message welcome!')) note('page', line);
  note('class', `ana reads: ${await ana.locator('#chat .entry:not(.own) .body').last().textContent()}`);
  note('log', server.log.all.filter((line) => line.includes('opened')).at(-1).replace(/^\S+ +/, ''));
  await ana.context().close();
}

/** A student's page is refused: the browser shows 1006, and the log names the origin and the option. */
async function isRefused(title, server, browser, url, to, origin) {
  transcript.push('', title);
  const { lines } = await student(browser, url, to);
  const shown = await lines('close');
  for (const line of shown) note('page', line);
  assert.deepEqual(shown, ['close 1006 ""']);
  const line = await server.log.with('refused', `found="${origin}"`);
  assert.ok(line.includes(`--allow-origin ${origin} `), line);
  note('log', line.replace(/^\S+ +/, ''));
}

Object.assign(checks, {
  async 'pages from elsewhere talk to a server with its defaults'() {
    const mine = await development();
    const browser = await browse();
    const started = () => serve('--host', '127.0.0.1', '--port', '0');
    const to = (server) => `ws://localhost:${server.port}/ws/events`;
    let server = await started();
    await talks('A page that was opened from a file', server, browser, FILE, to(server), 'file://');
    server = await started();
    await talks('A page from a development server on another port', server, browser, `http://localhost:${mine}/`, to(server), `http://localhost:${mine}`);
    server = await started();
    const pages = replaced(recipe('nginx'), [['    location /turma/', `    location = /mine/ { proxy_pass http://127.0.0.1:${mine}/; }\n    location /turma/`]]);
    const front = await proxy('nginx', pages, server);
    const origin = `https://localhost:${front.port}`;
    await talks('A page through nginx with TLS', server, browser, `${origin}/mine/`, `wss://localhost:${front.port}/turma/ws/events`, origin);
  },

  async 'pages that may not connect see 1006, and the log names the option'() {
    const mine = await development();
    const browser = await browse('MAP evil.example 127.0.0.1');
    let server = await serve('--host', '127.0.0.1', '--port', '0');
    const to = `ws://localhost:${server.port}/ws/events`;
    await isRefused('A page of a public site', server, browser, `http://evil.example:${mine}/`, to, `http://evil.example:${mine}`);
    transcript.push('', 'A public name that resolves to this machine (DNS rebinding)');
    note('browser', `opens http://evil.example:${server.port}/`);
    const rebound = await visit(browser, `http://evil.example:${server.port}/`);
    for (const line of (await rebound.innerText('body')).trim().split('\n')) note('page', line);
    note('log', (await server.log.with('refused', '--allow-host evil.example ')).replace(/^\S+ +/, ''));
    server = await serve('--host', '127.0.0.1', '--port', '0', '--allow-origin', 'same-host');
    await isRefused('A file, with --allow-origin same-host', server, browser, FILE, `ws://localhost:${server.port}/ws/events`, 'null');
  },
});

let [passed, failed] = [0, 0];
try {
  for (const [name, check] of Object.entries(checks).filter(([name]) => name.includes(process.argv[5] ?? ''))) {
    const began = performance.now();
    try {
      await check();
      console.log(`ok     ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
      passed += 1;
    } catch (error) {
      console.log(`FAILED ${name}: ${error.stack}`);
      failed += 1;
    }
    await Promise.all(browsers.splice(0).map((browser) => browser.close()));
    await stopAll();
  }
} finally {
  await stopAll();
}
console.log(`${transcript.join('\n')}\n`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
