// Opens, rotates, cuts, and extends pictures. A picture is { width, height, data } with RGB bytes.

const TALL = 1.2; // height / width above which a picture may hold a word that runs up or down
const MOST_PIXELS = 100e6;

// Decodes a picture, upright according to EXIF, with white behind transparency. Color profiles are ignored.
export async function openPicture(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  } catch {
    const remedy = "JPEG, PNG, WebP, GIF, BMP, and AVIF work. Save HEIC, as phones write it, as JPEG.";
    throw new Error(`This browser does not open it as a picture. ${remedy}`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new Error(`${width} x ${height} pixels are too many. Make it smaller.`);
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error(`${width} x ${height} pixels are too many for this browser. Make it smaller.`);
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = pen.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < pixels.length; from += 4, to += 3) {
    data[to] = pixels[from];
    data[to + 1] = pixels[from + 1];
    data[to + 2] = pixels[from + 2];
  }
  return { width, height, data };
}

// Rotates a picture by 90, 180, or 270 degrees clockwise.
export function turn({ width, height, data }, degrees) {
  const [wide, high] = degrees === 180 ? [width, height] : [height, width];
  const result = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < high; y += 1) {
    for (let x = 0; x < wide; x += 1, to += 3) {
      const [column, row] =
        degrees === 90 ? [y, height - 1 - x] : degrees === 180 ? [width - 1 - x, height - 1 - y] : [width - 1 - y, x];
      const from = (row * width + column) * 3;
      result[to] = data[from];
      result[to + 1] = data[from + 1];
      result[to + 2] = data[from + 2];
    }
  }
  return { width: wide, height: high, data: result };
}

// The picture; if it is tall, also the picture rotated to either side.
export function views(picture) {
  return picture.height > TALL * picture.width ? [picture, turn(picture, 90), turn(picture, 270)] : [picture];
}

// Cuts out a rectangle. left and top are its first pixels; right and bottom are one past its last pixels.
export function cut({ width, data }, left, top, right, bottom) {
  const wide = right - left;
  const result = new Uint8Array(wide * (bottom - top) * 3);
  for (let y = top; y < bottom; y += 1) {
    result.set(data.subarray((y * width + left) * 3, (y * width + right) * 3), (y - top) * wide * 3);
  }
  return { width: wide, height: bottom - top, data: result };
}

// Extends a picture on each side by a number of pixels, which repeat its edge.
export function extend({ width, height, data }, left, top, right, bottom) {
  const [wide, high] = [width + left + right, height + top + bottom];
  const result = new Uint8Array(wide * high * 3);
  for (let y = 0, to = 0; y < high; y += 1) {
    const row = Math.min(Math.max(y - top, 0), height - 1) * width;
    for (let x = 0; x < wide; x += 1, to += 3) {
      const from = (row + Math.min(Math.max(x - left, 0), width - 1)) * 3;
      result[to] = data[from];
      result[to + 1] = data[from + 1];
      result[to + 2] = data[from + 2];
    }
  }
  return { width: wide, height: high, data: result };
}

export function invert({ width, height, data }) {
  return { width, height, data: data.map((value) => 255 - value) };
}
