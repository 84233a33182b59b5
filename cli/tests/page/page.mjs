// The classroom page, as a class uses it: node page.mjs FRAMEWISE CHROMIUM FOLDER-FOR-SCREENSHOTS [PART-OF-A-NAME]
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { run, startServer, stop, watch } from './support.mjs';

const [framewise, executablePath, folder, part] = process.argv.slice(2);

const serve = (port = 0, ...options) => startServer(framewise, port, '--lang', 'pt', ...options);

/** A TCP proxy in front of a server, which can stop forwarding without closing anything. */
async function proxyTo(port) {
  const pairs = new Set();
  let accepts = true;
  const proxy = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    const pair = { client, server: connect({ port, host: '127.0.0.1', allowHalfOpen: true }) };
    pairs.add(pair);
    for (const [one, other] of [[pair.client, pair.server], [pair.server, pair.client]]) {
      one.on('data', (bytes) => other.write(bytes));
      one.on('end', () => other.end());
      one.on('error', () => other.destroy());
      one.on('close', () => {
        other.destroy();
        pairs.delete(pair);
      });
    }
    if (accepts) pair.client.resume();
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    url: `http://127.0.0.1:${proxy.address().port}`,
    /** Stops forwarding what comes from these sides of each connection that is open now. */
    freeze: (...sides) => pairs.forEach((pair) => sides.forEach((side) => pair[side].pause())),
    /** Forwards what has waited, and everything from now on. */
    thaw() {
      accepts = true;
      for (const { client, server } of pairs) [client, server].forEach((socket) => socket.resume());
    },
    /** Takes connections from now on without forwarding a byte. */
    holdNew: () => (accepts = false),
    /** The server sees the frozen connections end. */
    cut: () => pairs.forEach(({ client, server }) => (client.isPaused() || server.isPaused()) && server.destroy()),
    async stop() {
      pairs.forEach(({ client }) => client.destroy());
      proxy.close();
    },
  };
}

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
/** A server of its own for each check, so that nobody's name is still taken. */
let server;
/** A proxy in front of this server, for the checks that need one. */
let proxy;

/**
 * A visitor: a page of their own, in Portuguese by default, that reports what must never happen. With `clock`, the check moves
 * the time of the page.
 */
async function visit({ at = server.url, path = '/', lang = 'pt-BR', name, becomes = 'connected', init, clock, ...options } = {}) {
  const context = await browser.newContext({ locale: lang, ...options });
  if (init) await context.addInitScript(init);
  const page = watch(await context.newPage(), at);
  page.socket = new Promise((resolve) => page.once('websocket', resolve));
  if (clock) await page.clock.install();
  await page.goto(new URL(path, at).href);
  await state(page, becomes);
  if (name) await joinAs(page, name);
  return page;
}

const state = (page, wanted) => page.locator(`#status[data-state="${wanted}"]`).waitFor();
const stateNow = (page) => page.getAttribute('#status', 'data-state');
/** Waits until a message of the visitor's own has this mark. */
const mark = (page, text, state) => page.locator('#chat .own', { hasText: text }).locator(`.mark[data-state="${state}"]`).waitFor();
const chat = (page, text) => page.locator('#chat .entry', { hasText: text }).waitFor();

async function joinAs(page, name, room = 'lobby') {
  await page.fill('#name', name);
  await page.fill('#room', room);
  await page.click('#join button');
  await page.locator('#people .person', { hasText: name }).waitFor();
}

async function say(page, message, to = '') {
  await page.fill('#to', to);
  await page.fill('#message', message);
  await page.click('#send button');
}

