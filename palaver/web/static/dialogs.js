// Dialogs: the browser's own, which holds the focus and gives it back, with a title and an end.

import { h, iconButton } from "./dom.js";

let count = 0;

/**
 * Show a dialog over the page. `title`, its name; `body`, nodes; `actions`, buttons at its foot; `kind`, a class;
 * `lasting`: it stays until `close()` is called, and neither Escape nor a click beside it ends it. Returns
 * {element, close(result), closed}: `closed` resolves with the result, null where it was only put away.
 */
export function openDialog({ title, body, actions = [], kind = "", lasting = false }) {
  const name = `dialog-${++count}`;
  const element = h(
    "dialog",
    { class: `dialog ${kind}`, "aria-labelledby": name, closedby: lasting ? "none" : "any" },
    h(
      "div",
      { class: "dialog-sheet" },
      h(
        "header",
        { class: "dialog-head" },
        h("h2", { id: name, tabindex: "-1" }, title),
        !lasting && iconButton("close", "Close", () => close()),
      ),
      h("div", { class: "dialog-body", tabindex: "0" }, body),
      actions.length > 0 && h("footer", { class: "dialog-foot" }, actions),
    ),
  );
  let result = null;
  const close = (value = null) => { result = value; element.close(); };
  if (lasting) element.addEventListener("cancel", (event) => event.preventDefault());
  else closeBeside(element, close);
  const closed = new Promise((resolve) => {
    element.addEventListener("close", () => { element.remove(); resolve(result); }, { once: true });
  });
  document.body.append(element);
  element.showModal();
  // Where nothing asks for the focus its name has it, so that it is read out, and no button looks chosen.
  if (!element.querySelector("[autofocus]")) element.querySelector("h2").focus();
  return { element, close, closed };
}

/** A click beside the sheet ends a dialog; a selection that was only let go of there does not. */
function closeBeside(element, close) {
  let pressed = null;
  element.addEventListener("pointerdown", (event) => { pressed = event.target; });
  element.addEventListener("click", (event) => {
    if (event.target === element && pressed === element) close();
  });
}

/** Whether a dialog is open: keys that mean something on the page mean nothing then. */
export function isCovered() {
  return document.querySelector("dialog[open]") !== null;
}
