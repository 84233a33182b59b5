// The wire page: a lane for each connection, and the bytes of one frame. The server decodes; this page only draws.
//
// Events are taken in when they arrive, and drawn once per frame of the screen. What is drawn and what is remembered is
// limited, so that a thousand frames a second do not freeze the page.

import { Connection } from './connection.js';
import { make } from './elements.js';
import { browser, tab, takeToken } from './memory.js';
import { preferredLanguage, say, translate } from './texts.js';
import { Drawing, ruleText } from './wire-draw.js';

/** Events that are remembered, events that wait while the page is paused, and connections that are listed. */
const [MAX_EVENTS, MAX_HELD, MAX_LANES] = [4000, 4000, 600];

/** Events that are drawn as chips, each in a column of its own, and lanes that are drawn. */
const [COLUMNS, MAX_ROWS] = [48, 40];

/** Milliseconds between two changes of the frame that is shown, as long as it is the newest one. */
const DETAIL_EVERY = 250;

const KINDS = ['handshake', 'text', 'binary', 'continuation', 'ping', 'pong', 'close', 'read'];
const STORE = 'teacher-token';

const $ = (id) => document.getElementById(id);
takeToken(STORE);

let lang = preferredLanguage();
let drawing = new Drawing(lang, $('rule'));
/** The connections by their numbers, and the events by theirs, the oldest first. */
const [lanes, events] = [new Map(), new Map()];
/** The events that are drawn, and those that wait while the page is paused. */
let [columns, held] = [[], []];
let [isPaused, showsNewest] = [false, true];
/** The event that is shown, the message that is followed, the start of the server. */
let [selected, followed, started] = [null, null, ''];
let [total, missed, notFollowed] = [0, 0, 0];
/** What has changed since the page was drawn. */
let [isScheduled, isLaneListNew, isRoomListNew] = [false, true, true];
let [detailAt, detailTimer, shownDetail] = [0, 0, ''];
/** The chips and the rows that are drawn. */
const [chips, rows] = [new Map(), new Map()];

const connection = new Connection(() => {
  const url = new URL('wire', location.href);
  url.hash = '';
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const token = tab.get(STORE);
  if (token) url.searchParams.set('token', token);
  return url;
});

// What comes in.

const heard = {
  hello(hello) {
    if (started !== hello.started) {
      for (const memory of [lanes, events]) memory.clear();
      [columns, held, selected, followed] = [[], [], null, null];
      [total, missed] = [0, 0];
    }
    started = hello.started;
    notFollowed = hello.more;
    hello.lanes.forEach(takeIn);
    openLink();
  },
  wire: ({ events: batch }) => batch.forEach(takeIn),
  missed: ({ events: count }) => (missed += count),
  event({ id, event }) {
    if (!event) return showProblem(say(lang, 'wireGone'));
    remember(event);
    if (wantedLink() === id) select(event);
  },
  lane({ events: kept }) {
    kept.forEach(remember);
    sortEvents();
    refilter();
  },
};

const news = {
  lane(lane) {
    lanes.set(lane.c, lane);
    isLaneListNew = isRoomListNew = true;
    if (lanes.size > MAX_LANES) lanes.delete(lanes.keys().next().value);
  },
  forget({ c }) {
    lanes.delete(c);
    columns = columns.filter((event) => event.c !== c);
    held = held.filter((event) => event.c !== c);
    for (const [id, event] of events) if (event.c === c) events.delete(id);
    isLaneListNew = isRoomListNew = true;
  },
  more: ({ n }) => (notFollowed = n),
  reset() {
    [lanes, events].forEach((memory) => memory.clear());
    [columns, held, isLaneListNew, isRoomListNew] = [[], [], true, true];
  },
};

function takeIn(event) {
  if (event.id === undefined) return news[event.k]?.(event);
  if (events.has(event.id)) return undefined;
  total += 1;
  remember(event);
  if (!isPaused) return addColumn(event);
  held.push(event);
  if (held.length > MAX_HELD) {
    held.shift();
    missed += 1;
  }
  return undefined;
}

