// Finds the reading order by an XY cut: empty stripes of the page separate columns and rows (dptr/photo/order.py).

import { sideLengths } from "./rectify.js";
import { round } from "./sizes.js";

// Gaps are in heights of a line.
const COLUMN_GAP = 1; // least gap between two columns
const WORD_GAP = 1.5; // largest gap between two boxes of one line
const BLOCK_GAP = 1; // least vertical gap between two blocks
const SHARED = 0.5; // least vertical overlap of two boxes of one line, relative to the lower height
const ALIKE = 2; // largest ratio of the heights of two boxes of one line

const [LEFT, TOP, RIGHT, BOTTOM] = [0, 1, 2, 3]; // indices into a frame

function median(values) {
  const sorted = [...values].sort((one, two) => one - two);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.floor(sorted.length / 2)]) / 2;
}

// The direction of the text in a box, in degrees clockwise from the horizontal, above -180 and up to 180.
export function measureAngle([a, b, c, d]) {
  const angle = (Math.atan2(b[1] + c[1] - a[1] - d[1], b[0] + c[0] - a[0] - d[0]) * 180) / Math.PI;
  return angle <= -180 ? 180 : angle;
}

// The rows of text in reading order: [{ boxes: indices, block }]. leftward: whether text runs from right to left
export function orderBoxes(boxes, leftward) {
  if (!boxes.length) return [];
  const angles = boxes.map((box) => (measureAngle(box) * Math.PI) / 180);
  const sum = (part) => boxes.reduce((total, box, index) => total + sideLengths(box)[0] * part(angles[index]), 0);
  let main = Math.atan2(sum((angle) => Math.sin(2 * angle)), sum((angle) => Math.cos(2 * angle))) / 2;
  if (sum((angle) => Math.cos(angle - main)) < 0) main += Math.PI; // the page is upside down
  const [cos, sin, side] = [Math.cos(main), Math.sin(main), leftward ? -1 : 1];
  const heights = findHeights(boxes);
  const frames = boxes.map((box, index) => {
    const turned = box.map(([x, y]) => [side * (x * cos + y * sin), y * cos - x * sin]);
    const [xs, ys] = [turned.map(([x]) => x), turned.map(([, y]) => y)];
    const frame = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    if (Math.abs(Math.sin(angles[index] - main)) < 0.5) { // parallel to the page: the frame around a slightly tilted box is too high
      const [middle, height] = [(frame[TOP] + frame[BOTTOM]) / 2, heights[index]];
      [frame[TOP], frame[BOTTOM]] = [middle - height / 2, middle + height / 2];
    }
    return frame;
  });
  return findBlocks(boxes.map((_, index) => index), frames).flatMap((lines, block) => lines.map((line) => ({ boxes: line, block })));
}

// The approximate height of the letters in each box: the shorter side; but the vertical side if it is not unusually
// long, as for a box of one narrow letter.
function findHeights(boxes) {
  const sides = boxes.map(sideLengths);
  const long = sides.filter(([width, height]) => width >= height);
  const usual = median((long.length ? long : sides).map((both) => Math.min(...both)));
  return sides.map((both) => (both[1] <= ALIKE * usual ? both[1] : Math.min(...both)));
}

function findBlocks(members, frames) {
  const bands = findBands(members, frames);
  const blocks = [];
  for (let start = 0; start < bands.length; ) {
    let columns = [];
    let end = start + 1;
    if (bands[start].length > 1) {
      for (let stop = bands.length; stop > start && !columns.length; stop -= 1) {
        columns = findColumns(bands.slice(start, stop), frames);
        if (columns.length) end = stop;
      }
    }
    if (columns.length) for (const column of columns) blocks.push(...findBlocks(column, frames));
    else for (const line of findLines(bands[start], frames)) append(blocks, line, frames);
    start = end;
  }
  return blocks;
}

