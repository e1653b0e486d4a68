// What a filter finds: chats by their titles, and what was said in them, a chat with its hits together.

/** The words of a filter, as titles are compared with them. */
export function wordsOf(text) {
  return text.toLowerCase().replace(/["“”„«»*]/g, " ").split(/\s+/).filter(Boolean);
}

/** What the server is asked for: the last word may go on, unless a phrase is open. Null where there is nothing to ask. */
export function queryOf(text) {
  const asked = text.trim();
  const signs = asked.match(/[\p{L}\p{N}]/gu) ?? [];
  if (!signs.length || (signs.length === 1 && /^[\x20-\x7f]$/.test(asked))) return null;
  const inPhrase = (asked.match(/"/g) ?? []).length % 2 === 1;
  return /[\p{L}\p{N}]$/u.test(text) && !inPhrase ? `${asked}*` : asked;
}

/** Where the words stand in a text: [from, to] in code points, in order, none over another. */
export function marksIn(text, words) {
  const lower = text.toLowerCase();
  if (lower.length !== text.length) return [];  // signs that grow in small letters: places would be wrong
  const found = [];
  for (const word of words) {
    for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + word.length)) found.push([at, at + word.length]);
  }
  found.sort((a, b) => a[0] - b[0]);
  const apart = found.filter(([from], place) => place === 0 || from >= Math.max(...found.slice(0, place).map(([, to]) => to)));
  const points = (units) => [...text.slice(0, units)].length;
  return apart.map(([from, to]) => [points(from), points(to)]);
}

/** A text in pieces: [piece, whether it is marked]. Marks are counted in code points. */
export function pieces(text, marks) {
  const signs = [...text];
  const made = [];
  let at = 0;
  for (const [from, to] of marks) {
    if (from > at) made.push([signs.slice(at, from).join(""), false]);
    made.push([signs.slice(from, to).join(""), true]);
    at = to;
  }
  if (at < signs.length) made.push([signs.slice(at).join(""), false]);
  return made;
}

/** Chats that were found, in their order: first those whose loaded titles fit, then the server's hits. Each is
 * {id, title, marks, source, hits}. */
export function grouped(titled, hits, words) {
  const groups = new Map();
  const open = (id, title, source, marks) => {
    if (!groups.has(id)) groups.set(id, { id, title: title || "Untitled chat", source, marks, hits: [] });
    return groups.get(id);
  };
  for (const { id, title, source } of titled) open(id, title, source, marksIn(title ?? "", words));
  for (const hit of hits) {
    const { id, title, source } = hit.conversation;
    const group = open(id, title, source, marksIn(title ?? "", words));
    if (hit.type === "message") group.hits.push(hit);
  }
  return [...groups.values()];
}
