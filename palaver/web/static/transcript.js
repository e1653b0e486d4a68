// The messages of the open conversation, as they stand on the screen: only those that are loaded, and never moved under
// the reader's eyes.

import { h, iconOf, later } from "./dom.js";
import { MessageView } from "./message.js";
import { Follower } from "./scroll.js";
import { kept } from "./state.js";

const GAP = 10;
/** How far below the top a new question is brought, in CSS pixels. */

export class Transcript {
  /** `does` is what can be done with a message; `failed` is told where more cannot be loaded. */
  constructor(does, failed) {
    this.does = does;
    this.failed = failed;
    this.views = new Map();
    this.conversation = null;
    this.extras = [];
    this.list = h("ol", { class: "messages", "aria-label": "Messages" });
    this.top = h("div", { class: "edge", "aria-hidden": "true" });
    this.bottom = h("div", { class: "edge", "aria-hidden": "true" });
    this.room = h("div", { class: "room", "aria-hidden": "true" });
    this.inner = h("div", { class: "inner" }, this.top, this.list, this.bottom, this.room);
    this.scroller = h("div", { class: "scroller", tabindex: "-1" }, this.inner);
    this.jump = h("button", { type: "button", class: "jump", hidden: true, on: { click: () => this.toEnd() } }, iconOf("down"), h("span", {}, "To the end"));
    this.element = h("section", { class: "transcript", "aria-label": "Messages of this chat" }, this.scroller, this.jump);
    this.follower = new Follower(this.scroller, this.inner, () => this._tellJump());
    this.question = null;
    const seen = new IntersectionObserver((found) => this._atEdge(found), { root: this.scroller, rootMargin: "1500px 0px" });
    seen.observe(this.top);
    seen.observe(this.bottom);
    this._edges = seen;
    this._keep = later(() => this.keepPlace(), 400);
    this.scroller.addEventListener("scroll", () => this._keep(), { passive: true });
    new ResizeObserver(() => this._makeRoom()).observe(this.list);
    new ResizeObserver(() => this._makeRoom()).observe(this.scroller);
  }

  /** Show a conversation (null for none yet) with what is loaded of it: at a message, else at its end. */
  show(conversation, { message = null, offset = null } = {}) {
    this._keep.cancel();
    this.conversation = conversation;
    this.extras = [];
    this.question = null;
    this.views.clear();
    this.list.replaceChildren();
    this.room.style.height = "0";
    this.reconcile();
    if (message && this.views.has(message)) this.at(message, offset);
    else this.follower.toEnd();
    this._look();
  }

  /** Bring a message to the top, or so far (px) below it. */
  at(message, offset = null) {
    const element = this.views.get(message)?.element;
    if (!element) return false;
    const top = element.offsetTop - (offset ?? Math.min(80, this.scroller.clientHeight / 8));
    this.scroller.scrollTop = top;
    this.follower.reset(this.follower.isAtEnd && offset === null && this.conversation?.ends);
    return true;
  }

  /** The same, and show which it is. */
  point(message) {
    if (!this.at(message)) return false;
    this.follower.leave();
    const view = this.views.get(message);
    view.element.classList.remove("pointed");
    void view.element.offsetWidth;  // so that the animation begins anew
    view.element.classList.add("pointed");
    view.focus();
    return true;
  }

  /** The end of the conversation; where that is not loaded it is. */
  async toEnd() {
    if (this.conversation && !this.conversation.ends) {
      try {
        await this.conversation.loadEnd();
      } catch (error) {
        return this.failed(error);
      }
      this.reconcile();
    }
    return this.follower.toEnd();
  }

  /** Have the views be those of the messages that are loaded, and of what is on its way (`extras`). */
  reconcile() {
    const wanted = [...(this.conversation?.messages ?? [])];
    for (const extra of this.extras) {
      if (!wanted.some((message) => message.id === extra.id) && (this.conversation?.ends ?? true)) wanted.push(extra);
    }
    const ids = new Set(wanted.map((message) => message.id));
    for (const [id, view] of this.views) {
      if (ids.has(id)) continue;
      view.element.remove();
      this.views.delete(id);
    }
    let place = this.list.firstElementChild;
    for (const message of wanted) {
      let view = this.views.get(message.id);
      if (!view) {
        view = new MessageView(message, this.does);
        this.views.set(message.id, view);
      } else if (view.message !== message) view.show(message);
      if (view.element === place) place = place.nextElementSibling;
      else this.list.insertBefore(view.element, place);
    }
    this._makeRoom();
  }

