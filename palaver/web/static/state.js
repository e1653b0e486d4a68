// What the page keeps in the browser, and how its parts hear of each other.

const heard = new Map();

/** Events between the parts of the page. `on` returns what ends it. */
export const bus = {
  on(name, run) {
    if (!heard.has(name)) heard.set(name, new Set());
    heard.get(name).add(run);
    return () => heard.get(name).delete(run);
  },
  emit(name, data = {}) {
    for (const run of [...(heard.get(name) ?? [])]) run(data);
  },
};

/** Other tabs of this page hear these events, too. */
const SHARED = new Set(["turn:began", "turn:ended", "conversation:changed", "conversation:gone"]);
const tabs = "BroadcastChannel" in globalThis ? new BroadcastChannel(`palaver ${document.baseURI.split("#")[0]}`) : null;
tabs?.addEventListener("message", ({ data }) => bus.emit(data.name, { ...data.data, elsewhere: true }));

/** Tell this tab and the others. */
export function tell(name, data = {}) {
  bus.emit(name, data);
  if (SHARED.has(name)) tabs?.postMessage({ name, data });
}

const memory = new Map();

/** Small settings, in localStorage; where the browser keeps none, as long as the page is open. */
export const settings = {
  get(name, otherwise = null) {
    try {
      const kept = localStorage.getItem(`palaver.${name}`);
      return kept === null ? (memory.get(name) ?? otherwise) : JSON.parse(kept);
    } catch {
      return memory.get(name) ?? otherwise;  // storage is off, or holds what is none of ours
    }
  },
  set(name, value) {
    memory.set(name, value);
    try {
      if (value === null) localStorage.removeItem(`palaver.${name}`);
      else localStorage.setItem(`palaver.${name}`, JSON.stringify(value));
    } catch {
      // It is full or off: `memory` has it.
    }
    if (value === null) memory.delete(name);
    bus.emit("settings", { name, value });
  },
};

let opening = null;

function database() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("palaver", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("blocked"));
  });
  return opening;
}

async function transact(mode, work) {
  const opened = await database();
  return new Promise((resolve, reject) => {
    const transaction = opened.transaction("kept", mode, { durability: "relaxed" });
    const request = work(transaction.objectStore("kept"));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

const drafts = new Map();

/** What may be large (drafts, what is being sent): in IndexedDB; where there is none, as long as the page is open. */
export const kept = {
  async get(key) {
    try {
      return (await transact("readonly", (store) => store.get(key))) ?? drafts.get(key) ?? null;
    } catch {
      return drafts.get(key) ?? null;
    }
  },
  async put(key, value) {
    if (value === null) drafts.delete(key);
    else drafts.set(key, value);
    try {
      await transact("readwrite", (store) => (value === null ? store.delete(key) : store.put(value, key)));
      return true;
    } catch {
      return false;  // the text is still in the field and in `drafts`
    }
  },
};
