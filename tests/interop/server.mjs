// A server on npm `ws` for the client of the library. The path selects its behaviour, as in `server.py`.
// With two arguments, the files of a certificate and its key, it speaks TLS.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { WebSocketServer } from 'ws';

const big = Buffer.from(Uint8Array.from({ length: 1 << 20 }, (_, n) => n % 251));

const [cert, key] = process.argv.slice(2).map((file) => readFileSync(file));
const listener = cert ? https.createServer({ cert, key }) : http.createServer();
const server = new WebSocketServer({
  server: listener,
  handleProtocols: (offered) => (offered.has('chat') ? 'chat' : false),
});
server.on('connection', (socket, request) => {
  const [, what, code] = request.url.split('/');
  if (what === 'echo') socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  if (what === 'fragments') {
    socket.on('message', (data, isBinary) => {
      for (let at = 0; at < data.length; at += 3) {
        socket.send(data.subarray(at, at + 3), { binary: isBinary, fin: at + 3 >= data.length });
      }
    });
  }
  if (what === 'ping') {
    socket.ping('are you there');
    socket.on('pong', (payload) => socket.send(payload.toString() === 'are you there' ? 'pong seen' : 'wrong pong'));
  }
  if (what === 'close') socket.close(Number(code), 'because');
  if (what === 'big') socket.send(big);
});
listener.listen(0, '127.0.0.1', () => console.log(`listening ${listener.address().port}`));
