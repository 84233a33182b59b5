// An archive against the schema of HAR 1.2, and a page in Chromium: node check.mjs ARCHIVE PAGE CHROMIUM
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const [archive, page, executablePath] = process.argv.slice(2);

async function check(name, run) {
  try {
    await run();
    console.log(`ok     ${name}`);
  } catch (error) {
    console.log(`FAILED ${name}: ${error.message}`);
  }
}

const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addMetaSchema(require('ajv/dist/refs/json-schema-draft-06.json'));
for (const schema of Object.values(require('har-schema'))) ajv.addSchema(schema);
const validate = ajv.getSchema('har.json');
const har = JSON.parse(readFileSync(archive));

await check('har: it follows the schema', () => assert(validate(har), ajv.errorsText(validate.errors)));
await check('har: the schema finds a fault', () => {
  const broken = structuredClone(har);
  delete broken.log.entries[0].request.method;
  assert(!validate(broken));
});
await check('har: messages as Chromium writes them', () => {
  const messages = har.log.entries.flatMap((entry) => entry._webSocketMessages ?? []);
  const data = messages.map((message) => message.data);
  for (const text of ['Olá', 'Echo: Olá', 'fragmentos ✓', 'AP+A']) assert(data.includes(text), text);
  for (const message of messages) {
    assert(['send', 'receive'].includes(message.type) && [1, 2].includes(message.opcode));
    assert(Math.abs(message.time - Date.now() / 1000) < 3600);
  }
  assert(!JSON.stringify(har).includes('segredo'));
});

await check('har: every request of a connection, with its own response', () => {
  const requests = {};
  for (const { connection, request, response } of har.log.entries) {
    const path = new URL(request.url).pathname;
    (requests[connection] ??= []).push(`${request.method} ${path} ${response.status}`);
    // The response to a HEAD has the length of a body, but none.
    const { value } = response.headers.find(({ name }) => name === 'Content-Length') ?? { value: 0 };
    assert.equal(response.bodySize, request.method === 'HEAD' ? 0 : Number(value));
  }
  assert.deepEqual(Object.values(requests).slice(-2), [
    ['GET /asyncapi.json 200', 'GET /nowhere 404', 'GET /asyncapi.json 200'],
    ['HEAD /asyncapi.json 200', 'GET /nowhere 404', 'GET /asyncapi.json 200', 'GET /echo 101'],
  ]);
});

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
try {
  await check('html: it is shown in colour, without a script or a request', async () => {
    const visitor = await browser.newPage();
    const faults = [];
    visitor.on('request', (request) => request.url().startsWith('file:') || faults.push(request.url()));
    visitor.on('dialog', (dialog) => faults.push(dialog.message()));
    visitor.on('pageerror', (error) => faults.push(String(error)));
    visitor.on('console', (message) => faults.push(message.text()));
    await visitor.goto(pathToFileURL(page).href);
    assert.match(await visitor.title(), /^Recording of 2/);
    assert.deepEqual(faults, []);
    assert.equal(await visitor.locator('script, img, iframe, object, a').count(), 0);
    assert.equal(await visitor.locator('details').count(), 6);
    const opcode = visitor.locator('.cell.opcode').first();
    assert.match(await opcode.innerText(), /0001\s+1 text/);
    const colour = (locator) => locator.evaluate((cell) => getComputedStyle(cell).backgroundColor);
    assert.notEqual(await colour(opcode), await colour(visitor.locator('.cell.mask').first()));
    const text = await visitor.locator('body').innerText();
    for (const wanted of ["'Olá'", "'Echo: Olá'", '<script>document.title', "close code 4000, reason 'até logo'", 'a client must mask every frame']) {
      assert(text.includes(wanted), wanted);
    }
    assert(!text.includes('segredo'));
    assert.equal(await visitor.locator('.cell.mask.wrong').count(), 2);
    // Heads that break no rule look like frames that break none: 11 requests and 11 responses.
    const heads = visitor.locator('p.valid', { hasText: /plain HTTP|opening handshake/ });
    assert.equal(await heads.count(), 22);
    const ink = (locator) => locator.first().evaluate((line) => getComputedStyle(line).color);
    assert.equal(await ink(heads), await ink(visitor.locator('p.valid', { hasText: /valid$/ })));
    assert.notEqual(await ink(heads), await ink(visitor.locator('body')));
  });
} finally {
  await browser.close();
}
