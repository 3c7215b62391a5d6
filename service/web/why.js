/** Why a tweet is where it is: the user's attention over the followees, as a drawing and as a table. */

import { carriers, facets, number, picture } from "./card.js";
import { h, svg } from "./dom.js";
import { face } from "./people.js";

const DRAWN = 16;
const [WIDTH, HEIGHT, FAR] = [520, 450, 165];

/** Open a dialog about one item of an answer. */
export function showWhy(item, words, scale, answer) {
  const parts = new Map(carriers(item).map((one) => [one.user_id, one.part]));
  const shares = answer.followees ?? [];
  const dialog = h(
    "dialog",
    { class: "why", "aria-labelledby": "why-title", onclose: () => dialog.remove() },
    h(
      "div",
      { class: "title" },
      h("h2", { id: "why-title" }, `Why ${item.tweet_id} for ${answer.user_id}`),
      h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close"),
    ),
    h("div", { class: "why-top" }, picture(item, words), h("div", {}, h("p", { class: "words" }, words), facets(item, scale, answer), told(item, answer))),
    shares.length ? h("h3", {}, "Attention over the followees") : null,
    shares.length ? h("div", { class: "why-bottom" }, graph(answer.user_id, drawn(shares, parts), parts), table(shares, parts)) : null,
  );
  document.body.append(dialog);
  dialog.showModal();
}

function told(item, answer) {
  if (item.personal === null) return h("p", {}, "The model knows neither this user nor a followee, so it did not rank.");
  const how = answer.link === "sum" || answer.link === "product" ? `${answer.link} of the two` : `"${answer.link}" of the two`;
  const who = answer.folded_in ? "a vector fitted to the user's own retweets" : "the user's own vector";
  const lines = [
    `Personal: how the tweet suits ${who}.`,
    "Social: how it suits the followees, each as much as the user attends to them.",
    `The score is the ${how}; ${answer.candidates} tweets were ranked by it.`,
  ];
  if (answer.missing.includes("user_vector")) lines.push("The model does not know the user yet: the social facet stands alone.");
  return h("ul", { class: "facts" }, ...lines.map((line) => h("li", {}, line)));
}

/** Those who carry the tweet, and of the others those with the most attention, which is their order. */
function drawn(shares, parts) {
  const others = shares.filter((one) => !parts.has(one.user_id)).slice(0, DRAWN - parts.size);
  return shares.filter((one) => parts.has(one.user_id) || others.includes(one));
}

/** The user in the middle, the followees around: the wider the line, the more attention; a ring: this tweet's carriers. */
function graph(userId, shares, parts) {
  const [x, y] = [WIDTH / 2, HEIGHT / 2];
  const mean = shares.reduce((sum, one) => sum + one.share, 0) / shares.length;
  const places = shares.map((one, at) => {
    const angle = (at / shares.length) * 2 * Math.PI - Math.PI / 2;
    const [right, down] = [Math.cos(angle), Math.sin(angle)];
    return { ...one, right, down, x: x + right * FAR, y: y + down * FAR, carries: parts.has(one.user_id) };
  });
  return svg(
    "svg",
    { class: "graph", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${userId} and ${shares.length} followees; the table says the same` },
    ...places.map((one) => svg("line", { x1: x, y1: y, x2: one.x, y2: one.y, class: one.carries ? "edge carries" : "edge", "stroke-width": Math.min(12, (3 * one.share) / mean) })),
    ...places.map((one) => node(one.user_id, one.x, one.y, 17, one.carries)),
    ...places.map((one) => label(one)),
    node(userId, x, y, 32, false),
  );
}

function node(userId, x, y, radius, carries) {
  const drawn = face(userId, 2 * radius);
  drawn.setAttribute("x", x - radius);
  drawn.setAttribute("y", y - radius);
  return svg("g", {}, carries ? svg("circle", { cx: x, cy: y, r: radius + 3, class: "ring" }) : null, drawn);
}

/** Outside the circle, so that no line or face is below it. */
function label({ user_id: userId, share, x, y, right, down }) {
  const side = Math.abs(right) < 0.3 ? "middle" : right > 0 ? "start" : "end";
  const [left, top] = [x + right * 25, y + down * 25 + (side === "middle" && down < 0 ? -12 : 4 * down)];
  return svg(
    "text",
    { class: "label", "text-anchor": side },
    svg("tspan", { x: left, y: top }, userId.length > 12 ? `${userId.slice(0, 11)}\u2026` : userId),
    svg("tspan", { x: left, y: top + 12, class: "share" }, `${(100 * share).toFixed(1)} %`),
  );
}

function table(shares, parts) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Attention by followee" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Followee"), h("th", { scope: "col" }, "Attention"), h("th", { scope: "col" }, "Part of this tweet"))),
      h(
        "tbody",
        {},
        ...shares.map((one) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, h("a", { href: `/?user=${one.user_id}` }, one.user_id)),
            h("td", {}, `${(100 * one.share).toFixed(1)} %`),
            h("td", {}, parts.has(one.user_id) ? number(parts.get(one.user_id)) : ""),
          ),
        ),
      ),
    ),
  );
}
