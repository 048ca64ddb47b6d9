// What the page asks of an engine. There are two: the studio's server (server-engine.js), and ONNX Runtime Web in the
// exported static page. `engine-choice.js` names the one that a page has; the export replaces that file, adds its engine
// beside it, and leaves all others as they are. Nothing but the engine knows where models and pictures are.
//
// engine-choice.js exports `connect(): Promise<Engine>`.

/**
 * An attribute of a model.
 * @typedef {object} Attribute
 * @property {string} name  May hold anything; it is only ever shown as text.
 * @property {string[]} values  The names of its values: two if it is binary, else as many as its switch has.
 * @property {boolean} binary  A fader, with 0 for absent and 1 for present; otherwise a switch.
 * @property {number} least  The lower end of its fader (0 of a switch).
 * @property {number} most  The upper end of its fader (the last value's index of a switch).
 * @property {number|null} absent  From here down nearly every picture shows it absent, as measured; null: not known.
 * @property {number|null} present  From here up nearly every picture shows it present, as measured; null: not known.
 */

/**
 * @typedef {object} Model
 * @property {string} id
 * @property {string} name
 * @property {string} kind  "Fader Network" or "IcGAN".
 * @property {number} size  The side of its pictures in pixels.
 * @property {Attribute[]} attributes  In the order of every vector of values.
 * @property {boolean} drawn  It edits drawn portraits, not photographs.
 * @property {"drawn"|"own"|null} starts  The pictures to start from, if there are any: drawn portraits or other pictures.
 * @property {number[][]|null} points  Where left eye, right eye, nose, left and right mouth corner (as seen) lie in its
 *   frame, as shares of the side, [5][x, y]; null if it is not told by faces.
 * @property {{size: number[], box: number[]}|null} crop  What was cut out of training pictures that were all of this size
 *   (width, height): left, top, right, bottom. Null: the centred square.
 */

/**
 * The square of a picture that a model sees.
 * @typedef {object} Placement
 * @property {number} x  Of the centre, in the picture's pixels.
 * @property {number} y
 * @property {number} side  In the picture's pixels.
 * @property {number} angle  Degrees that the square is turned clockwise on the screen.
 */

/**
 * A picture of the visitor's that was read.
 * @typedef {object} Photo
 * @property {string} name
 * @property {number} width  Upright, in pixels.
 * @property {number} height
 * @property {ImageBitmap} preview  The picture, possibly smaller, to show for placing.
 * @property {number[][][]|null} faces  The five points of each face in it, in its pixels, the largest face first; null
 *   if this engine does not look for faces.
 */

/**
 * A picture to start from that the engine has.
 * @typedef {object} Start
 * @property {number} index  Stays the same picture for good; links hold it.
 * @property {number} side
 * @property {Uint8ClampedArray} pixels  RGBA, side x side.
 */

/**
 * Where a face comes from: a picture to start from by its index, or a part of a photo.
 * @typedef {{start: number} | {photo: Photo, placement: Placement}} Source
 */

/**
 * A picture that a model has encoded.
 * @typedef {object} Face
 * @property {Model} model
 * @property {Source} source
 * @property {Uint8ClampedArray} original  What the model sees: RGBA, size x size.
 * @property {number[]} values  Its own, an entry an attribute; a switch's is an index.
 * @property {(number|null)[]} confidences  The probability that its classifier gives to each; null where it is known.
 * @property {boolean|null} familiar  Whether it is like what the model saw in training; null: not known.
 * @property {number|null} error  Mean squared error of its reconstruction, of pixels in [-1, 1].
 */

/**
 * @typedef {object} Engine
 * @property {Model[]} models  At least one.
 * @property {{faces: boolean, paste: boolean, draw: boolean}} can  Whether it finds faces, puts a face back into its
 *   photo, and has ever more pictures to start from.
 * @property {string} note  A sentence on where pictures go: "They stay ...".
 * @property {(model: Model, page: number) => Promise<Start[]>} starts  Page 0 is always the same; with `can.draw` every
 *   other page has others.
 * @property {(picture: Blob, name: string) => Promise<Photo>} read
 * @property {(model: Model, source: Source) => Promise<Face>} open
 * @property {(face: Face, vectors: number[][]) => Promise<Uint8ClampedArray[]>} decode  An RGBA picture a vector of
 *   values. The page never asks again before the last answer has come, so that an engine need not queue. An engine that
 *   lost the face in the meantime encodes it anew. The list may have `milliseconds`: the engine's own time.
 * @property {(face: Face, values: number[]) => Promise<Blob>} paste  The photo as a PNG in full resolution with the
 *   edited face in it. Only of a photo, and if `can.paste`.
 * @property {(thing: Face|Photo) => void} close  It is not asked for any more.
 */

/** What an engine rejects with: its message is a sentence for the visitor. */
export class EngineError extends Error {
  name = "EngineError";
}
