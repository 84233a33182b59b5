// The page that explains bytes. The server decodes them, over a WebSocket; this page draws what it says, and encodes the frame
// of the stepper. The state of the page is in the fragment of its address, which browsers do not send.

import { Connection } from './connection.js';
import { copyText } from './copy.js';
import { make } from './elements.js';
import './explain-texts.js';
import { browser, tab, takeToken } from './memory.js';
import { preferredLanguage, say, translate } from './texts.js';

/** Milliseconds without a key press until the input is sent, bytes that are drawn at once, and digits in the command line. */
const [TYPE_PAUSE, BYTES_DRAWN, MAX_COMMAND] = [200, 256, 4000];

const OPCODES = { 0: 'continuation', 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' };

const HANDSHAKE = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
const OFFER = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n';
const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n';
const ECHO = 'GET /echo HTTP/1.1\r\nHost: localhost:8765\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
/** "Hello", compressed and masked. */
const COMPRESSED = 'c18737fa213dc5b2ecf4fefd21';
/** Who sends it, digits or the text of heads, and how messages are compressed. */
const EXAMPLES = {
  exampleHello: ['client', '818537fa213d7f9f4d5158'],
  exampleServer: ['server', '810548656c6c6f'],
  exampleUnmasked: ['client', '810548656c6c6f'],
  exampleFragments: ['client', '018337fa213d7f9f4d898037fa213d808237fa213d5b95'],
  examplePing: ['client', '898537fa213d7f9f4d5158'],
  exampleClose: ['client', '888237fa213d3412'],
  exampleBadClose: ['client', '888237fa213d3417'],
  exampleReserved: ['client', '838037fa213d'],
  exampleUtf8: ['client', '818237fa213df4d2'],
  exampleLong: ['client', '81ff000000000000000537fa213d7f9f4d5158'],
  exampleRequest: ['client', `${ECHO}${HANDSHAKE}`],
  exampleResponse: ['server', `${SWITCHING}\r\n`],
  exampleDeflate: ['client', COMPRESSED, 'on'],
  exampleHandshake: ['client', `${ECHO}${OFFER}${HANDSHAKE}${SWITCHING}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n${COMPRESSED}`],
};

const $ = (id) => document.getElementById(id);
takeToken('token');

let lang = preferredLanguage();
/**
 * What is explained: the bytes in hexadecimal, who sends them ('' if that follows from the bytes), and how messages are
 * compressed ('' for not at all).
 */
let state = { hex: EXAMPLES.exampleHello[1], from: 'client', deflate: '' };
/** The last response of the server to this state, and the frames in it. */
let [explained, frames, chosenFrame] = [null, [], 0];
/** The number of the last question, and the question that waits for the response to another one. */
let [asked, pending, isWaiting] = [0, null, false];
/** The number of the last sending, and whether it goes on. */
let [sent, isSending, lastReceived] = [0, false, null];
let [drawnBytes, focusedBit, typing] = [BYTES_DRAWN, 0, 0];

const connection = new Connection(() => {
  const url = new URL('explain/ws', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const token = tab.get('token');
  if (token) url.searchParams.set('token', token);
  return url;
});

// Bytes and digits.

const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
const toBytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const spaced = (hex) => hex.replace(/(..)(?=.)/g, '$1 ');
/** Digits without spaces, or null if it is something else, or an odd number of digits. */
function digitsOf(text) {
  const digits = text.replace(/\s|0x/gi, '').toLowerCase();
  return /^([0-9a-f]{2})*$/.test(digits) ? digits : null;
}

/** Encodes a frame of which every field can be chosen, also against the rules. */
function encode({ fin, rsv, opcode, mask, form, key, payload }) {
  const bytes = [(fin << 7) | (rsv << 4) | opcode];
  const length = payload.length;
  const short = { 7: length, 16: 126, 64: 127 }[form];
  bytes.push((mask << 7) | short);
  const width = { 7: 0, 16: 2, 64: 8 }[form];
  for (let at = width - 1; at >= 0; at -= 1) bytes.push(Math.floor(length / 256 ** at) % 256);
  if (mask) bytes.push(...key);
  const body = mask ? payload.map((byte, at) => byte ^ key[at % 4]) : payload;
  const whole = new Uint8Array(bytes.length + body.length);
  whole.set(bytes);
  whole.set(body, bytes.length);
  return whole;
}

// Asking the server.

/** Asks what the bytes mean. While the server has not answered, only the newest question waits. */
function ask(question) {
  pending = question;
  if (isWaiting) return;
  asked += 1;
  isWaiting = connection.send({ type: 'explain', id: asked, lang, ...question });
  if (isWaiting) pending = null;
}

function askState() {
  const { hex, from, deflate } = state;
  if (!hex) return showProblem('');
  ask({ input: hex, as: 'hex', ...(from && { from }), ...(deflate && { deflate }) });
}

/** What the visitor has typed, as a question. */
function typed() {
  const [text, from, deflate] = [$('input').value, $('from').value, $('deflate').value];
  const known = { ...(from && { from }), ...(deflate && { deflate }) };
  if ($('as').value === 'message') {
    const mask = from !== 'server';
    const payload = new TextEncoder().encode(text);
    const form = payload.length < 126 ? 7 : payload.length < 65536 ? 16 : 64;
    const key = crypto.getRandomValues(new Uint8Array(4));
    return { input: toHex(encode({ fin: 1, rsv: 0, opcode: 1, mask, form, key, payload })), as: 'hex', ...known };
  }
  // A text field has line feeds. Lines of HTTP end with CR LF.
  const isHead = /^[A-Z]+ |^HTTP\//.test(text);
  return { input: isHead ? text.replace(/\r?\n/g, '\r\n') : text, ...known };
}

function answered() {
  isWaiting = false;
  const next = pending;
  if (next) ask(next);
  return !next;
}

const heard = {
  explained(answer) {
    if (answer.id !== asked || !answered()) return;
    const isOther = answer.hex !== state.hex;
    state.hex = answer.hex;
    if (isOther) drawnBytes = BYTES_DRAWN;
    explained = answer;
    showProblem('');
    show();
  },
  received(answer) {
    if (answer.id !== sent) return;
    isSending = answer.ended === null;
    lastReceived = answer;
    showReceived();
  },
  error({ id, error }) {
    if (id === sent && isSending) {
      isSending = false;
      $('send-problem').textContent = error.message;
      return showReceived();
    }
    if (id === undefined || (id === asked && answered())) showProblem(error.message);
  },
};

// Drawing.

function showProblem(problem) {
  if ($('problem').textContent !== problem) $('problem').textContent = problem;
}

function showState() {
  $('status').dataset.state = connection.state;
  $('status').textContent = say(lang, connection.state);
}

const nameOf = (item) => item.name ?? say(lang, { payload: 'explainPayloadData', head: 'explainHead', body: 'explainBody', unread: 'explainUnread' }[item.kind]);

function valueOf(item) {
  if (item.value === undefined || item.name === 'masking key') return '';
  if (item.name !== 'opcode') return item.value;
  return `${Number(item.value).toString(16).toUpperCase()} (${OPCODES[item.value] ?? say(lang, 'explainReserved')})`;
}

/** The lines of a verdict, with a sign instead of the arrow of the command line. */
const verdictOf = ({ lines }, sign = '') => lines.map((line) => line.trim().replace(/^=> /, sign)).join('\n').trim();

/** Draws the items of a response, at most so many bytes. `isOurs` bits can be flipped. */
function draw(box, { items, hex, shortened }, most, isOurs) {
  const parts = [];
  const broken = items.flatMap(({ places = [] }) => places);
  const isBroken = (bit) => broken.some(([start, end]) => bit >= start && bit < end);
  const bitOf = (at) => (parseInt(hex[at >> 2], 16) >> (3 - (at & 3))) & 1;
  const drawBit = (at, name) => {
    const bit = make(isOurs ? 'button' : 'span', 'bit', String(bitOf(at)));
    bit.dataset.bit = bitOf(at);
    if (isBroken(at)) bit.classList.add('broken');
    if (!isOurs) return bit;
    bit.type = 'button';
    bit.dataset.at = at;
    bit.tabIndex = at === focusedBit ? 0 : -1;
    const label = say(lang, 'explainBit', at >> 3, at & 7, name, bitOf(at));
    bit.ariaLabel = isBroken(at) ? `${label} (${say(lang, 'explainBreaks')})` : label;
    return bit;
  };
  const drawByte = (byte, name) => {
    const cell = make('span', 'cell');
    const digits = hex.slice(byte * 2, byte * 2 + 2);
    const code = parseInt(digits, 16);
    cell.append(make('span', 'byte', code > 32 && code < 127 ? `${digits} ${String.fromCharCode(code)}` : digits));
    const bits = make('span', 'row-of-bits');
    for (let at = byte * 8; at < byte * 8 + 8; at += 1) bits.append(drawBit(at, name));
    cell.append(bits);
    return cell;
  };
  let left = 0;
  for (const item of items) {
    if (!item.bits) {
      const sign = { valid: '✓', broken: '✗', incomplete: '…', decoded: '' }[item.kind];
      const text = make('p', `sign ${item.kind} whole`, verdictOf(item, `${sign} `));
      if (item.clause) text.textContent += `\n${say(lang, 'explainClause', item.clause, item.code)}`;
      parts.push(text);
      continue;
    }
    const [start, end] = item.bits;
    if (start >= most * 8) {
      left += (end - start) / 8;
      continue;
    }
    const name = nameOf(item);
    const field = make('div', 'field');
    field.dataset.kind = item.kind;
    if (item.name) field.dataset.field = item.name;
    if (item.name === 'FIN') field.classList.add('first');
    const mark = isBroken(start) || broken.some(([at]) => at >= start && at < end) ? ' ✗' : '';
    field.append(make('span', 'name', name + mark));
    if (end - start < 8) {
      // The whole byte stands above its first bit. Elsewhere a space keeps the rows level.
      field.append(make('span', 'byte', start % 8 ? '\u00a0' : hex.slice(start / 4, start / 4 + 2)));
      const bits = make('span', 'row-of-bits');
      for (let at = start; at < end; at += 1) bits.append(drawBit(at, name));
      field.append(bits);
    } else {
      const cells = make('span', 'cells');
      const last = Math.min(end / 8, most);
      for (let byte = start / 8; byte < last; byte += 1) cells.append(drawByte(byte, name));
      left += end / 8 - last;
      // Of a response that has come back, the text is of more interest than the bits.
      const isFolded = !isOurs && item.kind === 'head';
      const folded = make('details', '');
      folded.append(make('summary', '', say(lang, 'explainBits')), cells);
      field.append(isFolded ? folded : cells);
    }
    const value = [valueOf(item), item.section && `§${item.section}`].filter(Boolean).join(' · ');
    if (value) field.append(make('span', 'value', value));
    if (item.kind !== 'bits' && item.kind !== 'unread') {
      field.classList.add('whole');
      const rows = make('pre', '', item.lines.join('\n').trimEnd());
      rows.tabIndex = 0;
      field.append(rows);
    }
    parts.push(field);
  }
  if (left >= 1 && isOurs) {
    const more = make('button', 'whole', say(lang, 'explainMore', Math.min(Math.ceil(left), BYTES_DRAWN)));
    more.type = 'button';
    more.id = 'more';
    more.addEventListener('click', () => {
      drawnBytes += BYTES_DRAWN;
      show();
    });
    parts.push(more);
  }
  if (shortened) parts.push(make('p', 'note whole', say(lang, 'explainShortened')));
  box.replaceChildren(...parts);
}

function showVerdict() {
  const { code, items, sender, note } = explained;
  const verdict = make('p', 'verdict', say(lang, `explainCode${code}`));
  verdict.dataset.code = code;
  const parts = [verdict, make('p', 'note', sender)];
  for (const item of items.filter(({ kind }) => kind === 'broken' || kind === 'incomplete')) {
    parts.push(make('p', 'verdict-line', verdictOf(item)));
    if (item.clause) parts.push(make('p', 'note', say(lang, 'explainClause', item.clause, item.code)));
  }
  if (note) parts.push(make('p', 'note', note));
  $('verdict').replaceChildren(...parts);
}

function show() {
  const bitsHadFocus = $('bits').contains(document.activeElement);
  const bits = state.hex.length * 4;
  focusedBit = Math.max(0, Math.min(focusedBit, Math.min(bits, drawnBytes * 8) - 1));
  draw($('bits'), explained, drawnBytes, true);
  if (bitsHadFocus) bitAt(focusedBit)?.focus();
  showVerdict();
  $('output').textContent = `${explained.sender}\n\n${explained.items.flatMap(({ lines }) => lines).join('\n')}`;
  frames = explained.frames;
  showStepper();
  showCommand();
  const { from, deflate, hex } = state;
  const fragment = new URLSearchParams({ ...(from && { from }), ...(deflate && { deflate }), hex, path: $('path').value });
  if (location.hash !== `#${fragment}`) history.replaceState(null, '', `#${fragment}`);
}

function command() {
  const from = state.from || explained?.from;
  const option = (name, value) => (value ? ` --${name} ${value}` : '');
  const start = `framewise explain${option('from', from)}${option('deflate', state.deflate)}`;
  return state.hex.length > MAX_COMMAND ? `${start} --hex frame.hex` : `${start} ${state.hex}`;
}

function showCommand() {
  const isLong = state.hex.length > MAX_COMMAND;
  $('command').textContent = isLong ? `${command()}   # ${say(lang, 'explainSaveHex')}` : command();
}

const bitAt = (at) => $('bits').querySelector(`[data-at="${at}"]`);

/** Takes bytes that the page itself has made. */
function change(hex) {
  // The side stays the same, although the bytes may now suggest the other one.
  state = { ...state, hex, from: state.from || explained?.from || '' };
  $('from').value = state.from;
  $('as').value = 'bytes';
  $('input').value = spaced(hex);
  askState();
}

function flip(at) {
  const digit = parseInt(state.hex[at >> 2], 16) ^ (8 >> (at & 3));
  change(state.hex.slice(0, at >> 2) + digit.toString(16) + state.hex.slice((at >> 2) + 1));
}

// The stepper.

const radio = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;

function utf8(bytes) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // A field of one line cannot hold line breaks.
    return /[\r\n\0]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

function showStepper() {
  const has = frames.length > 0;
  [$('stepper').hidden, $('no-frame').hidden] = [!has, has];
  if (!has) return;
  chosenFrame = Math.min(chosenFrame, frames.length - 1);
  $('frame').replaceChildren(...frames.map(({ start }, at) => new Option(say(lang, 'explainFrameOf', at + 1, frames.length, start), at)));
  $('frame').value = chosenFrame;
  const { first, masked, form, key, clear } = frames[chosenFrame];
  ['fin', 'rsv1', 'rsv2', 'rsv3'].forEach((id, at) => ($(id).checked = Boolean(first & (128 >> at))));
  $('opcode').value = first & 15;
  $('mask').checked = masked;
  document.querySelector(`input[name="form"][value="${form}"]`).checked = true;
  // What is being typed stays as it is.
  if (key && document.activeElement !== $('key')) $('key').value = spaced(key);
  else if (!$('key').value) $('key').value = '37 fa 21 3d';
  for (const input of $('stepper').querySelectorAll('input[name="payload-as"], #payload')) input.disabled = clear === undefined;
  if (clear === undefined) $('payload').value = '';
  if (clear === undefined || document.activeElement === $('payload')) return;
  const text = utf8(toBytes(clear));
  if (text === null) document.querySelector('input[name="payload-as"][value="hex"]').checked = true;
  $('payload').value = text === null || radio('payload-as') === 'hex' ? spaced(clear) : text;
}

function showStepperProblem(problem, field) {
  $('stepper-problem').textContent = problem;
  for (const id of ['key', 'payload']) $(id).ariaInvalid = String(id === field);
}

/** Encodes the chosen frame anew, and leaves the others as they are. */
function step() {
  const frame = frames[chosenFrame];
  if (!frame) return;
  const key = digitsOf($('key').value);
  if (key?.length !== 8) return showStepperProblem(say(lang, 'explainBadKey'), 'key');
  let payload = frame.clear === undefined ? payloadOf(frame) : toBytes(frame.clear);
  if (document.activeElement === $('payload')) {
    const typedText = $('payload').value;
    const digits = radio('payload-as') === 'hex' ? digitsOf(typedText) : toHex(new TextEncoder().encode(typedText));
    if (digits === null) return showStepperProblem(say(lang, 'explainBadHex'), 'payload');
    payload = toBytes(digits);
  }
  let [form, problem] = [Number(radio('form')), ''];
  for (const [bits, most, next] of [[7, 125, 16], [16, 65535, 64]]) {
    if (form === bits && payload.length > most) {
      problem = say(lang, 'explainLongForm', most, bits);
      form = next;
    }
  }
  showStepperProblem(problem);
  const on = (id) => Number($(id).checked);
  const rsv = (on('rsv1') << 2) | (on('rsv2') << 1) | on('rsv3');
  const bytes = encode({ fin: on('fin'), rsv, opcode: Number($('opcode').value), mask: on('mask'), form, key: toBytes(key), payload });
  change(state.hex.slice(0, frame.start * 2) + toHex(bytes) + state.hex.slice(frame.end * 2));
}

/** The payload of a frame that is too long for the server to send it unmasked. */
function payloadOf({ payload, end, key }) {
  const wire = toBytes(state.hex.slice(payload * 2, end * 2));
  const mask = key && toBytes(key);
  return mask ? wire.map((byte, at) => byte ^ mask[at % 4]) : wire;
}

// Sending.

function showReceived() {
  $('send-button').disabled = isSending;
  $('send-button').textContent = say(lang, isSending ? 'explainSending' : 'explainSend');
  $('received').hidden = lastReceived === null;
  if (!lastReceived) return;
  const { ended, written, hex, request } = lastReceived;
  const key = ended ? `explainEnded${ended[0].toUpperCase()}${ended.slice(1)}` : 'explainProgress';
  $('received-status').dataset.ended = ended ?? '';
  $('received-status').textContent = say(lang, key, written, hex.length / 2);
  $('request').textContent = request.trim();
  draw($('received-bits'), lastReceived, BYTES_DRAWN * 4, false);
}

function send() {
  if (isSending) return;
  $('send-problem').textContent = '';
  sent += 1_000_000;
  lastReceived = null;
  isSending = connection.send({ type: 'send', id: sent, input: state.hex, as: 'hex', path: $('path').value, lang, ...(state.deflate && { deflate: state.deflate }) });
  if (!isSending) $('send-problem').textContent = say(lang, connection.state);
  showReceived();
}

// What the visitor does.

async function copy(text) {
  const isCopied = await copyText(text);
  $('copied').textContent = say(lang, isCopied ? 'explainCopied' : 'explainNotCopied');
}

/** Takes the state from the fragment of the address. */
function takeFragment() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const [hex, from, deflate] = [digitsOf(fragment.get('hex') ?? ''), fragment.get('from'), fragment.get('deflate')];
  const known = (value, ...all) => (all.includes(value) ? value : '');
  if (hex) state = { hex, from: known(from, 'client', 'server'), deflate: known(deflate, 'on', 'takeover') };
  const path = fragment.get('path');
  if ([...$('path').options].some(({ value }) => value === path)) $('path').value = path;
  [$('from').value, $('deflate').value, $('as').value] = [state.from, state.deflate, 'bytes'];
  $('input').value = spaced(state.hex);
}

function showTexts() {
  translate(document, lang);
  $('lang').textContent = say(lang, 'otherLanguage');
  $('example').replaceChildren(new Option(say(lang, 'explainChoose'), ''), ...Object.keys(EXAMPLES).map((key) => new Option(say(lang, key), key)));
  const opcode = $('opcode').value;
  $('opcode').replaceChildren(...Array.from({ length: 16 }, (_, at) => new Option(`${at.toString(16).toUpperCase()} (${OPCODES[at] ?? say(lang, 'explainReserved')})`, at)));
  if (opcode) $('opcode').value = opcode;
  showState();
  showReceived();
}

function takeTyped() {
  clearTimeout(typing);
  [state.from, state.deflate] = [$('from').value, $('deflate').value];
  if ($('input').value) ask(typed());
}

$('input').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(takeTyped, TYPE_PAUSE);
});
$('as').addEventListener('change', takeTyped);
for (const id of ['from', 'deflate']) {
  $(id).addEventListener('change', () => {
    state[id] = $(id).value;
    if ($('as').value === 'message') takeTyped();
    else askState();
  });
}
$('example').addEventListener('change', ({ target }) => {
  const [from, text, deflate = ''] = EXAMPLES[target.value] ?? [];
  if (!text) return;
  chosenFrame = 0;
  [$('from').value, $('deflate').value, $('as').value] = [from, deflate, 'bytes'];
  $('input').value = digitsOf(text) === null ? text.replace(/\r\n/g, '\n') : spaced(text);
  takeTyped();
});
$('copy-hex').addEventListener('click', () => copy(state.hex));
$('copy-link').addEventListener('click', () => copy(location.href));
$('copy-command').addEventListener('click', () => copy(command()));

