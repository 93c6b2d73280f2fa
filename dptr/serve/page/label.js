// Words one after the other, the least sure first: what is proposed is accepted or corrected, and saved at once.

import { Refused, ask, keepToken } from "./api.js";
import { makeBox } from "./label-box.js";
import { CHECKED, describeCheck, showCheck } from "./label-check.js";
import { showPhotos, startPhotos } from "./label-photo.js";
import { showTraining, startTraining } from "./label-train.js";
import { get, press, takeChosen, takeDropped, toast } from "./parts.js";

const AHEAD = 8; // words that are fetched together
const DRAFT = 400; // milliseconds after the last key, until what is written so far is saved
const LOOK = 5000; // milliseconds between two looks at what is found meanwhile

const MOUSE = matchMedia("(pointer: fine)");

const person = sessionStorage.getItem("dptr-person") || String(Math.random()).slice(2);
sessionStorage.setItem("dptr-person", person);

let state = "open"; // of the words that are shown; "check": those of the sample that nobody has looked at
let queue = []; // words, the first is shown
let past = []; // that were shown before, the last one last
let last = "-1,0"; // the last word that was fetched
let more = true; // whether there may be more behind it
let fetching = null;
let summary = null;
let saving = Promise.resolve(); // one change after the other
let draft = 0;
const urls = new Map(); // pictures by their path; the last ones

const current = () => queue[0];

// --- asking ---------------------------------------------------------------------------------------------------------

async function json(path, body) {
  return (await ask(`v1/label${path}`, body)).json();
}

async function picture(path) {
  if (!urls.has(path)) {
    urls.set(path, ask(`v1/label${path}`).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
    for (const old of [...urls.keys()].slice(0, -40)) {
      urls.get(old).then(URL.revokeObjectURL, () => {});
      urls.delete(old);
    }
  }
  return urls.get(path).catch((error) => {
    urls.delete(path);
    throw error;
  });
}

const cropPath = (item) => `/items/${item.id}/crop?v=${item.outline.flat().join("-")}`;
const aroundPath = (item) => `/items/${item.id}/around?v=${item.frame.join("-")}`;

function complain(error) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) return askToken();
  get("problem").textContent = error.message;
  get("problem").hidden = false;
  toast(error.message);
}

async function fill() {
  if (fetching || !more || queue.length > AHEAD / 2) return fetching;
  const own = state;
  const what = state === "check" ? "/check/items?" : `/items?state=${state}&after=${last}&`;
  fetching = json(`${what}limit=${AHEAD}&person=${person}`);
  try {
    const { items, more: further } = await fetching;
    if (own !== state) return null;
    more = further || (state !== "check" && items.length > 0);
    const known = new Set([...queue, ...past].map((item) => item.id));
    queue.push(...items.filter((item) => !known.has(item.id)));
    const end = items.at(-1);
    if (end) last = `${end.confidence},${end.id}`;
    for (const item of queue.slice(0, 3)) picture(cropPath(item)).catch(() => {});
  } finally {
    fetching = null;
  }
  return null;
}

// --- showing --------------------------------------------------------------------------------------------------------

const box = makeBox(get("around"), { changed: (outline) => save({ outline }) });

async function show() {
  get("problem").hidden = true;
  if (!current()) {
    try {
      await fill();
    } catch (error) {
      return complain(error);
    }
  }
  const item = current();
  get("work").hidden = !item;
  get("nothing").hidden = Boolean(item);
  get("back").disabled = !past.length;
  if (!item) return showNothing();
  get("text").value = item.text;
  describe(item);
  if (MOUSE.matches) { // elsewhere the keyboard on the screen would hide the word
    get("text").focus({ preventScroll: true });
    get("text").select();
  }
  fill().catch(complain);
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
    const crop = await picture(cropPath(item));
    if (!same()) return;
    get("crop").src = crop;
    get("crop").alt = `The word, proposed: ${item.proposed || "nothing"}`;
    get("crop").hidden = false;
    if (!item.outline.length) return;
    const around = await picture(aroundPath(item));
    if (same()) box.show({ frame: item.frame, outline: item.outline, url: around });
  } catch (error) {
    box.clear();
    complain(error);
  }
}

