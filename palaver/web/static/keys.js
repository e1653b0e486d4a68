// Keys: what they are called here, and which are pressed.

export const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);

/** Whether the key that goes with letters for commands is held: Ctrl, on a Mac Command. */
export function isCommand(event) {
  return (isMac ? event.metaKey : event.ctrlKey) && !event.altKey;
}

/** Whether what is typed goes into a field. */
export function isTyping(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}
