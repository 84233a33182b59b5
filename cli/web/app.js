// The classroom page. What others send is only ever put into text nodes.

import { Connection } from '/connection.js';
import { preferredLanguage, say, translate } from '/texts.js';

/** Entries that a view keeps; older ones go. */
const MAX_ENTRIES = 500;

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const me = { name: localStorage.getItem('framewise.name') ?? '', room: parameters.get('room') || 'lobby' };
let lang = preferredLanguage();
let counts = { total: 0, sent: 0 };

const connection = new Connection(() => {
  const url = new URL('/ws/events', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.searchParams.set('room', me.room);
  const token = parameters.get('token');
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
  const seconds = connection.since ? Math.floor((Date.now() - connection.since) / 1000) : 0;
  const two = (number) => String(number).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  $('online').textContent = `${hours ? `${hours}:` : ''}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function showPeople({ names, unnamed, more = 0 }) {
  const items = names.map((name) => {
    const item = element('li', 'person');
    item.append(text('bdi', '', name));
    if (name === me.name) item.append(` (${say(lang, 'you')})`);
    return item;
  });
  $('people').replaceChildren(...items);
  $('names').replaceChildren(...names.filter((name) => name !== me.name).map((name) => {
    const option = document.createElement('option');
    option.value = name;
    return option;
  }));
  $('unnamed').textContent = unnamed + more > 0 ? say(lang, 'unnamed', unnamed + more) : '';
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
  },
  joined({ room, name }) {
    // The answer to our own event and the news about others look alike; only ours can be about our name.
    if (name !== undefined && name !== me.name) notice('joined', name);
    else if (room !== me.room) enter(room);
    ask();
  },
  left({ room, name }) {
    if (name !== undefined && name !== me.name && room === me.room) notice('left', name);
    ask();
  },
  who(event) {
    if (event.room === me.room) showPeople(event);
  },
};

function enter(room) {
  me.room = room;
  $('room').value = room;
  $('room-title').textContent = room;
}

let asked = 0;
/** Asks who is here, once for all that happens at the same moment. */
function ask() {
  clearTimeout(asked);
  asked = setTimeout(() => connection.send({ type: 'who' }), 100);
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

connection.addEventListener('state', () => {
  showState();
  if (connection.state !== 'connected') return;
  showProblem('');
  if (me.name) connection.send({ type: 'join', name: me.name, room: me.room });
  ask();
});

// What goes out.

$('send').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const [message, to] = [$('message').value, $('to').value.trim()];
  if (!message) return $('message').focus();
  if (!connection.send(to ? { message, to } : { message })) return showProblem(say(lang, 'notConnected'));
  showProblem('');
  counts = { total: counts.total + 1, sent: counts.sent + 1 };
  showCounts();
  const event = { message, timestamp: new Date().toISOString(), ...(to && { to }) };
  add($('chat'), entry(event, true));
  $('chat').scrollTop = $('chat').scrollHeight;
  $('message').value = '';
  $('message').focus();
});

$('message').addEventListener('keydown', (key) => {
  if (key.key !== 'Enter' || key.shiftKey || key.isComposing) return;
  key.preventDefault();
  $('send').requestSubmit();
});

$('join').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const [name, room] = [$('name').value.trim(), $('room').value.trim() || 'lobby'];
  showProblem('');
  const event = { type: 'join', room, ...(name && { name }) };
  if (!connection.send(event)) return showProblem(say(lang, 'notConnected'));
  me.name = name || me.name;
  localStorage.setItem('framewise.name', me.name);
  enter(room);
  ask();
});

$('toggle').addEventListener('click', () => (connection.wanted ? connection.disconnect() : connection.connect()));

$('lang').addEventListener('click', () => {
  lang = lang === 'pt' ? 'en' : 'pt';
  localStorage.setItem('framewise.lang', lang);
  show();
});

function show() {
  translate(document, lang);
  $('lang').textContent = say(lang, 'otherLanguage');
  $('lang').lang = lang === 'pt' ? 'en' : 'pt-BR';
  showState();
  showCounts();
  ask();
}

$('name').value = me.name;
enter(me.room);
show();
setInterval(showTime, 1000);
connection.connect();
