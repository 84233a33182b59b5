// Draws one event of the wire page: the bytes of a frame by field, or the lines of a request or response. The server
// has decoded everything.

import { make } from './elements.js';
import { say } from './texts.js';
import { fields } from './wire-texts.js';

/** Bytes of a payload in one row, and rows that are drawn. */
const [ROW, MAX_ROWS] = [16, 8];

function button(className, onClick, ...content) {
  const made = make('button', className, ...content);
  made.type = 'button';
  made.addEventListener('click', onClick);
  return made;
}

const pairs = (hex) => hex?.match(/../g) ?? [];
const inLang = (lang, [pt, en]) => (lang === 'pt' ? pt : en);

/** The text of a broken rule, which the server sends in English and Portuguese. */
export const ruleText = (lang, { text: [en, pt] }) => inLang(lang, [pt, en]);

/** The class of a field, which is its colour. */
const CLASSES = { FIN: 'fin', opcode: 'opcode', MASK: 'mask', 'masking key': 'key' };
const classOf = (name) => CLASSES[name] ?? (name.startsWith('RSV') ? 'rsv' : 'length');

/** Shows the rule of a field in plain words, with its clause. */
export function showRule(panel, lang, name, title = name) {
  const key = name.startsWith('RSV') ? 'RSV' : name;
  const [pt, en, clause] = fields[key] ?? fields.other;
  const place = clause.startsWith('RFC') ? clause : `RFC 6455 ${clause}`;
  panel.replaceChildren(make('h3', '', title), make('p', '', inLang(lang, [pt, en])), make('p', 'clause', place));
}

export class Drawing {
  #lang;
  #panel;

  constructor(lang, panel) {
    this.#lang = lang;
    this.#panel = panel;
  }

