// Conversations in this browser's IndexedDB: `heads` for the list (id, title, updated), `bodies` for the rest. Where
// the browser forbids storage, everything lives in memory and `persistent` is false. Small choices (theme, language,
// settings of the next conversation) are in localStorage.

const NAME = "qwip";
const VERSION = 1;

let db = null;
let memory = null; // id -> conversation, only without a database
const channel = "BroadcastChannel" in self ? new BroadcastChannel("qwip") : null;

function finished(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function committed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
    transaction.onerror = () => reject(transaction.error);
  });
}

/** Opens the database. Returns whether anything will be kept. */
export async function openStore() {
  try {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("heads", { keyPath: "id" });
      request.result.createObjectStore("bodies", { keyPath: "id" });
    };
    db = await finished(request);
    // A newer page in another tab may need to change the format.
    db.onversionchange = () => db.close();
    return true;
  } catch {
    memory = new Map();
    return false;
  }
}

/** A random id. crypto.randomUUID does not exist on plain http outside localhost. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function headOf({ id, title, updated }) {
  return { id, title, updated };
}

/** All conversations as {id, title, updated}, the newest first. */
export async function listHeads() {
  const heads = memory ? [...memory.values()].map(headOf) : await finished(db.transaction("heads").objectStore("heads").getAll());
  return heads.sort((a, b) => b.updated - a.updated);
}

/** The conversation with this id, or null. */
export async function load(id) {
  if (memory) return structuredClone(memory.get(id) ?? null);
  return (await finished(db.transaction("bodies").objectStore("bodies").get(id))) ?? null;
}

/** Stores a conversation. */
export async function save(conversation) {
  const copy = structuredClone(conversation);
  if (memory) {
    memory.set(copy.id, copy);
    return;
  }
  const transaction = db.transaction(["heads", "bodies"], "readwrite");
  transaction.objectStore("heads").put(headOf(copy));
  transaction.objectStore("bodies").put(copy);
  await committed(transaction);
  channel?.postMessage({ id: copy.id });
}

/** Deletes one conversation, or with no id all of them. */
export async function remove(id) {
  if (memory) {
    if (id === undefined) memory.clear();
    else memory.delete(id);
    return;
  }
  const transaction = db.transaction(["heads", "bodies"], "readwrite");
  for (const name of ["heads", "bodies"]) {
    if (id === undefined) transaction.objectStore(name).clear();
    else transaction.objectStore(name).delete(id);
  }
  await committed(transaction);
  channel?.postMessage({ id: id ?? null });
}

/** The ids of the conversations whose title or messages contain `words`, ignoring case. */
export async function find(words) {
  const wanted = words.toLowerCase();
  const matches = ({ title, messages }) =>
    title.toLowerCase().includes(wanted) || messages.some(({ content }) => content.toLowerCase().includes(wanted));
  if (memory) return new Set([...memory.values()].filter(matches).map(({ id }) => id));
  const found = new Set();
  const request = db.transaction("bodies").objectStore("bodies").openCursor();
  await new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor) return resolve();
      if (matches(cursor.value)) found.add(cursor.value.id);
      cursor.continue();
    };
  });
  return found;
}

/** Calls `listener` with the id (null: all) of a conversation that another tab stored or deleted. */
export function onChange(listener) {
  if (channel) channel.onmessage = (event) => listener(event.data?.id ?? null);
}

/** A small choice kept in localStorage, or `otherwise`. */
export function choice(name, otherwise) {
  try {
    const text = localStorage.getItem(`qwip.${name}`);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Keeps a small choice. */
export function choose(name, value) {
  try {
    localStorage.setItem(`qwip.${name}`, JSON.stringify(value));
  } catch {
    // Storage is forbidden or full: the choice holds until the page closes.
  }
}
