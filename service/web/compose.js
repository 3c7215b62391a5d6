/** Post a picture with a few words. */

import { ask } from "./api.js";
import { h, telling } from "./dom.js";
import { face } from "./people.js";

/** A form that opens, and posts as a user; `posted` gets the stored tweet. Pictures come from the file dialog, a drop or the clipboard. */
export function composer(userId, posted) {
  const preview = h("img", { class: "preview", alt: "The picture to post", hidden: true });
  const file = h("input", { id: "compose-file", type: "file", accept: "image/jpeg,image/png,image/webp,image/gif", class: "unseen" });
  const hint = h("span", {}, "Drop a picture here, paste one, or choose a file");
  const zone = h("label", { class: "zone", for: "compose-file" }, preview, hint);
  const words = h("textarea", { id: "compose-words", rows: 2, maxlength: 2000, placeholder: "A few words, #tags welcome" });
  const submit = h("button", { class: "main", disabled: true }, "Post");
  let picture = null;

  const choose = (chosen) => {
    picture = chosen ?? null;
    submit.disabled = picture === null;
    if (preview.src) URL.revokeObjectURL(preview.src);
    preview.hidden = picture === null;
    if (picture === null) preview.removeAttribute("src");
    else preview.src = URL.createObjectURL(picture);
    hint.textContent = picture === null ? "Drop a picture here, paste one, or choose a file" : picture.name || "A pasted picture";
  };
  const over = (isOver) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", isOver);
  };
  file.addEventListener("change", () => choose(file.files[0]));
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    choose(event.dataTransfer.files[0]);
  });
  words.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) choose(event.clipboardData.files[0]);
  });

  const send = telling(async () => {
    const form = new FormData();
    form.append("author_id", userId);
    form.append("text", words.value);
    form.append("image", picture);
    const tweet = await ask("POST", "/tweets", { form });
    words.value = file.value = "";
    choose(null);
    await posted(tweet);
  });
  const form = h(
    "form",
    {},
    zone,
    file,
    h("div", { class: "compose-words" }, h("label", { for: "compose-words" }, "Words"), words, submit),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    submit.textContent = "Posting\u2026";
    await send();
    submit.textContent = "Post";
    submit.disabled = picture === null;
  });
  return h("details", { class: "compose" }, h("summary", {}, h("span", { class: "by" }, face(userId, 26), `Post a picture as ${userId}`)), form);
}
