// The chats that are loaded, and where each stands in the list: in parts by day, the last used first.

import { h } from "./dom.js";
import { titleOf } from "./chats.js";
import { dayOf, partOf } from "./dates.js";
import { fillRow, rowOf } from "./row.js";

const PINNED = { key: "pinned", label: "Pinned", rank: Infinity };

/** What the views show, of what lists otherwise leave out. */
export const VIEWS = {
  chats: { label: "Chats", icon: "text", only: null, note: "" },
  archived: { label: "Archived", icon: "archive", only: "archived", note: "Kept, and out of the way" },
  tasks: { label: "Tasks", icon: "check", only: "tasks", note: "What apps asked once, such as for a title" },
  temporary: { label: "Temporary", icon: "clock", only: "temporary", note: "Deleted some time after their last use" },
};

/** Whether a chat is to be seen in a view, as the server lists them. */
export function belongs(view, { archived, pinned, is_task: isTask, expires_at: expires }) {
  if (view === "archived") return Boolean(archived) && expires === null;
  if (archived || (view === "temporary") !== (expires !== null)) return false;
  return view === "chats" ? !isTask || pinned : view === "temporary" || isTask;
}

/** A list of chats in an element. It asks the server for nothing. `leaves` hears of a row that is about to go. */
export class List {
  constructor(element, leaves) {
    this.element = element;
    this._leaves = leaves;
    this.clear("chats");
  }

  clear(view) {
    this.view = view;
    this.records = new Map();  // id: {conversation, element, part, text}
    this.parts = new Map();  // key: {rank, section, rows}
    this.today = dayOf();
    this.element.replaceChildren();
  }

  get size() {
    return this.records.size;
  }

  get(id) {
    return this.records.get(id) ?? null;
  }

  /** Show a chat where it belongs now: in its place, in another, or not at all. Returns its record. */
  put(conversation) {
    const { id } = conversation;
    if (!belongs(this.view, conversation)) return this.drop(id);
    const known = this.records.get(id);
    const part = this._partOf(conversation);
    if (known) {
      const stays = known.part === part.key && known.conversation.updated_at === conversation.updated_at;
      known.conversation = conversation;
      known.text = titleOf(conversation).toLowerCase();
      fillRow(known.element, conversation);
      if (!stays) this._move(known, part);
      return known;
    }
    const element = rowOf(conversation);
    const record = { conversation, element, part: null, text: titleOf(conversation).toLowerCase() };
    this.records.set(id, record);
    this._move(record, part);
    return record;
  }

  drop(id) {
    const record = this.records.get(id);
    if (!record) return null;
    this.records.delete(id);
    this._leaves(record.element);
    record.element.remove();
    this._tidy(record.part);
    return null;
  }

  _partOf(conversation) {
    if (this.view === "chats" && conversation.pinned) return PINNED;
    return partOf(conversation.updated_at, this.today);
  }

  _move(record, part) {
    const before = record.part;
    const focused = record.element.contains(document.activeElement) ? document.activeElement : null;
    const { rows } = this.parts.get(part.key) ?? this._open(part);
    record.part = part.key;
    const time = record.conversation.updated_at;
    // Pages come in order: nearly always it is the last one.
    let next = null;
    const last = rows.lastElementChild;
    if (last && last !== record.element && this._time(last) < time) {
      next = [...rows.children].find((each) => each !== record.element && this._time(each) < time) ?? null;
    }
    if (next || last !== record.element) rows.insertBefore(record.element, next);
    if (before && before !== part.key) this._tidy(before);
    focused?.focus({ preventScroll: true });
  }

  _time(element) {
    return this.records.get(element.dataset.id).conversation.updated_at;
  }

  _open(part) {
    const name = `part-${part.key}`;
    const rows = h("ul", { class: "rows", "aria-labelledby": name });
    const section = h("section", { class: "part" }, h("h3", { class: "part-name", id: name }, part.label), rows);
    const opened = { rank: part.rank, section, rows };
    const after = [...this.parts.values()].filter((each) => each.rank < part.rank);
    const next = after.reduce((best, each) => (best && best.rank > each.rank ? best : each), null);
    this.element.insertBefore(section, next?.section ?? null);
    this.parts.set(part.key, opened);
    return opened;
  }

  _tidy(key) {
    const part = this.parts.get(key);
    if (!part || part.rows.firstElementChild) return;
    part.section.remove();
    this.parts.delete(key);
  }

  /** Part what is loaded anew where another day has begun. */
  turnDay() {
    if (dayOf() === this.today) return;
    this.today = dayOf();
    for (const record of this.records.values()) {
      const part = this._partOf(record.conversation);
      if (part.key !== record.part) this._move(record, part);
    }
  }

  /** All rows, as they stand. */
  rows() {
    return [...this.element.querySelectorAll(".row")];
  }

  /** Chats whose titles have all these words (lower case), as they stand, at most `most`. */
  titled(words, most) {
    const found = [];
    for (const { conversation, text } of this.records.values()) {
      if (words.every((word) => text.includes(word))) found.push(conversation);
    }
    return found.sort((a, b) => b.updated_at - a.updated_at).slice(0, most);
  }
}
