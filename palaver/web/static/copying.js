// What is copied from a reply is its Markdown; code, as it is.

import { iconButton, iconOf } from "./dom.js";
import { toast } from "./toast.js";

/** Put text on the clipboard, and have the button say so. */
export async function copied(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https there is no clipboard for pages, but this still works.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    (document.querySelector("dialog[open]") ?? document.body).append(field);  // beside a dialog nothing takes the focus
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) {
      toast("The browser does not let the page copy.", { kind: "error" });
      return;
    }
  }
  if (!button) return;
  const before = button.firstChild;
  button.replaceChildren(iconOf("check"));
  button.classList.add("done");
  setTimeout(() => { button.replaceChildren(before); button.classList.remove("done"); }, 1500);
}

/** A click on the button of a block of code. */
export async function copyCode(event) {
  const button = event.target.closest?.(".copy-code");
  if (!button) return;
  await copied(button.parentElement.querySelector("code").textContent, button);
}

/** What somebody selected in replies goes as Markdown; a block of which only a part is selected, as it looks. */
export function copyMarkdown(event, views) {
  const selection = getSelection();
  if (!selection || selection.isCollapsed) return;
  const range = selection.getRangeAt(0);
  const blocks = [...event.currentTarget.querySelectorAll(".prose > .block")].filter((block) => range.intersectsNode(block));
  const pieces = blocks.map((block) => pieceOf(block, range, views));
  const outside = [...event.currentTarget.querySelectorAll(".said")].some((said) => range.intersectsNode(said));
  if (outside || !pieces.some((piece) => piece.isWhole)) return;
  event.clipboardData.setData("text/plain", pieces.map((piece) => piece.text).filter(Boolean).join("\n\n"));
  event.clipboardData.setData("text/html", htmlOf(range));
  event.preventDefault();
}

function pieceOf(block, range, views) {
  const part = document.createRange();
  part.selectNodeContents(block);
  const all = part.toString().trim();
  if (block.contains(range.startContainer)) part.setStart(range.startContainer, range.startOffset);
  if (block.contains(range.endContainer)) part.setEnd(range.endContainer, range.endOffset);
  const text = part.toString().trim();
  const source = text === all ? sourceOf(views.get(block.closest(".message").dataset.id)) : null;
  if (source === null) return { text, isWhole: false };
  const stop = block.dataset.stop === undefined ? undefined : Number(block.dataset.stop);
  return { text: source.slice(Number(block.dataset.start), stop).trimEnd(), isWhole: true };
}

function htmlOf(range) {
  const place = document.createElement("div");
  place.append(range.cloneContents());
  for (const own of place.querySelectorAll("[data-own]")) own.remove();
  return place.innerHTML;
}

/** The Markdown of a reply; null for what is none. */
export function sourceOf(view) {
  const { message } = view;
  if (message.role !== "assistant") return null;
  if (message.live) return message.live.current?.turn.text ?? null;
  return message.content.filter((each) => "text" in each).map((each) => each.text).join("\n");
}

/** A button that copies what `text()` says. */
export function copyButton(text, label) {
  return iconButton("copy", label, (event) => void copied(text(), event.currentTarget));
}