  /** What was on its way and is stored now is on its way no more. */
  settle() {
    const stored = new Set(this.conversation?.messages.map((message) => message.id));
    this.extras = this.extras.filter((extra) => !stored.has(extra.id));
  }

  /** Change what is loaded without moving what the reader looks at. */
  still(change) {
    const box = this.scroller.getBoundingClientRect();
    const anchor = [...this.list.children].find((each) => each.getBoundingClientRect().bottom > box.top + 1);
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (this.follower.following) return this.follower.toEnd();
    if (!anchor?.isConnected) return undefined;
    const moved = anchor.getBoundingClientRect().top - before;
    if (Math.abs(moved) >= 1) this.scroller.scrollTop += moved;
    return undefined;
  }

  /** Another id for what is shown already. */
  rename(from, message) {
    const view = this.views.get(from);
    if (!view || from === message.id) return;
    this.views.delete(from);
    this.views.set(message.id, view);
    if (this.question === from) this.question = message.id;
    view.show(message);
  }

  /** A question was asked here and now: it goes to the top, with room for its reply below. */
  asked(id) {
    this.question = id;
    this._makeRoom();
    this.follower.toEnd();
  }

  _makeRoom() {
    const element = this.question ? this.views.get(this.question)?.element : null;
    const below = element ? this.inner.offsetTop + this.inner.offsetHeight - this.room.offsetHeight - element.offsetTop : 0;
    const room = element ? Math.max(0, this.scroller.clientHeight - below - GAP) : 0;
    const height = `${Math.round(room)}px`;
    if (this.room.style.height !== height) this.room.style.height = height;
  }

  async _atEdge(found) {
    for (const { target, isIntersecting } of found) {
      if (!isIntersecting || !this.conversation?.messages.length) continue;
      try {
        if (target === this.top) await this._more("loadBefore", "last");
        else await this._more("loadAfter", "first");
      } catch (error) {
        this.failed(error);
      }
    }
  }

  async _more(load, far) {
    const { conversation } = this;
    if (this._loading || (load === "loadAfter" ? conversation.ends : conversation.begins)) return;
    this._loading = true;
    try {
      const added = await conversation[load]();
      if (conversation !== this.conversation || !added.length) return;
      if (load === "loadAfter") this.follower.following = false;
      this.still(() => {
        conversation.trim(far);
        this.reconcile();
      });
      this.does.loaded();
    } finally {
      this._loading = false;
    }
    this._look();
  }

  /** Look again whether an edge is near: an observer says only what changes. */
  _look() {
    for (const edge of [this.top, this.bottom]) {
      this._edges.unobserve(edge);
      this._edges.observe(edge);
    }
  }

  _tellJump() {
    const { isAtEnd, isMore, following } = this.follower;
    const hidden = following || (isAtEnd && (this.conversation?.ends ?? true));
    this.jump.hidden = hidden;
    const text = isMore ? "New text below" : "To the end";
    if (this.jump.lastChild.textContent !== text) this.jump.lastChild.textContent = text;
  }

  /** The message at the top of the screen, for the next time this conversation is opened. */
  keepPlace() {
    if (!this.conversation) return;
    const box = this.scroller.getBoundingClientRect();
    const view = [...this.views.values()].find(({ element, message }) => !message.outgoing && element.getBoundingClientRect().bottom > box.top + 1);
    const isEnd = this.follower.following || (this.follower.isAtEnd && this.conversation.ends);
    const place = isEnd || !view ? null : { id: view.message.id, offset: Math.round(view.element.getBoundingClientRect().top - box.top) };
    void kept.put(`place:${this.conversation.id}`, place);
  }
}
