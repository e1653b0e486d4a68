// One chat in the list, and its title's field.

import { h, iconButton, iconOf, when } from "./dom.js";
import { quoted, rename, titleOf } from "./chats.js";
import { until } from "./dates.js";
import { isRunning, isUnread } from "./marks.js";
import { sourceLabel } from "./sources.js";

/** The element of a chat. Its list hears its clicks and keys. */
export function rowOf(conversation) {
  const element = h(
    "li",
    { class: "row", dataset: { id: conversation.id } },
    h("a", { class: "row-link", href: `#/c/${encodeURIComponent(conversation.id)}`, tabindex: "-1" }),
    iconButton("more", "", null, { class: "row-more", tabindex: "-1", "aria-haspopup": "menu", "aria-expanded": "false" }),
  );
  fillRow(element, conversation);
  return element;
}

/** Show in its element what a chat is now. */
export function fillRow(element, conversation) {
  const [link, more] = [element.querySelector(".row-link"), element.querySelector(".row-more")];
  const title = titleOf(conversation);
  const notes = notesOf(conversation);
  link.replaceChildren(
    h("span", { class: "row-title", dir: "auto" }, title),
    ...(notes ? [h("span", { class: "row-notes" }, notes)] : []),
    ...markOf(conversation.id),
  );
  link.title = [title, `Last used ${when(conversation.updated_at)}`, conversation.source && `By ${conversation.source}`]
    .filter(Boolean).join("\n");
  more.setAttribute("aria-label", `Options for ${quoted(conversation)}`);
  more.title = "Options";
}

/** Show whether its reply is on its way, or was not looked at. */
export function markRow(element, id) {
  element.querySelector(".row-mark")?.remove();
  element.querySelector(".row-link").append(...markOf(id));
}

function markOf(id) {
  if (isRunning(id)) return [h("span", { class: "row-mark running" }, h("span", { class: "visually-hidden" }, ", a reply is on its way"))];
  if (isUnread(id)) return [h("span", { class: "row-mark unread" }, h("span", { class: "visually-hidden" }, ", new reply"))];
  return [];
}

function notesOf({ source, expires_at: expires, user }) {
  const told = [sourceLabel(source), user, expires && `goes in ${until(expires)}`].filter(Boolean);
  return told.join(" · ");
}

/** Put a field in the place of a row's title. Enter and leaving it keep what it says, Escape does not. Resolves when
 * it is gone. */
export function renameIn(element, conversation) {
  const link = element.querySelector(".row-link");
  if (element.querySelector(".row-field")) return Promise.resolve();
  const field = h("input", {
    class: "row-field", type: "text", value: conversation.title ?? "", maxlength: "256", dir: "auto",
    "aria-label": `New title of ${quoted(conversation)}`, placeholder: "Empty for the first words again",
    autocomplete: "off", spellcheck: "true",
  });
  link.hidden = true;
  element.prepend(field);
  element.classList.add("renaming");
  field.focus();
  field.select();
  return new Promise((resolve) => {
    let over = false;
    const end = async (keep, focus) => {
      if (over) return;
      over = true;
      const title = field.value;
      link.hidden = false;
      element.classList.remove("renaming");
      if (focus) link.focus();
      field.remove();
      if (keep && title.trim() !== (conversation.title ?? "")) await renamed(link, conversation, title);
      resolve();
    };
    field.addEventListener("blur", () => end(true, false));
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing) return;
      if (event.key === "Enter") end(true, true);
      else if (event.key === "Escape") end(false, true);
      else return;
      event.preventDefault();
    });
  });
}

async function renamed(link, conversation, title) {
  const shown = link.querySelector(".row-title");
  const before = shown.textContent;
  if (title.trim()) shown.textContent = title.trim();
  if (!(await rename(conversation, title))) shown.textContent = before;
}

/** What a list shows while it waits, and where it has nothing. */
export function placeholder(count = 6) {
  return h("div", { class: "list-waiting", "aria-hidden": "true" }, Array.from({ length: count }, () => h("span", { class: "bone" })));
}

export function emptiness(icon, title, text) {
  return h("div", { class: "list-empty" }, iconOf(icon), h("p", { class: "list-empty-title" }, title), h("p", {}, text));
}
