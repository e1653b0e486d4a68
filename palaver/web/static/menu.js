// Menus by the ARIA pattern: arrows, Home, End, first letters; Escape and Tab end them.

import { h, iconOf } from "./dom.js";

let open = null;

/**
 * Show a menu at a button, or end the one that is open there. `items`: {label, icon, run, keys, note, danger, checked,
 * href, separate, heading}. With `checked` (a boolean) it is one of a choice; with `href` a link that saves a file; with `heading` words
 * that cannot be chosen; `separate` draws a line above. `at`: {x, y} in the place of the button's corner.
 */
export function openMenu(anchor, items, { label, at = null }) {
  const again = open?.anchor === anchor && !at;
  closeMenu();
  if (again) return;
  const element = h(
    "div",
    { class: "menu", role: "menu", "aria-label": label, tabindex: "-1", popover: "manual" },
    items.filter(Boolean).flatMap(itemOf),
  );
  const entries = [...element.querySelectorAll("[role^=menuitem]")];
  element.addEventListener("keydown", (event) => onKey(event, entries));
  element.addEventListener("focusout", ({ relatedTarget: to }) => { if (to && !element.contains(to)) closeMenu(); });
  element.addEventListener("pointermove", ({ target }) => target.closest("[role^=menuitem]")?.focus({ preventScroll: true }));
  (anchor.closest("dialog") ?? document.body).append(element);
  element.showPopover();
  place(element, anchor, at);
  anchor.setAttribute("aria-expanded", "true");
  open = { anchor, element };
  addEventListener("pointerdown", onOutside, true);
  addEventListener("resize", onMoved);
  addEventListener("blur", onMoved);
  (entries.find((each) => each.getAttribute("aria-checked") === "true") ?? entries[0])?.focus();
}

/** End the menu that is open. `back`: the focus returns to its button. */
export function closeMenu(back = false) {
  if (!open) return;
  const { anchor, element } = open;
  open = null;
  removeEventListener("pointerdown", onOutside, true);
  removeEventListener("resize", onMoved);
  removeEventListener("blur", onMoved);
  anchor.setAttribute("aria-expanded", "false");
  if (back && anchor.isConnected) anchor.focus();
  element.remove();
}

function itemOf({ label, icon, run, keys, note, danger, checked, href, separate, heading }) {
  const line = separate && h("div", { role: "separator", class: "menu-line" });
  if (heading) return [line, h("div", { class: "menu-heading", role: "presentation" }, heading)];
  const choice = checked !== undefined;
  const act = () => { closeMenu(true); run?.(); };
  const words = h("span", { class: "menu-words" }, h("span", {}, label), note && h("span", { class: "menu-note" }, note));
  const props = {
    class: `menu-item ${danger ? "danger" : ""}`,
    role: choice ? "menuitemradio" : "menuitem",
    tabindex: "-1",
    "aria-checked": choice ? String(checked) : null,
    "aria-keyshortcuts": keys ?? null,
    on: { click: act },
  };
  const parts = [
    choice ? h("span", { class: "menu-check" }, checked && iconOf("check")) : icon && iconOf(icon),
    words,
    keys && h("kbd", { "aria-hidden": "true" }, keys),
  ];
  return [line, href ? h("a", { ...props, href, download: true }, parts) : h("button", { type: "button", ...props }, parts)];
}

function place(element, anchor, at) {
  const { width, height } = element.getBoundingClientRect();
  const box = at ? { left: at.x, right: at.x, top: at.y, bottom: at.y } : anchor.getBoundingClientRect();
  const below = box.bottom + 4 + height <= innerHeight - 8;
  const top = below ? box.bottom + 4 : Math.max(8, box.top - 4 - height);
  const left = box.left + width <= innerWidth - 8 ? box.left : box.right - width;
  element.style.top = `${Math.min(top, Math.max(8, innerHeight - height - 8))}px`;
  element.style.left = `${Math.min(Math.max(8, left), Math.max(8, innerWidth - width - 8))}px`;
}

function onOutside(event) {
  if (open.element.contains(event.target)) return;
  // The button itself ends it with the click that comes.
  if (!open.anchor.contains(event.target)) closeMenu();
}

function onMoved() {
  closeMenu();
}

function onKey(event, entries) {
  const here = entries.indexOf(document.activeElement);
  const to = { ArrowDown: here + 1, ArrowUp: here < 0 ? -1 : here - 1, Home: 0, End: -1 }[event.key];
  if (to !== undefined) entries.at(to % entries.length)?.focus();
  else if (event.key === "Escape") closeMenu(true);
  else if (event.key === "Tab") return closeMenu(true);
  else if (event.key === " " && document.activeElement.href) document.activeElement.click();
  else if (/^[\p{L}\p{N}]$/u.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const order = [...entries.slice(here + 1), ...entries.slice(0, here + 1)];
    order.find((each) => each.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
  } else return;
  event.preventDefault();
  event.stopPropagation();
}
