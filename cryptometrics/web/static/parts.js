/** Small parts that several pages share: a list of figures, and a row of buttons with one pressed. */

import { h, setText } from "./dom.js";

/**
 * A list of named figures that keep their places.
 * @template Data
 * @param {[label: string, text: (data: Data) => string, sub?: (data: Data) => string][]} rows
 * @returns {{element: HTMLElement, show: (data: Data) => void}}
 */
export function figureList(rows) {
  const values = rows.map(([label, , sub]) => ({ label, value: h("dd"), small: sub ? h("dd.sub") : null }));
  const element = h("dl.figures", {}, values.map(({ label, value, small }) => h("div", {}, h("dt", {}, label), value, small)));
  const show = (/** @type {Data} */ data) =>
    rows.forEach(([, text, sub], i) => {
      setText(values[i].value, text(data));
      if (sub) setText(/** @type {Element} */ (values[i].small), sub(data));
    });
  return { element, show };
}

/**
 * @param {string} label of the group
 * @param {readonly string[]} choices
 * @param {string} chosen
 * @param {(choice: string) => void} onChoice
 */
export function choiceButtons(label, choices, chosen, onChoice) {
  const press = (/** @type {string} */ choice) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(choices[i] === choice)));
    onChoice(choice);
  };
  const buttons = choices.map((choice) =>
    h("button", { type: "button", "aria-pressed": String(choice === chosen), onclick: () => press(choice) }, choice),
  );
  return h("div.choices", { role: "group", "aria-label": label }, buttons);
}

/** A bar that is full at 1. @param {HTMLElement} place @param {number | null} share */
export function drawBar(place, share) {
  if (!place.firstChild) place.append(h("span.bar", { "aria-hidden": "true" }, h("i")));
  const bar = /** @type {HTMLElement} */ (place.querySelector("i"));
  bar.style.width = `${Math.max(0, Math.min(100, 100 * (share ?? 0)))}%`;
}
