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

  // path: the probabilities of all classes at each position of a CTC network; word: the classes that were read
  sumPaths(path, word) {
    const labels = this.findLabels(word);
    const steps = labels.map((own, place) => place > 0 && `${own}` !== `${labels[place - 1]}`); // without a blank before
    const blanks = this.groups ? this.members((group) => group <= REST) : [END];
    let reached = new Float64Array(1 + 2 * labels.length);
    reached[0] = 1;
    for (const row of path) {
      const chance = (classes) => classes.reduce((sum, index) => sum + row[index], 0);
      const blank = chance(blanks);
      reached = reached.map((own, state) => {
        const label = state % 2 ? (state - 1) / 2 : -1;
        let arrived = own + (state ? reached[state - 1] : 0);
        if (steps[label]) arrived += reached[state - 2];
        return arrived * (label < 0 ? blank : chance(labels[label]));
      });
    }
    return Math.min(reached.at(-1) + (labels.length ? reached.at(-2) : 0), 1);
  }

  // The classes of each label of a word; neighbors that count as the same but are not, as in "Aa", stand for themselves.
  findLabels(word) {
    if (!this.groups) return word.map((symbol) => [symbol]);
    const groups = word.map((symbol) => this.groups[symbol]);
    return word.flatMap((symbol, place) => {
      if (groups[place] <= REST) return [];
      const alone = [place - 1, place + 1].some((other) => groups[other] === groups[place] && word[other] !== symbol);
      return [alone ? [symbol] : this.members((group) => group === groups[place])];
    });
  }

  members(belongs) {
    return this.groups.flatMap((group, index) => (belongs(group) ? [index] : []));
  }
}
