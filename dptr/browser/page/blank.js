// Recognizes pictures of blank paper, in which a second, finer search would find nothing (dptr/photo/detect.py).

import { reduce } from "./resize.js";

const GRAIN = 12; // gray levels of 255; on blank paper, means of 4 x 4 pixels differ by no more from the means around them
const RADIUS = 4; // of the blur, in blocks of 4 x 4 pixels
const BITS = 24; // of fixed-point numbers
const SHARE = Math.trunc(2 ** BITS / (2 * RADIUS + 1)); // weight of one value in the mean, in fixed point

// Whether nothing stands out from the background by more than GRAIN; the grain and the shading of paper do not.
export function isBlank(picture) {
  const { width, height, data } = reduce(gray(picture), 4, 4);
  const means = new Uint8Array(width * height);
  for (let index = 0; index < means.length; index += 1) means[index] = data[3 * index];
  const across = blur(means, height, width, width, 1);
  const around = blur(across, width, height, 1, width);
  return means.every((value, index) => Math.abs(value - around[index]) <= GRAIN);
}

// Gray levels as in Pillow's conversion to "L", in all three channels.
function gray({ width, height, data }) {
  const result = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at += 3) {
    result.fill((data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 0x8000) >> 16, at, at + 3);
  }
  return { width, height, data: result };
}

// The mean of each value and the RADIUS values on either side, along lines. Beyond the ends, the last value is
// repeated. lines: the number of lines; length: values in a line; line, step: distances in the array between lines and
// values
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
