// One WebSocket that comes back: after a loss it tries again every three seconds, give or take a fifth, so that a
// class does not knock all at once; after a chosen disconnect it stays away.

const AGAIN_AFTER = 3000;

export class Connection extends EventTarget {
  #url;
  #socket = null;
  #timer = 0;
  #wanted = false;
  state = 'disconnected';
  since = 0;

  constructor(url) {
    super();
    this.#url = url;
  }

  connect() {
    this.#wanted = true;
    clearTimeout(this.#timer);
    if (this.#socket) return;
    this.#become('connecting');
    const socket = new WebSocket(this.#url(), 'framewise.classroom');
    this.#socket = socket;
    socket.onopen = () => {
      this.since = Date.now();
      this.#become('connected');
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === 'string') this.dispatchEvent(new CustomEvent('event', { detail: data }));
    };
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.since = 0;
      if (!this.#wanted) return this.#become('disconnected');
      this.#become('lost');
      this.#timer = setTimeout(() => this.connect(), AGAIN_AFTER * (0.8 + 0.4 * Math.random()));
    };
  }

  disconnect() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    if (this.#socket) this.#socket.close(1000);
    else this.#become('disconnected');
  }

  /** Whether anything is there that a press of the button would end. */
  get wanted() {
    return this.#wanted;
  }

  /** False if there is no connection: nothing was sent. */
  send(event) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(event));
    return true;
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event('state'));
  }
}
