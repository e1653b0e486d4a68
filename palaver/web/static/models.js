// Which models there are, and which answers in the open conversation.

import { api, ApiError } from "./api.js";
import { h } from "./dom.js";
import { facts } from "./facts.js";
import { bus, settings } from "./state.js";

const LOOK_AGAIN = 15_000;
/** When models could not be listed, it is tried again so often (ms). */

export class ModelPicker {
  constructor(changed) {
    this.changed = changed;
    this.models = [];
    this.standard = null;
    this.name = null;
    this.server = null;
    this.error = null;
    this.select = h("select", { class: "model", "aria-label": "Model", title: "The model that answers", on: { change: () => this._chosen() } });
    this.again = h("button", { type: "button", class: "plain models-again", hidden: true, on: { click: () => void this.load() } }, "Models cannot be listed. Try again");
    this.element = h("div", { class: "model-place" }, this.select, this.again);
    bus.on("signed-in", () => void this.load());
    addEventListener("online", () => this.error && void this.load());
  }

  /** Ask the server. What was chosen stays, also where that does not work. */
  async load() {
    clearTimeout(this._timer);
    try {
      const [{ data }, server] = await Promise.all([api.get("models"), facts().catch(() => null)]);
      this.models = data.filter((model) => model.type === "chat");
      this.server = server ?? this.server;
      this.standard = settings.get("model") ?? this.server?.default_model ?? this.models[0]?.id ?? null;
      this.error = null;
    } catch (error) {
      this.error = error;
      if (error.passes) this._timer = setTimeout(() => void this.load(), LOOK_AGAIN);
    }
    this.again.hidden = !this.error;
    this.again.title = this.error?.message ?? "";
    this.use(this.name);
    bus.emit("models");
  }

  /** The one that answers from now on; null for the standard one. */
  use(name) {
    const known = name && this.models.some((model) => model.id === name || model.aliases.includes(name));
    this.name = known || (name && this.error) ? name : (this.standard ?? settings.get("model-used"));
    const shown = this.models.map((model) => model.id);
    if (this.name && !shown.includes(this.name)) shown.unshift(this.name);
    this.select.replaceChildren(...shown.map((id) => h("option", { value: id, selected: id === this.name }, id)));
    this.select.hidden = !shown.length;
    if (this.name) this.select.value = this.name;
    this.changed();
  }

  _chosen() {
    this.name = this.select.value;
    settings.set("model-used", this.name);
    this.changed();
  }

  get _model() {
    return this.models.find((model) => model.id === this.name || model.aliases.includes(this.name)) ?? null;
  }

  /** Whether it takes pictures; where nobody knows it may be tried. */
  get takesImages() {
    return this._model?.input_modalities?.includes("image") ?? this._model === null;
  }

  /** Its name; where models could not be listed that is tried again. Raises ApiError. */
  async needed() {
    if (!this.name) await this.load();
    if (!this.name) throw this.error ?? new ApiError(0, "This server has no model that could answer.");
    return this.name;
  }

  get largest() {
    return this.server?.max_attachment ?? 20 * 1024 * 1024;
  }
}
