// Forced alignment: the place of each character in a line, given the text, the approximate width of each letter, and
// the network's columns of blanks and edges (dptr/photo/align.py).

import { graphemes } from "./script.js";
import { round } from "./sizes.js";
import { measureWidths } from "./widths.js";

const STIFFNESS = 4; // weight of the usual widths relative to the network's columns
const FLOOR = 0.02; // the lowest probability of a column that counts; lower ones count as this

// characters: one or more, from left to right; left, right: the ends of the text, as fractions of the line's width.
// Returns [begin, end] of each character as such fractions. The characters of a grapheme cluster share one place. Ends
// lie near columns where letters end, spaces lie over blank columns, and each character has about its usual width.
export function alignCharacters(characters, columns, left, right) {
  const clusters = graphemes(characters);
  const spots = align(clusters, columns, left, right);
  return clusters.flatMap((cluster, index) => [...cluster].map(() => spots[index]));
}

function align(clusters, columns, left, right) {
  const count = columns.blank.length;
  const start = Math.min(Math.max(round(left * count), 0), count);
  const fine = Math.max(1, Math.ceil((3 * clusters.length) / Math.max(1, round(right * count) - start)));
  const steps = Math.max(clusters.length, round((right - left) * count) * fine);
  const places = Array.from({ length: steps + 1 }, (_, step) => Math.trunc(Math.min(Math.max(start + step / fine, 0), count - 1)));
  const log = (value) => Math.log(Math.max(value, FLOOR));
  const edge = places.map((place) => log(Math.max(columns.edges[place], columns.blank[place])));
  const [blank, solid] = [[0], [0]];
  for (const place of places.slice(0, -1)) {
    blank.push(blank.at(-1) + log(columns.blank[place]));
    solid.push(solid.at(-1) + log(1 - columns.blank[place]));
  }
  const widths = measureWidths(clusters);
  const sum = widths.reduce((total, width) => total + width, 0);
  const unit = steps / sum;
  let score = new Array(steps + 1).fill(-Infinity);
  score[0] = 0;
  const back = clusters.map((cluster, index) => {
    const usualWidth = widths[index] * unit;
    const [low, high] = [Math.max(1, Math.trunc(0.3 * usualWidth)), Math.max(2, Math.trunc(2.5 * usualWidth) + 1)];
    const columnSums = cluster === " " ? blank : solid;
    const before = score;
    score = new Array(steps + 1).fill(-Infinity);
    return score.map((_, end) => {
      let [best, longest] = [-Infinity, low];
      for (let length = low; length <= Math.min(high - 1, steps, end); length += 1) {
        const cost = (STIFFNESS * Math.log(length / usualWidth) ** 2) / 2;
        const value = before[end - length] + (columnSums[end] - columnSums[end - length]) / fine - cost;
        if (value > best) [best, longest] = [value, length];
      }
      score[end] = best + edge[end];
      return longest;
    });
  });
  let ends = [steps];
  for (let index = clusters.length - 1; index >= 0; index -= 1) ends.push(ends.at(-1) - back[index][ends.at(-1)]);
  ends.reverse();
  if (ends[0] !== 0 || !Number.isFinite(score[steps])) {
    ends = [0];
    for (const width of widths) ends.push(ends.at(-1) + (steps * width) / sum);
  }
  const marks = ends.map((end) => left + ((right - left) * end) / steps);
  return marks.slice(1).map((mark, index) => [marks[index], mark]);
}
