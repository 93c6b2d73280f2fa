// What the page asks its worker, and the files that the page consists of.

const waiting = new Map(); // by the number of a picture: what to do with its answers
let worker = null;
let number = 0;

// What 'dptr export-page' has written beside the page.
export async function loadFacts() {
  return (await fetch("page.json")).json();
}

// Resolves with { page, seconds }; tell: is called with what is being done, in words.
export function read(blob, mode, sizes, tell) {
  worker ||= start();
  number += 1;
  const id = number;
  worker.postMessage({ id, blob, mode, sizes });
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, tell }));
}

function start() {
  const made = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  made.addEventListener("message", ({ data }) => {
    const { resolve, reject, tell } = waiting.get(data.id);
    if (data.doing) return tell(data.doing);
    waiting.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data);
  });
  made.addEventListener("error", (event) => {
    worker = null;
    for (const { reject } of waiting.values()) reject(new Error(event.message || "The page is not whole. Load it anew."));
    waiting.clear();
  });
  return made;
}
