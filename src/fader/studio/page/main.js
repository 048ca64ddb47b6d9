// The page: a desk, what shows it, and what brings pictures to it.

import { Desk } from "./desk.js";
import { attempt, byId, element, tell } from "./dom.js";
import { EngineError } from "./engine.js";
import { connect } from "./engine-choice.js";
import { showBank } from "./faders.js";
import { Live } from "./live.js";
import { askPlacement } from "./place-dialog.js";
import { carried, placed, within } from "./placing.js";
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
let asked = 0; // How often the visitor asked for a picture; the last one wins.
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
  offerSaving(desk, live);
  offerSources(take);
  offerStarts(desk, (index) => { asked++; return openStart(index); });
  offerModels();
  offerHistory();
  offerLink();
  byId("place").addEventListener("click", () => attempt(placeByHand));
  desk.addEventListener("face", () => {
    byId("model").value = desk.model.id;
    byId("place").hidden = !(desk.face && "photo" in desk.face.source);
  });
  desk.addEventListener("values", () => { if (byId("message").classList.contains("wrong")) tell(""); });
  let failure = null;
  await apply(fromFragment(location.hash)).catch((error) => { failure = error; });
  if (!desk.face && !waiting) await attempt(openFirst);
  if (failure) tell(failure.message, true);
}

/** A picture of the visitor's, or a setting that was saved. @param {Blob} file */
async function take(file, name) {
  const turn = ++asked;
  if (file.type === "application/json" || name.toLowerCase().endsWith(".json")) {
    const setting = file.size <= MOST_SETTING ? fromJson(await file.text()) : null;
    if (!setting) throw new EngineError(`${name} is no setting of the studio.`);
    return apply(setting);
  }
  tell("Reading the picture …");
  const photo = await desk.engine.read(file, name);
  if (turn !== asked) return desk.engine.close(photo);
  tell("");
  let placement = placed(desk.model, photo);
  const same = waiting?.photo && waiting.photo.width === photo.width && waiting.photo.height === photo.height;
  const changes = waiting?.changes ?? {};
  if (same && waiting.placement) placement = within(waiting.placement, photo);
  else if (desk.model.points && photo.faces && photo.faces.length !== 1 && !(desk.model.drawn && photo.faces.length === 0)) {
    const note = photo.faces.length ? `There are ${photo.faces.length} faces; choose one.` : "No face was found; put the frame around it by hand.";
    placement = await askPlacement(desk.model, photo, placement, note);
    if (!placement) return desk.engine.close(photo);
  }
  if (await desk.open(desk.model, { photo, placement }, changes)) waiting = null;
}

async function placeByHand() {
  const { photo, placement } = desk.face.source;
  const chosen = await askPlacement(desk.model, photo, placement, "");
  if (chosen && desk.face?.source.photo === photo) await desk.open(desk.model, { photo, placement: chosen }, desk.changes);
}

async function openStart(index) {
  tell("");
  waiting = null;
  await desk.open(desk.model, { start: index });
}

/** Unless the visitor asks for another one first. */
async function openFirst() {
  if (!desk.model.starts) return tell("Open a picture to begin.");
  const [turn, model] = [asked, desk.model];
  const [first] = await desk.engine.starts(model, 0);
  if (turn === asked && model === desk.model) await openStart(first.index);
}

/** Put a setting on the desk, or say what it takes. @param {Setting|null} setting */
async function apply(setting) {
  if (!setting) return;
  const model = desk.engine.models.find(({ name }) => name === setting.model);
  if (!model) throw new EngineError(`This setting is of the model ${setting.model}, which is not open here.`);
  if (setting.start !== null && !model.starts) throw new EngineError(`This setting is of a picture to start from, and the model ${setting.model} has none here.`);
  asked++;
  const photo = desk.face?.source.photo;
  let source;
  if (setting.start !== null) source = { start: setting.start };
  else if (photo && photo.width === setting.photo?.width && photo.height === setting.photo.height) {
    source = { photo, placement: within(setting.placement ?? desk.face.source.placement, photo) };
  } else {
    desk.clear(model);
    waiting = setting;
    return tell(AGAIN);
  }
  waiting = null;
  tell("");
  await desk.open(model, source, setting.changes);
}

function offerModels() {
  const select = byId("model");
  const { models } = desk.engine;
  select.replaceChildren(...models.map(({ id, name }) => element("option", { value: id, text: name })));
  byId("model-choice").hidden = models.length < 2;
  const change = async () => {
    const model = models.find(({ id }) => id === select.value);
    // A picture that is still being encoded is meant, not the one that it will take the place of.
    const onDesk = desk.face && { model: desk.model, source: desk.face.source, changes: desk.changes };
    const meant = [desk.coming, onDesk].find((one) => one && ("photo" in one.source || model.starts));
    waiting = null;
    if (meant && "photo" in meant.source) {
      const { photo, placement } = meant.source;
      await desk.open(model, { photo, placement: carried(placement, meant.model, model, photo) }, meant.changes);
    } else if (meant) await desk.open(model, meant.source, meant.changes);
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
