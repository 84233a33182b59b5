// Processes that end with the test, the proxies among them, and a client that writes its own requests.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect as connectTls } from 'node:tls';

export const [framewise, chromiumPath, work] = process.argv.slice(2);
export const HOST = 'class.school.example';

/** Longer than anything takes; reaching it is a failure. */
const PATIENCE = 30_000;

/** Proxies run without privileges: as nobody, if the test runs as root. */
const nobody = process.getuid() === 0 ? { uid: 65534, gid: 65534 } : {};

const running = new Set();

function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  running.add(child);
  child.once('exit', () => running.delete(child));
  child.once('error', (error) => console.log(`${command}: ${error.message}`));
  return child;
}

export async function stop({ process: child }) {
  if (!running.has(child)) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

export const stopAll = () => Promise.all([...running].map((child) => stop({ process: child })));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => stopAll().then(() => process.exit(130)));

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not in time: ${what()}`)), PATIENCE)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The lines that a process writes. */
class Lines {
  #waiting = new Set();
  all = [];

  constructor(stream) {
    createInterface({ input: stream }).on('line', (line) => {
      this.all.push(line);
      for (const check of [...this.#waiting]) check(line);
    });
  }

  /** The first line that contains all of these texts, whether it was written already or not. */
  with(...texts) {
    const fits = (line) => texts.every((text) => line.includes(text));
    const known = this.all.find(fits);
    if (known) return Promise.resolve(known);
    const line = new Promise((resolve) => {
      const check = (line) => {
        if (!fits(line)) return;
        this.#waiting.delete(check);
        resolve(line);
      };
      this.#waiting.add(check);
    });
    return within(line, () => `a line with ${texts.join(', ')} in:\n${this.all.join('\n')}`);
  }
}

/** Starts the server with the words of a command line, and waits until it accepts connections. */
export async function serve(...words) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(FRAMEWISE_|HOST$|PORT$)/.test(name)));
  const child = start(framewise, ['serve', '--lang', 'en', ...words], { env, cwd: work });
  const [greeting, log] = [new Lines(child.stdout), new Lines(child.stderr)];
  const ended = once(child, 'exit').then(([code]) => Promise.reject(new Error(`it ended with ${code}:\n${log.all.join('\n')}`)));
  await Promise.race([greeting.with('Ctrl+C'), ended]);
  ended.catch(() => {});
  const port = Number(/http:\/\/\S+:(\d+)/.exec(greeting.all[0])[1]);
  return { process: child, port, greeting: greeting.all, log };
}

/** The blocks of code of a page, by their language. */
export function blocks(path) {
  const found = {};
  for (const [, language, code] of readFileSync(path, 'utf8').matchAll(/^```(\w+)\n(.*?)^```$/gms)) (found[language] ??= []).push(code);
  return found;
}

/** Replaces each of these texts. One that is not there is an error, because then the test would test something else. */
export function replaced(text, changes) {
  for (const [from, to] of changes) {
    if (!text.includes(from)) throw new Error(`there is no ${JSON.stringify(from)} in\n${text}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits until a proxy speaks TLS at its port. False if it has ended. */
