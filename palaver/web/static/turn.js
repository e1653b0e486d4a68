// One reply as it comes: followed from wherever it was left, over broken lines and sleeping laptops, to its end.

import { api, ApiError, events, part } from "./api.js";

const PAUSES = [300, 700, 1500, 3000, 5000];
/** Between tries to reach a stream again, in milliseconds; the last one from then on. */

/** What is known of a turn that runs. `heard` is called with each event of its `follow` stream, and with ours:
 * `{type: "line", state: "broken"|"again"|"open"}`, and at last `{type: "over"}` where it cannot be heard any more. */
export class Turn {
  constructor({ id, conversation, question = null, message = null }) {
    Object.assign(this, { id, conversation, question, message });
    this.model = null;
    this.waiting = { for: "place", progress: null, ahead: null };
    this.began = performance.now();
    this.firstText = null;
    this.firstThought = null;
    this.n = 0;
    this.text = "";
    this.reasoning = "";
    this.blocks = [];
    this.open = { index: -1, html: "" };
    this.calls = [];
    this.ended = null;
    this.line = "open";
    this.reconnected = null;
    this.stopping = false;
    this._stop = new AbortController();
    this._wake = () => {};
    this._hearers = new Set();
  }

  /** Be told what comes; returns what ends it. */
  hear(run) {
    this._hearers.add(run);
    return () => this._hearers.delete(run);
  }

  /** Follow to the end; resolves when that has come or nobody wants it any more. */
  async follow() {
    const awake = () => this._wake();
    addEventListener("online", awake);
    document.addEventListener("visibilitychange", awake);
    try {
      for (let tries = 0; !this._stop.signal.aborted && !this.ended; ) {
        const before = this.n;
        try {
          await this._read();
          if (!this.ended && !this._stop.signal.aborted) throw new ApiError(0, "The connection broke.");
        } catch (error) {
          if (!(error instanceof ApiError)) throw error;
          if (!error.passes && error.status !== 409 && error.status !== 401) {
            this._tell({ type: "over", error });
            return;
          }
          if (this.n > before) tries = 0;
          this.line = "broken";
          this._tell({ type: "line", state: "broken", error });
          await this._pause(PAUSES[Math.min(tries++, PAUSES.length - 1)]);
        }
      }
    } finally {
      removeEventListener("online", awake);
      document.removeEventListener("visibilitychange", awake);
    }
  }

  async _read() {
    const path = `responses/${part(this.id)}/follow`;
    let first = true;
    for await (const event of events(path, this.n ? { starting_after: this.n } : {}, this._stop.signal)) {
      if (first) {
        const again = this.line === "broken";
        if (again) this.reconnected = performance.now();
        this.line = "open";
        this._tell({ type: "line", state: again ? "again" : "open" });
        first = false;
      }
      this._take(event);
      if (this.ended) return;
    }
  }

  _take(event) {
    this.n = event.n ?? this.n;
    const now = performance.now();
    switch (event.type) {
      case "turn":
        this.question = event.question ?? this.question;
        this.message = event.message ?? this.message;
        this.model = event.model;
        break;
      case "waiting":
        this.waiting = event;
        break;
      case "reasoning":
        this.firstThought ??= now;
        this.reasoning += event.text;
        this.waiting = null;
        break;
      case "text":
        this.firstText ??= now;
        this.firstN ??= event.n;
        this.text += event.text;
        this.waiting = null;
        break;
      case "call": {
        const call = (this.calls[event.index] ??= { name: "", args: "" });
        call.name += event.name;
        call.args += event.arguments;
        this.waiting = null;
        break;
      }
      case "block":
        this.blocks[event.index] = event.html;
        break;
      case "open": {
        const kept = event.index === this.open.index ? this.open.html.slice(0, event.keep) : "";
        this.open = { index: event.index, html: kept + event.html };
        break;
      }
      case "end":
        for (const { index, html } of event.blocks ?? []) this.blocks[index] = html;
        this.ended = event;
        break;
    }
    this._tell(event);
  }

  /** Tokens a second since the first came, null before there is anything to say. */
  get pace() {
    const since = this.firstThought ?? this.firstText;
    if (since === null || this.n < 3) return null;
    const seconds = (performance.now() - since) / 1000;
    return seconds < 0.5 ? null : this.n / seconds;
  }

  _pause(ms) {
    return new Promise((resolve) => {
      this._wake = resolve;
      this._stop.signal.addEventListener("abort", resolve, { once: true });
      setTimeout(resolve, ms);
    });
  }

  _tell(event) {
    for (const run of [...this._hearers]) run(event, this);
  }

  /** Stop the reply; its text so far is kept. Raises ApiError. */
  async stop() {
    if (this.ended) return;
    this.stopping = true;
    this._tell({ type: "stopping" });
    try {
      await api.post(`responses/${part(this.id)}/cancel`);
    } catch (error) {
      this.stopping = false;
      this._tell({ type: "stopping" });
      throw error;
    }
  }

  /** Follow it no more; the reply itself goes on. */
  leave() {
    this._stop.abort();
    this._hearers.clear();
  }
}

/** Begin a turn: the body of a chat completion that is answered in the background. A `key` makes it one turn, however
 * often it is sent. Resolves with the Turn. Raises ApiError. */
export async function begin(body, key, signal) {
  const sent = { ...body, background: true, store: true };
  const told = await api.post("chat/completions", sent, { headers: { "idempotency-key": key }, signal });
  return new Turn({ id: told.id, conversation: told.conversation, message: told.message });
}
