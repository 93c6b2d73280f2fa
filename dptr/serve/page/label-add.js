// Adds pictures that the user drops or chooses. The server finds the words in photographs; a crop is one word.

import { json } from "./label-queue.js";
import { get, press, takeChosen, takeDropped, toast } from "./parts.js";

let asCrops = false;

// hasCrops(): whether the label set consists of crops; onSummary(summary): called after each picture; onUnauthorized():
// called if the server wants a token; onDone(): called at the end
export function startAdding({ hasCrops, onSummary, onUnauthorized, onDone }) {
  const pick = (crops) => {
    asCrops = crops;
    get("files").click();
  };
  const take = (files) => add(files, { onSummary, onUnauthorized, onDone });
  press("add", () => pick(hasCrops()));
  press("choose", () => pick(false));
  press("choose-crops", () => pick(true));
  takeChosen("files", take);
  takeDropped((files) => {
    asCrops = hasCrops();
    take([...files]);
  });
}

async function add(files, { onSummary, onUnauthorized, onDone }) {
  if (!files.length) return;
  toast(`Looking for words in ${files.length === 1 ? "a picture" : `${files.length} pictures`} …`);
  let words = 0;
  const errors = [];
  for (const file of files) {
    const form = new FormData();
    form.append("files", file, file.name || "pasted.png");
    if (asCrops) form.append("crops", "true");
    try {
      const summary = await json("/pictures", form);
      words += summary.words;
      errors.push(...summary.errors.map((each) => each.error), ...summary.missing);
      onSummary(summary);
    } catch (error) {
      if (error.status === 401) return onUnauthorized();
      errors.push(error.message);
    }
  }
  toast([`${words} ${words === 1 ? "word" : "words"} found`, ...[...new Set(errors)].slice(0, 2)].join(" · "));
  await onDone();
}
