// What is on the desk: the model, the face, its values, and the way back.

/** @import { Engine, Face, Model, Source } from "./engine.js" */

const MOST_STEPS = 200;

/** Events: "face" when another is on the desk, or none; "values" whenever they move; "settled" when a move is over. */
export class Desk extends EventTarget {
  /** @type {Model} */ model;
  /** @type {Face|null} */ face = null;
  /** @type {number[]} */ values = [];
  /** The attribute that was touched last; the strip is along it. */
  chosen = 0;
  #past = [];
  #future = [];
  #settled = [];
  #opening = 0;

  /** @param {Engine} engine */
  constructor(engine) {
    super();
    this.engine = engine;
    this.model = engine.models[0];
  }

  /**
   * Encode a picture and put it on the desk.
   * @param {Model} model
   * @param {Source} source
   * @param {Record<string, number>} changes  Values to set, by attribute.
   */
  async open(model, source, changes = {}) {
    const turn = ++this.#opening;
    const face = await this.engine.open(model, source);
    if (turn !== this.#opening) return this.engine.close(face); // Another was asked for in the meantime.
    if (this.face) this.engine.close(this.face);
    if (model !== this.model) this.chosen = 0;
    Object.assign(this, { model, face, values: [...face.values] });
    model.attributes.forEach((attribute, k) => {
      if (Number.isFinite(changes[attribute.name])) this.values[k] = this.#within(k, changes[attribute.name]);
    });
    this.#past = this.changed ? [[...face.values]] : [];
    this.#future = [];
    this.#settled = [...this.values];
    this.dispatchEvent(new Event("face"));
    this.#moved();
    this.dispatchEvent(new Event("settled"));
  }

  /** Take the face away, for a model that has none yet. @param {Model} model */
  clear(model) {
    this.#opening++;
    if (this.face) this.engine.close(this.face);
    Object.assign(this, { model, face: null, values: [], chosen: 0 });
    this.#past = [];
    this.#future = [];
    this.dispatchEvent(new Event("face"));
  }

  get changed() {
    return this.face !== null && this.values.some((value, k) => value !== this.face.values[k]);
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** What differs from the picture's own values, by attribute. @returns {Record<string, number>} */
  get changes() {
    const changed = this.model.attributes.map((attribute, k) => [attribute.name, this.values[k]]);
    return Object.fromEntries(changed.filter((_, k) => this.values[k] !== this.face?.values[k]));
  }

  /** Move one fader; `settle` says when the hand lets go. @param {number} when  The time stamp of the input event. */
  set(k, value, when) {
    if (!this.face || !Number.isFinite(value)) return;
    this.values[k] = value === this.face.values[k] ? value : this.#within(k, value);
    this.choose(k);
    this.#moved(when);
  }

  /** Make one attribute the one that the strip is along. */
  choose(k) {
    if (k === this.chosen) return;
    this.chosen = k;
    this.dispatchEvent(new Event("chosen"));
  }

  /** The end of a move: a step to undo. */
  settle() {
    if (!this.face || this.values.every((value, k) => value === this.#settled[k])) return;
    this.#past = [...this.#past, this.#settled].slice(-MOST_STEPS);
    this.#future = [];
    this.#settled = [...this.values];
    this.dispatchEvent(new Event("settled"));
  }

  /** Set several faders at once, as one step. @param {[number, number][]} entries  Position and value. */
  setAll(entries) {
    for (const [k, value] of entries) this.values[k] = this.#within(k, value);
    this.#moved();
    this.settle();
  }

  reset() {
    if (!this.face) return;
    this.values = [...this.face.values];
    this.#moved();
    this.settle();
  }

  undo() {
    this.#travel(this.#past, this.#future);
  }

  redo() {
    this.#travel(this.#future, this.#past);
  }

  #travel(from, to) {
    this.settle();
    const values = from.pop();
    if (!values) return;
    to.push(this.#settled);
    this.values = [...values];
    this.#settled = values;
    this.#moved();
    this.dispatchEvent(new Event("settled"));
  }

  #within(k, value) {
    const { least, most, binary } = this.model.attributes[k];
    const inside = Math.min(most, Math.max(least, value));
    return binary ? Math.round(inside * 1000) / 1000 : Math.round(inside);
  }

  #moved(when = performance.now()) {
    this.dispatchEvent(new CustomEvent("values", { detail: { when } }));
  }
}
