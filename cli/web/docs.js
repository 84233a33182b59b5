// Shows /asyncapi.json: the paths, what may be said on each, and an example of every message.

import { make } from './elements.js';
import { preferredLanguage, say, translate } from './texts.js';

const lang = preferredLanguage();
translate(document, lang);

/** Titles and descriptions in the language of the reader, where the description has them. */
const translated = (part) => ({ ...part, ...(lang === 'pt' && part['x-pt']) });
const last = (reference) => reference.$ref.split('/').at(-1);

const api = await (await fetch('asyncapi.json')).json();

for (const [id, channel] of Object.entries(api.channels)) {
  const article = make('article', 'panel');
  const { address, title, description } = translated(channel);
  article.append(make('h3', '', `${address} · ${title}`), make('p', '', description ?? ''));
  for (const operation of Object.values(api.operations).filter(({ channel }) => last(channel) === id)) {
    const names = (operation.messages ?? Object.keys(channel.messages).map((name) => ({ $ref: name }))).map(last);
    const word = operation.action === 'receive' ? 'clientSays' : 'clientHears';
    article.append(make('p', 'note', `${say(lang, word)}: ${names.join(', ')}`));
  }
  document.getElementById('channels').append(article);
}

for (const message of Object.values(api.components.messages)) {
  const article = make('article', 'panel');
  article.append(make('h3', '', message.name), make('p', '', translated(message).title ?? ''));
  for (const { payload } of message.examples ?? []) {
    const shown = typeof payload === 'string' ? payload : JSON.stringify(payload);
    const example = make('pre', '', shown);
    example.tabIndex = 0;
    article.append(make('p', 'note', say(lang, 'example')), example);
  }
  document.getElementById('messages').append(article);
}
