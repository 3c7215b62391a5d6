/** Two model versions side by side: what each would answer the same user. */

import { ask, at, url } from "./api.js";
import { number, picture } from "./card.js";
import { h } from "./dom.js";

/** Offer the kept versions but the one that serves. */
export function fillVersions(select, models, serving, chosen) {
  const others = models.filter((model) => model.kept && model.version !== serving);
  select.replaceChildren(
    h("option", { value: "" }, others.length ? "no other model" : "no other model is kept"),
    ...others.map((model) => h("option", { value: model.version }, model.version)),
  );
  select.disabled = others.length === 0 && !chosen;
  select.value = chosen;
  select.parentElement.hidden = false;
}

/** Fill a place with both rankings. `answer` is the one of the version that serves. */
export async function compare(place, { user, scope, k, beside, answer, signal }) {
  const other = await ask("GET", url(at`/users/${user}/recommendations`, { k, scope, version: beside }), { signal });
  const tweet_id = [...new Set([...answer.items, ...other.items].map((item) => item.tweet_id))];
  const { tweets } = tweet_id.length ? await ask("GET", url("/tweets", { tweet_id }), { signal }) : { tweets: [] };
  const words = new Map(tweets.map((tweet) => [tweet.tweet_id, tweet.text]));
  const both = answer.items.filter((item) => other.items.some((one) => one.tweet_id === item.tweet_id)).length;
  place.replaceChildren(
    h("p", { class: "facts" }, `${both} of the first ${answer.items.length} are the same tweets.`),
    h("div", { class: "sides" }, side("Serves", answer, other, words), side("The other", other, answer, words)),
  );
}

function side(title, answer, other, words) {
  const placeOf = new Map(other.items.map((item, at) => [item.tweet_id, at + 1]));
  return h(
    "section",
    { "aria-label": `${title}: ${answer.version}` },
    h("h2", {}, title, h("span", { class: "facts" }, ` ${answer.version}`)),
    h(
      "ol",
      { class: "ranking" },
      ...answer.items.map((item, at) =>
        h(
          "li",
          {},
          h("span", { class: "rank", "aria-hidden": "true" }, at + 1),
          picture(item, words.get(item.tweet_id) ?? ""),
          h("div", {}, h("p", { class: "words" }, words.get(item.tweet_id) ?? item.tweet_id), h("p", { class: "facts" }, `${item.author_id} \u00b7 score ${number(item.score)}`), move(at + 1, placeOf.get(item.tweet_id))),
        ),
      ),
    ),
  );
}

function move(here, there) {
  if (there === undefined) return h("p", { class: "move new" }, "only here");
  if (there === here) return h("p", { class: "move" }, "same place");
  const text = there > here ? `\u25b2 ${there - here} higher than there` : `\u25bc ${here - there} lower than there`;
  return h("p", { class: there > here ? "move up" : "move down" }, text);
}
