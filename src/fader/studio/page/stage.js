// The original beside the edit; the edit follows the hand.

import { byId, element, paint } from "./dom.js";

/** @import { Desk } from "./desk.js" */
/** @import { Live } from "./live.js" */

/**
 * Keep the pictures as the desk is. When a picture is painted the edit's canvas has an event "painted": its detail
 * has `when`, the time stamp of the input event that moved the fader, and `milliseconds`, the engine's own time.
 * benchmarks/studio.py listens to it.
 * @param {Desk} desk @param {Live} live
 */
export function showStage(desk, live) {
  const edit = byId("edit");
  const side = () => desk.model.size;
  desk.addEventListener("face", () => {
    document.body.classList.toggle("ready", desk.face !== null);
    for (const id of ["compare", "link", "save"]) byId(id).disabled = desk.face === null;
    if (!desk.face) {
      live.forget();
      for (const id of ["undo", "redo", "reset"]) byId(id).disabled = true;
      for (const id of ["original", "compared", "edit"]) byId(id).width = side(); // Which clears it.
      byId("notice").hidden = true;
      return;
    }
    paint(byId("original"), desk.face.original, side());
    paint(byId("compared"), desk.face.original, side());
    showNotice(desk);
  });
  desk.addEventListener("values", (event) => {
    const { face } = desk;
    live.move(face, desk.values, (pixels, milliseconds) => {
      if (face !== desk.face) return;
      paint(edit, pixels, side());
      edit.dispatchEvent(new CustomEvent("painted", { detail: { when: event.detail.when, milliseconds } }));
    });
    byId("reset").disabled = !desk.changed;
  });
  desk.addEventListener("settled", () => {
    byId("undo").disabled = !desk.canUndo;
    byId("redo").disabled = !desk.canRedo;
    edit.setAttribute("aria-label", `The edited picture: ${inWords(desk)}`);
  });
  comparing(byId("compare"));
  comparing(byId("edit"));
}

function inWords(desk) {
  const changes = Object.entries(desk.changes).map(([name, value]) => {
    const attribute = desk.model.attributes.find((one) => one.name === name);
    return `${name} ${attribute.binary ? value : attribute.values[value]}`;
  });
  return changes.join(", ") || "nothing changed, the model's reconstruction";
}

/** As long as it is pressed, the original is where the edit was. @param {HTMLElement} pressed */
function comparing(pressed) {
  const show = (original) => {
    byId("compared").hidden = !original;
    byId("edit-caption").textContent = original ? "Original" : "Edit";
    byId("compare").setAttribute("aria-pressed", original);
  };
  pressed.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !document.body.classList.contains("ready")) return;
    pressed.setPointerCapture(event.pointerId);
    show(true);
  });
  for (const over of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) pressed.addEventListener(over, () => show(false));
  pressed.addEventListener("keydown", (event) => {
    if (event.key === " " || event.key === "Enter") { event.preventDefault(); show(true); }
  });
  pressed.addEventListener("keyup", () => show(false));
  pressed.addEventListener("contextmenu", (event) => event.preventDefault()); // A long touch is a press here.
}

/** What is to be said of the picture on the desk. @param {Desk} desk */
function showNotice(desk) {
  const { face, model } = desk;
  const notice = byId("notice");
  const photo = "photo" in face.source;
  const lines = [];
  if (face.familiar === false) {
    lines.push(element("strong", { text: "This picture is unlike those that this model was trained on." }));
    lines.push(` It ${model.drawn ? "edits drawn portraits" : "knows other pictures"}, and what it makes of this one is not to be trusted.`);
    lines.push(ways());
  } else if (model.drawn && photo && face.familiar === null) {
    lines.push("This model edits drawn portraits; of a photograph it makes little.", ways());
  }
  notice.replaceChildren(...lines);
  notice.hidden = lines.length === 0;
  notice.classList.toggle("unfamiliar", face.familiar === false);
}

function ways() {
  const code = (text) => element("code", { text });
  return element("ul", {
    children: [
      element("li", { children: ["Train on pictures of your own: ", code("fader prepare folder"), ", then ", code("fader train"), "."] }),
      element("li", { children: ["Import a model that others trained: ", code("fader import released"), ", or open ", code("hf:user/model"), "."] }),
      element("li", { text: "Or start from a picture of the kind that it knows." }),
    ],
  });
}
