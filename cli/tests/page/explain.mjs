// The page that explains bytes, as a student uses it: node explain.mjs FRAMEWISE CHROMIUM FOLDER-FOR-SCREENSHOTS [PART-OF-A-NAME]
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { pasted, run, startServer, stop, watch } from './support.mjs';

const [framewise, executablePath, folder, part] = process.argv.slice(2);

const HELLO = '818537fa213d7f9f4d5158';
/** The same, compressed as in RFC 7692 7.2.3.1. */
const COMPRESSED = 'c18737fa213dc5b2ecf4fefd21';

// By this name the server is on another machine, as far as the browser is concerned.
const NAME = 'class.example';
const serve = (...options) => startServer(framewise, 0, ...options);

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', `--host-resolver-rules=MAP ${NAME} 127.0.0.1`] });
const server = await serve('--allow-host', NAME);

/** Opens the page, and reports what must never happen on it. */
async function visit({ path = '/explain', lang = 'en', at = server.url, waits = true, ...options } = {}) {
  const context = await browser.newContext({ locale: lang, ...options });
  const page = watch(await context.newPage(), at);
  await page.goto(new URL(path, at).href);
  if (waits) await verdict(page, 0);
  return page;
}

/** Waits until the verdict has this exit code. */
const verdict = (page, code) => page.locator(`#verdict .verdict[data-code="${code}"]`).waitFor();
/** Waits until the address has these digits. */
const digits = (page, hex) => page.waitForFunction((wanted) => new URLSearchParams(location.hash.slice(1)).get('hex') === wanted, hex);
const bit = (page, at) => page.locator(`#bits [data-at="${at}"]`);
const example = (page, name) => page.selectOption('#example', name);
/** What the command line prints for what the page shows. */
function printed(command, lang = 'en') {
  const words = command.split(' ').slice(1);
  return spawnSync(framewise, ['--lang', lang, ...words], { encoding: 'utf8', env: {} });
}

async function isAccessible(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
}

