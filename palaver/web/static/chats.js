// What can be done with a chat, wherever it is shown: each change is made on the server, and told on the bus.

import { address, api, part } from "./api.js";
import { isMac } from "./keys.js";
import { facts } from "./facts.js";
import { tell } from "./state.js";
import { failed, toast } from "./toast.js";

const UNDO_SECONDS = 60;
const TEMPORARY_SECONDS = 86_400;
const LONGEST_QUOTE = 70;

/** Those that were deleted and can be had back, the newest last: {id, undo}. */
const deleted = [];

const pathOf = (id) => `conversations/${part(id)}`;

export function titleOf(conversation) {
  return conversation.title || "Untitled chat";
}

/** A title as it is quoted in a sentence. */
export function quoted(conversation) {
  const title = titleOf(conversation);
  return `“${title.length > LONGEST_QUOTE ? `${title.slice(0, LONGEST_QUOTE - 1)}…` : title}”`;
}

/** Change a chat, and tell of it. Raises ApiError. */
async function change(id, body) {
  const changed = await api.post(pathOf(id), body);
  tell("conversation:changed", { id, conversation: changed });
  return changed;
}

async function tried(what, work) {
  try {
    await work();
    return true;
  } catch (error) {
    failed(what, error, () => tried(what, work));
    return false;
  }
}

/** Give a chat a title; an empty one means the first words of its first question. */
export function rename(conversation, title) {
  return tried("The chat could not be renamed.", () => change(conversation.id, { title: title.trim() }));
}

export function setPinned(conversation, pinned) {
  return tried(`The chat could not be ${pinned ? "pinned" : "unpinned"}.`, () => change(conversation.id, { pinned }));
}

export function setArchived(conversation, archived) {
  return tried(`The chat could not be ${archived ? "archived" : "taken back"}.`, async () => {
    await change(conversation.id, { archived });
    const undo = { label: "Undo", run: () => setArchived(conversation, !archived) };
    toast(`${quoted(conversation)} was ${archived ? "archived" : "moved back to your chats"}.`, { action: undo });
  });
}

/** Keep a chat for good that would have gone by itself. */
export function keep(conversation) {
  return tried("The chat could not be kept.", async () => {
    await change(conversation.id, { expires_in: null });
    toast(`${quoted(conversation)} is kept.`);
  });
}

async function undoSeconds() {
  try {
    return (await facts()).undo_seconds ?? UNDO_SECONDS;
  } catch {
    return UNDO_SECONDS;
  }
}

/** Delete a chat: at once for whoever looks, for good when the time to undo it is over. */
export function remove(conversation) {
  const { id } = conversation;
  return tried("The chat could not be deleted.", async () => {
    const seconds = await undoSeconds();
    await api.post(pathOf(id), { expires_in: seconds });
    const at = Date.now() + seconds * 1000;
    tell("conversation:gone", { id });
    const entry = { id, undo: () => { shown.close(); bringBack(conversation, entry); } };
    deleted.push(entry);
    setTimeout(() => forget(entry), seconds * 1000);
    const action = { label: "Undo", run: entry.undo };
    const shown = toast(`${quoted(conversation)} will be deleted for good in`, { action, until: at });
  });
}

function forget(entry) {
  if (deleted.includes(entry)) deleted.splice(deleted.indexOf(entry), 1);
}

/** Have the chat back that was deleted last. Returns whether there was one. */
export function undoRemoval() {
  const last = deleted.at(-1);
  last?.undo();
  return last !== undefined;
}

function bringBack(conversation, entry) {
  return tried("The chat could not be brought back.", async () => {
    const temporary = conversation.expires_at !== null;
    const changed = await change(conversation.id, { expires_in: temporary ? await temporarySeconds() : null });
    forget(entry);
    tell("conversation:back", { id: conversation.id, conversation: changed });
  });
}

async function temporarySeconds() {
  try {
    return Math.max(1, Math.round((await facts()).temporary_seconds ?? TEMPORARY_SECONDS));
  } catch {
    return TEMPORARY_SECONDS;
  }
}

const FORMATS = [
  ["markdown", "Markdown", "The text, to read and edit"],
  ["html", "Web page", "One file, as it looks here"],
  ["json", "JSON", "Everything, with all branches"],
];

/** Where a chat can be had as a file. */
export function exportAddress(id, format) {
  return address(`${pathOf(id)}/export`, { format });
}

/** The items of a chat's menu. `startRename` shows a field for the title. */
export function menuOf(conversation, { startRename }) {
  const { id, pinned, archived, expires_at: expires } = conversation;
  const going = expires !== null;
  return [
    { label: "Rename", icon: "edit", keys: "F2", run: startRename },
    !archived && !going && {
      label: pinned ? "Unpin" : "Pin", icon: "pin", run: () => setPinned(conversation, !pinned),
    },
    !going && {
      label: archived ? "Move back to chats" : "Archive", icon: "archive", run: () => setArchived(conversation, !archived),
    },
    going && { label: "Keep this chat", icon: "check", run: () => keep(conversation) },
    { heading: "Save as", separate: true },
    ...FORMATS.map(([format, label, note]) => ({ label, note, href: exportAddress(id, format) })),
    {
      label: "Delete", icon: "trash", keys: isMac ? "⌫" : "Del", danger: true, separate: true,
      run: () => remove(conversation),
    },
  ];
}
