// The view of a whole photograph: the user draws missed words, changes boxes and texts, and removes false detections.

import { RequestError, request } from "./api.js";
import { makeBox } from "./label-box.js";
import { json } from "./label-queue.js";
import { get, press, toast } from "./parts.js";

let photo = null; // { id, source, width, height, before, after, words }
let url = "";
let at = -1; // the index of the chosen word; -1 = none
let removed = null; // the word that was removed last, for undo
let saving = Promise.resolve(); // ends when all changes so far are saved; changes are saved one after the other
let callbacks = { onSummary() {}, onUnauthorized() {} };

const word = () => photo?.words[at];
const whole = () => [[0, 0], [photo.width, 0], [photo.width, photo.height], [0, photo.height]];
const outlineOf = (item) => (item.outline.length ? item.outline : whole());

const box = makeBox(get("photo-stage"), {
  onChange: (outline) => change({ outline }),
  onDraw: (outline) => {
    const { id } = photo; // another photograph may be shown when this change is saved
    enqueue(() => add(id, outline));
  },
  onChoose: choose,
});

// --- showing --------------------------------------------------------------------------------------------------------

async function open(id) {
  try {
    const start = id ? { first: id } : await json("/photos");
    const loaded = start.first ? await json(`/photos/${start.first}`) : null;
    if (!loaded) return showNone();
    if (loaded.id !== photo?.id) {
      const blob = await (await request(`v1/label/photos/${loaded.id}/picture`)).blob();
      URL.revokeObjectURL(url);
      url = URL.createObjectURL(blob);
      box.clear();
      removed = null;
    }
    [photo, at] = [loaded, -1];
    show();
  } catch (error) {
    complain(error);
  }
}

function showNone() {
  photo = null;
  box.clear();
  for (const id of ["photo-before", "photo-after"]) get(id).disabled = true;
  get("photo-name").textContent = "No photograph yet";
  get("photo-counts").textContent = "";
  get("photo-word").hidden = true;
}

function show() {
  get("photo-name").textContent = photo.source;
  get("photo-name").title = photo.source;
  const count = photo.words.length;
  const open = photo.words.filter((item) => item.state === "open").length;
  get("photo-counts").textContent = [`${count} ${count === 1 ? "word" : "words"}`, open ? `${open} to do` : ""].filter(Boolean).join(" · ");
  get("photo-before").disabled = !photo.before;
  get("photo-after").disabled = !photo.after;
  get("photo-undo").hidden = !removed;
  const others = photo.words.map((item, index) => ({ outline: outlineOf(item), kind: index === at ? "own" : item.state }));
  box.show({ frame: [0, 0, photo.width, photo.height], outline: word() ? outlineOf(word()) : null, url, others });
  showWord();
}

function showWord() {
  const item = word();
  get("photo-word").hidden = !item;
  get("photo-hint").hidden = Boolean(item);
  get("photo-problem").hidden = true;
  if (!item) return;
  get("photo-text").value = item.text;
  get("photo-sure").textContent = item.state === "open" ? `proposed, ${Math.floor(100 * item.confidence)} % sure` : { sure: "accepted unseen", labeled: "labeled", illegible: "illegible" }[item.state];
  const image = get("photo-crop");
  const path = `v1/label/items/${item.id}/crop`;
  const version = item.version;
  request(path).then((answer) => answer.blob()).then((blob) => {
    if (word()?.id !== item.id || word().version !== version) return;
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
  }).catch(complain);
}

function choose(index) {
  keepDraft();
  at = index;
  show();
  if (word() && matchMedia("(pointer: fine)").matches) write();
}

function write() {
  get("photo-text").focus({ preventScroll: true });
  get("photo-text").select();
}

function complain(error) {
  if (!(error instanceof RequestError)) throw error;
  if (error.status === 401) return callbacks.onUnauthorized();
  get("photo-problem").textContent = error.message;
  get("photo-problem").hidden = false;
  toast(error.message);
}

// --- saving ---------------------------------------------------------------------------------------------------------

function enqueue(action) {
  saving = saving.then(action, action);
  return saving;
}

