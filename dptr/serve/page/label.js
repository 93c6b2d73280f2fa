// Words one after the other, the least sure first: what is proposed is accepted or corrected, and saved at once.

import { Refused, keepToken } from "./api.js";
import { startAdding } from "./label-add.js";
import { makeBox } from "./label-box.js";
import { CHECKED, showCheck } from "./label-check.js";
import { showPhotos, startPhotos } from "./label-photo.js";
import { Queue, aroundOf, cropOf, json } from "./label-queue.js";
import { showNothing, showSummary } from "./label-summary.js";
import { showTraining, startTraining } from "./label-train.js";
import { get, press, toast } from "./parts.js";

const DRAFT = 400; // milliseconds after the last key, until what is written so far is saved
const LOOK = 5000; // milliseconds between two looks at what is found meanwhile

const MOUSE = matchMedia("(pointer: fine)");

const person = sessionStorage.getItem("dptr-person") || String(Math.random()).slice(2);
sessionStorage.setItem("dptr-person", person);

const queue = new Queue(person);
let summary = null;
let saving = Promise.resolve(); // one change after the other
let draft = 0;

const current = () => queue.current;

function complain(error) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) return askToken();
  get("problem").textContent = error.message;
  get("problem").hidden = false;
  toast(error.message);
}

// --- showing --------------------------------------------------------------------------------------------------------

const box = makeBox(get("around"), { changed: (outline) => save({ outline }) });

async function show() {
  get("problem").hidden = true;
  if (!current()) {
    try {
      await queue.fill();
    } catch (error) {
      return complain(error);
    }
  }
  const item = current();
  get("work").hidden = !item;
  get("nothing").hidden = Boolean(item);
  get("back").disabled = !queue.past.length;
  if (!item) {
    box.clear();
    return showNothing(summary, queue.state);
  }
  get("text").value = item.text;
  describe(item);
  if (MOUSE.matches) { // elsewhere the keyboard on the screen would hide the word
    get("text").focus({ preventScroll: true });
    get("text").select();
  }
  queue.fill().catch(complain);
  await showPictures(item);
}

function describe(item) {
  const percent = item.confidence >= 1 ? "100" : (Math.floor(1000 * item.confidence) / 10).toFixed(1);
  const edited = get("text").value !== item.proposed;
  get("sure").textContent = edited && item.proposed ? `Proposed: ${item.proposed} (${percent} % sure)` : `${percent} % sure`;
  get("source").textContent = item.source;
  get("source").title = item.source;
  get("reset").hidden = !item.before;
}

async function showPictures(item) {
  const same = () => current()?.id === item.id && current().version === item.version;
  get("crop").hidden = true;
  get("place").hidden = !item.outline.length;
  try {
    const crop = await cropOf(item);
    if (!same()) return;
    get("crop").src = crop;
    get("crop").alt = `The word, proposed: ${item.proposed || "nothing"}`;
    get("crop").hidden = false;
    if (!item.outline.length) return;
    const around = await aroundOf(item);
    if (same()) box.show({ frame: item.frame, outline: item.outline, url: around });
  } catch (error) {
    box.clear();
    complain(error);
  }
}

function tell(told) {
  summary = told;
  showSummary(told, queue.state);
}

async function look() {
  if (get("ask").open) return;
  try {
    tell(await json(""));
    if (!current()) {
      queue.rewind();
      if (queue.state === "open" || !summary.finding.running) await show();
    }
  } catch (error) {
    if (error.status === 401) return askToken();
    get("finding").textContent = error.message;
  }
}

// --- saving ---------------------------------------------------------------------------------------------------------

// change: what is new of the word that is shown; resolves to whether it is saved
function save(change) {
  clearTimeout(draft);
  const item = current();
  if (!item) return saving;
  const begin = () => send(item, change);
  saving = saving.then(begin, begin);
  return saving;
}

