// Before anything is painted: the theme, and whether the sidebar is shown. A classic script, so that it runs at once.
(() => {
  const kept = (name) => {
    try {
      return JSON.parse(localStorage.getItem(`palaver.${name}`));
    } catch {
      return null;  // storage is off, or holds what is none of ours
    }
  };
  const root = document.documentElement;
  const theme = kept("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  if (kept("sidebar") === "closed") root.dataset.sidebar = "closed";
})();
