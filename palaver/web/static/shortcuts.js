// The keys that work everywhere on the page, and the list of all there are.

import { isCovered, openDialog } from "./dialogs.js";
import { h } from "./dom.js";
import { isCommand, isMac, isTyping } from "./keys.js";

const COMMAND = isMac ? "⌘" : "Ctrl";
const SHIFT = isMac ? "⇧" : "Shift";
const KEYS = [
  ["Anywhere", [
    [[COMMAND, "K"], "Search chats"],
    [[COMMAND, SHIFT, "O"], "New chat"],
    [[COMMAND, "B"], "Show or hide the sidebar"],
    [[COMMAND, "/"], "This list; also ? outside fields"],
  ]],
  ["In a chat", [
    [[COMMAND, "F"], "Find in this chat"],
    [["Esc"], "Stop the reply; leave an edit"],
    [["Enter"], "Send; with the other setting a new line"],
    [[SHIFT, "Enter"], "A new line"],
    [[COMMAND, "Enter"], "Send, with either setting"],
  ]],
  ["In the list of chats", [
    [["↑", "↓"], "The chat above, the chat below"],
    [["Home", "End"], "The first, the last that is loaded"],
    [["Enter"], "Open"],
    [["F2"], "Rename"],
    [[isMac ? "⌫" : "Delete"], "Delete, with time to undo"],
    [[COMMAND, "Z"], "Undo the deletion"],
    [[SHIFT, "F10"], "Its menu"],
  ]],
  ["In the search", [
    [["↑", "↓"], "Choose what was found"],
    [["Enter"], "Open it"],
    [["Esc"], "Clear the search"],
  ]],
];

let shown = null;

/** Show all of them, or put the list away. */
export function openShortcuts() {
  if (shown) return shown.close();
  shown = openDialog({ title: "Keyboard shortcuts", kind: "wide shortcuts", body: h("div", { class: "keys" }, KEYS.map(part)) });
  shown.closed.then(() => { shown = null; });
}

function part([name, keys]) {
  return h(
    "section", {}, h("h3", {}, name),
    h("dl", {}, keys.map(([pressed, what]) => h("div", {}, h("dt", {}, pressed.map((key) => h("kbd", {}, key))), h("dd", {}, what)))),
  );
}

/** Hear the keys. `does` has: search(), create(), toggle(). */
export function mountShortcuts(does) {
  addEventListener("keydown", (event) => {
    const run = chosen(event, does);
    if (!run) return;
    event.preventDefault();
    run();
  });
}

function chosen(event, does) {
  if (event.defaultPrevented || event.isComposing || event.repeat) return null;
  const key = event.key.toLowerCase();
  if (isCommand(event) && key === "/") return shown || !isCovered() ? openShortcuts : null;
  if (event.key === "?" && !isTyping(event.target) && !event.ctrlKey && !event.metaKey) return shown || !isCovered() ? openShortcuts : null;
  if (!isCommand(event) || isCovered()) return null;
  if (event.shiftKey) return key === "o" ? does.create : null;
  return { k: does.search, b: does.toggle }[key] ?? null;
}
