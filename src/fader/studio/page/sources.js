// Where pictures come from: the file chooser, drag and drop, the clipboard, the camera.

import { attempt, byId, element, paint } from "./dom.js";
import { hasCamera, snapshot } from "./camera.js";

/** @import { Desk } from "./desk.js" */

/** @param {(file: Blob, name: string) => Promise<void>} take  Gets every picture. */
export function offerSources(take) {
  const file = byId("file");
  byId("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    const [chosen] = file.files;
    if (chosen) attempt(() => take(chosen, chosen.name));
    file.value = ""; // So that the same one can be chosen again.
  });

  byId("camera").hidden = !hasCamera;
  byId("camera").addEventListener("click", () => attempt(async () => {
    const taken = await snapshot();
    if (taken) await take(taken, "camera");
  }));

  const asked = () => document.querySelector("dialog[open]") !== null; // The visitor, about something else.
  document.addEventListener("paste", (event) => {
    const [pasted] = event.clipboardData.files;
    if (!pasted || asked()) return;
    event.preventDefault();
    attempt(() => take(pasted, pasted.name));
  });

  const drop = byId("drop");
  const brings = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => { if (brings(event)) drop.hidden = false; });
  document.addEventListener("dragover", (event) => { if (brings(event)) event.preventDefault(); });
  document.addEventListener("dragleave", (event) => { if (event.relatedTarget === null) drop.hidden = true; });
  document.addEventListener("drop", (event) => {
    drop.hidden = true;
    if (!brings(event)) return;
    event.preventDefault();
    const [dropped] = event.dataTransfer.files;
    if (dropped && !asked()) attempt(() => take(dropped, dropped.name));
  });
}

/** The tray of pictures to start from. @param {Desk} desk @param {(index: number) => Promise<void>} open */
export function offerStarts(desk, open) {
  const list = byId("starts-list");
  let shownFor = null;
  const show = (model, page) => attempt(async () => {
    shownFor = model;
    const starts = await desk.engine.starts(model, page).catch((error) => {
      shownFor = null; // To be tried again.
      throw error;
    });
    if (model !== desk.model) return;
    list.replaceChildren(...starts.map(({ index, side, pixels }, i) => {
      const canvas = element("canvas");
      paint(canvas, pixels, side);
      const button = element("button", { type: "button", aria: { label: `${model.starts === "drawn" ? "Portrait" : "Picture"} ${i + 1}` }, children: [canvas] });
      button.dataset.start = index;
      button.addEventListener("click", () => attempt(() => open(index)));
      return element("li", { children: [button] });
    }));
    mark();
  });
  const mark = () => {
    for (const button of list.querySelectorAll("button")) {
      const here = desk.face !== null && "start" in desk.face.source && String(desk.face.source.start) === button.dataset.start;
      button.setAttribute("aria-pressed", Boolean(here));
    }
  };
  byId("draw").addEventListener("click", () => show(desk.model, 1 + Math.floor(Math.random() * 1e6)));
  desk.addEventListener("face", () => {
    byId("starts").hidden = !desk.model.starts;
    byId("draw").hidden = !desk.engine.can.draw;
    const drawn = desk.model.starts === "drawn";
    byId("starts-title").textContent = drawn ? "Drawn portraits to start from" : "Pictures to start from";
    byId("starts-drawn").hidden = !drawn;
    if (desk.model.starts && shownFor !== desk.model) {
      list.replaceChildren();
      show(desk.model, 0);
    }
    mark();
  });
}
