// Whether a picture is blank paper (dptr/photo/detect.py), of which a second search finds nothing.

import { reduce } from "./resize.js";

const GRAIN = 12; // of 255: by how much means of 4 x 4 pixels of blank paper differ from what is around them, at most
const RADIUS = 4;
const BITS = 24;
const SHARE = Math.trunc(2 ** BITS / (2 * RADIUS + 1)); // of a pixel in the mean around another

// Whether nothing stands out from its ground; the grain of paper and its shading do not.
export function isBlank(picture) {
  const { width, height, data } = reduce(gray(picture), 4, 4);
  const means = new Uint8Array(width * height);
  for (let index = 0; index < means.length; index += 1) means[index] = data[3 * index];
  const across = blur(means, height, width, width, 1);
  const around = blur(across, width, height, 1, width);
  return means.every((value, index) => Math.abs(value - around[index]) <= GRAIN);
}

// As Pillow does it, in each of the three bytes.
function gray({ width, height, data }) {
  const result = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at += 3) {
    result.fill((data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 0x8000) >> 16, at, at + 3);
  }
  return { width, height, data: result };
}

// Means of each value and RADIUS others on both sides, along lines; the values at the ends go on beyond them.
function blur(values, lines, length, line, step) {
  const result = new Uint8Array(values.length);
  for (let number = 0; number < lines; number += 1) {
    const at = (place) => values[number * line + Math.min(Math.max(place, 0), length - 1) * step];
    let sum = 0;
    for (let place = -RADIUS; place <= RADIUS; place += 1) sum += at(place);
    for (let place = 0; place < length; place += 1) {
      result[number * line + place * step] = Math.floor((sum * SHARE + 2 ** (BITS - 1)) / 2 ** BITS);
      sum += at(place + RADIUS + 1) - at(place - RADIUS);
    }
  }
  return result;
}
