// An echo server that answers a little later than it reads: node echo.mjs
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 }, () => console.log('listening', server.address().port));
server.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => setImmediate(() => socket.send(data, { binary: isBinary })));
});
