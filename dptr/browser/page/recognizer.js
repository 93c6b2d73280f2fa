// Runs a recognizer that 'dptr export' wrote, in onnxruntime-web. Its file holds all its settings.

import { WordConfidence, applyTemperature } from "./confidence.js";
import { logicalOrder } from "./direction.js";
import { readMetadata } from "./metadata.js";
import { turn, views } from "./picture.js";
import { Sizes } from "./sizes.js";

const BATCH = 16; // crops in a batch, at most
const HALF_RANGE = 127.5; // scales 0 to 255 to -1 to 1
const DOUBTFUL = 0.85; // geometric mean of the probabilities of characters and end, below which a reading is doubtful
const SURER = 0.5; // gain in probability from which the reading upside down counts

export class Recognizer {
  // ort: onnxruntime-web; bytes: the content of the file
  static async open(ort, bytes) {
    const metadata = await readMetadata(bytes);
    return new Recognizer(ort, await openSession(ort, bytes), metadata);
  }

  constructor(ort, session, metadata) {
    Object.assign(this, { ort, session, metadata });
    this.sizes = new Sizes(metadata);
    this.characters = ["", ...metadata.charset.characters];
    this.temperature = metadata.temperature || 1;
    this.confidence = metadata.card.confidence && new WordConfidence(metadata.card.confidence);
  }

  get readsSpaces() {
    return this.characters.includes(" ");
  }

  // Reads a picture of one word. A tall picture is also read rotated to either side, and the most confident reading
  // counts. If the reading of another picture is doubtful, it is also read upside down (dptr/inference/views.py).
  async readWord(picture) {
    const crops = views(picture).map((view) => this.sizes.fit(view));
    const readings = await this.readCrops(crops);
    const best = chooseView(readings);
    let reading = { ...readings[best], turned: [0, 90, 270][best] };
    if (crops.length === 1 && isDoubtful(reading)) {
      const [other] = await this.readCrops([turn(crops[0], 180)]);
      const surer = other.product > reading.product + SURER;
      if (surer && !other.runaway && other.characters.length > 1) reading = { ...other, turned: 180 };
    }
    const [width, height] = best ? [picture.height, picture.width] : [picture.width, picture.height];
    return { ...reading, notes: [...notePicture(width, height, this.sizes.longest, reading.product), ...reading.notes] };
  }

  // Reads crops, which have sizes that the model accepts, and returns the readings in order. Crops of one size are
  // batched.
  async readCrops(crops) {
    const readings = [];
    const groups = new Map();
    crops.forEach((crop, index) => {
      const size = `${crop.height}x${crop.width}`;
      groups.set(size, [...(groups.get(size) || []), index]);
    });
    for (const indices of groups.values()) {
      for (let start = 0; start < indices.length; start += BATCH) {
        const batch = indices.slice(start, start + BATCH);
        const batchReadings = await this.run(batch.map((index) => crops[index]));
        batch.forEach((index, place) => (readings[index] = batchReadings[place]));
      }
    }
    return readings;
  }

  async run(crops) {
    const { width, height } = crops[0];
    const plane = width * height;
    const pixels = new Float32Array(crops.length * 3 * plane);
    crops.forEach(({ data }, number) => {
      for (let index = 0; index < plane; index += 1) {
        for (let channel = 0; channel < 3; channel += 1) {
          pixels[(number * 3 + channel) * plane + index] = Math.fround(data[index * 3 + channel] / HALF_RANGE) - 1;
        }
      }
    });
    const input = new this.ort.Tensor("float32", pixels, [crops.length, 3, height, width]);
    const outputs = this.confidence?.ofPaths ? ["probabilities", "paths"] : ["probabilities"];
    const results = await this.session.run({ pixels: input }, outputs);
    for (const name of outputs) {
      const classes = results[name].dims[2];
      if (classes !== this.characters.length) throw new Error("The model is damaged. Load the page anew.");
      applyTemperature(results[name].data, classes, this.temperature);
    }
    return crops.map((_, number) => this.decode(cutRows(results.probabilities, number), results.paths && cutRows(results.paths, number)));
  }

