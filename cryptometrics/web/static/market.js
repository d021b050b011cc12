/** The page Market: all pairs, newest quotes and risk, in one table. */

import { h, setText } from "./dom.js";
import { age, decimal, fixed, integer, percent } from "./format.js";
import { marketOf, now, onChange, pairs, secondsSince } from "./live.js";
import { decimalColumn, filterBox, numberColumn, Table, textColumn } from "./table.js";

/** @typedef {import("./live.js").PairRow} PairRow */

export const STALE_S = 60; // a quote that is older is greyed: no market of the feed is quiet for so long

/** @param {PairRow} row */
export const ageOf = (row) => secondsSince(row.timestamp);

/** @param {PairRow} row */
export const isStale = (row) => (ageOf(row) ?? Infinity) > STALE_S;

/** @param {HTMLElement} place @param {PairRow} row */
function drawLink(place, row) {
  const href = `/pair/${encodeURIComponent(row.venue)}/${encodeURIComponent(row.pair)}`;
  if (!place.firstChild) place.append(h("a", { href }, row.pair));
}

/** @param {string} key */
const size = (key) => (/** @type {PairRow} */ row) => row[key] === null ? "" : `× ${decimal(row[key])}`;
const bps = (/** @type {number | null | undefined} */ value) => fixed(value, 2);

const COLUMNS = [
  textColumn("Pair", (row) => row.pair, { draw: drawLink, sub: (row) => (row.simulated ? "SIMULATED" : row.venue) }),
  decimalColumn("Bid", "bid", { title: "Best bid, and the size there", sub: size("bid_size") }),
  decimalColumn("Ask", "ask", { title: "Best ask, and the size there", sub: size("ask_size") }),
  decimalColumn("Mid", "mid_price", { title: "Halfway between bid and ask" }),
  numberColumn("Spread, bps", (row) => row.spread_bps, bps, { title: "Ask less bid, in 0.01 % of the mid price" }),
  decimalColumn("High bid", "highest_bid", { title: "Highest bid of the session" }),
  decimalColumn("Low ask", "lowest_ask", { title: "Lowest ask of the session" }),
  decimalColumn("Max spread", "max_spread", { title: "Largest spread of the session" }),
  numberColumn("Volatility", (row) => row.volatility, (value) => percent(value, 1), {
    title: "Realized over 24 hours, annualised",
  }),
  numberColumn("Drawdown", (row) => row.drawdown, percent, { title: "How far the price is below the peak of 24 hours" }),
  numberColumn("Age", ageOf, age, { title: "How old the newest quote is", sub: (row) => (isStale(row) ? "stale" : "") }),
  numberColumn("Ticks/s", (row) => row.ticks_per_second, (value) => fixed(value, 1), {
    ...{ title: "Quotes per second, lately; all of the session below", sub: (row) => integer(row.ticks) },
  }),
  numberColumn("Complete", (row) => row.completeness, (value) => percent(value, 1), {
    title: "Share of the minutes of 24 hours that have quotes; minutes with gaps below",
    sub: (row) => (row.gap_minutes ? `${row.gap_minutes} min gaps` : ""),
    state: (row) => (row.gap_minutes ? "warn" : ""),
  }),
];

/** Show the page; return how to leave it. @param {HTMLElement} main */
export function show(main) {
  const table = new Table({
    ...{ caption: "Pairs", columns: COLUMNS, key: marketOf, sort: [0, "ascending"] },
    rowState: (row) => (isStale(row) ? "stale" : ""),
    empty: "No quotes are stored yet. Start a feed, such as cryptometrics simulate, and cryptometrics process.",
  });
  const summary = h("p.summary");
  main.append(
    h("div.heading", {}, h("h1", {}, "Market"), summary, filterBox(table, "pair or venue")),
    table.element,
    h("p.hint", {}, "Highest bid, lowest ask and largest spread are of the session; volatility and drawdown of 24 hours."),
  );
  const paint = () => {
    if (!now.isKnown) return;
    const rows = [...pairs.values()];
    table.update(rows);
    const rate = rows.reduce((sum, row) => sum + (row.ticks_per_second ?? 0), 0);
    const stale = rows.filter(isStale).length;
    const facts = [`${rows.length} pair${rows.length === 1 ? "" : "s"}`, `${fixed(rate, 1)} ticks/s`, stale && `${stale} stale`];
    setText(summary, facts.filter(Boolean).join(" · "));
  };
  paint();
  const timer = setInterval(paint, 1000); // ages count up also when nothing arrives
  const stop = onChange(({ changed, startsAnew }) => (changed.size || startsAnew) && paint());
  return () => {
    clearInterval(timer);
    stop();
  };
}
