// Chooses the size in which the recognizer reads a picture: the one of the closest aspect ratio (dptr/utils/sizes.py).

import { reduce, resize } from "./resize.js";

const WIDTH_STEP = 32; // pixels between consecutive widths
const SHORTENED = 256; // a side longer than this many times the crop's is averaged down before the resizing

// Rounds as Python does: halves to the even number.
export function round(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

export class Sizes {
  // The parameter is the metadata of a model. widest: the largest width; sizes: additional pairs [height, width]
  // stretch: factor on the aspect ratio of each picture
  constructor({ height, width, widest = 0, sizes = [], stretch = 1 }) {
    Object.assign(this, { height, width, widest: Math.max(widest, width), sizes, stretch });
  }

  // The size [height, width] for a picture. pictured: its width / height
  choose(pictured) {
    const aspect = pictured * this.stretch;
    const steps = round((this.height * aspect - this.width) / WIDTH_STEP);
    const width = Math.min(Math.max(this.width + steps * WIDTH_STEP, this.width), this.widest);
    let best = [this.height, width];
    for (const size of this.sizes) {
      if (Math.abs(size[1] / size[0] - aspect) < Math.abs(best[1] / best[0] - aspect)) best = size;
    }
    return best;
  }

  // The width / height of the longest picture that is not squeezed.
  get longest() {
    return Math.max(this.widest / this.height, ...this.sizes.map(([height, width]) => width / height)) / this.stretch;
  }

  fit(picture) {
    const [height, width] = this.choose(picture.width / picture.height);
    const across = Math.max(1, Math.floor(picture.width / (SHORTENED * width)));
    const down = Math.max(1, Math.floor(picture.height / (SHORTENED * height)));
    return resize(reduce(picture, across, down), width, height);
  }
}
