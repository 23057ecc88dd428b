// The export menu and the import button.

import { $, download, toast } from "./dom.js";
import { save } from "./store.js";
import { t } from "./text.js";
import { fileName, fromFile, toJson, toMarkdown } from "./transfer.js";

/** `current()` gives the conversation on show, `open(id)` shows one that was imported. */
export function startFiles({ current, open }) {
  const exported = (extension, type, make) => {
    $("export-menu").hidePopover();
    $("export").focus();
    const conversation = current();
    if (!conversation.messages.length) return toast(t("nothingToExport"));
    download(fileName(conversation.title, extension), type, make(conversation));
  };
  const imported = async (file) => {
    try {
      const conversation = await fromFile(file);
      await save(conversation);
      await open(conversation.id);
      toast(t("imported", { title: conversation.title }));
    } catch (error) {
      toast(t("importFailed", { reason: error.message }));
    }
  };
  $("export-markdown").addEventListener("click", () => exported("md", "text/markdown;charset=utf-8", toMarkdown));
  $("export-json").addEventListener("click", () => exported("json", "application/json", toJson));
  $("import").addEventListener("click", () => $("import-file").click());
  $("import-file").addEventListener("change", () => {
    const [file] = $("import-file").files;
    $("import-file").value = "";
    if (file) imported(file);
  });
}
