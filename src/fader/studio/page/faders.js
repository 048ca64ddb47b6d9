// The bank: a vertical fader for each binary attribute, a switch for each other one.

import { element, shown } from "./dom.js";

/** @import { Attribute } from "./engine.js" */
/** @import { Desk } from "./desk.js" */

const STEP = { ArrowUp: 0.05, ArrowRight: 0.05, ArrowDown: -0.05, ArrowLeft: -0.05, PageUp: 0.25, PageDown: -0.25 };
const FINE = 0.01; // With Shift.

/** Build the bank into `home` and keep it as the desk is. @param {HTMLElement} home @param {Desk} desk */
export function showBank(home, desk) {
  let channels = [];
  const refresh = () => channels.forEach((channel, k) => channel.show(desk.values[k]));
  const mark = () => channels.forEach((channel, k) => channel.root.classList.toggle("chosen", k === desk.chosen));
  desk.addEventListener("face", () => {
    const focused = channels.findIndex((channel) => channel.root.contains(document.activeElement));
    channels = !desk.face ? [] : desk.model.attributes.map((attribute, k) => (attribute.binary ? fader : switches)(desk, attribute, k));
    home.replaceChildren(...channels.map((channel) => channel.root));
    if (!desk.face) return;
    if (focused >= 0 && focused < channels.length) channels[focused].root.querySelector("input").focus();
    refresh();
    mark();
  });
  desk.addEventListener("values", refresh);
  desk.addEventListener("chosen", mark);
}

/** @param {Desk} desk @param {Attribute} attribute @param {number} k */
function fader(desk, attribute, k) {
  const { name, least, most } = attribute;
  const id = `fader-${k}`;
  const slider = element("input", {
    type: "range", className: "fader", min: least, max: most, step: "any", aria: { labelledby: id, orientation: "vertical" },
  });
  const number = element("input", {
    type: "number", className: "value", min: least, max: most, step: 0.05, aria: { label: `${name}, value` },
  });
  slider.addEventListener("input", (event) => desk.set(k, Number(slider.value), event.timeStamp));
  slider.addEventListener("change", () => desk.settle());
  slider.addEventListener("keydown", (event) => {
    const step = event.shiftKey && event.key.startsWith("Arrow") ? Math.sign(STEP[event.key]) * FINE : STEP[event.key];
    const value = { Home: least, End: most }[event.key] ?? (step && desk.values[k] + step);
    if (value === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    desk.set(k, value, event.timeStamp);
  });
  slider.addEventListener("keyup", () => desk.settle());
  slider.addEventListener("blur", () => desk.settle());
  number.addEventListener("input", (event) => {
    if (number.value !== "" && number.validity.valid) desk.set(k, Number(number.value), event.timeStamp);
  });
  number.addEventListener("change", (event) => {
    if (number.value !== "") desk.set(k, Number(number.value), event.timeStamp);
    desk.settle();
    number.value = round(desk.values[k]);
  });
  const track = element("div", { className: "track", children: [scale(desk, attribute, k), slider] });
  const own = backButton(desk, k, name);
  const root = channel(desk, k, id, name, [track, number, own]);
  const fill = element("span", { className: "fill" });
  track.firstChild.append(fill);
  const share = (value) => Math.min(1, Math.max(0, (value - least) / (most - least)));
  const back = (event) => { desk.set(k, desk.face.values[k], event.timeStamp); desk.settle(); };
  slider.addEventListener("dblclick", back);
  return {
    root,
    show: (value) => {
      slider.value = value;
      slider.setAttribute("aria-valuetext", valueText(attribute, value));
      if (document.activeElement !== number || Number(number.value) !== round(value)) number.value = round(value);
      const [from, to] = [share(desk.face.values[k]), share(value)];
      fill.style.setProperty("--at", Math.min(from, to));
      fill.style.setProperty("--span", Math.abs(to - from));
      root.classList.toggle("moved", value !== desk.face.values[k]);
    },
  };
}

/** A categorical attribute: one of its values at a time. @param {Desk} desk @param {Attribute} attribute */
function switches(desk, attribute, k) {
  const id = `fader-${k}`;
  const inputs = attribute.values.map((_, value) => element("input", { type: "radio", name: id, value }));
  inputs.forEach((input, value) => input.addEventListener("change", (event) => {
    desk.set(k, value, event.timeStamp);
    desk.settle();
  }));
  const labels = attribute.values.map((text, value) => element("label", {
    children: [inputs[value], element("span", { text })],
  }));
  const group = element("div", { className: "switch", role: "radiogroup", aria: { labelledby: id }, children: labels });
  const own = backButton(desk, k, attribute.name);
  const root = channel(desk, k, id, attribute.name, [group, own]);
  return {
    root,
    show: (value) => {
      inputs[value].checked = true;
      root.classList.toggle("moved", value !== desk.face.values[k]);
    },
  };
}

function channel(desk, k, id, name, children) {
  const root = element("div", {
    className: "channel", role: "group", aria: { labelledby: id },
    children: [element("h3", { id, title: name, children: broken(name) }), ...children],
  });
  root.addEventListener("focusin", () => desk.choose(k));
  return root;
}

/** A name that may be broken after its underscores. */
function broken(name) {
  return [element("span", { children: name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]) })];
}

/** Back to the picture's own value, which is on it with how sure the classifier is. */
function backButton(desk, k, name) {
  const own = desk.face.values[k];
  const sure = desk.face.confidences[k];
  const attribute = desk.model.attributes[k];
  const text = attribute.binary ? shown(own) : attribute.values[own];
  const how = sure === null ? "known" : `${Math.round(100 * sure)}%`;
  const button = element("button", {
    type: "button", className: "own", title: sure === null ? "The picture's own value, which is known" : "The picture's own value as estimated, and how sure that is",
    aria: { label: `${name}: back to the picture's own value, ${text} (${sure === null ? "known" : `${how} sure`})` },
    children: [element("span", { text: `\u21ba ${text}` }), element("small", { text: how })],
  });
  button.addEventListener("click", (event) => { desk.set(k, own, event.timeStamp); desk.settle(); });
  return button;
}

/** Marks beside the slot: whole numbers, the picture's own value, and where nearly every picture shows the attribute. */
function scale(desk, { least, most, absent, present, values }, k) {
  const at = (value, className, text, title = "") => {
    const mark = element("span", { className, text, title });
    mark.style.setProperty("--at", (value - least) / (most - least));
    return mark;
  };
  const marks = [];
  for (let value = least; value <= most; value++) {
    marks.push(at(value, value === 0 || value === 1 ? "tick end" : "tick", shown(value), values[value] ?? ""));
  }
  const own = desk.face.values[k];
  if (own >= least && own <= most) marks.push(at(own, "own-mark", "", "The picture's own value"));
  if (absent !== null) marks.push(at(absent, "sure-mark", "", "From here down 95% of pictures show it absent"));
  if (present !== null) marks.push(at(present, "sure-mark", "", "From here up 95% of pictures show it present"));
  return element("div", { className: "scale", aria: { hidden: "true" }, children: marks });
}

function valueText(attribute, value) {
  return [shown(value), value === 0 ? attribute.values[0] : value === 1 ? attribute.values[1] : ""].filter(Boolean).join(", ");
}

function round(value) {
  return Math.round(value * 100) / 100;
}
