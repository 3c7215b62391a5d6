/** The operator's page: how the service, its stores and its models are. */

import { ask } from "./api.js";
import { bars } from "./chart.js";
import { h, one, showProblem } from "./dom.js";
import { age } from "./people.js";
import { showVersions } from "./versions.js";

const EVERY_MS = 5_000;

const PATIENCE_MS = 10_000;

let looking = Promise.resolve();

let before = null;
/** The state looked at last, for rates. */

/** Look at everything anew, after the look that goes on. */
function look() {
  looking = looking.then(async () => {
    const failed = [await attempt(lookAtState), await attempt(lookAtModels)].find((error) => error !== null) ?? null;
    one("#asof").textContent = `${failed ? "Not all of it: " : ""}as of ${new Date().toLocaleTimeString("en-GB")}`;
    one(".ops").classList.toggle("stale", failed !== null);
    if (failed || problemIsOurs) showProblem(failed);
    problemIsOurs = failed !== null;
    if (failed && [401, 403].includes(failed.status)) one("#live").checked = false; // who gave no key is not asked again
  });
  return looking;
}

let problemIsOurs = false;
/** Whether what is shown to be wrong comes from a look, so that the next one may take it away. */

async function attempt(work) {
  try {
    await work();
    return null;
  } catch (error) {
    if (error.name !== "Problem") throw error;
    return error;
  }
}

async function lookAtState() {
  const state = await ask("GET", "/ops/state", { signal: AbortSignal.timeout(PATIENCE_MS) });
  showTiles(state);
  showAnswers(state.process);
  showEncoder(state.process);
  showRequests(state.process);
  before = state;
}

async function lookAtModels() {
  showVersions(await ask("GET", "/models", { signal: AbortSignal.timeout(PATIENCE_MS) }), look);
}

function showTiles({ status, process, freshness, redis, database }) {
  const model = freshness.model;
  const behind = freshness.stored?.newest_retweet_at && model ? (new Date(freshness.stored.newest_retweet_at) - new Date(model.newest_retweet_at)) / 1000 : null;
  const tiles = [
    ["Service", status, status === "ready", `up for ${duration(process.uptime_seconds)}, process ${process.process_id} on ${process.host}`],
    ["Redis", redis.state, redis.state === "ok", [redis.seconds === null ? "" : `answers in ${milliseconds(redis.seconds)} `, ...(freshness.redis_written_at ? ["written anew ", age(freshness.redis_written_at)] : [])]],
    ["Database", database.state, database.state === "ok", database.seconds === null ? "" : `answers in ${milliseconds(database.seconds)}`],
    ["Queue", `${process.queue.in_work} of ${process.queue.size}`, process.queue.in_work < process.queue.size, "posted tweets in work"],
    ["Pending", count(freshness.stored?.pending_tweets), !freshness.stored?.pending_tweets, ["stored tweets without a vector yet", ...(freshness.stored ? [", counted ", age(freshness.stored.counted_at)] : [])]],
    ["To fold in", count(freshness.waiting_users), true, "users whom the model does not know yet"],
    ["Model", model ? h("span", {}, "made ", age(model.created_at)) : "none", model !== null, model ? model.version : "run python -m training retrain"],
    ["Behind", behind === null ? "unknown" : behind <= 0 ? "nothing" : duration(behind), true, "newest retweet stored after the newest it was made from"],
    ["Memory", `${(process.held_bytes / 1e6).toFixed(1)} MB`, true, `held of ${process.held_limit_bytes / 1e6} MB; the encoder runs on ${process.device}`],
  ];
  one("#tiles").replaceChildren(
    ...tiles.map(([name, value, good, more]) => h("div", { class: good ? "tile" : "tile bad" }, h("dt", {}, name), h("dd", { class: "big" }, value), h("dd", { class: "facts" }, more))),
  );
}

function showAnswers(process) {
  const total = process.answers.reduce((sum, one) => sum + one.count, 0);
  const rows = process.answers.map((one) => ({
    name: one.degraded ? `${one.source}, stood in` : one.source,
    value: one.count,
    text: `${one.count.toLocaleString("en")} (${((100 * one.count) / total).toFixed(1)} %)`,
    bad: one.degraded,
  }));
  one("#answers").replaceChildren(total ? bars(rows) : h("p", { class: "facts" }, "Nobody asked for recommendations since this process began."));
}

function showEncoder({ encoder, shed }) {
  const rows = encoder.batch_sizes.buckets.map((bucket, at, all) => {
    const from = at === 0 ? 1 : all[at - 1].up_to + 1;
    return { name: bucket.up_to === null ? `${from} or more` : bucket.up_to === from ? `${from}` : `${from} to ${bucket.up_to}`, value: bucket.count };
  });
  const refused = shed.reduce((sum, one) => sum + one.count, 0);
  one("#encoder").replaceChildren(
    h("h3", {}, "Batches by how many tweets they had"),
    encoder.batch_sizes.count ? bars(rows) : h("p", { class: "facts" }, "Nothing was encoded since this process began."),
    h("p", { class: "facts" }, encoder.batch_sizes.count ? `A batch took ${quantiles(encoder.batch_seconds)}; a tweet waited ${quantiles(encoder.queue_seconds)} for its batch.` : ""),
    h("p", { class: refused ? "facts bad" : "facts" }, refused ? `Answered 429: ${shed.map((one) => `${one.limit} ${one.count}`).join(", ")}.` : "Nothing was answered 429."),
  );
}

function showRequests(process) {
  const heads = ["Kind", "Per second", "Answered", "Refused", "Failed", "p50", "p99"];
  one("#requests").replaceChildren(
    h("caption", { class: "unseen" }, "Requests by kind since this process began"),
    h("thead", {}, h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, name)))),
    h(
      "tbody",
      {},
      ...process.requests.map((kind) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, kind.kind),
          h("td", { class: "number" }, rate(kind, process)),
          ...[kind.answered, kind.refused, kind.failed].map((value) => h("td", { class: "number" }, value.toLocaleString("en"))),
          ...[kind.seconds.p50, kind.seconds.p99].map((value) => h("td", { class: "number" }, value === null ? "" : milliseconds(value))),
        ),
      ),
    ),
  );
}

/** Since the last look, where that was at the same process. */
function rate(kind, process) {
  const last = before?.process;
  if (!last || last.process_id !== process.process_id || last.started_at !== process.started_at) return "";
  const earlier = last.requests.find((one) => one.kind === kind.kind)?.seconds.count ?? 0;
  return ((kind.seconds.count - earlier) / Math.max(0.1, process.uptime_seconds - last.uptime_seconds)).toFixed(1);
}

function quantiles(durations) {
  return `${milliseconds(durations.p50)} (p50), ${milliseconds(durations.p99)} (p99)`;
}

function milliseconds(seconds) {
  const ms = 1000 * seconds;
  return `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}

function duration(seconds) {
  const [name, size] = [["days", 86_400], ["hours", 3_600], ["minutes", 60]].find(([, size]) => seconds >= 2 * size) ?? ["seconds", 1];
  return `${Math.floor(seconds / size)} ${name}`;
}

function count(value) {
  return value === null || value === undefined ? "unknown" : value.toLocaleString("en");
}

/** Again and again, but for where nobody looks or a question is open. */
async function keepLooking() {
  if (one("#live").checked && !document.hidden && !one("dialog")) await look();
  setTimeout(keepLooking, EVERY_MS);
}

look();
setTimeout(keepLooking, EVERY_MS);
