// The classroom page. What others send is only ever put into text nodes.

import { Connection } from './connection.js';
import { browser, tab, takeToken } from './memory.js';
import { Outbox } from './outbox.js';
import { People } from './people.js';
import { preferredLanguage, say, translate } from './texts.js';

/** Entries that a view keeps; older ones go. */
const MAX_ENTRIES = 500;

/** After a loss or a reload the server may hold our name for the old connection, until it notices. So we ask every 5 s. */
const NAME_AGAIN_AFTER = 5000;

/** The close codes that the page explains. */
const CLOSE_MEANINGS = new Set([1000, 1001, 1002, 1006, 1007, 1008, 1009, 1011, 1012]);

/** The close codes for which a message of ours may be the reason: sending it again would only close the connection again. */
const CLOSES_FOR_A_MESSAGE = new Set([1002, 1007, 1009, 1011]);

const $ = (id) => document.getElementById(id);
takeToken('token');
const address = new URL(location.href);
/** What this visitor wants to be, whatever happens to connections. Another tab is somebody else. */
const wanted = { name: tab.get('name') ?? '', room: address.searchParams.get('room')?.normalize('NFC') || 'lobby' };
/** What the server knows of this connection. */
let me = { name: '', room: wanted.room };
/** The name and room that were asked for and not answered yet, with the id of the request. */
let joining = null;
/** The last name that the server gave us, and the timer that asks for it again. */
let [owned, nameTimer] = [wanted.name, 0];
/** The problem that is shown is over once there is a connection. */
let refused = false;
let lang = preferredLanguage();
let counts = { total: 0, sent: 0 };
/** The marks of our messages that have no final state yet. */
const marks = new Map();

