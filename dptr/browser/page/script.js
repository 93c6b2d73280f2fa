// What the page knows of scripts.

const LEFTWARD = /^[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]$/u;
const WIDE = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303e\uff01-\uff60]$/u;

// Whether a text runs from right to left: by its first letter.
export function runsLeft(text) {
  const letter = [...text].find((character) => /\p{L}/u.test(character));
  return letter !== undefined && LEFTWARD.test(letter);
}

// Whether more texts run from right to left than from left to right; otherwise where as many do.
export function mostRunLeft(texts, otherwise = false) {
  const directed = texts.filter((text) => /\p{L}/u.test(text));
  const leftward = directed.filter(runsLeft).length;
  return 2 * leftward === directed.length ? otherwise : 2 * leftward > directed.length;
}

// Whether a character is as wide as it is high.
export function isWide(character) {
  return WIDE.test(character);
}

// Whether it is a letter of a script whose words follow each other without a space.
export function isUnspaced(character) {
  return /^[\p{L}\p{M}]$/u.test(character) && /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}ー\u3006]/u.test(character);
}

// Whether it is punctuation as wide as a letter, such as 。 and 「.
export function isWideSign(character) {
  return /^\p{P}$/u.test(character) && /[\u3000-\u303e\u30fb\ufe10-\ufe6b\uff01-\uff60]/u.test(character);
}

// Whether a character stands with the one before it: a mark, or a joiner.
export function takesNoRoom(character) {
  return /[\p{Mn}\p{Me}\u200c\u200d]/u.test(character);
}
