// Where the model's frame lies in a photo: the geometry.

/** @import { Model, Photo, Placement } from "./engine.js" */

/** Of a face's five points those that a visitor can click: both eyes and the middle of the mouth. */
export function eyesAndMouth([leftEye, rightEye, , left, right]) {
  return [leftEye, rightEye, [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2]];
}

/**
 * Where a frame has to lie for its points to fall as close to a picture's as a similarity allows (least squares).
 * @param {number[][]} points  In the picture's pixels.
 * @param {number[][]} framePoints  The same ones as shares of the frame's side.
 * @returns {Placement|null}  Null if they say nothing, such as all in one place.
 */
export function place(points, framePoints) {
  const middle = (list) => [0, 1].map((axis) => list.reduce((sum, point) => sum + point[axis], 0) / list.length);
  const [to, from] = [middle(points), middle(framePoints)];
  // As complex numbers: picture = a * frame + b.
  let [real, imaginary, spread] = [0, 0, 0];
  points.forEach((point, i) => {
    const [px, py, fx, fy] = [point[0] - to[0], point[1] - to[1], framePoints[i][0] - from[0], framePoints[i][1] - from[1]];
    real += px * fx + py * fy;
    imaginary += py * fx - px * fy;
    spread += fx * fx + fy * fy;
  });
  const [a, b] = [real / spread, imaginary / spread];
  const side = Math.hypot(a, b);
  if (!(side >= 1)) return null;
  const [dx, dy] = [0.5 - from[0], 0.5 - from[1]];
  return { x: to[0] + a * dx - b * dy, y: to[1] + b * dx + a * dy, side, angle: (Math.atan2(b, a) * 180) / Math.PI };
}

/** Where the frame lies by itself: at the face (the largest by default), else where the training pictures were cut. */
export function placed(/** @type {Model} */ model, /** @type {Photo} */ photo, face = 0) {
  const found = photo.faces?.[face];
  const at = found && model.points && place(found, model.points);
  if (at) return at;
  const { width, height } = photo;
  if (model.crop && model.crop.size[0] === width && model.crop.size[1] === height) {
    const [left, top, right, bottom] = model.crop.box;
    return { x: (left + right) / 2, y: (top + bottom) / 2, side: right - left, angle: 0 };
  }
  const side = Math.min(width, height);
  return { x: Math.floor((width - side) / 2) + side / 2, y: Math.floor((height - side) / 2) + side / 2, side, angle: 0 };
}

/**
 * Where a frame lies for another model to see the same: there if both lie in the same place by themselves, else by the
 * points of both; where there are none, by itself.
 * @param {Placement} placement  Of the first model. @param {Model} from @param {Model} to @param {Photo} photo
 * @returns {Placement}
 */
export function carried(placement, from, to, photo) {
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const own = placed(to, photo);
  if (same(from.points, to.points) && same(placed(from, photo), own)) return placement;
  const at = from.points && to.points && place(inPhoto(from.points, placement), to.points);
  return at ? within(at, photo) : own;
}

/** Where points of a frame, as shares of its side, lie in the photo's pixels. */
function inPhoto(points, { x, y, side, angle }) {
  const [cos, sin] = [Math.cos, Math.sin].map((of) => side * of((angle * Math.PI) / 180));
  return points.map(([u, v]) => [x + cos * (u - 0.5) - sin * (v - 0.5), y + sin * (u - 0.5) + cos * (v - 0.5)]);
}

/** A placement that can be used: its centre in the picture, neither tiny nor huge. @returns {Placement} */
export function within(placement, { width, height }) {
  const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
  return {
    x: clamp(placement.x, 0, width),
    y: clamp(placement.y, 0, height),
    side: clamp(placement.side, Math.min(8, width, height), 2 * Math.max(width, height)),
    angle: ((((placement.angle + 180) % 360) + 360) % 360) - 180,
  };
}
