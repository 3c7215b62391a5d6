/** The feed of a user: what the address says is what is shown. */

import { ID, Problem, ask, at, url } from "./api.js";
import { card, scaleOf } from "./card.js";
import { compare, fillVersions } from "./compare.js";
import { composer, takeDrops } from "./compose.js";
import { h, one, say, showProblem, telling } from "./dom.js";
import { facts } from "./facts.js";
import { showNobody } from "./nobody.js";
import { offerUsers } from "./picker.js";
import { readProfile, showProfile } from "./profile.js";
import { showWhy } from "./why.js";

const PAGE = 12;
const LOOKED_THROUGH = 120;

let shown = null;
/** What is on the page: user, scope, answer (of the first page), next cursor, profile, scale, count. */

let loading = new AbortController();

let paging = null;
/** The next page, while it is read. */

/** Read the address and show it. */
async function show() {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  const address = new URLSearchParams(location.search);
  showProblem(null);
  one("#feed").setAttribute("aria-busy", "true");
  const user = address.get("user") ?? (await firstUser(signal));
  if (user === null) return showNobody((made) => go({ user: made }));
  one("#nobody").hidden = true;
  if (!new RegExp(`^${ID}$`).test(user)) throw new Problem(422, "", "user_id: an id has letters, digits, _ and - only, 64 at most.");
  const scope = address.get("scope") === "discover" ? "discover" : "followees";
  const beside = address.get("beside") ?? "";
  document.title = `${user} \u00b7 Image tweets`;
  one("#feed-title").textContent = `What ${user} will retweet`;
  one(`#scope [value="${scope}"]`).checked = true;
  const away = [];
  const [answer, profile, versions] = await Promise.all([
    recommendations(user, scope, null, signal),
    unlessAway(readProfile(user, signal), away),
    unlessAway(ask("GET", "/models", { signal }), away),
  ]);
  if (shown?.user !== user) placeComposer(user);
  shown = { user, scope, answer, profile, cursor: answer.next_cursor, scale: scaleOf(answer.items), count: 0 };
  showProfile(one("#profile"), profile, answer, follow);
  one("#facts").textContent = facts(answer);
  one("#feed").hidden = beside !== "";
  one("#comparison").hidden = beside === "";
  fillVersions(one("#compare select"), versions?.models ?? [], answer.version, beside);
  if (beside) {
    one("#more").hidden = one("#end").hidden = true;
    await compare(one("#comparison"), { user, scope, k: PAGE, beside, answer, signal });
  } else {
    const cards = await cardsOf(answer, signal, away);
    one("#feed").replaceChildren(...cards);
    showEnd();
    if (address.get("show")) await lookFor(address.get("show"), signal);
  }
  one("#feed").setAttribute("aria-busy", "false");
  if (away.length) showProblem(away[0]);
  return undefined;
}

/** What is beside the ranking may be missing while a store is away: null then, and `away` has the problem. */
async function unlessAway(asked, away) {
  try {
    return await asked;
  } catch (error) {
    if (error.status !== 503) throw error;
    away.push(error);
    return null;
  }
}

/** The same, where what is answered too late is dropped and an error of the API is shown, and nothing of another user. */
async function showAgain() {
  try {
    await show();
  } catch (error) {
    if (error.name === "AbortError") return;
    shown = null;
    one("#feed").replaceChildren();
    one("#comparison").replaceChildren();
    one("#feed").setAttribute("aria-busy", "false");
    one("#profile").hidden = one("#more").hidden = one("#end").hidden = true;
    one("#facts").textContent = "";
    one(".compose")?.remove();
    if (error.name !== "Problem") throw error;
    showProblem(error);
  }
}

async function firstUser(signal) {
  const { users } = await ask("GET", url("/users", { limit: 1 }), { signal });
  return users.length ? users[0].user_id : null;
}

function recommendations(user, scope, cursor, signal) {
  return ask("GET", url(at`/users/${user}/recommendations`, { k: PAGE, scope, cursor, explain: true }), { signal });
}

async function cardsOf(answer, signal, away = []) {
  if (!answer.items.length) return [];
  const tweet_id = answer.items.map((item) => item.tweet_id);
  const found = await unlessAway(ask("GET", url("/tweets", { tweet_id }), { signal }), away);
  const tweetOf = new Map(found?.tweets.map((tweet) => [tweet.tweet_id, tweet]));
  const followed = shown.profile && new Set(shown.profile.followees);
  return answer.items.map((item) => {
    shown.count += 1;
    const tweet = tweetOf.get(item.tweet_id);
    const why = () => showWhy(item, tweet?.text ?? "", shown.scale, answer);
    return card(item, tweet, shown.count, shown.scale, answer, followed, { retweet, hide, follow, why });
  });
}

/** The next page below the others, once however often it is asked for meanwhile; its cards. */
function showMore() {
  paging ??= readMore().finally(() => {
    paging = null;
  });
  return paging;
}

