/** From the address to a page. Links inside the page change the address without loading everything again. */

import { announce, byId, fill } from "./dom.js";

/** @typedef {(main: HTMLElement, left: AbortSignal, ...parts: string[]) => void} Page shows itself until it is left */

/** @param {{path: RegExp, title: string, page: Page}[]} routes */
export function start(routes) {
  let leaving = new AbortController();

  function go() {
    leaving.abort();
    leaving = new AbortController();
    const main = byId("main");
    fill(main);
    const route = routes.find(({ path }) => path.test(location.pathname));
    const parts = (route?.path.exec(location.pathname) ?? []).slice(1).map(decodeURIComponent);
    const title = parts.at(-1) ?? route?.title ?? "Not found";
    document.title = `${title} · cryptometrics`;
    for (const link of document.querySelectorAll("nav a")) {
      link.ariaCurrent = link.getAttribute("href") === location.pathname ? "page" : null;
    }
    route?.page(main, leaving.signal, ...parts);
    return title;
  }

  function move() {
    const title = go();
    scrollTo(0, 0);
    byId("main").focus({ preventScroll: true });
    announce(title);
  }

  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button);
    if (!link || !isPlain || link.origin !== location.origin || link.hash) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    move();
  });
  addEventListener("popstate", move);
  go();
}
