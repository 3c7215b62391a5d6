/** The user whose feed it is: counts, followees with the attention that they get, and whom to follow next. */

import { ask, at, url } from "./api.js";
import { h } from "./dom.js";
import { face, person } from "./people.js";
import { offerUsers } from "./picker.js";

const PAGE = 100;
const MOST_READ = 2_000;
const MOST_LISTED = 60;
const WIDE = "(min-width: 56.01rem)";

/** The user's counts, and whom they follow: the first 2,000 by id. */
export async function readProfile(userId, signal) {
  const user = await ask("GET", at`/users/${userId}`, { signal });
  const followees = [];
  let after = null;
  do {
    const page = await ask("GET", url(at`/users/${userId}/followees`, { limit: PAGE, after }), { signal });
    followees.push(...page.users.map((one) => one.user_id));
    after = page.next_after;
  } while (after !== null && followees.length < MOST_READ);
  return { user, followees };
}

/** Fill the panel, or hide it where there is no profile; `follow` gets a followee and whether to follow them. */
export function showProfile(panel, profile, answer, follow) {
  panel.hidden = profile === null;
  if (profile === null) return;
  const { user, followees } = profile;
  const shares = new Map((answer?.followees ?? []).map((one) => [one.user_id, one.share]));
  const most = Math.max(1e-6, ...shares.values());
  const ordered = [...followees].sort((a, b) => (shares.get(b) ?? 0) - (shares.get(a) ?? 0) || (a < b ? -1 : 1)).slice(0, MOST_LISTED);
  const input = h("input", { id: "follow-input", placeholder: "Id of a user" });
  const list = h("ul", { id: "follow-list", "aria-label": "Users to follow" });
  offerUsers(input, list, (userId) => follow(userId, true));
  panel.replaceChildren(
    h("div", { class: "who" }, face(user.user_id, 64), h("div", {}, h("h2", {}, user.user_id), h("p", { class: "facts" }, counts(user)))),
    h("div", { class: "field" }, h("label", { for: "follow-input" }, "Follow somebody"), input, list),
    h(
      "details",
      { open: panel.querySelector("details")?.open ?? matchMedia(WIDE).matches },
      h("summary", {}, h("h3", {}, `${user.followees.toLocaleString("en")} followees`, shares.size ? h("span", { class: "facts" }, " by attention") : null)),
      ordered.length
        ? h("ul", { class: "followees" }, ...ordered.map((userId) => followee(userId, shares.get(userId), most, follow)))
        : h("p", { class: "facts" }, "None yet: follow somebody, and what they post and retweet comes here."),
      user.followees > ordered.length ? h("p", { class: "facts" }, `and ${user.followees - ordered.length} more`) : null,
    ),
  );
}

function followee(userId, share, most, follow) {
  return h(
    "li",
    {},
    person(userId, 28),
    share === undefined ? null : h("span", { class: "share", style: { "--part": `${(100 * share) / most}%` } }, `${(100 * share).toFixed(1)} %`),
    h("button", { type: "button", class: "small", "aria-label": `Unfollow ${userId}`, onclick: () => follow(userId, false) }, "Unfollow"),
  );
}

function counts(user) {
  const of = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
  return [
    of(user.tweets, "tweet", "tweets"),
    of(user.retweets, "retweet", "retweets"),
    of(user.followers, "follower", "followers"),
  ].join(" \u00b7 ");
}
