// What can be done with a message. Nothing here destroys: an edit and a new reply are branches.

import { textOf } from "./conversation.js";
import { copied } from "./copying.js";

/** See `MessageView`. */
export function actionsOf(chat) {
  return {
    copy: (view, button) => void copied(textOf(view.message), button),
    link: (view, button) => void copied(new URL(`#/c/${chat.conversation.id}/m/${view.message.id}`, location.href).href, button),
    info: (view, button) => void chat.card.show(button, view.message.turn),
    choose: (view, to) => void choose(chat, view, to),
    retry: (view) => {
      const { message } = view;
      const question = message.role === "assistant" ? message.parent : message.id;
      if (question) void chat.sending.again(question);
    },
    goOn: (view) => void chat.sending.again(view.message.id, view.message.parent),
    edit: (view) => edit(chat, view.message),
    isLast: (view) => chat.conversation?.last?.id === view.message.id && !chat.sending.turns.size,
    loaded: () => chat.sight.grey(),
  };
}

async function choose(chat, view, to) {
  const { scroller } = chat.transcript;
  const offset = view.element.getBoundingClientRect().top - scroller.getBoundingClientRect().top;
  const isBack = document.activeElement?.classList.contains("branch-left");
  await chat.choose(to, offset);
  const group = chat.transcript.views.get(to)?.element.querySelector(".branches");
  (group?.querySelector(`.branch-${isBack ? "left" : "right"}:not(:disabled)`) ?? group?.querySelector("button:not(:disabled)"))?.focus({ preventScroll: true });
}

function edit(chat, message) {
  const text = textOf(message);
  const pieces = [];  // pictures that are stored stay with the message that has them
  chat.composer.edit(text, pieces, (content) => {
    if (content !== null) void chat.sending.say(content, message.parent);
  });
}
