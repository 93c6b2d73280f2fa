// The list of pictures and their results, shared by the page of the server and the page that reads in the browser.
// Each page passes its own functions to startDesk.

import { filterWords } from "./page.js";
import { copyText, get, press, make, takeChosen, takeDropped, toast } from "./parts.js";
import { drawSample } from "./sample.js";
import { resizeBy, show, toggleBoxes } from "./view.js";

// items: { file, url, name, number, state: "waiting" | "reading" | "read" | "failed", page, error, seconds }
// round: counts how often the list was cleared or read anew; results of an earlier round are dropped
export const desk = { items: [], current: 0, round: 0 };

// urlOf(file): the URL of its picture, "" = unknown; readWaiting(): reads the waiting items; onShow(item): called after
// an item was shown, and with null before; separator(): what separates the texts of two pages; save(style): saves the
// results
let page = { urlOf: () => "", readWaiting() {}, onShow() {}, separator: () => "\n\n", save() {} };

// --- taking files ---------------------------------------------------------------------------------------------------

const enter = (file) => ({ file, name: file.name || "pasted picture", number: 1, url: page.urlOf(file), state: "waiting" });

export function addFiles(files) {
  const added = [...files].map(enter);
  if (!added.length) return;
  desk.current = desk.items.length;
  desk.items.push(...added);
  render();
  page.readWaiting();
}

function clear() {
  desk.round += 1;
  for (const { url } of desk.items) if (url.startsWith("blob:")) URL.revokeObjectURL(url);
  desk.items = [];
  desk.current = 0;
  render();
}

// Reads all files again.
export function readAgain() {
  desk.round += 1;
  const currentFile = desk.items[desk.current]?.file;
  const files = new Map(desk.items.map((item) => [item.file, item.url]));
  desk.items = [...files].map(([file, url]) => ({ ...enter(file), url: url.startsWith("blob:") ? url : page.urlOf(file) }));
  desk.current = Math.max(0, desk.items.findIndex((item) => item.file === currentFile));
  render();
  page.readWaiting();
}

// --- showing --------------------------------------------------------------------------------------------------------

export function render() {
  const { items } = desk;
  const any = items.length > 0;
  get("welcome").hidden = any;
  for (const id of ["work", "add", "clear"]) get(id).hidden = !any;
  document.body.classList.toggle("busy", any);
  page.onShow(null);
  if (!any) return;
  desk.current = Math.min(desk.current, items.length - 1);
  renderStrip();
  const item = items[desk.current];
  show(item, item.page && filterWords(item.page, getThreshold()));
  page.onShow(item);
  for (const id of ["copy", "save"]) get(id).disabled = !readItems().length;
}

function renderStrip() {
  const { items, current } = desk;
  get("strip").hidden = items.length < 2;
  get("strip").replaceChildren(
    ...items.map((item, index) => {
      const failed = item.state === "failed";
      const button = make("button", { type: "button", className: `thumb ${failed ? "failed" : item.page ? "" : "waiting"}` });
      button.setAttribute("aria-label", `${item.name}${failed ? ", not read" : ""}`);
      button.setAttribute("aria-current", String(index === current));
      button.addEventListener("click", () => go(index, true));
      if (failed) button.append("!");
      else if (item.url) button.append(make("img", { src: item.url, alt: "" }));
      button.append(make("span", { className: "number", textContent: String(index + 1) }));
      return button;
    }),
  );
}

function go(index, focus = false) {
  desk.current = Math.min(Math.max(index, 0), desk.items.length - 1);
  render();
  const thumb = get("strip").children[desk.current];
  thumb?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (focus) thumb?.focus();
}

export function setThreshold(percent) {
  get("threshold").value = percent;
  get("threshold-shown").textContent = `${percent} %`;
}

export const getThreshold = () => Number(get("threshold").value) / 100;
export const readItems = () => desk.items.filter((item) => item.page);
export const filteredPage = (item) => filterWords(item.page, getThreshold());
export const textOfAll = () => readItems().map((item) => filteredPage(item).text).join(page.separator());

// --- events ---------------------------------------------------------------------------------------------------------

function openMenu(open) {
  get("saves").hidden = !open;
  get("save").setAttribute("aria-expanded", String(open));
  if (open) get("saves").firstElementChild.focus();
}

function moveInMenu(event) {
  const list = [...get("saves").children];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    list[(list.indexOf(document.activeElement) + step + list.length) % list.length].focus();
  } else if (event.key === "Escape") {
    openMenu(false);
    get("save").focus();
  }
}

function shortcut(event) {
  const typing = event.target.closest("input:not([type=radio]), textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !desk.items.length) return;
  const action = {
    "+": () => resizeBy(1.4), "-": () => resizeBy(1 / 1.4), 0: () => resizeBy(0), b: () => get("boxes").click(),
    PageDown: () => go(desk.current + 1), PageUp: () => go(desk.current - 1),
  }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

export function startDesk(functions) {
  page = { ...page, ...functions };
  press("choose", () => get("files").click());
  press("add", () => get("files").click());
  press("photograph", () => get("camera").click());
  press("sample", async () => addFiles([await drawSample()]));
  press("clear", clear);
  press("copy", () => copyText(textOfAll()));
  press("save", () => openMenu(get("saves").hidden));
  press("smaller", () => resizeBy(1 / 1.4));
  press("larger", () => resizeBy(1.4));
  press("fit", () => resizeBy(0));
  press("boxes", () => get("boxes").setAttribute("aria-pressed", String(toggleBoxes())));
  for (const button of get("saves").children) {
    button.addEventListener("click", () => {
      openMenu(false);
      page.save(button.dataset.style);
    });
  }
  get("saves").addEventListener("keydown", moveInMenu);
  get("threshold").addEventListener("input", () => {
    setThreshold(get("threshold").value);
    render();
  });
  document.addEventListener("click", (event) => event.target.closest(".menu") || openMenu(false));
  document.addEventListener("keydown", shortcut);
  document.addEventListener("paste", (event) => {
    if (event.target.closest("input, textarea")) return;
    if (event.clipboardData.files.length) addFiles(event.clipboardData.files);
    else toast("The clipboard holds no picture.");
  });
  for (const id of ["files", "camera"]) takeChosen(id, addFiles);
  takeDropped(addFiles);
}
