// Find in the open chat, on Ctrl-F: the browser's own search sees only what is loaded.

import { api } from "./api.js";
import { h, iconButton, later } from "./dom.js";

const PAGE = 100;

export class FindBar {
  /** `does` has: conversation(), point(message id), list (the element whose text is highlighted), failed(error). */
  constructor(does) {
    this.does = does;
    this.hits = [];
    this.at = -1;
    this._asked = 0;
    this.field = h("input", { type: "search", "aria-label": "Find in this chat", placeholder: "Find in this chat", on: { input: () => this._search(), keydown: (event) => this._pressed(event) } });
    this.count = h("span", { class: "find-count", role: "status" });
    this.date = h("input", { type: "date", "aria-label": "Go to a day", title: "Go to a day", on: { change: () => void this._toDate() } });
    this.element = h(
      "div", { class: "find", role: "search", hidden: true }, this.field, this.count,
      iconButton("up", "The one before (Enter)", () => this.step(1), { class: "find-before" }), iconButton("down", "The one after (Shift-Enter)", () => this.step(-1), { class: "find-next" }),
      this.date, iconButton("close", "Close (Escape)", () => this.close(), { class: "find-close" }),
    );
    this._search = later(() => void this.search(), 150);
  }

  open() {
    this.element.hidden = false;
    const selected = String(getSelection() ?? "");
    if (selected && selected.length < 80 && !selected.includes("\n")) this.field.value = selected;
    this.field.select();
    this.field.focus();
    if (this.field.value) this._search();
  }

  close() {
    this._asked++;
    this.element.hidden = true;
    this.hits = [];
    CSS.highlights?.delete("found");
    this.does.list.focus?.();
  }

  /** Look for what is written; the newest that fits is gone to. */
  async search() {
    const conversation = this.does.conversation(), asked = ++this._asked;
    const words = this.field.value.trim();
    this.hits = [];
    this.at = -1;
    if (!words || !conversation) {
      this.count.textContent = "";
      this.highlight();
      return;
    }
    this.count.textContent = "…";
    try {
      const query = /[*"]\s*$/.test(words) ? words : `${words}*`;
      let found = [], after = null, more = true;
      while (more && found.length < 1000) {
        const page = await api.get(`${conversation.path}/search`, { q: query, path: "head", sort: "newest", limit: PAGE, after });
        if (asked !== this._asked) return;
        found = [...found, ...page.data];
        more = page.has_more;
        after = page.last_id;
        if (found.length === page.data.length) this._show(found, more, true);
      }
      this._show(found, more, false);
    } catch (error) {
      if (asked !== this._asked) return;
      this.count.textContent = "";
      this.does.failed(error);
    }
  }

  _show(hits, more, first) {
    this.hits = hits;
    if (first && hits.length) this.step(0, 0);
    else this._count(more);
  }

  /** Go `by` hits towards the older (or newer, below 0) ones. */
  step(by, to = this.at + by) {
    if (!this.hits.length) return;
    this.at = (to + this.hits.length) % this.hits.length;
    this._count(false);
    void this.does.point(this.hits[this.at].message).then(() => this.highlight());
  }

  _count(more) {
    const all = `${this.hits.length}${more || this.hits.length >= 1000 ? "+" : ""}`;
    this.count.textContent = this.hits.length ? `${this.at + 1} of ${all}` : "Nothing found";
  }

  /** Mark the words in what is shown. */
  highlight() {
    if (!CSS.highlights) return;
    CSS.highlights.delete("found");
    if (this.element.hidden) return;
    const words = this.field.value.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
    if (!words.length) return;
    const ranges = [];
    const walker = document.createTreeWalker(this.does.list, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node && ranges.length < 2000; node = walker.nextNode()) {
      const text = node.data.toLowerCase();
      for (const word of words) {
        for (let from = text.indexOf(word); from >= 0 && ranges.length < 2000; from = text.indexOf(word, from + word.length)) {
          const range = new Range();
          range.setStart(node, from);
          range.setEnd(node, Math.min(from + word.length, node.length));
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  async _toDate() {
    const conversation = this.does.conversation(), day = this.date.value;
    if (!conversation || !day) return;
    try {
      // The day as it is here, not in Greenwich.
      const message = await conversation.at(Math.floor(new Date(`${day}T00:00`).getTime() / 1000));
      if (message) await this.does.point(message);
      else this.count.textContent = "Nothing since then";
    } catch (error) {
      this.does.failed(error);
    }
  }

  _pressed(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter") {
      if (this.hits.length) this.step(event.shiftKey ? -1 : 1);
      else this._search.now();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
