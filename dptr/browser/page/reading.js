// Sends pictures to the worker, and loads the list of the page's files.

const waiting = new Map(); // id of a picture -> { resolve, reject, tell }
let worker = null;
let number = 0;

// The manifest that 'dptr export-page' writes: version, model, and sizes of files.
export async function loadFacts() {
  return (await fetch("page.json")).json();
}

// Reads a picture. Resolves to { page, seconds }. tell(text): called with the progress
export function read(blob, mode, sizes, tell) {
  worker ||= start();
  number += 1;
  const id = number;
  worker.postMessage({ id, blob, mode, sizes });
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, tell }));
}

function start() {
  const created = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  created.addEventListener("message", ({ data }) => {
    const { resolve, reject, tell } = waiting.get(data.id);
    if (data.doing) return tell(data.doing);
    waiting.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data);
  });
  created.addEventListener("error", (event) => {
    worker = null;
    for (const { reject } of waiting.values()) reject(new Error(event.message || "The page is not whole. Load it anew."));
    waiting.clear();
  });
  return created;
}