$('bits').addEventListener('click', ({ target }) => {
  if (target.dataset.at === undefined) return;
  focusedBit = Number(target.dataset.at);
  flip(focusedBit);
});
$('bits').addEventListener('keydown', (press) => {
  const at = Number(press.target.dataset.at);
  const last = Math.min(state.hex.length * 4, drawnBytes * 8) - 1;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - 8, ArrowDown: at + 8, Home: 0, End: last }[press.key];
  if (Number.isNaN(at) || to === undefined) return;
  press.preventDefault();
  const next = bitAt(to);
  if (!next) return;
  press.target.tabIndex = -1;
  focusedBit = to;
  next.tabIndex = 0;
  next.focus();
});

$('stepper').addEventListener('submit', (submit) => submit.preventDefault());
$('stepper').addEventListener('input', ({ target }) => {
  if (target.id === 'frame') {
    chosenFrame = Number(target.value);
    showStepper();
  } else if (target.name === 'payload-as') {
    showStepper();
  } else {
    step();
  }
});
$('random-key').addEventListener('click', () => {
  $('key').value = spaced(toHex(crypto.getRandomValues(new Uint8Array(4))));
  $('mask').checked = true;
  step();
});
$('send').addEventListener('submit', (submit) => {
  submit.preventDefault();
  send();
});
$('path').addEventListener('change', () => explained && show());
$('token-form').addEventListener('submit', (submit) => {
  submit.preventDefault();
  tab.set('token', $('token').value);
  connection.reconnect();
});
$('lang').addEventListener('click', () => {
  lang = lang === 'pt' ? 'en' : 'pt';
  browser.set('lang', lang);
  showTexts();
  askState();
});
addEventListener('hashchange', () => {
  takeFragment();
  askState();
});

connection.addEventListener('event', ({ detail }) => heard[detail.type]?.(detail));
connection.addEventListener('state', async ({ detail }) => {
  showState();
  if (connection.state === 'connected') {
    $('token-form').hidden = true;
    showProblem('');
    isWaiting = false;
    askState();
  }
  if (connection.state !== 'lost') return;
  if (isSending) $('send-problem').textContent = say(lang, 'explainLost');
  [isWaiting, isSending] = [false, false];
  showReceived();
  if (detail?.wasOpen) return;
  const refusal = await connection.refusal(lang);
  if (!refusal) return;
  if (refusal.status === 401) {
    showProblem(say(lang, tab.get('token') ? 'tokenWrong' : 'tokenNeeded'));
    connection.disconnect();
    $('token-form').hidden = false;
  } else if (refusal.status !== 426) {
    showProblem(refusal.text || say(lang, 'proxyAnswered', refusal.status));
  }
});

takeFragment();
showTexts();
connection.connect();
