// Functions that all pages share: elements, messages, dropped and chosen files, copying, and saving.

export const get = (id) => document.getElementById(id);

export const press = (id, action) => get(id).addEventListener("click", action);

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

let hiding = 0;
export function toast(message) {
  get("toast").textContent = message;
  get("toast").hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (get("toast").hidden = true), 5000);
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // navigator.clipboard exists only in secure contexts: not with plain HTTP, except on localhost
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Copied");
}

export function saveAs(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Calls take(files) with files that are dropped anywhere on the page. The veil shows while files are dragged over it.
export function takeDropped(take) {
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // nested elements that the pointer has entered and not left
  const veil = (change) => {
    depth = change ? Math.max(0, depth + change) : 0;
    get("veil").hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => holdsFiles(event) && veil(1));
  document.addEventListener("dragleave", (event) => holdsFiles(event) && veil(-1));
  document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    veil(0);
    take(event.dataTransfer.files);
  });
}

// Calls take(files) with files that are chosen in an input. The same file can be chosen again.
export function takeChosen(id, take) {
  get(id).addEventListener("change", () => {
    take([...get(id).files]);
    get(id).value = "";
  });
}
