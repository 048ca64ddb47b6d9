// The engine that is the studio's server: photos go there once, then only values, and frames come back.

import { EngineError } from "./engine.js";

/** @import { Engine, Face, Model, Photo, Source } from "./engine.js" */

const AWAY = "The studio's server does not answer. Is it still running?";
const SAID = [1008, 1013]; // The server's own closing codes, which come with a sentence.
const RETRY = [100, 400, 1500]; // Milliseconds.
const GONE = 410;

/** @type {WeakMap<object, string>} What the server calls faces and photos. */
const names = new WeakMap();
/** @type {WeakMap<Photo, Blob>} To bring a photo again that the server had no room for any more. */
const files = new WeakMap();

/** @returns {Promise<Engine>} */
export async function connect() {
  const desk = await (await request("api/desk")).json();
  const socket = new FrameSocket();
  return {
    models: desk.models,
    can: desk.can,
    note: "Pictures stay in the memory of the computer that runs the studio; nothing is saved there.",
    starts: async (model, page) => {
      const found = await (await request(`api/starts/${model.id}/${page}`)).json();
      return found.map((start) => ({ ...start, pixels: bytes(start.pixels) }));
    },
    read,
    open: async (model, source) => {
      const data = await opened(model, source);
      const face = {
        model, source, original: bytes(data.original), values: data.values, confidences: data.confidences,
        familiar: data.familiar, error: data.error,
      };
      names.set(face, data.id);
      return face;
    },
    decode: (face, vectors) => anew(face, () => socket.decode(names.get(face), vectors)),
    paste: (face, values) => anew(face, async () => (await post("api/paste", { face: names.get(face), values })).blob()),
    close: (thing) => {
      const key = "preview" in thing ? "photo" : "face";
      post("api/close", { [key]: names.get(thing) }).catch(() => {}); // It gives way by itself some day.
    },
  };
}

/** @type {Engine["read"]} */
async function read(picture, name) {
  const data = await upload(picture);
  const preview = await createImageBitmap(await (await request(`api/photos/${data.id}`)).blob());
  const photo = { name, width: data.width, height: data.height, faces: data.faces, preview };
  names.set(photo, data.id);
  files.set(photo, picture);
  return photo;
}

async function upload(picture) {
  return (await request("api/photos", { method: "POST", body: picture })).json();
}

/** Have a source encoded, and bring its photo again if the server has lost it. @param {Model} model @param {Source} source */
async function opened(model, source) {
  if ("start" in source) return (await post("api/faces", { model: model.id, start: source.start })).json();
  const { photo, placement } = source;
  const ask = async () => (await post("api/faces", { model: model.id, photo: names.get(photo), placement })).json();
  try {
    return await ask();
  } catch (error) {
    if (error.status !== GONE) throw error;
    names.set(photo, (await upload(files.get(photo))).id);
    return ask();
  }
}

/** Do something with a face, and have it encoded again first if the server has lost it. @param {Face} face */
async function anew(face, work) {
  try {
    return await work();
  } catch (error) {
    if (error.status !== GONE) throw error;
    names.set(face, (await opened(face.model, face.source)).id);
    return work();
  }
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new EngineError(AWAY);
  }
  if (response.ok) return response;
  throw Object.assign(new EngineError((await response.text()).trim()), { status: response.status });
}

function post(path, data) {
  return request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) });
}

function bytes(base64) {
  return Uint8ClampedArray.from(atob(base64), (character) => character.charCodeAt(0));
}

/** One request at a time, as engine.js has it. */
class FrameSocket {
  #number = 0;
  /** @type {WebSocket|null} */
  #socket = null;

  async decode(face, vectors) {
    const number = ++this.#number;
    const text = JSON.stringify({ n: number, face, values: vectors });
    for (const pause of [...RETRY, null]) {
      try {
        return await this.#ask(await this.#open(), number, text, vectors.length);
      } catch (error) {
        if (error instanceof EngineError || pause === null) throw error instanceof EngineError ? error : new EngineError(AWAY);
        await new Promise((done) => setTimeout(done, pause));
      }
    }
  }

  async #open() {
    if (this.#socket?.readyState === WebSocket.OPEN) return this.#socket;
    const address = new URL("api/frames", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    await new Promise((done, failed) => Object.assign(socket, { onopen: done, onerror: failed, onclose: failed }));
    this.#socket = socket;
    return socket;
  }

  #ask(socket, number, text, count) {
    return new Promise((done, failed) => {
      socket.onclose = ({ code, reason }) => failed(SAID.includes(code) ? new EngineError(reason) : new Error("closed"));
      socket.onmessage = ({ data }) => {
        if (typeof data === "string") {
          if (JSON.parse(data).n === number) failed(Object.assign(new EngineError("gone"), { status: GONE }));
          return;
        }
        const header = new DataView(data);
        if (header.getUint32(0, true) !== number) return;
        const size = (data.byteLength - 8) / count;
        const frames = Array.from({ length: count }, (_, k) => new Uint8ClampedArray(data, 8 + k * size, size));
        done(Object.assign(frames, { milliseconds: header.getFloat32(4, true) }));
      };
      socket.send(text);
    });
  }
}
