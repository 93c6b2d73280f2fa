// Files in, pages out: what is read, in which order, and what becomes of it.

import { Refused, keepToken, loadModels, ocr } from "./api.js";
import { keepSure } from "./page.js";
import { drawSample } from "./sample.js";
import { resizeBy, show, toggleBoxes } from "./view.js";

const get = (id) => document.getElementById(id);
const SHOWN = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/avif"]; // by browsers
const NAMES = { text: "txt", json: "json", hocr: "hocr", pdf: "pdf" };
const AT_ONCE = 2; // files that are sent at the same time

let items = []; // { file, url, name, number, state, page, error, seconds }, one for each page
let current = 0;
let running = 0;
let served = { models: [], patterns: [], limits: {} };
let wanted = { model: "", pattern: "", lexicon: "" };
let locked = false; // until there is a valid token
let round = 0; // what was asked for before the options changed is dropped

// --- taking files ---------------------------------------------------------------------------------------------------

function take(files) {
  const added = [...files].map((file) => ({
    file,
    name: file.name || "pasted picture",
    number: 1,
    url: SHOWN.includes(file.type) ? URL.createObjectURL(file) : "",
    state: "waiting",
  }));
  if (!added.length) return;
  const first = items.length;
  items.push(...added);
  current = first;
  render();
  proceed();
}

function clear() {
  round += 1;
  for (const item of items) if (item.url.startsWith("blob:")) URL.revokeObjectURL(item.url);
  items = [];
  current = 0;
  render();
}

// --- reading --------------------------------------------------------------------------------------------------------

function proceed() {
  while (running < AT_ONCE && !locked) {
    const item = items.find((each) => each.state === "waiting");
    if (!item) return;
    running += 1;
    read(item, round).finally(() => {
      running -= 1;
      proceed();
    });
  }
}

async function read(item, own) {
  item.state = "reading";
  render();
  const begun = performance.now();
  let pages = [];
  let errors = [];
  try {
    check(item.file);
    const fields = { ...wanted, min_confidence: 0, pictures: !item.url };
    ({ pages, errors } = await (await ocr([item.file], fields)).json());
  } catch (error) {
    if (error.status === 401 && own === round) {
      item.state = "waiting";
      return askToken();
    }
    if (!(error instanceof Refused)) throw error;
    errors = [{ error: error.message }];
  }
  const place = items.indexOf(item);
  if (own !== round || place < 0) return;
  const seconds = (performance.now() - begun) / 1000;
  const found = pages.map((page) => ({
    ...item, page, state: "read", number: page.page, seconds, url: page.picture || item.url,
    name: pages.length + errors.length > 1 ? `${item.name}, page ${page.page}` : item.name,
  }));
  for (const page of pages) delete page.picture;
  for (const { error, page } of errors) found.push({ ...item, state: "failed", error, number: page || 0 });
  found.sort((one, other) => one.number - other.number);
  items.splice(place, 1, ...found);
  if (current > place) current += found.length - 1;
  render();
}

function check(file) {
  const most = served.limits.megabytes;
  if (most && file.size > 1e6 * most) {
    throw new Refused(413, `${file.name}: ${(file.size / 1e6).toFixed(1)} MB; this server takes ${most} MB. Make it smaller.`);
  }
}

function readAgain() {
  round += 1;
  const files = new Map(items.map((item) => [item.file, item]));
  items = [...files.values()].map(({ file, url, name }) => ({
    file, name: file.name || name, number: 1, url: url.startsWith("blob:") ? url : "", state: "waiting",
  }));
  current = 0;
  render();
  proceed();
}

// --- showing --------------------------------------------------------------------------------------------------------

function render() {
  const any = items.length > 0;
  get("welcome").hidden = any;
  for (const id of ["work", "add", "clear"]) get(id).hidden = !any;
  document.body.classList.toggle("busy", any);
  get("chosen").textContent = wanted.pattern || (wanted.lexicon && "Word list") || "Options";
  if (!any) return;
  current = Math.min(current, items.length - 1);
  renderStrip();
  const item = items[current];
  show(item, item.page && keepSure(item.page, least()));
  const done = items.some((each) => each.page);
  for (const id of ["copy", "save"]) get(id).disabled = !done;
}

