// The lessons in Chromium, as a class reads them: node lessons.mjs FRAMEWISE CHROMIUM FOLDER-FOR-SCREENSHOTS [PART-OF-A-NAME]
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { pasted, run, startServer, stop, watch } from './support.mjs';

const [framewise, executablePath, folder, part] = process.argv.slice(2);
const files = new URL('../../../docs/lessons/files/', import.meta.url);

// By this name the server is on another machine, as far as the browser is concerned.
const NAME = 'class.example';
const server = await startServer(framewise, 0, '--lessons', '--allow-host', NAME);
const { origin, port } = new URL(server.url);

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', `--host-resolver-rules=MAP ${NAME} 127.0.0.1`] });

/** A visitor who opens a path below /lessons, in Portuguese by default. What must never happen is in `faults`. */
async function visit(path = '', { at = origin, lang = 'pt-BR', ...options } = {}) {
  const context = await browser.newContext({ locale: lang, ...options });
  const page = watch(await context.newPage(), at);
  page.on('console', (message) => {
    if (message.type() === 'error') page.faults.push(message.text());
  });
  const response = await page.goto(`${at}/lessons${path}`);
  assert.equal(response.status(), 200, path);
  return page;
}

const containing = (page, hasText) => page.locator('.typed', { hasText }).first();
const unfold = (page) => page.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)));

/** Clicks the button of a part that is typed, and returns what a class then pastes. */
async function copied(page, typed, word) {
  const inline = typed.locator('xpath=following-sibling::*[1][self::button]');
  const button = (await inline.count()) ? inline : typed.locator('xpath=ancestor::div[1]/button');
  assert.equal(await button.textContent(), word === 'Copied' ? 'Copy' : 'Copiar');
  await button.click();
  await button.filter({ hasText: word }).waitFor();
  return pasted(page);
}

