// The order in which text stands, from left to right (dptr/text/direction.py).

const MIRRORED = new Map(["()", "[]", "{}", "<>", "«»", "‹›"].flatMap(([one, other]) => [[one, other], [other, one]]));
const NEUTRAL = "STCO";
// Bidirectional classes: Mark, European digit, Arabic Number, Separator, Terminator such as %, Common separator, Right and
// Arabic letters, Left, Other neutral. What none fits is X.
const KINDS = [
  ["M", /[\p{Mn}\p{Me}]/u],
  ["E", /[0-9۰-۹²³¹⁰⁴-⁹₀-₉]/u],
  ["N", /[٠-٩٫٬]/u],
  ["S", /[+\-⁺⁻₊₋−]/u],
  ["T", /[#%°±٪‰‱′″‴]|(?!؋)\p{Sc}/u],
  ["C", /[,./:\u00a0،]/u],
  ["A", /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}؛؟]/u],
  ["R", /[\p{Script=Hebrew}\p{Script=Nko}\p{Script=Adlam}\u200f]/u],
  ["L", /[\p{L}\p{Nl}ªº]/u],
  ["O", /[\p{Zs}\p{P}\p{S}]/u],
];

export function kindOf(character) {
  return KINDS.find(([, pattern]) => pattern.test(character))?.[0] ?? "X";
}

// The indices of characters in the order in which they stand from left to right, each with the character that is seen
// there: brackets are mirrored. Of characters in that order, those in the order in which they are read.
// line: the direction of the line around letters that run from right to left.
export function visualOrder(characters, line = "rtl") {
  const kinds = characters.map(kindOf);
  const same = characters.map((character, index) => ({ index, character }));
  if (!kinds.some((kind) => "RA".includes(kind))) return same;
  const parts = findIslands(same, kinds);
  if (line === "ltr") return turnWords(parts).flatMap(({ items }) => items);
  return parts
    .reverse()
    .flatMap(({ items: [first, ...marks], island }) => {
      const character = island ? first.character : (MIRRORED.get(first.character) ?? first.character);
      return [{ ...first, character }, ...marks];
    });
}

// Each run of letters that run from right to left, up to an island or a bracket, turned where it is.
function turnWords(parts) {
  const isLeftward = ({ kinds }) => kinds.has("R") || kinds.has("A");
  const ordered = [];
  while (ordered.length < parts.length) {
    const rest = parts.slice(ordered.length);
    const stop = rest.findIndex(({ items, island }) => island || MIRRORED.has(items[0].character));
    const last = isLeftward(rest[0]) ? rest.slice(0, stop < 0 ? rest.length : stop).findLastIndex(isLeftward) : 0;
    ordered.push(...rest.slice(0, last + 1).reverse());
  }
  return ordered;
}

function findIslands(same, kinds) {
  const parts = split(same, kinds);
  const arabic = parts.some((part) => part.kinds.has("A"));
  for (let at = 0; at < parts.length; ) {
    const end = endOfJoin(parts, at, arabic);
    if (end === at) {
      at += 1;
      continue;
    }
    const joined = parts.slice(at, end + 1);
    const own = new Set(joined.flatMap((part) => [...part.kinds]));
    parts.splice(at, joined.length, { items: joined.flatMap(({ items }) => items), kinds: own, island: true });
    at = 0;
  }
  return parts;
}

function split(same, kinds) {
  const parts = [];
  for (const item of same) {
    const kind = kinds[item.index];
    if (kind === "M" && parts.length) parts.at(-1).items.push(item);
    else parts.push({ items: [item], kinds: new Set(kind), island: "LEN".includes(kind) });
  }
  return parts;
}

// The last part that joins the one at first; first where none does.
function endOfJoin(parts, first, arabic) {
  const part = parts[first];
  const isSign = (other) => !other.island && other.kinds.has("T");
  if (!part.island && !isSign(part)) return first;
  let end = first + 1;
  if (!part.island) {
    while (end < parts.length && isSign(parts[end])) end += 1;
    return end < parts.length && parts[end].island && takesSigns(parts[end], arabic) ? end : first;
  }
  while (end < parts.length && !parts[end].island && NEUTRAL.includes([...parts[end].kinds][0])) end += 1;
  const between = parts.slice(first + 1, end);
  if (end < parts.length && parts[end].island && join(part, between, parts[end], arabic)) return end;
  const other = between.findIndex((each) => !isSign(each));
  return takesSigns(part, arabic) ? first + (other < 0 ? between.length : other) : first;
}

function takesSigns({ kinds }, arabic) {
  return kinds.has("E") && !arabic;
}

function join(one, between, other, arabic) {
  if (!between.length) return true;
  const sides = [one.kinds, other.kinds];
  if (sides.every((kinds) => kinds.has("L") || kinds.has("E")) && sides.some((kinds) => kinds.has("L"))) return true;
  if (between.length > 1) return false;
  const both = (test) => sides.every(test);
  const european = !arabic && both((kinds) => kinds.has("E"));
  const numbers = both((kinds) => kinds.has("N") || (arabic && kinds.has("E")));
  if (between[0].kinds.has("C")) return european || numbers;
  return between[0].kinds.has("S") && european;
}
