// The sidebar: new chats, the filter, the list in its views. On a narrow page it is a drawer over the chat.

import { h, iconButton, iconOf } from "./dom.js";
import { isCovered } from "./dialogs.js";
import { mountFilter } from "./filter.js";
import { isMac } from "./keys.js";
import { VIEWS } from "./list.js";
import { mountListing } from "./listing.js";
import { mountMarks } from "./marks.js";
import { openMenu } from "./menu.js";
import { openSettings } from "./settings.js";
import { openShortcuts } from "./shortcuts.js";
import { bus, settings } from "./state.js";

const narrow = matchMedia("(max-width: 719px)");
const root = document.documentElement;

/** Go to an empty chat; also where that is what is shown, so that its field has the focus. */
export function newChat(temporary = false) {
  const to = temporary ? "#/temporary" : "#/new";
  if (location.hash === to) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = to;
  closeDrawer(false);
}

/** Whether the sidebar is to be seen. */
export function isShown() {
  return narrow.matches ? root.dataset.drawer === "open" : root.dataset.sidebar !== "closed";
}

export function toggleSidebar() {
  if (isShown()) hideSidebar();
  else openSidebar();
}

function openSidebar() {
  showSidebar();
  document.querySelector("#sidebar .side-toggle").focus();
}

function showSidebar() {
  if (narrow.matches) {
    root.dataset.drawer = "open";
    document.getElementById("main").inert = true;
  } else {
    delete root.dataset.sidebar;
    settings.set("sidebar", null);
  }
  bus.emit("sidebar", { shown: true });
}

function hideSidebar() {
  if (narrow.matches) return closeDrawer(true);
  root.dataset.sidebar = "closed";
  settings.set("sidebar", "closed");
  bus.emit("sidebar", { shown: false });
  document.getElementById("opener")?.focus();
}

function closeDrawer(back) {
  if (root.dataset.drawer !== "open") return;
  delete root.dataset.drawer;
  document.getElementById("main").inert = false;
  bus.emit("sidebar", { shown: false });
  if (back) document.getElementById("opener")?.focus();
}

/** Show the sidebar, with the filter in focus. */
export function focusFilter() {
  showSidebar();
  bus.emit("filter:focus");
}

/** Build the sidebar in its element. */
export function mountSidebar(element) {
  mountMarks();
  const scroller = h("nav", { class: "side-list", "aria-label": "Your chats" });
  const results = h("div", { class: "side-results", hidden: true });
  const listing = mountListing(scroller);
  const switcher = viewSwitch(listing);
  const chats = h("div", { class: "side-chats" }, switcher.element, scroller);
  element.append(head(), actions(), filterBox(results, listing, (is) => {
    results.hidden = !is;
    chats.classList.toggle("covered", is);
    chats.inert = is;
  }), h("div", { class: "side-body" }, chats, results), foot());
  addOpener();
  mountSkip();
  const scrim = h("div", { class: "scrim", on: { click: () => closeDrawer(true) } });
  document.body.append(scrim);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || !narrow.matches || isCovered()) return;
    event.preventDefault();
    closeDrawer(true);
  });
  bus.on("drawer:close", () => closeDrawer(false));
  addEventListener("hashchange", () => closeDrawer(false));
  narrow.addEventListener("change", () => closeDrawer(false));
  element.addEventListener("click", (event) => { if (event.target.closest(".row-link")) closeDrawer(false); });
  bringBackOpen();
  bus.on("signed-in", () => listing.open(listing.view));
  switcher.open(settings.get("view", "chats"));
}

function head() {
  return h(
    "header", { class: "side-head" },
    h("a", { class: "brand", href: "#/new" }, "palaver"),
    iconButton("panel", "Hide the sidebar", toggleSidebar, { class: "side-toggle", "aria-keyshortcuts": "Control+B", title: `Hide the sidebar (${isMac ? "⌘" : "Ctrl-"}B)` }),
  );
}

function actions() {
  return h(
    "div", { class: "side-actions" },
    h("button", { type: "button", class: "button side-new", "aria-keyshortcuts": "Control+Shift+O", on: { click: () => newChat() } }, iconOf("edit"), "New chat"),
    iconButton("temporary", "New temporary chat: deleted some time after its last use", () => newChat(true), { class: "side-temporary" }),
  );
}

function filterBox(results, listing, active) {
  const field = h("input", {
    class: "side-field", type: "text", role: "combobox", placeholder: "Search chats", autocomplete: "off", spellcheck: "false", enterkeyhint: "search",
    maxlength: "500", "aria-label": "Search chats", "aria-expanded": "false", "aria-controls": "found", "aria-autocomplete": "list", "aria-keyshortcuts": "Control+K",
  });
  const clear = iconButton("close", "Clear the search", () => { filter.clear(); field.focus(); }, { class: "side-clear", hidden: true });
  const hint = h("kbd", { class: "side-hint", "aria-hidden": "true" }, isMac ? "⌘K" : "Ctrl K");
  const filter = mountFilter(field, results, listing, (is) => {
    clear.hidden = !is;
    hint.hidden = is;
    active(is);
  });
  return h("div", { class: "side-filter", role: "search" }, iconOf("search"), field, hint, clear);
}

/** The heading of the list, which changes what it shows. */
function viewSwitch(listing) {
  const words = h("span", {});
  const button = h("button", { type: "button", class: "view-switch", "aria-haspopup": "menu", "aria-expanded": "false", on: { click: choose } }, words, iconOf("open"));
  function choose() {
    const items = Object.entries(VIEWS).map(([name, { label, note }]) => ({
      label, note, checked: name === listing.view, run: () => open(name),
    }));
    openMenu(button, items, { label: "Which chats to list" });
  }
  function open(name) {
    const view = name in VIEWS ? name : "chats";
    words.textContent = VIEWS[view].label;
    button.setAttribute("aria-label", `${VIEWS[view].label}: which chats to list`);
    return listing.open(view);
  }
  return { element: h("div", { class: "view-line" }, h("h2", {}, button)), open };
}

function foot() {
  return h(
    "footer", { class: "side-foot" },
    h("button", { type: "button", class: "button quiet side-settings", on: { click: () => openSettings() } }, iconOf("settings"), "Settings"),
    iconButton("keyboard", "Keyboard shortcuts", () => openShortcuts(), { class: "side-keys", "aria-keyshortcuts": "?" }),
  );
}

/** The button that shows the sidebar where it is hidden, over the top left of the chat. */
function addOpener() {
  const button = iconButton("panel", "Show the sidebar", openSidebar, { id: "opener", "aria-expanded": "false", "aria-controls": "sidebar" });
  document.getElementById("main").before(button);
}

/** The link to the message field moves the focus alone: the address names the chat that is open. */
function mountSkip() {
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("composer-text")?.focus();
  });
}

/** A chat that was open when it was deleted is open again when it is brought back, if nothing else was opened. */
function bringBackOpen() {
  let current = null, was = null;
  for (const event of ["conversation:open", "conversation:shown"]) bus.on(event, ({ id }) => { current = id; was = null; });
  bus.on("conversation:new", () => { current = null; });
  bus.on("conversation:gone", ({ id }) => { if (id === current) was = id; });
  bus.on("conversation:back", ({ id }) => { if (id === was) location.hash = `#/c/${encodeURIComponent(id)}`; });
}
