#!/usr/bin/env node
// A chat client: JSON events over a WebSocket, rooms, private messages, and a connection that comes back.
//
// Usage: node client.mjs NAME [ROOM] [URL]
// It needs Node.js 22 or later, which has WebSocket built in. With Node.js 20, type
//     node --experimental-websocket client.mjs NAME
// or install the package ws in this folder: npm install ws
//
//     Hello          says it to everybody in the room
//     @ana: Hello    says it to ana alone
//     /room 7b       goes to another room
//     /who           asks who is in the room
//     /exit          leaves

import { createInterface } from 'node:readline';

let [name, room = 'lobby', url = 'ws://localhost:8765/ws/events'] = process.argv.slice(2);
if (!name) quit('Usage: node client.mjs NAME [ROOM] [URL]');

const WebSocket = globalThis.WebSocket ?? (await import('ws').catch(() => null))?.default;
if (!WebSocket) quit('This Node.js has no WebSocket. Type: node --experimental-websocket client.mjs NAME, or: npm install ws');

function quit(why) {
  console.error(why);
  process.exit(2);
}

const keyboard = createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' });

/** Prints a line in place of the prompt, and the prompt again below it. */
function show(text) {
  // Whoever sends control characters could move the cursor and change what the terminal shows.
  process.stdout.write(`\r${text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?')}\n`);
  keyboard.prompt(true);
}

/** How many seconds to wait after so many failures: at most 1, 2, 4, 8, 16, then always 30, and at least half of it. */
const delay = (failures) => Math.min(30, 2 ** (failures - 1)) * (0.5 + Math.random() / 2);

let socket;
let failures = 0;
let isLeaving = false;

function connect() {
  socket = new WebSocket(url);
  socket.onopen = () => send({ type: 'join', room, name });
  socket.onmessage = ({ data }) => {
    failures = 0;
    receive(JSON.parse(data));
  };
  // Some versions report a connection that could not be opened with one of the two, some with both.
  const thisSocket = socket;
  socket.onclose = socket.onerror = () => {
    if (socket === thisSocket) lost();
  };
}

function lost() {
  socket = null;
  if (isLeaving) process.exit();
  failures += 1;
  if (failures === 1) show('Not connected. Trying again.');
  setTimeout(connect, 1000 * delay(failures));
}

/** Sends an event. Reports whether there is a connection to send it on. */
function send(event) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(event));
  return true;
}

/** Shows what an event says. A chat message is the only event without a type. */
function receive(event) {
  switch (event.type ?? 'message') {
    case 'message':
      return show(`${event.from ?? 'somebody'}${event.to ? ' to you alone' : ''}: ${event.message}`);
    case 'joined':
      name = event.name;
      room = event.room;
      return show(`You are ${name ?? 'nobody'} in ${room}.`);
    case 'who':
      return show(`In the room: ${event.names.join(', ')}`);
    case 'error':
      show(`error: ${event.error.message}`);
      if (event.error.code === 'name_taken') send({ type: 'join', room, name: event.error.free });
      return;
    default:
      show(JSON.stringify(event));
  }
}

/** Does what a typed line asks for. */
function typed(line) {
  const [, to, text] = /^@(.*?): (.*)$/.exec(line) ?? [];
  let event = { message: line };
  if (to) event = { message: text, to };
  if (line === '/who') event = { type: 'who' };
  if (line.startsWith('/room ')) event = { type: 'join', room: line.slice(6) };
  if (!send(event)) show('There is no connection, so this was not sent.');
}

keyboard.on('line', (line) => {
  if (line === '/exit') return keyboard.close();
  if (line) typed(line);
  keyboard.prompt();
});
// /exit, Ctrl+C, or the end of the input.
keyboard.on('close', () => {
  isLeaving = true;
  if (!socket) process.exit();
  socket.close(1000);
});
keyboard.prompt();
connect();