  /** The elements of an event. */
  parts(event) {
    const parts = {
      head: () => this.#head(event),
      frame: () => this.#frame(event),
      read: () => [this.#say('wireReadWords', event.bytes)],
      gap: () => [this.#say('wireGapWords', event.bytes)],
      rest: () => [this.#say('wireRestWords', event.bytes)],
      body: () => [this.#say('wireBodyWords', event.bytes), make('p', 'said', event.text)],
      closed: () => [
        this.#say('wireClosedWords', `${event.code}${event.reason ? ` '${event.reason}'` : ''}`),
        ...(event.broken ? [this.#broken(event.broken)] : []),
      ],
    }[event.k];
    return parts ? parts() : [];
  }

  #say(key, ...values) {
    return make('p', '', say(this.#lang, key, ...values));
  }

  #rule(name, title) {
    return () => showRule(this.#panel, this.#lang, name, title);
  }

  // Frames.

  #frame(event) {
    const { broken } = event;
    const parts = [];
    if (broken) parts.push(this.#broken(broken));
    if (event.cut) parts.push(make('p', 'verdict broken', say(this.#lang, 'wireCut')));
    if (event.text !== undefined && event.opcode !== 'binary') {
      const code = event.code === undefined ? '' : `${event.code} `;
      parts.push(make('p', 'said', `${code}${event.text}`));
    }
    if (event.compressed) parts.push(this.#inflated(event));
    parts.push(make('h3', '', say(this.#lang, 'wireHeader')), this.#header(event));
    if (event.length > 0 && event.wire) parts.push(make('h3', '', say(this.#lang, 'wirePayload')), this.#payload(event));
    if (event.more) parts.push(this.#say('wireMoreBytes', event.more));
    parts.push(make('p', 'note', this.#reads(event)));
    if (!broken && !event.cut) parts.push(make('p', 'verdict', `✓ ${say(this.#lang, 'wireValid')}`));
    return parts;
  }

  /** What becomes of compressed payload data. The last frame of a message has the text. */
  #inflated({ opcode, length, inflated }) {
    if (inflated === undefined) return this.#say('wireCompressed');
    if (opcode === 'continuation') return this.#say('wireInflatedLast', inflated);
    return this.#say('wireInflated', length, inflated);
  }

  /** The bits of a header below the bytes that hold them. */
  #header({ head, fields: bits, cuts = [], broken }) {
    const bytes = pairs(head);
    const row = make('div', 'cells');
    const wrong = (broken?.places ?? []).filter(([kind]) => kind === 'bits');
    let [box, at] = [null, -1];
    for (const [name, first, end, value] of bits) {
      const [from, to] = [Math.floor(first / 8), Math.ceil(end / 8)];
      if (from !== at) {
        at = from;
        box = make('div', 'byte', make('b', ''), make('div', 'bits'));
        for (let n = from; n < to; n += 1) box.firstChild.append(make('span', cuts.includes(n) ? 'cut' : '', bytes[n] ?? '··'));
        row.append(box);
      }
      const isWrong = wrong.some(([, start, stop]) => start < end && first < stop);
      const shown = to - from > 1 ? (name === 'masking key' ? 'key' : value) : this.#bits(bytes[from], first % 8, end - first);
      const label = `${isWrong ? '✖ ' : ''}${this.#label(name, value)}`;
      const field = button(`field ${classOf(name)}${isWrong ? ' wrong' : ''}`, this.#rule(name), shown, make('small', '', label));
      box.lastElementChild.append(field);
    }
    return row;
  }

  #label(name, value) {
    const opcodes = { 0: 'continuation', 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' };
    if (name === 'opcode') return `opcode ${opcodes[value] ?? '?'}`;
    if (name.endsWith('length')) return `${name} ${value}`;
    return name;
  }

  #bits(hex, first, count) {
    return Number.parseInt(hex, 16).toString(2).padStart(8, '0').slice(first, first + count);
  }

  /** The payload on the wire, the key below it, and the result of XOR below that. */
  #payload({ head, wire, clear, key, opcode, compressed, cuts = [], broken }) {
    const [onWire, unmasked, keys] = [pairs(wire), pairs(clear ?? wire), pairs(key)];
    const [table, start] = [make('table', 'octets'), head.length / 2];
    const isWrong = (at) => (broken?.places ?? []).some(([kind, from, to]) => kind === 'bytes' && at >= from && at < to);
    for (let first = 0; first < Math.min(onWire.length, ROW * MAX_ROWS); first += ROW) {
      const line = (text, name, className, value) => {
        const row = make('tr', '');
        const heading = make('th', '', button(`field ${className}`, this.#rule(name, text), text));
        heading.scope = 'row';
        row.append(heading);
        for (let at = first; at < Math.min(first + ROW, onWire.length); at += 1) {
          const cut = cuts.includes(start + at) ? ' cut' : '';
          row.append(make('td', `octet ${className}${isWrong(at) ? ' wrong' : ''}${cut}`, value(at)));
        }
        table.append(row);
      };
      line(say(this.#lang, 'wireOnWire'), 'payload', 'payload', (at) => onWire[at]);
      if (clear !== undefined) {
        line(say(this.#lang, 'wireKeyRow'), 'masking key', 'key', (at) => keys[at % 4]);
        line(say(this.#lang, 'wireClear'), 'clear', 'clear', (at) => unmasked[at]);
      }
      if (opcode !== 'binary' && !compressed) {
        line(say(this.#lang, 'wireText'), 'text', 'char', (at) => {
          const code = Number.parseInt(unmasked[at], 16);
          return code > 32 && code < 127 ? String.fromCharCode(code) : code === 32 ? '␣' : '·';
        });
      }
    }
    return table;
  }

  /** How reads or writes split it. */
  #reads({ cuts = [], d, read: [bytes, nth, count] }) {
    const words = [];
    if (cuts.length > 0) words.push(say(this.#lang, 'wireManyReads', cuts.length + 1));
    else if (count <= 1) words.push(say(this.#lang, d === 'in' ? 'wireOneRead' : 'wireOneWrite', bytes));
    if (count > 1) words.push(say(this.#lang, 'wireShared', nth, count, bytes));
    return words.join(' ');
  }

  #broken(broken) {
    const { section, clause, code, found, fix, limit } = broken;
    const box = make('div', 'verdict broken', make('div', '', `✖ ${say(this.#lang, 'wireBroken', ruleText(this.#lang, broken))}`));
    const where = clause ? say(this.#lang, 'wireClause', section.replace(/ (?=\d+(\.|$))/, ' §'), `§${clause}`, code) : code ? say(this.#lang, 'wireStatus', section, code) : section;
    box.append(make('div', '', where));
    const both = ([en, pt]) => (this.#lang === 'pt' ? pt : en);
    if (found) box.append(make('div', '', say(this.#lang, 'wireFound', both(found))));
    if (fix) box.append(make('div', '', say(this.#lang, 'wireFix', both(fix))));
    if (limit) box.append(make('div', '', say(this.#lang, 'wireLimit')));
    return box;
  }

  // Heads.

  #head({ lines, more, accept, broken, cut }) {
    const parts = [];
    if (broken) parts.push(this.#broken(broken));
    if (cut) parts.push(make('p', 'verdict broken', say(this.#lang, 'wireCut')));
    if (accept) parts.push(...this.#accept(accept));
    const list = make('ul', 'lines');
    for (const [name, value] of lines) {
      const isAccept = name.toLowerCase() === 'sec-websocket-accept';
      const shown = isAccept ? make('span', 'accept', value) : value;
      const field = name.toLowerCase();
      const label = name || value.split(' ')[0] || '·';
      const rest = name ? shown : value.split(' ').slice(1).join(' ');
      list.append(make('li', '', button('', this.#rule(field, name || value), name ? `${label}:` : label), rest));
    }
    parts.push(make('h3', '', say(this.#lang, 'wireHead')), list);
    if (more) parts.push(this.#say('wireMoreLines', more));
    return parts;
  }

  /** The value of Accept, step by step. */
  #accept({ key, guid, sha1, base64 }) {
    const steps = make('ol', 'steps');
    const step = (text, ...content) => steps.append(make('li', '', make('b', '', `${say(this.#lang, text)}: `), ...content));
    step('wireAcceptKey', key);
    step('wireAcceptJoin', key, make('span', 'guid', guid));
    step('wireAcceptSha', pairs(sha1).join(' '));
    step('wireAcceptBase', make('span', 'accept', base64));
    return [make('h3', '', say(this.#lang, 'wireAccept')), steps];
  }
}
