// Pages as the server sends them, without the words that are not sure enough.

export const UNSURE = 0.75; // confidence below which a word is marked

export function keepSure(page, least) {
  const lines = page.lines
    .map((line) => ({ ...line, words: line.words.filter((word) => word.confidence >= least) }))
    .filter((line) => line.words.length)
    .map((line) => ({ ...line, text: line.words.map((word) => word.text).join(" ") }));
  return { ...page, lines, text: textOf(lines), left_out: countWords(page.lines) - countWords(lines) };
}

export function countWords(lines) {
  return lines.reduce((sum, line) => sum + line.words.length, 0);
}

// A line for each line, an empty one between blocks.
function textOf(lines) {
  return lines.map((line, index) => (index && line.block !== lines[index - 1].block ? "\n" : "") + line.text).join("\n");
}
