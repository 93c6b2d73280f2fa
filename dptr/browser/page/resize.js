// Resizing, bit for bit as in Pillow: separable filters with weights of 22 bits, and averages of whole blocks. A canvas
// resizes differently, so that a recognizer would get other pixels than those it was evaluated with.

const BITS = 22;

export const BILINEAR = { support: 1, weigh: (x) => Math.max(0, 1 - Math.abs(x)) };
export const BICUBIC = {
  support: 2,
  weigh(x) {
    const a = -0.5;
    const d = Math.abs(x);
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
  },
};

// picture: { width, height, data: RGB bytes }; span: width and height of the part, at the top left corner, that is
// resized. Each pass rounds, so the order of the passes matters. The order of Pillow 13 was determined by comparing
// sizes.
export function resize(picture, width, height, filter = BICUBIC, span = [picture.width, picture.height]) {
  const across = (from) => (width === from.width && span[0] === from.width ? from : resizeRows(from, width, filter, span[0]));
  const down = (from) => (height === from.height && span[1] === from.height ? from : resizeColumns(from, height, filter, span[1]));
  const shrinkage = [picture.width - width, picture.height - height];
  return shrinkage[1] > 0 && shrinkage[1] > 2 * shrinkage[0] ? across(down(picture)) : down(across(picture));
}

// The weights of a filter, for each of the wanted output places: first input place, number of inputs, and the weights.
function weights(size, span, wanted, filter) {
  const scale = span / wanted;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(wanted);
  const count = new Int32Array(wanted);
  const values = new Int32Array(wanted * taps);
  for (let place = 0; place < wanted; place += 1) {
    const center = (place + 0.5) * scale;
    const low = Math.max(Math.trunc(center - support + 0.5), 0);
    const high = Math.min(Math.trunc(center + support + 0.5), size);
    const filterWeights = Array.from({ length: high - low }, (_, index) => filter.weigh((index + low - center + 0.5) / stretch));
    const sum = filterWeights.reduce((total, weight) => total + weight, 0) || 1;
    first[place] = low;
    count[place] = high - low;
    filterWeights.forEach((weight, index) => {
      const scaled = (weight / sum) * 2 ** BITS;
      values[place * taps + index] = Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
    });
  }
  return { first, count, values, taps };
}

const clip = (sum) => {
  const value = sum >> BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
};

function resizeRows({ width, height, data }, wanted, filter, span) {
  const { first, count, values, taps } = weights(width, span, wanted, filter);
  const result = new Uint8Array(wanted * height * 3);
  for (let y = 0, to = 0; y < height; y += 1) {
    for (let x = 0; x < wanted; x += 1, to += 3) {
      let [r, g, b] = [1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)];
      let from = (y * width + first[x]) * 3;
      for (let at = x * taps, end = at + count[x]; at < end; at += 1, from += 3) {
        const weight = values[at];
        r += data[from] * weight;
        g += data[from + 1] * weight;
        b += data[from + 2] * weight;
      }
      result[to] = clip(r);
      result[to + 1] = clip(g);
      result[to + 2] = clip(b);
    }
  }
  return { width: wanted, height, data: result };
}

function resizeColumns({ width, height, data }, wanted, filter, span) {
  const { first, count, values, taps } = weights(height, span, wanted, filter);
  const row = width * 3;
  const result = new Uint8Array(wanted * row);
  const sums = new Int32Array(row);
  for (let y = 0; y < wanted; y += 1) {
    sums.fill(1 << (BITS - 1));
    for (let tap = 0; tap < count[y]; tap += 1) {
      const weight = values[y * taps + tap];
      const from = (first[y] + tap) * row;
      for (let x = 0; x < row; x += 1) sums[x] += data[from + x] * weight;
    }
    for (let x = 0; x < row; x += 1) result[y * row + x] = clip(sums[x]);
  }
  return { width, height: wanted, data: result };
}

// Averages blocks of `across` x `down` pixels. Blocks at the right and at the bottom edge may be smaller.
export function reduce(picture, across, down) {
  const { width, height, data } = picture;
  if (across === 1 && down === 1) return picture;
  const [wide, high] = [Math.ceil(width / across), Math.ceil(height / down)];
  const result = new Uint8Array(wide * high * 3);
  for (let y = 0, to = 0; y < high; y += 1) {
    const bottom = Math.min((y + 1) * down, height);
    for (let x = 0; x < wide; x += 1) {
      const right = Math.min((x + 1) * across, width);
      const pixels = (bottom - y * down) * (right - x * across);
      const factor = Math.trunc(Math.fround(2 ** 32 / Math.fround(256 * pixels)));
      for (let channel = 0; channel < 3; channel += 1, to += 1) {
        let sum = pixels >> 1;
        for (let row = y * down; row < bottom; row += 1) {
          for (let at = (row * width + x * across) * 3 + channel, end = (row * width + right) * 3; at < end; at += 3) {
            sum += data[at];
          }
        }
        result[to] = Math.min(255, Math.floor((sum * factor) / 2 ** 24));
      }
    }
  }
  return { width: wide, height: high, data: result };
}

// Resizes bilinearly; large pictures are averaged down first (as Pillow's `reducing_gap=3`).
export function shrink(picture, width, height) {
  const across = Math.trunc(picture.width / width / 3) || 1;
  const down = Math.trunc(picture.height / height / 3) || 1;
  const span = [picture.width / across, picture.height / down];
  return resize(reduce(picture, across, down), width, height, BILINEAR, span);
}
