// A conversation with each server, by a client that nobody here wrote: node class.mjs ADDRESS...
import { once } from 'node:events';
import WebSocket from 'ws';

const SCRIPT = '<script>document.title = "taken"</script><img src="http://example.org/x" onerror="alert(1)">';

for (const address of process.argv.slice(2)) {
  const open = async (path) => {
    const socket = new WebSocket(`ws://${address}${path}`, { headers: { Cookie: 'id=segredo', 'X-Note': SCRIPT } });
    await once(socket, 'open');
    return socket;
  };
  const echo = await open('/echo?token=segredo');
  const messages = ['Olá', SCRIPT, 'x'.repeat(3000), '€'.repeat(30000), Buffer.from([0, 255, 128]), ''];
  for (const message of messages) {
    echo.send(message);
    await once(echo, 'message');
  }
  // One message in three frames, with a ping between them.
  echo.send('frag', { fin: false });
  echo.ping('between');
  echo.send('men', { fin: false });
  echo.send('tos ✓', { fin: true });
  await once(echo, 'message');
  // Several frames in one write.
  const one = ['a', 'b', 'c'];
  const rest = new Promise((resolve) => {
    let count = 0;
    echo.on('message', () => ++count === one.length && resolve());
  });
  echo._socket.cork();
  one.forEach((text) => echo.send(text));
  echo._socket.uncork();
  await rest;
  echo.close(4000, 'até logo');
  await once(echo, 'close');
  const broken = await open('/echo?token=segredo');
  broken._socket.write(Buffer.from('810548656c6c6f', 'hex'));
  await once(broken, 'close');
}
