// A program that `limits.py` examines: node limits_peer.mjs KIND. A client reads URLs from its input and connects to each. A
// server prints "listening PORT".
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

const [kind, executablePath] = process.argv.slice(2);

async function connector() {
  if (kind === 'undici') {
    const { WebSocket } = await import('undici');
    return (url) => { new WebSocket(url).onerror = () => {}; };
  }
  if (kind === 'ws') {
    const { default: WebSocket } = await import('ws');
    return (url) => { new WebSocket(url).on('error', () => {}); };
  }
  const { chromium } = await import('playwright-core');
  const site = createServer((_, answer) => answer.end('<!doctype html><title>limits</title>'));
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  return (url) => page.evaluate((url) => { new WebSocket(url); }, url);
}

if (kind === 'ws-server') {
  const { WebSocketServer } = await import('ws');
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket) => socket.on('error', () => {}));
  server.on('listening', () => console.log(`listening ${server.address().port}`));
} else {
  const connect = await connector();
  for await (const url of createInterface({ input: process.stdin })) connect(url);
  process.exit(0);
}