async function send(item, change) {
  try {
    const { item: saved, ...told } = await json(`/items/${item.id}`, { version: item.version, ...change });
    const before = change.outline && !item.before ? { before: item.outline } : {};
    const typed = current() === item && get("text").value !== item.text && change.text === undefined;
    Object.assign(item, saved, before);
    tell({ ...summary, ...told });
    if (current() === item && change.outline) {
      if (!typed) get("text").value = item.text;
      describe(item);
      await showPictures(item);
    }
    return true;
  } catch (error) {
    if (error.status === 409) {
      Object.assign(item, error.told.item);
      bring(item);
    } else if (current() !== item) bring(item, change.text);
    complain(error);
    return false;
  }
}

// Show a word again that could not be saved.
function bring(item, text) {
  queue.bring(item);
  show().then(() => text !== undefined && current() === item && (get("text").value = text));
}

function next() {
  queue.next();
  return show();
}

function accept() {
  const text = get("text").value.trim();
  if (!text) {
    get("problem").textContent = "Nothing is written. If nobody can read it, press Esc.";
    get("problem").hidden = false;
    return;
  }
  save({ text, state: "labeled" });
  next();
}

function refuse() {
  save({ text: get("text").value.trim(), state: "illegible" });
  next();
}

function back() {
  keepDraft();
  if (queue.back()) show();
}

function later() {
  keepDraft();
  next();
}

// Save what is written of a word that waits.
function keepDraft() {
  const item = current();
  const text = get("text").value.trim();
  if (item?.state === "open" && text !== item.text) save({ text, state: "open" });
  clearTimeout(draft);
}

async function sample() {
  try {
    tell({ ...summary, check: await json("/check", { words: CHECKED }) });
    await choose("check");
  } catch (error) {
    complain(error);
  }
}

async function added() {
  if (!current()) await choose("open");
  else queue.more = true;
}

async function choose(wanted) {
  keepDraft();
  queue.reset(wanted);
  if (summary) showCheck(summary, wanted);
  for (const tab of document.querySelectorAll("[data-state]")) tab.setAttribute("aria-pressed", String(tab.dataset.state === wanted));
  await show();
}

// --- views ----------------------------------------------------------------------------------------------------------

let seen = "label";

// wanted: "label", "photo", or "train"; id: of a photograph
function view(wanted, id = 0) {
  keepDraft();
  box.flush();
  get("labeling").hidden = wanted !== "label";
  for (const name of ["label", "photo", "train"]) get(`view-${name}`).setAttribute("aria-pressed", String(name === wanted));
  showPhotos(wanted === "photo", id);
  showTraining(wanted === "train");
  if (wanted === "label") {
    if (seen === "photo") choose(queue.state); // words were added, changed, or taken away
    else show();
  }
  seen = wanted;
}

// --- token ----------------------------------------------------------------------------------------------------------

function askToken() {
  if (!get("ask").open) get("ask").showModal();
}

async function start() {
  await look();
  clearInterval(start.timer);
  start.timer = setInterval(look, LOOK);
}

// --- what is pressed ------------------------------------------------------------------------------------------------

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  accept();
});
press("view-label", () => view("label"));
press("view-photo", () => view("photo", current()?.photo));
press("view-train", () => view("train"));
press("whole", () => view("photo", current()?.photo));
press("check-more", sample);
press("check-go", () => choose("check"));
startPhotos({ summary: (told) => tell({ ...summary, ...told }), token: askToken });
startTraining((message) => (message ? toast(message) : askToken()));
press("illegible", refuse);
press("later", later);
press("back", back);
press("reset", () => current()?.before && save({ outline: current().before }).then(() => {
  delete current().before;
  describe(current());
}));
press("again", () => choose("open"));
startAdding({ hasCrops: () => summary?.crops || false, told: tell, token: askToken, done: added });
for (const tab of document.querySelectorAll("[data-state]")) tab.addEventListener("click", () => choose(tab.dataset.state));
get("text").addEventListener("input", () => {
  get("problem").hidden = true;
  describe(current());
  clearTimeout(draft);
  draft = setTimeout(keepDraft, DRAFT);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !current() || get("labeling").hidden) return;
  if (event.target.closest("dialog, textarea, select") || (event.target.closest("input") && event.target !== get("text"))) return;
  const action = { Escape: refuse, ArrowDown: later, ArrowUp: back }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
window.addEventListener("pagehide", () => {
  box.flush();
  keepDraft();
});
get("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(get("token").value.trim());
  get("ask").close();
  start();
});

start();
