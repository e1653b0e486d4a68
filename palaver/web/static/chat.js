// The open chat: what is shown, written and done in it.

import { actionsOf } from "./actions.js";
import { ApiError } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { copyCode, copyMarkdown } from "./copying.js";
import { h } from "./dom.js";
import { FindBar } from "./find.js";
import { Instructions } from "./instructions.js";
import { ModelPicker } from "./models.js";
import { ReceiptCard } from "./seen.js";
import { Sight } from "./sight.js";
import { Sending } from "./sending.js";
import { Header } from "./header.js";
import { bus, kept, tell } from "./state.js";
import { failed, toast } from "./toast.js";
import { Transcript } from "./transcript.js";

export class Chat {
  constructor(main) {
    this.conversation = null;
    this.temporary = false;
    this.key = "new";
    this._asked = 0;
    this.element = main;
    this.transcript = new Transcript(actionsOf(this), (error) => failed("The messages could not be loaded.", error));
    this.model = new ModelPicker(() => this.sight?.later());
    this.instructions = new Instructions(() => this.header?.show());
    this.sight = new Sight(this);
    this.sending = new Sending(this);
    this.card = new ReceiptCard();
    this.composer = new Composer({
      send: (content) => void this.sending.say(content),
      stop: () => void this.sending.stop(),
      changed: () => void this.sight.measure(),
      limits: () => ({ images: this.model.takesImages, largest: this.model.largest, model: this.model.name }),
    });
    this.composer.right.append(this.sight.meter.element, this.model.element);
    this.find = new FindBar({ conversation: () => this.conversation, point: (id) => this.point(id), list: this.transcript.list, failed: (error) => failed("Nothing could be looked for.", error) });
    this.header = new Header(this);
    this.welcome = h("div", { class: "welcome", hidden: true });
    this.alert = h("p", { class: "visually-hidden", role: "status" });
    this.notice = h("p", { class: "notice", hidden: true });
    main.append(this.header.element, this.notice, this.find.element, this.transcript.element, this.welcome, this.composer.element, this.alert);
    this._listen(main);
    this.header.show();
  }

