/** Requests to the service this page comes from. */

import { h } from "./dom.js";

const KEY = "image-tweets-key";

/** What an id is, as an input's `pattern` has it. */
export const ID = "[A-Za-z0-9_\\-]{1,64}";

/** What the API answered instead; its message says what is wrong and how to mend it. */
export class Problem extends Error {
  name = "Problem";

  constructor(status, type, detail) {
    super(detail);
    this.status = status;
    this.type = type;
  }
}

/** The JSON that a request is answered with, null where there is none. Asks for a key where one is needed. */
export async function ask(method, path, options = {}) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

/** A path whose parts are encoded: at`/users/${user}`. */
export function at(fixed, ...parts) {
  return String.raw({ raw: fixed }, ...parts.map(encodeURIComponent));
}

/** A path with parameters: those that are null are left out, those that are lists are repeated. */
export function url(path, parameters) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) if (each !== null && each !== "") found.append(name, each);
  }
  return found.size ? `${path}?${found}` : path;
}

/** Show a tweet's picture in an image, once that comes into sight. */
export function showPicture(image, tweetId) {
  const path = at`/tweets/${tweetId}/image`;
  if (sessionStorage.getItem(KEY) === null) {
    image.loading = "lazy";
    image.src = path;
  } else {
    image.dataset.path = path;
    inSight.observe(image);
  }
}

const inSight = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      inSight.unobserve(target);
      fetchPicture(target);
    }
  },
  { rootMargin: "400px" },
);

/** A browser sends no key by itself, so with one the picture is fetched first. */
async function fetchPicture(image) {
  try {
    const picture = URL.createObjectURL(await (await send("GET", image.dataset.path, {})).blob());
    for (const end of ["load", "error"]) image.addEventListener(end, () => URL.revokeObjectURL(picture), { once: true });
    image.src = picture;
  } catch (error) {
    if (error.name !== "Problem") throw error;
    image.removeAttribute("src"); // its words stand in for it, as where a browser cannot load one
  }
}

async function send(method, path, options) {
  const { json, form, signal, once } = options;
  const key = sessionStorage.getItem(KEY);
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  if (once !== undefined) headers["Idempotency-Key"] = once;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: json === undefined ? form : JSON.stringify(json) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new Problem(0, "", "The service does not answer in time.");
    throw new Problem(0, "", "The service does not answer: is it running? Try again in a moment.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ type: "", detail: `The service answered ${response.status}.` }));
  if (response.status === 401 || (response.status === 403 && key !== null)) {
    const another = key !== sessionStorage.getItem(KEY) || (await askForKey(problem.detail));
    if (another) return send(method, path, options);
  }
  throw new Problem(response.status, problem.type, problem.detail);
}

let asking = null;

/** Whether somebody gives a key, which is kept until the tab is closed. */
function askForKey(reason) {
  asking ??= new Promise((resolve) => {
    const input = h("input", { id: "key", type: "password", required: true, pattern: "[ -~]+", title: "A key has plain letters, digits and signs", autocomplete: "off" });
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "key-title" }, "A key is needed"),
      h("p", {}, reason),
      h("label", { for: "key" }, "Key"),
      input,
      h("p", { class: "facts" }, "Make one with: python -m service keys create NAME --scopes read,write,admin"),
      h("div", { class: "acts" }, h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"), h("button", { class: "main", value: "given" }, "Use it")),
    );
    const dialog = h("dialog", { "aria-labelledby": "key-title" }, form);
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "given";
      if (given) sessionStorage.setItem(KEY, input.value.trim());
      dialog.remove();
      asking = null;
      resolve(given);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