// photoId: the photograph; again: the id and the version of a removed word to restore. Returns the word; null on error.
async function add(photoId, outline, again = null) {
  try {
    const { item, counts, check } = await json(`/photos/${photoId}/words`, { outline, again });
    callbacks.onSummary({ counts, check });
    if (item.photo !== photo?.id) return null;
    at = photo.words.push(item) - 1;
    show();
    write();
    return item;
  } catch (error) {
    at = -1;
    show();
    complain(error);
    return null;
  }
}

// Changes some values of the chosen word. Resolves to whether the change is saved.
function change(values) {
  const item = word();
  return enqueue(async () => {
    try {
      const { item: saved, ...summary } = await json(`/items/${item.id}`, { version: item.version, ...values });
      const typed = item === word() && get("photo-text").value !== item.text && values.text === undefined ? get("photo-text").value : null;
      Object.assign(item, saved);
      callbacks.onSummary(summary);
      if (photo.words.includes(item)) show();
      if (typed !== null) get("photo-text").value = typed;
      return true;
    } catch (error) {
      if (error.status === 409) {
        Object.assign(item, error.body.item);
        at = photo.words.indexOf(item);
      }
      show();
      complain(error);
      return false;
    }
  });
}

// Saves the draft of an open word.
function keepDraft() {
  box.flush();
  const text = get("photo-text").value.trim();
  if (word()?.state === "open" && text !== word().text) change({ text });
}

function accept() {
  const text = get("photo-text").value.trim();
  if (!text) {
    get("photo-problem").textContent = "Nothing is written.";
    get("photo-problem").hidden = false;
    return;
  }
  finish({ text, state: "labeled" });
}

async function finish(values) {
  const item = word();
  if ((await change(values)) && word() === item) {
    at = -1;
    show();
    get("photo-stage").focus({ preventScroll: true });
  }
}

function remove() {
  const item = word();
  return enqueue(async () => {
    try {
      callbacks.onSummary(await json(`/items/${item.id}/remove`, { version: item.version }));
      photo.words = photo.words.filter((each) => each !== item);
      [removed, at] = [item, -1];
      show();
      get("photo-stage").focus({ preventScroll: true });
    } catch (error) {
      if (error.status === 409) Object.assign(item, error.body.item);
      show();
      complain(error);
    }
  });
}

async function undo() {
  const { id, version, text, state, outline, photo: photoId } = removed;
  if (photoId !== photo.id) return;
  removed = null;
  const around = whole();
  const item = await enqueue(() => add(photoId, outline.length ? outline : around, { id, version }));
  if (item && (text !== item.text || state !== "open")) await change({ text, state });
}

// --- events ---------------------------------------------------------------------------------------------------------

// functions: onSummary({ counts, check }): called with new counts; onUnauthorized(): called if the server wants a token
export function startPhotos(functions) {
  callbacks = functions;
  get("photo-form").addEventListener("submit", (event) => {
    event.preventDefault();
    accept();
  });
  press("photo-before", () => (keepDraft(), open(photo.before)));
  press("photo-after", () => (keepDraft(), open(photo.after)));
  press("photo-illegible", () => finish({ text: get("photo-text").value.trim(), state: "illegible" }));
  press("photo-remove", remove);
  press("photo-undo", undo);
  press("photo-smaller", () => box.zoomBy(1 / 1.5));
  press("photo-larger", () => box.zoomBy(1.5));
  press("photo-fit", () => box.zoomBy(0));
  get("photo-view").addEventListener("keydown", (event) => {
    if (!photo || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const writing = event.target === get("photo-text");
    const count = photo.words.length;
    const action = {
      PageDown: () => count && choose((at + 1) % count), PageUp: () => count && choose((Math.max(at, 0) + count - 1) % count),
      Escape: () => (choose(-1), get("photo-stage").focus()),
      ...(writing ? {} : { Delete: () => word() && remove(), "+": () => box.zoomBy(1.5), "-": () => box.zoomBy(1 / 1.5), 0: () => box.zoomBy(0) }),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

// Shows the photograph with an id, otherwise the last shown or the first one; visible = false hides the view.
export function showPhotos(visible, id = 0) {
  if (!visible) keepDraft();
  get("photo-view").hidden = !visible;
  document.body.classList.toggle("fixed", visible);
  if (visible) open(id || photo?.id || 0);
}
