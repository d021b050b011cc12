/** Dark or light: as the system has it, or as the switch says. */

import { byId, h, setText } from "./dom.js";

const CHOICES = ["auto", "light", "dark"];
const KEY = "cryptometrics-theme";
const COLOURS = ["ink", "soft", "line", "panel", "accent", "bid", "ask", "warn", "bad"];

/** Set the colours at once, and let the button change them. */
export function start() {
  let choice = Math.max(0, CHOICES.indexOf(localStorage.getItem(KEY) ?? ""));
  const apply = () => {
    document.documentElement.dataset.theme = CHOICES[choice];
    setText(byId("theme"), `Theme: ${CHOICES[choice]}`);
    dispatchEvent(new Event("themechange"));
  };
  byId("theme").addEventListener("click", () => {
    choice = (choice + 1) % CHOICES.length;
    localStorage.setItem(KEY, CHOICES[choice]);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
}

/** @returns {Record<string, string>} the colours of the present theme: a canvas cannot read custom properties */
export function palette() {
  const probe = h("span");
  document.body.append(probe);
  const colours = COLOURS.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(colours);
}
