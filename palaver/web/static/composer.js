// Where a message is written. Typing does no more than typing: all else waits until it pauses.

import { bytes, h, iconButton, later } from "./dom.js";
import { kept, settings } from "./state.js";
import { toast } from "./toast.js";

const MUCH = 50_000;
/** Pasted text that is longer (characters) becomes a piece beside the field: no field stays quick with megabytes. */
const TEXTS = /^(text\/|application\/(json|xml|x-yaml|javascript|toml|sql))/;

export class Composer {
  /** `does` has: send(content), stop(), changed() (once it pauses), limits() -> {images, largest}. */
  constructor(does) {
    this.does = does;
    this.key = null;
    this.pieces = [];
    this.running = false;
    this.field = h("textarea", {
      id: "composer-text", rows: "1", placeholder: "Write a message", "aria-label": "Message", enterkeyhint: "send", autocomplete: "off",
      on: { input: () => this._changed(), keydown: (event) => this._pressed(event), paste: (event) => this._pasted(event) },
    });
    this.tray = h("ul", { class: "tray", "aria-label": "Attached", hidden: true });
    this.editing = h("div", { class: "editing", hidden: true });
    this.send = iconButton("send", "Send", () => this.submit(), { class: "send" });
    this.stop = iconButton("stop", "Stop the reply (Escape)", () => does.stop(), { class: "stop", hidden: true });
    this.picker = h("input", { type: "file", multiple: true, hidden: true, tabindex: "-1", "aria-hidden": "true", on: { change: () => { void this.add([...this.picker.files]); this.picker.value = ""; } } });
    this.left = h("div", { class: "left" }, iconButton("attach", "Attach pictures or text files", () => this.picker.click(), { class: "attach" }), this.picker);
    this.right = h("div", { class: "right" });
    this.element = h(
      "form", { class: "composer", "aria-label": "Write a message", on: { submit: (event) => { event.preventDefault(); this.submit(); } } },
      this.editing, this.tray, this.field, h("div", { class: "row" }, this.left, h("div", { class: "grow" }), this.right, this.stop, this.send),
    );
    this._keep = later(() => void this.keep(), 300);
    this._pause = later(() => does.changed(), 600);
    addEventListener("pagehide", () => this._keep.now());
    this._tell();
  }

  /** Write for another conversation, `key`; what was begun there is there again. */
  async open(key, { cancelEdit = true } = {}) {
    this._keep.now();
    if (cancelEdit) this._endEdit();
    this.key = key;
    const draft = await kept.get(`draft:${key}`);
    if (this.key !== key) return;
    this.set(draft?.text ?? "", draft?.pieces ?? []);
  }

  set(text, pieces = []) {
    this.field.value = text;
    this.pieces = pieces;
    this._size();
    this._tray();
    this._tell();
  }

  /** Move what is written to another key: the conversation was only now made. */
  rekey(key) {
    void kept.put(`draft:${this.key}`, null);
    this.key = key;
    this._keep();
  }

  /** Edit a message instead: `done` is given the new content, or null where it is called off. */
  edit(text, pieces, done) {
    this._keep.now();
    this._endEdit();
    this._edit = { done, text: this.field.value, pieces: this.pieces };
    this.editing.hidden = false;
    this.editing.replaceChildren("Editing: what was there stays, as another branch. ", h("button", { type: "button", class: "plain", on: { click: () => this.cancelEdit() } }, "Cancel"));
    this.set(text, pieces);
    this.field.focus();
  }

  cancelEdit() {
    const edit = this._edit;
    if (!edit) return false;
    this._endEdit();
    this.set(edit.text, edit.pieces);
    edit.done(null);
    return true;
  }

  _endEdit() {
    this._edit = null;
    this.editing.hidden = true;
  }

  async keep() {
    if (this._edit || this.key === null) return;
    const text = this.field.value;
    const draft = text || this.pieces.length ? { text, pieces: this.pieces } : null;
    await kept.put(`draft:${this.key}`, draft);
  }

