// A server on npm `ws` for the client of the library. The path selects its behaviour, as in `server.py`.
import { WebSocketServer } from 'ws';

const big = Buffer.from(Uint8Array.from({ length: 1 << 20 }, (_, n) => n % 251));

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
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
server.on('listening', () => console.log(`listening ${server.address().port}`));
