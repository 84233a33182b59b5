// npm `ws`, as a class would use it. `--deflate`: compresses with level 1, as framewise does. `--tls-cert FILE --tls-key FILE`:
// behind the HTTPS server of Node.js.
import { readFileSync } from 'node:fs';
import { createServer as createPlain } from 'node:http';
import { createServer as createSecure } from 'node:https';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const { values } = parseArgs({
    options: { deflate: { type: 'boolean' }, 'tls-cert': { type: 'string' }, 'tls-key': { type: 'string' } },
});
const perMessageDeflate = values.deflate && { threshold: 64, zlibDeflateOptions: { level: 1 } };
const http = values['tls-cert']
    ? createSecure({ cert: readFileSync(values['tls-cert']), key: readFileSync(values['tls-key']) })
    : createPlain();
const server = new WebSocketServer({ server: http, perMessageDeflate, maxPayload: 64 << 20 });
server.on('connection', (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })));
http.listen(0, '127.0.0.1', () => console.log(`listening 127.0.0.1:${http.address().port}`));
