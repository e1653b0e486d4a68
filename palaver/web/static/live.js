// A reply while it comes, in the message that it becomes.

import { h, morphAt, span, whole } from "./dom.js";
import { callView, decorate, thinking } from "./message.js";

/** Fills a MessageView with what a Turn hears. `grew` is called when there is more to see. */
export class LiveReply {
  constructor(turn, view, grew) {
    this.turn = turn;
    this.view = view;
    this.grew = grew;
    view.element.classList.add("live");
    this.label = h("span", { class: "label" });
    this.bar = h("progress", { max: "1", hidden: true, "aria-label": "How far it is" });
    this.pace = h("span", { class: "pace" });
    view.parts.status.replaceChildren(h("span", { class: "pulse", "aria-hidden": "true" }), this.label, this.bar, this.pace);
    this._draw();
    this._quit = turn.hear((event) => this._take(event));
    this._timer = setInterval(() => this._tell(), 500);
    this._tell();
  }

  /** All that has come so far, for a view that was made later. */
  _draw() {
    const { turn, view: { parts } } = this;
    if (turn.reasoning) this._think(turn.reasoning);
    turn.blocks.forEach((html, index) => this._block(index, html));
    if (turn.open.index >= 0 && !turn.blocks[turn.open.index]) morphAt(parts.body, turn.open.index, turn.open.html);
    this._showCalls();
  }

  _take(event) {
    const { turn, view: { parts } } = this;
    switch (event.type) {
      case "reasoning":
        this._think(event.text);
        break;
      case "block":
        this._block(event.index, event.html);
        break;
      case "open":
        morphAt(parts.body, event.index, turn.open.html);
        break;
      case "call":
        this._showCalls();
        break;
      case "end":
        for (const { index, html } of event.blocks ?? []) this._block(index, html);
        break;
    }
    this._tell();
    this.grew();
  }

  _think(text) {
    const { thinking: place } = this.view.parts;
    if (!place.firstChild) place.append(thinking("Thinking…", ""));
    place.querySelector(".thought").append(text);
  }

  _block(index, html) {
    const made = morphAt(this.view.parts.body, index, html);
    if (made) decorate(made);
  }

  _showCalls() {
    this.view.parts.calls.replaceChildren(...this.turn.calls.filter(Boolean).map(({ name, args }) => callView(name, args)));
  }

  /** Say what it waits for, or how fast it comes. */
  _tell() {
    const { turn } = this;
    const { text, progress } = told(turn);
    if (this.label.textContent !== text) this.label.textContent = text;
    this.bar.hidden = progress === null;
    if (progress !== null) this.bar.value = progress;
    const pace = turn.waiting || turn.ended ? null : turn.pace;
    this.pace.textContent = pace === null ? "" : `${pace < 10 ? pace.toFixed(1) : Math.round(pace)} tokens/s`;
    const summary = this.view.parts.thinking.querySelector("summary");
    if (summary && turn.firstThought) {
      const over = turn.firstText ?? performance.now();
      summary.textContent = `${turn.firstText ? "Thought" : "Thinking"} for ${span(over - turn.firstThought)}`;
    }
  }

  /** It is over, or nobody looks any more. */
  close() {
    clearInterval(this._timer);
    this._quit();
    this.view.element.classList.remove("live");
    this.view.parts.status.replaceChildren();
  }
}

/** What a turn is doing, in words, and how far it is (0 to 1; null where that is not known). */
export function told(turn) {
  const percent = (progress) => (progress === null || progress === undefined ? "" : ` ${Math.round(progress * 100)} %`);
  if (turn.stopping) return { text: "Stopping…", progress: null };
  if (turn.line === "broken") return { text: "Reconnecting…", progress: null };
  if (turn.reconnected !== null && performance.now() - turn.reconnected < 2500) return { text: "Reconnected", progress: null };
  const { waiting } = turn;
  if (!waiting) return { text: turn.firstText ? "" : turn.firstThought ? "Thinking…" : "Answering…", progress: null };
  const { progress = null, ahead = null, tokens = null } = waiting;
  switch (waiting.for) {
    case "queue":
      return { text: ahead > 1 ? `Queued: ${ahead} turns of this chat come first` : "Queued: another reply in this chat comes first", progress: null };
    case "loading":
      return { text: `Loading ${turn.model ?? "the model"}…${percent(progress)}`, progress };
    case "prompt":
      return { text: `Reading the prompt${tokens ? ` of ${whole(tokens)} tokens` : ""}…${percent(progress)}`, progress };
    default:
      return { text: ahead ? `Queued: ${ahead} ${ahead > 1 ? "replies come" : "reply comes"} first` : "Waiting for the model…", progress: null };
  }
}