function showNothing() {
  box.clear();
  const counts = summary?.counts || {};
  const words = Object.values(counts).reduce((sum, each) => sum + each, 0);
  const finding = summary?.finding.running;
  const [title, text] = !words
    ? finding ? ["Looking for words", "The first ones come in a moment."] : ["No words yet", "Drop photographs here, or choose some."]
    : state === "open"
      ? counts.open ? ["All seen", `${counts.open.toLocaleString("en")} ${counts.open === 1 ? "word waits" : "words wait"}: for later, or somebody else looks at them.`]
      : finding ? ["All found so far is done", "More words are being found."]
      : ["All done", "Each word was looked at, or accepted because the recognizer was sure."]
      : state === "check" ? [summary?.check?.drawn ? "The sample is done" : "No sample", summary?.check ? describeCheck(summary.check) : "Nothing was drawn yet."]
      : ["None here", "No word has this state, or you have seen all of them."];
  get("nothing-title").textContent = title;
  get("nothing-text").textContent = text;
  get("again").hidden = state !== "open" || !counts.open;
  get("choose").classList.toggle("main", get("again").hidden);
}

function showSummary(told) {
  summary = told;
  showCheck(told, state);
  const { counts, finding } = told;
  const total = Object.values(counts).reduce((sum, each) => sum + each, 0);
  const seen = counts.labeled + counts.illegible;
  for (const [key, count] of Object.entries(counts)) get(`count-${key}`).textContent = count.toLocaleString("en");
  get("set").textContent = told.set;
  document.title = `${told.set}: ${counts.open.toLocaleString("en")} to do`;
  get("meter-labeled").style.width = `${(100 * seen) / (total || 1)}%`;
  get("meter-sure").style.width = `${(100 * counts.sure) / (total || 1)}%`;
  const parts = [`${(seen + counts.sure).toLocaleString("en")} of ${total.toLocaleString("en")} words done`];
  if (told.failed) parts.push(`${told.failed.toLocaleString("en")} pictures not readable`);
  get("told").textContent = total || told.failed ? parts.join(" · ") : "";
  get("finding").textContent = finding.error || (finding.running ? `Looking for words: ${finding.done.toLocaleString("en")} of ${finding.total.toLocaleString("en")} files` : "");
}

async function look() {
  if (get("ask").open) return;
  try {
    showSummary(await json(""));
    if (!current()) {
      [more, last] = [true, "-1,0"];
      if (state === "open" || !summary.finding.running) await show();
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
    showSummary({ ...summary, ...told });
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
  queue = [item, ...queue.filter((each) => each !== item)];
  past = past.filter((each) => each !== item);
  show().then(() => text !== undefined && current() === item && (get("text").value = text));
}

function next() {
  past.push(queue.shift());
  past = past.slice(-200);
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
  if (!past.length) return;
  keepDraft();
  queue.unshift(past.pop());
  show();
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
    showSummary({ ...summary, check: await json("/check", { words: CHECKED }) });
    await choose("check");
  } catch (error) {
    complain(error);
  }
}

async function choose(wanted) {
  keepDraft();
  state = wanted;
  if (summary) showCheck(summary, state);
  [queue, past, last, more, fetching] = [[], [], "-1,0", true, null];
  for (const tab of document.querySelectorAll("[data-state]")) tab.setAttribute("aria-pressed", String(tab.dataset.state === state));
  await show();
}

// --- adding pictures ------------------------------------------------------------------------------------------------

let asCrops = false;

async function add(files) {
  if (!files.length) return;
  toast(`Looking for words in ${files.length === 1 ? "a picture" : `${files.length} pictures`} …`);
  let words = 0;
  const errors = [];
  for (const file of files) {
    const form = new FormData();
    form.append("files", file, file.name || "pasted.png");
    if (asCrops) form.append("crops", "true");
    try {
      const told = await json("/pictures", form);
      words += told.words;
      errors.push(...told.errors.map((each) => each.error));
      showSummary(told);
    } catch (error) {
      if (error.status === 401) return askToken();
      errors.push(error.message);
    }
  }
  toast([`${words} ${words === 1 ? "word" : "words"} found`, ...errors.slice(0, 2)].join(" · "));
  if (!current()) await choose("open");
  else more = true;
}

function pick(crops) {
  asCrops = crops;
  get("files").click();
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
    if (seen === "photo") choose(state); // words were added, changed, or taken away
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
startPhotos({ summary: (told) => showSummary({ ...summary, ...told }), token: askToken });
startTraining((message) => (message ? toast(message) : askToken()));
press("illegible", refuse);
press("later", later);
press("back", back);
press("reset", () => current()?.before && save({ outline: current().before }).then(() => {
  delete current().before;
  describe(current());
}));
press("again", () => choose("open"));
press("add", () => pick(summary?.crops || false));
press("choose", () => pick(false));
press("choose-crops", () => pick(true));
takeChosen("files", add);
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

takeDropped((files) => {
  asCrops = summary?.crops || false;
  add([...files]);
});

start();