  _listen(main) {
    this.composer.takeDrops(main);
    const { list } = this.transcript;
    list.addEventListener("click", (event) => void copyCode(event));
    list.addEventListener("copy", (event) => copyMarkdown(event, this.transcript.views));
    for (const type of ["pointerover", "focusin"]) {
      list.addEventListener(type, (event) => {
        const button = event.target.closest?.(".does-info");
        if (button) void this.card.show(button, this.transcript.views.get(button.closest(".message").dataset.id).message.turn);
      });
    }
    bus.on("turn:began", (told) => told.elsewhere && told.conversation === this.conversation?.id && void this.refresh());
    bus.on("turn:ended", (told) => told.elsewhere && told.conversation === this.conversation?.id && void this.refresh());
    bus.on("conversation:changed", ({ id, conversation }) => {
      if (id !== this.conversation?.id || !conversation) return;
      this.conversation.detail = { ...this.conversation.detail, ...conversation };
      this.header.show();
    });
    bus.on("conversation:gone", ({ id }) => { if (id === this.conversation?.id) location.hash = "#/new"; });
    bus.on("signed-in", () => void this.refresh());
    bus.on("models", () => { if (!this.welcome.hidden) this._welcome(true); });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) void this.refresh(); });
    addEventListener("online", () => void this.refresh());
    addEventListener("pagehide", () => this.transcript.keepPlace());
  }

  /** Show a conversation, at a message where one is named, else where it was left. */
  async open(id, message = null) {
    if (id === this.conversation?.id) {
      if (message) await this.point(message);
      return;
    }
    const asked = this._leave();
    this.element?.setAttribute("aria-busy", "true");
    try {
      const [conversation, place] = await Promise.all([Conversation.open(id), kept.get(`place:${id}`)]);
      const at = message ?? place?.id ?? null;
      if (!at || !(await this._loaded(conversation, at))) await conversation.loadEnd();
      if (asked !== this._asked) return;
      this._show(conversation);
      this.transcript.show(conversation, { message: at, offset: message ? null : place?.offset });
      if (message) await this.point(message);
      await this._opened(asked);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (asked !== this._asked) return;
      this._nothing(error, () => { this.conversation = null; void this.open(id, message); });
    }
  }

  async _loaded(conversation, at) {
    try {
      await conversation.loadAround(at);
      return conversation.index(at) >= 0;
    } catch (error) {
      if (error.status === 400 || error.status === 404) return false;
      throw error;
    }
  }

  async _opened(asked) {
    await this.composer.open(this.key);
    await this.instructions.open(this.key, this.conversation.detail);
    if (asked !== this._asked) return;
    this.model.use(this.conversation.messages.findLast((message) => message.model)?.model ?? null);
    await this.sending.resume(this.conversation.detail.running ?? [], this.key);
    this.changed();
    await this.sight.see();
  }

  /** A new chat: it is made with its first message. */
  async fresh(temporary) {
    const asked = this._leave();
    const focused = document.activeElement;
    this.temporary = temporary;
    this.key = temporary ? "temporary" : "new";
    this.conversation = null;
    this.transcript.show(null);
    this.model.use(null);
    this._welcome(true);
    this.header.show();
    await this.composer.open(this.key);
    await this.instructions.open(this.key, null);
    if (asked !== this._asked) return;
    await this.sending.resume([], this.key);
    this.changed();
    // Whoever went into another field meanwhile stays in it.
    if (document.activeElement === focused && matchMedia("(min-width: 720px)").matches) this.composer.field.focus();
  }

  _leave() {
    this.transcript.keepPlace();
    this.sending.leave();
    this.find.close();
    this.card.hide();
    this.sight.forget();
    this.notice.hidden = true;
    return ++this._asked;
  }

  _show(conversation) {
    this.conversation = conversation;
    this.key = conversation.id;
    this.temporary = conversation.detail.expires_at !== null;
    this._welcome(false);
    this.header.show();
  }

  _nothing(error, again) {
    this.conversation = null;
    this.transcript.show(null);
    const gone = error.status === 404;
    this.header.show(gone ? "This chat is not there" : "This chat cannot be shown");
    this.notice.hidden = false;
    this.notice.replaceChildren(gone ? "It was deleted, or is somebody else's. " : `${error.message} `, gone ? h("a", { href: "#/new" }, "New chat") : h("button", { type: "button", class: "plain", on: { click: () => { this.notice.hidden = true; again(); } } }, "Try again"));
  }

  _welcome(shown) {
    this.welcome.hidden = !shown;
    this.element?.classList.toggle("is-new", shown);
    if (!shown) return;
    const record = this.model.server?.record;
    const text = this.temporary
      ? "A temporary chat: it stays out of lists and search, and is deleted a while after its last message."
      : record === "none" ? "This server keeps nothing (--record none), so that the page cannot hold a chat." : "Everything that is said here is kept, and found again.";
    this.welcome.replaceChildren(h("h2", {}, this.temporary ? "Temporary chat" : "What shall we talk about?"), h("p", {}, text));
  }

  /** The conversation to be asked in; a new chat is made now. */
  async made() {
    if (this.conversation) return;
    const asked = this._asked;
    const conversation = await Conversation.make(this.temporary);
    conversation.begins = conversation.ends = true;
    if (asked !== this._asked) return;
    const from = this.key;
    this.composer.rekey(conversation.id);
    this.instructions.rekey(conversation.id);
    const unsent = await kept.get(`outbox:${from}`);
    await kept.put(`outbox:${conversation.id}`, unsent);
    await kept.put(`outbox:${from}`, null);
    this.conversation = conversation;
    this.transcript.conversation = conversation;
    this.key = conversation.id;
    history.replaceState(null, "", `#/c/${conversation.id}`);
    this._welcome(false);
    this.header.show();
    tell("conversation:changed", { id: conversation.id, conversation: conversation.detail });
    bus.emit("conversation:shown", { id: conversation.id });
  }

  /** Show the end as it is stored now; `before` is done in the same step. */
  async renew(before = () => {}) {
    const { conversation } = this;
    if (!conversation) return;
    try {
      await Promise.all([conversation.renewEnd(), conversation.refresh()]);
    } catch (error) {
      failed("The chat could not be read again.", error, () => void this.renew(before));
      return;
    }
    if (conversation !== this.conversation) return;
    this.transcript.still(() => {
      before();
      this.transcript.settle();
      this.transcript.reconcile();
    });
    this.header.show();
    tell("conversation:changed", { id: conversation.id, conversation: conversation.detail });
    await this.sight.see();
  }

  /** Something may have come meanwhile: from another tab, or while this one slept. */
  async refresh() {
    const { conversation } = this;
    if (!conversation || this._refreshing) return;
    this._refreshing = true;
    try {
      const { head, updated_at: updated } = conversation.detail;
      await conversation.refresh();
      if (conversation !== this.conversation) return;
      const { detail } = conversation;
      if ((detail.head !== head || detail.updated_at !== updated) && conversation.ends && !this.sending.turns.size) await this.renew();
      await this.sending.resume(detail.running ?? [], this.key);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404 && conversation === this.conversation) this._nothing(error);
      // Else it is tried the next time; what is shown is right as far as it goes.
    } finally {
      this._refreshing = false;
    }
  }

  /** Go to a message, on whichever branch. Returns whether it is there. */
  async point(id) {
    const { conversation } = this;
    if (this.transcript.point(id)) return true;
    try {
      if (!(await this._loaded(conversation, id))) {
        const head = conversation.detail.head;
        await conversation.choose(id);
        await conversation.loadAround(id);
        toast("That message is on another branch, which is shown now.", { action: { label: "Undo", run: () => void this.choose(head) } });
      }
    } catch (error) {
      failed("That message cannot be shown.", error);
      return false;
    }
    if (conversation !== this.conversation) return false;
    const extras = this.transcript.extras;
    this.transcript.show(conversation, { message: id });
    this.transcript.extras = extras;
    this.transcript.reconcile();
    await this.sight.see();
    return this.transcript.point(id);
  }

  /** Show the branch that a message is on; it stands where `offset` (px) says. */
  async choose(id, offset = null) {
    const { conversation } = this;
    try {
      await conversation.choose(id);
      await conversation.loadAround(id);
    } catch (error) {
      failed("The branch could not be chosen.", error);
      return;
    }
    if (conversation !== this.conversation) return;
    this.sending.leave();
    this.transcript.show(conversation, { message: id, offset });
    await this.sending.resume(conversation.detail.running ?? [], this.key);
    this.changed();
    await this.sight.see();
  }

  /** Turns began or ended, or messages came and went. */
  changed() {
    this.composer.isRunning = this.sending.running.length > 0;
    if (this.conversation || this.transcript.extras.length) this._welcome(false);
  }

  announce(text) {
    this.alert.textContent = "";
    requestAnimationFrame(() => { this.alert.textContent = text; });
  }

  /** What was written, back in the field. */
  takeBack(content) {
    const parts = typeof content === "string" ? [{ type: "text", text: content }] : content;
    const text = parts.filter((each) => each.type === "text").map((each) => each.text).join("\n\n");
    const pieces = parts.filter((each) => each.image_url).map((each, place) => ({ name: `Picture ${place + 1}`, url: each.image_url.url }));
    const old = this.composer.field.value;
    this.composer.set(old ? `${text}\n\n${old}` : text, [...pieces, ...this.composer.pieces]);
    void this.composer.keep();
    this.composer.field.focus();
  }
}
