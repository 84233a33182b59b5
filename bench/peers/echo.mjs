// npm `ws`, as a class would use it. `--deflate`: compresses with level 1, as framewise does.
import { WebSocketServer } from 'ws';

const deflate = process.argv.includes('--deflate') && { threshold: 64, zlibDeflateOptions: { level: 1 } };
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: deflate, maxPayload: 64 << 20 });
server.on('connection', (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })));
server.on('listening', () => console.log(`listening 127.0.0.1:${server.address().port}`));
