// The public API, as the page asks it. Addresses are relative to the page, so that it works below any path.

import { bus } from "./state.js";

const BASE = new URL("v1/", document.baseURI);
const HEADERS = { "palaver-page": "1", "palaver-source": "palaver page" };
const SILENCE = 25_000;
/** A stream says something every ten seconds; one that is silent for so long (ms) is broken, whatever the network says. */

/** What the server refused, or could not be asked. `status` is 0 where no answer came. */
export class ApiError extends Error {
  constructor(status, message, code = null, param = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
  }

  /** Whether the same request may go well a little later. */
  get passes() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** The address of a route, with a query; values that are null are left out, lists come several times. */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined) continue;
    for (const each of Array.isArray(value) ? value : [value]) url.searchParams.append(name, each);
  }
  return url.href;
}

/** A part of a path. */
export const part = encodeURIComponent;

async function ask(method, path, { query, body, headers, signal } = {}) {
  let response;
  try {
    response = await fetch(address(path, query), {
      method,
      headers: { ...HEADERS, ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal,
    });
  } catch (error) {
    throw unreached(error);
  }
  if (!response.ok) throw await refused(response);
  return response;
}

function unreached(error) {
  if (error.name === "AbortError") return error;
  return new ApiError(0, navigator.onLine ? "The server cannot be reached." : "There is no network.");
}

async function refused(response) {
  let told = {};
  try {
    told = (await response.json()).error ?? {};
  } catch {
    told = { message: `The server answered ${response.status}.` };  // a proxy's page, or nothing
  }
  if (response.status === 401) bus.emit("signed-out");
  return new ApiError(response.status, told.message ?? `The server answered ${response.status}.`, told.code, told.param);
}

async function json(method, path, options) {
  const response = await ask(method, path, options);
  try {
    return await response.json();
  } catch (error) {
    throw unreached(error);
  }
}

export const api = {
  get: (path, query = {}, options = {}) => json("GET", path, { query, ...options }),
  post: (path, body = {}, options = {}) => json("POST", path, { body, ...options }),
  del: (path, options = {}) => json("DELETE", path, options),
};

/** The data of server-sent events, each decoded. Ends with the stream; raises ApiError where that breaks. */
export async function* events(path, query = {}, signal = undefined) {
  const stop = new AbortController();
  signal?.addEventListener("abort", () => stop.abort(), { once: true });
  let timer;
  const alive = () => { clearTimeout(timer); timer = setTimeout(() => stop.abort(), SILENCE); };
  alive();
  try {
    const response = await ask("GET", path, { query, signal: stop.signal, headers: { accept: "text/event-stream" } });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const each of parts) {
        if (each.startsWith("data: ") && each !== "data: [DONE]") yield JSON.parse(each.slice(6));
      }
    }
  } catch (error) {
    if (signal?.aborted) return;
    throw error instanceof ApiError ? error : new ApiError(0, "The connection broke.");
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}
