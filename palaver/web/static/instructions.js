// The instructions of a conversation: what the model is told before the first question.

import { openDialog } from "./dialogs.js";
import { h } from "./dom.js";
import { kept, settings } from "./state.js";

/** Those of the open conversation. `pending` are new ones, which go with the next message; null where there are none. */
export class Instructions {
  constructor(changed) {
    this.changed = changed;
    this.pending = null;
    this.current = "";
    this.key = null;
  }

  /** Those of another conversation: `detail` is what the server says of it (null: it is new). */
  async open(key, detail) {
    this.key = key;
    this.current = (detail?.instructions ?? []).map((message) => textOf(message)).join("\n\n");
    this.pending = null;
    const pending = await kept.get(`instructions:${key}`);
    if (this.key === key) this.pending = pending ?? (detail ? null : settings.get("instructions"));
    this.changed();
  }

  rekey(key) {
    void kept.put(`instructions:${this.key}`, null);
    this.key = key;
    void kept.put(`instructions:${key}`, this.pending);
  }

  /** They went with a message. */
  sent(text) {
    if (text === null || text === undefined) return;
    this.current = text;
    if (this.pending === text) this.pending = null;
    void kept.put(`instructions:${this.key}`, this.pending);
  }

  get text() {
    return this.pending ?? this.current;
  }

  edit() {
    const field = h("textarea", { rows: "10", "aria-label": "Instructions", autofocus: true, placeholder: "Such as: answer in one sentence." });
    field.value = this.text;
    const save = h("button", { type: "button", class: "button primary" }, "Save");
    const dialog = openDialog({
      title: "Instructions of this chat",
      body: h("div", { class: "instructions" }, h("p", { class: "note" }, "What the model is told before the first question. They hold from your next message on, for this chat."), field),
      actions: [save],
    });
    save.addEventListener("click", () => {
      this.pending = field.value === this.current ? null : field.value;
      void kept.put(`instructions:${this.key}`, this.pending);
      this.changed();
      dialog.close();
    });
  }
}

function textOf({ content }) {
  if (typeof content === "string") return content;
  return (content ?? []).map((each) => each.text ?? "").join("\n");
}
