// Light, dark, or as the system has it.

import { bus, settings } from "./state.js";

export const THEMES = { system: "System", light: "Light", dark: "Dark" };

const darkness = matchMedia("(prefers-color-scheme: dark)");

/** What was chosen: a name of THEMES. */
export function theme() {
  const chosen = settings.get("theme", "system");
  return chosen in THEMES ? chosen : "system";
}

/** Whether the page is dark now. */
export function isDark() {
  return theme() === "dark" || (theme() === "system" && darkness.matches);
}

export function setTheme(chosen) {
  settings.set("theme", chosen === "system" ? null : chosen);
}

function show() {
  const chosen = theme();
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  // A phone draws its own bars in this colour.
  const bars = document.querySelector('meta[name="theme-color"]');
  bars?.setAttribute("content", isDark() ? "#1b1a18" : "#fefdfb");
}

/** Follow the setting, also where another tab changes it. */
export function mountTheme() {
  show();
  bus.on("settings", ({ name }) => { if (name === "theme") show(); });
  darkness.addEventListener("change", show);
  addEventListener("storage", ({ key }) => { if (key === "palaver.theme" || key === null) show(); });
}
