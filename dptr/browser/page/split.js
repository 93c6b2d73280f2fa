// Lines to words: which gaps between letters are spaces, decided by what is read on either side (dptr/photo/split.py).
// A span is [first, last]: a word as the numbers of its pieces, which lie between gaps.

import { alignCharacters } from "./align.js";
import { needsReordering, visualOrder } from "./direction.js";
import { round } from "./sizes.js";

const EAGERNESS = 1.4; // log odds for a space, added to those that the columns say
const WEIGHT = 0.6; // exponent of the confidences of words, beside the probabilities of gaps
const CERTAIN = 0.97; // probability of a space from which on no word runs across it
const POSSIBLE = 0.01; // probability, of a column, below which it is of no gap
export const LONGEST = 12; // heights of a line that a word is long at most, unless the recognizer reads longer ones
const MOST_INNER = 5; // gaps that a word may run across
const LINE_ODDS = 3; // log odds for a space that a reading of the whole line adds, or takes off, times its confidence
const NEAR = 0.15; // of the height, that the middle of a space may be outside of its gap
const WORST = 1e-4; // confidence below which readings are equally bad

const probable = (value) => Math.min(Math.max(value, 1e-3), 1 - 1e-3);

// Where a word begins and ends, as fractions of the line's width.
export function bounds(gaps, [first, last]) {
  return [gaps.pieces[first][0], gaps.pieces[last][1]];
}

// Cuts a line where a space may be: pieces as fractions of its width, and how likely the gap after each is a space.
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

// Without the pieces at either end whose middle is outside; all of them if none is inside.
export function keepInner(gaps, left, right) {
  const inside = ([begin, end]) => left <= (begin + end) / 2 && (begin + end) / 2 <= right;
  const [first, last] = [gaps.pieces.findIndex(inside), gaps.pieces.findLastIndex(inside)];
  if (first < 0) return gaps;
  return { pieces: gaps.pieces.slice(first, last + 1), spaces: gaps.spaces.slice(first, last) };
}

// The gaps, more likely spaces where a reading of the whole line has one, and less where it has none.
export function weighSpaces(gaps, columns, reading, line) {
  const [left, right] = bounds(gaps, [0, gaps.pieces.length - 1]);
  const characters = visualOrder([...reading.text.trim()], line).map(({ character }) => character);
  const spots = alignCharacters(characters, columns, left, right);
  const near = (NEAR * columns.height) / columns.blank.length;
  const read = spots.filter((_, index) => characters[index] === " ").map(([begin, end]) => (begin + end) / 2);
  const spaces = gaps.spaces.map((probability, index) => {
    const [begin, end] = [gaps.pieces[index][1] - near, gaps.pieces[index + 1][0] + near];
    const sign = read.some((middle) => begin <= middle && middle <= end) ? 1 : -1;
    const odds = Math.log(probability / (1 - probability)) + sign * LINE_ODDS * reading.product;
    return probable(1 / (1 + Math.exp(-odds)));
  });
  return { pieces: gaps.pieces, spaces };
}

// The words of a reading with spaces (partOf), as they stand from left to right; those without leftward letters are
// spelled as they stand, too.
export function splitReading(reading, line) {
  const order = visualOrder(reading.characters.map(([character]) => character), line);
  const words = [[]]; // of each the ranks of its characters
  reading.characters.forEach(([character], index) => {
    if (character === " ") words.push([]);
    else words.at(-1).push(order.findIndex((each) => each.index === index));
  });
  const read = words.filter((ranks) => ranks.length);
  read.sort((one, other) => Math.min(...one) - Math.min(...other));
  return read.map((ranks) => {
    const own = ranks.map((rank) => reading.characters[order[rank].index]);
    if (needsReordering(own.map(([character]) => character))) return partOf(reading, own);
    const shown = ranks.toSorted((one, other) => one - other).map((rank) => order[rank]);
    return partOf(reading, shown.map(({ index, character }) => [character, reading.characters[index][1]]));
  });
}

// Some neighboring characters as a reading of their own (Prediction.part in dptr/inference/prediction.py).
export function partOf(reading, characters) {
  const product = characters.reduce((value, [, probability]) => value * probability, 1);
  const inside = reading.product > 0 && reading.product < 1 && product > 0;
  const share = inside ? Math.min(Math.log(product) / Math.log(reading.product), 1) : 1;
  const text = characters.map(([character]) => character).join("");
  return { ...reading, characters, text, confidence: reading.confidence ** share, product };
}

// The spans to read: every single piece, and neighbors that no certain space parts; aspect: width / height of the line;
// longest: that of a word.
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

// The way to split a line that is worth most; confidence: of what is read in a span, undefined for one not to be read.
export function chooseWords(gaps, confidence) {
  const across = [0];
  for (const space of gaps.spaces) across.push(across.at(-1) + Math.log1p(-space)); // running across the first gaps
  const best = [{ worth: 0, words: [] }];
  for (let last = 0; last < gaps.pieces.length; last += 1) {
    let chosen = null;
    for (let first = 0; first <= last; first += 1) {
      const sure = confidence([first, last]);
      if (sure === undefined) continue;
      const worth =
        best[first].worth + WEIGHT * Math.log(Math.max(sure, WORST)) + (across[last] - across[first]) +
        (first ? Math.log(gaps.spaces[first - 1]) : 0);
      if (!chosen || worth > chosen.worth) chosen = { worth, words: [...best[first].words, [first, last]] };
    }
    best.push(chosen);
  }
  return best.at(-1).words;
}
