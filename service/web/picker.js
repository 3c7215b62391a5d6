/** A field that offers users by the beginning of their id: a combobox as WAI-ARIA has it. */

import { ask, url } from "./api.js";
import { face } from "./people.js";
import { h } from "./dom.js";

const OFFERED = 8;

/**
 * Let an input offer users in a list below it; `picked` gets the id that is chosen or typed.
 * Arrow keys move, Enter takes, Escape closes.
 */
export function offerUsers(input, list, picked) {
  const combobox = { role: "combobox", "aria-expanded": "false", "aria-controls": list.id, "aria-autocomplete": "list" };
  const plain = { autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: 64 };
  for (const [name, value] of Object.entries({ ...combobox, ...plain })) input.setAttribute(name, value);
  list.setAttribute("role", "listbox");
  list.hidden = true;

  let marked = -1;
  let asked = new AbortController();

  const options = () => [...list.children];
  const close = () => {
    asked.abort();
    list.hidden = true;
    marked = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (userId) => {
    close();
    input.value = "";
    picked(userId);
  };
  const mark = (place) => {
    marked = (place + list.children.length) % list.children.length;
    options().forEach((option, at) => option.setAttribute("aria-selected", String(at === marked)));
    input.setAttribute("aria-activedescendant", options()[marked].id);
    options()[marked].scrollIntoView({ block: "nearest" });
  };
  const offer = async () => {
    asked.abort();
    asked = new AbortController();
    const prefix = input.value.trim();
    if (!/^[A-Za-z0-9_-]*$/.test(prefix)) return close();
    const answer = await ask("GET", url("/users", { prefix, limit: OFFERED }), { signal: asked.signal });
    marked = -1;
    input.removeAttribute("aria-activedescendant");
    list.replaceChildren(
      ...answer.users.map((user, at) =>
        h(
          "li",
          { role: "option", id: `${list.id}-${at}`, "aria-selected": "false", onmousedown: (event) => event.preventDefault(), onclick: () => take(user.user_id) },
          face(user.user_id, 24),
          user.user_id,
        ),
      ),
    );
    list.hidden = answer.users.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
  };
  const offered = () => offer().catch((error) => (error.name === "AbortError" ? null : close()));

  input.addEventListener("input", offered);
  input.addEventListener("focus", offered);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return close();
    if (event.key === "Enter") {
      event.preventDefault();
      const userId = marked >= 0 ? options()[marked].textContent : input.value.trim();
      return userId ? take(userId) : undefined;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return offered();
      mark(event.key === "ArrowDown" ? marked + 1 : Math.max(marked, 0) - 1);
    }
    return undefined;
  });
}