const checks = {
  async 'two pages hear each other, and nobody hears themselves'() {
    const [ana, bia] = [await visit({ name: 'ana' }), await visit({ name: 'bia' })];
    await say(ana, 'Olá, turma!');
    await chat(bia, 'Olá, turma!');
    assert.equal(await bia.locator('#received .entry').count(), 1);
    assert.equal(await bia.locator('#chat .entry.own').count(), 0);
    assert.equal(await ana.locator('#received .entry').count(), 0);
    assert.equal(await ana.locator('#chat .entry.own').count(), 1);
    await say(bia, 'oi, ana');
    await chat(ana, 'oi, ana');
    assert.deepEqual(await ana.locator('#received .from').allTextContents(), ['bia']);
    assert.equal(await ana.textContent('#total'), '2');
    assert.equal(await ana.textContent('#sent'), '1');
    return [ana, bia];
  },
  async 'three pages: a private message reaches one, another room hears nothing'() {
    const ana = await visit({ name: 'ana' });
    const bia = await visit({ name: 'bia' });
    const caio = await visit({ name: 'caio' });
    await joinAs(caio, 'caio', '7a');
    await say(ana, 'só para você', 'caio');
    await chat(caio, 'só para você');
    await say(ana, 'para a sala');
    await chat(bia, 'para a sala');
    // What comes behind a message in the same connection shows that the message did not come.
    await say(bia, 'e aqui?', 'caio');
    await chat(caio, 'e aqui?');
    assert.equal(await caio.locator('#chat .entry').count(), 2);
    assert.equal(await bia.locator('#chat', { hasText: 'só para você' }).count(), 0);
    return [ana, bia, caio];
  },
  async 'who is here, and who comes and goes'() {
    const ana = await visit({ name: 'ana' });
    const bia = await visit({ name: 'bia' });
    await ana.locator('#people .person', { hasText: 'bia' }).waitFor();
    await ana.locator('.notice', { hasText: 'bia entrou na sala' }).waitFor();
    await bia.context().close();
    await ana.locator('.notice', { hasText: 'bia saiu da sala' }).waitFor();
    await ana.locator('#people .person', { hasText: 'bia' }).waitFor({ state: 'detached' });
    return [ana];
  },
  async 'a name that is taken is said so'() {
    const [ana, other] = [await visit({ name: 'ana' }), await visit()];
    await other.fill('#name', 'ana');
    await other.click('#join button');
    await other.locator('#problem', { hasText: "outra pessoa já se chama 'ana'" }).waitFor();
    assert.equal(await other.locator('#people', { hasText: 'ana (você)' }).count(), 0);
    await joinAs(other, 'bia');
    await other.locator('#people .person', { hasText: 'bia (você)' }).waitFor();
    await ana.locator('#people .person', { hasText: 'bia' }).waitFor();
    assert.equal(await ana.textContent('#unnamed'), '');
    // Another name of the same person: one leaves, one comes.
    await joinAs(other, 'bia maria');
    await ana.locator('.notice', { hasText: 'bia saiu da sala' }).waitFor();
    await ana.locator('.notice', { hasText: 'bia maria entrou na sala' }).waitFor();
    assert.deepEqual(await ana.locator('#people bdi').allTextContents(), ['ana', 'bia maria']);
    return [ana, other];
  },
  async 'a name that is held by an old connection comes back'() {
    const ana = await visit({ name: 'ana' });
    await ana.clock.install();
    await stop(server);
    await state(ana, 'lost');
    server = await serve(server.port);
    // Somebody who stands for the connection that the server has not missed yet.
    const old = await visit({ name: 'ana' });
    await ana.clock.runFor(4_000);
    await ana.locator('#problem', { hasText: "outra pessoa já se chama 'ana'" }).waitFor();
    await old.context().close();
    const bia = await visit({ name: 'bia' });
    await ana.clock.runFor(6_000);
    await bia.locator('#people .person', { hasText: 'ana' }).waitFor();
    await ana.locator('#problem').filter({ hasText: /^$/ }).waitFor({ state: 'attached' });
    return [ana, bia];
  },
  async 'whoever is sent away learns why'() {
    const port = server.port;
    await stop(server);
    server = await serve(port, '--idle-timeout', '1');
    const page = await visit();
    await page.locator('#problem', { hasText: /^1001: o servidor foi encerrado.*idle for too long/ }).waitFor();
    await stop(server);
    server = await serve(port, '--max-message', '100');
    const other = await visit();
    await say(other, 'x'.repeat(200));
    await other.locator('#problem', { hasText: /^1009: a mensagem é grande demais/ }).waitFor();
    await state(other, 'connected');
    // Sent again, it would only close the connection again.
    await mark(other, 'xxx', 'failed');
    assert.equal(await other.textContent('#sent'), '0');
    server.process.kill('SIGKILL');
    await other.locator('#problem', { hasText: /^1006: a conexão caiu/ }).waitFor();
    server = await serve(port);
    await state(other, 'connected');
    assert.equal(await other.textContent('#problem'), '', 'the server is back');
    return [page, other];
  },
  async 'it comes back after the server was stopped and started'() {
    const page = await visit({ name: 'ana' });
    await stop(server);
    await state(page, 'lost');
    server = await serve(server.port);
    await state(page, 'connected');
    await page.locator('#people .person', { hasText: 'ana' }).waitFor();
    const bia = await visit({ name: 'bia' });
    await say(page, 'de volta');
    await chat(bia, 'de volta');
    return [page, bia];
  },
  async 'a chosen disconnect stays'() {
    const page = await visit();
    await page.clock.install();
    await page.click('#toggle');
    await state(page, 'disconnected');
    assert.equal(await page.textContent('#toggle'), 'Conectar');
    await page.clock.runFor(60_000);
    await state(page, 'disconnected');
    await say(page, 'ninguém ouve');
    await page.locator('#problem', { hasText: 'Sem conexão' }).waitFor();
    await page.click('#toggle');
    await state(page, 'connected');
    return [page];
  },
  async 'a disconnect is one at once, whatever the server does'() {
    const page = await visit();
    server.process.kill('SIGSTOP');
    await page.click('#toggle');
    await state(page, 'disconnected');
    assert.equal(await page.textContent('#toggle'), 'Conectar');
    server.process.kill('SIGCONT');
    await page.click('#toggle');
    await state(page, 'connected');
    return [page];
  },
  async 'what reached nobody is said so'() {
    const ana = await visit({ name: 'ana' });
    await say(ana, 'tem alguém?', 'ninguém');
    await say(ana, 'bom dia a todos');
    await ana.locator('#chat .failed', { hasText: 'tem alguém?' }).waitFor();
    await mark(ana, 'bom dia a todos', 'delivered');
    assert.equal(await ana.locator('#chat .failed').count(), 1);
    assert.equal(await ana.textContent('#sent'), '1');
    // The same name was somebody a moment ago: an error belongs to one message, not to all that are like it.
    const bia = await visit({ name: 'bia' });
    await say(ana, 'você está aí?', 'bia');
    await chat(bia, 'você está aí?');
    await bia.context().close();
    await ana.locator('.notice', { hasText: 'bia saiu da sala' }).waitFor();
    await say(ana, 'e agora?', 'bia');
    await mark(ana, 'e agora?', 'failed');
    await mark(ana, 'você está aí?', 'delivered');
    assert.equal(await ana.textContent('#sent'), '2');
    return [ana];
  },
  async 'a message is marked as sent, delivered or failed, in words'() {
    proxy = await proxyTo(server.port);
    const [ana, bia] = [await visit({ at: proxy.url, name: 'ana' }), await visit()];
    proxy.freeze('server');
    await say(ana, 'primeira');
    await chat(bia, 'primeira');
    await mark(ana, 'primeira', 'sent');
    assert.deepEqual([await ana.textContent('#sent'), await ana.textContent('#total')], ['0', '0'], 'nothing is acknowledged');
    await say(ana, 'ninguém ouve', 'ninguém');
    assert.match(await ana.locator('#chat').ariaSnapshot(), /primeira[^]*enviada|enviada[^]*primeira/);
    proxy.thaw();
    await mark(ana, 'primeira', 'delivered');
    await mark(ana, 'ninguém ouve', 'failed');
    assert.deepEqual([await ana.textContent('#sent'), await ana.textContent('#total')], ['1', '1']);
    const shown = await ana.locator('#chat').ariaSnapshot();
    assert.match(shown, /entregue/);
    assert.match(shown, /não entregue/);
    assert.doesNotMatch(shown, /enviada/);
    assert.match(await ana.getByRole('alert').textContent(), /ninguém aqui se chama 'ninguém'/);
    const { violations } = await new AxeBuilder({ page: ana }).analyze();
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes[0].html]), []);
    await ana.screenshot({ path: join(folder, 'marks.png') });
    // A message that the server could not even read has an answer as well.
    await ana.evaluate(() => {
      document.getElementById('message').value = 'meio \ud83d';
      document.getElementById('send').requestSubmit();
    });
    await mark(ana, 'meio', 'failed');
    return [ana, bia];
  },
  async 'so many messages may be without an answer'() {
    proxy = await proxyTo(server.port);
    const [ana, bia] = [await visit({ at: proxy.url }), await visit()];
    proxy.freeze('client');
    await ana.evaluate(() => {
      for (let n = 0; n < 101; n += 1) {
        document.getElementById('message').value = `linha ${n}.`;
        document.getElementById('send').requestSubmit();
      }
    });
    await ana.locator('#problem', { hasText: 'mensagens demais sem resposta' }).waitFor();
    assert.equal(await ana.inputValue('#message'), 'linha 100.', 'what was not taken is still there');
    assert.equal(await ana.locator('#chat .own').count(), 100);
    proxy.thaw();
    await chat(bia, 'linha 99.');
    await mark(ana, 'linha 99.', 'delivered');
    await ana.click('#send button');
    await chat(bia, 'linha 100.');
    assert.equal(await bia.locator('#chat .entry').count(), 101);
    return [ana, bia];
  },
  async 'a frozen connection is noticed, and what was sent arrives once'() {
    const pages = [];
    // What the proxy stops forwarding, and what becomes of the old connection afterwards.
    for (const [sides, end] of [[['client', 'server'], 'cut'], [['client', 'server'], 'thaw'], [['client'], 'cut'], [['server'], 'cut']]) {
      const room = `${sides} ${end}`;
      proxy = await proxyTo(server.port);
      const ana = await visit({ at: proxy.url, clock: true });
      const bia = await visit();
      await joinAs(ana, 'ana', room);
      await joinAs(bia, 'bia', room);
      await ana.locator('#people .person', { hasText: 'bia' }).waitFor();
      proxy.freeze(...sides);
      await say(ana, 'durante');
      await mark(ana, 'durante', 'sent');
      if (!sides.includes('client')) await chat(bia, 'durante');
      const asked = (await ana.socket).waitForEvent('framesent', ({ payload }) => payload === '{"type":"ping"}');
      await ana.clock.runFor(20_000);
      await asked;
      // News about others are no sign that the server hears this page.
      await say(bia, 'você ouve?');
      if (!sides.includes('server')) await chat(ana, 'você ouve?');
      await state(ana, 'connected');
      await ana.clock.runFor(10_000);
      assert.equal(await stateNow(ana), 'lost');
      await mark(ana, 'durante', 'waiting');
      assert.equal(await ana.textContent('#sent'), '0', 'what has no answer does not count');
      await ana.clock.runFor(4_000);
      await state(ana, 'connected');
      if (sides.includes('client')) {
        // The Close did not reach the server: the name is still held, and the message waits for it.
        await ana.locator('#problem', { hasText: "outra pessoa já se chama 'ana'" }).waitFor();
        await mark(ana, 'durante', 'waiting');
      }
      proxy[end]();
      await bia.locator('.notice', { hasText: 'ana saiu da sala' }).waitFor();
      await ana.clock.runFor(5_000);
      await ana.locator('#people .person', { hasText: 'ana (você)' }).waitFor();
      await mark(ana, 'durante', 'delivered');
      await say(ana, 'depois');
      await chat(bia, 'depois');
      const heard = await bia.locator('#chat .entry:not(.own)').evaluateAll((entries) =>
        entries.map((entry) => [...entry.querySelectorAll('.from, .body')].map(({ textContent }) => textContent)));
      assert.deepEqual(heard, [['ana', 'durante'], ['ana', 'depois']], room);
      await mark(ana, 'depois', 'delivered');
      assert.equal(await ana.textContent('#sent'), '2');
      assert.equal(await ana.textContent('#problem'), '');
      for (const page of [ana, bia]) {
        pages.push({ faults: page.faults });
        await page.context().close();
      }
      await proxy.stop();
    }
    return pages;
  },
  async 'a live connection is asked and stays'() {
    const ana = await visit({ clock: true });
    await ana.clock.pauseAt(await ana.evaluate(() => Date.now() + 1_000));
    for (let n = 0; n < 3; n += 1) {
      const answered = (await ana.socket).waitForEvent('framereceived', ({ payload }) => payload === '{"type":"pong"}');
      await ana.clock.runFor(n === 0 ? 20_000 : 5_000);
      await answered;
      await ana.clock.runFor(15_000);
      await state(ana, 'connected');
    }
    assert.equal(await ana.textContent('#problem'), '');
    return [ana];
  },
  async 'a handshake without an answer is given up'() {
    proxy = await proxyTo(server.port);
    const ana = await visit({ at: proxy.url, clock: true });
    await ana.click('#toggle');
    await state(ana, 'disconnected');
    proxy.holdNew();
    await ana.click('#toggle');
    await state(ana, 'connecting');
    await ana.clock.runFor(10_000);
    assert.equal(await stateNow(ana), 'lost');
    proxy.thaw();
    await ana.clock.runFor(4_000);
    await state(ana, 'connected');
    return [ana];
  },
  async 'after a reload the name comes back, however long that takes'() {
    proxy = await proxyTo(server.port);
    const [ana, bia] = [await visit({ at: proxy.url, clock: true, name: 'ana' }), await visit({ name: 'bia' })];
    proxy.freeze('client', 'server');
    const opened = ana.waitForEvent('websocket');
    await ana.reload();
    const socket = await opened;
    await state(ana, 'connected');
    await ana.locator('#problem', { hasText: 'a página pede o nome de novo a cada 5 segundos' }).waitFor();
    await say(ana, 'quem sou eu?');
    const isRefused = ({ payload }) => String(payload).includes('name_taken');
    for (let n = 0; n < 30; n += 1) {
      const refused = socket.waitForEvent('framereceived', isRefused);
      await ana.clock.runFor(5_000);
      await refused;
    }
    await mark(ana, 'quem sou eu?', 'waiting');
    proxy.cut();
    await bia.locator('.notice', { hasText: 'ana saiu da sala' }).waitFor();
    await ana.clock.runFor(5_000);
    await ana.locator('#people .person', { hasText: 'ana (você)' }).waitFor();
    await mark(ana, 'quem sou eu?', 'delivered');
    assert.deepEqual(await bia.locator('#chat .from').allTextContents(), ['ana']);
    assert.equal(await ana.textContent('#problem'), '');
    return [ana, bia];
  },
  async 'another name ends the wait for the old one'() {
    proxy = await proxyTo(server.port);
    const [ana, bia] = [await visit({ at: proxy.url, clock: true, name: 'ana' }), await visit({ name: 'bia' })];
    proxy.freeze('client', 'server');
    await ana.reload();
    await ana.locator('#problem', { hasText: 'a página pede o nome de novo' }).waitFor();
    await say(ana, 'sou outra');
    // A name that is refused changes nothing about the wait, and a free one ends it.
    await ana.fill('#name', 'bia');
    await ana.click('#join button');
    await ana.locator('#problem', { hasText: "outra pessoa já se chama 'bia'" }).waitFor();
    await ana.clock.runFor(5_000);
    await ana.locator('#problem', { hasText: "outra pessoa já se chama 'ana'" }).waitFor();
    await mark(ana, 'sou outra', 'waiting');
    await joinAs(ana, 'ana maria');
    await mark(ana, 'sou outra', 'delivered');
    assert.deepEqual(await bia.locator('#chat .from').allTextContents(), ['ana maria']);
    assert.equal(await ana.textContent('#problem'), '');
    return [ana, bia];
  },
  async 'a clock that is set back makes no message young again'() {
    proxy = await proxyTo(server.port);
    const ana = await visit({ at: proxy.url, clock: true });
    proxy.freeze('client', 'server');
    await say(ana, 'antes');
    await mark(ana, 'antes', 'sent');
    await ana.clock.setSystemTime(Date.now() - 3_600_000);
    await ana.clock.runFor(1_000);
    await mark(ana, 'antes', 'unconfirmed');
    return [ana];
  },
  async 'a message that waits does not go to another room'() {
    proxy = await proxyTo(server.port);
    const ana = await visit({ at: proxy.url, clock: true, name: 'ana' });
    const [bia, caio] = [await visit({ name: 'bia' }), await visit()];
    await joinAs(caio, 'caio', '7a');
    proxy.freeze('client', 'server');
    await ana.reload();
    await ana.locator('#problem', { hasText: 'a página pede o nome de novo' }).waitFor();
    await say(ana, 'para o lobby');
    await say(ana, 'para o caio', 'caio');
    await joinAs(ana, 'ana maria', '7a');
    await mark(ana, 'para o caio', 'delivered');
    await mark(ana, 'para o lobby', 'failed');
    await say(ana, 'para a sala');
    await chat(caio, 'para a sala');
    await say(caio, 'oi', 'bia');
    await chat(bia, 'oi');
    assert.deepEqual(await caio.locator('#received .body').allTextContents(), ['para o caio', 'para a sala']);
    assert.deepEqual(await bia.locator('#received .body').allTextContents(), ['oi']);
    return [ana, bia, caio];
  },
  async 'a message that the server may have forgotten is not sent again'() {
    proxy = await proxyTo(server.port);
    const [ana, bia] = [await visit({ at: proxy.url, clock: true }), await visit()];
    proxy.freeze('client', 'server');
    await say(ana, 'velha');
    await mark(ana, 'velha', 'sent');
    proxy.holdNew();
    await ana.clock.runFor(5 * 60_000);
    await mark(ana, 'velha', 'unconfirmed');
    await ana.locator('#problem', { hasText: 'não se sabe se a mensagem chegou' }).waitFor();
    assert.equal(await ana.textContent('#sent'), '0');
    proxy.cut();
    proxy.thaw();
    await ana.clock.runFor(15_000);
    await state(ana, 'connected');
    await say(ana, 'nova');
    await chat(bia, 'nova');
    assert.equal(await bia.locator('#chat .entry').count(), 1);
    return [ana, bia];
  },
  async 'room and name stay over a reload, and another tab is somebody else'() {
    const ana = await visit({ name: 'ana' });
    await joinAs(ana, 'ana', '7a');
    await ana.locator('.notice', { hasText: 'agora na sala 7a' }).waitFor();
    // What is entered without a connection is what the next one begins with.
    await ana.click('#toggle');
    await state(ana, 'disconnected');
    await joinAs(ana, 'ana maria', '8b');
    await joinAs(ana, 'ana', '7a');
    // A link whose letters are written in another way.
    const bia = await visit({ name: 'bia', path: '/?room=sa%CC%83o' });
    await bia.locator('#people .person', { hasText: 'bia (você)' }).waitFor();
    assert.equal(await bia.locator('.notice', { hasText: 'bia entrou' }).count(), 0);
    await ana.reload();
    await ana.locator('#people .person', { hasText: 'ana (você)' }).waitFor();
    assert.equal(await ana.textContent('#room-title'), '7a');
    const tab = await ana.context().newPage();
    await tab.goto(server.url);
    await state(tab, 'connected');
    assert.equal(await tab.inputValue('#name'), 'ana', 'the name is offered');
    await joinAs(tab, 'outra', '7a');
    await ana.locator('#people .person', { hasText: 'outra' }).waitFor();
    assert.equal(await tab.textContent('#problem'), '');
    return [ana];
  },
  async 'hostile text is shown as text'() {
    const [ana, bia] = [await visit({ name: 'ana' }), await visit({ name: 'bia' })];
    const hostile = [
      '<img src=x onerror="document.title=1">',
      '</div><script>document.title=1</script>',
      '\u202efdp.exe txet desrever\u202c depois',
      'emoji 👩‍👩‍👧‍👦🇧🇷 e\u0301\u0301\u0301\u0301',
      `${'longa '.repeat(1_666)}fim`,
      'x'.repeat(10_000),
      'javascript:alert(1) {{7*7}} ${7*7}',
    ];
    for (const text of hostile) await say(ana, text);
    await chat(bia, '{{7*7}}');
    assert.deepEqual(await bia.locator('#chat .body').allTextContents(), hostile);
    assert.equal(await bia.title(), 'framewise');
    assert.equal(await bia.locator('#chat img, #chat script').count(), 0);
    const wide = await bia.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
    assert.equal(wide, true, 'nothing sticks out of the page');
    await joinAs(ana, '<b>ana</b>');
    await say(ana, 'de negrito');
    await bia.locator('#chat .from', { hasText: '<b>ana</b>' }).waitFor();
    await bia.screenshot({ path: join(folder, 'hostile.png') });
    return [ana, bia];
  },
  async 'stacked combining marks stay inside their message'() {
    const viewport = { width: 1366, height: 1200 };
    const [ana, bia] = [await visit({ name: 'ana', viewport }), await visit({ name: 'bia', viewport })];
    const [above, below] = ['\u0301'.repeat(60), '\u0323'.repeat(60)];
    await say(ana, 'antes');
    await say(ana, `a${above}${below} ${`e${above}${below}`.repeat(20)}`);
    await say(ana, 'depois');
    // Until then the marks of the messages change, which the pictures would show.
    for (const text of ['antes', 'depois']) await mark(ana, text, 'delivered');
    for (const [page, list] of [[ana, '#chat'], [bia, '#chat'], [bia, '#received']]) {
      const body = page.locator(`${list} .body`).nth(1);
      await page.locator(`${list} .body`, { hasText: 'depois' }).waitFor();
      const [log, box] = [await page.locator(list).boundingBox(), await body.boundingBox()];
      const { x, y, width } = log;
      const around = [
        { x, y, width, height: box.y - y },
        { x, y: box.y + box.height, width, height: y + log.height - box.y - box.height },
        { x, y: box.y, width: box.x - x, height: box.height },
      ];
      const pictures = async () => {
        const taken = [];
        for (const clip of around) taken.push((await page.screenshot({ clip })).toString('base64'));
        return taken;
      };
      const [shown, whole] = [await pictures(), await page.screenshot({ clip: box })];
      await body.evaluate((element) => (element.style.visibility = 'hidden'));
      assert.ok(!whole.equals(await page.screenshot({ clip: box })), 'the message is painted');
      assert.deepEqual((await pictures()).map((picture, at) => picture === shown[at]), [true, true, true], list);
    }
    // A name has three at most.
    await ana.fill('#name', `a${'\u0301'.repeat(5)}`);
    await ana.click('#join button');
    await ana.locator('#problem', { hasText: 'um nome tem no máximo 3 acentos' }).waitFor();
    return [ana, bia];
  },
  async 'the Enter of an input method does not send'() {
    const [ana, bia] = [await visit({ name: 'ana' }), await visit({ name: 'bia' })];
    await ana.fill('#message', 'にほん');
    // Chromium sets isComposing, Safari the key code alone.
    for (const how of [{ isComposing: true, keyCode: 229 }, { keyCode: 229 }, { isComposing: true, keyCode: 13 }]) {
      const isLeft = await ana.evaluate((how) => {
        const init = { key: 'Enter', bubbles: true, cancelable: true, ...how };
        return document.getElementById('message').dispatchEvent(new KeyboardEvent('keydown', init));
      }, how);
      assert.equal(isLeft, true, 'the input method gets its Enter');
      assert.equal(await ana.inputValue('#message'), 'にほん');
    }
    assert.equal(await ana.textContent('#sent'), '0');
    await ana.focus('#message');
    await ana.keyboard.press('Enter');
    await chat(bia, 'にほん');
    assert.equal(await bia.locator('#chat .entry').count(), 1);
    return [ana, bia];
  },
  async 'without storage the page only forgets'() {
    const forbidden = {
      // The browser refuses the storage as such, or each use of it.
      'no storage': () => {
        for (const name of ['localStorage', 'sessionStorage']) {
          Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError'); } });
        }
      },
      'no use': () => {
        for (const name of ['getItem', 'setItem', 'removeItem']) {
          Storage.prototype[name] = () => { throw new DOMException('full', 'QuotaExceededError'); };
        }
      },
    };
    const port = server.port;
    await stop(server);
    server = await serve(port, '--token', 'segredo');
    const pages = [];
    for (const [name, init] of Object.entries(forbidden)) {
      const page = await visit({ path: '/?token=segredo', init, name });
      await page.click('#lang');
      assert.equal(await page.textContent('#status'), 'Connected', name);
      // The page itself still knows the token and the name.
      await page.click('#toggle');
      await state(page, 'disconnected');
      await page.click('#toggle');
      await state(page, 'connected');
      await page.locator('#people .person', { hasText: `${name} (you)` }).waitFor();
      await page.reload();
      await state(page, 'disconnected');
      assert.equal(await page.inputValue('#name'), '', 'the name is forgotten');
      await page.fill('#token', 'outro');
      await page.keyboard.press('Enter');
      await page.locator('#problem', { hasText: 'Este token não é' }).waitFor();
      await page.fill('#token', 'segredo');
      await page.keyboard.press('Enter');
      await state(page, 'connected');
      pages.push(page);
    }
    return pages;
  },
  async 'a clock that is set back shows no negative time'() {
    const page = await visit();
    await page.evaluate(() => {
      const { now } = Date;
      Date.now = () => now() - 3_600_000;
    });
    const shown = () => page.textContent('#online');
    await page.waitForFunction((before) => document.getElementById('online').textContent !== before, await shown());
    assert.match(await shown(), /^00:[0-5]\d$/);
    return [page];
  },
  async 'a room that is spelled in another way is the same room'() {
    const [ana, bia] = [await visit({ path: '/?room=7a' }), await visit()];
    await joinAs(ana, 'ana', '7a');
    await joinAs(bia, 'bia', '7A');
    await bia.locator('#people .person', { hasText: 'ana' }).waitFor();
    const caio = await visit({ path: '/?room=%EF%BC%97A' });
    await caio.locator('#people .person', { hasText: 'bia' }).waitFor();
    for (const page of [bia, caio]) {
      assert.equal(await page.textContent('#room-title'), '7a');
      assert.equal(new URL(page.url()).searchParams.get('room'), '7a');
    }
    await joinAs(bia, 'bia maria', '7A');
    await say(bia, 'aqui');
    await chat(ana, 'aqui');
    await chat(caio, 'aqui');
    return [ana, bia, caio];
  },
  async 'a name that looks like another one is refused with a free one'() {
    const [ana, other] = [await visit({ name: 'ana' }), await visit()];
    for (const name of ['Ana', '\u0430na']) {
      await other.fill('#name', name);
      await other.click('#join button');
      const problem = `este nome é parecido demais com 'ana', que é de outra pessoa; '${name} 2' está livre`;
      await other.locator('#problem', { hasText: problem }).waitFor();
    }
    await joinAs(other, 'Ana 2');
    await ana.locator('#people .person', { hasText: 'Ana 2' }).waitFor();
    return [ana, other];
  },
  async 'the keyboard alone is enough'() {
    const [ana, bia] = [await visit(), await visit({ name: 'bia' })];
    const press = async (...keys) => {
      for (const key of keys) await ana.keyboard.press(key);
    };
    const focused = () => ana.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
    await press('Tab');
    assert.equal(await focused(), 'Ir para a mensagem');
    await press('Enter');
    await ana.keyboard.type('sem mouse');
    await press('Enter');
    await chat(bia, 'sem mouse');
    const reached = new Set();
    for (let n = 0; n < 25; n += 1) {
      await press('Shift+Tab');
      reached.add(await focused());
    }
    for (const id of ['toggle', 'lang', 'name', 'room', 'message']) assert.ok(reached.has(id), `${id} is reached`);
    await ana.focus('#name');
    await ana.keyboard.type('ana');
    await press('Enter');
    await ana.locator('#people .person', { hasText: 'ana' }).waitFor();
    return [ana, bia];
  },
  async 'both languages, kept over a reload'() {
    const page = await visit({ lang: 'en-US' });
    assert.equal(await page.textContent('#status'), 'Connected');
    assert.equal(await page.textContent('#send button'), 'Send Event');
    assert.match(await page.textContent('#kept'), /keeps the last 200 messages/);
    await page.click('#lang');
    assert.match(await page.textContent('#kept'), /guarda na memória as últimas 200 mensagens/);
    assert.equal(await page.textContent('#status'), 'Conectado');
    assert.equal(await page.textContent('#send button'), 'Enviar Evento');
    assert.equal(await page.getAttribute('html', 'lang'), 'pt-BR');
    await page.reload();
    await state(page, 'connected');
    assert.equal(await page.textContent('#received-heading'), 'Eventos Recebidos (Broadcast)');
    assert.equal(await page.textContent('#chat-heading'), 'Eventos Modelo Chat');
    const missing = await page.evaluate(async () => {
      const { texts } = await import('/texts.js');
      return Object.entries(texts).filter(([, both]) => both.length !== 2 || both.some((text) => !text));
    });
    assert.deepEqual(missing, []);
    return [page];
  },
  async 'axe finds nothing serious: narrow and wide, light and dark'() {
    const pages = [];
    for (const colorScheme of ['light', 'dark']) {
      for (const [width, height] of [[360, 740], [1366, 768]]) {
        const page = await visit({ colorScheme, viewport: { width, height }, name: `ana ${colorScheme} ${width}` });
        const other = await visit({ name: `bia ${colorScheme} ${width}` });
        await say(page, 'Bom dia! Alguém me ouve?');
        await say(other, 'Eu ouço. 👋');
        await chat(page, 'Eu ouço');
        await say(other, 'E isto é só para você.', `ana ${colorScheme} ${width}`);
        await chat(page, 'só para você');
        for (const path of ['', 'docs']) {
          if (path) {
            await page.goto(new URL(path, server.url).href);
            await page.locator('#messages article', { hasText: 'Diz algo à sala' }).waitFor();
          }
          const { violations } = await new AxeBuilder({ page }).analyze();
          const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
          assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes[0].html]), []);
          const fits = await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);
          assert.equal(fits, true, `${path} sticks out at ${width}`);
          await page.screenshot({ path: join(folder, `${path || 'page'}-${colorScheme}-${width}.png`), fullPage: true });
        }
        pages.push(page, other);
      }
    }
    return pages;
  },
  async 'who sends too much is told so, and loses nothing'() {
    const [open, port] = [server, server.port];
    await stop(open);
    server = await serve(port, '--rate', '2');
    const [ana, bia] = [await visit(), await visit()];
    for (let n = 0; n < 8; n += 1) await say(ana, `linha ${n}.`);
    await ana.locator('#chat .notice', { hasText: 'nada se perde' }).waitFor();
    for (let n = 0; n < 8; n += 1) await chat(bia, `linha ${n}.`);
    return [ana, bia];
  },

  async 'a token is taken from the address, or asked for'() {
    const [open, port] = [server, server.port];
    await stop(open);
    server = await serve(port, '--token', 'segredo & cia');
    const page = await visit({ path: '/?token=segredo%20%26%20cia', name: 'ana' });
    assert.equal(await page.evaluate(() => location.search), '', 'the token is not on the wall');
    await page.reload();
    await state(page, 'connected');
    const stranger = await visit({ becomes: 'disconnected' });
    await stranger.locator('#problem', { hasText: 'Este servidor pede um token' }).waitFor();
    const { violations } = await new AxeBuilder({ page: stranger }).analyze();
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes[0].html]), []);
    await stranger.screenshot({ path: join(folder, 'token.png') });
    for (const token of ['outro', 'segredo & cia']) {
      await stranger.fill('#token', token);
      await stranger.keyboard.press('Enter');
      if (token === 'outro') await stranger.locator('#problem', { hasText: 'Este token não é' }).waitFor();
      await state(stranger, token === 'outro' ? 'disconnected' : 'connected');
    }
    await stranger.locator('#token-form').waitFor({ state: 'hidden' });
    assert.equal(await stranger.textContent('#problem'), '');
    await stranger.reload();
    await state(stranger, 'connected');
    await say(page, 'bem-vinda');
    await chat(stranger, 'bem-vinda');
    return [page, stranger];
  },
  async 'a token that is entered while the page still tries another one is the one that counts'() {
    const port = server.port;
    await stop(server);
    server = await serve(port, '--token', 'segredo');
    proxy = await proxyTo(port);
    const page = await visit({ at: proxy.url, becomes: 'disconnected' });
    proxy.holdNew();
    for (const token of ['outro', 'segredo']) {
      await page.fill('#token', token);
      await page.keyboard.press('Enter');
      assert.equal(await stateNow(page), 'connecting');
    }
    proxy.thaw();
    await state(page, 'connected');
    return [page];
  },
  async 'a room that cannot be is said so'() {
    const page = await visit({ path: '/?room=%00', lang: 'en', becomes: 'disconnected' });
    await page.locator('#problem', { hasText: 'a room has a name of 1 to 64 characters' }).waitFor();
    await page.fill('#room', '7a');
    await page.click('#join button');
    await state(page, 'connected');
    assert.equal(await page.textContent('#room-title'), '7a');
    return [page];
  },
  async 'a view keeps so many entries and no more'() {
    const port = server.port;
    await stop(server);
    server = await serve(port, '--rate', '0');
    const [ana, raw] = [await visit(), await visit()];
    await raw.evaluate(async () => {
      const socket = new WebSocket(`ws://${location.host}/ws`);
      await new Promise((resolve) => (socket.onopen = resolve));
      for (let n = 0; n < 600; n += 1) socket.send(`mensagem ${n}`);
    });
    await chat(ana, 'mensagem 599');
    assert.equal(await ana.locator('#chat .entry').count(), 500);
    assert.equal(await ana.locator('#received .entry').count(), 500);
    return [ana, raw];
  },
};

await run(checks, {
  part,
  async before() {
    server = await serve();
  },
  async after() {
    await Promise.all(browser.contexts().map((context) => context.close()));
    await proxy?.stop();
    proxy = undefined;
    await stop(server);
  },
});
await browser.close();
