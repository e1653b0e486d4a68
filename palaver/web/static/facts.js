// What the server says of itself, asked once.

import { api } from "./api.js";
import { bus } from "./state.js";

let asked = null;

/** {version, record, retain_days, default_model, temporary_seconds, undo_seconds, …}. Raises ApiError; then it is asked
 * again the next time. */
export function facts() {
  asked ??= api.get("server").catch((error) => {
    asked = null;
    throw error;
  });
  return asked;
}

bus.on("signed-in", () => { asked = null; });