const people = new People($('people'), $('names'), $('unnamed'));
const connection = new Connection(() => {
  const url = new URL('ws/events', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.searchParams.set('room', wanted.room);
  url.searchParams.set('client', outbox.client);
  const token = tab.get('token');
  if (token) url.searchParams.set('token', token);
  return url;
});
const outbox = new Outbox((event) => connection.send(event));

// What is shown.

function showState() {
  const state = connection.state;
  $('status').dataset.state = state;
  $('status').textContent = say(lang, state);
  $('toggle').textContent = say(lang, connection.wanted ? 'disconnect' : 'connect');
}

function showCounts() {
  $('total').textContent = counts.total.toLocaleString(lang);
  $('sent').textContent = counts.sent.toLocaleString(lang);
}

function showTime() {
  const seconds = connection.since ? Math.floor((performance.now() - connection.since) / 1000) : 0;
  const two = (number) => String(number).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  $('online').textContent = `${hours ? `${hours}:` : ''}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function showProblem(problem) {
  // A screen reader reads an alert again if it is set again.
  if ($('problem').textContent !== problem) $('problem').textContent = problem;
}

function element(tag, className) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  return made;
}

function text(tag, className, content) {
  const made = element(tag, className);
  made.textContent = content;
  return made;
}

/** One message, as both views show it. */
function entry({ message, timestamp, from, to }, own) {
  const item = element('div', own ? 'entry own' : 'entry');
  const head = element('p', 'head');
  head.append(text('bdi', 'from', own ? say(lang, 'you') : from ?? say(lang, 'anonymous')));
  if (to !== undefined) {
    head.append(' ', text('span', 'private', own ? say(lang, 'privatelyTo', to) : say(lang, 'privately')));
    item.classList.add('private-entry');
  }
  const time = text('time', '', new Date(timestamp).toLocaleTimeString(lang));
  time.dateTime = timestamp;
  head.append(' ', time);
  const body = text('p', 'body', message);
  body.dir = 'auto';
  item.append(head, body);
  return item;
}

function add(list, item) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  while (list.childElementCount > MAX_ENTRIES) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/** Shows what has become of a message of ours. */
function showMark({ id, state }, reason) {
  const mark = marks.get(id);
  if (!mark) return;
  mark.dataset.state = state;
  mark.textContent = say(lang, state === 'sent' ? 'sentMark' : state);
  mark.closest('.entry').classList.toggle('failed', state === 'failed');
  if (state === 'waiting' || state === 'sent') return;
  marks.delete(id);
  if (reason) showProblem(reason);
}

function notice(key, name) {
  add($('chat'), text('p', 'notice', say(lang, key, name ?? say(lang, 'anonymous'))));
}

// What comes in.

const heard = {
  ack: ({ id }) => outbox.answered(id),
  error({ id, error }) {
    if (outbox.answered(id, error.message)) return;
    showProblem(error.message);
    if (joining && joining.id === id) refuse(error);
  },
  // The server names the room as its first member spelled it.
  joined: ({ room, name = '' }) => settle(room, name),
  peer_joined({ name }) {
    people.came(name);
    if (name !== undefined) notice('joined', name);
  },
  peer_left({ name }) {
    people.went(name);
    if (name !== undefined) notice('left', name);
  },
  slowed_down() {
    add($('chat'), text('p', 'notice', say(lang, 'slowedDown')));
  },
  who(event) {
    // The room of a link may be spelled in another way than the room that it led to.
    if (event.room !== me.room) {
      me = { ...me, room: event.room };
      wanted.room = event.room;
      enter(event.room);
    }
    people.are(event, me.name);
  },
};

outbox.addEventListener('state', ({ detail: { message, reason } }) => {
  showMark(message, reason);
  if (message.state !== 'delivered') return;
  counts = { total: counts.total + 1, sent: counts.sent + 1 };
  showCounts();
});

/** Whether the name that we want is not ours on this connection. Until it is, our messages wait: they would have no name. */
const awaitsName = () => wanted.name !== '' && wanted.name !== me.name;

/** The server has refused a name or a room. A name that was ours may still be held by our old connection. */
function refuse({ code, message }) {
  const { name } = joining;
  joining = null;
  if (!awaitsName()) return;
  if (name === wanted.name && name !== owned) {
    wanted.name = '';
    return outbox.flush();
  }
  if (name === wanted.name && code === 'name_taken') showProblem(`${message}. ${say(lang, 'askingAgain')}`);
  clearTimeout(nameTimer);
  nameTimer = setTimeout(() => !joining && awaitsName() && join({ ...wanted }), NAME_AGAIN_AFTER);
}

/** The server has agreed, and we are in this room. */
function settle(room, name) {
  if (room !== me.room) notice('nowIn', room);
  [me, joining] = [{ name, room }, null];
  Object.assign(wanted, me);
  if (nameTimer) showProblem('');
  stopAsking();
  owned = me.name;
  if (me.name) [tab, browser].forEach((memory) => memory.set('name', me.name));
  enter(me.room);
  connection.send({ type: 'who' });
  outbox.flush();
}

function stopAsking() {
  clearTimeout(nameTimer);
  nameTimer = 0;
}

function enter(room) {
  // Not what is being typed.
  if (document.activeElement !== $('room') || !$('room').value) $('room').value = room;
  $('room-title').textContent = room;
  address.searchParams.set('room', room);
  if (room === 'lobby') address.searchParams.delete('room');
  history.replaceState(null, '', address);
}

connection.addEventListener('event', ({ detail: event }) => {
  if (Object.hasOwn(heard, event.type ?? '')) return heard[event.type](event);
  if (typeof event.message !== 'string') return;
  counts.total += 1;
  showCounts();
  add($('received'), entry(event, false));
  add($('chat'), entry(event, false));
});

connection.addEventListener('state', ({ detail }) => {
  showState();
  if (connection.state === 'connected') return opened();
  people.are({ names: [], unnamed: 0 }, '');
  stopAsking();
  if (connection.state === 'lost' && CLOSES_FOR_A_MESSAGE.has(detail.code)) outbox.fail(say(lang, `close${detail.code}`));
  else outbox.hold();
  if (connection.state === 'lost') lost(detail);
});

function opened() {
  if (refused) showProblem('');
  refused = false;
  $('token-form').hidden = true;
  [me, joining] = [{ name: '', room: wanted.room }, null];
  enter(me.room);
  if (wanted.name) join({ ...wanted });
  else outbox.flush();
  connection.send({ type: 'who' });
}

async function lost({ code, reason, wasOpen }) {
  if (wasOpen) {
    const meaning = say(lang, CLOSE_MEANINGS.has(code) ? `close${code}` : 'closeOther');
    showProblem(`${code}: ${meaning}${reason && ` (${reason})`}`);
    // If the server has gone and comes back, nothing is left to explain.
    refused = [1001, 1006, 1012].includes(code);
    return;
  }
  const refusal = await connection.refusal(lang);
  if (!refusal) return;
  // The server may have been restarted between the WebSocket and the question what became of it.
  if (refusal.status === 426 && connection.failures < 2) return;
  refused = true;
  if (refusal.status === 401) showProblem(say(lang, tab.get('token') ? 'tokenWrong' : 'tokenNeeded'));
  else showProblem(refusal.text || say(lang, 'proxyAnswered', refusal.status));
  // Asking again helps where there was no room or no server, or where nothing was refused.
  if (refusal.status >= 500 || [426, 429].includes(refusal.status)) return;
  connection.disconnect();
  if (refusal.status !== 401) return;
  tab.forget('token');
  $('token-form').hidden = false;
  $('token').focus();
}

// What goes out.

/** Asks for a name and a room; false if there is no connection. */
function join(wish) {
  const [{ name, room }, id] = [wish, outbox.newId()];
  if (!connection.send({ type: 'join', id, room, ...(name && { name }) })) return false;
  joining = { name, room, id };
  return true;
}

$('send').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const [message, to] = [$('message').value, $('to').value.trim()];
  if (!message) return $('message').focus();
  if (connection.state !== 'connected') return showProblem(say(lang, 'notConnected'));
  if (outbox.isFull) return showProblem(say(lang, 'tooManyWait'));
  if (!nameTimer) showProblem('');
  const event = { message, ...(to && { to }) };
  const kept = outbox.add(event);
  const item = entry({ ...event, timestamp: new Date().toISOString() }, true);
  marks.set(kept.id, text('span', 'mark', ''));
  item.querySelector('.head').append(' ', marks.get(kept.id));
  showMark(kept);
  if (!awaitsName()) outbox.flush();
  add($('chat'), item);
  $('chat').scrollTop = $('chat').scrollHeight;
  $('message').value = '';
  $('message').focus();
});

$('message').addEventListener('keydown', (key) => {
  // An input method confirms what it composed with Enter; Safari tells so by the key code 229 alone.
  if (key.key !== 'Enter' || key.shiftKey || key.isComposing || key.keyCode === 229) return;
  key.preventDefault();
  $('send').requestSubmit();
});

$('join').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const [name, room] = [$('name'), $('room')].map((input) => input.value.trim().normalize('NFC'));
  showProblem('');
  const wish = { name: name || me.name, room: room || 'lobby' };
  // Messages that wait were meant for the room that they were written in.
  if (wish.room !== wanted.room) outbox.fail(say(lang, 'roomLeft'), ({ state, event }) => state === 'waiting' && !event.to);
  if (join(wish)) return;
  // Without a connection it is what the next one begins with.
  Object.assign(wanted, wish);
  connection.connect();
});

$('token-form').addEventListener('submit', (submit) => {
  submit.preventDefault();
  tab.set('token', $('token').value);
  connection.reconnect();
});

$('toggle').addEventListener('click', () => (connection.wanted ? connection.disconnect() : connection.connect()));

$('lang').addEventListener('click', () => {
  lang = lang === 'pt' ? 'en' : 'pt';
  browser.set('lang', lang);
  show();
});

function show() {
  translate(document, lang);
  $('lang').textContent = say(lang, 'otherLanguage');
  $('lang').lang = lang === 'pt' ? 'en' : 'pt-BR';
  // It is there with --lessons.
  $('lessons')?.setAttribute('href', `lessons/${lang}`);
  const kept = Number($('kept').dataset.count);
  $('kept').textContent = kept > 0 ? say(lang, 'kept', kept) : say(lang, 'keptNone');
  showState();
  showCounts();
  people.speak(lang);
}

$('name').value = wanted.name || (browser.get('name') ?? '');
enter(wanted.room);
show();
setInterval(() => {
  showTime();
  outbox.expire(say(lang, 'notConfirmed'));
}, 1000);
connection.connect();
