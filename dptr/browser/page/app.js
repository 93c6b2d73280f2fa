// Files in, text out: what is read, in which order, and what becomes of it.

import { keepSure } from "./page.js";
import { loadFacts, read } from "./reading.js";
import { drawSample } from "./sample.js";
import { resizeBy, show, toggleBoxes } from "./view.js";

const get = (id) => document.getElementById(id);
const TYPES = { txt: "text/plain", json: "application/json" };

let items = []; // { file, url, name, state: "waiting" | "reading" | "read" | "failed", page, error, seconds, doing }
let current = 0;
let running = false;
let mode = "crop";
let round = 0; // what was asked for before is dropped

const facts = await loadFacts();

// --- taking files ---------------------------------------------------------------------------------------------------

function take(files) {
  const added = [...files].map((file) => ({
    file, name: file.name || "pasted picture", url: URL.createObjectURL(file), state: "waiting",
  }));
  if (!added.length) return;
  current = items.length;
  items.push(...added);
  render();
  proceed();
}

function clear() {
  round += 1;
  for (const item of items) URL.revokeObjectURL(item.url);
  items = [];
  current = 0;
  render();
}

// --- reading --------------------------------------------------------------------------------------------------------

async function proceed() {
  if (running) return;
  running = true;
  for (let item; (item = items.find((each) => each.state === "waiting")); ) await readItem(item, round);
  running = false;
}

async function readItem(item, own) {
  const change = (values) => {
    if (own !== round) return;
    Object.assign(item, values);
    render();
  };
  change({ state: "reading", doing: "" });
  try {
    const { page, seconds } = await read(item.file, mode, facts.files, (doing) => {
      item.doing = doing;
      if (item === items[current]) get("detail").textContent = doing;
    });
    change({ state: "read", page, seconds });
  } catch (error) {
    change({ state: "failed", error: error.message });
  }
}

function readAgain() {
  round += 1;
  items = items.map(({ file, url, name }) => ({ file, url, name, state: "waiting" }));
  render();
  proceed();
}

// --- showing --------------------------------------------------------------------------------------------------------

function render() {
  const any = items.length > 0;
  get("welcome").hidden = any;
  for (const id of ["work", "add", "clear"]) get(id).hidden = !any;
  document.body.classList.toggle("busy", any);
  if (!any) return;
  renderStrip();
  const item = items[current];
  show(item, item.page && keepSure(item.page, least()));
  if (item.state === "reading" && item.doing) get("detail").textContent = item.doing;
  const notes = item.page?.notes || [];
  get("notes").hidden = !notes.length;
  get("notes").replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  const some = readItems().length > 0;
  for (const id of ["copy", "save"]) get(id).disabled = !some;
}

function renderStrip() {
  const strip = get("strip");
  strip.hidden = items.length < 2;
  strip.replaceChildren(
    ...items.map((item, index) => {
      const state = item.state === "failed" ? "failed" : item.page ? "" : "waiting";
      const button = Object.assign(document.createElement("button"), { type: "button", className: `thumb ${state}` });
      button.setAttribute("aria-label", `${item.name}${state === "failed" ? ", not read" : ""}`);
      button.setAttribute("aria-current", String(index === current));
      button.addEventListener("click", () => go(index, true));
      if (state === "failed") button.append("!");
      else button.append(Object.assign(new Image(), { src: item.url, alt: "" }));
      button.append(Object.assign(document.createElement("span"), { className: "number", textContent: String(index + 1) }));
      return button;
    }),
  );
}

function go(index, focus = false) {
  current = Math.min(Math.max(index, 0), items.length - 1);
  render();
  const thumb = get("strip").children[current];
  thumb?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (focus) thumb?.focus();
}

function setMode(wanted) {
  mode = wanted;
  setLeast(mode === "crop" ? 0 : 40); // as 'dptr read' and 'dptr ocr'
}

function setLeast(percent) {
  get("least").value = percent;
  get("least-shown").textContent = `${percent} %`;
}

function least() {
  return Number(get("least").value) / 100;
}

let hiding = 0;
function toast(message) {
  get("toast").textContent = message;
  get("toast").hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => (get("toast").hidden = true), 4000);
}

// --- copying and saving ---------------------------------------------------------------------------------------------

const readItems = () => items.filter((item) => item.page);
const textOfAll = () => readItems().map((item) => keepSure(item.page, least()).text).join(mode === "crop" ? "\n" : "\n\n");

