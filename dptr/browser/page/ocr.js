// Reads photographs: finds lines, splits them into words, and reads the words (dptr/photo/ocr.py).

import { assemblePage } from "./assemble.js";
import { Detector } from "./detect.js";
import { viewLines } from "./lines.js";
import { extend, invert } from "./picture.js";
import { SpaceFinder } from "./spaces.js";
import { round } from "./sizes.js";
import { LONGEST } from "./split.js";

const LINE_SQUEEZED = 1.25; // longest line that is also read as a whole, relative to the longest crop of the recognizer
const SURE = 0.9; // confidence below which a word is read again

export class Ocr {
  static async open(recognizer, detector, spaces) {
    const { ort } = recognizer;
    return new Ocr(recognizer, await Detector.open(ort, detector), await SpaceFinder.open(ort, spaces));
  }

  constructor(recognizer, detector, spaces) {
    Object.assign(this, { recognizer, detector, spaces });
    this.longestWord = Math.max(LONGEST, recognizer.sizes.longest);
    this.longest = recognizer.readsSpaces ? LINE_SQUEEZED * recognizer.sizes.longest : 0;
  }

  async read(picture, onProgress) {
    const boxes = await this.detector.find(picture, onProgress);
    onProgress(`Reading ${boxes.length} ${boxes.length === 1 ? "line" : "lines"} …`);
    const fit = (part) => this.recognizer.sizes.fit(part);
    const { spaces, longest, longestWord } = this;
    const direction = this.recognizer.metadata.visual || "rtl";
    const lines = await viewLines(picture, boxes, { spaces, fit, longest, longestWord, direction });
    await this.readViews(lines.flatMap((line) => line.views));
    await this.readViews(lines.filter((line) => line.isDoubtful()).flatMap((line) => line.turnAround()));
    const chosen = lines.map((line) => line.bestView());
    await this.readAgain(chosen);
    await this.readWords(chosen); // new confidences can change the best way to split a line
    for (const view of chosen) view.addPunctuation();
    return assemblePage(picture, lines);
  }

  async readViews(views) {
    const whole = views.filter((view) => view.lineCrop);
    const readings = await this.recognizer.readCrops(whole.map((view) => view.lineCrop));
    whole.forEach((view, index) => view.setLineReading(readings[index]));
    await this.readWords(views);
  }

  // Reads words until the best way to split each line has no unread ones. Most possible words are never read.
  async readWords(views) {
    for (let words; (words = views.flatMap((view) => view.unreadWords())).length; ) {
      const readings = await this.recognizer.readCrops(words.map((word) => word.crop));
      words.forEach((word, index) => (word.reading = readings[index]));
    }
  }

  // Reads words of low confidence again in changed crops, and keeps the text on which most readings agree.
  async readAgain(views) {
    const words = views.flatMap((view) => {
      const inLine = view.wordsOfLine();
      const chosen = view.chosenWords().map((word, index) => ({ word, inLine: inLine[index] }));
      return chosen.filter(({ word }) => word.reading.confidence < SURE);
    });
    const changed = words.map(({ word }) => changes(word.crop).map((crop) => this.recognizer.sizes.fit(crop)));
    const readings = await this.recognizer.readCrops(changed.flat());
    for (const [index, { word, inLine }] of words.entries()) {
      const again = readings.splice(0, changed[index].length);
      word.reading = agree([word.reading, ...again, ...(inLine ? [inLine] : [])]);
    }
  }
}

// Changed crops: with wider edges, and inverted (dptr/inference/views.py).
function changes(crop) {
  const edge = Math.max(1, round(0.1 * crop.height));
  return [extend(crop, edge, edge, edge, edge), invert(crop)];
}

// The reading whose text has the highest sum of products. Its product and its confidence are the sums over the readings
// with this text, divided by the number of all readings.
function agree(readings) {
  const sums = new Map();
  for (const { text, product, runaway } of readings) sums.set(text, (sums.get(text) || 0) + (runaway ? 0 : product));
  const [text, sum] = [...sums].reduce((best, each) => (each[1] > best[1] ? each : best));
  const same = readings.filter((reading) => reading.text === text);
  const best = same.reduce((one, two) => (two.product > one.product ? two : one));
  const confidence = same.reduce((total, reading) => total + (reading.runaway ? 0 : reading.confidence), 0);
  return { ...best, confidence: confidence / readings.length, product: sum / readings.length };
}
