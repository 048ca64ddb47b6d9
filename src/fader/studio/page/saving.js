// What can be taken away: picture, strip, grid, setting, and the photo with the edited face in it.

import { attempt, byId, element, png, save, tell } from "./dom.js";
import { toJson } from "./setting.js";
import { gridStops, stopName, stops } from "./strip.js";

/** @import { Desk } from "./desk.js" */
/** @import { Live } from "./live.js" */

const LEGEND = 18; // Pixels below a picture of the strip.

/** @param {Desk} desk @param {Live} live */
export function offerSaving(desk, live) {
  const whole = async (draw, name) => {
    tell("Waiting for the pictures …");
    await live.done();
    tell("");
    if (desk.face) save(await png(draw(desk)), name);
  };
  byId("save").addEventListener("click", () => {
    const dialog = byId("save-dialog");
    const entry = (text, work) => {
      const button = element("button", { type: "button", text });
      button.addEventListener("click", () => { dialog.close(); attempt(work); });
      return button;
    };
    const close = element("button", { type: "button", text: "Close" });
    close.addEventListener("click", () => dialog.close());
    const entries = [
      entry("The picture (PNG)", async () => save(await png(byId("edit")), "fader.png")),
      entry("The strip (PNG)", () => whole(drawnStrip, "fader-strip.png")),
      ...(byId("across").open ? [entry("The grid (PNG)", () => whole(drawnGrid, "fader-grid.png"))] : []),
      entry("The setting (JSON)", async () => save(new Blob([toJson(desk)], { type: "application/json" }), "fader-setting.json")),
    ];
    dialog.replaceChildren(
      element("h2", { id: "save-title", text: "Save" }),
      element("div", { className: "list", children: entries }),
      element("p", { className: "soft", text: "A setting is opened like a picture." }),
      element("div", { className: "tools end", children: [close] }),
    );
    dialog.showModal();
  });
  byId("paste").addEventListener("click", () => attempt(() => putBack(desk)));
  desk.addEventListener("face", () => {
    const photo = desk.face !== null && "photo" in desk.face.source;
    byId("paste").hidden = !(desk.engine.can.paste && photo && desk.face.familiar !== false);
  });
}

/** Show the photo with the edited face in it, and offer it. @param {Desk} desk */
async function putBack(desk) {
  tell("Putting the face back …");
  const blob = await desk.engine.paste(desk.face, desk.values);
  tell("");
  const picture = await createImageBitmap(blob);
  const canvas = element("canvas", { className: "placing", width: picture.width, height: picture.height, role: "img", aria: { label: "The photo with the edited face in it" } });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  const dialog = byId("paste-dialog");
  const take = element("button", { type: "button", className: "main", text: "Save (PNG)" });
  const close = element("button", { type: "button", text: "Close" });
  take.addEventListener("click", () => save(blob, "fader-photo.png"));
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(
    element("h2", { id: "paste-title", text: "Put back into the photo" }),
    canvas,
    element("p", { className: "soft", text: `${picture.width} x ${picture.height} pixels, without metadata such as the place. Say of an edited picture that it is edited.` }),
    element("div", { className: "tools end", children: [close, take] }),
  );
  dialog.onclose = () => dialog.replaceChildren();
  dialog.showModal();
}

/** The strip as one picture, with its values below. @param {Desk} desk @returns {HTMLCanvasElement} */
function drawnStrip(desk) {
  const attribute = desk.model.attributes[desk.chosen];
  const frames = [...byId("strip").querySelectorAll("canvas")];
  const { size } = desk.model;
  const [canvas, context] = sheet(frames.length * size, size + LEGEND);
  stops(attribute).forEach((value, i) => {
    context.drawImage(frames[i], i * size, 0);
    context.fillText(stopName(attribute, value), (i + 0.5) * size, size + LEGEND / 2, size);
  });
  return canvas;
}

/** The grid as one picture, with its values above and beside it. @param {Desk} desk @returns {HTMLCanvasElement} */
function drawnGrid(desk) {
  const grid = byId("grid");
  const { size, attributes } = desk.model;
  const [x, y] = ["across-x", "across-y"].map((id) => attributes[byId(id).value]);
  const [canvas, context] = sheet(grid.width + size, grid.height + 2 * LEGEND);
  context.drawImage(grid, size, 2 * LEGEND);
  context.fillText(`across: ${x.name}, down: ${y.name}`, canvas.width / 2, LEGEND / 2, canvas.width);
  gridStops(x).forEach((value, i) => context.fillText(stopName(x, value), (i + 1.5) * size, 1.5 * LEGEND, size));
  gridStops(y).forEach((value, i) => context.fillText(stopName(y, value), size / 2, 2 * LEGEND + (i + 0.5) * size, size));
  return canvas;
}

/** A white canvas, and its context for black text. */
function sheet(width, height) {
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  Object.assign(context, { fillStyle: "#fff", textAlign: "center", textBaseline: "middle", font: "12px sans-serif" });
  context.fillRect(0, 0, width, height);
  context.fillStyle = "#000";
  return [canvas, context];
}