async function readMore() {
  const { signal } = loading;
  let next;
  try {
    next = await recommendations(shown.user, shown.scope, shown.cursor, signal);
  } catch (error) {
    if (error.type !== "/problems/cursor-expired") throw error;
    await showAgain();
    say("Another model version serves now: the feed is ranked anew.");
    return [];
  }
  const cards = await cardsOf({ ...shown.answer, items: next.items }, signal);
  signal.throwIfAborted();
  shown.cursor = next.next_cursor;
  one("#feed").append(...cards);
  showEnd();
  return cards;
}

function showEnd() {
  one("#more").hidden = shown.cursor === null;
  one("#end").hidden = shown.cursor !== null;
  one("#end").textContent = shown.count ? "That is all there is." : "Nothing to recommend: follow somebody who posts or retweets.";
}

/** Page on until a tweet is there, and point at it. */
async function lookFor(tweetId, signal) {
  const found = () => one(`#feed [data-tweet="${CSS.escape(tweetId)}"]`);
  while (!found() && shown.cursor !== null && shown.count < LOOKED_THROUGH && !signal.aborted) await showMore();
  const address = new URLSearchParams(location.search);
  address.delete("show"); // it was done: the next change is not to come back here
  history.replaceState(null, "", `/?${address}`);
  if (found() === null) return say(`${tweetId} is not among the first ${shown.count} of ${shown.answer.candidates}.`);
  found().classList.add("pointed");
  found().focus();
  return say(`${tweetId} is at place ${found().getAttribute("aria-posinset")} of ${shown.answer.candidates}.`);
}

function placeComposer(user) {
  one(".compose")?.remove();
  one("#facts").before(composer(user, (tweet) => tellFollowers(user, tweet)));
}

async function tellFollowers(user, tweet) {
  const { users } = await ask("GET", url(at`/users/${user}/followers`, { limit: 3 }));
  const links = users.map((one) => h("a", { href: `/?user=${one.user_id}&show=${tweet.tweet_id}` }, one.user_id));
  const state = tweet.status === "ready" ? "Posted." : "Posted; it can be recommended as soon as it is encoded.";
  if (!links.length) return say(`${state} Nobody follows ${user} yet.`);
  return say(`${state} See it in the feed of `, ...links.flatMap((link) => [link, " "]));
}

const retweet = telling(async (item) => {
  const path = at`/users/${shown.user}/retweets/${item.tweet_id}`;
  await ask("PUT", path);
  await showAgain();
  sayUndo(`Retweeted ${item.tweet_id}; the feed is ranked anew.`, path);
});

const hide = telling(async (item) => {
  const path = at`/users/${shown.user}/hidden/${item.tweet_id}`;
  await ask("PUT", path);
  await showAgain();
  sayUndo(`${item.tweet_id} is shown to ${shown.user} no more.`, path);
});

function sayUndo(text, path) {
  const undo = telling(async () => {
    await ask("DELETE", path);
    await showAgain();
    say("Taken back.");
  });
  say(text, h("button", { type: "button", class: "small", onclick: undo }, "Undo"));
  one("#feed-title").focus({ preventScroll: true });
}

const follow = telling(async (userId, on) => {
  await ask(on ? "PUT" : "DELETE", at`/users/${shown.user}/followees/${userId}`);
  await showAgain();
  one("#feed-title").focus({ preventScroll: true });
  say(on ? `${shown.user} follows ${userId}; the feed is ranked anew.` : `${shown.user} follows ${userId} no more.`);
});

/** Another address, without leaving the page; what is null is left out. */
async function go(changes) {
  const address = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") address.delete(name);
    else address.set(name, value);
  }
  history.pushState(null, "", `/?${address}`);
  say("");
  await showAgain();
}

/** Page Down and Page Up go from card to card, as in any feed. */
function walk(event) {
  const at = event.target.closest?.(".card");
  if (!at || (event.key !== "PageDown" && event.key !== "PageUp")) return;
  event.preventDefault();
  (event.key === "PageDown" ? at.nextElementSibling : at.previousElementSibling)?.focus();
}

function start() {
  offerUsers(one("#picker-input"), one("#picker-list"), (user) => go({ user, show: null }));
  one("#picker").addEventListener("submit", (event) => event.preventDefault());
  one("#scope").addEventListener("change", (event) => go({ scope: event.target.value === "followees" ? null : event.target.value, show: null }));
  one("#compare select").addEventListener("change", (event) => go({ beside: event.target.value, show: null }));
  one("#more").addEventListener(
    "click",
    telling(async () => (await showMore())[0]?.focus()),
  );
  one("#feed").addEventListener("keydown", walk);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="/?user="]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    link.closest("dialog")?.close();
    const wanted = new URL(link.href).searchParams;
    go({ user: wanted.get("user"), show: wanted.get("show") }).then(() => wanted.get("show") || one("#feed-title").focus());
  });
  takeDrops();
  addEventListener("popstate", showAgain);
  showAgain();
}

start();
