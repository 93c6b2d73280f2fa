// Approximate relative widths of characters in common fonts; 1 is a usual letter (dptr/photo/widths.py).

import { isWide, takesNoRoom } from "./script.js";

const [USUAL, WIDE] = [1, 1.4];
const MORE = 0.5; // width of each further character in a cluster that takes width, such as half forms and vowel signs
const WIDTHS = table(
  ["ijl1I!|.,:;'`\"()[]{}ftr-/\\", 0.5],
  ["mwMW@%&", WIDE],
  ["ןיו", 0.5],
  ["זנג", 0.75],
  ["ש", WIDE],
);
// Arabic letters: ENDING alone or at the end of joined letters, JOINED before a letter that is joined to them.
const ENDING = table(
  ["اأإآٱ", 0.7],
  ["معغجچحخے", 1.4],
  ["نلقئىيیں", 1.6],
  ["كطظپبتثٹکفگڤ", 1.9],
  ["سش", 2.4],
  ["صض", 2.6],
);
const JOINED = table(
  ["لبتثپٹئنيیى", 0.7],
  ["فقڤ", 1],
  ["معغهہھكکگ", 1.2],
  ["جچحخطظسش", 1.5],
  ["صض", 1.7],
);

function table(...rows) {
  return new Map(rows.flatMap(([characters, width]) => [...characters].map((character) => [character, width])));
}

// The widths of consecutive grapheme clusters, from left to right.
export function measureWidths(clusters) {
  return clusters.map((cluster, index) => measure(cluster, clusters[index - 1] ?? ""));
}

function measure(cluster, before) {
  const [letter, ...rest] = cluster;
  const more = MORE * rest.filter((each) => !takesNoRoom(each)).length;
  if (JOINED.has(letter) && isJoined(before) && !cluster.includes("\u200c")) return JOINED.get(letter) + more;
  return (WIDTHS.get(letter) ?? ENDING.get(letter) ?? (isWide(letter) ? WIDE : USUAL)) + more;
}

// Whether a cluster is joined to a letter on its right.
function isJoined(cluster) {
  return /^(?!ء)(?=\p{L})\p{Script=Arabic}/u.test(cluster);
}
