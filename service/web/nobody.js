/** Where there is no user yet. */

import { ID, ask } from "./api.js";
import { h, one, telling } from "./dom.js";

/** A form that makes the first one; `made` gets the id. */
export function showNobody(made) {
  const input = h("input", { id: "first", maxlength: 64, pattern: ID, required: true, autocomplete: "off" });
  const make = telling(async () => {
    await ask("POST", "/users", { json: { user_id: input.value.trim() } });
    await made(input.value.trim());
  });
  const onsubmit = (event) => {
    event.preventDefault();
    make();
  };
  const form = h("form", { class: "field", onsubmit }, h("label", { for: "first" }, "Nobody is here yet. Make a user"), input, h("button", { class: "main" }, "Make"));
  one("#nobody").replaceChildren(form, h("p", { class: "facts" }, "Or bring a network: python -m training import FOLDER"));
  one("#nobody").hidden = false;
  one("#feed").setAttribute("aria-busy", "false");
}