  /** What is written, as the parts of a message; null where that is nothing. */
  get content() {
    const texts = [this.field.value, ...this.pieces.filter((piece) => piece.text !== undefined).map((piece) => piece.text)];
    const text = texts.filter((each) => each.trim()).join("\n\n");
    const images = this.pieces.filter((piece) => piece.url).map((piece) => ({ type: "image_url", image_url: { url: piece.url } }));
    if (!text && !images.length) return null;
    return images.length ? [...(text ? [{ type: "text", text }] : []), ...images] : text;
  }

  submit() {
    const content = this.content;
    if (content === null) return;
    if (this.running && this._edit) {
      toast("A reply is coming: stop it, or wait for its end, before you send an edit.");
      return;
    }
    const edit = this._edit;
    this._endEdit();
    if (edit) {
      this.set(edit.text, edit.pieces);
      edit.done(content);
    } else {
      this.set("", []);
      this._keep.cancel();
      void kept.put(`draft:${this.key}`, null);
      this.does.send(content);
    }
    this.field.focus();
  }

  /** Whether a reply is running that can be stopped. */
  set isRunning(running) {
    this.running = running;
    this.stop.hidden = !running;
    this._tell();
  }

  _tell() {
    this.send.disabled = this.content === null;
    this.send.title = this.running ? "Send; it waits for the reply that runs" : "Send";
  }

  _changed() {
    this.send.disabled = !this.field.value && !this.pieces.length;
    if (!CSS.supports("field-sizing", "content")) this._size();
    this._keep();
    this._pause();
  }

  _size() {
    if (CSS.supports("field-sizing", "content")) return;
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  _pressed(event) {
    // What ends an input method's composition is no command, whatever key it is.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      if (settings.get("send", "enter") === "ctrl-enter" && !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.submit();
    } else if (event.key === "Escape") {
      if (this.cancelEdit()) event.stopPropagation();
    }
  }

  _pasted(event) {
    const files = [...event.clipboardData.files];
    const text = event.clipboardData.getData("text/plain");
    if (files.length && !text) {
      event.preventDefault();
      void this.add(files);
    } else if (text.length > MUCH) {
      event.preventDefault();
      this._piece({ name: "Pasted text", text });
      toast(`The pasted text (${bytes(text.length)}) stands beside the field and is sent with it.`);
    }
  }

  /** Take what is dropped on an element. */
  takeDrops(place) {
    const mark = (is) => place.classList.toggle("dropping", is);
    place.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      mark(true);
    });
    place.addEventListener("dragleave", (event) => event.target === place && mark(false));
    place.addEventListener("drop", (event) => {
      mark(false);
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      void this.add([...event.dataTransfer.files]);
    });
  }

  /** Attach files: pictures where the model takes them, and text. */
  async add(files) {
    const { images, largest, model } = this.does.limits();
    for (const file of files) {
      if (file.size > largest) toast(`${file.name} is too large: ${bytes(file.size)}, and this server takes ${bytes(largest)}.`, { kind: "error" });
      else if (file.type.startsWith("image/")) {
        if (images) this._piece({ name: file.name, url: await dataUrl(file) });
        else toast(`${model} takes no pictures.`, { kind: "error" });
      } else if (TEXTS.test(file.type) || (await isText(file))) this._piece({ name: file.name, text: await file.text() });
      else toast(`${file.name} is neither a picture nor text.`, { kind: "error" });
    }
  }

  _piece(piece) {
    this.pieces = [...this.pieces, piece];
    this._tray();
    this._changed();
  }

  _tray() {
    this.tray.hidden = !this.pieces.length;
    this.tray.replaceChildren(...this.pieces.map((piece) => h(
      "li", {}, piece.url ? h("img", { src: piece.url, alt: "" }) : null,
      h("span", { class: "name" }, piece.name), h("span", { class: "size" }, piece.text === undefined ? "" : bytes(piece.text.length)),
      iconButton("close", `Remove ${piece.name}`, () => { this.pieces = this.pieces.filter((each) => each !== piece); this._tray(); this._changed(); this.field.focus(); }),
    )));
  }
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function isText(file) {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(await file.slice(0, 4096).arrayBuffer());
    return file.size <= 4096 || !file.type;
  } catch {
    return false;
  }
}
