// The engine of the exported page: the model runs here, in the visitor's browser; pictures go nowhere.

import { cropped, MOST_PIXELS, preview, rgbaOf } from "./crop.js";
import { EngineError } from "./engine.js";

/** @import { Engine, Face, Model, Photo } from "./engine.js" */

const PROGRAM = new URL("onnx-worker.js", import.meta.url).href;
const AWAY = "A file of this page could not be loaded. Is the server that it comes from still there?";

/** @type {WeakMap<Photo, ImageBitmap>} In full resolution. */
const bitmaps = new WeakMap();
/** @type {WeakMap<Face, number>} What the worker calls faces. */
const names = new WeakMap();

/** @returns {Promise<Engine>} */
export async function connect() {
  const desk = await (await get("desk.json")).json();
  const worker = new ModelWorker(desk.runtime);
  const starts = new Map(); // By model; promises of pages.
  const startsOf = (model) => {
    if (!starts.has(model)) {
      const reading = readStarts(model);
      starts.set(model, reading);
      reading.catch(() => starts.delete(model)); // To be tried again.
    }
    return starts.get(model);
  };
  return {
    models: desk.models,
    can: { faces: false, paste: false, draw: false },
    note: "Pictures stay in this browser; this page sends nothing anywhere.",
    starts: startsOf,
    read,
    open: async (model, source) => {
      let original, known = null;
      if ("start" in source) {
        const start = (await startsOf(model)).find(({ index }) => index === source.start);
        if (!start) throw new EngineError("This page has no such picture to start from.");
        [original, known] = [start.pixels, start];
      } else {
        const { photo } = source;
        original = cropped(bitmaps.get(photo), source.placement, model.size);
      }
      const { name, ...seen } = await worker.ask("open", { model, picture: original, values: known?.values ?? null });
      const confidences = known ? known.confidences : seen.confidences;
      const face = { model, source, original, ...seen, confidences };
      names.set(face, name);
      return face;
    },
    decode: async (face, vectors) => {
      const { frames, milliseconds } = await worker.ask("decode", { name: names.get(face), vectors });
      return Object.assign(frames, { milliseconds });
    },
    paste: () => Promise.reject(new EngineError("This page does not put faces back into photos.")),
    close: (thing) => {
      if (names.has(thing)) worker.ask("close", { name: names.get(thing) }).catch(() => {});
      bitmaps.get(thing)?.close();
      bitmaps.delete(thing);
    },
  };
}

/** @type {Engine["read"]} */
async function read(picture, name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(picture);
  } catch {
    throw new EngineError(`${name}: it cannot be read as a picture.`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    bitmap.close();
    throw new EngineError(`${name}: ${width} x ${height} pixels are too many; scale it down first.`);
  }
  const photo = { name, width, height, faces: null, preview: await preview(bitmap) };
  bitmaps.set(photo, bitmap);
  return photo;
}

/** The pictures that the page came with, one above the other in a file. @param {Model} model */
async function readStarts(model) {
  if (!model.starts) return [];
  const file = await (await get(`${model.folder}/starts.png`)).blob();
  const rows = rgbaOf(await createImageBitmap(file, { colorSpaceConversion: "none" }));
  const length = 4 * model.size ** 2;
  return model.begin.map((begin, index) => ({
    ...begin, index, side: model.size, pixels: rows.slice(index * length, (index + 1) * length),
  }));
}

async function get(path) {
  let response;
  try {
    response = await fetch(path);
  } catch {
    throw new EngineError(AWAY);
  }
  if (!response.ok) throw new EngineError(AWAY);
  return response;
}

/** Questions to onnx-worker.js, and its answers. */
class ModelWorker {
  // From a blob, so that the page's policy holds for it.
  #worker = new Worker(URL.createObjectURL(new Blob([`import ${JSON.stringify(PROGRAM)}`], { type: "text/javascript" })), { type: "module" });
  #waiting = new Map();
  #number = 0;
  #runtime;
  /** @type {Promise<void>|null} Of the runtime's being loaded. */
  #begun = null;

  constructor(runtime) {
    this.#runtime = runtime;
    this.#worker.addEventListener("message", ({ data: { number, answer, refusal } }) => {
      const { done, failed } = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (refusal === undefined) done(answer);
      else failed(new EngineError(refusal));
    });
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      for (const { failed } of this.#waiting.values()) failed(new EngineError(event.message || AWAY));
      this.#waiting.clear();
    });
    this.#begin().catch(() => {}); // Told when something is asked.
  }

  async ask(task, content) {
    await this.#begin();
    return this.#send(task, content);
  }

  #begin() {
    this.#begun ??= this.#send("begin", { runtime: this.#runtime }).catch(() => {
      this.#begun = null;
      throw new EngineError("What computes the pictures could not be loaded. Reload the page to try again.");
    });
    return this.#begun;
  }

  #send(task, content) {
    const number = ++this.#number;
    return new Promise((done, failed) => {
      this.#waiting.set(number, { done, failed });
      this.#worker.postMessage({ number, task, ...content });
    });
  }
}
