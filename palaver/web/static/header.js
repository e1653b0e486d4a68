// The head of the open chat: its title, and what can be done with all of it.

import { menuOf, rename, titleOf } from "./chats.js";
import { h, iconButton } from "./dom.js";
import { openMap } from "./map.js";
import { openMenu } from "./menu.js";
import { openTokens } from "./seen.js";
import { failed } from "./toast.js";

export class Header {
  constructor(chat) {
    this.chat = chat;
    this.title = h("h1", { class: "title" }, "New chat");
    this.facts = h("span", { class: "title-facts" });
    this.tools = h("div", { class: "tools", role: "toolbar", "aria-label": "This chat" });
    this.element = h("header", { class: "head" }, h("div", { class: "titles" }, this.title, this.facts), this.tools);
    this._fill();
  }

  /** Show it as it is; `title` in the place of the conversation's own. */
  show(title = null) {
    const { conversation, temporary, instructions } = this.chat;
    const detail = conversation?.detail;
    const text = title ?? (detail ? titleOf(detail) : temporary ? "Temporary chat" : "New chat");
    if (!this.title.querySelector("input")) this.title.textContent = text;
    document.title = detail ? `${text} · palaver` : "palaver";
    this.facts.textContent = detail?.expires_at ? "temporary" : detail?.archived ? "archived" : "";
    for (const button of this.tools.querySelectorAll(".needs-chat")) button.hidden = !detail;
    this.tell?.classList.toggle("is-set", Boolean(instructions?.text));
  }

  _fill() {
    const { chat } = this;
    const needs = { class: "needs-chat" };
    this.tell = iconButton("text", "Instructions", () => chat.instructions.edit(), { class: "does-instructions" });
    const more = iconButton("more", "More about this chat", () => this._menu(more), { "aria-haspopup": "menu", ...needs });
    this.tools.append(
      iconButton("search", "Find in this chat (Ctrl-F)", () => chat.find.open(), { ...needs, class: "needs-chat does-find" }),
      iconButton("tree", "Branches of this chat", () => void this.openMap(), { ...needs, class: "needs-chat does-map" }),
      iconButton("chart", "Tokens of each turn", () => openTokens(chat.conversation.messages), { ...needs, class: "needs-chat does-tokens" }),
      this.tell, more,
    );
  }

  _menu(button) {
    const { detail } = this.chat.conversation;
    // A narrow page has no room for its button.
    const tokens = { label: "Tokens of each turn", icon: "chart", run: () => openTokens(this.chat.conversation.messages) };
    openMenu(button, [tokens, ...menuOf(detail, { startRename: () => this.rename() })], { label: "This chat" });
  }

  async openMap() {
    const { conversation } = this.chat;
    if (!conversation) return;
    try {
      await openMap(conversation, (message) => void this.chat.choose(message));
    } catch (error) {
      failed("The branches cannot be shown.", error);
    }
  }

  /** Write another title in its place. */
  rename() {
    const { detail } = this.chat.conversation;
    let done = false;
    const end = (keep) => {
      if (done) return;
      done = true;
      const title = field.value;
      this.title.replaceChildren();
      this.show();
      if (keep && title.trim() !== (detail.title ?? "")) void rename(detail, title);
    };
    const pressed = (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    };
    const field = h("input", { "aria-label": "Title", maxlength: "200", on: { keydown: pressed, blur: () => end(true) } });
    field.value = detail.title ?? "";
    this.title.replaceChildren(field);
    field.select();
  }
}
