/** Post a picture with a few words. */

import { ask } from "./api.js";
import { h, one, telling } from "./dom.js";
import { face } from "./people.js";

const HINT = "Drop a picture here, paste one, or choose a file";

/** A form that opens, and posts as a user; `posted` gets the stored tweet. Pictures come from the file dialog, a drop or the clipboard. */
export function composer(userId, posted) {
  const preview = h("img", { class: "preview", alt: "The picture to post", hidden: true });
  const file = h("input", { id: "compose-file", type: "file", accept: "image/jpeg,image/png,image/webp,image/gif", class: "unseen" });
  const hint = h("span", {}, HINT);
  const zone = h("label", { class: "zone", for: "compose-file" }, preview, hint);
  const words = h("textarea", { id: "compose-words", rows: 2, maxlength: 2000, placeholder: "A few words, #tags welcome" });
  const submit = h("button", { class: "main", disabled: true }, "Post");
  let picture = null;
  let once = newKey(); // of this draft: sent again after an answer was lost, it is not posted twice

  const choose = (chosen) => {
    picture = chosen ?? null;
    once = newKey();
    submit.disabled = picture === null;
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.hidden = picture === null;
    if (picture === null) preview.removeAttribute("src");
    else preview.src = URL.createObjectURL(picture);
    hint.textContent = picture === null ? HINT : picture.name || "A pasted picture";
  };
  file.addEventListener("change", () => choose(file.files[0]));
  words.addEventListener("input", () => {
    once = newKey();
  });
  words.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) choose(event.clipboardData.files[0]);
  });

  const send = telling(async () => {
    const form = new FormData();
    form.append("author_id", userId);
    form.append("text", words.value);
    form.append("image", picture);
    const tweet = await ask("POST", "/tweets", { form, once });
    words.value = file.value = "";
    choose(null);
    await posted(tweet);
  });
  const fields = h("fieldset", {}, zone, file, h("div", { class: "compose-words" }, h("label", { for: "compose-words" }, "Words"), words, submit));
  const form = h("form", { "aria-label": `Post as ${userId}` }, fields);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fields.disabled = true;
    submit.textContent = "Posting\u2026";
    await send();
    fields.disabled = false;
    submit.textContent = "Post";
    words.focus({ preventScroll: true });
  });
  const box = h("details", { class: "compose" }, h("summary", {}, h("span", { class: "by" }, face(userId, 26), `Post a picture as ${userId}`)), form);
  box.addEventListener("picture", (event) => fields.disabled || choose(event.detail));
  return box;
}

/** Let files be dropped anywhere on the page: the form opens, and takes the first one. */
export function takeDrops() {
  const over = (isOver) => one(".compose")?.classList.toggle("over", isOver);
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault(); // else the browser leaves the page for the file
      if (name === "dragenter") one(".compose")?.setAttribute("open", "");
      over(name === "dragover");
      if (name === "drop") one(".compose")?.dispatchEvent(new CustomEvent("picture", { detail: event.dataTransfer.files[0] }));
    });
  }
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
