/** What pages are made of: a template with named parts, lists of figures, and rows of buttons with one pressed. */

import { byId, fill, setText } from "./dom.js";
import { render } from "./format.js";

/**
 * Show a template of the page; return how to find its parts.
 * @param {Element} place
 * @param {string} id of the template
 * @returns {(name: string) => HTMLElement}
 */
export function showTemplate(place, id) {
  const template = /** @type {HTMLTemplateElement} */ (byId(id));
  fill(place, document.importNode(template.content, true));
  return (name) => /** @type {HTMLElement} */ (place.querySelector(`[data-part="${name}"]`));
}

/** Return how to show data in a list of figures, whose texts are templates. @param {HTMLElement} list */
export function figures(list) {
  const places = [...list.querySelectorAll("dd")].map((place) => ({ place, template: place.textContent ?? "" }));
  for (const { place } of places) setText(place, "");
  return (/** @type {Record<string, any>} */ data) => {
    for (const { place, template } of places) setText(place, render(template, data));
  };
}

/** Let one button of a group be pressed. @param {HTMLElement} group @param {(choice: string) => void} onChoice */
export function choices(group, onChoice) {
  group.addEventListener("click", ({ target }) => {
    const button = /** @type {Element} */ (target).closest("button");
    if (!button) return;
    for (const each of group.children) each.ariaPressed = String(each === button);
    onChoice(button.textContent ?? "");
  });
}
