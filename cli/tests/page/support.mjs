// What the tests of the pages share.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** The programs that run. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** Starts a program that is ended at the end of the check, if that is not over before. Node.js does not exit while one runs. */
export function startProgram(program, args, options) {
  const child = spawn(program, args, options);
  running.add(child);
  child.once('exit', () => running.delete(child)).once('error', () => running.delete(child));
  return child;
}

/** Ends the programs that run, without those in `kept`. */
async function endPrograms(kept) {
  const left = [...running].filter((child) => !kept.has(child));
  await Promise.all(left.map((child) => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    return ended;
  }));
}

/** Starts `framewise serve` on 127.0.0.1, and waits until it listens. Port 0 is a free one. */
export async function startServer(framewise, port, ...options) {
  const process_ = startProgram(framewise, ['serve', '--host', '127.0.0.1', '--port', String(port), ...options], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  for await (const line of createInterface({ input: process_.stdout })) {
    const url = /http:\/\/\S+/.exec(line)?.[0];
    if (url) {
      process_.stdout.resume();
      return { url, port: Number(new URL(url).port), process: process_ };
    }
  }
  throw new Error('the server did not start');
}

export async function stop(server) {
  if (!running.has(server.process)) return;
  const ended = once(server.process, 'exit');
  server.process.kill('SIGTERM');
  await ended;
}

/** Collects in `page.faults` what must never happen in a page: an error, a blocked script, a request to another host than `at`. */
export function watch(page, at) {
  page.faults = [];
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) page.faults.push(message.text());
  });
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol !== 'data:' && url.host !== new URL(at).host) page.faults.push(`asked ${url}`);
  });
  return page;
}

/** Returns what the visitor pastes. */
export async function pasted(page) {
  await page.evaluate(() => {
    const area = document.createElement('textarea');
    area.id = 'pasted';
    document.body.append(area);
    area.focus();
  });
  await page.keyboard.press('Control+V');
  const text = await page.inputValue('#pasted');
  await page.evaluate(() => document.getElementById('pasted').remove());
  return text;
}

/**
 * Runs the checks whose names contain `part`, and sets the exit code. A check returns the pages in which nothing may have gone
 * wrong. `before` and `after` surround each check; `after` is told the error of a failed one. Programs that a check leaves
 * running are ended.
 */
export async function run(checks, { part = '', before, after }) {
  let [passed, failed] = [0, 0];
  for (const [name, check] of Object.entries(checks)) {
    if (!name.includes(part)) continue;
    const kept = new Set(running);
    await before?.();
    let failure;
    try {
      for (const page of (await check()) ?? []) assert.deepEqual(page.faults, []);
      console.log(`ok     ${name}`);
      passed += 1;
    } catch (error) {
      failure = error;
      console.log(`FAILED ${name}: ${error.stack}`);
      failed += 1;
    }
    await after?.(failure);
    await endPrograms(kept);
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}
