// The chats that are loaded, and where each stands in the list: in parts by day, the last used first.

import { h } from "./dom.js";
import { titleOf } from "./chats.js";
import { dayOf, partOf } from "./dates.js";
import { fillRow, rowOf } from "./row.js";

const PIECE = 50;
/** So many rows are a list of their own: the browser lays out and paints only those that are near, and need not look at
 * each row for that. */
const ROW = 36;
/** How high a row is, about (px). */
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
      const isSame = conversation.expires_at === null && JSON.stringify(known.conversation) === JSON.stringify(conversation);
      known.conversation = conversation;
      known.text = titleOf(conversation).toLowerCase();
      if (!isSame) fillRow(known.element, conversation);
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
    detach(record.element);
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
    const { section } = this.parts.get(part.key) ?? this._open(part);
    record.part = part.key;
    detach(record.element);
    this._place(section, record);
    if (before && before !== part.key) this._tidy(before);
    focused?.focus({ preventScroll: true });
  }

  /** Put a row before the first one of its part that was used earlier. */
  _place(section, { element, conversation }) {
    const isLater = (each) => isBefore(conversation, this.records.get(each.dataset.id).conversation);
    const pieces = [...section.querySelectorAll(".rows")];
    let rows = pieces.find((each) => isLater(each.lastElementChild));
    if (rows) {
      rows.insertBefore(element, [...rows.children].find(isLater));
    } else {
      rows = pieces.at(-1);
      if (!rows || rows.childElementCount >= PIECE) section.append((rows = piece(section.firstElementChild.id)));
      rows.append(element);
    }
    if (rows.childElementCount > 2 * PIECE) {
      const rest = piece(section.firstElementChild.id);
      rest.append(...[...rows.children].slice(PIECE));
      rows.after(rest);
      measure(rest);
    }
    measure(rows);
  }

  _open(part) {
    const section = h("section", { class: "part" }, h("h3", { class: "part-name", id: `part-${part.key}` }, part.label));
    const opened = { rank: part.rank, section };
    const after = [...this.parts.values()].filter((each) => each.rank < part.rank);
    const next = after.reduce((best, each) => (best && best.rank > each.rank ? best : each), null);
    this.element.insertBefore(section, next?.section ?? null);
    this.parts.set(part.key, opened);
    return opened;
  }

  _tidy(key) {
    const part = this.parts.get(key);
    if (!part || part.section.querySelector(".row")) return;
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

  get first() {
    return this.element.querySelector(".row");
  }

  get last() {
    return this.element.lastElementChild?.lastElementChild.lastElementChild ?? null;
  }

  /** The row after one (`by` 1), or before it (-1); null where there is none. */
  next(row, by) {
    const [beside, edge] = by < 0 ? ["previousElementSibling", "lastElementChild"] : ["nextElementSibling", "firstElementChild"];
    const rows = (each) => (each?.firstElementChild?.matches(".row") ? each : null);
    const part = row.closest(".part")[beside];
    const there = row.parentElement;
    return row[beside] ?? (rows(there[beside]) ?? (by < 0 ? part?.lastElementChild : part?.querySelector(".rows")))?.[edge] ?? null;
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

/** Whether a chat stands before another: it was used later, or in the same second and made later. */
function isBefore(one, other) {
  return one.updated_at === other.updated_at ? one.id > other.id : one.updated_at > other.updated_at;
}

/** Take a row out, and its piece with it where that is left empty. */
function detach(element) {
  const rows = element.parentElement;
  element.remove();
  if (rows && !rows.firstElementChild) rows.remove();
}

function piece(name) {
  return h("ul", { class: "rows", "aria-labelledby": name });
}

/** Say how high a piece of the list will be, before it is laid out. */
function measure(rows) {
  rows.style.containIntrinsicBlockSize = `auto ${rows.childElementCount * ROW}px`;
}
