// The page that reads in the browser: sends files to the worker, and saves the results.

import { desk, least, readAgain, readItems, render, setLeast, startDesk, sureOf, textOfAll } from "./desk.js";
import { get, make, press, saveAs, toast } from "./parts.js";
import { loadFacts, read } from "./reading.js";

const TYPES = { txt: "text/plain", json: "application/json" };

let running = false;
let mode = "crop";

const facts = await loadFacts();

// --- reading --------------------------------------------------------------------------------------------------------

async function proceed() {
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
  change({ state: "reading", doing: "" });
  try {
    const { page, seconds } = await read(item.file, mode, facts.files, (doing) => {
      item.doing = doing;
      if (item === desk.items[desk.current]) get("detail").textContent = doing;
    });
    change({ state: "read", page, seconds });
  } catch (error) {
    change({ state: "failed", error: error.message });
  }
}

// Shows the progress and the notes of an item, beside its boxes and its text.
function showMore(item) {
  if (!item) return;
  if (item.state === "reading" && item.doing) get("detail").textContent = item.doing;
  const notes = item.page?.notes || [];
  get("notes").hidden = !notes.length;
  get("notes").replaceChildren(...notes.map((note) => make("li", { textContent: note })));
}

function setMode(wanted) {
  mode = wanted;
  setLeast(mode === "crop" ? 0 : 40); // percent; the defaults of 'dptr read' and 'dptr ocr'
}

// --- saving ---------------------------------------------------------------------------------------------------------

// The JSON object that 'dptr ocr' or 'dptr read' writes with --format json.
function lineOf(item) {
  const { reading, ...page } = item.page;
  if (!reading) return { ...sureOf({ page }), source: item.name };
  const { text, confidence, runaway, turned, characters, notes } = reading;
  return { path: item.name, text: confidence < least() ? "" : text, confidence, runaway, turned, characters, notes };
}

function save(style) {
  const lines = style === "txt" ? [textOfAll()] : readItems().map((item) => JSON.stringify(lineOf(item)));
  const name = `${readItems()[0].name.replace(/\.\w+$/, "")}.${style}`;
  saveAs(name, new Blob(lines.map((line) => `${line}\n`), { type: TYPES[style] }));
  toast(`Saved ${name}`);
}

// --- facts about the page -------------------------------------------------------------------------------------------

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

// --- events ---------------------------------------------------------------------------------------------------------

const join = () => (mode === "crop" ? "\n" : "\n\n");
startDesk({ place: (file) => URL.createObjectURL(file), proceed, save, shown: showMore, join });
press("about-open", () => get("about").showModal());
press("about-close", () => get("about").close());
for (const radio of document.querySelectorAll("input[name=mode]")) {
  radio.addEventListener("change", () => {
    setMode(radio.value);
    readAgain();
  });
}

describe();
