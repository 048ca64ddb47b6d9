// Figure 1 of the paper: the picture along one fader, and two faders at once.

import { byId, element, paint, shown } from "./dom.js";

/** @import { Desk } from "./desk.js" */
/** @import { Live } from "./live.js" */

const EVERY = 0.5; // From picture to picture.
const MOST_ACROSS = 7;

/** The values that an attribute is shown at. @param {import("./engine.js").Attribute} attribute */
export function stops({ least, most, binary, values }) {
  if (!binary) return values.map((_, value) => value);
  return Array.from({ length: Math.round((most - least) / EVERY) + 1 }, (_, i) => least + EVERY * i);
}

/** The values that an attribute has in the grid: whole ones where there would be too many. */
export function gridStops(attribute) {
  const all = stops(attribute);
  return attribute.binary && all.length > MOST_ACROSS ? all.filter(Number.isInteger) : all;
}

/** What a stop is called. */
export function stopName(attribute, value) {
  return attribute.binary ? shown(value) : attribute.values[value];
}

/** Keep the strip along the chosen fader. @param {Desk} desk @param {Live} live */
export function showStrip(desk, live) {
  const list = byId("strip");
  let giveUp = new AbortController();
  let buttons = [];

  const build = () => {
    const attribute = desk.model.attributes[desk.chosen];
    byId("along-title").textContent = `Along ${attribute.name}`;
    buttons = stops(attribute).map((value) => {
      const name = stopName(attribute, value);
      const button = element("button", {
        type: "button", aria: { label: `Set ${attribute.name} to ${name}` },
        children: [element("canvas", { width: 1, height: 1 }), element("span", { text: name })],
      });
      button.addEventListener("click", () => desk.setAll([[desk.chosen, value]]));
      return button;
    });
    list.replaceChildren(...buttons.map((button) => element("li", { children: [button] })));
    fill();
  };
  const fill = () => {
    giveUp.abort();
    giveUp = new AbortController();
    const { face, chosen } = desk;
    const values = stops(desk.model.attributes[chosen]);
    buttons.forEach((button, i) => button.toggleAttribute("data-here", values[i] === desk.values[chosen]));
    const own = buttons;
    live.series(face, values.map((value) => desk.values.with(chosen, value)), (pixels, i) => {
      paint(own[i].firstChild, pixels, face.model.size);
    }, giveUp.signal);
  };
  desk.addEventListener("settled", () => (buttons.length === 0 || builtFor !== about() ? rebuild() : fill()));
  desk.addEventListener("chosen", () => rebuild());
  desk.addEventListener("face", () => {
    byId("along").hidden = !desk.face;
    if (!desk.face) giveUp.abort();
  });
  let builtFor = "";
  const about = () => `${desk.model.id} ${desk.chosen}`;
  const rebuild = () => {
    builtFor = about();
    build();
  };
}

function label(list, attribute, values) {
  list.replaceChildren(...values.map((value) => element("span", { text: stopName(attribute, value) })));
}

/** Two faders at once, while it is open. @param {Desk} desk @param {Live} live */
export function showGrid(desk, live) {
  const details = byId("across");
  const canvas = byId("grid");
  const selects = [byId("across-x"), byId("across-y")];
  const axes = () => selects.map((select) => Number(select.value));
  let giveUp = new AbortController();
  let model = null;

  const fill = () => {
    giveUp.abort();
    if (!details.open || !desk.face) return;
    giveUp = new AbortController();
    const { face } = desk;
    const { attributes, size } = face.model;
    const [x, y] = axes();
    const [across, down] = [gridStops(attributes[x]), gridStops(attributes[y])];
    label(byId("grid-x"), attributes[x], across);
    label(byId("grid-y"), attributes[y], down);
    const vectors = down.flatMap((v) => across.map((u) => desk.values.with(y, v).with(x, u)));
    Object.assign(canvas, { width: across.length * size, height: down.length * size });
    canvas.setAttribute("aria-label", `The picture with ${attributes[x].name} across and ${attributes[y].name} down`);
    const context = canvas.getContext("2d");
    live.series(face, vectors, (pixels, i) => {
      context.putImageData(new ImageData(pixels, size, size), (i % across.length) * size, Math.floor(i / across.length) * size);
    }, giveUp.signal);
  };
  const build = () => {
    if (model !== desk.model) {
      model = desk.model;
      for (const select of selects) select.replaceChildren(...model.attributes.map(({ name }, k) => element("option", { text: name, value: k })));
      selects[1].value = Math.min(1, model.attributes.length - 1);
    }
    fill();
  };
  for (const select of selects) select.addEventListener("change", () => {
    if (selects[0].value === selects[1].value) { // The other one makes room.
      const other = selects.find((one) => one !== select);
      other.value = (Number(select.value) + 1) % model.attributes.length;
    }
    fill();
  });
  canvas.addEventListener("click", (event) => {
    const [x, y] = axes();
    const place = canvas.getBoundingClientRect();
    const pick = (k, share) => {
      const all = gridStops(desk.model.attributes[k]);
      return [k, all[Math.min(all.length - 1, Math.max(0, Math.floor(share * all.length)))]];
    };
    desk.setAll([
      pick(x, (event.clientX - place.left) / place.width),
      pick(y, (event.clientY - place.top) / place.height),
    ]);
  });
  details.addEventListener("toggle", build);
  desk.addEventListener("settled", build);
  desk.addEventListener("face", () => {
    details.hidden = !desk.face || desk.model.attributes.length < 2;
    if (!desk.face) giveUp.abort();
  });
}
