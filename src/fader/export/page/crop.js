// Cutting a model's frame out of a photo, as fader's alignment does.

/** @import { Placement } from "./engine.js" */

export const MOST_PIXELS = 1e8; // Of a photo.
const PREVIEW = 1280; // The longer side of what is shown of a photo.
const OVERSAMPLING = 4; // Pixels that the browser is to make of a frame for each of the model's, at the most.
const LOBES = 3; // Of the Lanczos filter.

/** @param {ImageBitmap} bitmap @returns {Promise<ImageBitmap>} */
export function preview(bitmap) {
  const scale = Math.min(1, PREVIEW / Math.max(bitmap.width, bitmap.height));
  const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((edge) => Math.max(1, Math.round(edge * scale)));
  return createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
}

/**
 * What a frame holds of a picture: RGBA, size x size. Beyond the picture's border the picture is mirrored, and what is
 * transparent is white.
 * @param {ImageBitmap} bitmap @param {Placement} placement
 */
export function cropped(bitmap, { x, y, side, angle }, size) {
  const drawn = Math.max(size, Math.min(OVERSAMPLING * size, Math.round(side)));
  const context = new OffscreenCanvas(drawn, drawn).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, drawn, drawn);
  context.imageSmoothingQuality = "high";
  context.translate(drawn / 2, drawn / 2);
  context.rotate((-angle * Math.PI) / 180);
  context.scale(drawn / side, drawn / side);
  context.translate(-x, -y);
  const reach = side * Math.SQRT1_2 + 1;
  const { width, height } = bitmap;
  for (let row = Math.floor((y - reach) / height); row * height < y + reach; row++) {
    for (let column = Math.floor((x - reach) / width); column * width < x + reach; column++) {
      context.save();
      context.translate(column * width, row * height);
      if (column % 2) context.transform(-1, 0, 0, 1, width, 0);
      if (row % 2) context.transform(1, 0, 0, -1, 0, height);
      context.drawImage(bitmap, 0, 0);
      context.restore();
    }
  }
  return scaled(context.getImageData(0, 0, drawn, drawn).data, drawn, size);
}

/** RGBA of a whole picture. @param {ImageBitmap} bitmap */
export function rgbaOf(bitmap) {
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

/** Opaque RGBA of a square, scaled with the Lanczos filter widened as it shrinks: Pillow's. */
function scaled(rgba, from, to) {
  if (from === to) return rgba;
  const half = along(rgba, from, from, to);
  return along(half, to, from, to);
}

/** Scale the columns of RGBA [rows = from, width] and transpose: [width, to]. */
function along(rgba, width, from, to) {
  const made = new Uint8ClampedArray(4 * width * to).fill(255);
  const shrink = from / to;
  const support = LOBES * Math.max(1, shrink);
  for (let place = 0; place < to; place++) {
    const centre = (place + 0.5) * shrink;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = Array.from({ length: last - first }, (_, i) => lanczos((first + i + 0.5 - centre) / Math.max(1, shrink)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let column = 0; column < width; column++) {
      for (let k = 0; k < 3; k++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * rgba[4 * ((first + i) * width + column) + k];
        made[4 * (column * to + place) + k] = sum / total; // Rounded and cut off by the array.
      }
    }
  }
  return made;
}

function lanczos(x) {
  if (x === 0) return 1;
  if (Math.abs(x) >= LOBES) return 0;
  const angle = Math.PI * x;
  return (LOBES * Math.sin(angle) * Math.sin(angle / LOBES)) / angle ** 2;
}
