// Detects text: the network of PP-OCRv6 in onnxruntime-web maps the probability of text, and boxes come from this map
// as in DB, differentiable binarization (dptr/photo/detect.py).

import { isBlank } from "./blank.js";
import { regions, smallestRectangle } from "./components.js";
import { cut, extend } from "./picture.js";
import { openSession } from "./recognizer.js";
import { shrink } from "./resize.js";
import { round } from "./sizes.js";

const STRIDE = 32; // pixels; the sides of the network's input are multiples of it
const SHORT_SIDE = 832; // pixels; the shorter side of a picture at the usual scale
const LONG_SIDE = 1600; // pixels; the longest side that the network reads at once
const ENLARGE = 3; // the largest scale
const TILED_SIDE = 4000; // pixels; the longer side, at most, of a picture that is searched in tiles for small text
const TILED_GAIN = 1.25; // the least gain in scale for which a picture is searched in tiles
const TILE_MARGIN = 64; // pixels around a tile that the network also reads
const SMALL_TEXT = 20; // pixels; text is small if the median shorter side of the boxes, as the network saw them, is less
const [THRESHOLD, LEAST_SCORE, UNCLIP, LEAST_SIDE] = [0.3, 0.5, 1.6, 3];
const HALF_RANGE = 127.5;

export class Detector {
  static async open(ort, bytes) {
    return new Detector(ort, await openSession(ort, bytes));
  }

  constructor(ort, session) {
    Object.assign(this, { ort, session });
  }

  // The boxes of text in pixels of the picture: four corners each, clockwise. onProgress(text): called with the progress
  async find(picture, onProgress) {
    const [short, long] = [picture.width, picture.height].sort((one, two) => one - two);
    let scale = Math.min(SHORT_SIDE / short, ENLARGE);
    scale = Math.min(Math.max(scale, Math.min(1, LONG_SIDE / long)), LONG_SIDE / long);
    onProgress("Looking for text …");
    const boxes = await this.findAt(picture, scale, () => {});
    const fine = Math.min(1, TILED_SIDE / long);
    if (fine > TILED_GAIN * scale) {
      if (!boxes.length) return isBlank(picture) ? boxes : this.findAt(picture, fine, onProgress);
      const sides = boxes.map((box) => Math.min(...sideLengths(box)) * scale).sort((one, two) => one - two);
      const middle = (sides[Math.floor((sides.length - 1) / 2)] + sides[Math.floor(sides.length / 2)]) / 2;
      if (middle < SMALL_TEXT) return this.findAt(picture, fine, onProgress);
    }
    return boxes;
  }

  async findAt(picture, scale, onProgress) {
    const width = Math.max(1, round(picture.width * scale));
    const height = Math.max(1, round(picture.height * scale));
    const map = await this.mapText(shrink(picture, width, height), onProgress);
    const [across, down] = [picture.width / width, picture.height / height];
    return findBoxes(map, width, height).map((box) => box.map(([x, y]) => [x * across, y * down]));
  }

  // The probability of text at each pixel. Large pictures are read in tiles.
  async mapText(picture, onProgress) {
    const { width, height } = picture;
    const text = new Float32Array(width * height);
    const tiles = stretches(height).flatMap((rows) => stretches(width).map((columns) => [rows, columns]));
    for (const [index, [[top, bottom], [left, right]]] of tiles.entries()) {
      onProgress(`Looking for small text, part ${index + 1} of ${tiles.length} …`);
      const [above, before] = [Math.max(top - TILE_MARGIN, 0), Math.max(left - TILE_MARGIN, 0)];
      const tile = cut(picture, before, above, Math.min(right + TILE_MARGIN, width), Math.min(bottom + TILE_MARGIN, height));
      const [part, row] = await this.run(tile);
      for (let y = top; y < bottom; y += 1) {
        const from = (y - above) * row + left - before;
        text.set(part.subarray(from, from + right - left), y * width + left);
      }
    }
    return text;
  }

  // The map of a tile, and the number of values in a row of the map.
  async run({ width, height, data }) {
    const more = [(STRIDE - (width % STRIDE)) % STRIDE, (STRIDE - (height % STRIDE)) % STRIDE];
    const filled = extend({ width, height, data }, 0, 0, ...more);
    const plane = filled.width * filled.height;
    const pixels = new Float32Array(3 * plane);
    for (let index = 0, from = 0; index < plane; index += 1, from += 3) {
      pixels[index] = filled.data[from + 2] / HALF_RANGE - 1; // blue, green, red
      pixels[plane + index] = filled.data[from + 1] / HALF_RANGE - 1;
      pixels[2 * plane + index] = filled.data[from] / HALF_RANGE - 1;
    }
    const input = new this.ort.Tensor("float32", pixels, [1, 3, filled.height, filled.width]);
    const output = await this.session.run({ [this.session.inputNames[0]]: input });
    return [output[this.session.outputNames[0]].data, filled.width];
  }
}

// Splits a length into equal parts of at most LONG_SIDE: [[begin, end], ...].
function stretches(length) {
  const count = Math.ceil(length / LONG_SIDE);
  const ends = Array.from({ length: count + 1 }, (_, index) => round((index * length) / count));
  return ends.slice(1).map((end, index) => [ends[index], end]);
}

// The boxes of text in a map. The network marks only the core of each text, so the smallest rectangle around it is
// grown on each side by UNCLIP * area / perimeter.
function findBoxes(map, width, height) {
  const boxes = [];
  for (const runs of regions(map, width, height, THRESHOLD)) {
    let [sum, pixels] = [0, 0];
    for (const { row, first, after } of runs) {
      for (let at = row * width + first; at < row * width + after; at += 1) sum += map[at];
      pixels += after - first;
    }
    if (sum / pixels < LEAST_SCORE) continue;
    const corners = runs.flatMap(({ row, first, after }) => [[first, row], [first, row + 1], [after, row], [after, row + 1]]);
    const box = smallestRectangle(corners);
    const [wide, high] = sideLengths(box);
    if (Math.min(wide, high) >= LEAST_SIDE) boxes.push(grow(box, (UNCLIP * wide * high) / (2 * (wide + high))));
  }
  return boxes;
}

const minus = (one, two) => [one[0] - two[0], one[1] - two[1]];

// The lengths of the upper and of the left side.
function sideLengths(box) {
  return [Math.hypot(...minus(box[1], box[0])), Math.hypot(...minus(box[3], box[0]))];
}

function grow(box, margin) {
  const scaled = ([x, y]) => [(margin * x) / Math.hypot(x, y), (margin * y) / Math.hypot(x, y)];
  const [right, down] = [scaled(minus(box[1], box[0])), scaled(minus(box[3], box[0]))];
  const signs = [[-1, -1], [1, -1], [1, 1], [-1, 1]];
  return box.map(([x, y], corner) => {
    const [along, across] = signs[corner];
    return [x + along * right[0] + across * down[0], y + along * right[1] + across * down[1]];
  });
}
