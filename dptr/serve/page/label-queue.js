// The words that are shown one after the other, fetched ahead of time, and their pictures.

import { ask } from "./api.js";

const AHEAD = 8; // words that are fetched together
const KEPT = 200; // words that one can go back to
const PICTURES = 40; // that are kept

export const json = async (path, body) => (await ask(`v1/label${path}`, body)).json();

const urls = new Map(); // pictures by their path; the last ones

async function picture(path) {
  if (!urls.has(path)) {
    urls.set(path, ask(`v1/label${path}`).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
    for (const old of [...urls.keys()].slice(0, -PICTURES)) {
      urls.get(old).then(URL.revokeObjectURL, () => {});
      urls.delete(old);
    }
  }
  return urls.get(path).catch((error) => {
    urls.delete(path);
    throw error;
  });
}

export const cropOf = (item) => picture(`/items/${item.id}/crop?v=${item.outline.flat().join("-")}`);
export const aroundOf = (item) => picture(`/items/${item.id}/around?v=${item.frame.join("-")}`);

export class Queue {
  constructor(person) {
    this.person = person; // other people are not shown the words that this one has
    this.reset("open");
  }

  // state: of the words; "check": those of the sample that nobody has looked at
  reset(state) {
    this.state = state;
    this.waiting = []; // words, the first is shown
    this.past = []; // that were shown before, the last one last
    this.fetching = null;
    this.rewind();
  }

  // Ask again for all words that were not shown.
  rewind() {
    this.last = "-1,0"; // the last word that was fetched
    this.more = true; // whether there may be more behind it
  }

  get current() {
    return this.waiting[0];
  }

  async fill() {
    if (this.fetching || !this.more || this.waiting.length > AHEAD / 2) return this.fetching;
    const { state } = this;
    const what = state === "check" ? "/check/items?" : `/items?state=${state}&after=${this.last}&`;
    const fetching = json(`${what}limit=${AHEAD}&person=${this.person}`);
    this.fetching = fetching;
    try {
      const { items, more } = await fetching;
      if (this.fetching !== fetching) return null; // other words are wanted now
      this.more = more || (state !== "check" && items.length > 0);
      const known = new Set([...this.waiting, ...this.past].map((item) => item.id));
      this.waiting.push(...items.filter((item) => !known.has(item.id)));
      const end = items.at(-1);
      if (end) this.last = `${end.confidence},${end.id}`;
      for (const item of this.waiting.slice(0, 3)) cropOf(item).catch(() => {});
    } finally {
      if (this.fetching === fetching) this.fetching = null;
    }
    return null;
  }

  next() {
    this.past = [...this.past, this.waiting.shift()].slice(-KEPT);
  }

  // Whether there was a word to go back to.
  back() {
    if (!this.past.length) return false;
    this.waiting.unshift(this.past.pop());
    return true;
  }

  // Put a word first, wherever it was.
  bring(item) {
    this.waiting = [item, ...this.waiting.filter((each) => each !== item)];
    this.past = this.past.filter((each) => each !== item);
  }
}
