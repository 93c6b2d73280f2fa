// Corrections of words by their neighbors in the line (dptr/photo/beside.py).

import { logicalOrder, needsReordering, visualOrder } from "./direction.js";
import { isUnspaced, isWideSign } from "./script.js";

const LEAST_CONFIDENCE = 0.4; // lowest confidence of a joined word
const NO_SPACE = 0.65; // heights of the line; a smaller gap between letters of scripts without spaces is no space
const NO_SPACE_BESIDE_SIGNS = 1; // the same beside wide punctuation such as 。, whose glyph is half empty

// Joins words of scripts without spaces. words: [[[left, right], reading]] of a view, from left to right
export function joinUnspaced({ gaps, likelyGaps, columns }, words) {
  const readSpaces = gaps.pieces.slice(0, -1).filter((_, gap) => likelyGaps.spaces[gap] > gaps.spaces[gap]).map(([, end]) => end);
  const scale = columns.blank.length / columns.height;
  const joined = [];
  for (const [[left, right], reading] of words) {
    const [[begin, end], last] = joined.at(-1) ?? [[], null];
    const confidence = last && last.confidence * reading.confidence;
    if (last && (left - end) * scale < widestGap(last, reading) && !readSpaces.includes(end) && confidence >= LEAST_CONFIDENCE) {
      const both = {
        ...last,
        text: last.text + reading.text,
        confidence,
        product: last.product * reading.product,
        characters: [...last.characters, ...reading.characters],
      };
      joined[joined.length - 1] = [[begin, right], both];
    } else joined.push([[left, right], reading]);
  }
  return joined;
}

// The gap, in heights of the line, below which two words are joined; 0 = never.
function widestGap(last, following) {
  const beside = [[...last.text].at(-1), [...following.text][0]];
  const letters = beside.filter(isUnspaced).length;
  if (last.runaway || following.runaway || letters + beside.filter(isWideSign).length < beside.length) return 0;
  return [0, NO_SPACE_BESIDE_SIGNS, NO_SPACE][letters];
}

// Puts the characters of signs and numbers in the order in which a line from right to left is read. Example: a Hebrew
// line ends in "2024."; the crop of that word alone shows ".2024". words: from left to right
export function readInLine(words, direction) {
  if (direction === "ltr") return words;
  const shown = words.map(({ text }) => visualOrder([...text]).map(({ character }) => character));
  const read = logicalOrder([...shown.flatMap((own) => [...own, " "]), "א"]); // makes the line run from right to left, even if it has only numbers
  let start = 0;
  return words.map((word, index) => {
    const [first, end] = [start, start + shown[index].length];
    start = end + 1;
    if (needsReordering([...word.text])) return word;
    const own = read.filter((each) => first <= each.index && each.index < end);
    const characters = own.map((each) => ({ ...word.characters[each.index - first], text: each.character }));
    return { ...word, text: own.map(({ character }) => character).join(""), characters };
  });
}