const checks = {
  async 'a command is copied with its further lines and without its prompt'() {
    const wanted = `curl -i -N -H 'Connection: Upgrade' -H 'Upgrade: websocket' \\
       -H 'Sec-WebSocket-Version: 13' \\
       -H 'Sec-WebSocket-Key: SGVsbG8sIHdvcmxkIQ==' http://localhost:8765/echo`;
    // For this machine the browser has a clipboard for pages. For another one, without https://, it has none.
    for (const [at, has] of [[origin, true], [`http://${NAME}:${port}`, false]]) {
      const page = await visit('/en/01-handshake', { at });
      assert.equal(await page.evaluate(() => 'clipboard' in navigator), has);
      await unfold(page);
      assert.equal(await copied(page, containing(page, "SGVsbG8sIHdvcmxkIQ==' http"), 'Copied'), wanted);
      assert.equal(await copied(page, containing(page, 'import base64, hashlib, sys'), 'Copied'), `import base64, hashlib, sys

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
text = sys.argv[1] + GUID
print(base64.b64encode(hashlib.sha1(text.encode()).digest()).decode())`);
      assert.deepEqual(page.faults, []);
    }
  },
  async 'a line that a program asks for is copied without its prompt'() {
    const page = await visit('/pt/02-frame');
    await unfold(page);
    assert.equal(await copied(page, page.locator('.prompt:text-is(">") + .typed', { hasText: 'Hello' }).first(), 'Copiado'), 'Hello');
    return [page];
  },
  async 'without a clipboard the text is selected'() {
    const page = await visit('/en/01-handshake');
    await page.evaluate(() => {
      navigator.clipboard.writeText = () => Promise.reject(new Error('no'));
      document.execCommand = () => false;
    });
    const typed = page.locator('.typed').first();
    const button = page.locator('.copy').first();
    await button.click();
    await button.filter({ hasText: 'press Ctrl+C' }).waitFor();
    assert.equal(await page.evaluate(() => String(getSelection())), await typed.textContent());
    return [page];
  },
  async 'an answer is folded until it is clicked'() {
    const page = await visit('/pt/01-handshake');
    const details = page.locator('details').first();
    const inside = details.locator(':scope > :not(summary)').first();
    assert.equal(await inside.isVisible(), false);
    await details.locator('summary').click();
    assert.equal(await inside.isVisible(), true);
    await page.screenshot({ path: join(folder, 'lesson.png'), fullPage: true });
    return [page];
  },
  async 'a worksheet is printed without its key, unless the key is open'() {
    const page = await visit('/pt/01-handshake-worksheet', { colorScheme: 'dark' });
    const key = page.locator('details');
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    assert.equal(await key.isVisible(), false);
    assert.equal(await page.locator('footer').isVisible(), false);
    const colours = () => page.evaluate(() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]);
    assert.deepEqual(await colours(), ['rgb(255, 255, 255)', 'rgb(0, 0, 0)']);
    await page.screenshot({ path: join(folder, 'worksheet-print.png'), fullPage: true });
    await page.emulateMedia({ media: 'screen', colorScheme: 'dark' });
    assert.notDeepEqual(await colours(), ['rgb(255, 255, 255)', 'rgb(0, 0, 0)']);
    await key.locator('summary').click();
    await page.emulateMedia({ media: 'print' });
    assert.equal(await key.isVisible(), true);
    const lesson = await visit('/pt/01-handshake');
    await lesson.emulateMedia({ media: 'print' });
    assert.equal(await lesson.locator('.copy:visible').count(), 0);
    return [page, lesson];
  },
  async 'the language is that of the browser, and one click away from the other'() {
    for (const [lang, code, other] of [['pt-BR', 'pt', 'In English'], ['en-US', 'en', 'Em português']]) {
      const page = await visit('', { lang });
      assert.equal(new URL(page.url()).pathname, `/lessons/${code}`);
      await page.locator('main a', { hasText: /^[01]\./ }).first().click();
      await page.locator('h1', { hasText: code === 'pt' ? 'Aula 0' : 'Lesson 0' }).waitFor();
      await page.locator('main a', { hasText: other }).click();
      await page.waitForURL(`**/lessons/${code === 'pt' ? 'en' : 'pt'}/00-map`);
      await page.locator('footer a').first().click();
      await page.waitForURL(`**/lessons/${code === 'pt' ? 'en' : 'pt'}`);
      assert.deepEqual(page.faults, []);
    }
    // From the start page, it is the one that was chosen there.
    const page = await visit('', { lang: 'pt-BR' });
    await page.locator('footer a').last().click();
    await page.locator('#lang', { hasText: 'English' }).click();
    await page.locator('footer #lessons', { hasText: 'Lessons' }).click();
    await page.locator('h1', { hasText: 'Lessons' }).waitFor();
    assert.equal(new URL(page.url()).pathname, '/lessons/en');
    return [page];
  },
  async 'axe finds nothing: narrow and wide, light and dark'() {
    for (const [path, colorScheme, width] of [
      ['', 'light', 360],
      ['/en/02-frame', 'light', 1280],
      ['/pt/03-masking', 'dark', 360],
      ['/en/02-frame-worksheet', 'dark', 1280],
      ['/files', 'dark', 360],
      ['/pt/clauses', 'light', 360],
    ]) {
      const page = await visit(path, { colorScheme, viewport: { width, height: 800 } });
      await unfold(page);
      const { violations } = await new AxeBuilder({ page }).analyze();
      assert.deepEqual(violations.map(({ id, nodes }) => `${path} ${id}: ${nodes[0].html}`), []);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${path} is ${overflow} px wider than the window of ${width}`);
      await page.screenshot({ path: join(folder, `lesson${path.replaceAll('/', '-')}.png`) });
      assert.deepEqual(page.faults, []);
    }
  },
  async 'pages for students run their scripts when the server shows them'() {
    const names = (await readdir(files)).filter((name) => name.endsWith('.html'));
    for (const name of names) {
      const page = await visit(`/files/${name}`);
      // Nothing was refused by a policy, so scripts and styles in the page have run.
      assert.deepEqual(page.faults, [], name);
      const isOpen = await page.evaluate(async (url) => {
        const socket = new WebSocket(url);
        return new Promise((resolve) => {
          socket.onopen = () => resolve(true);
          socket.onerror = () => resolve(false);
        });
      }, `ws://127.0.0.1:${port}/ws`);
      assert.ok(isOpen, `${name} can connect`);
    }
  },
};

await run(checks, {
  part,
  after: () => Promise.all(browser.contexts().map((context) => context.close())),
});
await browser.close();
await stop(server);
