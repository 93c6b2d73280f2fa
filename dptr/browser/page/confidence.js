// How sure a reading is, as the model's card calibrates it (dptr/inference/confidence.py).

const UNCOUNTED = "\n"; // in counted_as: characters that do not count
const [END, REST] = [0, 1]; // groups of classes; those of characters that count come behind

// softmax(logits / temperature) of softmax(logits), in place
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
  // held: "confidence" of a model's card; without "length" and "of_paths" it is of an earlier version
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

  // The confidence from the probability of a word, and the number of its characters.
  scale(probability, characters) {
    return probability ** (this.exponent * (1 + characters) ** -this.length);
  }

  // rows: the probabilities of all classes at each place that was read, and at the end; best: the likeliest class of each
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

  // path: the probabilities of all classes at each position of a CTC network; word: the classes that were read.
  // A label has a state for each character that counts as it: "a" twice in a row is one letter, "a" and "A" are two.
  sumPaths(path, word) {
    const read = this.groups ? word.map((symbol) => this.groups[symbol]).filter((group) => group > REST) : word;
    const classes = this.groups ? read.map((own) => this.members((group) => group === own)) : read.map((symbol) => [symbol]);
    const blanks = this.groups ? this.members((group) => group <= REST) : [END];
    const add = (sum, value) => sum + value;
    let spelled = classes.map((own) => own.map(() => 0)); // by label, the last one, and the character that shows it
    let done = [1, ...classes.map(() => 0)]; // by the number of labels, with a blank behind them
    let sums = done.map(() => 0);
    for (const row of path) {
      const blank = blanks.reduce((sum, index) => sum + row[index], 0);
      const before = done.map((own, count) => own + sums[count]);
      spelled = classes.map((own, label) => own.map((index, member) => {
        const same = label > 0 && read[label] === read[label - 1] ? spelled[label - 1][member] : 0; // no second letter
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
