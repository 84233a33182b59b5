// One WebSocket that comes back: after a loss it tries again every three seconds, give or take a fifth, so that a class does
// not knock all at once; after a chosen disconnect it stays away.
//
// A network can stop carrying data without closing anything, and browsers cannot send a ping frame. So the connection asks
// for a sign of life by itself, with the event `ping`.

const AGAIN_AFTER = 3000;

/** Milliseconds without an answer until the page asks for one, and milliseconds that the server then has to give it. */
const [ASK_AFTER, ANSWER_WITHIN] = [20_000, 10_000];

/** News about others show that the server reaches this page, but not that this page reaches the server. */
const isNews = ({ type = 'message' }) => type === 'message' || type.startsWith('peer_');

export class Connection extends EventTarget {
  #url;
  #socket = null;
  /** There is one thing to wait for at any time: an answer, the time to ask, or the time to connect again. */
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
    if (this.#socket) return;
    this.#become('connecting');
    this.#attempt = crypto.getRandomValues(new Uint32Array(2)).join('-');
    const url = this.#url();
    url.searchParams.set('attempt', this.#attempt);
    const socket = new WebSocket(url, 'framewise.classroom');
    this.#socket = socket;
    this.#expectAnswer();
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      this.since = performance.now();
      this.failures = 0;
      this.#askLater();
      this.#become('connected');
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket) this.#receive(data);
    };
    socket.onclose = ({ code, reason }) => {
      if (this.#socket === socket) this.#lose(code, reason);
    };
  }

  disconnect() {
    this.#wanted = false;
    // Whether the server answers the Close or not, this visitor has left.
    this.#leaveSocket();
    this.#become('disconnected');
  }

  /** Connects to the address as it is now. What became of earlier attempts no longer matters. */
  reconnect() {
    this.disconnect();
    this.connect();
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
      that answers, but a proxy. Returns null if nothing answers, or if the page has meanwhile connected again or left. */
  async refusal(lang) {
    const attempt = this.#attempt;
    const url = this.#url();
    url.protocol = url.protocol === 'wss:' ? 'https:' : 'http:';
    url.searchParams.set('failed', attempt);
    try {
      const answer = await fetch(url, { headers: { 'Accept-Language': lang }, signal: AbortSignal.timeout(ANSWER_WITHIN) });
      const isOurs = answer.headers.has('Content-Language') && /^text\/plain/.test(answer.headers.get('Content-Type'));
      const text = isOurs ? (await answer.text()).trim() : '';
      return this.state === 'lost' && this.#attempt === attempt ? { status: answer.status, text } : null;
    } catch {
      return null;
    }
  }

  #receive(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return;
    }
    if (!isNews(event)) this.#askLater();
    this.dispatchEvent(new CustomEvent('event', { detail: event }));
  }

  #askLater() {
    this.#wait(ASK_AFTER, () => {
      this.send({ type: 'ping' });
      this.#expectAnswer();
    });
  }

  #expectAnswer() {
    // The code that browsers report for a connection that was lost without a Close.
    this.#wait(ANSWER_WITHIN, () => this.#lose(1006, ''));
  }

  #lose(code, reason) {
    const wasOpen = this.since > 0;
    if (!wasOpen) this.failures += 1;
    this.#leaveSocket();
    this.#wait(AGAIN_AFTER * (0.8 + 0.4 * Math.random()), () => this.connect());
    this.#become('lost', { code, reason, wasOpen });
  }

  #leaveSocket() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    [this.#socket, this.since] = [null, 0];
    socket?.close(1000);
  }

  #wait(milliseconds, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, milliseconds);
  }

  #become(state, detail) {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail }));
  }
}
