// What was read in lines as a page, as 'dptr ocr --format json' writes it (dptr/photo/assemble.py).

import { alignCharacters } from "./align.js";
import { joinUnspaced, readInLine } from "./beside.js";
import { kindOf, needsReordering, logicalOrder, visualOrder } from "./direction.js";
import { measureAngle, orderBoxes } from "./order.js";
import { locate } from "./rectify.js";
import { mostRunLeft, runsLeft } from "./script.js";
import { bounds, partOf } from "./split.js";

const SCHEMA = 1;
const STAND_FOR = [["R", "א"], ["A", "א"], ["L", "a"], ["E", "1"], ["N", "1"]]; // by the first class that a word has
const INSET = 0.12; // of the height of a detected box, which is grown to be read, above and below the text

export function assemblePage({ width, height }, lines) {
  const parts = lines.map((line) => readPart(line.choose())).filter((part) => part.words.length);
  const texts = parts.flatMap((part) => part.words.map((word) => word.text));
  const leftward = mostRunLeft(texts);
  const ordered = orderBoxes(parts.map((part) => part.box), leftward).map(({ boxes, block }) => {
    const own = (leftward ? boxes.toReversed() : boxes).map((index) => parts[index]);
    const shown = own.flatMap((part) => part.words);
    const rowLeftward = mostRunLeft(shown.map((word) => word.text), leftward);
    const words = rowLeftward ? orderLeftward(readInLine(shown, own[0].direction), own[0].direction) : shown;
    const turned = alignDirections(words.map((word) => word.box));
    const [first, last] = [turned[0], turned.at(-1)];
    const angle = Math.round(100 * measureAngle(own.at(rowLeftward ? -1 : 0).box)) / 100;
    const text = words.map((word) => word.text).join(" ");
    return { text, box: [first[0], last[1], last[2], first[3]], angle, block, words };
  });
  const text = ordered
    .map((line, index) => (index && line.block !== ordered[index - 1].block ? "\n" : "") + line.text)
    .join("\n");
  return { schema: SCHEMA, source: "", page: 1, width, height, text, lines: ordered, notes: [] };
}

// Words from left to right, of a line that runs from right to left, in the order in which they are read.
function orderLeftward(words, direction) {
  const shown = [...words.flatMap((word) => [standFor(word.text), " "]), "א"]; // the line begins on the right, also one of numbers
  const places = logicalOrder(shown, direction).map(({ index }) => index);
  return places.filter((index) => index % 2 === 0 && index < shown.length - 1).map((index) => words[index / 2]);
}

// A character of the direction of a word.
function standFor(text) {
  const kinds = [...text].map(kindOf);
  return STAND_FOR.find(([kind]) => kinds.includes(kind))?.[1] ?? "-";
}

// The words read in one box, from left to right, the box around them, and the direction of its view.
function readPart(view) {
  const found = view.chosen().filter(({ reading }) => reading.text.trim()).map(({ span, reading }) => [bounds(view.gaps, span), reading]);
  const read = joinUnspaced(view, found);
  const words = read.flatMap(([[left, right], reading]) => wordsOf(view, reading, left, right));
  return { words, direction: view.direction, box: read.length ? place(view, read[0][0][0], read.at(-1)[0][1]) : [] };
}

// The words that were read between two places of a line; more than one if the reading holds spaces. Those without
// leftward letters are spelled as they stand; their line says how they are read (readInLine).
function wordsOf(view, reading, left, right) {
  const leading = reading.characters.findIndex(([character]) => character.trim());
  const trailing = reading.characters.findLastIndex(([character]) => character.trim());
  const pairs = reading.characters.slice(leading, trailing + 1);
  const characters = pairs.map(([character]) => character);
  const leftward = runsLeft(reading.text);
  const order = visualOrder(characters, view.direction);
  const ranks = characters.map((_, place) => order.findIndex(({ index }) => index === place));
  const aligned = alignCharacters(order.map(({ index }) => characters[index]), view.columns, left, right);
  const spots = ranks.map((rank) => aligned[rank]);
  const words = [];
  for (let start = 0; start < pairs.length; start += 1) {
    let end = start;
    while (end < pairs.length && characters[end] !== " ") end += 1;
    if (end === start) continue;
    const alone = !characters.includes(" ");
    const own = spots.slice(start, end);
    const places = ranks.slice(start, end).map((_, index) => start + index);
    const turned = needsReordering(characters.slice(start, end));
    if (!turned) places.sort((one, other) => ranks[one] - ranks[other]);
    const spelled = places.map((place) => (turned ? characters[place] : order[ranks[place]].character));
    words.push({
      left: Math.min(...own.map(([begin]) => begin)),
      text: spelled.join(""),
      confidence: short(alone ? reading.confidence : partOf(reading, pairs.slice(start, end)).confidence),
      box: place(view, Math.min(...own.map(([begin]) => begin)), Math.max(...own.map(([, stop]) => stop)), leftward),
      characters: places.map((each, index) => ({
        text: spelled[index], confidence: short(pairs[each][1]), box: place(view, ...spots[each], leftward),
      })),
    });
    start = end;
  }
  return words.sort((one, other) => one.left - other.left).map(({ left: _, ...word }) => word);
}

// A stretch of a line in the picture.
function place(view, left, right, leftward = false) {
  const points = locate(view.box, left, INSET, right, 1 - INSET).map((point) => point.map((side) => Math.round(100 * side) / 100));
  return leftward ? reverse(points) : points;
}

// A box that begins at the other end of its text.
function reverse([a, b, c, d]) {
  return [b, a, d, c];
}

// The boxes of words that follow each other, all beginning on the side from which the line comes.
function alignDirections(boxes) {
  if (boxes.length < 2) return boxes;
  const middles = boxes.map((box) => [0, 1].map((axis) => box.reduce((sum, point) => sum + point[axis], 0) / 4));
  return boxes.map((box, index) => {
    const begin = Math.min(index, boxes.length - 2);
    const way = [0, 1].map((axis) => middles[begin + 1][axis] - middles[begin][axis]);
    const along = (box[1][0] - box[0][0]) * way[0] + (box[1][1] - box[0][1]) * way[1];
    return along < 0 ? reverse(box) : box;
  });
}

function short(probability) {
  return Number(probability.toPrecision(6));
}
