// What the model saw: of the conversation as it stands, of one turn, and of what is being written.

import { api, part } from "./api.js";
import { openDialog } from "./dialogs.js";
import { h, svg, whole } from "./dom.js";

const WHY = {
  window: "for want of room",
  client: "because the app did not send them",
  deleted: "because they were deleted",
};
const BEGAN = {
  start: "the conversation began", overflow: "the window was full", instructions: "the instructions changed",
  tools: "the tools changed", model: "another model answered", deletion: "something was deleted", user: "it was asked for",
};

/** The receipt of a turn; null where there is none. Raises ApiError. */
export async function receiptOf(turn) {
  try {
    return await api.get(`chat/completions/${part(turn)}/receipt`);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

/** The places of messages (on the path, from 0) that a receipt says the model did not see. */
function isUnseen(receipt, place) {
  return receipt.left_out.some(({ first, last }) => first <= place && place <= last);
}

/** Grey what the model did not see, under one thin line. `views` are those of the transcript. */
export function markSeen(views, receipt) {
  let edge = null;
  for (const { element, message } of views) {
    const unseen = receipt !== null && message.place !== undefined && isUnseen(receipt, message.place);
    element.classList.toggle("unseen", unseen);
    element.classList.remove("edge-of-window");
    element.querySelector(":scope > .window-line")?.remove();
    if (edge && !unseen) mark(element, receipt);
    edge = unseen;
  }
}

function mark(element, receipt) {
  const out = receipt.left_out.reduce((sum, each) => sum + each.messages, 0);
  const summed = receipt.summary ? "; a summary stands for them" : "";
  const text = `The model no longer sees the ${out === 1 ? "message" : `${whole(out)} messages`} above${summed}`;
  element.classList.add("edge-of-window");
  element.prepend(h("p", { class: "window-line", "data-own": true }, h("span", {}, text)));
}

/** What the model saw, in a few lines. */
export function receiptView(receipt) {
  const rows = [];
  const row = (name, ...value) => rows.push(h("dt", {}, name), h("dd", {}, ...value));
  const out = receipt.left_out.reduce((sum, each) => sum + each.messages, 0);
  row("Model", receipt.model);
  const extra = [receipt.instructions ? "the instructions" : null, receipt.summary ? "a summary" : null, receipt.tools ? `${receipt.tools} tools` : null];
  row("Saw", [`${whole(receipt.messages.length)} of ${whole(receipt.path)} messages`, ...extra.filter(Boolean)].join(", "));
  if (out) row("Left out", receipt.left_out.map((each) => `${whole(each.messages)} ${WHY[each.why] ?? each.why}`).join("; "));
  const quotes = receipt.notes.reduce((sum, note) => sum + note.quotes.length, 0);
  if (quotes) row("Recalled", `${quotes} ${quotes === 1 ? "quote" : "quotes"} of earlier messages`);
  if (receipt.prompt_tokens !== null) {
    const size = receipt.context_size === null ? "" : ` of ${whole(receipt.context_size)}`;
    row("Prompt", `${whole(receipt.prompt_tokens)}${size} tokens${receipt.counted === "estimate" ? " (an estimate)" : ""}`);
  }
  if (receipt.cached_tokens !== null && receipt.prompt_tokens) {
    row("Of these", h("span", { class: "legend reused" }, `${whole(receipt.cached_tokens)} reused`), " ", h("span", { class: "legend prefilled" }, `${whole(receipt.prompt_tokens - receipt.cached_tokens)} read anew`));
    row("", tokenBar(receipt.prompt_tokens, receipt.cached_tokens));
  }
  if (receipt.epoch.began && receipt.epoch.reason !== "start") row("Window", `began anew: ${BEGAN[receipt.epoch.reason] ?? receipt.epoch.reason}`);
  for (const warning of receipt.warnings) row("Note", warning);
  return h("dl", { class: "receipt" }, ...rows);
}

/** A prompt as a bar: what was reused of it, and what was prefilled. */
export function tokenBar(prompt, cached, most = prompt) {
  const width = 200 * (prompt / most), reused = width * (cached / prompt);
  return svg(
    "svg", { viewBox: "0 0 200 8", class: "tokens", preserveAspectRatio: "none", role: "img", "aria-label": `${whole(cached)} tokens reused, ${whole(prompt - cached)} read anew` },
    svg("rect", { class: "reused", x: 0, y: 0, width: reused, height: 8 }),
    svg("rect", { class: "prefilled", x: reused, y: 0, width: Math.max(width - reused, 0.5), height: 8 }),
  );
}

/** The receipt of a turn beside its button: on hover and focus, and to stay on a click. */
export class ReceiptCard {
  constructor() {
    this.element = h("div", { class: "card", popover: "manual", role: "region", "aria-label": "What the model saw" });
    this.anchor = null;
    this.receipts = new Map();
    document.body.append(this.element);
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.hide());
    document.addEventListener("pointerdown", (event) => !this.element.contains(event.target) && !this.anchor?.contains(event.target) && this.hide());
    document.addEventListener("scroll", () => this.hide(), { capture: true, passive: true });
  }

  async show(anchor, turn) {
    if (this.anchor === anchor && this.isOpen) return;
    this.anchor = anchor;
    this.element.replaceChildren(h("p", {}, "…"));
    this._place();
    try {
      if (!this.receipts.has(turn)) this.receipts.set(turn, await receiptOf(turn));
    } catch (error) {
      if (this.anchor === anchor) this.element.replaceChildren(h("p", {}, error.message));
      return;
    }
    if (this.anchor !== anchor) return;
    const receipt = this.receipts.get(turn);
    this.element.replaceChildren(receipt ? receiptView(receipt) : h("p", {}, "There is no receipt of this turn: it came from an app's own history, or from an older palaver."));
    this._place();
  }

  get isOpen() {
    return this.element.matches(":popover-open");
  }

  hide() {
    if (this.anchor === null) return;
    this.anchor = null;
    if (this.isOpen) this.element.hidePopover();
  }

  _place() {
    if (!this.isOpen) this.element.showPopover();
    const at = this.anchor.getBoundingClientRect(), box = this.element.getBoundingClientRect();
    const above = at.top - box.height - 8;
    this.element.style.top = `${above > 8 ? above : Math.min(at.bottom + 8, innerHeight - box.height - 8)}px`;
    this.element.style.left = `${Math.max(8, Math.min(at.left, innerWidth - box.width - 8))}px`;
  }
}

/** The turns of the loaded part of a conversation, each with the tokens that were reused and those that were prefilled. */
export function openTokens(messages) {
  const turns = messages.filter((message) => message.usage);
  const most = Math.max(1, ...turns.map(({ usage }) => usage.prompt_tokens));
  const total = turns.reduce((sum, { usage }) => sum + usage.prompt_tokens, 0);
  const reused = turns.reduce((sum, { usage }) => sum + (usage.cached_tokens ?? 0), 0);
  const lines = turns.map(({ usage, place }) => h(
    "tr", {}, h("th", { scope: "row" }, whole(Math.floor(place / 2) + 1)),
    h("td", { class: "bar" }, usage.prompt_tokens && usage.cached_tokens !== null ? tokenBar(usage.prompt_tokens, usage.cached_tokens, most) : ""),
    h("td", {}, usage.cached_tokens === null ? "–" : whole(usage.cached_tokens)),
    h("td", {}, whole(usage.prompt_tokens - (usage.cached_tokens ?? 0))), h("td", {}, whole(usage.completion_tokens)),
  ));
  const unknown = turns.some(({ usage }) => usage.cached_tokens === null);
  const body = turns.length
    ? [
        unknown ? h("p", { class: "note" }, "Some models do not say what they reused (–).") : null,
        h("p", {}, `Of ${whole(total)} tokens in these prompts ${whole(reused)} were reused, and ${whole(total - reused)} read anew.`),
        h("table", { class: "tokens-table" }, h("thead", {}, h("tr", {}, ...["Turn", "Prompt", "Reused", "Read anew", "Reply"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...lines)),
      ]
    : [h("p", {}, "No reply that is loaded says what it cost.")];
  openDialog({ title: "Tokens of each turn", body: h("div", { class: "tokens-body" }, ...body), kind: "wide" });
}

/** How full the model's context would be with what is written: beside the field, before it is sent. */
export class Meter {
  constructor() {
    this.ring = svg("circle", { class: "fill", cx: 10, cy: 10, r: 7, pathLength: 100, "stroke-dasharray": "0 100" });
    this.text = h("span", { class: "meter-text" });
    this.element = h(
      "button", { type: "button", class: "meter", hidden: true, "aria-label": "How full the model's context is" },
      svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, svg("circle", { class: "track", cx: 10, cy: 10, r: 7 }), this.ring), this.text,
    );
    this.receipt = null;
    this._asked = 0;
  }

  /** Ask what the model would see of this body of a chat completion; null: nothing is known. */
  async ask(body) {
    const asked = ++this._asked;
    let receipt = null, error = null;
    try {
      if (body) receipt = await api.post("chat/completions/dry_run", body);
    } catch (failure) {
      error = failure;
    }
    if (asked !== this._asked) return;
    this.receipt = receipt;
    this._show(receipt, error);
  }

  _show(receipt, error) {
    const tooLong = error?.status === 400 && /context|longer|tokens/i.test(error.message);
    this.element.hidden = !tooLong && (receipt?.prompt_tokens ?? null) === null;
    this.element.classList.toggle("full", tooLong);
    if (tooLong) {
      this.text.textContent = "too long";
      this._name(error.message);
      this.ring.setAttribute("stroke-dasharray", "100 0");
      return;
    }
    if (this.element.hidden) return;
    const { prompt_tokens: prompt, context_size: size, epoch, left_out: left } = receipt;
    const share = size ? Math.min(1, prompt / size) : 0;
    const out = left.reduce((sum, each) => sum + each.messages, 0);
    this.ring.setAttribute("stroke-dasharray", `${share * 100} 100`);
    this.element.classList.toggle("near", share > 0.85);
    this.text.textContent = size ? `${short(prompt)} / ${short(size)}` : short(prompt);
    const anew = epoch.began && epoch.reason === "overflow" ? " The window begins anew with this message." : "";
    this._name(`The model would see ${whole(receipt.messages.length)} of ${whole(receipt.path)} messages, ${whole(prompt)}${size ? ` of ${whole(size)}` : ""} tokens.${out ? ` ${whole(out)} left out.` : ""}${anew}`);
  }

  _name(title) {
    this.element.title = title;
    this.element.setAttribute("aria-label", `${this.text.textContent}: how full the model's context is. ${title}`);
  }
}

function short(count) {
  return count < 1000 ? `${count}` : `${(count / 1000).toFixed(count < 10_000 ? 1 : 0)}k`;
}
