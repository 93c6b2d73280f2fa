// Reads the metadata that "dptr export" writes into an ONNX file: JSON under the key "dptr", and a digest at the end.

const FORMATS = [1, 2];
const SEAL = 4 + "dptr-digest".length + 2 + 64; // bytes of the entry with the digest, which is at the end of the file
const [LENGTH, METADATA] = [2, 14]; // wire type of length-delimited fields; number of ModelProto.metadata_props

// The metadata entries of an ONNX file, as an object.
export function readEntries(bytes) {
  const entries = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== METADATA) continue;
    const pair = Object.fromEntries([...fields(value)].map(([part, text]) => [part, new TextDecoder().decode(text)]));
    entries[pair[1]] = pair[2];
  }
  return entries;
}

// Yields [number, bytes] of each length-delimited field of a protocol buffer, and skips other fields.
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

// The JSON object that "dptr export" wrote. Throws an error if the file is damaged or has another format.
export async function readMetadata(bytes) {
  let entries;
  let metadata;
  try {
    entries = readEntries(bytes);
    metadata = JSON.parse(entries.dptr ?? "null");
  } catch {
    throw new Error("The model is damaged. Load the page anew.");
  }
  if (!metadata) throw new Error("The model was not written by 'dptr export'.");
  if (!FORMATS.includes(metadata.format)) {
    throw new Error(`The model has export format ${metadata.format}; this page reads ${FORMATS.join(" and ")}.`);
  }
  if (!["", "rtl", "ltr"].includes(metadata.visual ?? "")) throw new Error("The model is damaged. Load the page anew.");
  if (metadata.digest && !(await isWhole(bytes, entries))) throw new Error("The model is damaged. Load the page anew.");
  return metadata;
}

// Whether the content matches the digest. Without crypto.subtle, which browsers offer only over HTTPS or on localhost,
// the result is true.
async function isWhole(bytes, entries) {
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.subarray(0, bytes.length - SEAL)));
  return entries["dptr-digest"] === [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
