// What is asked in the open conversation, from the press of a key to the reply's end. What somebody wrote is kept until
// the server has it, whatever happens.

import { api, ApiError, part } from "./api.js";
import { h } from "./dom.js";
import { LiveReply } from "./live.js";
import { kept, tell } from "./state.js";
import { failed } from "./toast.js";
import { begin, Turn } from "./turn.js";

const now = () => Math.floor(Date.now() / 1000);

/** `chat` is the Chat: its transcript, its conversation, its model. */
export class Sending {
  constructor(chat) {
    this.chat = chat;
    this.turns = new Map();
    this._round = 0;
  }

  get transcript() {
    return this.chat.transcript;
  }

  get running() {
    return [...this.turns.values()].map(({ turn }) => turn).filter((turn) => !turn.ended);
  }

  /** Another conversation is shown: the turns go on, but nobody looks. */
  leave() {
    this._round++;
    for (const { turn, live } of this.turns.values()) {
      live.current?.close();
      turn.leave();
    }
    this.turns.clear();
  }

  /** Ask something below a message (an id; null: as another first message), by default at the end. */
  async say(content, parent = "head") {
    const { chat } = this;
    if (chat.conversation && !chat.conversation.ends) await this.transcript.toEnd();
    if (parent !== "head") this._cutAfter(parent);
    const request = { key: crypto.randomUUID(), content, parent, instructions: chat.instructions.pending };
    const shown = this._shown(request);
    this._add(shown);
    this.transcript.asked(shown.id);
    await this._post(shown, request);
  }

  /** Answer a message again, or go on with a reply that was cut off (both by id). `below`: after which message the
   * reply is to be seen. */
  async again(id, below = id) {
    this._cutAfter(below);
    this.transcript.still(() => this.transcript.reconcile());
    const request = { key: crypto.randomUUID(), content: null, parent: id };
    this.transcript.asked(below);
    try {
      const turn = await begin(this._body(request), request.key);
      this._follow(turn, null);
    } catch (error) {
      failed("That could not be asked.", error, () => void this.again(id, below));
      await this.chat.renew();
    }
  }

  /** The turns that run in a conversation that was just opened, and what could not be sent there. */
  async resume(running, key) {
    const round = this._round;
    for (const { id, question } of running) {
      if (this.turns.has(id)) continue;
      const { conversation } = this.chat;
      const turn = new Turn({ id, conversation: conversation.id, question });
      let shown = null;
      if (question === null) shown = await this._queued(id);
      else if (conversation.ends && conversation.index(question) < 0) continue;  // on another branch
      if (round !== this._round) return;
      if (shown) this._add(shown);
      this._follow(turn, shown);
    }
    const unsent = await kept.get(`outbox:${key}`);
    if (!unsent || round !== this._round || this.turns.size) return;
    if (!this.transcript.extras.some(({ id }) => id === unsent.shown.id)) this._showUnsent(unsent);
  }

  async _queued(id) {
    try {
      const { data } = await api.get(`responses/${part(id)}/input_items`, { order: "asc" });
      const content = data.filter((item) => item.type === "message" && item.role === "user").flatMap((item) => item.content);
      return { id: `queued-${id}`, role: "user", content, outgoing: true, created_at: now() };
    } catch {
      return null;  // it began meanwhile: its question shows when it has ended
    }
  }

  _shown({ key, content }) {
    const parts = typeof content === "string" ? [{ type: "input_text", text: content }] : content.map((each) => (each.type === "text" ? { type: "input_text", text: each.text } : { type: "input_image", image_url: each.image_url.url }));
    return { id: `outgoing-${key}`, role: "user", content: parts, outgoing: true, created_at: now() };
  }

  _add(...messages) {
    this.transcript.extras.push(...messages);
    this.transcript.reconcile();
    this.chat.changed();
  }

  _remove(...messages) {
    this.transcript.extras = this.transcript.extras.filter((each) => !messages.includes(each));
  }

  /** What stands after a message is another branch from now on. */
  _cutAfter(id) {
    const { conversation } = this.chat;
    if (!conversation) return;
    const place = id === null ? -1 : conversation.index(id);
    if (id !== null && place < 0) return;
    conversation.messages.splice(place + 1);
    conversation.ends = true;
  }

  _body({ content, parent, instructions = null }) {
    const { conversation, model } = this.chat;
    const messages = content === null ? [] : [{ role: "user", content }];
    if (instructions !== null && content !== null) messages.unshift({ role: "system", content: instructions });
    return { model: model.name, conversation: conversation.id, messages, ...(parent === null ? {} : { parent }) };
  }

  async _post(shown, request) {
    const { chat } = this;
    const round = this._round;
    this._status(shown, "Sending…");
    await kept.put(`outbox:${chat.key}`, { request, shown });
    try {
      await chat.model.needed();
      await chat.made();  // a new chat gets its place now
      if (round !== this._round) return;
      const turn = await begin(this._body(request), request.key);
      await kept.put(`outbox:${turn.conversation}`, null);
      if (round !== this._round) return;
      chat.instructions.sent(request.instructions);
      this._status(shown, null);
      this._follow(turn, shown, request);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      await kept.put(`outbox:${chat.key}`, { request, shown, error: error.message });
      if (round === this._round) this._unsent(shown, request, error.message, () => void this._post(shown, request.key && error.passes ? request : { ...request, key: crypto.randomUUID() }));
    }
  }

