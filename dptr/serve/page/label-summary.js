// The progress of the label set: counts, the progress bar, the search for words, and the message when no word is left.

import { describeCheck, showCheck } from "./label-check.js";
import { get } from "./parts.js";

const sum = (counts) => Object.values(counts).reduce((total, each) => total + each, 0);

// summary: the response of /v1/label; state: the state of the words that are listed
export function showSummary(summary, state) {
  showCheck(summary, state);
  const { counts, finding } = summary;
  const total = sum(counts);
  const reviewed = counts.labeled + counts.illegible;
  for (const [key, count] of Object.entries(counts)) get(`count-${key}`).textContent = count.toLocaleString("en");
  get("set").textContent = summary.set;
  document.title = `${summary.set}: ${counts.open.toLocaleString("en")} to do`;
  get("meter-labeled").style.width = `${(100 * reviewed) / (total || 1)}%`;
  get("meter-sure").style.width = `${(100 * counts.sure) / (total || 1)}%`;
  const parts = [`${(reviewed + counts.sure).toLocaleString("en")} of ${total.toLocaleString("en")} words done`];
  if (summary.failed) parts.push(`${summary.failed.toLocaleString("en")} pictures not readable`);
  get("progress").textContent = total || summary.failed ? parts.join(" · ") : "";
  const running = finding.running ? [`Looking for words: ${finding.done.toLocaleString("en")} of ${finding.total.toLocaleString("en")} files`] : [];
  get("finding").textContent = finding.error || [...running, ...finding.missing].join(" · ");
}

// summary: the last response of /v1/label; null before the first
export function showNothing(summary, state) {
  const counts = summary?.counts || {};
  const [title, text] = describeNothing(summary, state, counts);
  get("nothing-title").textContent = title;
  get("nothing-text").textContent = text;
  get("again").hidden = state !== "open" || !counts.open;
  get("choose").classList.toggle("main", get("again").hidden);
}

function describeNothing(summary, state, counts) {
  const running = summary?.finding.running;
  if (!sum(counts)) {
    return running
      ? ["Looking for words", "The first ones come in a moment."]
      : ["No words yet", "Drop photographs here, or choose some."];
  }
  if (state === "check") {
    return summary.check
      ? [summary.check.drawn ? "The sample is done" : "No sample", describeCheck(summary.check)]
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
