// Where the page begins: its parts, and which of them an address asks for.

import { Chat } from "./chat.js";
import { isCovered } from "./dialogs.js";
import { isCommand } from "./keys.js";
import { mountShortcuts } from "./shortcuts.js";
import { focusFilter, mountSidebar, newChat, toggleSidebar } from "./sidebar.js";
import { mountSignIn } from "./signin.js";
import { bus } from "./state.js";
import { mountTheme } from "./theme.js";

mountTheme();
mountSignIn();
const chat = new Chat(document.getElementById("main"));
mountSidebar(document.getElementById("sidebar"));
mountShortcuts({ search: focusFilter, create: () => newChat(), toggle: toggleSidebar });
void chat.model.load();

/** Show what the address names: a chat, a message in it, or a new chat. */
async function route() {
  const [, id, message] = location.hash.match(/^#\/c\/([^/]+)(?:\/m\/([^/]+))?$/) ?? [];
  if (id) {
    bus.emit("conversation:open", { id: decodeURIComponent(id), message: message ? decodeURIComponent(message) : null });
    await chat.open(decodeURIComponent(id), message ? decodeURIComponent(message) : null);
    return;
  }
  const temporary = location.hash === "#/temporary";
  bus.emit("conversation:new", { temporary });
  await chat.fresh(temporary);
}

addEventListener("hashchange", () => void route());
bus.on("signed-in", () => { if (!chat.conversation && location.hash.startsWith("#/c/")) void route(); });
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || isCovered()) return;
  if (isCommand(event) && !event.shiftKey && event.key.toLowerCase() === "f" && chat.conversation) {
    event.preventDefault();
    chat.find.open();
  } else if (event.key === "Escape" && chat.sending.running.length && !document.querySelector("[popover]:popover-open")) {
    void chat.sending.stop();
  }
});
void route();
