// How far the set is: counts, the bar, what is being found, and what to say where no word is left.

import { describeCheck, showCheck } from "./label-check.js";
import { get } from "./parts.js";

const sum = (counts) => Object.values(counts).reduce((total, each) => total + each, 0);

// state: of the words that are shown
export function showSummary(told, state) {
  showCheck(told, state);
  const { counts, finding } = told;
  const total = sum(counts);
  const seen = counts.labeled + counts.illegible;
  for (const [key, count] of Object.entries(counts)) get(`count-${key}`).textContent = count.toLocaleString("en");
  get("set").textContent = told.set;
  document.title = `${told.set}: ${counts.open.toLocaleString("en")} to do`;
  get("meter-labeled").style.width = `${(100 * seen) / (total || 1)}%`;
  get("meter-sure").style.width = `${(100 * counts.sure) / (total || 1)}%`;
  const parts = [`${(seen + counts.sure).toLocaleString("en")} of ${total.toLocaleString("en")} words done`];
  if (told.failed) parts.push(`${told.failed.toLocaleString("en")} pictures not readable`);
  get("told").textContent = total || told.failed ? parts.join(" · ") : "";
  const running = finding.running ? [`Looking for words: ${finding.done.toLocaleString("en")} of ${finding.total.toLocaleString("en")} files`] : [];
  get("finding").textContent = finding.error || [...running, ...finding.missing].join(" · ");
}

// told: the last summary; null before the first
export function showNothing(told, state) {
  const counts = told?.counts || {};
  const [title, text] = describeNothing(told, state, counts);
  get("nothing-title").textContent = title;
  get("nothing-text").textContent = text;
  get("again").hidden = state !== "open" || !counts.open;
  get("choose").classList.toggle("main", get("again").hidden);
}

function describeNothing(told, state, counts) {
  const running = told?.finding.running;
  if (!sum(counts)) {
    return running
      ? ["Looking for words", "The first ones come in a moment."]
      : ["No words yet", "Drop photographs here, or choose some."];
  }
  if (state === "check") {
    return told.check
      ? [told.check.drawn ? "The sample is done" : "No sample", describeCheck(told.check)]
      : ["No sample", "Nothing was drawn yet."];
  }
  if (state !== "open") return ["None here", "No word has this state, or you have seen all of them."];
  if (counts.open) {
    const waiting = `${counts.open.toLocaleString("en")} ${counts.open === 1 ? "word waits" : "words wait"}`;
    return ["All seen", `${waiting}: for later, or somebody else looks at them.`];
  }
  return running
    ? ["All found so far is done", "More words are being found."]
    : ["All done", "Each word was looked at, or accepted because the recognizer was sure."];
}