async function accepts(port, child) {
  for (;;) {
    if (!running.has(child)) return false;
    const socket = connectTls({ port, host: '127.0.0.1', servername: HOST, rejectUnauthorized: false });
    const isOpen = await new Promise((resolve) => {
      socket.once('secureConnect', () => resolve(true)).once('error', () => resolve(false)).once('close', () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A certificate that nobody has signed. */
const certificate = { fullchain: join(work, 'fullchain.pem'), key: join(work, 'privkey.pem'), both: join(work, 'class.pem') };
execFileSync('openssl', [
  'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${HOST}`,
  '-addext', `subjectAltName=DNS:${HOST}`, '-keyout', certificate.key, '-out', certificate.fullchain,
], { stdio: 'ignore' });
writeFileSync(certificate.both, readFileSync(certificate.fullchain, 'utf8') + readFileSync(certificate.key, 'utf8'));
if (nobody.uid) Object.values(certificate).forEach((file) => chownSync(file, nobody.uid, nobody.gid));

const paths = [['/etc/ssl/class/fullchain.pem', certificate.fullchain], ['/etc/ssl/class/privkey.pem', certificate.key]];

/** A module of Apache, after those that it depends on, as a2enmod enables them. */
function apacheModules(name) {
  const file = `/etc/apache2/mods-available/${name}.load`;
  const needs = /^# Depends: (.*)$/m.exec(readFileSync(file, 'utf8'))?.[1].trim().split(/\s+/) ?? [];
  return [...needs.flatMap(apacheModules), file];
}

/** How each proxy is started with a configuration of docs/deploy.md: what is around the configuration, and what is replaced
    in it. */
export const proxies = {
  nginx: (recipe, folder, port) => ({
    // Without the port in redirects, because clients see port 443.
    config: `daemon off; pid ${folder}/pid; error_log stderr; events {} http { access_log off; port_in_redirect off;
      ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
      ${replaced(recipe, [['listen 443', `listen 127.0.0.1:${port}`], ...paths])} }`,
    command: (file) => ['nginx', ['-e', 'stderr', '-p', folder, '-c', file]],
  }),
  caddy: (recipe, _, port) => ({
    config: `{\n admin off\n https_port ${port}\n auto_https disable_redirects\n default_bind 127.0.0.1\n}\n${replaced(recipe, paths)}`,
    command: (file) => ['caddy', ['run', '--config', file, '--adapter', 'caddyfile']],
  }),
  haproxy: (recipe, _, port) => ({
    config: replaced(recipe, [['bind :443', `bind 127.0.0.1:${port}`], ['/etc/ssl/class/class.pem', certificate.both]]),
    command: (file) => ['haproxy', ['-db', '-f', file]],
  }),
  apache: (recipe, folder, port, modules) => ({
    config: `ServerRoot ${folder}\nServerName ${HOST}\nDefaultRuntimeDir ${folder}\nMutex file:${folder} default\nPidFile ${folder}/pid\n`
      + `ErrorLog ${folder}/log\nListen 127.0.0.1:${port}\n`
      // Those that Debian enables by default, and those that the page names.
      + [...new Set(['mpm_event', 'authz_core', 'alias', ...modules].flatMap(apacheModules))].map((file) => `Include ${file}\n`).join('')
      + 'TypesConfig /dev/null\n'
      + replaced(recipe, [['*:443', `127.0.0.1:${port}`], ...paths]),
    command: (file) => ['apache2', ['-f', file, '-DFOREGROUND']],
  }),
};

let folders = 0;

/** Starts a proxy with a configuration of docs/deploy.md, in front of a server. */
export async function proxy(name, recipe, server, modules) {
  for (let tries = 1; ; tries += 1) {
    const [folder, port] = [join(work, `${name}-${(folders += 1)}`), await freePort()];
    mkdirSync(folder);
    const { config, command } = proxies[name](replaced(recipe, [['127.0.0.1:8765', `127.0.0.1:${server.port}`]]), folder, port, modules);
    const file = join(folder, 'config');
    writeFileSync(file, config);
    if (nobody.uid) chownSync(folder, nobody.uid, nobody.gid);
    const [program, args] = command(file);
    const child = start(program, args, { cwd: folder, env: { PATH: process.env.PATH, HOME: folder }, ...nobody });
    const said = [new Lines(child.stdout), new Lines(child.stderr)];
    const log = () => (existsSync(join(folder, 'log')) ? readFileSync(join(folder, 'log'), 'utf8') : '');
    if (await within(accepts(port, child), () => `${name} speaks TLS`)) return { process: child, port };
    // Another process may have taken the port meanwhile.
    if (tries === 3) throw new Error(`${name} ended:\n${said.flatMap(({ all }) => all).join('\n')}\n${log()}\n${config}`);
  }
}

/** Sends a request, through a proxy unless `tls` is false, from an address of this machine that is not the proxy's. Returns the
    head of the answer, and closes the socket. */
export async function request(port, target, fields = {}, { from = '127.0.0.2', tls = true } = {}) {
  const options = { port, host: '127.0.0.1', localAddress: from, servername: HOST, rejectUnauthorized: false };
  const socket = (tls ? connectTls : connect)(options);
  const lines = Object.entries({ Host: HOST, ...fields }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET ${target} HTTP/1.1\r\n${lines.join('')}\r\n`);
  const answer = (async () => {
    let text = '';
    for await (const bytes of socket) {
      text += bytes.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end >= 0) return text.slice(0, end);
    }
    return text;
  })();
  try {
    return await within(answer, () => `an answer to ${target}`);
  } finally {
    socket.destroy();
  }
}

/** Opens a WebSocket on which only the server's pings and its own pongs are sent. Returns how many pings came until the
    connection was closed, at most `most`. */
export async function pings(port, most) {
  const socket = connectTls({ port, host: '127.0.0.1', servername: HOST, rejectUnauthorized: false });
  const lines = Object.entries({ Host: HOST, ...handshake() }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET /turma/ws HTTP/1.1\r\n${lines.join('')}\r\n`);
  let [received, isOpen, count] = [Buffer.alloc(0), false, 0];
  const counted = (async () => {
    try {
      for await (const bytes of socket) {
        received = Buffer.concat([received, bytes]);
        if (!isOpen) {
          const end = received.indexOf('\r\n\r\n');
          if (end < 0) continue;
          if (!received.toString('latin1').startsWith('HTTP/1.1 101 ')) throw new Error(received.toString('latin1'));
          [received, isOpen] = [received.subarray(end + 4), true];
        }
        // A ping is two bytes and its payload. The pong has the same payload, masked with zeros.
        while (received.length >= 2 && received.length >= 2 + received[1]) {
          const payload = received.subarray(2, 2 + received[1]);
          if (received[0] === 0x89) socket.write(Buffer.concat([Buffer.from([0x8a, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
          count += received[0] === 0x89 ? 1 : 0;
          if (count === most) return count;
          received = received.subarray(2 + payload.length);
        }
      }
    } catch (error) {
      if (error.code !== 'ECONNRESET') throw error;
    }
    return count;
  })();
  try {
    return await within(counted, () => `${most} pings`);
  } finally {
    socket.destroy();
  }
}

/** The fields of an opening handshake. */
export const handshake = () => ({
  Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
});
