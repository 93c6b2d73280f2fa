// The worker thread: loads the runtime and the models once, and reads one picture after the other.

import { asPage } from "./crop.js";
import { openPicture } from "./picture.js";
import { Recognizer } from "./recognizer.js";

const HOME = new URL("../", import.meta.url); // the page's folder
const THREADS = 4; // at most; browsers allow several threads only if the page is cross-origin isolated
const RUNTIME = "runtime/ort-wasm-simd-threaded";

let last = Promise.resolve();
const opened = new Map(); // name -> promise

// data: { id, blob, mode: "photograph" | "crop", sizes: the size in bytes of each file of the page, by path }
self.addEventListener("message", ({ data }) => {
  last = last.then(() => answer(data));
});

async function answer({ id, blob, mode, sizes }) {
  const onProgress = (progress) => self.postMessage({ id, progress });
  try {
    const load = loader(sizes, onProgress);
    const recognizer = await once("recognizer", () => openRecognizer(load));
    const ocr = mode === "photograph" && (await once("ocr", () => openOcr(load, recognizer)));
    onProgress("Reading …");
    const started = performance.now();
    const picture = await openPicture(blob);
    const page = ocr ? await ocr.read(picture, onProgress) : asPage(picture, await recognizer.readWord(picture));
    self.postMessage({ id, page, seconds: (performance.now() - started) / 1000 });
  } catch (error) {
    self.postMessage({ id, error: error.message || String(error) });
  }
}

// Opens something once. If it fails, the next picture tries again.
function once(name, open) {
  if (!opened.has(name)) opened.set(name, open().catch((error) => (opened.delete(name), Promise.reject(error))));
  return opened.get(name);
}

async function openRecognizer(load) {
  const [ort, bytes] = [await once("ort", () => openRuntime(load)), await load("models/recognizer.onnx")];
  return Recognizer.open(ort, bytes);
}

async function openOcr(load, recognizer) {
  const { Ocr } = await import("./ocr.js");
  return Ocr.open(recognizer, await load("models/detector.onnx"), await load("models/spaces.onnx"));
}

async function openRuntime(load) {
  const ort = await import("../runtime/ort.wasm.min.js");
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(THREADS, navigator.hardwareConcurrency || 1) : 1;
  ort.env.wasm.wasmPaths = { mjs: new URL(`${RUNTIME}.js`, HOME).href, wasm: new URL(`${RUNTIME}.wasm`, HOME).href };
  ort.env.wasm.wasmBinary = await load(`${RUNTIME}.wasm`);
  return ort;
}

// Returns a function that loads a file of the page by its path, and reports the progress to onProgress.
function loader(sizes, onProgress) {
  return async (path) => {
    const failed = (why) => new Error(`${path} could not be loaded (${why}). Check the connection, and try again.`);
    const response = await fetch(new URL(path, HOME)).catch((error) => Promise.reject(failed(error.message)));
    if (!response.ok) throw failed(response.status);
    const bytes = new Uint8Array(sizes[path]);
    let at = 0;
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read().catch((error) => Promise.reject(failed(error.message)));
      if (done) break;
      if (at + value.length > bytes.length) throw failed("another size than expected");
      bytes.set(value, at);
      at += value.length;
      onProgress(`Loading ${(at / 1e6).toFixed(1)} of ${(bytes.length / 1e6).toFixed(1)} MB …`);
    }
    if (at < bytes.length) throw failed("another size than expected");
    return bytes;
  };
}
