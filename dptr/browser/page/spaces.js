// Finds the blank columns of a line of text: a network gives the probability that a column belongs to no word
// (dptr/photo/spaces.py).

import { openSession } from "./recognizer.js";
import { resize } from "./resize.js";
import { round } from "./sizes.js";

const HEIGHT = 32; // pixels; the height of the network's input
const COLUMNS = 16; // columns of the output for a width equal to the height of the line
const WIDTH_STEP = 16; // pixels; the width of the input is a multiple of it
const MAX_WIDTH = 4096; // pixels; longer lines are squeezed
const FLAT = 0.15; // standard deviation of a column, relative to the line's, below which the column is flat
const SURELY = 0.995; // probability of blank in flat stretches wider than half the height
const CONTRAST = 4; // gray levels added to a line's standard deviation, so that an empty line stays empty

export class SpaceFinder {
  static async open(ort, bytes) {
    return new SpaceFinder(ort, await openSession(ort, bytes));
  }

  constructor(ort, session) {
    Object.assign(this, { ort, session });
  }

  // Returns { blank, edges, height }: for the columns of a line, from left to right, the probabilities that the column
  // is blank and that a letter ends there; and the height of the line in columns.
  async find(line) {
    const width = Math.min(Math.max(1, round((HEIGHT * line.width) / (line.height * WIDTH_STEP))) * WIDTH_STEP, MAX_WIDTH);
    const pixels = normalize(resize(line, width, HEIGHT));
    const input = new this.ort.Tensor("float32", pixels, [1, 3, HEIGHT, width]);
    const { columns } = await this.session.run({ pixels: input });
    const count = columns.dims[2];
    const wide = wideFlat(pixels, width);
    const blank = Array.from(columns.data.subarray(0, count), (value, column) => (wide[column] ? SURELY : value));
    return { blank, edges: Array.from(columns.data.subarray(count, 2 * count)), height: (count * line.height) / line.width };
  }
}

// The mean and the standard deviation.
function deviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return [mean, Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)];
}

function normalize({ data, width, height }) {
  const [mean, spread] = deviation(data);
  const plane = width * height;
  return Float32Array.from({ length: 3 * plane }, (_, at) => (data[(at % plane) * 3 + Math.floor(at / plane)] - mean) / (spread + CONTRAST));
}

// Whether each column is in a stretch of flat columns that is wider than half the height.
function wideFlat(pixels, width) {
  const step = HEIGHT / COLUMNS;
  const flat = Array.from({ length: width / step }, (_, column) => {
    for (let x = column * step; x < (column + 1) * step; x += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        const values = Array.from({ length: HEIGHT }, (_, y) => pixels[(channel * HEIGHT + y) * width + x]);
        if (deviation(values)[1] >= FLAT) return false;
      }
    }
    return true;
  });
  const wide = new Array(flat.length).fill(false);
  for (let start = 0; start < flat.length; start += 1) {
    if (!flat[start]) continue;
    let end = start;
    while (end < flat.length && flat[end]) end += 1;
    if (end - start > COLUMNS / 2) wide.fill(true, start, end);
    start = end;
  }
  return wide;
}
