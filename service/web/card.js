/** A recommended tweet as a card. */

import { showPicture } from "./api.js";
import { h } from "./dom.js";
import { age, face, person } from "./people.js";

/**
 * A card of one item of an answer. `tweet` has its words; `followed` are the user's followees, null where nobody knows them; `scale` is the facet that fills half a bar; `acts` are what its
 * buttons do: retweet, hide, follow and why, each with the item.
 */
export function card(item, tweet, place, scale, answer, followed, acts) {
  const words = tweet?.text ?? "";
  const title = `card-${item.tweet_id}`;
  const follows = followed?.has(item.author_id) ?? false;
  return h(
    "article",
    { class: "card", tabindex: "0", "data-tweet": item.tweet_id, "aria-labelledby": title, "aria-posinset": place, "aria-setsize": "-1" },
    picture(item, words),
    h("span", { class: "rank", "aria-hidden": "true" }, place),
    h(
      "div",
      { class: "body" },
      h(
        "div",
        { class: "by" },
        person(item.author_id),
        tweet ? age(tweet.created_at) : null,
        followed === null ? null : button(follows ? "Following" : "Follow", () => acts.follow(item.author_id, !follows), {
          class: "small",
          "aria-pressed": String(follows),
          "aria-label": `${follows ? "Following" : "Follow"} ${item.author_id}`,
        }),
      ),
      h("h2", { id: title, class: "words" }, words || `Picture by ${item.author_id}`),
      facets(item, scale, answer),
      because(item, () => acts.why(item)),
      h(
        "div",
        { class: "acts" },
        button("Retweet", () => acts.retweet(item), { class: "main" }),
        button("Not for me", () => acts.hide(item)),
        button("Why?", () => acts.why(item), { "aria-haspopup": "dialog" }),
      ),
    ),
  );
}

/** The tweet's picture, described by its words. */
export function picture(item, words) {
  const image = h("img", { class: "picture", alt: words ? `Picture: ${words}` : `Picture by ${item.author_id}` });
  showPicture(image, item.tweet_id);
  return image;
}

/** Bars for the personal and the social facet; what stands in for them where the model did not rank. */
export function facets(item, scale, answer) {
  if (item.personal === null) {
    const how = answer.source === "recent" ? "The newest: nobody knows this user yet" : `Popular: ${number(item.score)}`;
    return h("p", { class: "facts" }, how);
  }
  return h(
    "div",
    { class: "facets" },
    bar("Personal", item.personal, scale, "personal"),
    bar("Social", item.social, scale, "social"),
    h("p", { class: "facts" }, `Score ${number(item.score)}`),
  );
}

/** The larger half of the longest bar: at least one facet of some items fills it. */
export function scaleOf(items) {
  return Math.max(1e-6, ...items.flatMap((item) => [Math.abs(item.personal ?? 0), Math.abs(item.social ?? 0)]));
}

const NUMBERS = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A number as people read it. */
export function number(value) {
  return value === null ? "none" : NUMBERS.format(value).replace("-", "\u2212");
}

function bar(name, value, scale, kind) {
  const part = `${Math.min(50, (Math.abs(value) / scale) * 50)}%`;
  return h(
    "div",
    { class: `facet ${kind}` },
    h("span", { class: "name" }, name),
    h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: value < 0 ? "fill minus" : "fill", style: { "--part": part } })),
    h("span", { class: "value" }, number(value)),
  );
}

/** The followees who speak for a tweet most, with their parts of its social facet. */
export function carriers(item) {
  return (item.because ?? []).filter((one) => one.part > 0);
}

/** The faces of the followees who carry the social facet. */
function because(item, why) {
  const names = carriers(item).map((one) => one.user_id);
  if (!names.length) return null;
  return h(
    "button",
    { class: "because", type: "button", onclick: why, "aria-haspopup": "dialog", "aria-label": `Carried by ${names.join(", ")}: why?` },
    h("span", { class: "faces" }, ...names.map((name) => face(name, 26))),
    h("span", {}, `Carried by ${names.join(", ")}`),
  );
}

function button(text, onclick, more = {}) {
  return h("button", { type: "button", onclick, ...more }, text);
}
