// The tree of a conversation, drawn: each run of messages without a branch is one line.

import { api } from "./api.js";
import { openDialog } from "./dialogs.js";
import { h, when, whole } from "./dom.js";

/** Show it; `choose` is given the id of the message whose branch is wanted. */
export async function openMap(conversation, choose) {
  const { segments } = await api.get(`${conversation.path}/map`);
  const byLast = new Map(segments.map((segment) => [segment.last, segment]));
  const below = new Map();
  for (const segment of segments) {
    const above = segment.parent === null ? null : (byLast.get(segment.parent)?.last ?? null);
    below.set(above, [...(below.get(above) ?? []), segment]);
  }
  let dialog = null;
  const line = (segment) => h(
    "button",
    {
      type: "button", class: `map-line ${segment.on_path ? "on-path" : ""}`, "aria-current": segment.on_path ? "true" : null,
      on: { click: () => { dialog.close(); choose(segment.last); } },
    },
    h("span", { class: "map-text" }, segment.text || "(without words)"),
    h("span", { class: "map-facts" }, `${whole(segment.messages)} ${segment.messages === 1 ? "message" : "messages"}, ${when(segment.updated_at)}`),
  );
  // A loop and no recursion: each turn may have been asked anew, a thousand levels deep.
  const root = h("ul", { class: "map" });
  const todo = [[null, root]];
  while (todo.length) {
    const [above, place] = todo.pop();
    for (const segment of below.get(above) ?? []) {
      const children = below.get(segment.last) ?? [];
      const inner = children.length ? h("ul", {}) : null;
      place.append(h("li", {}, line(segment), inner));
      if (inner) todo.push([segment.last, place.dataset.deep === "40" ? place : deeper(inner, place)]);
    }
  }
  dialog = openDialog({
    title: "Branches of this chat",
    body: h("div", {}, h("p", { class: "note" }, segments.length > 1 ? "Edits and new replies are branches. Choose one to go on there; nothing is lost." : "There is one branch: nothing was edited or asked anew."), root),
    kind: "wide",
  });
  root.querySelector(".on-path:last-of-type")?.scrollIntoView({ block: "nearest" });
}

function deeper(inner, place) {
  inner.dataset.deep = String(Number(place.dataset.deep ?? 0) + 1);
  return inner;
}
