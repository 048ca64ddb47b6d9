// The page: a desk, what shows it, and what brings pictures to it.

import { Desk } from "./desk.js";
import { attempt, byId, element, tell } from "./dom.js";
import { connect } from "./engine-choice.js";
import { showBank } from "./faders.js";
import { Live } from "./live.js";
import { askPlacement } from "./place-dialog.js";
import { placed, within } from "./placing.js";
import { offerSaving } from "./saving.js";
import { fromFragment, fromJson, settingOf, toFragment } from "./setting.js";
import { offerSources, offerStarts } from "./sources.js";
import { showStage } from "./stage.js";
import { showGrid, showStrip } from "./strip.js";

/** @import { Setting } from "./setting.js" */

const MOST_SETTING = 1e6; // Bytes.
const AGAIN = "This setting is of a picture of your own, which a link does not hold: choose it again, and the faders go where they were.";

let desk;
/** @type {Setting|null} Of a picture that is still to be chosen. */
let waiting = null;
let ownFragment = "";

async function begin() {
  const engine = await connect();
  desk = new Desk(engine);
  const live = new Live(engine, (error) => tell(error.message, true));
  byId("note").textContent = `A picture can also be dropped or pasted anywhere on this page. ${engine.note}`;
  showBank(byId("bank"), desk);
  showStage(desk, live);
  showStrip(desk, live);
  showGrid(desk, live);
  offerSaving(desk);
  offerSources(take);
  offerStarts(desk, openStart);
  offerModels();
  offerHistory();
  offerLink();
  byId("place").addEventListener("click", () => attempt(placeByHand));
  desk.addEventListener("face", () => {
    byId("model").value = desk.model.id;
    byId("place").hidden = !(desk.face && "photo" in desk.face.source);
  });
  desk.addEventListener("values", () => { if (byId("message").classList.contains("wrong")) tell(""); });
  await attempt(() => apply(fromFragment(location.hash)));
  if (!desk.face && !waiting) await attempt(openFirst);
}

/** A picture of the visitor's, or a setting that was saved. @param {Blob} file */
async function take(file, name) {
  if (file.type === "application/json" || name.toLowerCase().endsWith(".json")) {
    const setting = file.size <= MOST_SETTING ? fromJson(await file.text()) : null;
    if (!setting) throw Object.assign(new Error(`${name} is no setting of the studio.`), { name: "EngineError" });
    return apply(setting);
  }
  tell("Reading the picture …");
  const photo = await desk.engine.read(file, name);
  tell("");
  const before = desk.face?.source;
  let placement = placed(desk.model, photo);
  const same = waiting?.photo && waiting.photo.width === photo.width && waiting.photo.height === photo.height;
  const changes = waiting?.changes ?? {};
  if (same && waiting.placement) placement = within(waiting.placement, photo);
  else if (desk.model.points && photo.faces && photo.faces.length !== 1 && !(desk.model.drawn && photo.faces.length === 0)) {
    const note = photo.faces.length ? `There are ${photo.faces.length} faces; choose one.` : "No face was found; put the frame around it by hand.";
    placement = await askPlacement(desk.model, photo, placement, note);
    if (!placement) return desk.engine.close(photo);
  }
  await desk.open(desk.model, { photo, placement }, changes);
  waiting = null;
  if (before && "photo" in before) desk.engine.close(before.photo);
}

async function placeByHand() {
  const { photo, placement } = desk.face.source;
  const chosen = await askPlacement(desk.model, photo, placement, "");
  if (chosen) await desk.open(desk.model, { photo, placement: chosen }, desk.changes);
}

async function openStart(index) {
  const before = desk.face?.source;
  tell("");
  waiting = null;
  await desk.open(desk.model, { start: index });
  if (before && "photo" in before) desk.engine.close(before.photo);
}

async function openFirst() {
  if (!desk.model.starts) return tell("Open a picture to begin.");
  const [first] = await desk.engine.starts(desk.model, 0);
  await openStart(first.index);
}

/** Put a setting on the desk, or say what it takes. @param {Setting|null} setting */
async function apply(setting) {
  if (!setting) return;
  const model = desk.engine.models.find(({ name }) => name === setting.model);
  if (!model) throw Object.assign(new Error(`This setting is of the model ${setting.model}, which is not open here.`), { name: "EngineError" });
  if (setting.start !== null && model.starts) {
    await desk.open(model, { start: setting.start }, setting.changes);
    tell("");
  } else {
    const open = desk.face?.source;
    const same = open && "photo" in open && setting.photo && open.photo.width === setting.photo.width && open.photo.height === setting.photo.height;
    if (same) return desk.open(model, { photo: open.photo, placement: setting.placement ?? open.placement }, setting.changes);
    desk.clear(model);
    waiting = setting;
    tell(AGAIN);
  }
}

function offerModels() {
  const select = byId("model");
  const { models } = desk.engine;
  select.replaceChildren(...models.map(({ id, name }) => element("option", { value: id, text: name })));
  byId("model-choice").hidden = models.length < 2;
  const change = async () => {
    const model = models.find(({ id }) => id === select.value);
    const source = desk.face?.source;
    if (source && "photo" in source) await desk.open(model, { photo: source.photo, placement: placed(model, source.photo) }, desk.changes);
    else if (source && model.starts) await desk.open(model, source, desk.changes);
    else {
      desk.clear(model);
      await openFirst();
    }
  };
  select.addEventListener("change", async () => {
    await attempt(change);
    select.value = desk.model.id; // Where it did not work, the one before.
  });
}

function offerHistory() {
  byId("undo").addEventListener("click", () => desk.undo());
  byId("redo").addEventListener("click", () => desk.redo());
  byId("reset").addEventListener("click", () => desk.reset());
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) desk.redo();
    else desk.undo();
  });
}

/** The address always carries the setting, so that a reload changes nothing. */
function offerLink() {
  desk.addEventListener("settled", () => {
    ownFragment = toFragment(settingOf(desk));
    history.replaceState(null, "", ownFragment);
  });
  window.addEventListener("hashchange", () => {
    if (location.hash !== ownFragment) attempt(() => apply(fromFragment(location.hash)));
  });
  byId("link").addEventListener("click", () => attempt(async () => {
    const photo = "photo" in desk.face.source;
    try {
      await navigator.clipboard.writeText(location.href);
      tell(`The link is copied.${photo ? " It holds the faders, not the picture." : ""}`);
    } catch {
      tell(`The link is in the address bar.${photo ? " It holds the faders, not the picture." : ""}`);
    }
  }));
}

begin().catch((error) => tell(error.message, true));
