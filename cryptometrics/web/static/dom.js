/** Build elements. Whatever is not an element becomes a text node, so nothing from outside is read as markup. */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * Return a new element.
 * @param {string} tag name of the element, with classes after points: "td.number"
 * @param {Record<string, any>} [options] attributes; `on…` adds a listener, true is an attribute without a value
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function h(tag, options = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  fill(element, ...children);
  return element;
}

/** Replace what an element contains. @param {Element} element @param {...(Child | Child[])} children */
export function fill(element, ...children) {
  const kept = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  element.replaceChildren(...kept.map((child) => (child instanceof Node ? child : String(child))));
}

/** Set a text where it differs: an unchanged one costs no layout. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} id @returns {HTMLElement} */
export const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** Let a screen reader say something when it has finished its sentence. @param {string} text */
export const announce = (text) => setText(byId("announcer"), text);
