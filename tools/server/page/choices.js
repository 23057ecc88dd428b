// Appearance and language: what the system and the browser ask for, until something else is chosen.

import { $ } from "./dom.js";
import { choice, choose } from "./store.js";
import { language, setLanguage, t } from "./text.js";

/** Sets the language and wires both fields; `spoken` is called after every change of language. */
export function startChoices(spoken) {
  const preferred = navigator.languages?.[0] ?? navigator.language ?? "en";
  setLanguage(choice("language", preferred.toLowerCase().startsWith("zh") ? "zh" : "en"));
  showPlace();
  $("language").value = language();
  $("language").addEventListener("change", () => {
    choose("language", $("language").value);
    setLanguage($("language").value);
    showPlace();
    spoken();
  });
  $("theme").value = document.documentElement.dataset.theme ?? "auto";
  $("theme").addEventListener("change", () => {
    const theme = $("theme").value;
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    choose("theme", theme);
  });
}

// Says where answers are made. Only a loopback name is this computer: a server started with --host is another's.
function showPlace() {
  const host = location.hostname;
  const local = host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
  for (const node of document.querySelectorAll(".where")) node.textContent = t(local ? "local" : "remote", { host });
  for (const node of document.querySelectorAll(".where-more")) node.textContent = t(local ? "localMore" : "remoteMore");
}
