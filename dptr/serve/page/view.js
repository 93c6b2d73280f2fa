// Shows a page: the picture with boxes, and the text. Texts and file names are set as text, never as HTML.

import { UNSURE, countWords } from "./page.js";
import { make } from "./parts.js";

const SVG = "http://www.w3.org/2000/svg";
const [stage, sheet, text, detail] = ["stage", "sheet", "text", "detail"].map((id) => document.getElementById(id));

let pairs = []; // { polygon, span, word } for each word
let at = -1; // the index of the marked word; -1 = none
let zoom = 1;
let size = [1, 1];

export function showTitle(name) {
  document.getElementById("title").textContent = name;
}

// item: { url, name, state: "reading" | "read" | "failed", error, seconds }; page: from filterWords, or null
export function show(item, page) {
  pairs = [];
  at = -1;
  text.replaceChildren();
  sheet.replaceChildren();
  sheet.classList.toggle("waiting", item.state === "reading" && Boolean(item.url));
  showTitle(item.name);
  if (item.url) {
    const image = make("img", { src: item.url, alt: `The picture ${item.name}` });
    image.addEventListener("load", () => {
      if (!page) size = [image.naturalWidth, image.naturalHeight];
      resize();
    });
    image.addEventListener("error", () => image.remove());
    sheet.append(image);
  }
  if (page) {
    size = [page.width, page.height];
    drawBoxes(page);
    writeText(page, item.seconds);
    resize();
  } else if (item.state === "failed") {
    text.append(make("p", { className: "error", textContent: item.error }));
    detail.textContent = "Not read";
  } else {
    text.append(make("div", { className: "bones" }, ...Array.from({ length: 7 }, () => make("span"))));
    detail.textContent = item.state === "reading" ? "Reading …" : "Waiting …";
  }
}

function drawBoxes(page) {
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("viewBox", `0 0 ${page.width} ${page.height}`);
  layer.setAttribute("preserveAspectRatio", "none");
  layer.setAttribute("aria-hidden", "true");
  for (const word of page.lines.flatMap((line) => line.words)) {
    const polygon = document.createElementNS(SVG, "polygon");
    polygon.setAttribute("points", (word.outline || word.box).map((point) => point.join(",")).join(" "));
    polygon.classList.toggle("unsure", word.confidence < UNSURE);
    const index = pairs.push({ polygon, word }) - 1;
    polygon.addEventListener("pointerenter", () => point(index, text));
    polygon.addEventListener("click", () => point(index, text));
    layer.append(polygon);
  }
  sheet.append(layer);
}

function writeText(page, seconds) {
  let index = 0;
  page.lines.forEach((line, number) => {
    const startsBlock = number && line.block !== page.lines[number - 1].block;
    const paragraph = make("p", { className: startsBlock ? "block" : "", dir: "auto" });
    line.words.forEach((word, position) => {
      const span = make("span", { className: "word", textContent: word.text, title: percent(word.confidence) });
      span.classList.toggle("unsure", word.confidence < UNSURE);
      const pairIndex = index;
      span.addEventListener("pointerenter", () => point(pairIndex, stage));
      span.addEventListener("click", () => point(pairIndex, stage));
      pairs[pairIndex].span = span;
      index += 1;
      paragraph.append(position ? " " : "", span);
    });
    text.append(paragraph);
  });
  if (!pairs.length) {
    const hidden = page.left_out ? ` ${page.left_out} unsure ${page.left_out === 1 ? "word is" : "words are"} left out.` : "";
    text.append(make("p", { className: "soft", textContent: `No text found.${hidden}` }));
  }
  for (const note of page.notes || []) text.append(make("p", { className: "soft", textContent: note }));
  summarize(page, seconds);
  summary = detail.textContent;
}

let summary = "";

function summarize(page, seconds) {
  const words = countWords(page.lines);
  const unsure = pairs.filter((pair) => pair.word.confidence < UNSURE).length;
  const parts = [`${words} ${words === 1 ? "word" : "words"}`];
  if (unsure) parts.push(`${unsure} unsure`);
  if (page.left_out) parts.push(`${page.left_out} left out`);
  if (seconds) parts.push(`${seconds.toFixed(1)} s`);
  detail.textContent = parts.join(" · ");
}

// Marks a word in the picture and in the text. scroll: the element, stage or text, that scrolls to the word
function point(index, scroll) {
  if (at >= 0) for (const mark of [pairs[at].polygon, pairs[at].span]) mark.classList.remove("at");
  at = index;
  if (at < 0) {
    detail.textContent = summary;
    return;
  }
  const { polygon, span, word } = pairs[at];
  for (const mark of [polygon, span]) mark.classList.add("at");
  polygon.parentNode.append(polygon); // draws it above its neighbors
  const script = word.script && word.script !== "none" ? [word.script] : [];
  detail.textContent = [word.text, percent(word.confidence), ...script].join(" · ");
  if (scroll === text) span.scrollIntoView({ block: "nearest" });
  else reveal(polygon);
}

function reveal(polygon) {
  const [box, view] = [polygon.getBoundingClientRect(), stage.getBoundingClientRect()];
  const inside = box.left >= view.left && box.right <= view.right && box.top >= view.top && box.bottom <= view.bottom;
  if (!inside) {
    stage.scrollBy({ left: box.left + box.width / 2 - view.left - view.width / 2, top: box.top + box.height / 2 - view.top - view.height / 2 });
  }
}

function percent(confidence) {
  return `${Math.floor(100 * confidence)} % sure`;
}

export function resizeBy(factor) {
  zoom = factor ? Math.min(Math.max(zoom * factor, 0.5), 8) : 1;
  resize();
}

function resize() {
  const style = getComputedStyle(stage);
  const wide = stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const limit = parseFloat(style.maxHeight) || stage.clientHeight;
  const high = limit - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  const scale = zoom * Math.min(wide / size[0], high / size[1], 3);
  sheet.style.width = `${size[0] * scale}px`;
  sheet.style.height = `${size[1] * scale}px`;
}

export function toggleBoxes() {
  return !sheet.classList.toggle("plain");
}

stage.addEventListener("pointerleave", () => point(-1));
text.addEventListener("pointerleave", () => point(-1));
text.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity, Escape: 0 }[event.key];
  if (step === undefined || !pairs.length || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  if (!step) return point(-1);
  const next = Math.min(Math.max(at + step, 0), pairs.length - 1);
  point(next, stage);
  pairs[next].span.scrollIntoView({ block: "nearest" });
});
new ResizeObserver(resize).observe(stage);
