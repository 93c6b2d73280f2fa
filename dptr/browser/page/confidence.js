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
  // held: "confidence" of a model's card
  constructor({ exponent, counted_as: countedAs }) {
    this.exponent = exponent;
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

  // rows: the probabilities of all classes at each place that was read, and at the end; best: the likeliest class of each
  calibrate(rows, best) {
    return this.multiply(rows, best) ** this.exponent;
  }

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
}
