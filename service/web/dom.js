/** Elements in one expression. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: h("a", { href: "/", onclick: leave }, "Home"). A property of the element, else an attribute. */
export function h(name, properties = {}, ...children) {
  return filled(document.createElement(name), properties, children);
}

/** The same for a part of a drawing. */
export function svg(name, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, name), properties, children);
}

/** The one element of a selector. */
export function one(selector, within = document) {
  return within.querySelector(selector);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Say something in a line that comes and goes, with something to do about it if given. */
export function say(text, ...actions) {
  one("#said").replaceChildren(text, ...actions);
}

/** Show what went wrong, or that nothing is wrong any more. */
export function showProblem(error) {
  const place = one("#problem");
  const text = error === null ? "" : error.message;
  const isNew = place.textContent !== text;
  place.hidden = error === null;
  place.textContent = text;
  if (error !== null && isNew) place.scrollIntoView({ block: "nearest" });
}

/** What a listener calls: an error that the API answered is shown, any other is the page's own. */
export function telling(work) {
  return async (...given) => {
    showProblem(null);
    try {
      await work(...given);
    } catch (error) {
      if (error.name === "AbortError") return; // something else is shown meanwhile
      if (error.name !== "Problem") throw error;
      showProblem(error);
    }
  };
}
