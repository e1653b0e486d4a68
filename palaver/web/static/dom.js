// The page's few helpers for the document. HTML gets in by one way only: `setHtml` and `morph`, which are given what
// palaver's own renderer made and cleaned; everything else is text.

const policy = globalThis.trustedTypes
  ? trustedTypes.createPolicy("palaver", { createHTML: (html) => html })
  : { createHTML: (html) => html };

/** An element. Props: `class`, `dataset`, `on` ({click: fn}), anything else is an attribute; true sets it empty, and
 * false, null and undefined leave it out. Children are strings or nodes; null is left out. */
export function h(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  apply(made, props);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  apply(made, props);
  made.append(...children.flat().filter(Boolean));
  return made;
}

function apply(made, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
}

/** Show HTML of palaver's renderer in an element. */
export function setHtml(element, html) {
  element.innerHTML = policy.createHTML(html);
}

/** The same, but what stays as it is stays in place: a selection in it survives. */
export function morph(element, html) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(html);
  patchChildren(element, template.content);
}

/** The same for one child of an element: the one at `index`, or a new last one. Returns it. */
export function morphAt(parent, index, html) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(html);
  const made = template.content.firstElementChild;
  const there = parent.children[index];
  if (!made) return there ?? null;
  if (there) patch(there, made);
  else parent.append(made);
  return parent.children[index];
}

function patchChildren(here, there) {
  // What the page itself put there (`data-own`) is no part of what is compared.
  const isOwn = (node) => node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-own");
  const mine = [...here.childNodes].filter((node) => !isOwn(node));
  const own = [...here.childNodes].find(isOwn) ?? null;
  const theirs = [...there.childNodes];
  for (const [place, node] of theirs.entries()) {
    if (place < mine.length) patch(mine[place], node);
    else here.insertBefore(node, own);
  }
  for (const node of mine.slice(theirs.length)) node.remove();
}

function patch(mine, theirs) {
  if (mine.nodeType !== theirs.nodeType || mine.nodeName !== theirs.nodeName) {
    mine.replaceWith(theirs);
  } else if (mine.nodeType === Node.TEXT_NODE) {
    // Text that only grew is added to: replacing it would end a selection in it.
    if (theirs.data.startsWith(mine.data)) {
      if (theirs.length > mine.length) mine.appendData(theirs.data.slice(mine.length));
    } else mine.data = theirs.data;
  } else if (mine.nodeType === Node.ELEMENT_NODE) {
    for (const { name } of [...mine.attributes]) if (!theirs.hasAttribute(name)) mine.removeAttribute(name);
    for (const { name, value } of theirs.attributes) {
      if (mine.getAttribute(name) !== value) mine.setAttribute(name, value);
    }
    patchChildren(mine, theirs);
  }
}

/** A button with a picture: `icon` names one of `icons`, `label` is what it is called. */
export function iconButton(icon, label, run, props = {}) {
  const { class: more = "", ...rest } = props;
  return h("button", { type: "button", class: `icon ${more}`, "aria-label": label, title: label, on: { click: run }, ...rest }, iconOf(icon));
}

const icons = {
  copy: "M9 9V5a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1h-4M5 9h9a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1Z",
  check: "m5 13 4 4L19 7",
  edit: "M4 20h4L19 9a2.8 2.8 0 0 0-4-4L4 16v4Zm9.500-13.500 4 4",
  retry: "M20 12a8 8 0 1 1-2.300-5.700L20 8M20 3v5h-5",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  left: "m15 6-6 6 6 6",
  right: "m9 6 6 6-6 6",
  up: "m6 15 6-6 6 6",
  open: "m7 10 5 5 5-5",
  down: "M12 5v14m-6-6 6 6 6-6",
  send: "M12 20V5m-6 6 6-6 6 6",
  stop: "M7 7h10v10H7z",
  close: "M6 6l12 12M18 6 6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  plus: "M12 5v14M5 12h14",
  attach: "m20 11-8.500 8.500a5 5 0 0 1-7-7L13 4a3.500 3.500 0 0 1 5 5l-8.500 8.500a1.800 1.800 0 0 1-2.500-2.500L15 7",
  link: "M10 14a4 4 0 0 0 6 .400l3-3a4 4 0 0 0-5.700-5.700L12 7m2 3a4 4 0 0 0-6-.400l-3 3a4 4 0 0 0 5.700 5.700L12 17",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm5-2 4 4",
  tree: "M6 4v10a3 3 0 0 0 3 3h9M6 9h8M14 6.500v5M18 14.500v5",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-10v6m0-9.500v.010",
  play: "M8 5v14l11-7z",
  pin: "M9 4h6l-1 6 3 3H7l3-3-1-6Zm3 9v7",
  archive: "M4 5h16v4H4zm1 4h14v10H5zm5 4h4",
  trash: "M5 7h14M10 7V4h4v3m-7 0 1 13h8l1-13",
  settings: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm8-3-2-1 .500-2.500-2-2L14 7l-1-3h-2l-1 3-2.500-.500-2 2L6 11l-2 1 2 1-.500 2.500 2 2L10 17l1 3h2l1-3 2.500.500 2-2L18 13Z",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-14v5l3 2",
  calendar: "M5 6h14v14H5zM5 10h14M9 4v4m6-4v4",
  text: "M5 6h14M5 12h14M5 18h8",
  chart: "M5 20V10m5 10V4m5 16v-7m5 7V8",
  panel: "M5 5h14a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1Zm4.500 0v14",
  chats: "M20 11.500a7.500 7.500 0 0 1-11 6.600L4.500 19.500l1.400-4.400A7.500 7.500 0 1 1 20 11.500Z",
  temporary: "M5.500 8.500A8 8 0 0 1 8 5.500m3-1.300a8 8 0 0 1 3.500.200m2.800 1.700A8 8 0 0 1 19.300 9m.700 3a8 8 0 0 1-1.200 3.500m-2.300 2.400a8 8 0 0 1-3.300 1.100m-3-.300a8 8 0 0 1-1.500-.700L4.500 19.500l1.400-4.400m-.900-2.200a8 8 0 0 1 0-2",
  keyboard: "M4 7h16v10H4zM7.500 10.500h.010m2.990 0h.010m2.990 0h.010m2.990 0h.010M8.500 14h7",
};

/** A picture of `icons`; nothing for a screen reader. */
export function iconOf(name) {
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "glyph" }, svg("path", { d: icons[name] ?? icons.more }));
}

/** How many bytes, for people. */
export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1_000_000) return `${(count / 1000).toFixed(count < 10_000 ? 1 : 0)} kB`;
  return `${(count / 1_000_000).toFixed(1)} MB`;
}

/** A whole number, for people. */
export function whole(count) {
  return Math.round(count).toLocaleString("en");
}

/** A stretch of time in milliseconds, for people. */
export function span(ms) {
  if (ms < 950) return `${Math.max(0.1, ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** When something was, from seconds since 1970. */
export function when(seconds, style = { dateStyle: "medium", timeStyle: "short" }) {
  return new Date(seconds * 1000).toLocaleString(undefined, style);
}

/** `run`, once nobody has called for so long (ms). `.now()` runs it at once where it waits, `.cancel()` drops it. */
export function later(run, ms) {
  let timer = null, given = [];
  const fire = () => { timer = null; run(...given); };
  const wait = (...args) => { given = args; clearTimeout(timer); timer = setTimeout(fire, ms); };
  wait.now = () => { if (timer !== null) { clearTimeout(timer); fire(); } };
  wait.cancel = () => { clearTimeout(timer); timer = null; };
  return wait;
}
