// The list of chats as it is used: scrolled, walked with arrows, with a menu for each.

import { h } from "./dom.js";
import { menuOf, remove, undoRemoval } from "./chats.js";
import { isMac, isTyping } from "./keys.js";
import { List, VIEWS } from "./list.js";
import { openMenu } from "./menu.js";
import { Pages } from "./pages.js";
import { emptiness, markRow, placeholder, renameIn } from "./row.js";
import { bus, settings } from "./state.js";

const AHEAD = 800;
/** More is loaded when the end of the list comes so near (px). */
const EMPTY = {
  chats: ["No chats yet", "What you ask here and from apps that use this server is kept, and listed here."],
  archived: ["Nothing archived", "Archive a chat from its menu to keep it out of the way."],
  tasks: ["No tasks", "Requests that apps made once and nobody went on with are listed here."],
  temporary: ["No temporary chats", "A temporary chat is deleted some time after it was last used."],
};

/** Fill an element (which scrolls) with the list. Returns {open(view), focus(), titled(words, most), view}. */
export function mountListing(scroller) {
  const body = h("div", { class: "list" });
  const foot = h("div", { class: "list-foot" });
  scroller.append(body, foot);
  const list = new List(body, (row) => rove.leave(row));
  const pages = new Pages(list, (state) => {
    showState(foot, list, state, () => pages.more());
    if (state === "more") requestAnimationFrame(loadNear);  // a page may not fill the room there is
  });
  const rove = roving(body, list);

  function loadNear() {
    const left = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    if (foot.dataset.state === "more" && left < AHEAD && scroller.clientHeight) void pages.more();
  }
  scroller.addEventListener("scroll", loadNear, { passive: true });
  new ResizeObserver(loadNear).observe(scroller);
  new MutationObserver(() => {
    rove.mend();
    if (foot.dataset.state === "all") showState(foot, list, "all");
  }).observe(body, { childList: true, subtree: true });

  body.addEventListener("click", (event) => {
    const button = event.target.closest(".row-more");
    if (button) showMenu(button);
  });
  body.addEventListener("dblclick", (event) => {
    if (event.target.closest(".row-link")) startRename(event.target.closest(".row"));
  });
  body.addEventListener("contextmenu", (event) => {
    const row = event.target.closest(".row");
    if (!row || isTyping(event.target)) return;
    event.preventDefault();
    const byMouse = event.button === 2 && event.detail !== undefined && event.clientX + event.clientY > 0;
    showMenu(row.querySelector(".row-more"), byMouse ? { x: event.clientX, y: event.clientY } : null);
  });
  body.addEventListener("keydown", (event) => onKey(event));

  function showMenu(button, at = null) {
    const row = button.closest(".row");
    const { conversation } = list.get(row.dataset.id);
    const items = menuOf(conversation, { startRename: () => startRename(row) });
    openMenu(button, items, { label: button.getAttribute("aria-label"), at });
  }

  function startRename(row) {
    renameIn(row, list.get(row.dataset.id).conversation);
  }

  function onKey(event) {
    const row = event.target.closest(".row");
    if (!row || isTyping(event.target) || event.isComposing) return;
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === "z" && !event.shiftKey) undoRemoval();
    else if (command || event.altKey) return;
    else if (event.key === "F2") startRename(row);
    else if (event.key === "Delete" || (isMac && event.key === "Backspace")) remove(list.get(row.dataset.id).conversation);
    else if (event.key === "F10" && event.shiftKey) showMenu(row.querySelector(".row-more"));
    else if (!rove.key(event, row)) return;
    event.preventDefault();
  }

  bus.on("marks", ({ id }) => { const record = list.get(id); if (record) markRow(record.element, id); });
  bus.on("conversation:back", ({ id, elsewhere }) => { if (!elsewhere) rove.focus(list.get(id)?.element); });
  followCurrent(body, list);
  pages.follow();

  const open = (view) => {
    settings.set("view", view === "chats" ? null : view);
    foot.dataset.state = "";
    scroller.scrollTop = 0;
    return pages.open(view);
  };
  return { open, focus: () => rove.focus(), titled: (words, most) => list.titled(words, most), get view() { return list.view; } };
}

/** What stands below the list. */
function showState(foot, list, state, again) {
  foot.dataset.state = typeof state === "string" ? state : "error";
  if (state === "loading") foot.replaceChildren(placeholder(list.size ? 2 : 8));
  else if (state === "more") foot.replaceChildren();
  else if (state === "all") foot.replaceChildren(...(list.size ? [] : [emptiness(VIEWS[list.view].icon, ...EMPTY[list.view])]));
  else {
    foot.replaceChildren(h(
      "div", { class: "list-error", role: "alert" },
      h("p", {}, `The list could not be loaded. ${state.message}`),
      h("button", { type: "button", class: "button", on: { click: again } }, "Try again"),
    ));
  }
}

/** One row at a time can be reached with Tab, the others with arrows from it. */
function roving(body, list) {
  let place = null;
  const reach = (row) => {
    if (place === row) return;
    for (const each of place?.querySelectorAll("[tabindex]") ?? []) each.tabIndex = -1;
    place = row;
    for (const each of place?.querySelectorAll("[tabindex]") ?? []) each.tabIndex = 0;
  };
  const focus = (row = place) => {
    const to = row ?? list.first;
    if (!to) return;
    reach(to);
    to.querySelector(".row-link").focus();
    to.scrollIntoView({ block: "nearest" });
  };
  body.addEventListener("focusin", (event) => { const row = event.target.closest(".row"); if (row) reach(row); });
  return {
    focus,
    /** A row that can be reached, where the one that was is gone: the open chat's, or the first. */
    mend() {
      if (place?.isConnected) return;
      place = null;
      reach(body.querySelector(".row:has([aria-current])") ?? list.first);
    },
    /** Go to the next row, as this one goes. */
    leave(row) {
      if (row !== place) return;
      const to = list.next(row, 1) ?? list.next(row, -1);
      if (row.contains(document.activeElement)) focus(to);
      else reach(to);
    },
    key(event, row) {
      const to = { ArrowDown: () => list.next(row, 1), ArrowUp: () => list.next(row, -1), Home: () => list.first, End: () => list.last }[event.key]?.();
      if (to === undefined) return false;
      if (to) focus(to);
      else if (event.key === "ArrowUp") bus.emit("filter:focus");
      return true;
    },
  };
}

/** Mark the chat that is open, also when its row comes later. */
function followCurrent(body, list) {
  let id = null, marked = null;
  const mark = () => {
    const link = list.get(id)?.element.querySelector(".row-link") ?? null;
    if (marked !== link) marked?.removeAttribute("aria-current");
    marked = link;
    link?.setAttribute("aria-current", "page");
  };
  for (const event of ["conversation:open", "conversation:shown"]) bus.on(event, (shown) => { id = shown.id; mark(); });
  bus.on("conversation:new", () => { id = null; mark(); });
  new MutationObserver((changes) => {
    if (id && changes.some(({ addedNodes }) => addedNodes.length)) mark();
  }).observe(body, { childList: true, subtree: true });
}
