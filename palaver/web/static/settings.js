// The settings: how the page looks and behaves, what the server does, and how an app is connected to it.

import { api } from "./api.js";
import { copied } from "./copying.js";
import { stretch } from "./dates.js";
import { openDialog } from "./dialogs.js";
import { bytes, h, iconButton, later, whole } from "./dom.js";
import { facts } from "./facts.js";
import { isMac } from "./keys.js";
import { session, signOut } from "./signin.js";
import { bus, settings } from "./state.js";
import { setTheme, theme, THEMES } from "./theme.js";

let shown = null;

export function openSettings() {
  if (shown) return;
  shown = openDialog({
    title: "Settings", kind: "settings",
    body: [looks(), writing(), connect(), server()],
  });
  shown.closed.then(() => { shown = null; });
}

function section(title, ...parts) {
  return h("section", { class: "settings-part" }, h("h3", {}, title), parts);
}

function line(label, control, note = null) {
  const name = `setting-${label.toLowerCase().replace(/\W+/g, "-")}`;
  control.id = name;
  if (note) control.setAttribute("aria-describedby", `${name}-note`);
  return h(
    "div", { class: "setting" },
    h("div", { class: "setting-words" }, h("label", { for: name }, label), note && h("p", { class: "setting-note", id: `${name}-note` }, note)),
    control,
  );
}

/** One of a few, side by side. */
function choice(label, name, options, chosen, set) {
  return h(
    "fieldset", { class: "setting choice" },
    h("legend", {}, label),
    h("div", { class: "choices" }, Object.entries(options).map(([value, words]) => h(
      "label", { class: "chip" },
      h("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => set(value) } }),
      h("span", {}, words),
    ))),
  );
}

function toggle(name, otherwise) {
  return h("input", {
    type: "checkbox", role: "switch", class: "switch", checked: settings.get(name, otherwise),
    on: { change: (event) => settings.set(name, event.target.checked) },
  });
}

function looks() {
  return section(
    "Appearance",
    choice("Theme", "theme", THEMES, theme(), setTheme),
    line("Show what the model saw", toggle("show-seen", true), "Messages it did not see are greyed, under one line that says why."),
  );
}

function writing() {
  const send = { enter: "Enter", "ctrl-enter": isMac ? "⌘ Enter" : "Ctrl-Enter" };
  const model = h("select", { class: "field", on: { change: () => settings.set("model", model.value || null) } });
  fillModels(model);
  const instructions = h("textarea", { class: "field", rows: "3", dir: "auto", placeholder: "For example: answer briefly, in British English." });
  instructions.value = settings.get("instructions", "") ?? "";
  const keep = later(() => settings.set("instructions", instructions.value.trim() || null), 300);
  instructions.addEventListener("input", keep);
  instructions.addEventListener("blur", () => keep.now());
  return section(
    "Writing",
    choice("Send with", "send", send, settings.get("send", "enter"), (value) => settings.set("send", value)),
    line("Model for new chats", model),
    h("div", { class: "setting tall" }, h("label", { for: "setting-instructions" }, "Instructions for new chats"), Object.assign(instructions, { id: "setting-instructions" })),
  );
}

async function fillModels(select) {
  const chosen = settings.get("model", null);
  const server = "As the server has it";
  const option = (value, words) => h("option", { value, selected: value === (chosen ?? "") }, words);
  select.append(option("", server), ...(chosen ? [option(chosen, chosen)] : []));
  try {
    const [{ data }, told] = await Promise.all([api.get("models"), facts().catch(() => null)]);
    const names = data.filter(({ type }) => (type ?? "chat") === "chat").map(({ id }) => id);
    if (chosen && !names.includes(chosen)) names.unshift(chosen);
    select.replaceChildren(option("", told?.default_model ? `${server}: ${told.default_model}` : server), ...names.map((name) => option(name, name)));
  } catch (error) {
    select.after(h("p", { class: "setting-note wrong", role: "alert" }, `The models could not be listed. ${error.message}`));
  }
}

function connect() {
  const base = new URL(".", document.baseURI.split("#")[0]).href.replace(/\/(ui\/)?$/, "");
  const lines = [["OPENAI_BASE_URL", `${base}/v1`], ["TOGETHER_BASE_URL", base]];
  return section(
    "Connect an app",
    h("p", { class: "setting-note" }, "Point any app or SDK for the chat API of OpenAI or Together at this server; its chats are kept and listed here."),
    h("ul", { class: "settings-lines" }, lines.map(([name, value]) => h("li", { class: "copyable" }, h("code", {}, `${name}=${value}`), copyButton(`${name}=${value}`, name)))),
    h("p", { class: "setting-note" }, "An API key is needed only if this server was given one; otherwise apps may send any. ", h("a", { href: "docs", target: "_blank", rel: "noopener" }, "The API")),
  );
}

function copyButton(text, name) {
  return iconButton("copy", `Copy ${name}`, (event) => void copied(text, event.currentTarget));
}

const RECORD = {
  all: "Every chat is kept, also those of apps.",
  asked: "Chats are kept where an app asks for it; those of this page are.",
  none: "Nothing is kept.",
};

function server() {
  const rows = h("dl", { class: "facts" });
  const account = h("div", { class: "account" });
  fillServer(rows);
  fillAccount(account);
  return section("This server", rows, account);
}

async function fillServer(rows) {
  try {
    const told = await facts();
    const days = told.retain_days;
    const shownOf = [
      ["Version", `palaver ${told.version}`],
      ["What it records", RECORD[told.record] ?? told.record],
      ["How long", days ? `${whole(days)} ${days === 1 ? "day" : "days"} after the last use` : "Until you delete it"],
      told.temporary_seconds && ["Temporary chats", `Deleted ${stretch(told.temporary_seconds)} after their last use`],
      told.max_attachment && ["Largest attachment", bytes(told.max_attachment)],
    ];
    rows.replaceChildren(...shownOf.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  } catch (error) {
    rows.replaceChildren(h("div", {}, h("dt", {}, "Not known"), h("dd", { class: "wrong", role: "alert" }, error.message)));
  }
}

async function fillAccount(account) {
  const told = await session();
  if (!told?.needs_key) return;
  const out = h("button", { type: "button", class: "button", on: { click: async () => { if (await signOut()) shown?.close(); } } }, "Sign out");
  account.replaceChildren(h("p", { class: "setting-note" }, told.owner ? `Signed in as ${told.owner}.` : "Signed in."), out);
}

bus.on("signed-out", () => shown?.close());
