// How one message looks, and what can be done with it.

import { address, part } from "./api.js";
import { textOf } from "./conversation.js";
import { bytes, h, iconButton, iconOf, morph, span, when } from "./dom.js";

const LONG = 6000;
/** A question that is longer is folded (characters). */
const NAMES = { user: "You", assistant: "Reply", tool: "Result of a tool", system: "Instructions", developer: "Instructions" };

/** A message in the transcript. `does` has what can be done: copy, edit, retry, goOn, choose, info, link. */
export class MessageView {
  constructor(message, does) {
    this.does = does;
    this.parts = {
      thinking: h("div", { class: "thinking-place" }),
      body: h("div", { class: message.role === "assistant" ? "prose" : "said" }),
      media: h("div", { class: "media" }),
      calls: h("div", { class: "calls" }),
      status: h("div", { class: "status" }),
      outcome: h("div", { class: "outcome" }),
      actions: h("div", { class: "actions", role: "toolbar", "aria-label": "What can be done with this message" }),
    };
    this.article = h("article", {}, ...Object.values(this.parts));
    this.element = h("li", { class: `message ${message.role}`, tabindex: "-1" }, this.article);
    this.show(message);
  }

  /** Show it as it is now. What looks the same stays in place, so that a selection survives. */
  show(message) {
    const before = this.message;
    this.message = message;
    this.element.id = `m-${message.id}`;
    this.element.dataset.id = message.id;
    const made = message.created_at ? `, ${when(message.created_at)}` : "";
    this.article.setAttribute("aria-label", `${NAMES[message.role] ?? message.role}${made}`);
    this.element.classList.toggle("deleted", Boolean(message.deleted));
    if (message.live) return message.live.attach(this);
    if (message.deleted) {
      this.parts.body.replaceChildren(h("em", {}, "This message was deleted."));
      for (const name of ["thinking", "media", "calls", "outcome", "actions"]) this.parts[name].replaceChildren();
      return undefined;
    }
    this._showThinking(message);
    this._showText(message, before);
    this._showMedia(message);
    this._showCalls(message);
    this._showOutcome(message);
    return this.showActions();
  }

  _showThinking({ reasoning, timing }) {
    const there = this.parts.thinking.firstChild;
    if (!reasoning) return this.parts.thinking.replaceChildren();
    const label = timing?.thinking_ms ? `Thought for ${span(timing.thinking_ms)}` : "Thoughts";
    if (there) {
      there.querySelector("summary").textContent = label;
      const text = there.querySelector(".thought");
      if (text.textContent !== reasoning) text.textContent = reasoning;
      return undefined;
    }
    return this.parts.thinking.replaceChildren(thinking(label, reasoning));
  }

  _showText(message, before) {
    if (message.role === "assistant") {
      const html = message.html ?? "";
      if (before?.html !== html || before?.live) {
        morph(this.parts.body, html);
        decorate(this.parts.body);
      }
      return;
    }
    const text = textOf(message);
    if (message.role === "tool") {
      this.parts.body.replaceChildren(
        h("details", { class: "tool" }, h("summary", {}, "Result of a tool"), h("pre", {}, cut(text, 20_000))),
      );
    } else showSaid(this.parts.body, text);
  }

  _showMedia({ content }) {
    this.parts.media.replaceChildren(...content.map(medium).filter(Boolean));
  }

  _showCalls({ tool_calls: calls = [] }) {
    this.parts.calls.replaceChildren(...calls.map((call) => callView(call.function.name, call.function.arguments)));
  }

  _showOutcome(message) {
    this.parts.outcome.replaceChildren(...outcome(message).map((text) => h("p", { class: "note" }, text)));
    this.parts.status.replaceChildren();
  }

