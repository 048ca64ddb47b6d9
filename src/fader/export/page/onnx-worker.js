// The model at work, beside the page so that the page never waits: ONNX Runtime Web with one thread, which asks for no
// headers of the server. Pictures come and go as RGBA; what the graphs make of bytes and values is in the graphs.

/** @import { Model } from "./engine.js" */

const LIKE_WASM = 2; // Levels of 255 by which WebGPU may differ.
const PROBES = [0, 1]; // Values of all faders that the two are compared at.
const LUMA = [299, 587, 114]; // Of a thousand, for grey models: as Pillow has it.

let ort;
let provider;
const graphs = new Map(); // By a model's folder: promises of its sessions.
const faces = new Map();
let named = 0;

const tasks = {
  async begin({ runtime }) {
    provider = runtime.provider;
    ort = await import(runtime.script);
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = 1;
    const [mjs, wasm] = [runtime.loader, runtime.program].map((path) => new URL(path, import.meta.url).href);
    ort.env.wasm.wasmPaths = { mjs, wasm };
  },

  async open({ model, picture, values }) {
    const { encoder, decoder, classifier, familiarity } = await sessions(model);
    const shape = [1, model.size, model.size, model.channels];
    const original = new ort.Tensor("uint8", withChannels(picture, model.channels), shape);
    const latent = await encoder.run({ picture: original });
    const seen = values ? null : await classifier.run({ picture: original });
    const own = new ort.Tensor("float32", seen ? seen.values.data : Float32Array.from(values), [1, model.attributes.length]);
    const face = { model, latent, own };
    const { pixels } = await decoder.run(inputs(decoder, face, own));
    const { errors, familiar } = await familiarity.run({ picture: original, pixels });
    faces.set(++named, face);
    return {
      name: named,
      values: [...own.data],
      confidences: seen ? [...seen.confidences.data] : null,
      familiar: familiar ? Boolean(familiar.data[0]) : null,
      error: errors.data[0],
    };
  },

  async decode({ name, vectors }) {
    const begun = performance.now();
    const face = faces.get(name);
    const { decoder } = await sessions(face.model);
    const frames = [];
    for (const vector of vectors) {
      const values = new ort.Tensor("float32", Float32Array.from(vector), [1, vector.length]);
      const { picture } = await decoder.run(inputs(decoder, face, values), ["picture"]);
      frames.push(withAlpha(picture.data, face.model.channels));
    }
    return { frames, milliseconds: performance.now() - begun };
  },

  close({ name }) {
    faces.delete(name);
  },
};

/** What a decoder is fed: an IcGAN's takes the picture's own values besides. */
function inputs(decoder, { latent, own }, values) {
  const all = { ...latent, values, own };
  return Object.fromEntries(decoder.inputNames.map((name) => [name, all[name]]));
}

/** @param {Model} model */
function sessions(model) {
  if (!graphs.has(model.folder)) {
    const loading = load(model);
    graphs.set(model.folder, loading);
    loading.catch(() => graphs.delete(model.folder)); // To be tried again.
  }
  return graphs.get(model.folder);
}

async function load(model) {
  const loaded = {};
  for (const name of model.graphs) loaded[name] = await session(model, name, "wasm");
  if (provider === "webgpu") loaded.decoder = await onWebGpu(model, loaded);
  return loaded;
}

async function session(model, name, provider) {
  const response = await fetch(new URL(`${model.folder}/${name}.onnx`, import.meta.url));
  if (!response.ok) throw new Error("The model could not be loaded.");
  return ort.InferenceSession.create(new Uint8Array(await response.arrayBuffer()), { executionProviders: [provider] });
}

/** The decoder on WebGPU if there is one that computes what WASM does, else the one that there is. */
async function onWebGpu(model, { encoder, decoder }) {
  try {
    const fast = await session(model, "decoder", "webgpu");
    const side = model.size;
    const grey = new Uint8Array(side * side * model.channels).fill(128);
    const latent = await encoder.run({ picture: new ort.Tensor("uint8", grey, [1, side, side, model.channels]) });
    for (const probe of PROBES) {
      const values = new ort.Tensor("float32", new Float32Array(model.attributes.length).fill(probe), [1, model.attributes.length]);
      const fed = inputs(decoder, { latent, own: values }, values);
      const [one, other] = [await decoder.run(fed, ["picture"]), await fast.run(fed, ["picture"])];
      if (one.picture.data.some((level, i) => Math.abs(level - other.picture.data[i]) > LIKE_WASM)) throw new Error("It computes something else.");
    }
    return fast;
  } catch (error) {
    console.info(`WebGPU is not used: ${error.message}`);
    return decoder;
  }
}

function withChannels(rgba, channels) {
  const made = new Uint8Array((rgba.length / 4) * channels);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    if (channels === 1) made[to++] = Math.round((LUMA[0] * rgba[from] + LUMA[1] * rgba[from + 1] + LUMA[2] * rgba[from + 2]) / 1000);
    else for (let k = 0; k < 3; k++) made[to++] = rgba[from + k];
  }
  return made;
}

function withAlpha(levels, channels) {
  const made = new Uint8ClampedArray((levels.length / channels) * 4).fill(255);
  const step = channels === 1 ? 0 : 1;
  for (let from = 0, to = 0; from < levels.length; from += channels, to += 4) {
    for (let k = 0; k < 3; k++) made[to + k] = levels[from + k * step];
  }
  return made;
}

// One after the other, in the order that they came in.
let last = Promise.resolve();
self.addEventListener("message", ({ data: { number, task, ...content } }) => {
  last = last.then(async () => {
    try {
      const answer = await tasks[task](content);
      self.postMessage({ number, answer }, answer?.frames?.map((frame) => frame.buffer) ?? []);
    } catch (error) {
      self.postMessage({ number, refusal: `The model cannot be used in this browser: ${error.message}` });
    }
  });
});
