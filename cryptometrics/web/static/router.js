/** From the address to a page. Links inside the page change the address without loading everything again. */

import { announce, byId, fill } from "./dom.js";

/** @typedef {(main: HTMLElement, ...parts: string[]) => (() => void)} Page shows itself, and returns how to leave it */

/**
 * @param {{path: RegExp, title: string, page: Page}[]} routes
 */
export function start(routes) {
  let leave = () => {};

  /** @param {boolean} isFirst */
  function go(isFirst) {
    leave();
    const main = byId("main");
    fill(main);
    const found = routes.map((route) => ({ route, match: route.path.exec(location.pathname) })).find(({ match }) => match);
    const parts = (found?.match ?? []).slice(1).map(decodeURIComponent);
    const title = [...parts.slice().reverse(), found?.route.title].filter(Boolean)[0] ?? "Not found";
    document.title = `${title} · cryptometrics`;
    for (const link of document.querySelectorAll("nav a")) {
      const isHere = link.getAttribute("href") === location.pathname;
      if (isHere) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    leave = found ? found.route.page(main, ...parts) : () => {};
    if (isFirst) return;
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
    announce(title);
  }

  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button);
    if (!link || !isPlain || link.origin !== location.origin || link.hash) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    go(false);
  });
  addEventListener("popstate", () => go(false));
  go(true);
}