function renderStrip() {
  const strip = get("strip");
  strip.hidden = items.length < 2;
  strip.replaceChildren(
    ...items.map((item, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = `thumb ${item.state === "failed" ? "failed" : item.page ? "" : "waiting"}`;
      button.setAttribute("aria-label", `${item.name}${item.state === "failed" ? ", not read" : ""}`);
      button.setAttribute("aria-current", String(index === current));
      button.addEventListener("click", () => go(index, true));
      if (item.url && item.state !== "failed") {
        const image = document.createElement("img");
        image.src = item.url;
        image.alt = "";
        button.append(image);
      } else button.append(item.state === "failed" ? "!" : "");
      const number = document.createElement("span");
      number.className = "number";
      number.textContent = String(index + 1);
      button.append(number);
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

const sure = () => items.filter((item) => item.page).map((item) => keepSure(item.page, least()));
const textOfAll = () => sure().map((page) => page.text).join("\n\n");

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

async function save(style) {
  openMenu(false);
  const files = [...new Set(items.filter((item) => item.page).map((item) => item.file))];
  const name = `${(files[0].name || "pasted").replace(/\.\w+$/, "")}.${NAMES[style]}`;
  try {
    let blob;
    if (style === "text") blob = new Blob([`${textOfAll()}\n`], { type: "text/plain" });
    else if (style === "json") blob = new Blob([sure().map((page) => `${JSON.stringify(page)}\n`).join("")], { type: "application/json" });
    else {
      get("save").disabled = true;
      toast("Writing …");
      blob = await (await ocr(files, { ...wanted, min_confidence: least(), format: style })).blob();
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    toast(`Saved ${name}`);
  } catch (error) {
    toast(error.message);
  } finally {
    get("save").disabled = false;
  }
}

function openMenu(open) {
  get("saves").hidden = !open;
  get("save").setAttribute("aria-expanded", String(open));
  if (open) get("saves").firstElementChild.focus();
}

// --- options and token ----------------------------------------------------------------------------------------------

const expected = () => document.querySelector("input[name=expect]:checked").value;

function showExpected() {
  for (const kind of ["pattern", "lexicon"]) get(`${kind}-field`).hidden = expected() !== kind;
}

function describeModel() {
  const model = served.models.find((each) => each.name === get("model").value);
  if (!model) return;
  const spaces = model.spaces ? ", and spaces" : "";
  get("about").textContent = `Writes ${model.characters.length} characters${spaces}.`;
}

function openOptions() {
  get("options-error").hidden = true;
  get("options").showModal();
}

async function useOptions() {
  const kind = expected();
  const chosen = {
    model: get("model").value,
    pattern: kind === "pattern" ? get("pattern").value.trim() : "",
    lexicon: kind === "lexicon" ? get("lexicon").value.trim() : "",
  };
  if (kind !== "any" && !chosen[kind]) {
    get("options-error").textContent = kind === "pattern" ? "Write a pattern." : "Write a word.";
    get("options-error").hidden = false;
    return;
  }
  const same = Object.keys(chosen).every((key) => chosen[key] === wanted[key]);
  wanted = chosen;
  get("options").close();
  if (same || !items.length) render();
  else readAgain();
}

function askToken() {
  locked = true;
  if (!get("ask").open) get("ask").showModal();
}

async function start() {
  try {
    served = await loadModels();
  } catch (error) {
    if (error.status === 401) return askToken();
    return toast(error.message);
  }
  get("model").replaceChildren(...served.models.map((model) => new Option(model.name, model.name)));
  get("patterns").replaceChildren(...served.patterns.map((name) => new Option(name)));
  wanted.model = served.models[0].name;
  describeModel();
  get("label").hidden = !served.label;
  locked = false;
  proceed();
}

// --- what is pressed ------------------------------------------------------------------------------------------------

const press = (id, action) => get(id).addEventListener("click", action);
press("choose", () => get("files").click());
press("add", () => get("files").click());
press("photograph", () => get("camera").click());
press("sample", async () => take([await drawSample()]));
press("clear", clear);
press("label", () => (location.href = "label"));
press("copy", copy);
press("save", () => openMenu(get("saves").hidden));
press("smaller", () => resizeBy(1 / 1.4));
press("larger", () => resizeBy(1.4));
press("fit", () => resizeBy(0));
press("boxes", () => get("boxes").setAttribute("aria-pressed", String(toggleBoxes())));
press("options-open", openOptions);
press("options-cancel", () => get("options").close());
press("options-use", useOptions);
get("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(get("token").value.trim());
  get("ask").close();
  start();
});
for (const id of ["files", "camera"]) {
  get(id).addEventListener("change", () => {
    take(get(id).files);
    get(id).value = "";
  });
}
for (const button of get("saves").children) button.addEventListener("click", () => save(button.dataset.style));
for (const radio of document.querySelectorAll("input[name=expect]")) radio.addEventListener("change", showExpected);
get("model").addEventListener("change", describeModel);
get("least").addEventListener("input", () => {
  get("least-shown").textContent = `${get("least").value} %`;
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
  const typing = event.target.closest("input, textarea, select, dialog");
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
  if (event.target.closest("input, textarea")) return;
  if (event.clipboardData.files.length) take(event.clipboardData.files);
  else toast("The clipboard holds no picture.");
});
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
let depth = 0;
document.addEventListener("dragenter", (event) => {
  if (!holdsFiles(event)) return;
  depth += 1;
  get("veil").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!holdsFiles(event)) return;
  depth -= 1;
  get("veil").hidden = depth <= 0;
});
document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  depth = 0;
  get("veil").hidden = true;
  take(event.dataTransfer.files);
});

start();
