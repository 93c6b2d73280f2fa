// The main page: sends files to the server with the chosen options, and saves the results.

import { RequestError, keepToken, loadModels, ocr } from "./api.js";
import { desk, filteredPage, getThreshold, readAgain, readItems, render, startDesk, textOfAll } from "./desk.js";
import { get, press, saveAs, toast } from "./parts.js";

const SHOWN = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/avif"]; // types that browsers display
const NAMES = { text: "txt", json: "json", hocr: "hocr", pdf: "pdf" };
const AT_ONCE = 2; // requests in progress at the same time

let running = 0;
const AUTO = { code: "auto", name: "By the script that it shows" };
let served = { models: [], languages: [], patterns: [], limits: {} };
let wanted = { model: "", language: "", pattern: "", lexicon: "" };
let locked = false; // whether the server waits for a valid token

// --- reading --------------------------------------------------------------------------------------------------------

function readWaiting() {
  while (running < AT_ONCE && !locked) {
    const item = desk.items.find((each) => each.state === "waiting");
    if (!item) return;
    running += 1;
    read(item, desk.round).finally(() => {
      running -= 1;
      readWaiting();
    });
  }
}

async function read(item, round) {
  item.state = "reading";
  render();
  const started = performance.now();
  let pages = [];
  let errors = [];
  try {
    check(item.file);
    const fields = { ...wanted, min_confidence: 0, pictures: !item.url };
    ({ pages, errors } = await (await ocr([item.file], fields)).json());
  } catch (error) {
    if (error.status === 401 && round === desk.round) {
      item.state = "waiting";
      return askToken();
    }
    if (!(error instanceof RequestError)) throw error;
    errors = [{ error: error.message }];
  }
  const index = desk.items.indexOf(item);
  if (round !== desk.round || index < 0) return;
  const seconds = (performance.now() - started) / 1000;
  const items = pages.map((page) => ({
    ...item, page, state: "read", number: page.page, seconds, url: page.picture || item.url,
    name: pages.length + errors.length > 1 ? `${item.name}, page ${page.page}` : item.name,
  }));
  for (const page of pages) delete page.picture;
  for (const { error, page } of errors) items.push({ ...item, state: "failed", error, number: page || 0 });
  items.sort((one, other) => one.number - other.number);
  desk.items.splice(index, 1, ...items);
  if (desk.current > index) desk.current += items.length - 1;
  render();
}

function check(file) {
  const most = served.limits.megabytes;
  if (most && file.size > 1e6 * most) {
    throw new RequestError(413, `${file.name}: ${(file.size / 1e6).toFixed(1)} MB; this server takes ${most} MB. Make it smaller.`);
  }
}

// --- saving ---------------------------------------------------------------------------------------------------------

async function save(style) {
  const files = [...new Set(readItems().map((item) => item.file))];
  const name = `${(files[0].name || "pasted").replace(/\.\w+$/, "")}.${NAMES[style]}`;
  try {
    let blob;
    if (style === "text") blob = new Blob([`${textOfAll()}\n`], { type: "text/plain" });
    else if (style === "json") blob = new Blob(readItems().map((item) => `${JSON.stringify(filteredPage(item))}\n`), { type: "application/json" });
    else {
      get("save").disabled = true;
      toast("Writing …");
      blob = await (await ocr(files, { ...wanted, min_confidence: getThreshold(), format: style })).blob();
    }
    saveAs(name, blob);
    toast(`Saved ${name}`);
  } catch (error) {
    toast(error.message);
  } finally {
    get("save").disabled = false;
  }
}

// --- options and token ----------------------------------------------------------------------------------------------

const expected = () => document.querySelector("input[name=expect]:checked").value;

function showExpected() {
  for (const kind of ["pattern", "lexicon"]) get(`${kind}-field`).hidden = expected() !== kind;
}

const languages = () => [AUTO, ...served.languages];
const findLanguage = (code) => languages().find((each) => each.code === code);
const BY_SCRIPT = "Each line is read by the recognizer of its script.";

function describeModel() {
  const language = findLanguage(get("language").value);
  get("model-field").hidden = Boolean(language);
  const model = served.models.find((each) => each.name === get("model").value);
  if (language === AUTO || (!language && model?.scripts)) get("about").textContent = BY_SCRIPT;
  else if (language) get("about").textContent = `${language.model} reads it.`;
  else if (model) get("about").textContent = `Writes ${model.characters.length} characters${model.spaces ? ", and spaces" : ""}.`;
}

function openOptions() {
  get("options-error").hidden = true;
  get("options").showModal();
}

async function useOptions() {
  const kind = expected();
  const language = get("language").value;
  const chosen = {
    model: language ? "" : get("model").value,
    language,
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
  if (same || !desk.items.length) render();
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
  get("language").replaceChildren(new Option("Whatever the model reads", ""), ...languages().map(({ name, code }) => new Option(name, code)));
  get("patterns").replaceChildren(...served.patterns.map((name) => new Option(name)));
  wanted.model = served.models[0].name;
  describeModel();
  get("label").hidden = !served.label;
  locked = false;
  readWaiting();
}

// --- events ---------------------------------------------------------------------------------------------------------

function showChosen() {
  const language = findLanguage(wanted.language)?.name;
  const parts = [language, wanted.pattern || (wanted.lexicon && "word list")].filter(Boolean);
  get("chosen").textContent = parts.join(", ") || "Options";
}

startDesk({ urlOf: (file) => (SHOWN.includes(file.type) ? URL.createObjectURL(file) : ""), readWaiting, save, onShow: showChosen });
press("label", () => (location.href = "label"));
press("options-open", openOptions);
press("options-cancel", () => get("options").close());
press("options-use", useOptions);
get("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(get("token").value.trim());
  get("ask").close();
  start();
});
for (const radio of document.querySelectorAll("input[name=expect]")) radio.addEventListener("change", showExpected);
for (const id of ["model", "language"]) get(id).addEventListener("change", describeModel);

start();