// Groups boxes into horizontal bands, from top to bottom. A box belongs to a band if its center is above the band's
// bottom.
function findBands(members, frames) {
  const middle = (member) => (frames[member][TOP] + frames[member][BOTTOM]) / 2;
  const bands = [];
  let bottom = -Infinity;
  for (const member of [...members].sort((one, two) => middle(one) - middle(two))) {
    if (middle(member) >= bottom) {
      bands.push([]);
      bottom = -Infinity;
    }
    bands.at(-1).push(member);
    bottom = Math.max(bottom, frames[member][BOTTOM]);
  }
  return bands;
}

// The columns of bands, from left to right, if gaps separate them and at least two have several lines; otherwise none.
function findColumns(bands, frames) {
  const members = bands.flat();
  const height = median(members.map((member) => frames[member][BOTTOM] - frames[member][TOP]));
  const columns = [];
  let right = -Infinity;
  for (const member of [...members].sort((one, two) => frames[one][LEFT] - frames[two][LEFT])) {
    if (frames[member][LEFT] > right + COLUMN_GAP * height) columns.push([]);
    columns.at(-1).push(member);
    right = Math.max(right, frames[member][RIGHT]);
  }
  const tall = columns.filter((column) => findBands(column, frames).length > 1);
  const shared = bands.map((band) => columns.filter((column) => column.some((member) => band.includes(member))).length > 1);
  if (tall.length < 2 || !shared[0]) return [];
  // Below the last row with several columns, a single column may continue, but only without a gap.
  for (let row = shared.lastIndexOf(true); row < bands.length - 1; row += 1) {
    const below = Math.min(...bands[row + 1].map((member) => frames[member][TOP]));
    const above = Math.max(...bands[row].map((member) => frames[member][BOTTOM]));
    if (below - above > BLOCK_GAP * height) return [];
  }
  return columns;
}

// The lines of a band, sorted by their tops and then from left to right.
function findLines(band, frames) {
  const lines = [];
  for (const member of [...band].sort((one, two) => frames[one][LEFT] - frames[two][LEFT])) {
    const gap = (line) => frames[member][LEFT] - frames[line.at(-1)][RIGHT];
    const fitting = lines.filter((line) => follows(frames[line.at(-1)], frames[member]));
    if (fitting.length) fitting.reduce((best, line) => (gap(line) < gap(best) ? line : best)).push(member);
    else lines.push([member]);
  }
  const height = median(band.map((member) => frames[member][BOTTOM] - frames[member][TOP]));
  const first = Math.min(...band.map((member) => frames[member][TOP]));
  const top = (line) => round((Math.min(...line.map((member) => frames[member][TOP])) - first) / height);
  return lines.sort((one, two) => top(one) - top(two) || frames[one[0]][LEFT] - frames[two[0]][LEFT]);
}

function follows(before, after) {
  const heights = [before[BOTTOM] - before[TOP], after[BOTTOM] - after[TOP]];
  const [low, high] = [Math.min(...heights), Math.max(...heights)];
  const shared = Math.min(before[BOTTOM], after[BOTTOM]) - Math.max(before[TOP], after[TOP]);
  return after[LEFT] - before[RIGHT] < WORD_GAP * high && shared > SHARED * low && high < ALIKE * low;
}

// Adds a line to the last block if it continues this block; otherwise it begins a new block.
function append(blocks, line, frames) {
  const measure = (members) => ({
    height: median(members.map((member) => frames[member][BOTTOM] - frames[member][TOP])),
    left: Math.min(...members.map((member) => frames[member][LEFT])),
    right: Math.max(...members.map((member) => frames[member][RIGHT])),
    top: Math.min(...members.map((member) => frames[member][TOP])),
    bottom: Math.max(...members.map((member) => frames[member][BOTTOM])),
  });
  if (blocks.length) {
    const [above, below] = [measure(blocks.at(-1).at(-1)), measure(line)];
    const [low, high] = [Math.min(above.height, below.height), Math.max(above.height, below.height)];
    const beside = Math.min(above.right, below.right) - Math.max(above.left, below.left);
    if (beside > 0 && Math.abs(below.top - above.bottom) < BLOCK_GAP * high && high < ALIKE * low) {
      blocks.at(-1).push(line);
      return;
    }
  }
  blocks.push([line]);
}
