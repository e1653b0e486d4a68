// The filter over the list: titles that are loaded answer at once, the server's search a moment later.

import { api } from "./api.js";
import { h, later, when } from "./dom.js";
import { grouped, pieces, queryOf, wordsOf } from "./matches.js";
import { sourceLabel } from "./sources.js";
import { bus } from "./state.js";

const PAUSE = 120;
const PAGE = 20;
const MOST_TITLES = 12;
const DAY = { dateStyle: "medium" };

/** Make a field a filter that shows what it finds in `results`. `listing` has the loaded titles and the view;
 * `active(is)` hears whether there is anything to show. Returns {focus, clear, again}. */
export function mountFilter(field, results, listing, active) {
  const found = h("div", { class: "found", role: "listbox", id: "found", "aria-label": "Chats that were found" });
  const status = h("div", { class: "found-status" });
  const said = h("div", { class: "visually-hidden", role: "status" });
  results.append(found, status, said);
  let state = fresh("");
  const search = later(() => ask(state), PAUSE);

  function fresh(text) {
    return { text, words: wordsOf(text), titled: [], hits: [], cursor: null, asking: null, error: null, done: false, stop: new AbortController() };
  }

  function take() {
    const text = field.value;
    if (text.trim() === state.text.trim() && text.trim()) return;
    state.stop.abort();
    search.cancel();
    const old = state.hits;
    state = fresh(text);
    active(state.words.length > 0);
    field.setAttribute("aria-expanded", String(state.words.length > 0));
    if (!state.words.length) return show();
    state.titled = listing.titled(state.words, MOST_TITLES);
    state.query = queryOf(text);
    state.done = state.query === null;
    // Until the answer is here what was found before stays, where it still fits: nothing jumps.
    state.hits = state.query === null ? [] : old.filter((hit) => state.words.every((word) => hit.text.toLowerCase().includes(word)));
    if (state.query) search();
    show();
  }

  async function ask(asked) {
    if (asked !== state || asked.asking) return;
    asked.error = null;
    asked.asking = true;
    show();
    const query = {
      q: asked.query, limit: PAGE, after: asked.cursor,
      include_tasks: listing.view === "tasks" || null, include_temporary: listing.view === "temporary" || null,
    };
    try {
      const page = await api.get("search", query, { signal: asked.stop.signal });
      if (asked !== state) return;
      asked.hits = asked.cursor ? [...asked.hits, ...page.data] : page.data;
      asked.cursor = page.last_id || null;
      asked.done = !page.has_more;
    } catch (error) {
      if (asked !== state || error.name === "AbortError") return;
      asked.error = error;
    }
    asked.asking = false;
    show();
  }

  function show() {
    const chosen = found.querySelector("[aria-selected=true]")?.getAttribute("href");
    const groups = grouped(state.titled, state.hits, state.words);
    found.replaceChildren(...groups.map(groupView));
    found.hidden = groups.length === 0;
    const again = [...found.querySelectorAll("[role=option]")].find((each) => each.getAttribute("href") === chosen);
    choose(again ?? null);
    status.replaceChildren(...statusView(state, groups, () => ask(state)));
    const waits = state.asking || (!state.done && !state.error && !state.cursor);
    if (state.words.length && !waits) said.textContent = groups.length ? `${groups.length} chats found` : "Nothing found";
    else if (!state.words.length) said.textContent = "";
  }

  function choose(option) {
    for (const each of found.querySelectorAll("[aria-selected=true]")) each.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) field.setAttribute("aria-activedescendant", option.id);
    else field.removeAttribute("aria-activedescendant");
  }

  function step(by) {
    const options = [...found.querySelectorAll("[role=option]")];
    if (!options.length) return;
    const here = options.findIndex((each) => each.getAttribute("aria-selected") === "true");
    if (by < 0 && here === 0) return choose(null);
    if (by > 0 && here === options.length - 1) status.querySelector("button")?.click();
    choose(options.at(here < 0 && by < 0 ? -1 : Math.min(options.length - 1, here + by)));
  }

  function onKey(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" && !state.words.length) listing.focus();
    else if (event.key === "ArrowDown") step(1);
    else if (event.key === "ArrowUp") step(-1);
    else if (event.key === "Enter") (found.querySelector("[aria-selected=true]") ?? found.querySelector("[role=option]"))?.click();
    else if (event.key === "Escape" && field.value) clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function clear() {
    field.value = "";
    take();
  }

  field.addEventListener("input", take);
  field.addEventListener("keydown", onKey);
  found.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (!option || event.ctrlKey || event.metaKey || event.shiftKey) return;
    choose(option);
    bus.emit("drawer:close");
    // The address stays as it is: no event says that it is gone to once more.
    if (option.href === location.href) dispatchEvent(new HashChangeEvent("hashchange"));
  });
  bus.on("filter:focus", () => { field.focus(); field.select(); });
  return { focus: () => { field.focus(); field.select(); }, clear };
}

let count = 0;

function groupView({ id, title, marks, source, hits }) {
  const name = `found-${++count}`;
  const app = sourceLabel(source);
  const head = h(
    "a",
    { role: "option", id: name, class: "found-chat", href: `#/c/${encodeURIComponent(id)}`, "aria-selected": "false", tabindex: "-1" },
    h("span", { class: "found-title", dir: "auto" }, marked(title, marks)),
    app && h("span", { class: "found-app" }, app),
  );
  return h("div", { role: "group", "aria-labelledby": name, class: "found-group" }, head, hits.map((hit) => hitView(id, hit)));
}

function hitView(id, hit) {
  const who = { user: "You", assistant: "Reply", tool: "Tool" }[hit.role] ?? hit.role;
  const href = `#/c/${encodeURIComponent(id)}/m/${encodeURIComponent(hit.message)}`;
  return h(
    "a",
    { role: "option", id: `found-${++count}`, class: "found-hit", href, "aria-selected": "false", tabindex: "-1" },
    h("span", { class: "found-text", dir: "auto" }, marked(hit.text.replace(/\s/g, " "), hit.marks)),
    h("span", { class: "found-who" }, `${who} · ${when(hit.created_at, DAY)}`),
  );
}

function marked(text, marks) {
  return pieces(text, marks).map(([piece, is]) => (is ? h("mark", {}, piece) : piece));
}

function statusView(state, groups, again) {
  const button = (label) => h("button", { type: "button", class: "button quiet", on: { click: again } }, label);
  if (!state.words.length) return [];
  if (state.error) {
    return [h("div", { class: "list-error", role: "alert" }, h("p", {}, `The search did not work. ${state.error.message}`), button("Try again"))];
  }
  if (state.asking && !groups.length) return [h("p", { class: "found-note" }, "Searching…")];
  if (state.done && !groups.length) return [h("p", { class: "found-note" }, "Nothing found in titles or messages.")];
  if (state.cursor && !state.done && !state.asking) return [button("More results")];
  return [h("p", { class: "found-note" }, state.asking ? "Searching…" : "")];
}
