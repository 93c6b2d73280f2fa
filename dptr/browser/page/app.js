// The page that reads in the browser: sends files to the worker, and saves the results.

import { desk, filteredPage, getThreshold, readAgain, readItems, render, setThreshold, startDesk, textOfAll } from "./desk.js";
import { get, make, press, saveAs, toast } from "./parts.js";
import { loadManifest, read } from "./reading.js";

const TYPES = { txt: "text/plain", json: "application/json" };

let running = false;
let mode = "crop";

const manifest = await loadManifest();

// --- reading --------------------------------------------------------------------------------------------------------

async function readWaiting() {
  if (running) return;
  running = true;
  for (let item; (item = desk.items.find((each) => each.state === "waiting")); ) await readItem(item, desk.round);
  running = false;
}

async function readItem(item, round) {
  const change = (values) => {
    if (round !== desk.round) return;
    Object.assign(item, values);
    render();
  };
  change({ state: "reading", progress: "" });
  try {
    const { page, seconds } = await read(item.file, mode, manifest.files, (progress) => {
      item.progress = progress;
      if (item === desk.items[desk.current]) get("detail").textContent = progress;
    });
    change({ state: "read", page, seconds });
  } catch (error) {
    change({ state: "failed", error: error.message });
  }
}

// Shows the progress and the notes of an item, beside its boxes and its text.
function showMore(item) {
  if (!item) return;
  if (item.state === "reading" && item.progress) get("detail").textContent = item.progress;
  const notes = item.page?.notes || [];
  get("notes").hidden = !notes.length;
  get("notes").replaceChildren(...notes.map((note) => make("li", { textContent: note })));
}

function setMode(wanted) {
  mode = wanted;
  setThreshold(mode === "crop" ? 0 : 40); // percent; the defaults of 'dptr read' and 'dptr ocr'
}

// --- saving ---------------------------------------------------------------------------------------------------------

// The JSON object that 'dptr ocr' or 'dptr read' writes with --format json.
function lineOf(item) {
  const { reading, ...page } = item.page;
  if (!reading) return { ...filteredPage({ page }), source: item.name };
  const { text, confidence, runaway, turned, characters, notes } = reading;
  return { path: item.name, text: confidence < getThreshold() ? "" : text, confidence, runaway, turned, characters, notes };
}

function save(style) {
  const lines = style === "txt" ? [textOfAll()] : readItems().map((item) => JSON.stringify(lineOf(item)));
  const name = `${readItems()[0].name.replace(/\.\w+$/, "")}.${style}`;
  saveAs(name, new Blob(lines.map((line) => `${line}\n`), { type: TYPES[style] }));
  toast(`Saved ${name}`);
}

// --- about the page --------------------------------------------------------------------------------------------------

function megabytes(...paths) {
  const bytes = Object.entries(manifest.files).filter(([path]) => paths.includes(path)).reduce((sum, [, size]) => sum + size, 0);
  return `${Math.round(bytes / 1e6)} MB`;
}

function describe() {
  const words = ["runtime/ort-wasm-simd-threaded.wasm", "models/recognizer.onnx"];
  const all = [...words, "models/detector.onnx", "models/spaces.onnx"];
  get("modes").hidden = !manifest.photographs;
  get("detector-license").hidden = !manifest.photographs;
  if (manifest.photographs) get("kinds").textContent = "Photographs, scans, and screenshots";
  get("megabytes").textContent = megabytes(...all);
  get("model").textContent = manifest.model;
  get("loads").textContent = manifest.photographs ? `${megabytes(...words)} for words, ${megabytes(...all)} for photographs` : megabytes(...words);
  get("maker").textContent = `dptr ${manifest.dptr}`;
  setMode(manifest.photographs ? "photograph" : "crop");
}

// --- events ---------------------------------------------------------------------------------------------------------

const separator = () => (mode === "crop" ? "\n" : "\n\n");
startDesk({ urlOf: (file) => URL.createObjectURL(file), readWaiting, save, onShow: showMore, separator });
press("about-open", () => get("about").showModal());
press("about-close", () => get("about").close());
for (const radio of document.querySelectorAll("input[name=mode]")) {
  radio.addEventListener("change", () => {
    setMode(radio.value);
    readAgain();
  });
}

describe();
