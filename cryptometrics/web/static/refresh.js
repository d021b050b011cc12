/** What a page does again and again until it is left. */

import { fill, h } from "./dom.js";

/** Call a function now and every second, so that ages count up. @param {() => void} paint @param {AbortSignal} left */
export function everySecond(paint, left) {
  paint();
  const timer = setInterval(paint, 1000);
  left.addEventListener("abort", () => clearInterval(timer));
}

/**
 * Load something now and again, and say where it failed.
 * @param {HTMLElement} place where a failure is said
 * @param {number} seconds from the end of one load to the next
 * @param {AbortSignal} left
 * @param {(signal: AbortSignal) => Promise<void>} load
 * @returns {() => void} loads at once
 */
export function repeat(place, seconds, left, load) {
  let newer = new AbortController();
  let timer = 0;
  const again = async () => {
    newer.abort();
    clearTimeout(timer);
    newer = new AbortController();
    const signal = AbortSignal.any([newer.signal, left]);
    let problem = "";
    try {
      if (!signal.aborted) await load(signal);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    if (signal.aborted) return;
    if (place.textContent !== problem) fill(place, problem && h("p.error", { role: "alert" }, problem));
    timer = window.setTimeout(again, 1000 * seconds);
  };
  again();
  return again;
}
