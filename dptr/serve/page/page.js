// Pages as the server sends them, without the words that are not sure enough.

export const UNSURE = 0.75; // confidence below which a word is marked

export function keepSure(page, least) {
  const lines = page.lines
    .map((line) => keepWords(line, line.words.filter((word) => word.confidence >= least)))
    .filter((line) => line.words.length)
    .map((line) => ({ ...line, text: line.words.map((word) => word.text).join(" ") }));
  return { ...page, lines, text: textOf(lines), left_out: countWords(page.lines) - countWords(lines) };
}

// A line with some of its words: its box reaches from where the first begins to where the last ends.
function keepWords(line, words) {
  if (!words.length || words.length === line.words.length || line.outline) return { ...line, words };
  const [first, last] = [words[0].box, words.at(-1).box];
  if (words.length === 1) return { ...line, words, box: first };
  const way = minus(middle(last), middle(first));
  const [begin, end] = [along(first, way), along(last, way)];
  return { ...line, words, box: [begin[0], end[1], end[2], begin[3]] };
}

// A box that begins on the side from which the line comes: a number in a line from right to left begins on the other.
const along = (box, way) => (dot(minus(box[1], box[0]), way) < 0 ? [box[1], box[0], box[3], box[2]] : box);
const minus = ([x, y], [u, v]) => [x - u, y - v];
const dot = ([x, y], [u, v]) => x * u + y * v;
const middle = (box) => [0, 1].map((axis) => box.reduce((sum, point) => sum + point[axis], 0) / 4);

export function countWords(lines) {
  return lines.reduce((sum, line) => sum + line.words.length, 0);
}

// A line for each line, an empty one between blocks.
function textOf(lines) {
  return lines.map((line, index) => (index && line.block !== lines[index - 1].block ? "\n" : "") + line.text).join("\n");
}
