// The one way to the engine's pictures: one request at a time, the newest move first, everything else in between.

/** @import { Engine, Face } from "./engine.js" */

const PIXELS_AT_ONCE = 2 ** 14; // Of what is decoded in between, so that a move never waits for long.
const REST = 100; // Milliseconds after a move; who presses a key again and again is not kept waiting by a strip.

export class Live {
  #busy = false;
  #move = null;
  #queue = [];
  #waiting = []; // For all of it.
  #rests = 0; // When the hand will have rested, in milliseconds.

  /** @param {Engine} engine @param {(error: Error) => void} failed */
  constructor(engine, failed) {
    this.engine = engine;
    this.failed = failed;
  }

  /**
   * Show a face with these values; of moves that wait only the newest is made.
   * @param {Face} face
   * @param {number[]} values
   * @param {(pixels: Uint8ClampedArray, milliseconds: number|undefined) => void} show
   */
  move(face, values, show) {
    this.#move = { face, values: [...values], show };
    this.#rests = performance.now() + REST;
    this.#pump();
  }

  /** Give up the move that waits: its face is gone. */
  forget() {
    this.#move = null;
  }

  /** When everything that was asked for is shown. @returns {Promise<void>}  Rejected if that fails. */
  done() {
    return new Promise((done, failed) => {
      this.#waiting.push({ done, failed });
      this.#pump();
    });
  }

  /**
   * Pictures of many vectors, as they come, when the hand rests and no move is waiting.
   * @param {Face} face
   * @param {number[][]} vectors
   * @param {(pixels: Uint8ClampedArray, place: number) => void} show
   * @param {AbortSignal} signal  To give up.
   */
  series(face, vectors, show, signal) {
    const step = Math.max(1, Math.floor(PIXELS_AT_ONCE / face.model.size ** 2));
    for (let first = 0; first < vectors.length; first += step) {
      this.#queue.push({ face, vectors: vectors.slice(first, first + step), first, show, signal });
    }
    this.#pump();
  }

  async #pump() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#move || this.#queue.length) {
        if (this.#move) {
          const { face, values, show } = this.#move;
          this.#move = null;
          const frames = await this.engine.decode(face, [values]);
          show(frames[0], frames.milliseconds);
        } else if (performance.now() < this.#rests) {
          setTimeout(() => this.#pump(), this.#rests - performance.now() + 1);
          return;
        } else {
          const { face, vectors, first, show, signal } = this.#queue.shift();
          if (signal.aborted) continue;
          const frames = await this.engine.decode(face, vectors);
          if (!signal.aborted) frames.forEach((pixels, k) => show(pixels, first + k));
        }
      }
      for (const { done } of this.#waiting.splice(0)) done();
    } catch (error) {
      this.#queue = [];
      for (const { failed } of this.#waiting.splice(0)) failed(error);
      this.failed(error);
    } finally {
      this.#busy = false;
      if (this.#move) this.#pump();
    }
  }
}