function remember(event) {
  events.set(event.id, event);
  if (events.size > MAX_EVENTS) events.delete(events.keys().next().value);
}

/** Events that were asked for are older than those that came before them. */
function sortEvents() {
  const sorted = [...events.values()].sort((a, b) => a.id - b.id);
  events.clear();
  sorted.slice(-MAX_EVENTS).forEach((event) => events.set(event.id, event));
}

function addColumn(event) {
  if (!matches(event)) return;
  columns.push(event);
  if (columns.length > COLUMNS) columns.shift();
  if (showsNewest && event.k !== 'gap') selected = event;
}

// The filter.

const nameOf = (c) => lanes.get(c)?.name ?? `#${c}`;

/** The kind of an event, by which it is filtered. */
function kindOf(event) {
  if (event.k === 'frame') return event.opcode ?? 'text';
  return { head: 'handshake', body: 'handshake', closed: 'close' }[event.k] ?? 'read';
}

function laneMatches(lane) {
  const wanted = $('by-lane').value.trim().toLowerCase();
  const room = $('by-room').value;
  const names = [String(lane.c), `#${lane.c}`, lane.name?.toLowerCase() ?? '', lane.address];
  return (lane.ws || $('plain').checked) && (!room || lane.room === room)
    && (!wanted || names.some((name, at) => (at < 2 ? name === wanted : name.includes(wanted))));
}

function matches(event) {
  const lane = lanes.get(event.c);
  const isKind = event.broken || event.k === 'gap' || document.querySelector(`#by-kind input[value="${kindOf(event)}"]`)?.checked;
  return lane !== undefined && isKind && laneMatches(lane);
}

function refilter() {
  const waiting = new Set(held);
  columns = [];
  for (const event of [...events.values()].reverse()) {
    if (columns.length === COLUMNS) break;
    if (!waiting.has(event) && matches(event)) columns.unshift(event);
  }
  isLaneListNew = true;
  schedule();
}

// Drawing.

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(draw);
}

function draw() {
  isScheduled = false;
  if (isRoomListNew) drawRooms();
  drawRows();
  drawChips();
  drawCount();
  drawFollowed();
  const wait = detailAt + DETAIL_EVERY - performance.now();
  clearTimeout(detailTimer);
  if (wait <= 0 || !showsNewest) drawDetail();
  else detailTimer = setTimeout(drawDetail, wait);
}

function drawRooms() {
  isRoomListNew = false;
  const rooms = [...new Set([...lanes.values()].map(({ room }) => room).filter(Boolean))].sort();
  const wanted = $('by-room').value;
  const options = ['', ...rooms].map((room) => {
    const option = make('option', '', room || say(lang, 'wireAllRooms'));
    option.value = room;
    return option;
  });
  $('by-room').replaceChildren(...options);
  $('by-room').value = rooms.includes(wanted) ? wanted : '';
}

/** Open connections first, and then by number. */
const inOrder = (a, b) => b.open - a.open || a.c - b.c;

/** One row for each lane: those with chips, and then as many others as fit. Closed ones stand below the open ones. */
function drawRows() {
  const active = new Set(columns.map(({ c }) => c));
  if (!isLaneListNew && [...active].every((c) => rows.has(c))) return;
  isLaneListNew = false;
  const all = [...lanes.values()].filter(laneMatches);
  const withChips = all.filter(({ c }) => active.has(c)).sort(inOrder);
  const shown = [...withChips, ...all.filter(({ c, open }) => !active.has(c) && open)];
  const some = shown.slice(0, MAX_ROWS).sort(inOrder);
  const wanted = new Set(some.map(({ c }) => c));
  for (const [c, row] of rows) {
    if (wanted.has(c)) continue;
    row.remove();
    rows.delete(c);
  }
  let before = null;
  for (const lane of some) {
    const row = rows.get(lane.c) ?? newRow(lane.c);
    nameRow(row, lane);
    const next = () => (before ? before.nextSibling : $('lanes').firstChild);
    // An element that is moved loses the keyboard focus, so the others are moved instead.
    if (row.contains(document.activeElement)) while (next() !== row) $('lanes').append(next());
    else if (next() !== row) $('lanes').insertBefore(row, next());
    before = row;
  }
  const words = [];
  if (![...lanes.values()].some(({ ws }) => ws) && some.length === 0) words.push(say(lang, 'wireEmpty'));
  else if (some.length === 0) words.push(say(lang, 'wireFiltered'));
  if (shown.length > some.length) words.push(say(lang, 'wireMore', shown.length - some.length));
  if (notFollowed > 0) words.push(say(lang, 'wireNotFollowed', notFollowed));
  $('empty').textContent = words.join(' ');
}

