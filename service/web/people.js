/** Users as they are shown: a face drawn from the id, and a name that leads to their feed. */

import { svg, h } from "./dom.js";

const SKINS = ["#f9d7b5", "#f0c08f", "#d9a066", "#b97a4b", "#8d5a35", "#5c3a21"];
const HAIRS = ["#2b2118", "#5a3a22", "#a8642a", "#d9b45b", "#8a8a8a", "#b33f2e"];
const EYES = [4.2, 5, 5.8];
const MOUTHS = ["M11 21q5 4 10 0", "M12 21.5h8", "M12 20.5q4 5 8 0z", "M12 22q4-2 8 0"];
const HAIRDOS = [
  "M5 14q0-10 11-10t11 10q-5-6-11-6t-11 6z",
  "M4 16q-1-13 12-13t12 13l-2 6q0-12-10-13-9 1-10 13z",
  "M6 12q2-9 10-9t10 9q-3-3-5-3-3 3-8 2-4-1-7 1z",
  "M8 8q8-6 16 0-8-2-16 0z",
];

/** A face that is always the same for an id; says nothing to a screen reader, since the name is beside it. */
export function face(userId, size = 40) {
  const draw = numbers(userId);
  const skin = SKINS[draw(SKINS.length)];
  const eyes = EYES[draw(EYES.length)];
  return svg(
    "svg",
    { class: "face", viewBox: "0 0 32 32", width: size, height: size, "aria-hidden": "true", focusable: "false" },
    svg("circle", { cx: 16, cy: 16, r: 16, fill: `hsl(${draw(360)} 60% ${60 + draw(20)}%)` }),
    svg("path", { d: "M4 32q2-8 12-8t12 8z", fill: `hsl(${draw(360)} 45% 40%)` }),
    svg("ellipse", { cx: 16, cy: 16, rx: 9.5, ry: 10.5, fill: skin }),
    svg("path", { d: HAIRDOS[draw(HAIRDOS.length)], fill: HAIRS[draw(HAIRS.length)] }),
    svg("circle", { cx: 16 - eyes, cy: 16, r: 1.4, fill: "#222" }),
    svg("circle", { cx: 16 + eyes, cy: 16, r: 1.4, fill: "#222" }),
    svg("path", { d: MOUTHS[draw(MOUTHS.length)], fill: "none", stroke: "#7a2f2f", "stroke-width": 1.4 }),
  );
}

/** Face and name; goes to the user's feed. */
export function person(userId, size = 32) {
  return h("a", { class: "person", href: `/?user=${userId}` }, face(userId, size), h("span", {}, userId));
}

/** Whole numbers below a bound, one after the other, that an id alone decides (FNV-1a, then a mix a number). */
function numbers(text) {
  let state = 2166136261;
  for (const letter of text) state = Math.imul(state ^ letter.codePointAt(0), 16777619);
  return (bound) => {
    state = Math.imul(state ^ (state >>> 15), 2246822519) + 374761393;
    return ((state ^ (state >>> 13)) >>> 0) % bound;
  };
}

const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** How long ago something was, with the time itself where one points. */
export function age(moment) {
  const seconds = (Date.now() - new Date(moment).getTime()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ["second", 1];
  const text = seconds < 45 ? "just now" : AGO.format(-Math.floor(seconds / size), unit);
  return h("time", { datetime: moment, title: new Date(moment).toLocaleString("en") }, text);
}
