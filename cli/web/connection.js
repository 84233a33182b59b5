// One WebSocket that comes back: after a loss it tries again every three seconds, give or take a fifth, so that a
// class does not knock all at once; after a chosen disconnect it stays away.

const AGAIN_AFTER = 3000;

export class Connection extends EventTarget {
  #url;
  #socket = null;
  #timer = 0;
  #wanted = false;
  /** The id of the last attempt to connect, by which the server knows what became of it. */
  #attempt = '';
  /** Attempts in a row that have failed. */
  failures = 0;
  state = 'disconnected';
  /** When the connection opened, in milliseconds of a clock that nobody can set back; 0 without one. */
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
    this.#attempt = crypto.getRandomValues(new Uint32Array(2)).join('-');
    const url = this.#url();
    url.searchParams.set('attempt', this.#attempt);
    const socket = new WebSocket(url, 'framewise.classroom');
    this.#socket = socket;
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      this.since = performance.now();
      this.failures = 0;
      this.#become('connected');
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket && typeof data === 'string') this.dispatchEvent(new CustomEvent('event', { detail: data }));
    };
    socket.onclose = ({ code, reason }) => {
      if (this.#socket !== socket) return;
      const wasOpen = this.since > 0;
      if (!wasOpen) this.failures += 1;
      this.#socket = null;
      this.since = 0;
      this.#timer = setTimeout(() => this.connect(), AGAIN_AFTER * (0.8 + 0.4 * Math.random()));
      this.#become('lost', { code, reason, wasOpen });
    };
  }

  disconnect() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    // Whether the server answers the Close or not, this visitor has left.
    const socket = this.#socket;
    [this.#socket, this.since] = [null, 0];
    socket?.close(1000);
    this.#become('disconnected');
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

  /** Asks the server why the last attempt failed, because browsers do not tell. The text is empty if it is not the server
      that answers, but a proxy. */
  async refusal(lang) {
    const url = this.#url();
    url.protocol = url.protocol === 'wss:' ? 'https:' : 'http:';
    url.searchParams.set('failed', this.#attempt);
    try {
      const answer = await fetch(url, { headers: { 'Accept-Language': lang } });
      const isOurs = answer.headers.has('Content-Language') && /^text\/plain/.test(answer.headers.get('Content-Type'));
      return { status: answer.status, text: isOurs ? (await answer.text()).trim() : '' };
    } catch {
      return null;
    }
  }

  #become(state, detail) {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail }));
  }
}
