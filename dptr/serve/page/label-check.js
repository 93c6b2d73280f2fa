// The random sample of the words accepted unseen, and the estimated share of wrong ones.

import { get } from "./parts.js";

export const CHECKED = 50; // words drawn at a time

const share = (value) => `${(100 * value).toFixed(value < 0.1 && value > 0 ? 1 : 0)} %`;

// The result of a sample in words. low, high: the confidence limits of the share of wrong words.
export function describeCheck({ right, wrong, illegible, low, high, level, apart, share: part }) {
  const reviewed = right + wrong;
  const addition = apart ? ` Words came since the sample was drawn: ${apart} of it ${apart === 1 ? "does" : "do"} not count until more are checked.` : "";
  if (part === null) return `None of the sample was looked at yet.${addition}`;
  const others = (illegible ? ` ${illegible} more ${illegible === 1 ? "is" : "are"} illegible.` : "") + addition;
  return `${wrong} of ${reviewed} checked ${reviewed === 1 ? "word" : "words"} ${wrong === 1 ? "is" : "are"} wrong: ${share(part)}. Of all that were accepted unseen, between ${share(low)} and ${share(high)} are (${share(level)} confidence).${others}`;
}

// Shows the state of the sample. state: the state of the words that are listed
export function showCheck({ counts, check }, state) {
  const unreviewed = check ? check.drawn - check.right - check.wrong - check.illegible : 0;
  const undrawn = check ? check.population - check.drawn : counts.sure;
  get("count-check").textContent = unreviewed.toLocaleString("en");
  document.querySelector("[data-state=check]").hidden = !check;
  get("check").hidden = !["sure", "check"].includes(state) || !(check || counts.sure);
  get("check-go").hidden = state === "check" || !unreviewed;
  get("check-more").hidden = !undrawn || unreviewed > 0;
  get("check-more").textContent = `Check ${Math.min(CHECKED, undrawn)}${check ? " more" : ""} at random`;
  get("check-result").textContent = check ? describeCheck(check) : "Nobody has looked at these words. How many of them are wrong? A random sample tells.";
}
