// The classroom page. What others send is only ever put into text nodes.

import { Connection } from './connection.js';
import { browser, tab } from './memory.js';
import { People } from './people.js';
import { preferredLanguage, say, translate } from './texts.js';

/** Entries that a view keeps; older ones go. */
const MAX_ENTRIES = 500;

/** Private messages that an error may still come for. */
const MAX_TOLD = 50;

/** After a loss the server may hold our name for the old connection, until it notices: milliseconds, and how often. */
const [NAME_AGAIN_AFTER, NAME_TRIES] = [5000, 12];

const $ = (id) => document.getElementById(id);
const address = new URL(location.href);
/** What this visitor wants to be, whatever happens to connections. Another tab is somebody else. */
/** The close codes that the page explains. */
const CLOSE_MEANINGS = new Set([1000, 1001, 1002, 1006, 1007, 1008, 1009, 1011, 1012]);

const wanted = { name: tab.get('name') ?? '', room: address.searchParams.get('room')?.normalize('NFC') || 'lobby' };
// A token in the address would be on the wall with it.
if (address.searchParams.has('token')) {
  tab.set('token', address.searchParams.get('token'));
  address.searchParams.delete('token');
  history.replaceState(null, '', address);
}
/** What the server knows of this connection. */
let me = { name: '', room: wanted.room };
/** What was asked for and not answered yet. */
let joining = null;
/** The last name that the server gave us, and how often we still ask for it again. */
let [owned, nameTries] = ['', 0];
/** The problem that is shown is over once there is a connection. */
let refused = false;
let lang = preferredLanguage();
let counts = { total: 0, sent: 0 };
/** What we said to one person, and how it is shown: the last few, of which an error may still come. */
let told = [];

const people = new People($('people'), $('names'), $('unnamed'));
const connection = new Connection(() => {
  const url = new URL('ws/events', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.searchParams.set('room', wanted.room);
  const token = tab.get('token');
  if (token) url.searchParams.set('token', token);
  return url;
});

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
  $('problem').textContent = problem;
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

function notice(key, name) {
  add($('chat'), text('p', 'notice', say(lang, key, name ?? say(lang, 'anonymous'))));
}

// What comes in.

const heard = {
  error({ error }) {
    showProblem(error.message);
    if (error.code === 'no_such_peer') failed(error.message);
    if (error.code !== 'name_taken' && error.code !== 'invalid_name') return;
    joining = null;
    if (nameTries === 0) return;
    nameTries -= 1;
    setTimeout(() => !me.name && !joining && join({ ...wanted }), NAME_AGAIN_AFTER);
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

/** What we said to somebody reached nobody: the error names them. */
function failed(message) {
  const at = told.findIndex(({ to }) => message.includes(`'${to}'`));
  if (at < 0) return;
  const [{ item }] = told.splice(at, 1);
  item.classList.add('failed');
  item.querySelector('.head').append(' ', text('span', 'problem', say(lang, 'notDelivered')));
  counts = { total: counts.total - 1, sent: counts.sent - 1 };
  showCounts();
}

/** The server has agreed, and we are in this room. */
function settle(room, name) {
  if (room !== me.room) notice('nowIn', room);
  [me, joining] = [{ name, room }, null];
  Object.assign(wanted, me);
  if (nameTries > 0) showProblem('');
  [owned, nameTries] = [me.name, 0];
  if (me.name) [tab, browser].forEach((memory) => memory.set('name', me.name));
  enter(me.room);
  connection.send({ type: 'who' });
}

function enter(room) {
  // Not what is being typed.
  if (document.activeElement !== $('room') || !$('room').value) $('room').value = room;
  $('room-title').textContent = room;
  address.searchParams.set('room', room);
  if (room === 'lobby') address.searchParams.delete('room');
  history.replaceState(null, '', address);
}

connection.addEventListener('event', ({ detail }) => {
  let event;
  try {
    event = JSON.parse(detail);
  } catch {
    return;
  }
  if (Object.hasOwn(heard, event.type ?? '')) return heard[event.type](event);
  if (typeof event.message !== 'string') return;
  counts.total += 1;
  showCounts();
  add($('received'), entry(event, false));
  add($('chat'), entry(event, false));
});

connection.addEventListener('state', ({ detail }) => {
  showState();
  if (connection.state !== 'connected') people.are({ names: [], unnamed: 0 }, '');
  if (connection.state === 'connected') opened();
  if (connection.state === 'lost') lost(detail);
});

function opened() {
  if (refused) showProblem('');
  refused = false;
  $('token-form').hidden = true;
  // Only who had the name before has a reason to wait for it.
  nameTries = owned && owned === wanted.name ? NAME_TRIES : 0;
  [me, joining] = [{ name: '', room: wanted.room }, null];
  enter(me.room);
  if (wanted.name) join({ ...wanted });
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
  if (!refusal || connection.state !== 'lost') return;
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
  const { name, room } = wish;
  if (!connection.send({ type: 'join', room, ...(name && { name }) })) return false;
  joining = wish;
  return true;
}

$('send').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const [message, to] = [$('message').value, $('to').value.trim()];
  if (!message) return $('message').focus();
  if (!connection.send(to ? { message, to } : { message })) return showProblem(say(lang, 'notConnected'));
  showProblem('');
  counts = { total: counts.total + 1, sent: counts.sent + 1 };
  showCounts();
  const event = { message, timestamp: new Date().toISOString(), ...(to && { to }) };
  const item = entry(event, true);
  if (to) told = [...told, { to, item }].slice(-MAX_TOLD);
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
  nameTries = 0;
  const wish = { name: name || me.name, room: room || 'lobby' };
  if (join(wish)) return;
  // Without a connection it is what the next one begins with.
  Object.assign(wanted, wish);
  connection.connect();
});

$('token-form').addEventListener('submit', (submit) => {
  submit.preventDefault();
  tab.set('token', $('token').value);
  connection.connect();
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
  showState();
  showCounts();
  people.speak(lang);
}

$('name').value = wanted.name || (browser.get('name') ?? '');
enter(wanted.room);
show();
setInterval(showTime, 1000);
connection.connect();
