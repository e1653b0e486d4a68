// Which chats have a reply on its way, and which one that nobody has looked at.

import { api, part } from "./api.js";
import { bus, settings } from "./state.js";

const LOOK = 4_000;
/** How often (ms) it is asked whether the replies of chats that are not open have ended. */
const MOST = 200;

const running = new Map();  // chat: its turn
let unread = new Set(settings.get("unread", []));
let current = null;
let timer = null;

export const isRunning = (id) => running.has(id);
export const isUnread = (id) => unread.has(id);

function keepRunning() {
  settings.set("running", running.size ? [...running].slice(-MOST) : null);
}

function keepUnread() {
  settings.set("unread", unread.size ? [...unread].slice(-MOST) : null);
}

function setUnread(id, is) {
  if (unread.has(id) === is) return;
  if (is) unread.add(id);
  else unread.delete(id);
  keepUnread();
  bus.emit("marks", { id });
}

function begin({ conversation, turn = null, elsewhere = false }) {
  if (!conversation) return;
  running.set(conversation, turn);
  if (!elsewhere) keepRunning();
  bus.emit("marks", { id: conversation });
  timer ??= setTimeout(look, LOOK);
}

function end({ conversation, elsewhere = false }) {
  if (!conversation || !running.delete(conversation)) return;
  // The tab that followed the reply knows whether anybody saw it.
  if (!elsewhere) {
    keepRunning();
    if (conversation !== current || document.hidden) setUnread(conversation, true);
  }
  bus.emit("marks", { id: conversation });
}

/** Ask for those that no tab follows any more. */
async function look() {
  timer = null;
  for (const [id] of [...running]) {
    if (id === current && !document.hidden) continue;
    try {
      const found = await api.get(`conversations/${part(id)}`);
      if (found.running?.length) continue;
      end({ conversation: id });
      bus.emit("conversation:changed", { id, conversation: found });
    } catch (error) {
      if (error.status !== 404) break;  // asked again when it can be
      running.delete(id);
      keepRunning();
      setUnread(id, false);
    }
  }
  if (running.size) timer ??= setTimeout(look, LOOK);
}

function forget({ id }) {
  if (running.delete(id)) keepRunning();
  setUnread(id, false);
}

function seen() {
  if (current && !document.hidden) setUnread(current, false);
}

/** Begin to keep them. */
export function mountMarks() {
  for (const [id, turn] of settings.get("running", [])) begin({ conversation: id, turn, elsewhere: true });
  bus.on("turn:began", begin);
  bus.on("turn:ended", end);
  bus.on("conversation:gone", forget);
  for (const event of ["conversation:open", "conversation:shown"]) bus.on(event, ({ id }) => { current = id; seen(); });
  bus.on("conversation:new", () => { current = null; });
  document.addEventListener("visibilitychange", seen);
  addEventListener("storage", ({ key }) => {
    if (key !== "palaver.unread") return;
    const before = unread;
    unread = new Set(settings.get("unread", []));
    for (const id of before.symmetricDifference?.(unread) ?? new Set([...before, ...unread])) bus.emit("marks", { id });
  });
}
