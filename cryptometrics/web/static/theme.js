/** Dark or light: as the system has it, or as the switch says. */

import { byId, setText } from "./dom.js";

const CHOICES = /** @type {const} */ (["auto", "light", "dark"]);
const KEY = "cryptometrics-theme";

/** Set the colours at once, and let the button change them. */
export function start() {
  const kept = localStorage.getItem(KEY);
  let choice = CHOICES.find((each) => each === kept) ?? "auto";
  const apply = () => {
    document.documentElement.dataset.theme = choice;
    setText(byId("theme"), `Theme: ${choice}`);
    dispatchEvent(new Event("themechange"));
  };
  byId("theme").addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    localStorage.setItem(KEY, choice);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
}

/**
 * Return a colour of the style sheet as the present theme has it; charts cannot read custom properties.
 * @param {string} name of a custom property, such as "--accent"
 */
export function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
