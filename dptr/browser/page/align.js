// Where each character of a line stands: the text is known, and roughly how wide letters are and where they end
// (dptr/photo/align.py).

import { graphemes } from "./script.js";
import { round } from "./sizes.js";
import { measureWidths } from "./widths.js";

const STIFFNESS = 4; // of widths, against what the network sees
const FLOOR = 0.02; // probability below which the network does not count

// characters: from left to right, one or more; left, right: fractions of the line's width. Returns [begin, end] of each,
// those of a grapheme cluster at one place: near where one ends and the next begins, spaces over blank columns, each about
// as wide as such ones are.
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
  let worth = new Array(steps + 1).fill(-Infinity);
  worth[0] = 0;
  const back = clusters.map((cluster, index) => {
    const usual = widths[index] * unit;
    const [low, high] = [Math.max(1, Math.trunc(0.3 * usual)), Math.max(2, Math.trunc(2.5 * usual) + 1)];
    const held = cluster === " " ? blank : solid;
    const before = worth;
    worth = new Array(steps + 1).fill(-Infinity);
    return worth.map((_, end) => {
      let [best, longest] = [-Infinity, low];
      for (let length = low; length <= Math.min(high - 1, steps, end); length += 1) {
        const cost = (STIFFNESS * Math.log(length / usual) ** 2) / 2;
        const value = before[end - length] + (held[end] - held[end - length]) / fine - cost;
        if (value > best) [best, longest] = [value, length];
      }
      worth[end] = best + edge[end];
      return longest;
    });
  });
  let ends = [steps];
  for (let index = clusters.length - 1; index >= 0; index -= 1) ends.push(ends.at(-1) - back[index][ends.at(-1)]);
  ends.reverse();
  if (ends[0] !== 0 || !Number.isFinite(worth[steps])) {
    ends = [0];
    for (const width of widths) ends.push(ends.at(-1) + (steps * width) / sum);
  }
  const marks = ends.map((end) => left + ((right - left) * end) / steps);
  return marks.slice(1).map((mark, index) => [marks[index], mark]);
}
