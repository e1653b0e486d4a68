// Short messages at the foot of the page, which go by themselves.

import { h, iconButton } from "./dom.js";

const MOST = 4;
const shown = [];

/**
 * Say something. `action`: {label, run}, a button that also ends it. `seconds` until it goes (6; 12 for errors; 0: it
 * stays until it is closed); they wait while somebody points at it or is in it. `kind`: "error" is said at once by
 * screen readers. `until`: a time (ms since 1970) when what the text says happens, whatever the reader does: the text is
 * followed by the seconds to it, counted down, and goes then. Returns {close()}.
 */
export function toast(text, { action = null, seconds = null, kind = "info", until = null } = {}) {
  const place = document.getElementById("toasts");
  const wait = 1000 * (seconds ?? (kind === "error" ? 12 : 6));
  let timer = null;
  const close = () => {
    clearTimeout(timer);
    clearInterval(timer);
    if (shown.includes(entry)) shown.splice(shown.indexOf(entry), 1);
    element.remove();
  };
  const words = h("p", { class: "toast-text" });
  const act = () => { close(); action.run(); };
  const element = h(
    "div",
    { class: `toast ${kind}` },
    h("div", { class: "toast-words", role: kind === "error" ? "alert" : "status" }, words),
    action && h("button", { type: "button", class: "toast-action", on: { click: act } }, action.label),
    iconButton("close", "Close", close, { class: "toast-close" }),
  );
  const entry = { close, until };
  shown.push(entry);
  place.append(element);
  // Said once its region is there: of one that comes with its text screen readers may say nothing.
  requestAnimationFrame(() => words.append(text));
  if (until) timer = countDown(until, words, close);
  else if (wait) waitWhileUnread(element, wait, close, (set) => { timer = set; });
  // The oldest gives way, but none whose time to undo still runs.
  if (shown.length > MOST) shown.find((each) => !each.until && each !== entry)?.close();
  return { close };
}

function countDown(at, words, close) {
  const left = () => Math.ceil((at - Date.now()) / 1000);
  const shown = h("span", { class: "toast-left", "aria-hidden": "true" });
  // Said once, and not with every second.
  requestAnimationFrame(() => words.append(h("span", { class: "visually-hidden" }, ` ${left()} s`), shown));
  const tick = () => {
    if (left() <= 0) close();
    else shown.textContent = ` ${left()} s`;
  };
  tick();
  return setInterval(tick, 500);
}

function waitWhileUnread(element, ms, close, keep) {
  let running = null;
  const run = () => { running = setTimeout(close, ms); keep(running); };
  const hold = () => clearTimeout(running);
  for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, hold);
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, () => { hold(); run(); });
  run();
}

/** Tell of something that did not work: what, and why. `again` is what tries it once more. */
export function failed(what, error, again = null) {
  return toast(`${what} ${error.message}`, { kind: "error", action: again && { label: "Try again", run: again } });
}