  // Decodes greedily: the most probable class at each place, up to the first end. places, path: rows of the
  // probabilities of all classes; path only for a model whose confidence sums over paths.
  decode(places, path) {
    const [rows, best] = [[], []];
    for (const row of places) {
      let likeliest = 0;
      for (let index = 1; index < row.length; index += 1) if (row[index] > row[likeliest]) likeliest = index;
      rows.push(row);
      best.push(likeliest);
      if (likeliest === 0) break;
    }
    const ended = best.at(-1) === 0;
    const read = ended ? best.slice(0, -1) : best;
    const shown = trim(read.map((index, place) => ({ index, character: this.characters[index], probability: rows[place][index] })));
    const characters = this.asRead(shown.map(({ character, probability }) => [character, probability]));
    const text = characters.map(([character]) => character).join("");
    const product = rows.reduce((value, row, place) => value * row[best[place]], 1);
    const runaway = !ended && hasRepeatedEnding(read);
    const calibration = this.confidence;
    const share = calibration && (path ? calibration.sumPaths(path, shown.map(({ index }) => index)) : calibration.multiply(rows, best));
    return {
      text,
      confidence: calibration ? calibration.scale(share, shown.length) : product,
      product, // before calibration; readings of one picture are compared by it
      characters,
      runaway,
      turned: 0,
      notes: ended || runaway ? [] : [`The reading stops at ${read.length} characters, the most that this model writes.`],
    };
  }

  // Puts characters, with their probabilities, in reading order; models with "visual" write them as they stand.
  asRead(written) {
    if (!this.metadata.visual) return written;
    return logicalOrder(written.map(([character]) => character), this.metadata.visual).map(({ index, character }) => {
      const [original, probability] = written[index];
      return [this.characters.includes(character) ? character : original, probability];
    });
  }
}

export function openSession(ort, bytes) {
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
}

function isDoubtful({ characters, product }) {
  return product ** (1 / (characters.length + 1)) < DOUBTFUL && product < 1 - SURER;
}

// The characters without spaces at the ends.
function trim(characters) {
  const first = characters.findIndex(({ character }) => character !== " ");
  const last = characters.findLastIndex(({ character }) => character !== " ");
  return first < 0 ? [] : characters.slice(first, last + 1);
}

// The rows of one crop in a tensor of shape (crops, places, classes).
function cutRows({ data, dims: [, places, classes] }, number) {
  const at = (place) => (number * places + place) * classes;
  return Array.from({ length: places }, (_, place) => data.subarray(at(place), at(place + 1)));
}

// The index of the view to use. A rotated view needs a higher probability and two characters or more, because a single
// tall letter looks like a dash when it is rotated.
function chooseView(readings) {
  let best = 0;
  readings.forEach((reading, view) => {
    const possible = view && !reading.runaway && reading.characters.length > 1;
    if (possible && reading.product > readings[best].product) best = view;
  });
  return best;
}

// Whether the reading ends with three repetitions of one to four characters, as when a decoder has lost its place.
function hasRepeatedEnding(read) {
  return [1, 2, 3, 4].some((unit) => {
    const end = read.slice(-3 * unit);
    return end.length === 3 * unit && end.every((index, place) => index === end[place % unit]);
  });
}

// Notes on likely problems of a picture (dptr/inference/prediction.py).
function notePicture(width, height, longest, product) {
  const notes = [];
  const [shorter, longer] = [Math.min(width, height), Math.max(width, height)];
  if (shorter >= 300 && longer <= 2.5 * shorter && product <= 0.4) {
    notes.push("This looks like a whole photograph, not like a crop of one word.");
  }
  if (height < 6) notes.push(`${height} pixels are too few in height to tell letters apart.`);
  if (width > 2.5 * longest * height) notes.push("It is much longer than this model reads. Cut it into shorter pieces.");
  return notes;
}
