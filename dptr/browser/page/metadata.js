// What "dptr export" writes into an ONNX file beside the graph: JSON under the key "dptr", and at its end a digest.

const FORMAT = 1;
const SEAL = 4 + "dptr-digest".length + 2 + 64; // bytes
const [LENGTH, METADATA] = [2, 14]; // the type of fields with a length, and the field of the metadata, in ModelProto

// The entries of the metadata of an ONNX file, by key.
export function readEntries(bytes) {
  const entries = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== METADATA) continue;
    const pair = Object.fromEntries([...fields(value)].map(([part, text]) => [part, new TextDecoder().decode(text)]));
    entries[pair[1]] = pair[2];
  }
  return entries;
}

// The fields of a protocol buffer that have a length; others are skipped.
function* fields(bytes) {
  let at = 0;
  const number = () => {
    for (let value = 0, factor = 1; ; factor *= 128) {
      const byte = bytes[at];
      at += 1;
      if (byte === undefined || factor > 2 ** 63) throw new Error("damaged");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = number();
    const [field, type] = [Math.floor(key / 8), key % 8];
    if (type === LENGTH) {
      const length = number();
      if (at + length > bytes.length) throw new Error("damaged");
      yield [field, bytes.subarray(at, at + length)];
      at += length;
    } else if (type === 0) number();
    else if (type === 1 || type === 5) at += type === 1 ? 8 : 4;
    else throw new Error("damaged");
  }
}

export async function readMetadata(bytes) {
  let entries;
  let held;
  try {
    entries = readEntries(bytes);
    held = JSON.parse(entries.dptr ?? "null");
  } catch {
    throw new Error("The model is damaged. Load the page anew.");
  }
  if (!held) throw new Error("The model was not written by 'dptr export'.");
  if (held.format !== FORMAT) throw new Error(`The model has export format ${held.format}; this page reads ${FORMAT}.`);
  if (!["", "rtl", "ltr"].includes(held.visual ?? "")) throw new Error("The model is damaged. Load the page anew.");
  if (held.digest && !(await isWhole(bytes, entries))) throw new Error("The model is damaged. Load the page anew.");
  return held;
}

// Whether the content is that of the digest; browsers compute one only where the page comes by HTTPS or from this machine.
async function isWhole(bytes, entries) {
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.subarray(0, bytes.length - SEAL)));
  return entries["dptr-digest"] === [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