function newRow(c) {
  const row = make('div', 'lane');
  const name = make('button', 'lane-name', make('span', 'who'), make('small', ''));
  name.type = 'button';
  name.addEventListener('click', () => {
    $('by-lane').value = $('by-lane').value === `#${c}` ? '' : `#${c}`;
    connection.send({ type: 'lane', lane: c });
    refilter();
  });
  row.append(name, make('div', 'track'));
  rows.set(c, row);
  return row;
}

function nameRow(row, lane) {
  row.classList.toggle('closed', !lane.open);
  const [who, where] = row.firstElementChild.children;
  const name = lane.name ? `${lane.name} (#${lane.c})` : `#${lane.c}`;
  const state = lane.open ? '' : ` · ✕ ${lane.code ?? ''}`;
  const room = lane.room ? ` · ${lane.room}` : '';
  set(who, `${name}${state}`);
  set(where, `${lane.path ?? ''}${room} · ${lane.address}`);
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The chip of each event in its lane and its column. At most as many elements as columns. */
function drawChips() {
  const list = $('lanes');
  const atEnd = showsNewest || list.scrollWidth - list.scrollLeft - list.clientWidth < 60;
  const wanted = new Set(columns);
  for (const [event, chip] of chips) {
    if (wanted.has(event) && rows.has(event.c)) continue;
    chip.remove();
    chips.delete(event);
  }
  const offset = COLUMNS - columns.length;
  columns.forEach((event, at) => {
    const track = rows.get(event.c)?.lastElementChild;
    if (!track) return;
    const chip = chips.get(event) ?? newChip(event);
    const column = String(offset + at + 1);
    if (chip.style.gridColumnStart !== column) chip.style.gridColumnStart = column;
    if (chip.parentElement !== track) track.append(chip);
    chip.classList.toggle('followed', followed !== null && keyOf(event) === followed);
    chip.setAttribute('aria-current', String(event === selected));
  });
  list.classList.toggle('has-followed', followed !== null);
  if (atEnd) list.scrollLeft = list.scrollWidth;
}

function newChip(event) {
  const minor = ['read', 'gap', 'rest', 'body'].includes(event.k) ? ' minor' : '';
  const [type, said] = labelOf(event);
  const chip = make('button', `chip ${event.d}${minor}${event.broken ? ' broken' : ''}`, type, make('small', '', said || '\u00a0'));
  chip.type = 'button';
  chip.title = `${directionOf(event)} · ${type} ${said}`;
  chip.dataset.id = event.id;
  chip.addEventListener('click', () => pin(event));
  chips.set(event, chip);
  return chip;
}

/** The two lines of a chip: an arrow and the type, and the beginning of what it carries. */
function labelOf(event) {
  const arrow = event.d === 'in' ? '▲' : '▼';
  const broken = event.broken ? `✖ ${event.broken.code ?? ''} ` : '';
  const [type, said = `${event.bytes} B`] = {
    head: () => [say(lang, event.d === 'in' ? 'wireRequest' : 'wireResponse'), event.lines[0]?.[1].slice(0, 40) ?? ''],
    frame: () => [`${event.opcode ?? '?'} ${event.length} B`, `${event.code ?? ''} ${(event.text ?? '').slice(0, 40)}`.trim()],
    read: () => [say(lang, 'wireRead')],
    gap: () => [say(lang, 'wireGap')],
    rest: () => [say(lang, 'wireRest')],
    body: () => [say(lang, 'wireBody')],
    closed: () => [say(lang, 'wireClosed'), `${event.code}`],
  }[event.k]?.() ?? [event.k, ''];
  return [`${arrow} ${broken}${type}`, said];
}

function directionOf({ c, d }) {
  const [client, server] = [`${say(lang, 'wireClient')} ${nameOf(c)}`, say(lang, 'wireServer')];
  return d === 'in' ? `${client} → ${server}` : `${server} → ${client}`;
}

function drawCount() {
  const words = [say(lang, 'wireCount', total.toLocaleString(lang))];
  if (isPaused) words.push(say(lang, 'wireHeld', held.length));
  if (missed > 0) words.push(say(lang, 'wireMissed', missed.toLocaleString(lang)));
  set($('count'), words.join(' · '));
}

// One event.

function drawDetail() {
  clearTimeout(detailTimer);
  detailAt = performance.now();
  const event = selected;
  const name = event && `${event.id} ${lang} ${followed} ${nameOf(event.c)}`;
  if (!event) set($('detail-heading'), say(lang, 'wireNothing'));
  if (!event || shownDetail === name) return;
  shownDetail = name;
  const room = lanes.get(event.c)?.room;
  const heading = [`${event.id}`, directionOf(event), room, `${(event.us / 1e6).toFixed(3)} s`].filter(Boolean).join(' · ');
  const link = make('a', '', say(lang, 'wireLink'));
  link.href = `#${linkOf(event)}`;
  const more = [link];
  if (keyOf(event)) {
    const follow = make('button', '', say(lang, followed === keyOf(event) ? 'wireUnfollow' : 'wireFollow'));
    follow.type = 'button';
    follow.id = 'follow';
    follow.addEventListener('click', () => {
      followed = followed === keyOf(event) ? null : keyOf(event);
      pin(event);
      $('follow')?.focus();
    });
    more.push(follow);
  }
  $('detail-heading').replaceChildren(make('span', '', heading), ...more);
  $('parts').replaceChildren(...drawing.parts(event));
  if (event.broken) {
    const { section, clause, code } = event.broken;
    $('rule').replaceChildren(make('h3', '', `✖ ${code ?? ''}`), make('p', '', ruleText(lang, event.broken)),
      make('p', 'clause', clause ? `${section} · §${clause}` : section));
  } else if (!$('rule').firstChild) {
    $('rule').replaceChildren(make('p', '', say(lang, 'wireRuleHint')));
  }
}

/** The message that an event belongs to: of a client, or passed on by the server because of it. */
function keyOf(event) {
  if (event.cause) return event.cause.join('/');
  return event.d === 'in' && event.message !== undefined ? `${event.c}/${event.message}` : null;
}

/** The way of the message that is followed: its sender, the server, and all receivers. */
function drawFollowed() {
  $('followed').hidden = followed === null;
  if (followed === null) return;
  const parts = [...events.values()].filter((event) => keyOf(event) === followed);
  const link = (event) => {
    const made = make('a', '', `${nameOf(event.c)}${event.d === 'in' ? ` '${(event.text ?? '').slice(0, 40)}'` : ''}`);
    made.href = `#${linkOf(event)}`;
    return made;
  };
  const [sent, received] = [parts.filter(({ d }) => d === 'in'), parts.filter(({ d }) => d === 'out')];
  const sender = sent.length > 0 ? sent.slice(0, 1).map(link) : [say(lang, 'wireUnknownSender')];
  const receivers = received.slice(0, 40).flatMap((event, at) => (at ? [', ', link(event)] : [link(event)]));
  const key = `${lang} ${parts.map(({ id }) => id)}`;
  if ($('followed').dataset.key === key) return;
  $('followed').dataset.key = key;
  $('followed').replaceChildren(...sender, ` ${say(lang, 'wireReceivers')} `, ...(receivers.length > 0 ? receivers : [say(lang, 'wireNobody')]));
}

/** Shows an event, and stays with it. */
function pin(event) {
  showsNewest = false;
  selected = event;
  showState();
  schedule();
}

function select(event) {
  showProblem('');
  pin(event);
}

// Links to events. The number of an event means something only while the server runs.

const run = () => Date.parse(started).toString(36);
const linkOf = (event) => `${event.id}.${run()}`;
const wantedLink = () => Number(location.hash.slice(1).split('.')[0]);

function openLink() {
  const [id, ofRun] = location.hash.slice(1).split('.');
  if (!/^\d+$/.test(id) || !started) return;
  if (ofRun !== run()) return showProblem(say(lang, 'wireOtherRun'));
  const known = events.get(Number(id));
  if (known) return select(known);
  connection.send({ type: 'event', id: Number(id) });
}

// The connection to the server.

connection.addEventListener('event', ({ detail }) => {
  if (Object.hasOwn(heard, detail.type ?? '')) heard[detail.type](detail);
  schedule();
});

connection.addEventListener('state', async ({ detail }) => {
  showState();
  if (connection.state === 'connected') {
    showProblem('');
    $('token-form').hidden = true;
  }
  if (connection.state !== 'lost' || detail.wasOpen) return;
  const refusal = await connection.refusal(lang);
  if (!refusal) return;
  if (refusal.status === 426 && connection.failures < 2) return;
  if (refusal.status === 401) showProblem(say(lang, tab.get(STORE) ? 'wireTokenWrong' : 'wireTokenNeeded'));
  else showProblem(refusal.text || say(lang, 'proxyAnswered', refusal.status));
  if (refusal.status >= 500 || [426, 429].includes(refusal.status)) return;
  connection.disconnect();
  if (refusal.status !== 401) return;
  tab.forget(STORE);
  $('token-form').hidden = false;
  $('token').focus();
});

function showProblem(problem) {
  set($('problem'), problem);
}

function showState() {
  $('status').dataset.state = connection.state;
  set($('status'), say(lang, connection.state));
  set($('pause'), say(lang, isPaused ? 'wireResume' : 'wirePause'));
  $('pause').setAttribute('aria-pressed', String(isPaused));
  $('newest').setAttribute('aria-pressed', String(showsNewest));
}

// What is clicked.

$('pause').addEventListener('click', () => {
  isPaused = !isPaused;
  if (!isPaused) held.splice(0).forEach(addColumn);
  showState();
  schedule();
});

/** The next event that the filter lets through. */
$('step').addEventListener('click', () => {
  isPaused = true;
  let next;
  do next = held.shift(); while (next && !matches(next));
  if (next) {
    addColumn(next);
    pin(next);
  }
  showState();
  schedule();
});

$('newest').addEventListener('click', () => {
  showsNewest = !showsNewest;
  if (showsNewest && columns.length > 0) selected = columns.at(-1);
  showState();
  schedule();
});

$('filter').addEventListener('input', refilter);
$('filter').addEventListener('submit', (submit) => submit.preventDefault());
addEventListener('hashchange', openLink);

$('token-form').addEventListener('submit', (submit) => {
  submit.preventDefault();
  tab.set(STORE, $('token').value);
  connection.reconnect();
});

$('lang').addEventListener('click', () => {
  lang = lang === 'pt' ? 'en' : 'pt';
  browser.set('lang', lang);
  show();
});

function show() {
  drawing = new Drawing(lang, $('rule'));
  translate(document, lang);
  $('lang').textContent = say(lang, 'otherLanguage');
  $('lang').lang = lang === 'pt' ? 'en' : 'pt-BR';
  chips.forEach((chip) => chip.remove());
  chips.clear();
  $('rule').replaceChildren();
  [isLaneListNew, isRoomListNew] = [true, true];
  showState();
  schedule();
}

for (const kind of KINDS) {
  const box = make('input', '');
  Object.assign(box, { type: 'checkbox', value: kind, checked: true });
  const text = make('span', '', kind);
  const label = make('label', 'check', box, text);
  $('by-kind').append(label);
}

show();
connection.connect();