const checks = {
  async 'the example of the standard, with a name at every field'() {
    const page = await visit();
    const names = await page.locator('#bits .field > .name').allTextContents();
    assert.deepEqual(names, ['FIN', 'RSV1', 'RSV2', 'RSV3', 'opcode', 'MASK', 'payload length', 'masking key', 'payload data']);
    assert.equal(await page.locator('#bits [data-at]').count(), 11 * 8);
    const rows = await page.locator('#bits .field pre').textContent();
    for (const row of ['7f 9f 4d 51 58', '37 fa 21 3d 37', '48 65 6c 6c 6f', "'Hello'"]) assert.ok(rows.includes(row), rows);
    await isAccessible(page);
    return [page];
  },
  async 'pasted digits and requests get the verdict of the command line'() {
    const page = await visit();
    await page.selectOption('#from', '');
    for (const [text, code] of [
      ['0x81 05 48 65 6c 6c 6f', 0],
      ['88 82 00 00 00 00 03 ed', 3],
      ['81 85 37', 1],
      ['GET /ws HTTP/1.1\nHost: h\nUpgrade: websocket\n\n', 3],
      ['GET /health HTTP/1.1\nHost: h\n\n', 0],
      ['HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n', 3],
    ]) {
      const before = await page.evaluate(() => location.hash);
      await page.fill('#input', text);
      await page.waitForFunction((old) => location.hash !== old, before);
      await verdict(page, code);
      const { stdout, status } = printed(await page.textContent('#command'));
      assert.equal(status, code);
      assert.equal(await page.textContent('#output'), stdout.replace(/\n$/, ''));
    }
    await page.fill('#input', 'hello world');
    await page.locator('#verdict .note', { hasText: 'neither hexadecimal digits nor a request' }).waitFor();
    await page.fill('#input', '818');
    await page.locator('#problem', { hasText: '3 hexadecimal digits' }).waitFor();
    return [page];
  },
  async 'the text of a message becomes a frame'() {
    const page = await visit();
    await page.selectOption('#as', 'message');
    await page.fill('#input', 'Olá, turma!');
    await page.locator('#bits .field pre', { hasText: 'Olá, turma!' }).waitFor();
    assert.equal(await page.inputValue('#payload'), 'Olá, turma!');
    return [page];
  },
  async 'a bit that is clicked breaks a rule, and a second click mends it'() {
    const page = await visit();
    await bit(page, 1).click();
    await verdict(page, 3);
    const text = await page.textContent('#verdict');
    assert.match(text, /RSV1/);
    // The page has signs where the command line has arrows.
    assert.match(text, /client:broken at bit 1/);
    assert.match(await page.textContent('#bits .sign'), /^✗ broken at bit 1/);
    assert.match(text, /Clause 5\.2-\d+, close code 1002/);
    assert.ok(await bit(page, 1).evaluate((button) => button.classList.contains('broken')));
    assert.match(await bit(page, 1).getAttribute('aria-label'), /RSV1: 1 \(breaks a rule\)/);
    assert.match(await page.locator('#bits .field[data-field="RSV1"] .name').textContent(), /✗/);
    assert.equal(await page.isChecked('#rsv1'), true);
    await isAccessible(page);
    await bit(page, 1).click();
    await verdict(page, 0);
    await digits(page, HELLO);
    return [page];
  },
  async 'the keyboard alone moves and flips'() {
    const page = await visit();
    await bit(page, 0).focus();
    for (const key of ['ArrowDown', 'ArrowRight', 'ArrowLeft', 'ArrowUp', 'ArrowDown']) await page.keyboard.press(key);
    assert.equal(await page.evaluate(() => document.activeElement.dataset.at), '8');
    await page.keyboard.press('Space');
    await verdict(page, 3);
    assert.match(await page.textContent('#verdict'), /a client must mask every frame/);
    // The focus stays where it was, although the bits were drawn anew.
    assert.equal(await page.evaluate(() => document.activeElement.dataset.at), '8');
    await page.keyboard.press('Enter');
    await verdict(page, 0);
    await page.keyboard.press('End');
    assert.equal(await page.evaluate(() => document.activeElement.dataset.at), '87');
    assert.equal(await page.locator('#bits [data-at][tabindex="0"]').count(), 1);
    return [page];
  },
  async 'a link shows the same again, and the server never sees it'() {
    const page = await visit();
    await example(page, 'exampleUnmasked');
    await verdict(page, 3);
    await page.selectOption('#path', '/ws/events');
    const link = page.url();
    const other = await visit({ path: link, waits: false });
    await verdict(other, 3);
    assert.equal(await other.inputValue('#from'), 'client');
    assert.equal(await other.inputValue('#path'), '/ws/events');
    assert.equal(other.url(), link);
    await other.reload();
    await verdict(other, 3);
    assert.equal(await other.textContent('#command'), 'framewise explain --from client 810548656c6c6f');
    await other.context().close();
    return [page];
  },
  async 'the stepper has every field, and the three forms of the length'() {
    const page = await visit();
    await page.check('input[name="form"][value="16"]');
    await digits(page, '81fe000537fa213d7f9f4d5158');
    await verdict(page, 3);
    await page.check('input[name="form"][value="64"]');
    await digits(page, '81ff000000000000000537fa213d7f9f4d5158');
    await page.check('input[name="form"][value="7"]');
    await digits(page, HELLO);
    // A broken frame keeps its payload and key.
    await page.uncheck('#mask');
    await digits(page, '810548656c6c6f');
    await verdict(page, 3);
    await page.check('#mask');
    await digits(page, HELLO);
    await page.selectOption('#opcode', '10');
    await page.uncheck('#fin');
    await digits(page, `0a${HELLO.slice(2)}`);
    assert.match(await page.textContent('#verdict'), /FIN/);
    await page.selectOption('#opcode', '2');
    await page.check('#fin');
    await page.fill('#key', '00 00 00 00');
    await digits(page, '82850000000048656c6c6f');
    await page.fill('#payload', 'é');
    await digits(page, '828200000000c3a9');
    await page.fill('#key', '12');
    assert.match(await page.textContent('#stepper-problem'), /4 bytes/);
    await page.fill('#key', '00000000');
    const long = 'a'.repeat(126);
    await page.fill('#payload', long);
    await digits(page, `82fe007e00000000${'61'.repeat(126)}`);
    await verdict(page, 0);
    assert.match(await page.textContent('#stepper-problem'), /125/);
    return [page];
  },
  async 'one frame of several is changed, and the others stay'() {
    const page = await visit();
    await example(page, 'exampleFragments');
    await digits(page, '018337fa213d7f9f4d898037fa213d808237fa213d5b95');
    await page.selectOption('#frame', '1');
    await page.selectOption('#opcode', '10');
    await digits(page, '018337fa213d7f9f4d8a8037fa213d808237fa213d5b95');
    await verdict(page, 0);
    return [page];
  },
  async 'a valid frame is echoed, and an unmasked one is closed with its rule'() {
    const page = await visit();
    await page.click('#send-button');
    await page.locator('#received-status[data-ended="quiet"]').waitFor();
    assert.match(await page.textContent('#received-bits'), /'Echo: Hello'/);
    assert.match(await page.textContent('#request'), /^GET \/echo HTTP\/1\.1/);
    await example(page, 'exampleUnmasked');
    await verdict(page, 3);
    await page.click('#send-button');
    await page.locator('#received-status[data-ended="closed"]').waitFor();
    assert.match(await page.textContent('#received-bits'), /close code 1002, reason 'RFC 6455 5\.1: a client must mask every frame'/);
    await isAccessible(page);
    await page.screenshot({ path: join(folder, 'explain.png'), fullPage: true });
    return [page];
  },
  async 'in Portuguese'() {
    const page = await visit({ lang: 'pt-BR' });
    await bit(page, 8).click();
    await verdict(page, 3);
    assert.equal(await page.getAttribute('html', 'lang'), 'pt-BR');
    assert.match(await page.textContent('#verdict'), /Uma regra foi violada.*Do cliente:/s);
    const { stdout } = printed(await page.textContent('#command'), 'pt');
    assert.equal(await page.textContent('#output'), stdout.replace(/\n$/, ''));
    await page.click('#lang');
    await page.locator('#verdict', { hasText: 'From the client:' }).waitFor();
    return [page];
  },
  async 'a compressed message is shown with its bytes, its text and the parameters'() {
    const page = await visit();
    const rows = () => page.locator('#bits').textContent();
    // Without the extension RSV1 breaks a rule.
    await page.fill('#input', COMPRESSED);
    await verdict(page, 3);
    assert.doesNotMatch(await rows(), /Hello/);
    for (const [mode, parameters] of [['on', '; server_no_context_takeover; client_no_context_takeover'], ['takeover', '']]) {
      await page.selectOption('#deflate', mode);
      await verdict(page, 0);
      await page.locator('#verdict .note', { hasText: `From the client: permessage-deflate${parameters}` }).waitFor();
      await page.locator('#bits .sign.decoded', { hasText: "decompressed (RFC 7692)  'Hello'" }).waitFor();
      assert.match(await rows(), /f2 48 cd c9 c9 07 00/);
      assert.equal(await page.isChecked('#rsv1'), true);
      assert.equal(await page.textContent('#command'), `framewise explain --from client --deflate ${mode} ${COMPRESSED}`);
      const { stdout } = printed(await page.textContent('#command'));
      assert.equal(await page.textContent('#output'), stdout.replace(/\n$/, ''));
    }
    // The choice is in the link, and stays when a bit is flipped.
    const other = await visit({ path: page.url() });
    assert.equal(await other.inputValue('#deflate'), 'takeover');
    await bit(other, 1).click();
    await other.locator('#bits .sign.decoded').waitFor({ state: 'detached' });
    await bit(other, 1).click();
    await other.locator('#bits .sign.decoded').waitFor();
    await other.context().close();
    await page.selectOption('#deflate', '');
    await verdict(page, 3);
    // In Portuguese, with the example.
    await page.click('#lang');
    await example(page, 'exampleDeflate');
    await page.locator('#bits .sign.decoded', { hasText: "descomprimido (RFC 7692)  'Hello'" }).waitFor();
    assert.equal(await page.inputValue('#deflate'), 'on');
    await page.locator('#deflate-note', { hasText: 'cole a requisição, a resposta' }).waitFor();
    await isAccessible(page);
    await page.screenshot({ path: join(folder, 'explain-deflate.png'), fullPage: true });
    // With a handshake in the input, its response decides.
    await example(page, 'exampleHandshake');
    await page.locator('#verdict .note', { hasText: 'Uma requisição e a resposta, depois do cliente:' }).waitFor();
    await page.locator('#bits .sign.decoded', { hasText: "'Hello'" }).waitFor();
    assert.equal(await page.inputValue('#deflate'), '');
    await page.click('#lang');
    await page.locator('#verdict .note', { hasText: 'A request and the response, then from the client:' }).waitFor();
    assert.match(await rows(), /Sec-WebSocket-Extensions: permessage-deflate/);
    await page.uncheck('#rsv1');
    await page.locator('#bits .sign.decoded').waitFor({ state: 'detached' });
    assert.match(await rows(), /HTTP\/1\.1 101/);
    const text = await page.inputValue('#input');
    assert.ok(text.endsWith('81 87 37 fa 21 3d c5 b2 ec f4 fe fd 21'), text);
    return [page];
  },
  async 'sending offers the chosen compression, and shows the text of the reply'() {
    const compressing = await serve('--deflate', 'on');
    // "Hello " twenty times.
    const input = 'c18b00000000f248cdc9c957f0a03b0900';
    for (const [at, ended, says] of [[compressing.url, 'quiet', /decompressed \(RFC 7692\) {2}'Echo: Hello Hello /], [server.url, 'closed', /RFC 6455 5\.2: RSV bits must be 0/]]) {
      const page = await visit({ at });
      await page.fill('#input', input);
      await page.selectOption('#deflate', 'on');
      await page.locator('#bits .sign.decoded').waitFor();
      await page.click('#send-button');
      await page.locator(`#received-status[data-ended="${ended}"]`).waitFor();
      assert.match(await page.textContent('#request'), /^Sec-WebSocket-Extensions: permessage-deflate; /m);
      assert.match(await page.textContent('#received-bits'), says);
      assert.deepEqual(page.faults, []);
    }
    await stop(compressing);
  },
  async 'a server with a token asks for it, and the bytes are sent with it'() {
    const withToken = await serve('--token', 'segredo');
    const page = await visit({ at: withToken.url, waits: false });
    await page.locator('#token-form:not([hidden])').waitFor();
    await page.fill('#token', 'errado');
    await page.click('#token-form button');
    await page.locator('#problem', { hasText: 'not the token' }).waitFor();
    await page.fill('#token', 'segredo');
    await page.click('#token-form button');
    await verdict(page, 0);
    await page.click('#send-button');
    await page.locator('#received-status[data-ended="quiet"]').waitFor();
    assert.match(await page.textContent('#received-bits'), /'Echo: Hello'/);
    assert.doesNotMatch(await page.content(), /segredo/);
    await stop(withToken);
    return [page];
  },
  async 'a page whose connection is lost before any answer says so, and can send again'() {
    for (const [lang, text] of [['en', 'lost its connection to the server'], ['pt-BR', 'caiu antes do fim do envio']]) {
      const mortal = await serve();
      const page = await visit({ at: mortal.url, lang });
      // A process that is stopped answers nothing.
      mortal.process.kill('SIGSTOP');
      await page.click('#send-button');
      await page.locator('#send-button:disabled').waitFor();
      const ended = once(mortal.process, 'exit');
      mortal.process.kill('SIGKILL');
      await ended;
      await page.locator('#send-problem', { hasText: text }).waitFor();
      assert.equal(await page.isEnabled('#send-button'), true);
      assert.equal(await page.isHidden('#received'), true);
      assert.deepEqual(page.faults, []);
      await page.context().close();
    }
    return [await visit()];
  },
  async 'copies digits, link and command, from another machine too'() {
    // For this machine the browser has a clipboard for pages. For another one, without https://, it has none.
    for (const [at, has] of [[server.url, true], [`http://${NAME}:${server.port}`, false]]) {
      const page = await visit({ at });
      assert.equal(await page.evaluate(() => 'clipboard' in navigator), has);
      for (const [button, text] of [['#copy-hex', HELLO], ['#copy-link', page.url()], ['#copy-command', `framewise explain --from client ${HELLO}`]]) {
        await page.evaluate(() => (document.getElementById('copied').textContent = ''));
        await page.click(button);
        await page.locator('#copied', { hasText: 'Copied' }).waitFor();
        // The keyboard goes on where it was.
        assert.equal(await page.evaluate(() => `#${document.activeElement.id}`), button);
        assert.equal(await pasted(page), text);
      }
      assert.deepEqual(page.faults, []);
    }
  },
  async 'where copying is not possible, the page says so'() {
    const page = await visit();
    await page.evaluate(() => {
      navigator.clipboard.writeText = () => Promise.reject(new Error('no'));
      document.execCommand = () => false;
    });
    await page.click('#copy-hex');
    await page.locator('#copied', { hasText: 'does not allow copying' }).waitFor();
    assert.equal(await page.locator('textarea.offscreen').count(), 0);
    return [page];
  },
  async 'no text is missing, and a telephone has no sideways scrolling'() {
    const page = await visit({ viewport: { width: 360, height: 740 } });
    const missing = await page.evaluate(async () => {
      const { texts } = await import('./texts.js');
      const named = [...document.querySelectorAll('[data-text]')].map(({ dataset }) => dataset.text);
      return named.filter((name) => texts[name]?.length !== 2);
    });
    assert.deepEqual(missing, []);
    await example(page, 'exampleRequest');
    await page.locator('#bits [data-kind="head"]').first().waitFor();
    assert.equal(await page.isVisible('#no-frame'), true);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
    return [page];
  },
};

await run(checks, {
  part,
  after: () => Promise.all(browser.contexts().map((context) => context.close())),
});
await browser.close();
await stop(server);
