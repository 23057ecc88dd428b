// Runs before the first paint, so that a chosen appearance does not flash in the other one.
(() => {
  let theme = null;
  try {
    theme = JSON.parse(localStorage.getItem("qwip.theme"));
  } catch {
    // Storage is forbidden or damaged: the system's appearance holds.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
