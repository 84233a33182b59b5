// The messages of this visitor, from the moment they are written until the server has answered.
//
//   waiting ──────> sent ──ack────────> delivered
//      ^             ├─────error──────> failed
//      └────loss─────┴─────4 minutes──> unconfirmed
//
// After a loss nobody knows whether the server has received a message. So it is sent again, with the id that it had: the
// server remembers which ids of this client it has delivered, and delivers none of them twice.

/** The server remembers ids for five minutes. A message that is older than these milliseconds is not sent again. */
const REPEAT_FOR = 4 * 60_000;

/** The maximum number of messages without an answer. */
const MAX_UNANSWERED = 100;

/** A random text. `crypto.randomUUID` is missing on pages that were not loaded over TLS. */
const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Reports each change of a message as the event `state`, with the message and the reason of a failure. */
export class Outbox extends EventTarget {
  /** By this the server recognizes the page on its next connection. Another tab, or the page after a reload, is another client. */
  client = random();
  #send;
  #ids = 0;
  /** The messages without an answer by their ids, the oldest one first. */
  #messages = new Map();

  /** `send` sends an event, and returns false if there is no connection. */
  constructor(send) {
    super();
    this.#send = send;
  }

  get isFull() {
    return this.#messages.size >= MAX_UNANSWERED;
  }

  /** An id that no other event of this client has. */
  newId() {
    this.#ids += 1;
    return `m${this.#ids}`;
  }

  /** Keeps a message until `flush` sends it. */
  add(event) {
    const message = { id: this.newId(), event, state: 'waiting', sentAt: null };
    this.#messages.set(message.id, message);
    return message;
  }

  /** Sends the messages that wait, in the order in which they were written. */
  flush() {
    for (const message of this.#messages.values()) {
      if (message.state !== 'waiting') continue;
      if (!this.#send({ ...message.event, id: message.id })) return;
      message.sentAt ??= Date.now();
      this.#become(message, 'sent');
    }
  }

  /** The connection is gone: messages without an answer wait for the next one. */
  hold() {
    for (const message of this.#messages.values()) if (message.state === 'sent') this.#become(message, 'waiting');
  }

  /** The server has answered an event, with an error or without. Returns false if the event was none of these messages. */
  answered(id, error) {
    return this.#end(id, error ? 'failed' : 'delivered', error);
  }

  /** Gives up messages. One that waits to be sent again may have arrived before the loss. */
  fail(reason, which = () => true) {
    for (const message of [...this.#messages.values()].filter(which)) {
      const mayHaveArrived = message.state === 'waiting' && message.sentAt !== null;
      this.#end(message.id, mayHaveArrived ? 'unconfirmed' : 'failed', reason);
    }
  }

  /** Gives up the messages that the server may have forgotten. A clock that was set back makes a message too old as well. */
  expire(reason) {
    for (const { id, sentAt } of [...this.#messages.values()]) {
      const age = sentAt === null ? 0 : Date.now() - sentAt;
      if (age < 0 || age > REPEAT_FOR) this.#end(id, 'unconfirmed', reason);
    }
  }

  #end(id, state, reason) {
    const message = this.#messages.get(id);
    if (!message) return false;
    this.#messages.delete(id);
    this.#become(message, state, reason);
    return true;
  }

  #become(message, state, reason) {
    message.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { message, reason } }));
  }
}
