// Cuts boxes out as straight lines, in each orientation that their text may have, and splits them at possible spaces
// (dptr/photo/views.py). Text along a curve is treated as straight; dptr in Python follows the curve.

import { roll } from "./components.js";
import { cut, turn } from "./picture.js";
import { lengthen, rectify, sideLengths } from "./rectify.js";
import { bounds, chooseWords, findGaps, keepInner, possibleWords, splitReading, weighSpaces } from "./split.js";

const BEYOND = 0.25; // added at both ends of a line, in heights of its box, because detectors cut letters off
const TALL = 1.5; // height / width of a box from which its text may run up or down
const DOUBTFUL = 0.5; // mean confidence of a line's words below which the line may be upside down
const MARGIN = 0.06; // added on both sides of a word, in heights of the line
const TRIM = 0.04; // removed above and below a word, in heights of the line

// A line in one orientation. words: [{ span, crop, reading }], the possible words, with a reading once they were read;
// direction: how the recognizer writes letters that run from right to left, "rtl" or "ltr" (visualOrder).
class View {
  constructor({ box, columns, gaps, words, lineCrop, direction }) {
    Object.assign(this, { box, columns, gaps, words, lineCrop, direction, likelyGaps: gaps, lineReading: null });
    this.byNumber = new Map(words.map((word) => [String(word.span), word]));
  }

  // The same line rotated by 180 degrees, not read yet.
  turnAround() {
    const last = this.gaps.pieces.length - 1;
    const { blank, edges, height } = this.columns;
    return new View({
      box: roll(this.box, 2),
      columns: { blank: [...blank].reverse(), edges: [...edges].reverse(), height },
      gaps: {
        pieces: this.gaps.pieces.map(([left, right]) => [1 - right, 1 - left]).reverse(),
        spaces: [...this.gaps.spaces].reverse(),
      },
      words: this.words.map(({ span: [begin, end], crop }) => ({ span: [last - end, last - begin], crop: turn(crop, 180) })),
      lineCrop: this.lineCrop && turn(this.lineCrop, 180),
      direction: this.direction,
    });
  }

  setLineReading(reading) {
    this.lineReading = reading;
    if (reading.text.trim() && !reading.runaway) this.likelyGaps = weighSpaces(this.gaps, this.columns, reading, this.direction);
  }

  // The words of the best way to split the line. Words that are not read yet count with confidence 1.
  chosenWords() {
    return chooseWords(this.likelyGaps, (span) => {
      const word = this.byNumber.get(String(span));
      return word && this.confidence(word);
    }).map((span) => this.byNumber.get(String(span)));
  }

  confidence({ reading }) {
    if (!reading) return 1;
    return reading.text.trim() && !reading.runaway ? reading.product : 0;
  }

  unreadWords() {
    return this.chosenWords().filter((word) => !word.reading);
  }

  // The mean of the logarithms of the confidences of the chosen words.
  score() {
    const words = this.chosenWords();
    return words.reduce((sum, word) => sum + Math.log(Math.max(this.confidence(word), 1e-6)), 0) / words.length;
  }

  // The words in the reading of the whole line; none if it has another number of words than were chosen.
  wordsOfLine() {
    const words = this.lineReading ? splitReading(this.lineReading, this.direction) : [];
    return words.length === this.chosenWords().length ? words : [];
  }

  // Adds to words the punctuation and symbols at their ends that only the reading of the whole line has.
  addPunctuation() {
    const chosen = this.chosenWords();
    this.wordsOfLine().forEach((inLine, index) => {
      const reading = chosen[index].reading;
      const letters = withoutSigns(reading.text);
      if (!letters || letters !== withoutSigns(inLine.text) || inLine.characters.length <= reading.characters.length) return;
      chosen[index].reading = { ...reading, text: inLine.text, characters: inLine.characters };
    });
  }
}

// A word without the punctuation and symbols at its ends.
const withoutSigns = (text) => text.replace(/^[\p{P}\p{S}]+|[\p{P}\p{S}]+$/gu, "");

// A box in all orientations that its text may have. The first view is the usual one.
export class Line {
  constructor(views) {
    this.views = views;
    this.turned = views.length > 1; // whether opposite orientations are among the views
  }

  isDoubtful() {
    return !this.turned && this.bestView().score() < Math.log(DOUBTFUL);
  }

  turnAround() {
    const added = this.views.map((view) => view.turnAround());
    this.views.push(...added);
    this.turned = true;
    return added;
  }

  // The view that was read with the highest confidence. A view other than the first needs two characters or more.
  bestView() {
    return this.views.reduce((best, view) => {
      const longer = view.chosenWords().reduce((sum, { reading }) => sum + (reading ? reading.characters.length : 0), 0) > 1;
      return longer && view.score() > best.score() ? view : best;
    });
  }
}

// Makes a Line of each box. options: spaces: a SpaceFinder; fit(picture): resizes a picture for the recognizer;
// longest: width / height of the longest line that is also read as a whole; longestWord: the same of a word; direction:
// see View
export async function viewLines(picture, boxes, options) {
  const lines = [];
  for (const box of boxes) {
    if (area(box) < 1 || !isInside(box, picture)) continue;
    const [width, height] = sideLengths(box);
    const margin = BEYOND * Math.min(width, height);
    const turns = height > TALL * width ? [0, -1, 1] : [0];
    const views = [];
    for (const by of turns) {
      const lengthened = lengthen(roll(box, by), margin);
      const upright = turns.length > 1 && by === 0;
      views.push(await viewLine(rectify(picture, lengthened), lengthened, margin, upright, options));
    }
    lines.push(new Line(views));
  }
  return lines;
}

async function viewLine(line, box, margin, upright, { spaces, fit, longest, longestWord, direction }) {
  const columns = await spaces.find(line);
  const outer = margin / Math.max(sideLengths(box)[0], 1);
  const gaps = upright
    ? { pieces: [[outer, 1 - outer]], spaces: [] }
    : keepInner(findGaps(columns.blank, columns.height), outer, 1 - outer);
  const spans = possibleWords(gaps, line.width / line.height, longestWord);
  const words = spans.map((span) => ({ span, crop: fit(cutWord(line, bounds(gaps, span))) }));
  const ends = bounds(gaps, [0, gaps.pieces.length - 1]);
  const whole = gaps.pieces.length > 1 && (ends[1] - ends[0]) * line.width <= longest * line.height;
  return new View({ box, columns, gaps, words, lineCrop: whole ? fit(cutWord(line, ends)) : null, direction });
}

function cutWord(line, [begin, end]) {
  const [margin, trim] = [MARGIN * line.height, Math.trunc(TRIM * line.height)];
  const left = Math.max(0, Math.trunc(begin * line.width - margin));
  const right = Math.max(Math.min(line.width, Math.ceil(end * line.width + margin)), left + 1);
  return cut(line, left, trim, right, Math.max(line.height - trim, trim + 1));
}

// The area of a box in square pixels; 0 if it is not convex or its corners do not run clockwise.
function area(box) {
  const next = roll(box, -1);
  const sides = box.map(([x, y], index) => [next[index][0] - x, next[index][1] - y]);
  const following = roll(sides, -1);
  if (!sides.every(([x, y], index) => x * following[index][1] - y * following[index][0] > 0)) return 0;
  return box.reduce((sum, [x, y], index) => sum + x * next[index][1] - y * next[index][0], 0) / 2;
}

function isInside(box, { width, height }) {
  const [x, y] = [0, 1].map((axis) => box.reduce((sum, point) => sum + point[axis], 0) / 4);
  return x >= 0 && y >= 0 && x < width && y < height;
}
