// What keeps the list of chats as the server has it: pages as it is scrolled, and what changed meanwhile.

import { api, part } from "./api.js";
import { bus } from "./state.js";
import { VIEWS } from "./list.js";

const PAGE = 50;
const LOOK = 20_000;
/** How often (ms) it is looked whether other apps and windows have changed anything. */
const TITLES = [2_000, 6_000, 15_000, 40_000];
/** How long (ms) after a reply it is looked whether the model has made a title. */

/** Fills a List. `shown(state)` hears "loading", "more" (there is more to load), "all", or an ApiError. */
export class Pages {
  constructor(list, shown) {
    this._list = list;
    this._shown = shown;
    this._round = 0;
    this._tail = null;
    this._loading = false;
    this.done = false;
  }

  /** Load a view from its beginning. */
  async open(view) {
    const round = ++this._round;
    this._list.clear(view);
    this._tail = null;
    this._loading = false;
    this.done = false;
    await Promise.all([view === "chats" ? this._pinned(round) : null, this.more()]);
  }

  get _query() {
    return { only: VIEWS[this._list.view].only };
  }

  async _pinned(round) {
    try {
      let after = null;
      do {
        const page = await api.get("conversations", { only: "pinned", limit: 100, after });
        if (round !== this._round) return;
        for (const each of page.data) this._list.put(each);
        after = page.has_more ? page.last_id : null;
      } while (after);
    } catch {
      // The list itself says what is wrong.
    }
  }

  /** Load one page more. */
  async more() {
    if (this._loading || this.done) return;
    const round = this._round;
    this._loading = true;
    this._shown("loading");
    try {
      const page = await api.get("conversations", { ...this._query, limit: PAGE, after: this._tail });
      if (round !== this._round) return;
      for (const each of page.data) this._list.put(each);
      this._tail = page.data.at(-1)?.id ?? this._tail;
      this.done = !page.has_more;
      this._shown(this.done ? "all" : "more");
    } catch (error) {
      if (round === this._round) this._shown(error);
    } finally {
      if (round === this._round) this._loading = false;
    }
  }

  /** The page goes on after the last one that stands where it stood; one that was used again or deleted does not. */
  _mendTail(id) {
    if (id !== this._tail) return;
    let last = null;
    for (const { conversation } of this._list.records.values()) {
      if (conversation.id === id || conversation.pinned) continue;  // pinned ones were not loaded in order
      if (!last || conversation.updated_at < last.updated_at) last = conversation;
    }
    this._tail = last?.id ?? null;
  }

  put(conversation) {
    const known = this._list.get(conversation.id);
    if (known && known.conversation.updated_at !== conversation.updated_at) this._mendTail(conversation.id);
    // What is older than all that is loaded comes with its page.
    if (!known && !this.done && !conversation.pinned && this._tail) {
      const tail = this._list.get(this._tail);
      if (tail && conversation.updated_at < tail.conversation.updated_at) return;
    }
    this._list.put(conversation);
  }

  drop(id) {
    this._mendTail(id);
    this._list.drop(id);
  }

  /** Read one chat again, and show it as it is. */
  async renew(id) {
    const round = this._round;
    try {
      const found = await api.get(`conversations/${part(id)}`);
      if (round === this._round) this.put(found);
      return found;
    } catch (error) {
      if (error.status === 404) this.drop(id);
      return null;
    }
  }

  /** See what is new at the top. */
  async refresh() {
    if (this._loading || document.hidden) return;
    const round = this._round;
    this._list.turnDay();
    try {
      const page = await api.get("conversations", { ...this._query, limit: PAGE });
      if (round !== this._round || this._loading) return;
      const found = new Set(page.data.map((each) => each.id));
      const oldest = page.has_more ? page.data.at(-1).updated_at : -1;
      for (const { conversation } of [...this._list.records.values()]) {
        if (!found.has(conversation.id) && conversation.updated_at > oldest) await this.renew(conversation.id);
      }
      for (const each of page.data) this.put(each);
      if (!this.done && !page.has_more) this.done = true;
      this._shown(this.done ? "all" : "more");
    } catch {
      // Asked again soon; what is shown stays.
    }
  }

  /** Hear what happens here and in other tabs, and look from time to time. */
  follow() {
    bus.on("conversation:changed", ({ id, conversation }) => { if (conversation) this.put(conversation); else this.renew(id); });
    bus.on("conversation:gone", ({ id }) => this.drop(id));
    bus.on("turn:began", ({ conversation }) => { if (conversation) this.renew(conversation); });
    bus.on("turn:ended", ({ conversation }) => { if (conversation) this._awaitTitle(conversation); });
    setInterval(() => this.refresh(), LOOK);
    addEventListener("online", () => this.refresh());
    addEventListener("focus", () => this.refresh());
    document.addEventListener("visibilitychange", () => this.refresh());
  }

  async _awaitTitle(id) {
    for (const pause of [0, ...TITLES]) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      const found = await this.renew(id);
      if (!found || (found.titled_by && found.titled_by !== "words")) return;
    }
  }
}
