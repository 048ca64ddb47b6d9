// The setting: which picture, and where the faders are. In a link's fragment, and as a JSON file.

/** @import { Desk } from "./desk.js" */
/** @import { Placement } from "./engine.js" */

const FORMAT = "fader-setting";
const BEFORE = "set."; // An attribute's name in a link; it may be any name.

/**
 * @typedef {object} Setting
 * @property {string} model  The name.
 * @property {number|null} start  The picture to start from; null for one of the visitor's own.
 * @property {{width: number, height: number}|null} photo  How large that is.
 * @property {Placement|null} placement  Where the frame lies in it.
 * @property {Record<string, number>} changes  What differs from the picture's own values; a switch's is an index.
 */

/** @param {Desk} desk @returns {Setting} */
export function settingOf(desk) {
  const { source } = desk.face;
  const photo = "photo" in source ? { width: source.photo.width, height: source.photo.height } : null;
  return {
    model: desk.model.name,
    start: "start" in source ? source.start : null,
    photo,
    placement: "photo" in source ? source.placement : null,
    changes: desk.changes,
  };
}

/** A setting as a link's fragment. @param {Setting} setting */
export function toFragment({ model, start, photo, placement, changes }) {
  const fields = new URLSearchParams({ model });
  if (start !== null) fields.set("start", start);
  if (photo) fields.set("photo", `${photo.width}x${photo.height}`);
  if (placement) fields.set("at", ["x", "y", "side", "angle"].map((key) => Number(placement[key].toFixed(3))).join(","));
  for (const [name, value] of Object.entries(changes)) fields.set(BEFORE + name, value);
  return `#${fields}`;
}

/** The setting of a link's fragment; null if there is none. @returns {Setting|null} */
export function fromFragment(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  if (!fields.has("model")) return null;
  const photo = /^(\d{1,6})x(\d{1,6})$/.exec(fields.get("photo") ?? "");
  const at = (fields.get("at") ?? "").split(",").map(Number);
  const changes = [...fields].filter(([key]) => key.startsWith(BEFORE)).map(([key, value]) => [key.slice(BEFORE.length), Number(value)]);
  return {
    model: fields.get("model"),
    start: /^\d{1,12}$/.test(fields.get("start") ?? "") ? Number(fields.get("start")) : null,
    photo: photo && { width: Number(photo[1]), height: Number(photo[2]) },
    placement: placementOf({ x: at[0], y: at[1], side: at[2], angle: at[3] }),
    changes: Object.fromEntries(changes),
  };
}

/** A setting as the text of a file. @param {Desk} desk */
export function toJson(desk) {
  const values = Object.fromEntries(desk.model.attributes.map((attribute, k) => [
    attribute.name, attribute.binary ? desk.values[k] : attribute.values[desk.values[k]],
  ]));
  return `${JSON.stringify({ format: FORMAT, version: 1, ...settingOf(desk), values }, null, 2)}\n`;
}

/** The setting of a file's text; null if it is none. @returns {Setting|null} */
export function fromJson(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    return null;
  }
  if (data?.format !== FORMAT || typeof data.model !== "string" || typeof data.changes !== "object") return null;
  const { model, photo } = data;
  return {
    model,
    start: Number.isInteger(data.start) ? data.start : null,
    photo: Number.isInteger(photo?.width) && Number.isInteger(photo?.height) ? photo : null,
    placement: placementOf(data.placement ?? {}),
    changes: Object.fromEntries(Object.entries(data.changes ?? {}).map(([name, value]) => [name, Number(value)])),
  };
}

function placementOf({ x, y, side, angle }) {
  return [x, y, side, angle].every(Number.isFinite) && side >= 1 ? { x, y, side, angle } : null;
}
