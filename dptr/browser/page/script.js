// Properties of scripts and characters.

const LEFTWARD = /^[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]$/u;
const WIDE = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303e\uff01-\uff60]$/u;

// Whether a text runs from right to left, by its first letter.
export function runsLeft(text) {
  const letter = [...text].find((character) => /\p{L}/u.test(character));
  return letter !== undefined && LEFTWARD.test(letter);
}

// Whether more texts run from right to left than from left to right; a tie gives `otherwise`.
export function mostRunLeft(texts, otherwise = false) {
  const directed = texts.filter((text) => /\p{L}/u.test(text));
  const leftward = directed.filter(runsLeft).length;
  return 2 * leftward === directed.length ? otherwise : 2 * leftward > directed.length;
}

// Whether a character is as wide as it is high.
export function isWide(character) {
  return WIDE.test(character);
}

// Whether a character is a letter of a script without spaces between words.
export function isUnspaced(character) {
  return /^[\p{L}\p{M}]$/u.test(character) && /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}ー\u3006]/u.test(character);
}

// Whether a character is punctuation as wide as a letter, such as 。 and 「.
export function isWideSign(character) {
  return /^\p{P}$/u.test(character) && /[\u3000-\u303e\u30fb\ufe10-\ufe6b\uff01-\uff60]/u.test(character);
}

// Whether a character takes no width: a mark on, under, or in the previous one, or a joiner.
export function takesNoRoom(character) {
  return /[\p{Mn}\p{Me}\u200c\u200d]/u.test(character);
}

const EXTENDS = /^(?![\u102b\u102c\u1038])[\p{M}\u200c\u200d\u0e33\u0eb3]$/u;
const CONJUNCT = new RegExp(
  "(?:\\u094d[\\u093c\\u094d\\u200d]*[\\u0915-\\u0939\\u0958-\\u095f\\u0978-\\u097f]" +
    "|\\u09cd[\\u09bc\\u09cd\\u200d]*[\\u0995-\\u09a8\\u09aa-\\u09b0\\u09b2\\u09b6-\\u09b9\\u09dc\\u09dd\\u09df\\u09f0\\u09f1]" +
    "|\\u0acd[\\u0abc\\u0acd\\u200d]*[\\u0a95-\\u0aa8\\u0aaa-\\u0ab0\\u0ab2\\u0ab3\\u0ab5-\\u0ab9\\u0af9]" +
    "|\\u0b4d[\\u0b3c\\u0b4d\\u200d]*[\\u0b15-\\u0b28\\u0b2a-\\u0b30\\u0b32\\u0b33\\u0b35-\\u0b39\\u0b5c\\u0b5d\\u0b5f\\u0b71]" +
    "|\\u0c4d[\\u0c3c\\u0c4d\\u200d]*[\\u0c15-\\u0c28\\u0c2a-\\u0c39\\u0c58-\\u0c5a]" +
    "|\\u0d4d[\\u0d3b\\u0d3c\\u0d4d\\u200d]*[\\u0d15-\\u0d3a])$",
  "u",
);

// The grapheme clusters of characters (dptr/text/unicode.py). Intl.Segmenter is not used, because browsers with Unicode
// below 15.1 split elsewhere.
export function graphemes(characters) {
  const clusters = [];
  for (const character of characters) {
    const joined = clusters.length > 0 && (EXTENDS.test(character) || CONJUNCT.test(clusters.at(-1) + character));
    if (joined) clusters[clusters.length - 1] += character;
    else clusters.push(character);
  }
  return clusters;
}
