// Sends pictures to the worker, and loads the list of the page's files.

const waiting = new Map(); // id of a picture -> { resolve, reject, onProgress }
let worker = null;
let number = 0;

// The manifest that 'dptr export-page' writes: version, model, and sizes of files.
export async function loadManifest() {
  return (await fetch("page.json")).json();
}

// Reads a picture. Resolves to { page, seconds }. onProgress(text): called with the progress
export function read(blob, mode, sizes, onProgress) {
  worker ||= start();
  number += 1;
  const id = number;
  worker.postMessage({ id, blob, mode, sizes });
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, onProgress }));
}

function start() {
  const created = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  created.addEventListener("message", ({ data }) => {
    const { resolve, reject, onProgress } = waiting.get(data.id);
    if (data.progress) return onProgress(data.progress);
    waiting.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data);
  });
  created.addEventListener("error", (event) => {
    worker = null;
    const why = event.message || "A part of the page could not be loaded. Check the connection, and try again.";
    for (const { reject } of waiting.values()) reject(new Error(why));
    waiting.clear();
  });
  return created;
}