  _showUnsent({ request, shown, error = "The page was closed before the server had it." }) {
    this._add(shown);
    this._unsent(shown, request, error, () => void this._post(shown, request));
    this.transcript.follower.toEnd();
  }

  /** Say that something was not sent, or not answered, beside its text. */
  _unsent(shown, request, why, again) {
    const view = this.transcript.views.get(shown.id);
    if (!view) return;
    const clear = () => {
      this._remove(shown);
      void kept.put(`outbox:${this.chat.key}`, null);
      this.transcript.reconcile();
      this.chat.changed();
    };
    const retry = () => { view.parts.outcome.replaceChildren(); again(); };
    const takeBack = () => { clear(); this.chat.takeBack(request.content); };
    this._status(shown, null);
    view.parts.outcome.replaceChildren(h(
      "p", { class: "note error", role: "alert" }, `Not sent. ${why} `,
      h("button", { type: "button", class: "plain retry-send", on: { click: retry } }, "Try again"), " ",
      h("button", { type: "button", class: "plain take-back", on: { click: takeBack } }, "Edit"),
    ));
  }

  _status(shown, text) {
    const view = this.transcript.views.get(shown.id);
    view?.parts.status.replaceChildren(...(text ? [h("span", { class: "label" }, text)] : []));
  }

  /** Show a turn's reply as it comes. `shown` is its question where that is no stored message yet. */
  _follow(turn, shown, request = null) {
    const live = {
      current: null,
      attach: (view) => {
        if (live.current?.view === view) return;
        live.current?.close();
        live.current = new LiveReply(turn, view, () => this.transcript.follower.more());
      },
    };
    const reply = { id: turn.message ?? `reply-${turn.id}`, role: "assistant", content: [], live };
    this.turns.set(turn.id, { turn, live, reply });
    this._add(reply);
    turn.hear((event) => {
      if (event.type === "turn") this._known(turn, shown, reply, request);
      if (event.type === "line" || event.type === "stopping") this.chat.changed();
    });
    this.chat.changed();
    tell("turn:began", { conversation: turn.conversation, turn: turn.id });
    void this._toEnd(turn, shown, reply, request);
  }

  _known(turn, shown, reply, request) {
    // Another first message is a branch that the head does not follow by itself.
    if (request?.parent === null && turn.question) void this.chat.conversation.setHead(turn.question).catch(() => {});
    if (turn.message && reply.id !== turn.message) {
      const from = reply.id;
      reply.id = turn.message;
      this.transcript.rename(from, reply);
    }
    if (shown?.outgoing && turn.question && shown.id !== turn.question) {
      const from = shown.id;
      shown.id = turn.question;
      this.transcript.rename(from, shown);
    }
  }

  async _toEnd(turn, shown, reply, request) {
    const round = this._round;
    let over = null;
    turn.hear((event) => { if (event.type === "over") over = event.error; });
    await turn.follow();
    if (round !== this._round) return;
    const entry = this.turns.get(turn.id);
    this.turns.delete(turn.id);
    const { ended } = turn;
    tell("turn:ended", { conversation: turn.conversation, turn: turn.id, state: ended?.state });
    const nothing = ended?.state === "failed" || (ended?.state === "cancelled" && !turn.text && !turn.reasoning && ended.error);
    if (nothing) {
      entry.live.current?.close();
      this._remove(reply);
      this._unanswered(turn, shown, request, ended.error?.message ?? "It was stopped before it began.");
    } else {
      if (request?.parent === null) await this._goTo(reply.id);
      if (round !== this._round) return;
      await this.chat.renew(() => this._remove(reply, shown));
      entry.live.current?.close();
      this.transcript.views.get(reply.id)?.showActions();
      if (over) failed("The reply cannot be followed any more.", over);
      else this.chat.announce(ended?.state === "completed" ? "The reply is complete." : "The reply has ended.");
    }
    this.chat.changed();
  }

  /** Have the path lead to a reply that its turn did not make the head. */
  async _goTo(id) {
    const { conversation } = this.chat;
    try {
      await conversation.refresh();
      if (conversation.detail.head !== id) await conversation.setHead(id);
    } catch (error) {
      failed("The new branch could not be chosen.", error);
    }
  }

  /** A turn failed before it said anything. Its question is kept by the server, beside the path. */
  _unanswered(turn, shown, request, why) {
    const { transcript } = this;
    transcript.reconcile();
    const id = turn.question ?? shown?.id;
    const view = transcript.views.get(id);
    if (!view || !turn.question) {
      failed("There is no reply.", new ApiError(0, why));
      void this.chat.renew();
      return;
    }
    const again = () => {
      view.parts.outcome.replaceChildren();
      void this.again(turn.question);
    };
    view.parts.outcome.replaceChildren(h(
      "p", { class: "note error", role: "alert" }, `There is no reply. ${why} `,
      h("button", { type: "button", class: "plain retry-send", on: { click: again } }, "Try again"), " ",
      request?.content ? h("button", { type: "button", class: "plain take-back", on: { click: () => { this._remove(shown); transcript.reconcile(); this.chat.takeBack(request.content); } } }, "Edit") : null,
    ));
  }

  /** Stop the turn that runs; the oldest where several do. */
  async stop() {
    const [turn] = this.running;
    if (!turn || turn.stopping) return;
    try {
      await turn.stop();
    } catch (error) {
      failed("It could not be stopped.", error, () => void this.stop());
    }
  }
}
