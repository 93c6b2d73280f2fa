// The training view: starts a training on the labels or on a word list, and shows the runs with curves and comparisons.

import { RequestError, request } from "./api.js";
import { get, make, press, saveAs } from "./parts.js";

const SVG = "http://www.w3.org/2000/svg";
const COLORS = 6; // CSS classes .line-0 to .line-5
const PHASES = {
  preparing: "Preparing …", training: "Training …", exporting: "Writing the model …", comparing: "Comparing …",
  done: "Done", stopped: "Stopped", failed: "Failed",
};
const BUSY = ["preparing", "training", "exporting", "comparing"];
const EVERY = 1500; // milliseconds between two requests while a run is in progress

let listed = null; // the last response of /v1/label/trainings
let shown = 0; // the number of the run that is shown; 0 = the newest one
let timer = 0;
let notify = () => {};
const urls = []; // object URLs of the crops shown

async function json(path, body) {
  return (await request(`v1/label/trainings${path}`, body)).json();
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

// --- curves ---------------------------------------------------------------------------------------------------------

// curves: [[name, [[step, value], ...]], ...], with values from 0 to top; format(value): the text of a value
function drawCurves(into, curves, top, format) {
  const [wide, high] = [300, 120];
  const last = Math.max(1, ...curves.flatMap(([, points]) => points.map(([step]) => step)));
  const layer = document.createElementNS(SVG, "svg");
  layer.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  layer.setAttribute("preserveAspectRatio", "none");
  layer.setAttribute("aria-hidden", "true");
  for (const share of [0, 0.5, 1]) {
    const rule = layer.appendChild(document.createElementNS(SVG, "line"));
    for (const [key, value] of [["x1", 0], ["x2", wide], ["y1", 2 + share * (high - 4)], ["y2", 2 + share * (high - 4)]]) rule.setAttribute(key, value);
  }
  curves.forEach(([, points], index) => {
    const line = layer.appendChild(document.createElementNS(SVG, "polyline"));
    const place = ([step, value]) => `${(step / last) * wide},${high - 2 - Math.min(value / top, 1) * (high - 4)}`;
    line.setAttribute("points", (points.length === 1 ? [points[0], [last, points[0][1]]] : points).map(place).join(" "));
    line.setAttribute("class", `line-${index % COLORS}`);
  });
  const legend = curves.map(([name, points], index) =>
    make("li", {}, make("i", { className: `line-${index % COLORS}` }), `${name} `, make("b", { textContent: points.length ? describe(points, format) : "–" })));
  into.replaceChildren(layer, make("ul", { className: "legend" }, ...legend));
}

function describe(points, format) {
  const [first, last] = [points[0][1], points.at(-1)[1]];
  return points.length > 1 ? `${format(first)} → ${format(last)}` : format(last);
}

function duration(seconds) {
  if (seconds === null) return "";
  const whole = Math.round(seconds);
  return whole >= 90 ? `${Math.round(whole / 60)} min left` : `${whole} s left`;
}

// --- showing --------------------------------------------------------------------------------------------------------

async function refresh() {
  clearTimeout(timer);
  if (get("training").hidden) return;
  try {
    listed = await json("");
    await show();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (error.status === 401) return notify("");
    get("train-error").textContent = error.message;
    get("train-error").hidden = false;
  }
  timer = setTimeout(refresh, listed?.busy ? EVERY : 4 * EVERY);
}

async function show() {
  get("model-used").textContent = listed.model;
  const missing = listed.missing;
  get("train-missing").textContent = missing;
  get("train-missing").hidden = !missing;
  for (const id of ["train", "adapt"]) get(id).disabled = Boolean(listed.busy || missing);
  get("runs").replaceChildren(...listed.runs.map((run) => new Option(`${run.number}: ${run.kind === "adapt" ? "words" : "labels"}, ${PHASES[run.phase].toLowerCase()}`, run.number)));
  const number = listed.runs.some((run) => run.number === shown) ? shown : listed.runs[0]?.number;
  get("run").hidden = !number;
  if (!number) return;
  get("runs").value = String(number);
  get("runs").hidden = listed.runs.length < 2;
  showRun(await json(`/${number}`));
}

function showRun(run) {
  const { curves, compared } = run;
  const busy = BUSY.includes(run.phase);
  get("run").dataset.number = run.number;
  get("phase").textContent = PHASES[run.phase];
  get("phase").className = `phase ${run.phase}`;
  const steps = curves.step ? `step ${curves.step.toLocaleString("en")}` : "";
  get("run-status").textContent = [`from ${run.base}`, steps, run.phase === "training" ? duration(curves.seconds_left) : ""].filter(Boolean).join(" · ");
  get("run-error").textContent = run.error;
  get("run-error").hidden = !run.error;
  get("stop").hidden = !busy;
  get("resume").hidden = !["stopped", "failed"].includes(run.phase);
  get("resume").disabled = Boolean(listed.busy);
  for (const id of ["use", "download"]) get(id).hidden = run.phase !== "done";
  const isUsed = listed.used === run.number;
  get("use").disabled = isUsed;
  get("use").textContent = isUsed ? "In use" : "Use this model";
  const losses = curves.loss.map(([, value]) => value);
  drawCurves(get("loss"), [["loss", curves.loss]], Math.max(...losses, 1e-6), (value) => value.toFixed(3));
  drawCurves(get("accuracy"), [[run.kind === "adapt" ? "words to learn" : "held-out crops", curves.accuracy]], 1, percent);
  drawCurves(get("others"), Object.entries(curves.others), 1, percent);
  get("others-part").hidden = !Object.keys(curves.others).length;
  showCompared(run, compared);
}

function showCompared(run, compared) {
  get("compared").hidden = !compared;
  if (!compared || get("changed").dataset.of === String(run.number)) return;
  get("changed").dataset.of = run.number;
  const crops = compared.held_out ? "held-out crops, not trained on; they chose the state that is kept" : "labeled crops";
  const fold = compared.protocol === "36" ? " Letters and digits count, case does not." : "";
  const forgot = run.forgot ? " A state that read more was not kept, for it forgot too much of other words." : "";
  get("before").textContent = percent(compared.before);
  get("after").textContent = percent(compared.after);
  get("compared-summary").textContent = `${compared.words} ${crops}. ${compared.changes} of them ${compared.changes === 1 ? "is" : "are"} read otherwise.${fold}${forgot}`;
  urls.splice(0).forEach(URL.revokeObjectURL);
  get("changed").replaceChildren(...compared.changed.map((word) => showChanged(run.number, word)));
}

function showChanged(number, word) {
  const image = make("img", { alt: "", loading: "lazy" });
  request(`v1/label/trainings/${number}/crops/${word.name.replace("images/", "")}`).then((answer) => answer.blob()).then((blob) => {
    image.src = URL.createObjectURL(blob);
    urls.push(image.src);
  }, () => image.remove());
  return make("li", {}, image, make("span", { className: word.right_before ? "right" : "wrong", textContent: word.before || "nothing" }), " → ",
    make("span", { className: word.right_after ? "right" : "wrong", textContent: word.after || "nothing" }), make("small", { className: "soft", textContent: `label ${word.label}` }));
}

// --- events ---------------------------------------------------------------------------------------------------------

async function act(path, body) {
  get("train-error").hidden = true;
  try {
    const summary = await json(path, body);
    await refresh();
    return summary;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    get("train-error").textContent = error.message;
    get("train-error").hidden = false;
    return null;
  }
}

const number = () => Number(get("run").dataset.number);
const minutes = () => Number(get("minutes").value) || 10;

async function begin(body) {
  shown = 0;
  get("changed").dataset.of = "";
  await act("", { minutes: minutes(), may_forget: get("forget").checked, ...body });
}

async function download() {
  get("download").disabled = true;
  try {
    const answer = await request(`v1/label/trainings/${number()}/model.onnx`);
    saveAs(`${document.title.split(":")[0]}-${number()}.onnx`, await answer.blob());
  } catch (error) {
    notify(error.message);
  } finally {
    get("download").disabled = false;
  }
}

// showMessage(message): shows a message; an empty one means that the server wants a token
export function startTraining(showMessage) {
  notify = showMessage;
  press("train", () => begin({ kind: "finetune" }));
  press("adapt", () => begin({ kind: "adapt", words: get("words").value.split("\n").filter((line) => line.trim()) }));
  press("stop", () => act(`/${number()}`, { action: "stop" }));
  press("resume", () => act(`/${number()}`, { action: "resume" }));
  press("use", async () => {
    const summary = await act(`/${number()}`, { action: "use" });
    if (summary) notify(`${summary.model} reads from now on`);
  });
  press("download", download);
  get("runs").addEventListener("change", () => {
    shown = Number(get("runs").value);
    refresh();
  });
}

export function showTraining(visible) {
  get("training").hidden = !visible;
  if (visible) refresh();
}
