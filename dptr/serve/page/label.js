// The labeling page: shows words one after the other, least confident first. The user accepts or corrects each word,
// and the change is saved at once.

import { RequestError, keepToken } from "./api.js";
import { startAdding } from "./label-add.js";
import { makeBox } from "./label-box.js";
import { CHECKED, showCheck } from "./label-check.js";
import { showPhotos, startPhotos } from "./label-photo.js";
import { Queue, aroundOf, cropOf, json } from "./label-queue.js";
import { showNothing, showSummary } from "./label-summary.js";
import { showTraining, startTraining } from "./label-train.js";
import { get, press, toast } from "./parts.js";

const DRAFT = 400; // milliseconds after the last key press until the draft is saved
const REFRESH = 5000; // milliseconds between two requests for the summary

const MOUSE = matchMedia("(pointer: fine)");

const person = sessionStorage.getItem("dptr-person") || String(Math.random()).slice(2);
sessionStorage.setItem("dptr-person", person);

const queue = new Queue(person);
let summary = null;
let saving = Promise.resolve(); // ends when all changes so far are saved; changes are saved one after the other
let draft = 0;

const current = () => queue.current;

function complain(error) {
  if (!(error instanceof RequestError)) throw error;
  if (error.status === 401) return askToken();
  get("problem").textContent = error.message;
  get("problem").hidden = false;
  toast(error.message);
}

// --- showing --------------------------------------------------------------------------------------------------------

const box = makeBox(get("around"), { onChange: (outline) => save({ outline }) });

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
  if (MOUSE.matches) { // on touch screens, the on-screen keyboard would hide the word
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

function updateSummary(values) {
  summary = values;
  showSummary(values, queue.state);
}

async function refresh() {
  if (get("ask").open) return;
  try {
    updateSummary(await json(""));
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

// Changes some values of the word that is shown. Resolves to whether the change is saved.
function save(change) {
  clearTimeout(draft);
  const item = current();
  if (!item) return saving;
  const action = () => send(item, change);
  saving = saving.then(action, action);
  return saving;
}

async function send(item, change) {
  try {
    const { item: saved, ...counts } = await json(`/items/${item.id}`, { version: item.version, ...change });
    const before = change.outline && !item.before ? { before: item.outline } : {};
    const typed = current() === item && get("text").value !== item.text && change.text === undefined;
    Object.assign(item, saved, before);
    updateSummary({ ...summary, ...counts });
    if (current() === item && change.outline) {
      if (!typed) get("text").value = item.text;
      describe(item);
      await showPictures(item);
    }
    return true;
  } catch (error) {
    if (error.status === 409) {
      Object.assign(item, error.body.item);
      bring(item);
    } else if (current() !== item) bring(item, change.text);
    complain(error);
    return false;
  }
}

// Shows a word again whose change could not be saved.
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

function markIllegible() {
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

// Saves the draft of an open word.
function keepDraft() {
  const item = current();
  const text = get("text").value.trim();
  if (item?.state === "open" && text !== item.text) save({ text, state: "open" });
  clearTimeout(draft);
}

async function sample() {
  try {
    updateSummary({ ...summary, check: await json("/check", { words: CHECKED }) });
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

let currentView = "label";

// wanted: "label", "photo", or "train"; id: the id of the photograph to show, with "photo"
function view(wanted, id = 0) {
  keepDraft();
  box.flush();
  get("labeling").hidden = wanted !== "label";
  for (const name of ["label", "photo", "train"]) get(`view-${name}`).setAttribute("aria-pressed", String(name === wanted));
  showPhotos(wanted === "photo", id);
  showTraining(wanted === "train");
  if (wanted === "label") {
    if (currentView === "photo") choose(queue.state); // the photograph view may have added, changed, or removed words
    else show();
  }
  currentView = wanted;
}

// --- token ----------------------------------------------------------------------------------------------------------

function askToken() {
  if (!get("ask").open) get("ask").showModal();
}

async function start() {
  await refresh();
  clearInterval(start.timer);
  start.timer = setInterval(refresh, REFRESH);
}

// --- events ---------------------------------------------------------------------------------------------------------

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
startPhotos({ onSummary: (counts) => updateSummary({ ...summary, ...counts }), onUnauthorized: askToken });
startTraining((message) => (message ? toast(message) : askToken()));
press("illegible", markIllegible);
press("later", later);
press("back", back);
press("reset", () => current()?.before && save({ outline: current().before }).then(() => {
  delete current().before;
  describe(current());
}));
press("again", () => choose("open"));
startAdding({ hasCrops: () => summary?.crops || false, onSummary: updateSummary, onUnauthorized: askToken, onDone: added });
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
  const action = { Escape: markIllegible, ArrowDown: later, ArrowUp: back }[event.key];
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
