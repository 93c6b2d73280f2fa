// Cuts boxes out of a picture as upright rectangles, and maps places in these back to the picture
// (dptr/photo/rectify.py). Points are [x, y].

import { cut, extend } from "./picture.js";
import { reduce } from "./resize.js";
import { round } from "./sizes.js";

const MAX_SIDE = 4096; // pixels; the longest side of a crop
const OVERSIZE = 2; // a part of the picture larger than this many times the crop is averaged down first

// The mean width (along the text) and the mean height of a box.
export function sideLengths(box) {
  const lengths = box.map(([x, y], index) => Math.hypot(box[(index + 1) % 4][0] - x, box[(index + 1) % 4][1] - y));
  return [(lengths[0] + lengths[2]) / 2, (lengths[1] + lengths[3]) / 2];
}

// The box, longer by a number of pixels at both ends of its text.
export function lengthen(box, margin) {
  const step = (from, to) => {
    const [x, y] = [to[0] - from[0], to[1] - from[1]];
    const length = Math.max(Math.hypot(x, y), 1e-6);
    return [(margin * x) / length, (margin * y) / length];
  };
  const [above, below] = [step(box[0], box[1]), step(box[3], box[2])];
  const moves = [[above, -1], [above, 1], [below, 1], [below, -1]];
  return box.map(([x, y], corner) => {
    const [[dx, dy], sign] = moves[corner];
    return [x + sign * dx, y + sign * dy];
  });
}

// The quadrilateral in the picture that corresponds to a rectangle in the rectified box. left, top, right, bottom:
// fractions of the box's sides
export function locate(box, left, top, right, bottom) {
  const m = homography([[0, 0], [1, 0], [1, 1], [0, 1]], box);
  return [[left, top], [right, top], [right, bottom], [left, bottom]].map(([x, y]) => {
    const depth = m[6] * x + m[7] * y + 1;
    return [(m[0] * x + m[1] * y + m[2]) / depth, (m[3] * x + m[4] * y + m[5]) / depth];
  });
}

// The projective map from four points to four others: its first eight coefficients; the ninth is 1. Solves the linear
// equations by Gauss-Jordan elimination with pivoting.
function homography(source, target) {
  const rows = source.flatMap(([x, y], index) => {
    const [u, v] = target[index];
    return [[x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]];
  });
  for (let column = 0; column < 8; column += 1) {
    let pivot = column;
    for (let row = column + 1; row < 8; row += 1) if (Math.abs(rows[row][column]) > Math.abs(rows[pivot][column])) pivot = row;
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let row = 0; row < 8; row += 1) {
      if (row === column) continue;
      const factor = rows[row][column] / rows[column][column];
      for (let at = column; at < 9; at += 1) rows[row][at] -= factor * rows[column][at];
    }
  }
  return rows.map((row, index) => row[8] / row[index]);
}

// The box as an upright picture of about its size. Outside the picture, its edge is repeated.
export function rectify(picture, box) {
  const [width, height] = sideLengths(box).map((side) => Math.max(1, round(side)));
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  const size = [Math.max(1, round(scale * width)), Math.max(1, round(scale * height))];
  const [xs, ys] = [box.map(([x]) => x), box.map(([, y]) => y)];
  const [left, top] = [Math.trunc(Math.min(...xs) - 2), Math.trunc(Math.min(...ys) - 2)];
  const [right, bottom] = [Math.trunc(Math.max(...xs) + 3), Math.trunc(Math.max(...ys) + 3)];
  const bounds = [
    Math.min(Math.max(left, 0), picture.width - 1), Math.min(Math.max(top, 0), picture.height - 1),
    Math.max(Math.min(right, picture.width), 1), Math.max(Math.min(bottom, picture.height), 1),
  ];
  const factor = Math.max(1, Math.trunc(Math.max(width / size[0], height / size[1]) / OVERSIZE));
  const part = reduce(cut(picture, ...bounds), factor, factor);
  const beyond = [-left, -top, right - picture.width, bottom - picture.height]
    .map((side) => Math.floor(Math.max(0, side) / factor) + 1);
  const frame = [[0, 0], [size[0], 0], size, [0, size[1]]];
  const target = box.map(([x, y]) => [(x - bounds[0]) / factor + beyond[0], (y - bounds[1]) / factor + beyond[1]]);
  return transform(extend(part, ...beyond), ...size, homography(frame, target));
}

// A projective transform as Pillow's PERSPECTIVE with the bicubic filter: black outside the picture, and values are
// truncated. m: coefficients from output to input
export function transform({ width, height, data }, wide, high, m) {
  const result = new Uint8Array(wide * high * 3);
  const cubic = (a, b, c, d, t) => b + t * (c - a + t * (2 * (a - b) + c - d + t * (b - a - c + d)));
  const columns = [0, 0, 0, 0];
  const values = [0, 0, 0, 0];
  for (let y = 0, to = 0; y < high; y += 1) {
    for (let x = 0; x < wide; x += 1, to += 3) {
      const [u, v] = [x + 0.5, y + 0.5];
      const depth = m[6] * u + m[7] * v + 1;
      let across = (m[0] * u + m[1] * v + m[2]) / depth;
      let down = (m[3] * u + m[4] * v + m[5]) / depth;
      if (!(across >= 0 && across < width && down >= 0 && down < height)) continue;
      across -= 0.5;
      down -= 0.5;
      const [column, row] = [Math.floor(across), Math.floor(down)];
      const [dx, dy] = [across - column, down - row];
      for (let tap = 0; tap < 4; tap += 1) columns[tap] = Math.min(Math.max(column - 1 + tap, 0), width - 1) * 3;
      for (let channel = 0; channel < 3; channel += 1) {
        for (let tap = 0; tap < 4; tap += 1) {
          const start = Math.min(Math.max(row - 1 + tap, 0), height - 1) * width * 3 + channel;
          const [a, b, c, d] = columns;
          values[tap] = cubic(data[start + a], data[start + b], data[start + c], data[start + d], dx);
        }
        const value = cubic(...values, dy);
        result[to + channel] = value <= 0 ? 0 : value >= 255 ? 255 : Math.trunc(value);
      }
    }
  }
  return { width: wide, height: high, data: result };
}
