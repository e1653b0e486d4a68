// Signing in with an API key, where the server has any.

import { api } from "./api.js";
import { openDialog } from "./dialogs.js";
import { h } from "./dom.js";
import { bus } from "./state.js";
import { failed } from "./toast.js";

let shown = null;

/** Ask for a key whenever the server wants one. */
export function mountSignIn() {
  bus.on("signed-out", () => { if (!shown) void ask(); });
}

/** What the server says of who is signed in; null where it cannot be asked. */
export async function session() {
  try {
    return await api.get("session");
  } catch {
    return null;
  }
}

/** Forget the key, and all that is shown. Returns whether that went well. */
export async function signOut() {
  try {
    await api.del("session");
  } catch (error) {
    failed("You could not be signed out.", error, signOut);
    return false;
  }
  location.reload();
  return true;
}

async function ask() {
  const field = h("input", {
    class: "field", type: "password", name: "api-key", id: "api-key", required: true, autofocus: true, autocomplete: "current-password",
    autocapitalize: "off", spellcheck: "false", "aria-describedby": "api-key-note api-key-wrong",
  });
  const wrong = h("p", { class: "wrong", role: "alert", id: "api-key-wrong" });
  const send = h("button", { type: "submit", class: "button primary" }, "Sign in");
  const form = h(
    "form", { class: "signin", novalidate: true, on: { submit: (event) => { event.preventDefault(); void submit(field, wrong, send); } } },
    h("p", { id: "api-key-note" }, "This server asks for an API key. It is kept in a cookie that no script can read, until you sign out."),
    // Password managers keep keys by a name.
    h("input", { type: "text", name: "username", value: "palaver", autocomplete: "username", hidden: true, "aria-hidden": "true", tabindex: "-1" }),
    h("label", { for: "api-key" }, "API key"),
    field, wrong, send,
  );
  shown = openDialog({ title: "Sign in", body: form, kind: "narrow", lasting: true });
  await shown.closed;
  shown = null;
  bus.emit("signed-in");
}

async function submit(field, wrong, send) {
  const key = field.value.trim();
  wrong.textContent = "";
  field.removeAttribute("aria-invalid");
  if (!key) return refuse(field, wrong, "Enter your API key.");
  send.disabled = true;
  try {
    await api.post("session", { api_key: key });
    shown.close(true);
  } catch (error) {
    refuse(field, wrong, error.status === 401 ? "This key is not known here, or is no longer valid." : error.message);
  } finally {
    send.disabled = false;
  }
}

function refuse(field, wrong, text) {
  wrong.textContent = text;
  field.setAttribute("aria-invalid", "true");
  field.focus();
  field.select();
}
