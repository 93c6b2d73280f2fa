// Assembles the readings of lines into a page, in the format of 'dptr ocr --format json' (dptr/photo/assemble.py).

import { alignCharacters } from "./align.js";
import { joinUnspaced, readInLine } from "./beside.js";
import { kindOf, needsReordering, logicalOrder, visualOrder } from "./direction.js";
import { measureAngle, orderBoxes } from "./order.js";
import { locate } from "./rectify.js";
import { mostRunLeft, runsLeft } from "./script.js";
import { bounds, partOf } from "./split.js";

const SCHEMA = 1;
const STAND_FOR = [["R", "א"], ["A", "א"], ["L", "a"], ["E", "1"], ["N", "1"]]; // by the first of these classes that a word has
const INSET = 0.12; // removed above and below the text, in heights of the detected box, which was grown for reading

export function assemblePage({ width, height }, lines) {
  const parts = lines.map((line) => readPart(line.bestView())).filter((part) => part.words.length);
  const texts = parts.flatMap((part) => part.words.map((word) => word.text));
  const leftward = mostRunLeft(texts);
  const ordered = orderBoxes(parts.map((part) => part.box), leftward).map(({ boxes, block }) => {
    const rowParts = (leftward ? boxes.toReversed() : boxes).map((index) => parts[index]);
    const shown = rowParts.flatMap((part) => part.words);
    const rowLeftward = mostRunLeft(shown.map((word) => word.text), leftward);
    const words = rowLeftward ? orderLeftward(readInLine(shown, rowParts[0].direction), rowParts[0].direction) : shown;
    const turned = alignDirections(words.map((word) => word.box));
    const [first, last] = [turned[0], turned.at(-1)];
    const angle = Math.round(100 * measureAngle(rowParts.at(rowLeftward ? -1 : 0).box)) / 100;
    const text = words.map((word) => word.text).join(" ");
    return { text, box: [first[0], last[1], last[2], first[3]], angle, block, words };
  });
  const text = ordered
    .map((line, index) => (index && line.block !== ordered[index - 1].block ? "\n" : "") + line.text)
    .join("\n");
  return { schema: SCHEMA, source: "", page: 1, width, height, text, lines: ordered, notes: [] };
}

// The words of a line that runs from right to left, in reading order. words: from left to right
function orderLeftward(words, direction) {
  const shown = [...words.flatMap((word) => [standFor(word.text), " "]), "א"]; // makes the line run from right to left, even if it has only numbers
  const places = logicalOrder(shown, direction).map(({ index }) => index);
  return places.filter((index) => index % 2 === 0 && index < shown.length - 1).map((index) => words[index / 2]);
}

// A character with the bidirectional class of a word.
function standFor(text) {
  const kinds = [...text].map(kindOf);
  return STAND_FOR.find(([kind]) => kinds.includes(kind))?.[1] ?? "-";
}

// The words read in one box, from left to right, with the box around them and the direction of the view.
function readPart(view) {
  const chosen = view.chosenWords().filter(({ reading }) => reading.text.trim()).map(({ span, reading }) => [bounds(view.gaps, span), reading]);
  const read = joinUnspaced(view, chosen);
  const words = read.flatMap(([[left, right], reading]) => wordsOf(view, reading, left, right));
  return { words, direction: view.direction, box: read.length ? place(view, read[0][0][0], read.at(-1)[0][1]) : [] };
}

// The words in a reading of the part of a line from left to right (fractions of its width); more than one if the
// reading has spaces. Words without letters that run from right to left keep the order in which they stand; readInLine
// orders their characters.
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
    const wordSpots = spots.slice(start, end);
    const places = ranks.slice(start, end).map((_, index) => start + index);
    const turned = needsReordering(characters.slice(start, end));
    if (!turned) places.sort((one, other) => ranks[one] - ranks[other]);
    const spelled = places.map((place) => (turned ? characters[place] : order[ranks[place]].character));
    words.push({
      left: Math.min(...wordSpots.map(([begin]) => begin)),
      text: spelled.join(""),
      confidence: short(alone ? reading.confidence : partOf(reading, pairs.slice(start, end)).confidence),
      box: place(view, Math.min(...wordSpots.map(([begin]) => begin)), Math.max(...wordSpots.map(([, stop]) => stop)), leftward),
      characters: places.map((each, index) => ({
        text: spelled[index], confidence: short(pairs[each][1]), box: place(view, ...spots[each], leftward),
      })),
    });
    start = end;
  }
  return words.sort((one, other) => one.left - other.left).map(({ left: _, ...word }) => word);
}

// The quadrilateral in the picture that a part of a line covers. left, right: fractions of the line's width
function place(view, left, right, leftward = false) {
  const points = locate(view.box, left, INSET, right, 1 - INSET).map((point) => point.map((side) => Math.round(100 * side) / 100));
  return leftward ? reverse(points) : points;
}

// A box whose text runs in the other direction.
function reverse([a, b, c, d]) {
  return [b, a, d, c];
}

// The boxes of consecutive words, each with its corners in the direction of the line.
function alignDirections(boxes) {
  if (boxes.length < 2) return boxes;
  const middles = boxes.map((box) => [0, 1].map((axis) => box.reduce((sum, point) => sum + point[axis], 0) / 4));
  return boxes.map((box, index) => {
    const begin = Math.min(index, boxes.length - 2);
    const direction = [0, 1].map((axis) => middles[begin + 1][axis] - middles[begin][axis]);
    const along = (box[1][0] - box[0][0]) * direction[0] + (box[1][1] - box[0][1]) * direction[1];
    return along < 0 ? reverse(box) : box;
  });
}

function short(probability) {
  return Number(probability.toPrecision(6));
}
