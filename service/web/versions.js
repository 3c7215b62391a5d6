/** The table of model versions: what they are, how they did, and which one serves. */

import { ask, at } from "./api.js";
import { line } from "./chart.js";
import { h, one, say, telling } from "./dom.js";
import { age } from "./people.js";

const METRICS = ["auc", "p@1", "p@3"];

/** Fill the table; `changed` is called after another version serves. */
export function showVersions({ active, trial, models }, changed) {
  const before = models.find((model) => model.kept && model.version !== active && model.version !== trial?.version);
  one("#rollback").disabled = before === undefined;
  one("#rollback").onclick = () => confirm("Roll back?", `${before?.version} serves again, for everybody, within a second.`, () => activate("/models:rollback", changed));
  const focused = one("#versions").contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  one("#versions").replaceChildren(
    h("caption", { class: "unseen" }, "Model versions, the one activated last first"),
    h("thead", {}, h("tr", {}, ...["Version", "State", "Made", ...METRICS.map((name) => name.toUpperCase()), "Beside the one before", "Actions"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...models.map((model) => row(model, active, trial, changed))),
  );
  if (focused) one(`#versions [aria-label="${CSS.escape(focused)}"]`)?.focus();
}

function row(model, active, trial, changed) {
  const state = model.version === active ? "active" : model.version === trial?.version ? `on trial (${Number((100 * trial.share).toFixed(2))} %)` : model.kept ? "kept" : "retired";
  const system = ownMetrics(model.metrics);
  const gate = model.metrics.gate;
  return h(
    "tr",
    { class: state === "active" ? "active" : null },
    h("th", { scope: "row" }, model.version),
    h("td", {}, h("span", { class: `state ${state.split(" ")[0]}` }, state)),
    h("td", {}, age(model.created_at)),
    ...METRICS.map((name) => h("td", { class: "number" }, system?.[name] === undefined ? "" : system[name].toFixed(3))),
    h("td", {}, gate ? gateWords(gate) : ""),
    h(
      "td",
      { class: "acts" },
      h("button", { type: "button", class: "small", onclick: telling(() => showCurves(model.version)), "aria-label": `Curves of ${model.version}` }, "Curves"),
      state === "kept"
        ? h(
            "button",
            {
              type: "button",
              class: "small",
              "aria-label": `Activate ${model.version}`,
              onclick: () => confirm(`Activate ${model.version}?`, "It serves everybody within a second. The one that serves now stays kept.", () => activate(at`/models/${model.version}:activate`, changed)),
            },
            "Activate",
          )
        : null,
    ),
  );
}

/** Of the model itself: neither the baselines beside it nor the gate. */
function ownMetrics(metrics) {
  const name = Object.keys(metrics).find((system) => !["popularity", "random", "gate"].includes(system));
  return metrics[name];
}

function gateWords(gate) {
  if (gate.difference === undefined) return gate.not_compared ?? "";
  const [mean, low, high] = [gate.difference, gate.difference_low, gate.difference_high].map(signed);
  return `${mean} AUC (${low} to ${high})${gate.passed ? "" : ", forced"}`;
}

function signed(value) {
  return `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(4)}`;
}

async function activate(path, changed) {
  const models = await ask("POST", path);
  await changed();
  say(`${models.active} serves now.`);
}

function confirm(title, text, work) {
  const dialog = h(
    "dialog",
    { "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text", onclose: () => dialog.remove() },
    h("h2", { id: "confirm-title" }, title),
    h("p", { id: "confirm-text" }, text),
    h(
      "div",
      { class: "acts" },
      h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Cancel"),
      h(
        "button",
        {
          type: "button",
          class: "main",
          onclick: async () => {
            dialog.close();
            await telling(work)();
          },
        },
        "Yes, do it",
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

async function showCurves(version) {
  const { manifest } = await ask("GET", at`/models/${version}`);
  const place = one("#curves");
  place.hidden = false;
  const curve = manifest?.curve ?? [];
  place.replaceChildren(h("h3", {}, `Training of ${version}`), ...(curve.length ? drawn(curve, manifest) : [h("p", { class: "facts" }, manifest === null ? "Its folder is not on this machine." : "It was exported before curves were kept.")]));
  place.scrollIntoView({ block: "nearest" });
}

function drawn(curve, manifest) {
  const best = curve.reduce((at, epoch, here) => (epoch.auc > curve[at].auc ? here : at), 0);
  const seconds = curve.reduce((sum, epoch) => sum + epoch.seconds, 0);
  return [
    h(
      "div",
      { class: "charts" },
      line("Training loss", curve.map((epoch) => epoch.loss), best, (value) => value.toFixed(3)),
      line("Validation AUC", curve.map((epoch) => epoch.auc), best, (value) => value.toFixed(3)),
    ),
    h("p", { class: "facts" }, `${curve.length} epochs in ${seconds.toFixed(0)} s; the model is that of epoch ${best + 1}. Link ${manifest.link}, d = ${manifest.dim}, images by ${manifest.backbone}.`),
  ];
}