// What 'dptr ocr' or 'dptr read' writes with --format json.
function lineOf(item) {
  const { reading, ...page } = item.page;
  if (!reading) return { ...keepSure(page, least()), source: item.name };
  const { text, confidence, runaway, turned, characters, notes } = reading;
  return { path: item.name, text: confidence < least() ? "" : text, confidence, runaway, turned, characters, notes };
}

async function copy() {
  try {
    await navigator.clipboard.writeText(textOfAll());
  } catch { // no secure context: http on another address than localhost
    const area = document.createElement("textarea");
    area.value = textOfAll();
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Copied");
}

function save(style) {
  openMenu(false);
  const lines = style === "txt" ? [textOfAll()] : readItems().map((item) => JSON.stringify(lineOf(item)));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines.map((line) => `${line}\n`), { type: TYPES[style] }));
  link.download = `${readItems()[0].name.replace(/\.\w+$/, "")}.${style}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  toast(`Saved ${link.download}`);
}

function openMenu(open) {
  get("saves").hidden = !open;
  get("save").setAttribute("aria-expanded", String(open));
  if (open) get("saves").firstElementChild.focus();
}

// --- what the page consists of --------------------------------------------------------------------------------------

function megabytes(...paths) {
  const bytes = Object.entries(facts.files).filter(([path]) => paths.includes(path)).reduce((sum, [, size]) => sum + size, 0);
  return `${Math.round(bytes / 1e6)} MB`;
}

function describe() {
  const words = ["runtime/ort-wasm-simd-threaded.wasm", "models/recognizer.onnx"];
  const all = [...words, "models/detector.onnx", "models/spaces.onnx"];
  get("modes").hidden = !facts.photographs;
  get("detector-license").hidden = !facts.photographs;
  if (facts.photographs) get("kinds").textContent = "Photographs, scans, and screenshots";
  get("megabytes").textContent = megabytes(...all);
  get("model").textContent = facts.model;
  get("loads").textContent = facts.photographs ? `${megabytes(...words)} for words, ${megabytes(...all)} for photographs` : megabytes(...words);
  get("maker").textContent = `dptr ${facts.dptr}`;
  setMode(facts.photographs ? "photograph" : "crop");
}

// --- what is pressed ------------------------------------------------------------------------------------------------

const press = (id, action) => get(id).addEventListener("click", action);
press("choose", () => get("files").click());
press("add", () => get("files").click());
press("photograph", () => get("camera").click());
press("sample", async () => take([await drawSample()]));
press("clear", clear);
press("copy", copy);
press("save", () => openMenu(get("saves").hidden));
press("smaller", () => resizeBy(1 / 1.4));
press("larger", () => resizeBy(1.4));
press("fit", () => resizeBy(0));
press("boxes", () => get("boxes").setAttribute("aria-pressed", String(toggleBoxes())));
press("about-open", () => get("about").showModal());
press("about-close", () => get("about").close());
for (const id of ["files", "camera"]) {
  get(id).addEventListener("change", () => {
    take(get(id).files);
    get(id).value = "";
  });
}
for (const button of get("saves").children) button.addEventListener("click", () => save(button.dataset.style));
for (const radio of document.querySelectorAll("input[name=mode]")) {
  radio.addEventListener("change", () => {
    setMode(radio.value);
    readAgain();
  });
}
get("least").addEventListener("input", () => {
  setLeast(get("least").value);
  render();
});
document.addEventListener("click", (event) => event.target.closest(".menu") || openMenu(false));
get("saves").addEventListener("keydown", (event) => {
  const list = [...get("saves").children];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    list[(list.indexOf(document.activeElement) + step + list.length) % list.length].focus();
  } else if (event.key === "Escape") {
    openMenu(false);
    get("save").focus();
  }
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=radio]), dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !items.length) return;
  const actions = {
    "+": () => resizeBy(1.4), "-": () => resizeBy(1 / 1.4), 0: () => resizeBy(0), b: () => get("boxes").click(),
    PageDown: () => go(current + 1), PageUp: () => go(current - 1),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
});

document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData.files);
  else toast("The clipboard holds no picture.");
});
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
let depth = 0;
for (const [kind, step] of [["dragenter", 1], ["dragleave", -1]]) {
  document.addEventListener(kind, (event) => {
    if (!holdsFiles(event)) return;
    depth = Math.max(0, depth + step);
    get("veil").hidden = depth === 0;
  });
}
document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  depth = 0;
  get("veil").hidden = true;
  take(event.dataTransfer.files);
});

describe();
