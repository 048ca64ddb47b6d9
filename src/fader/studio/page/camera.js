// A snapshot from the webcam, where the browser has one.

import { byId, element, png } from "./dom.js";

/** Whether the browser lets pages ask for a camera. */
export const hasCamera = Boolean(navigator.mediaDevices?.getUserMedia);

let asked = false; // The dialog is one, and the browser may ask the visitor for long.

/** Show the camera and take a picture. @returns {Promise<Blob|null>}  Null if the visitor gave up, or is asked already. */
export async function snapshot() {
  if (asked) return null;
  asked = true;
  try {
    return await pictureOf(await ask());
  } finally {
    asked = false;
  }
}

/** @param {MediaStream} stream  It is stopped at the end. @returns {Promise<Blob|null>} */
function pictureOf(stream) {
  const dialog = byId("camera-dialog");
  const video = element("video", { autoplay: true, muted: true, playsInline: true, srcObject: stream, aria: { label: "The camera's picture" } });
  const take = element("button", { type: "button", className: "main", text: "Take the picture" });
  const cancel = element("button", { type: "button", text: "Cancel" });
  dialog.replaceChildren(
    element("h2", { id: "camera-title", text: "Camera" }),
    video,
    element("div", { className: "tools end", children: [cancel, take] }),
  );
  return new Promise((done) => {
    let taken = null;
    take.addEventListener("click", async () => {
      const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
      if (!canvas.width) return; // Nothing has come yet.
      canvas.getContext("2d").drawImage(video, 0, 0);
      taken = await png(canvas);
      dialog.close();
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.onclose = () => {
      for (const track of stream.getTracks()) track.stop();
      dialog.replaceChildren();
      done(taken);
    };
    dialog.showModal();
    take.focus();
  });
}

async function ask() {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false });
  } catch (error) {
    const none = error.name === "NotFoundError" ? "There is no camera." : "The camera cannot be used; the browser, or you, said no.";
    throw Object.assign(new Error(none), { name: "EngineError" });
  }
}
