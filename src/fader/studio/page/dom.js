// Small helpers for the document. Texts may hold anything, so they are only ever set as text.

/**
 * An element with properties; `text` and `children` go into it, `data` and `aria` become attributes.
 * @param {string} name
 * @param {Record<string, any>} [properties]
 */
export function element(name, { text, children = [], aria = {}, attributes = {}, ...properties } = {}) {
  const made = Object.assign(document.createElement(name), properties);
  if (text !== undefined) made.append(text);
  for (const [key, value] of Object.entries(aria)) made.setAttribute(`aria-${key}`, value);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  return document.getElementById(id);
}

/** Write RGBA pixels to a canvas, which becomes as large as they are. @param {HTMLCanvasElement} canvas */
export function paint(canvas, pixels, side) {
  if (canvas.width !== side || canvas.height !== side) Object.assign(canvas, { width: side, height: side });
  canvas.getContext("2d").putImageData(new ImageData(pixels, side, side), 0, 0);
}

/** A value as people read it: 0.5, −1. */
export function shown(value) {
  return String(Math.round(value * 100) / 100).replace("-", "\u2212");
}

/** Say something to the visitor: good news, or what went wrong. An empty text takes it back. */
export function tell(text, wrong = false) {
  const message = byId("message");
  message.textContent = text;
  message.classList.toggle("wrong", wrong);
}

/** Do something that may fail, and say so if it does. @template R @param {() => Promise<R>} work */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message, true);
    if (!(error.name === "EngineError" || error instanceof DOMException)) console.warn(error);
    return undefined;
  }
}

/** Hand a file to the visitor. @param {Blob} blob */
export function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** @param {HTMLCanvasElement} canvas @returns {Promise<Blob>} */
export function png(canvas) {
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
