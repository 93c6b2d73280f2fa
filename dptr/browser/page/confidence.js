// The confidence of a reading, calibrated with the parameters in the model's card (dptr/inference/confidence.py).

const UNCOUNTED = "\n"; // in counted_as: marks characters that do not count
const [END, REST] = [0, 1]; // groups of classes; the groups of characters that count follow

// Turns softmax(logits) into softmax(logits / temperature), in place. rows: rows of the probabilities of all classes
export function applyTemperature(rows, classes, temperature) {
  if (temperature === 1) return;
  for (let start = 0; start < rows.length; start += classes) {
    const row = rows.subarray(start, start + classes);
    let sum = 0;
    for (let index = 0; index < classes; index += 1) sum += row[index] = row[index] ** (1 / temperature);
    for (let index = 0; index < classes; index += 1) row[index] /= sum;
  }
}

export class WordConfidence {
  // The parameter is "confidence" in a model's card. Earlier versions wrote it without "length" and "of_paths".
  constructor({ exponent, counted_as: countedAs, length = 0, of_paths: ofPaths = false }) {
    Object.assign(this, { exponent, length, ofPaths });
    const seen = new Map();
    this.groups = countedAs && [
      END,
      ...[...countedAs].map((character) => {
        if (character === UNCOUNTED) return REST;
        if (!seen.has(character)) seen.set(character, REST + 1 + seen.size);
        return seen.get(character);
      }),
    ];
  }

  // The calibrated confidence, from the probability of a word and the number of its characters.
  scale(probability, characters) {
    return probability ** (this.exponent * (1 + characters) ** -this.length);
  }

  // The probability of a word as a product over its places. rows: the probabilities of all classes at each place, and
  // at the end; best: the most probable class of each
  multiply(rows, best) {
    if (!this.groups) return rows.reduce((product, row, place) => product * row[best[place]], 1);
    const read = best.map((index) => this.groups[index]);
    const last = read.findLastIndex((group) => group > REST);
    return rows.reduce((product, row, place) => {
      let sum = 0;
      for (let index = 0; index < row.length; index += 1) {
        const group = this.groups[index];
        if (place > last ? group <= REST : group === read[place]) sum += row[index];
      }
      return product * Math.min(sum, 1);
    }, 1);
  }

  // The probability of a word as the sum over all paths of a CTC network. path: the probabilities of all classes at
  // each position; word: the classes that were read. A label of the word has one state for each character that counts
  // as it. Therefore "a" twice in a row is one letter, but "a" and "A" in a row are two.
  sumPaths(path, word) {
    const read = this.groups ? word.map((symbol) => this.groups[symbol]).filter((group) => group > REST) : word;
    const classes = this.groups ? read.map((own) => this.members((group) => group === own)) : read.map((symbol) => [symbol]);
    const blanks = this.groups ? this.members((group) => group <= REST) : [END];
    const add = (sum, value) => sum + value;
    let spelled = classes.map((own) => own.map(() => 0)); // probability by the last label and its character
    let done = [1, ...classes.map(() => 0)]; // probability by the number of labels, with a blank after them
    let sums = done.map(() => 0);
    for (const row of path) {
      const blank = blanks.reduce((sum, index) => sum + row[index], 0);
      const before = done.map((own, count) => own + sums[count]);
      spelled = classes.map((own, label) => own.map((index, member) => {
        const same = label > 0 && read[label] === read[label - 1] ? spelled[label - 1][member] : 0; // the same character again adds no letter
        return Math.max(spelled[label][member] + before[label] - same, 0) * row[index];
      }));
      done = before.map((value) => value * blank);
      sums = [0, ...spelled.map((own) => own.reduce(add, 0))];
    }
    return Math.min(done.at(-1) + sums.at(-1), 1);
  }

  members(belongs) {
    return this.groups.flatMap((group, index) => (belongs(group) ? [index] : []));
  }
}
