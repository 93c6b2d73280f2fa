// Splits lines into words: chooses which gaps are spaces by the confidence of the readings on either side
// (dptr/photo/split.py). The gaps cut a line into pieces. A span is [first, last]: the pieces of a word.

import { alignCharacters } from "./align.js";
import { needsReordering, visualOrder } from "./direction.js";
import { round } from "./sizes.js";

const EAGERNESS = 1.4; // log odds for a space, added to those of the columns
const WEIGHT = 0.6; // exponent of the confidences of words, relative to the probabilities of gaps
const CERTAIN = 0.97; // probability of a space from which no word extends across the gap
const POSSIBLE = 0.01; // probability of blank up to which a column is in no gap
export const LONGEST = 12; // heights of a line; the longest word, unless the recognizer reads longer ones
const MOST_INNER = 5; // gaps inside a word, at most
const LINE_ODDS = 3; // log odds that a reading of the whole line adds or subtracts for a space, times its probability
const NEAR = 0.15; // heights of the line by which the middle of a space may lie outside its gap
const WORST = 1e-4; // lowest confidence that counts; lower ones count as this

const probable = (value) => Math.min(Math.max(value, 1e-3), 1 - 1e-3);

// The left and the right end of a span, as fractions of the line's width.
export function bounds(gaps, [first, last]) {
  return [gaps.pieces[first][0], gaps.pieces[last][1]];
}

// Cuts a line at its possible spaces. Returns { pieces, spaces }: the ends of each piece as fractions of the line's
// width, and the probability that the gap after each piece, except the last, is a space.
export function findGaps(blank, height) {
  const first = blank.findIndex((value) => value < 0.5);
  if (first < 0) return { pieces: [[0, 1]], spaces: [] };
  const end = blank.findLastIndex((value) => value < 0.5) + 1;
  const gaps = [];
  for (let left = first; left < end; left += 1) {
    if (!(blank[left] > POSSIBLE)) continue;
    let right = left;
    while (right < end && blank[right] > POSSIBLE) right += 1;
    const stretch = blank.slice(left, right);
    const most = Math.max(...stretch);
    const core = (value) => value >= Math.min(0.5, most);
    if (left !== first && right !== end) {
      const sides = [left + stretch.findIndex(core), left + stretch.findLastIndex(core) + 1];
      const odds = (Math.exp(EAGERNESS) * most) / Math.max(1 - most, 1e-4);
      gaps.push({ sides, space: probable(odds / (1 + odds)) });
    }
    left = right;
  }
  const most = Math.max(3, round((2 * (end - first)) / height));
  const likely = [...gaps].sort((one, two) => two.space - one.space).slice(0, most).sort((one, two) => one.sides[0] - two.sides[0]);
  const edges = [first, ...likely.flatMap((gap) => gap.sides), end].map((edge) => edge / blank.length);
  const pieces = Array.from({ length: edges.length / 2 }, (_, index) => [edges[2 * index], edges[2 * index + 1]]);
  return { pieces, spaces: likely.map((gap) => gap.space) };
}

// Removes the pieces at either end whose middle lies outside left to right; keeps all if none is inside.
export function keepInner(gaps, left, right) {
  const inside = ([begin, end]) => left <= (begin + end) / 2 && (begin + end) / 2 <= right;
  const [first, last] = [gaps.pieces.findIndex(inside), gaps.pieces.findLastIndex(inside)];
  if (first < 0) return gaps;
  return { pieces: gaps.pieces.slice(first, last + 1), spaces: gaps.spaces.slice(first, last) };
}

