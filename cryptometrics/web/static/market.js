/** The page Market: all pairs in one table, whose columns are in `pages/market.html`. */

import { h, setText } from "./dom.js";
import { fixed } from "./format.js";
import { now, onChange, pairs, secondsSince } from "./live.js";
import { showTemplate } from "./parts.js";
import { everySecond } from "./refresh.js";
import { Table } from "./table.js";

/** @typedef {import("./live.js").PairRow} PairRow */

export const STALE_S = 60; // a quote that is older is greyed: no market of the feed is quiet for so long

/** Return a row with what is shown beside its values. @param {PairRow} row */
export function viewOf(row) {
  const age = secondsSince(row.timestamp) ?? Infinity;
  const gaps = row.gap_minutes ? `${row.gap_minutes} min gaps` : "";
  const source = row.simulated ? "SIMULATED" : row.venue;
  return { ...row, age, source, gaps, gap_state: gaps && "warn", freshness: age > STALE_S ? "stale" : "" };
}

/** @param {HTMLElement} place @param {PairRow} row */
function drawLink(place, row) {
  const href = `/pair/${encodeURIComponent(row.venue)}/${encodeURIComponent(row.pair)}`;
  if (!place.firstChild) place.append(h("a", { href }, row.pair));
}

/** @type {import("./router.js").Page} */
export function show(main, left) {
  const part = showTemplate(main, "market");
  const table = new Table(part("pairs"), { link: drawLink });
  table.filterBy(part("filter"));
  const paint = () => {
    if (!now.isKnown) return;
    const rows = [...pairs.values()].map(viewOf);
    table.update(rows);
    const rate = rows.reduce((sum, row) => sum + (row.ticks_per_second ?? 0), 0);
    const stale = rows.filter((row) => row.freshness).length;
    const facts = [`${rows.length} pair${rows.length === 1 ? "" : "s"}`, `${fixed(rate, 1)} ticks/s`, stale && `${stale} stale`];
    setText(part("summary"), facts.filter(Boolean).join(" · "));
  };
  everySecond(paint, left);
  onChange(({ changed, startsAnew }) => (changed.size || startsAnew) && paint(), left);
}