  /** The buttons below it. */
  showActions() {
    const { message, does } = this;
    if (message.live || message.outgoing) return this.parts.actions.replaceChildren();
    const mine = [];
    const siblings = message.siblings ?? [];
    if (siblings.length > 1) mine.push(this._branches(siblings));
    mine.push(iconButton("copy", "Copy as Markdown", (event) => does.copy(this, event.currentTarget), { class: "does-copy" }));
    if (message.role === "user") {
      mine.push(iconButton("edit", "Edit, as a branch", () => does.edit(this), { class: "does-edit" }));
      if (does.isLast(this)) mine.push(iconButton("retry", "Answer this", () => does.retry(this), { class: "does-retry" }));
    }
    if (message.role === "assistant") {
      mine.push(iconButton("retry", "Reply anew, as a branch", () => does.retry(this), { class: "does-retry" }));
      if (isCut(message)) mine.push(iconButton("play", "Continue this reply", () => does.goOn(this), { class: "does-continue" }));
      if (message.turn) mine.push(iconButton("info", "What the model saw", (event) => does.info(this, event.currentTarget), { class: "does-info" }));
    }
    mine.push(iconButton("link", "Copy a link to this message", (event) => does.link(this, event.currentTarget), { class: "does-link" }));
    if (message.model) mine.push(h("span", { class: "of-model" }, message.model));
    return this.parts.actions.replaceChildren(...mine);
  }

  _branches(siblings) {
    const { message, does } = this;
    const at = siblings.indexOf(message.id);
    const step = (by, label, icon) => {
      const to = siblings[at + by];
      return iconButton(icon, label, () => does.choose(this, to), { disabled: to === undefined, class: `branch-${icon}` });
    };
    return h(
      "span", { class: "branches", role: "group", "aria-label": `Branch ${at + 1} of ${siblings.length}` },
      step(-1, "The branch before", "left"), h("span", { class: "count" }, `${at + 1}/${siblings.length}`), step(1, "The next branch", "right"),
    );
  }

  focus() {
    this.element.focus({ preventScroll: true });
  }
}

/** Thinking, folded. */
export function thinking(label, text) {
  return h("details", { class: "thinking" }, h("summary", {}, label), h("div", { class: "thought" }, text));
}

/** A call of a function. */
export function callView(name, args) {
  return h("details", { class: "tool" }, h("summary", {}, `Calls ${name}`), h("pre", {}, args));
}

/** Whether there may be more of a reply. */
export function isCut(message) {
  return message.finish_reason === "length" || ["incomplete", "cancelled"].includes(message.turn_state);
}

function outcome(message) {
  if (message.role !== "assistant") return [];
  if (message.turn_state === "cancelled") return ["Stopped."];
  if (message.turn_state === "incomplete") return ["Cut off before its end."];
  if (message.turn_state === "failed") return ["This reply failed."];
  if (message.finish_reason === "length") return ["It reached its longest length."];
  return message.finish_reason === "content_filter" ? ["Ended by a filter of the model's server."] : [];
}

/** Text as somebody wrote it; what is very long is folded. */
export function showSaid(place, text) {
  if (text.length <= LONG) {
    if (place.textContent !== text || place.childElementCount) place.replaceChildren(text);
    return;
  }
  const open = () => {
    // In pieces: one text node of megabytes is laid out as a whole each time.
    const rest = [];
    for (let at = 0; at < text.length; at += 20_000) rest.push(h("span", { class: "piece" }, text.slice(at, at + 20_000)));
    place.replaceChildren(...rest);
  };
  const more = h("button", { type: "button", class: "plain more", on: { click: open } }, `Show all (${bytes(text.length)})`);
  place.replaceChildren(text.slice(0, LONG / 2), "… ", more);
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function medium(content) {
  if (content.type === "input_image") {
    const source = content.file_id ? address(`files/${part(content.file_id)}/content`) : content.image_url;
    // Pictures from elsewhere are not fetched: their server would learn who reads this.
    if (!source || !(content.file_id || source.startsWith("data:image/") || source.startsWith("blob:"))) return h("span", { class: "file" }, "A picture elsewhere: ", source ?? "");
    return h("a", { href: source, target: "_blank", rel: "noopener" }, h("img", { src: source, alt: "A picture in this message", loading: "lazy" }));
  }
  if (content.type === "input_file") {
    const name = content.filename ?? "A file";
    if (!content.file_id) return h("span", { class: "file" }, name);
    return h("a", { class: "file", href: address(`files/${part(content.file_id)}/content`), download: name }, iconOf("attach"), name);
  }
  if (content.type === "refusal") return h("p", { class: "note" }, content.refusal);
  return "text" in content || content.type === "output_text" ? null : h("span", { class: "file" }, `(${content.type})`);
}

/** Give each block of code its button. */
export function decorate(place) {
  for (const figure of place.querySelectorAll("figure.code:not(:has(> [data-own]))")) {
    figure.append(iconButton("copy", "Copy this code", () => {}, { class: "copy-code", "data-own": true }));
  }
}
