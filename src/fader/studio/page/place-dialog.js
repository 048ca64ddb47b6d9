// Placing the model's frame in a photo by hand: drag, zoom, turn, or click eyes and mouth; or choose among the faces.

import { byId, element, tell } from "./dom.js";
import { eyesAndMouth, place, placed, within } from "./placing.js";

/** @import { Model, Photo, Placement } from "./engine.js" */

const ASKED = ["left eye, left as you see it", "right eye", "middle of the mouth"];

/**
 * Ask the visitor where the frame is to lie.
 * @param {Model} model @param {Photo} photo @param {Placement} placement  Where it lies now.
 * @param {string} note  Why it is asked; may be empty.
 * @returns {Promise<Placement|null>}  Null if the visitor gave up.
 */
export function askPlacement(model, photo, placement, note) {
  const dialog = byId("place-dialog");
  let at = within(placement, photo);
  let clicks = null; // The points clicked so far, while they are asked for.

  const canvas = element("canvas", { className: "placing", role: "img", aria: { label: "The photo with the model's frame in it" } });
  const hint = element("p", { className: "soft", role: "status" });
  const ranges = {
    x: range("Left to right", 0, photo.width),
    y: range("Top to bottom", 0, photo.height),
    side: range("Size", Math.log(Math.min(8, photo.width, photo.height)), Math.log(2 * Math.max(photo.width, photo.height))),
    angle: range("Turn", -180, 180),
  };
  const faces = (photo.faces ?? []).map((_, i) => element("button", { type: "button", text: `Face ${i + 1}` }));
  const clicking = element("button", { type: "button", text: "Click eyes and mouth" });
  const cancel = element("button", { type: "button", text: "Cancel" });
  const use = element("button", { type: "submit", className: "main", text: "Use this" });

  const move = (change) => { at = within({ ...at, ...change }, photo); draw(); };
  const draw = () => {
    drawPlacing(canvas, photo, at, clicks ?? []);
    for (const [key, { input }] of Object.entries(ranges)) input.value = key === "side" ? Math.log(at.side) : at[key];
    hint.textContent = clicks ? `Click the ${ASKED[clicks.length]}.` : note || "Drag the frame, zoom with the wheel or two fingers, or use the sliders.";
  };
  for (const [key, { input }] of Object.entries(ranges)) {
    input.addEventListener("input", () => move({ [key]: key === "side" ? Math.exp(input.value) : Number(input.value) }));
  }
  faces.forEach((button, i) => button.addEventListener("click", () => move(placed(model, photo, i))));
  clicking.addEventListener("click", () => { clicks = clicks ? null : []; draw(); });
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * photo.width, ((event.clientY - box.top) / box.height) * photo.height];
  };
  canvas.addEventListener("click", (event) => {
    if (!clicks) return;
    clicks.push(point(event));
    if (clicks.length === ASKED.length) {
      const found = place(clicks, eyesAndMouth(model.points));
      clicks = null;
      if (found) at = within(found, photo);
      else tell("Those points are all in one place.", true);
    }
    draw();
  });
  dragging(canvas, point, () => (clicks ? null : at), move);
  dialog.replaceChildren(element("form", {
    method: "dialog",
    children: [
      element("h2", { id: "place-title", text: "Place the frame" }),
      hint, canvas,
      ...(faces.length > 1 && model.points ? [element("div", { className: "tools", children: faces })] : []),
      element("div", { className: "ranges", children: Object.values(ranges).map(({ label }) => label) }),
      element("div", { className: "tools end", children: [...(model.points ? [clicking] : []), cancel, use] }),
    ],
  }));
  if (dialog.open) dialog.onclose(); // Who asked before is answered: the visitor gave up.
  return new Promise((done) => {
    let result = null;
    dialog.firstChild.addEventListener("submit", () => { result = at; });
    cancel.addEventListener("click", () => dialog.close());
    dialog.onclose = () => done(result);
    if (!dialog.open) dialog.showModal();
    draw();
    use.focus();
  });
}

function range(text, min, max) {
  const input = element("input", { type: "range", min, max, step: "any" });
  return { input, label: element("label", { children: [element("span", { text }), input] }) };
}

/** Drag with one pointer, zoom and turn with two or the wheel. */
function dragging(canvas, point, current, move) {
  const pointers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    if (!current()) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, point(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = current();
    const before = pointers.get(event.pointerId);
    if (!before || !at) return;
    const now = point(event);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, now);
    const change = { x: at.x + (now[0] - before[0]), y: at.y + (now[1] - before[1]) };
    if (other) {
      const [was, is] = [before, now].map((one) => [one[0] - other[0], one[1] - other[1]]);
      change.x = (change.x + at.x) / 2;
      change.y = (change.y + at.y) / 2;
      change.side = (at.side * Math.hypot(...is)) / Math.max(1, Math.hypot(...was));
      change.angle = at.angle + ((Math.atan2(is[1], is[0]) - Math.atan2(was[1], was[0])) * 180) / Math.PI;
    }
    move(change);
  });
  for (const over of ["pointerup", "pointercancel"]) canvas.addEventListener(over, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    const at = current();
    if (!at) return;
    event.preventDefault();
    move({ side: at.side * Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 500) });
  }, { passive: false });
}

function drawPlacing(canvas, photo, at, clicks) {
  const scale = 1000 / Math.max(photo.width, photo.height);
  const [width, height] = [photo.width, photo.height].map((edge) => Math.max(1, Math.round(edge * scale)));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(photo.preview, 0, 0, width, height);
  context.save();
  context.fillStyle = "rgb(0 0 0 / 55%)";
  context.beginPath();
  context.rect(0, 0, width, height);
  context.translate(at.x * scale, at.y * scale);
  context.rotate((at.angle * Math.PI) / 180);
  const side = at.side * scale;
  context.rect(-side / 2, -side / 2, side, side);
  context.fill("evenodd");
  const line = Math.max(width, height) / 250;
  for (const [style, thick] of [["#000", 2 * line], ["#fff", line]]) {
    Object.assign(context, { strokeStyle: style, lineWidth: thick });
    context.strokeRect(-side / 2, -side / 2, side, side);
    context.beginPath(); // Which edge is up.
    context.moveTo(0, -side / 2);
    context.lineTo(0, -side / 2 - 6 * line);
    context.stroke();
  }
  context.restore();
  for (const [x, y] of clicks) {
    context.beginPath();
    context.arc(x * scale, y * scale, 3 * line, 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: "#fff", strokeStyle: "#000", lineWidth: line });
    context.fill();
    context.stroke();
  }
}
