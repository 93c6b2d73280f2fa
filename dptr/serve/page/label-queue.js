// The queue of words to review, which is filled ahead of time, and a cache of their pictures.

import { request } from "./api.js";

const AHEAD = 8; // words fetched in one request
const KEPT = 200; // words that the user can go back to
const PICTURES = 40; // pictures in the cache

export const json = async (path, body) => (await request(`v1/label${path}`, body)).json();

const urls = new Map(); // path -> promise of an object URL; the last PICTURES entries

async function picture(path) {
  if (!urls.has(path)) {
    urls.set(path, request(`v1/label${path}`).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
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
    this.person = person; // a random id; the server does not give this person's words to others
    this.reset("open");
  }

  // state: the state of the words to review; "check" = the unreviewed words of the sample
  reset(state) {
    this.state = state;
    this.waiting = []; // the words ahead; the first is shown
    this.past = []; // the words shown before, in order
    this.fetching = null;
    this.rewind();
  }

  // Starts fetching from the first word again.
  rewind() {
    this.last = "-1,0"; // confidence and id of the last word fetched
    this.more = true; // whether the server may have more words after it
  }

  get current() {
    return this.waiting[0];
  }

  async fill() {
    if (this.fetching || !this.more || this.waiting.length > AHEAD / 2) return this.fetching;
    const { state } = this;
    const query = state === "check" ? "/check/items?" : `/items?state=${state}&after=${this.last}&`;
    const fetching = json(`${query}limit=${AHEAD}&person=${this.person}`);
    this.fetching = fetching;
    try {
      const { items, more } = await fetching;
      if (this.fetching !== fetching) return null; // the queue was reset meanwhile
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

  // Goes back to the previous word. Returns false if there is none.
  back() {
    if (!this.past.length) return false;
    this.waiting.unshift(this.past.pop());
    return true;
  }

  // Puts a word first, wherever it was.
  bring(item) {
    this.waiting = [item, ...this.waiting.filter((each) => each !== item)];
    this.past = this.past.filter((each) => each !== item);
  }
}
