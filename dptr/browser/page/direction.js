// Converts between the logical order of text (as it is read) and its visual order from left to right
// (dptr/text/direction.py).

const MIRRORED = new Map(["()", "[]", "{}", "<>", "«»", "‹›"].flatMap(([one, other]) => [[one, other], [other, one]]));
const NEUTRAL = "STCO";
// Bidirectional classes: M mark, E European digit, N Arabic number, S separator, T terminator such as %, C common
// separator, A Arabic letter, R other letter that runs from right to left, L letter that runs from left to right, O
// other neutral. X is everything else.
const KINDS = [
  ["M", /[\p{Mn}\p{Me}]/u],
  ["E", /[0-9０-９۰-۹²³¹⁰⁴-⁹₀-₉]/u],
  ["N", /[٠-٩٫٬]/u],
  ["S", /[+\-⁺⁻₊₋−＋－]/u],
  ["T", /[#%°±٪‰‱′″‴＃％]|(?!؋)\p{Sc}/u],
  ["C", /[,./:\u00a0،，．／：]/u],
  ["A", /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}؛؟\u0640]/u],
  ["R", /[\p{Script=Hebrew}\p{Script=Nko}\p{Script=Adlam}\u200f]/u],
  ["L", /[\p{L}\p{Mc}\p{Nd}\p{Nl}]/u],
  ["O", /[\p{Zs}\p{P}\p{S}]/u],
];

export function kindOf(character) {
  return KINDS.find(([, pattern]) => pattern.test(character))?.[0] ?? "X";
}

// Reorders characters from logical to visual order, left to right: [{ index, character }, ...] with the index in the
// input and the character as it looks there; brackets are mirrored. line: "rtl"; or "ltr", if each word is reversed in
// its place
export function visualOrder(characters, line = "rtl") {
  return turn(characters, line, countAsArabic);
}

// Reorders characters from visual order, left to right, to logical order. Result and line are as for visualOrder.
export function logicalOrder(characters, line = "rtl") {
  return turn(characters, line, (parts) => countAsArabic(parts.reverse()).reverse());
}

// Whether the two orders may differ.
export function needsReordering(characters) {
  return characters.some((character) => "RAN".includes(kindOf(character)));
}

function turn(characters, line, count) {
  const kinds = characters.map(kindOf);
  const same = characters.map((character, index) => ({ index, character }));
  if (!needsReordering(characters)) return same;
  const parts = joinIslands(count(split(same, kinds)));
  if (line === "ltr") return turnWords(parts).flatMap(({ items }) => items);
  return parts.reverse().flatMap(({ items: [first, ...marks], island }) => {
    const character = island ? first.character : (MIRRORED.get(first.character) ?? first.character);
    return [{ ...first, character }, ...marks];
  });
}

const isLeftward = ({ kinds }) => kinds.has("R") || kinds.has("A");
const isNeutral = ({ kinds, island }) => !island && [...kinds].every((kind) => NEUTRAL.includes(kind));

// Reverses each run of right-to-left letters, up to an island or a bracket, in its place.
function turnWords(parts) {
  const ordered = [];
  while (ordered.length < parts.length) {
    const rest = parts.slice(ordered.length);
    const stop = rest.findIndex(({ items, island }) => island || MIRRORED.has(items[0].character));
    const last = isLeftward(rest[0]) ? rest.slice(0, stop < 0 ? rest.length : stop).findLastIndex(isLeftward) : 0;
    ordered.push(...rest.slice(0, last + 1).reverse());
  }
  return ordered;
}

// Splits characters into parts: each character with its marks. kinds: the classes in a part; E* is a European digit
// that counts as Arabic. island: whether the part keeps its order from left to right
function split(same, kinds) {
  const parts = [];
  for (const item of same) {
    const kind = kinds[item.index];
    if (kind === "M" && parts.length) parts.at(-1).items.push(item);
    else parts.push({ items: [item], kinds: new Set([kind]), island: "LEN".includes(kind) });
  }
  return parts;
}

function countAsArabic(parts) {
  let arabic = false;
  return parts.map((part) => {
    if (isLeftward(part)) arabic = part.kinds.has("A");
    return arabic && part.kinds.has("E") ? { ...part, kinds: new Set(["E*"]) } : part;
  });
}

function joinIslands(parts) {
  let joined = join(join(parts, touch), isNumber);
  for (let count = 0; joined.length !== count; ) {
    count = joined.length;
    joined = join(join(takeSigns(joined), touch), areWords);
  }
  return joined;
}

function touch(one, between) {
  return !between.length;
}

// Joins signs such as $ and % to adjacent European digits.
function takeSigns(parts) {
  const taken = [];
  for (let first = 0; first < parts.length; ) {
    let end = first;
    while (end < parts.length && (parts[end].island ? parts[end].kinds.has("E") : parts[end].kinds.has("T"))) end += 1;
    const group = parts.slice(first, Math.max(end, first + 1));
    taken.push(...(end > first && group.some(({ island }) => island) ? [merge(group)] : group));
    first += group.length;
  }
  return taken;
}

function isNumber(one, between, other) {
  if (between.length !== 1) return false;
  const both = (...wanted) => [one, other].every(({ kinds }) => wanted.some((kind) => kinds.has(kind)));
  if (between[0].kinds.has("C")) return both("E") || both("N", "E*");
  return between[0].kinds.has("S") && both("E");
}

function areWords(one, between, other) {
  const has = ({ kinds }, ...wanted) => wanted.some((kind) => kinds.has(kind));
  return has(one, "L", "E", "E*") && has(other, "L", "E", "E*") && (has(one, "L") || has(other, "L"));
}

// Joins each island to an island before it, with the neutral characters between; the result may join another one.
function join(parts, joins) {
  const joined = [];
  for (const part of parts) {
    joined.push(part);
    while (joined.at(-1).island) {
      let before = joined.length - 2;
      while (before >= 0 && isNeutral(joined[before])) before -= 1;
      const group = joined.slice(Math.max(before, 0));
      if (before < 0 || !group[0].island || !joins(group[0], group.slice(1, -1), group.at(-1))) break;
      joined.splice(before, group.length, merge(group));
    }
  }
  return joined;
}

function merge(parts) {
  const kinds = new Set(parts.flatMap((part) => [...part.kinds]));
  return { items: parts.flatMap(({ items }) => items), kinds, island: true };
}
