// A random sample of the words that were accepted unseen: what it tells of all of them.

import { get } from "./parts.js";

export const CHECKED = 50; // words that are drawn at a time

const share = (value) => `${(100 * value).toFixed(value < 0.1 && value > 0 ? 1 : 0)} %`;

// What a sample tells of all words that were accepted unseen.
export function describeCheck({ right, wrong, illegible, low, high, level, apart, share: part }) {
  const seen = right + wrong;
  const later = apart ? ` Words came since the sample was drawn: ${apart} of it ${apart === 1 ? "does" : "do"} not count until more are checked.` : "";
  if (part === null) return `None of the sample was looked at yet.${later}`;
  const others = (illegible ? ` ${illegible} more ${illegible === 1 ? "is" : "are"} illegible.` : "") + later;
  return `${wrong} of ${seen} checked ${seen === 1 ? "word" : "words"} ${wrong === 1 ? "is" : "are"} wrong: ${share(part)}. Of all that were accepted unseen, between ${share(low)} and ${share(high)} are (${share(level)} confidence).${others}`;
}

// state: of the words that are shown
export function showCheck({ counts, check }, state) {
  const waits = check ? check.drawn - check.right - check.wrong - check.illegible : 0;
  const left = check ? check.population - check.drawn : counts.sure;
  get("count-check").textContent = waits.toLocaleString("en");
  document.querySelector("[data-state=check]").hidden = !check;
  get("check").hidden = !["sure", "check"].includes(state) || !(check || counts.sure);
  get("check-go").hidden = state === "check" || !waits;
  get("check-more").hidden = !left || waits > 0;
  get("check-more").textContent = `Check ${Math.min(CHECKED, left)}${check ? " more" : ""} at random`;
  get("check-told").textContent = check ? describeCheck(check) : "Nobody has looked at these words. How many of them are wrong? A random sample tells.";
}
