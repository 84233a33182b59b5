// Who is in the room: what the server said when it was asked, and who has come and gone since.
import { say } from './texts.js';

export class People {
  #list;
  #choices;
  #rest;
  #names = new Set();
  #unnamed = 0;
  #more = 0;
  #me = '';
  #lang;
  #drawing = 0;

  /** Where names are listed, where they can be chosen from, and where those without one are counted. */
  constructor(list, choices, rest) {
    [this.#list, this.#choices, this.#rest] = [list, choices, rest];
  }

  /** Everybody, as the server tells it. */
  are({ names, unnamed, more = 0 }, me) {
    [this.#names, this.#unnamed, this.#more, this.#me] = [new Set(names), unnamed, more, me];
    this.#drawSoon();
  }

  came(name) {
    if (name === undefined) this.#unnamed += 1;
    else this.#names.add(name);
    this.#drawSoon();
  }

  went(name) {
    if (name === undefined) this.#unnamed -= 1;
    else if (!this.#names.delete(name)) this.#more -= 1;
    this.#drawSoon();
  }

  speak(lang) {
    this.#lang = lang;
    this.#drawSoon();
  }

  /** Once for all that happens in the same moment: a whole class may come at once. */
  #drawSoon() {
    cancelAnimationFrame(this.#drawing);
    this.#drawing = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const names = [...this.#names].sort((one, other) => one.localeCompare(other, this.#lang));
    this.#list.replaceChildren(...names.map((name) => {
      const item = document.createElement('li');
      item.className = 'person';
      item.append(isolated(name));
      if (name === this.#me) item.append(` (${say(this.#lang, 'you')})`);
      return item;
    }));
    this.#choices.replaceChildren(...names.filter((name) => name !== this.#me).map((name) => {
      const option = document.createElement('option');
      option.value = name;
      return option;
    }));
    const rest = this.#unnamed + this.#more;
    this.#rest.textContent = rest > 0 ? say(this.#lang, 'unnamed', rest) : '';
  }
}

/** A name whose direction does not spill over. */
function isolated(name) {
  const element = document.createElement('bdi');
  element.textContent = name;
  return element;
}
