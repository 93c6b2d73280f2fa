// The reading of a crop of one word, in the format of a page.

export function asPage({ width, height }, reading) {
  const box = [[0, 0], [width, 0], [width, height], [0, height]];
  const { text, confidence } = reading;
  const line = { text, box, angle: 0, block: 0, words: [{ text, confidence, box, characters: [] }] };
  return { width, height, text, lines: text ? [line] : [], notes: reading.notes, reading };
}
