/** Load something of the API again and again, say where it failed, and stop with the page. */

import { fill, h } from "./dom.js";

/**
 * @param {HTMLElement} place where a failure is said
 * @param {(signal: AbortSignal) => Promise<void>} load
 * @param {number} seconds from the end of one load to the next
 * @returns {{again: () => void, stop: () => void}}
 */
export function repeat(place, load, seconds) {
  let abort = new AbortController();
  let timer = 0;
  const stop = () => {
    abort.abort();
    clearTimeout(timer);
  };
  const again = async () => {
    stop();
    const { signal } = (abort = new AbortController());
    let problem = null;
    try {
      await load(signal);
    } catch (error) {
      problem = h("p.error", { role: "alert" }, error instanceof Error ? error.message : String(error));
    }
    if (signal.aborted) return;
    if (place.textContent !== (problem?.textContent ?? "")) fill(place, problem);
    timer = window.setTimeout(again, 1000 * seconds);
  };
  again();
  return { again, stop };
}
