// Where a line of text is white: how likely each column is of no word (dptr/photo/spaces.py).

import { openSession } from "./recognizer.js";
import { resize } from "./resize.js";
import { round } from "./sizes.js";

const HEIGHT = 32; // pixels of the lines that the network reads
const COLUMNS = 16; // that it gives for a stretch as wide as the line is high
const WIDTH_STEP = 16; // pixels; widths are multiples of it
const MAX_WIDTH = 4096; // pixels; longer lines are squeezed
const FLAT = 0.15; // deviation of a column's pixels, of the line's, below which nothing is in it
const SURELY = 0.995; // probability of blank in flat stretches wider than half the height
const CONTRAST = 4; // gray levels added to a line's deviation, so that empty ones stay empty

export class SpaceFinder {
  static async open(ort, bytes) {
    return new SpaceFinder(ort, await openSession(ort, bytes));
  }

  constructor(ort, session) {
    Object.assign(this, { ort, session });
  }

  // { blank, edges, height }: probabilities of its columns from left to right, and how many columns it is high
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

function deviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return [mean, Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)];
}

function normalize({ data, width, height }) {
  const [mean, spread] = deviation(data);
  const plane = width * height;
  return Float32Array.from({ length: 3 * plane }, (_, at) => (data[(at % plane) * 3 + Math.floor(at / plane)] - mean) / (spread + CONTRAST));
}

// The columns of stretches wider than half the height in which no column changes from top to bottom.
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
