// Filters the words of a page by confidence. A page has the format of 'dptr ocr --format json'.

export const UNSURE = 0.75; // confidence below which the page marks a word

export function filterWords(page, threshold) {
  const lines = page.lines
    .map((line) => keepWords(line, line.words.filter((word) => word.confidence >= threshold)))
    .filter((line) => line.words.length)
    .map((line) => ({ ...line, text: line.words.map((word) => word.text).join(" ") }));
  return { ...page, lines, text: textOf(lines), left_out: countWords(page.lines) - countWords(lines) };
}

// A line with some of its words. Its box extends from the start of the first word to the end of the last one.
function keepWords(line, words) {
  if (!words.length || words.length === line.words.length || line.outline) return { ...line, words };
  const [first, last] = [words[0].box, words.at(-1).box];
  if (words.length === 1) return { ...line, words, box: first };
  const direction = minus(middle(last), middle(first));
  const [begin, end] = [along(first, direction), along(last, direction)];
  return { ...line, words, box: [begin[0], end[1], end[2], begin[3]] };
}

// The box with its corners in the direction of the line. A number in a line from right to left runs from left to right.
const along = (box, direction) => (dot(minus(box[1], box[0]), direction) < 0 ? [box[1], box[0], box[3], box[2]] : box);
const minus = ([x, y], [u, v]) => [x - u, y - v];
const dot = ([x, y], [u, v]) => x * u + y * v;
const middle = (box) => [0, 1].map((axis) => box.reduce((sum, point) => sum + point[axis], 0) / 4);

export function countWords(lines) {
  return lines.reduce((sum, line) => sum + line.words.length, 0);
}

// The text of lines, with an empty line between blocks.
function textOf(lines) {
  return lines.map((line, index) => (index && line.block !== lines[index - 1].block ? "\n" : "") + line.text).join("\n");
}
