// The conversation that is open: which part of its path is loaded, and how more of it is.

import { api, part } from "./api.js";

const PAGE = 40;
/** Messages that are asked for at once. */
export const MOST = 240;
/** As many are kept loaded at most; what is farthest from the reader goes. */
const INCLUDE = { "include[]": ["html", "siblings", "usage", "timing"] };

/** One conversation. `messages` is a stretch of its path, first message first. */
export class Conversation {
  constructor(detail) {
    this.take(detail);
    this.messages = [];
    this.begins = false;  // whether the path's first message is among them
    this.ends = false;  // whether its last is
  }

  /** What the server says of it. */
  take(detail) {
    this.detail = detail;
    this.id = detail.id;
  }

  static async open(id) {
    return new Conversation(await api.get(`conversations/${part(id)}`));
  }

  static async make(temporary) {
    return new Conversation({ ...(await api.post("conversations", temporary ? { temporary: true } : {})), instructions: [], running: [] });
  }

  get path() {
    return `conversations/${part(this.id)}`;
  }

  async refresh() {
    this.take(await api.get(this.path));
  }

  async _page(query) {
    const page = await api.get(`${this.path}/messages`, { ...INCLUDE, ...query });
    const data = query.order === "asc" ? page.data : page.data.reverse();
    return { data, more: page.has_more };
  }

  /** The end of the path. */
  async loadEnd() {
    const { data, more } = await this._page({ order: "desc", limit: PAGE });
    this._show(data, !more, true);
  }

  /** The beginning of the path. */
  async loadBeginning() {
    const { data, more } = await this._page({ order: "asc", limit: PAGE });
    this._show(data, true, !more);
  }

  /** What stands around a message. Raises ApiError (400) for one that is not on the path to the head. */
  async loadAround(id) {
    const [below, above] = await Promise.all([
      this._page({ order: "asc", limit: PAGE, after: id }),
      this._page({ order: "desc", limit: PAGE, to: id }),
    ]);
    this._show([...above.data, ...below.data], !above.more, !below.more);
  }

  /** The first message that was kept at a time (ISO, or seconds) or later; null where there is none. */
  async at(time) {
    const { data } = await this._page({ order: "asc", limit: 1, at: time });
    return data[0]?.id ?? null;
  }

  _show(data, begins, ends) {
    this.messages = data;
    this.begins = begins;
    this.ends = ends;
  }

  /** What comes before what is loaded; the messages that are new. */
  async loadBefore() {
    const first = this.messages[0];
    if (this.begins || !first) return [];
    const { data, more } = await this._page({ order: "desc", limit: PAGE, after: first.id });
    if (this.messages[0] !== first) return [];  // something else was loaded meanwhile
    this.messages.unshift(...data);
    this.begins = !more;
    return data;
  }

  /** What comes after it. */
  async loadAfter() {
    const last = this.messages.at(-1);
    if (this.ends || !last) return [];
    const { data, more } = await this._page({ order: "asc", limit: PAGE, after: last.id });
    if (this.messages.at(-1) !== last) return [];
    this.messages.push(...data);
    this.ends = !more;
    return data;
  }

  /** Let go of what is farthest from the one end; the messages that went. */
  trim(end) {
    const over = this.messages.length - MOST;
    if (over <= 0) return [];
    if (end === "first") {
      this.begins = false;
      return this.messages.splice(0, over);
    }
    this.ends = false;
    return this.messages.splice(-over);
  }

  /** The newest messages as they are stored now, from a question on or so many; put in the place of what was shown of
   * them. Returns them. */
  async renewEnd(limit = 4) {
    const { data, more } = await this._page({ order: "desc", limit });
    const place = this.messages.findIndex((message) => message.id === data[0]?.id);
    const joins = place >= 0 ? place : this.messages.findIndex((message) => message.id === data[0]?.parent) + 1;
    if (!data.length) this._show([], true, true);
    else if (place < 0 && joins === 0) this._show(data, !more, true);
    else {
      this.messages.splice(joins, this.messages.length, ...data);
      this.ends = true;
    }
    return data;
  }

  index(id) {
    return this.messages.findIndex((message) => message.id === id);
  }

  get last() {
    return this.ends ? (this.messages.at(-1) ?? null) : null;
  }

  /** The latest turn of the path, also where its end is not loaded; null where no reply of it was generated here. */
  async lastTurn() {
    const end = this.ends ? this.messages : (await api.get(`${this.path}/messages`, { order: "desc", limit: 4 })).data.reverse();
    return end.findLast((message) => message.turn)?.turn ?? null;
  }

  /** Make a message the head, and nothing below it. */
  async setHead(message) {
    await api.post(`${this.path}/head`, { message });
  }

  /** Have the path lead through a message to the newest end below it. */
  async choose(message) {
    await api.post(`${this.path}/head`, { message, newest: true });
    await this.refresh();
  }
}

/** The text of a message: its parts that are text. */
export function textOf(message) {
  return message.content.filter((each) => "text" in each).map((each) => each.text).join("\n");
}
