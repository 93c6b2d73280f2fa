// Boxes as straight lines, in each way that their text may run, split where spaces may be (dptr/photo/views.py).
// Text along a curve is read as if it were straight, which dptr does better in Python.

import { roll } from "./components.js";
import { cut, turn } from "./picture.js";
import { lengthen, rectify, sideLengths } from "./rectify.js";
import { bounds, chooseWords, findGaps, keepInner, possibleWords, splitReading, weighSpaces } from "./split.js";

const BEYOND = 0.25; // of a box's height, that its line is cut longer on both sides: detectors cut letters off
const TALL = 1.5; // height / width from which on text may run up or down
const DOUBTFUL = 0.5; // mean confidence of a line's words below which it may be upside down
const MARGIN = 0.06; // of the line's height, beside a word that is read
const TRIM = 0.04; // of the line's height, above and below a word that is read

// A line in one of the ways that its text may run. words: [{ span, crop, reading }], reading once it was read; direction:
// how the recognizer reads a line with letters that run from right to left.
class View {
  constructor({ box, columns, gaps, words, lineCrop, direction }) {
    Object.assign(this, { box, columns, gaps, words, lineCrop, direction, likelyGaps: gaps, lineReading: null });
    this.byNumber = new Map(words.map((word) => [String(word.span), word]));
  }

  // The same line upside down, not read yet.
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

  takeLine(reading) {
    this.lineReading = reading;
    if (reading.text.trim() && !reading.runaway) this.likelyGaps = weighSpaces(this.gaps, this.columns, reading, this.direction);
  }

  // The words of the best way to split the line, where those not read yet are taken for sure.
  chosen() {
    return chooseWords(this.likelyGaps, (span) => {
      const word = this.byNumber.get(String(span));
      return word && this.confidence(word);
    }).map((span) => this.byNumber.get(String(span)));
  }

  confidence({ reading }) {
    if (!reading) return 1;
    return reading.text.trim() && !reading.runaway ? reading.product : 0;
  }

  unread() {
    return this.chosen().filter((word) => !word.reading);
  }

  // The mean of the logarithms of the words' confidences.
  worth() {
    const words = this.chosen();
    return words.reduce((sum, word) => sum + Math.log(Math.max(this.confidence(word), 1e-6)), 0) / words.length;
  }

  // What the reading of the whole line holds for each word; nothing if it has another number of words.
  wordsOfLine() {
    const found = this.lineReading ? splitReading(this.lineReading, this.direction) : [];
    return found.length === this.chosen().length ? found : [];
  }

  // Lets words have the signs at their ends that the whole line has and they lack.
  takeSigns() {
    const chosen = this.chosen();
    this.wordsOfLine().forEach((inLine, index) => {
      const own = chosen[index].reading;
      const letters = withoutSigns(own.text);
      if (!letters || letters !== withoutSigns(inLine.text) || inLine.characters.length <= own.characters.length) return;
      chosen[index].reading = { ...own, text: inLine.text, characters: inLine.characters };
    });
  }
}

// A word without the punctuation and symbols at its ends.
const withoutSigns = (text) => text.replace(/^[\p{P}\p{S}]+|[\p{P}\p{S}]+$/gu, "");

// A box in all the ways that its text may run; the first is the usual one.
export class Line {
  constructor(views) {
    this.views = views;
    this.turned = views.length > 1; // whether it is there both ways
  }

  isDoubtful() {
    return !this.turned && this.choose().worth() < Math.log(DOUBTFUL);
  }

  turnAround() {
    const added = this.views.map((view) => view.turnAround());
    this.views.push(...added);
    this.turned = true;
    return added;
  }

  // The view that is read with most confidence; another than the first has two characters or more.
  choose() {
    return this.views.reduce((best, view) => {
      const longer = view.chosen().reduce((sum, { reading }) => sum + (reading ? reading.characters.length : 0), 0) > 1;
      return longer && view.worth() > best.worth() ? view : best;
    });
  }
}

// options: spaces finds them; fit makes of a picture a crop that the recognizer reads; longest: width / height of the
// longest line that is read whole too, longestWord: of a word; direction: see View.
export async function viewLines(picture, boxes, options) {
  const lines = [];
  for (const box of boxes) {
    if (area(box) < 1 || !isInside(box, picture)) continue;
    const [width, height] = sideLengths(box);
    const beside = BEYOND * Math.min(width, height);
    const turns = height > TALL * width ? [0, -1, 1] : [0];
    const views = [];
    for (const by of turns) {
      const own = lengthen(roll(box, by), beside);
      const upright = turns.length > 1 && by === 0;
      views.push(await viewLine(rectify(picture, own), own, beside, upright, options));
    }
    lines.push(new Line(views));
  }
  return lines;
}

async function viewLine(line, box, beside, upright, { spaces, fit, longest, longestWord, direction }) {
  const columns = await spaces.find(line);
  const outer = beside / Math.max(sideLengths(box)[0], 1);
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

// Square pixels; 0 for boxes that are not convex or do not run clockwise.
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
