// What is on the desk: the model, the face, its values, and the way back.

/** @import { Engine, Face, Model, Source } from "./engine.js" */

const MOST_STEPS = 200;

/** Events: "face" when another is on the desk, or none; "values" whenever they move; "settled" when a move is over. */
export class Desk extends EventTarget {
  /** @type {Model} */ model;
  /** @type {Face|null} */ face = null;
  /** @type {number[]} */ values = [];
  /** What is being encoded, to be put on the desk. @type {{model: Model, source: Source, changes: Record<string, number>}|null} */ coming = null;
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
   * @returns {Promise<boolean>}  Whether it is on the desk; not if another was asked for in the meantime.
   */
  async open(model, source, changes = {}) {
    const turn = ++this.#opening;
    this.coming = { model, source, changes };
    const face = await this.engine.open(model, source).catch((error) => {
      if (turn !== this.#opening) return null;
      this.coming = null;
      this.#release(source);
      throw error;
    });
    if (turn !== this.#opening) {
      if (face) this.engine.close(face);
      this.#release(source);
      return false;
    }
    const before = this.face;
    this.coming = null;
    if (model !== this.model) this.chosen = 0;
    Object.assign(this, { model, face, values: [...face.values] });
    model.attributes.forEach((attribute, k) => {
      if (Number.isFinite(changes[attribute.name])) this.values[k] = this.#within(k, changes[attribute.name]);
    });
    if (before?.model === model && "photo" in source && before.source.photo === source.photo) {
      // The frame alone was moved: the steps remain, with the picture's own values as they are now.
      const renewed = (values) => values.map((value, k) => (value === before.values[k] ? face.values[k] : value));
      this.#past = this.#past.map(renewed);
      this.#future = this.#future.map(renewed);
      this.#settled = renewed(this.#settled);
    } else {
      this.#past = [];
      this.#future = [];
      this.#settled = [...face.values];
    }
    this.#step();
    if (before) this.#close(before);
    this.dispatchEvent(new Event("face"));
    this.#moved();
    this.dispatchEvent(new Event("settled"));
    return true;
  }

  /** Take the face away, for a model that has none yet. @param {Model} model */
  clear(model) {
    this.#opening++;
    this.coming = null;
    const before = this.face;
    Object.assign(this, { model, face: null, values: [], chosen: 0 });
    this.#past = [];
    this.#future = [];
    if (before) this.#close(before);
    this.dispatchEvent(new Event("face"));
  }

  /** @param {Face} face  That is not on the desk any more. */
  #close(face) {
    this.engine.close(face);
    this.#release(face.source);
  }

  /** Let go of a photo that is neither on the desk nor coming. @param {Source} source */
  #release({ photo }) {
    if (photo && photo !== this.face?.source.photo && photo !== this.coming?.source.photo) this.engine.close(photo);
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
    if (this.face && this.#step()) this.dispatchEvent(new Event("settled"));
  }

  /** @returns {boolean}  Whether there was anything to settle. */
  #step() {
    if (this.values.every((value, k) => value === this.#settled[k])) return false;
    this.#past = [...this.#past, this.#settled].slice(-MOST_STEPS);
    this.#future = [];
    this.#settled = [...this.values];
    return true;
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
    this.settle();
    this.#travel(this.#past, this.#future);
  }

  redo() {
    this.settle();
    this.#travel(this.#future, this.#past);
  }

  #travel(from, to) {
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