// The gaps with changed probabilities: higher where a reading of the whole line has a space, and lower elsewhere.
export function weighSpaces(gaps, columns, reading, line) {
  const [left, right] = bounds(gaps, [0, gaps.pieces.length - 1]);
  const characters = visualOrder([...reading.text.trim()], line).map(({ character }) => character);
  const spots = alignCharacters(characters, columns, left, right);
  const near = (NEAR * columns.height) / columns.blank.length;
  const spaceMiddles = spots.filter((_, index) => characters[index] === " ").map(([begin, end]) => (begin + end) / 2);
  const spaces = gaps.spaces.map((probability, index) => {
    const [begin, end] = [gaps.pieces[index][1] - near, gaps.pieces[index + 1][0] + near];
    const sign = spaceMiddles.some((middle) => begin <= middle && middle <= end) ? 1 : -1;
    const odds = Math.log(probability / (1 - probability)) + sign * LINE_ODDS * reading.product;
    return probable(1 / (1 + Math.exp(-odds)));
  });
  return { pieces: gaps.pieces, spaces };
}

// The words of a reading with spaces, each from partOf, as they stand from left to right. The characters of a word
// without letters that run from right to left are in this order too.
export function splitReading(reading, line) {
  const order = visualOrder(reading.characters.map(([character]) => character), line);
  const words = [[]]; // for each word, the visual positions of its characters
  reading.characters.forEach(([character], index) => {
    if (character === " ") words.push([]);
    else words.at(-1).push(order.findIndex((each) => each.index === index));
  });
  const wordRanks = words.filter((ranks) => ranks.length);
  wordRanks.sort((one, other) => Math.min(...one) - Math.min(...other));
  return wordRanks.map((ranks) => {
    const characters = ranks.map((rank) => reading.characters[order[rank].index]);
    if (needsReordering(characters.map(([character]) => character))) return partOf(reading, characters);
    const shown = ranks.toSorted((one, other) => one - other).map((rank) => order[rank]);
    return partOf(reading, shown.map(({ index, character }) => [character, reading.characters[index][1]]));
  });
}

// Consecutive characters of a reading, as a separate reading (Prediction.part in dptr/inference/prediction.py).
export function partOf(reading, characters) {
  const product = characters.reduce((value, [, probability]) => value * probability, 1);
  const inside = reading.product > 0 && reading.product < 1 && product > 0;
  const share = inside ? Math.min(Math.log(product) / Math.log(reading.product), 1) : 1;
  const text = characters.map(([character]) => character).join("");
  return { ...reading, characters, text, confidence: reading.confidence ** share, product };
}

// The spans to read: every single piece, and consecutive pieces without a certain space between them. aspect: width /
// height of the line; longest: the same of a word, at most
export function possibleWords(gaps, aspect, longest) {
  const spans = [];
  gaps.pieces.forEach((_, first) => {
    for (let last = first; last < Math.min(gaps.pieces.length, first + MOST_INNER + 1); last += 1) {
      const [left, right] = bounds(gaps, [first, last]);
      if (last > first && (gaps.spaces[last - 1] >= CERTAIN || (right - left) * aspect > longest)) break;
      spans.push([first, last]);
    }
  });
  return spans;
}

// The best way to split a line, by dynamic programming: the spans of its words. confidence(span): the confidence of the
// reading of a span, undefined for a span that is not read
export function chooseWords(gaps, confidence) {
  const across = [0];
  for (const space of gaps.spaces) across.push(across.at(-1) + Math.log1p(-space)); // log probability that the first gaps are no spaces
  const best = [{ score: 0, words: [] }];
  for (let last = 0; last < gaps.pieces.length; last += 1) {
    let chosen = null;
    for (let first = 0; first <= last; first += 1) {
      const probability = confidence([first, last]);
      if (probability === undefined) continue;
      const score =
        best[first].score + WEIGHT * Math.log(Math.max(probability, WORST)) + (across[last] - across[first]) +
        (first ? Math.log(gaps.spaces[first - 1]) : 0);
      if (!chosen || score > chosen.score) chosen = { score, words: [...best[first].words, [first, last]] };
    }
    best.push(chosen);
  }
  return best.at(-1).words;
}
