/** Drawings of numbers: bars, and a line by epoch. Each has its numbers as text, too. */

import { h, svg } from "./dom.js";

/** Rows of a name, a bar and a value; the largest fills its line. */
export function bars(rows) {
  const most = Math.max(1, ...rows.map((row) => row.value));
  return h(
    "ul",
    { class: "bars" },
    ...rows.map((row) =>
      h(
        "li",
        { class: row.bad ? "bad" : null },
        h("span", { class: "name" }, row.name),
        h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "fill", style: { "--part": `${(100 * row.value) / most}%` } })),
        h("span", { class: "value" }, row.text ?? row.value.toLocaleString("en")),
      ),
    ),
  );
}

/** A line through a value of each point, with the first, the last and the marked point's value written out. */
export function line(title, values, marked, format) {
  const [width, height, left, top, bottom] = [320, 150, 10, 26, 22];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (at) => left + (at / Math.max(1, values.length - 1)) * (width - 2 * left);
  const y = (value) => top + (1 - (value - low) / (high - low || 1)) * (height - top - bottom);
  const points = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const said = `${title}: ${format(values[0])} in the first epoch, ${format(values.at(-1))} in the last, ${values.length}`;
  return svg(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said },
    svg("text", { x: left, y: 14, class: "label" }, title),
    svg("text", { x: width - left, y: 14, class: "label end" }, `${format(low)} to ${format(high)}`),
    svg("polyline", { points, class: "line" }),
    marked >= 0 ? svg("circle", { cx: x(marked), cy: y(values[marked]), r: 4, class: "mark" }) : null,
    marked >= 0
      ? svg("text", { x: x(marked), y: height - 5, class: x(marked) > width / 2 ? "label end" : "label" }, `epoch ${marked + 1}: ${format(values[marked])}`)
      : null,
  );
}
