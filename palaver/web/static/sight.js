// What the model saw of the open conversation, and what it would see of what is being written.

import { later } from "./dom.js";
import { markSeen, Meter, receiptOf } from "./seen.js";
import { bus, settings } from "./state.js";

const METERED = 200_000;
/** What is longer (characters) is not counted before it is sent. */

export class Sight {
  constructor(chat) {
    this.chat = chat;
    this.meter = new Meter();
    this.receipt = null;
    this._turn = null;
    this.later = later(() => void this.measure(), 100);
    bus.on("settings", ({ name }) => name === "show-seen" && this.grey());
  }

  /** Another conversation is shown. */
  forget() {
    this.receipt = null;
    this._turn = null;
    void this.meter.ask(null);
  }

  /** Grey what the model did not see the last time. */
  async see() {
    const { conversation } = this.chat;
    let turn = null;
    try {
      turn = (await conversation?.lastTurn()) ?? null;
    } catch {
      turn = this._turn;  // what is grey stays so
    }
    if (conversation !== this.chat.conversation) return;
    if (turn && this._turn !== turn) {
      this._turn = turn;
      try {
        this.receipt = await receiptOf(turn);
      } catch {
        this.receipt = null;  // nothing is greyed then; each reply still shows its own
      }
      if (conversation !== this.chat.conversation) return;
    }
    this.grey();
    this.later();
  }

  grey() {
    const { transcript } = this.chat;
    const order = [...transcript.list.children].map((element) => transcript.views.get(element.dataset.id)).filter(Boolean);
    transcript.still(() => markSeen(order, settings.get("show-seen", true) ? this.receipt : null));
  }

  /** Say how full the context would be. */
  async measure() {
    const { composer, conversation, model, instructions } = this.chat;
    const { content, field } = composer;
    const known = model.name && (conversation?.messages.length || content);
    if (!known || field.value.length > METERED) return this.meter.ask(null);
    const sent = content ?? "…";
    const messages = [{ role: "user", content: typeof sent === "string" ? sent : textsOf(sent) }];
    if (instructions.pending) messages.unshift({ role: "system", content: instructions.pending });
    const place = conversation ? { conversation: conversation.id, parent: "head" } : {};
    return this.meter.ask({ model: model.name, messages, ...place });
  }
}

function textsOf(content) {
  const texts = content.filter((each) => each.type === "text").map((each) => each.text);
  return texts.join("\n") || "…";
}
