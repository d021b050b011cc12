/** The page of one pair: its figures, its chart, and the same as a table. */

import { get } from "./api.js";
import { loadBokeh } from "./bokeh.js";
import { MarketChart } from "./chart.js";
import { fill, h, setText } from "./dom.js";
import { age, clock, decimal, fixed, integer, moment, percent, visible } from "./format.js";
import { now, onChange, pairs, serverNow } from "./live.js";
import { ageOf, isStale, STALE_S } from "./market.js";
import { choiceButtons, figureList } from "./parts.js";
import { repeat } from "./refresh.js";
import { decimalColumn, numberColumn, Table, textColumn } from "./table.js";

const RANGES = { "15m": 15, "1h": 60, "6h": 360, "24h": 1440, "7d": 10080 };
const INTERVALS = { "1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440 };
const MINUTE_MS = 60_000;
const LABELS = { gap: "gap", unverified: "not verified", imported: "imported", simulated: "SIMULATED" };
const QUOTE = ["bid", "ask", "mid_price", "spread_bps"];
const EXTREMES = ["highest_bid", "lowest_ask"];
const MAX_CANDLES = 200; // rows of the table

const IDLE = "Point at the chart, or focus it and use the arrow keys, to read exact values.";

/** @param {string} label */
const labelText = (label) => LABELS[/** @type {"gap"} */ (label)] ?? label ?? "not complete";

/** Show the page; return how to leave it. @param {HTMLElement} main @param {string} venue @param {string} pair */
export function show(main, venue, pair) {
  const market = `${venue} ${pair}`;
  const choice = { range: "1h", interval: "1m", kind: "Quotes" };
  let shownRange = "";
  let newest = 0; // ms: older points of the stream are in the chart already
  /** @type {MarketChart | null} */ let chart = null;

  const freshness = h("span.freshness");
  const simulated = h("strong.tag", { hidden: true }, "SIMULATED");
  const figures = figureList([
    ["Bid", (row) => decimal(row.bid), (row) => `size ${decimal(row.bid_size)}`],
    ["Ask", (row) => decimal(row.ask), (row) => `size ${decimal(row.ask_size)}`],
    ["Mid", (row) => decimal(row.mid_price), (row) => `${integer(row.ticks)} ticks in the session`],
    ["Spread", (row) => decimal(row.spread), (row) => `${fixed(row.spread_bps, 2)} bps · largest ${decimal(row.max_spread)}`],
    ["Highest bid", (row) => decimal(row.highest_bid), (row) => `session ${row.session}`],
    ["Lowest ask", (row) => decimal(row.lowest_ask), (row) => `session ${row.session}`],
    ["Volatility", (row) => percent(row.volatility, 1), () => "of 24 hours, annualised"],
    ["Value at risk", (row) => percent(row.value_at_risk), () => "one hour, 99 %"],
    ["Drawdown", (row) => percent(row.drawdown), () => "below the peak of 24 hours"],
    ["Complete", (row) => percent(row.completeness, 1), (row) => `${integer(row.gap_minutes)} minutes with gaps`],
  ]);
  const title = `Chart of ${pair}. Arrow keys move the cursor, plus and minus zoom.`;
  const place = h("div.chart", { role: "application", tabindex: 0, "aria-label": title });
  const readout = h("p.readout", { "aria-live": "polite" }, IDLE);
  const problem = h("div");
  const legend = h("p.hint");
  const firing = h("ul.plain");
  const table = new Table({
    ...{ caption: `Candles of ${pair}`, key: (row) => row.start, sort: [0, "descending"], empty: "No quotes in this range." },
    columns: [
      textColumn("Start, UTC", (row) => moment(row.start)),
      ...["open", "high", "low", "close"].map((key) => decimalColumn(key[0].toUpperCase() + key.slice(1), key)),
      numberColumn("Ticks", (row) => row.ticks, integer),
      textColumn("Label", (row) => labelText(row.label), { state: (row) => (row.label === "gap" ? "warn" : "") }),
    ],
  });
  const reload = (/** @type {"range" | "interval"} */ key) => (/** @type {string} */ chosen) => {
    choice[key] = chosen;
    loading.again();
  };
  const setKind = (/** @type {string} */ kind) => {
    choice.kind = kind;
    chart?.setKind(kind === "Candles");
  };
  const showRange = () => {
    const end = newest || serverNow();
    chart?.showRange(end - RANGES[/** @type {"1h"} */ (choice.range)] * MINUTE_MS, end);
  };
  const zoom = (/** @type {number} */ factor) => () => chart?.zoom(factor);
  const controls = [
    choiceButtons("Range", Object.keys(RANGES), choice.range, reload("range")),
    choiceButtons("Kind of chart", ["Quotes", "Candles"], choice.kind, setKind),
    choiceButtons("Length of a candle", Object.keys(INTERVALS), choice.interval, reload("interval")),
    h(
      "div.choices",
      { role: "group", "aria-label": "Zoom" },
      h("button", { type: "button", "aria-label": "Zoom in", onclick: zoom(1.6) }, "+"),
      h("button", { type: "button", "aria-label": "Zoom out", onclick: zoom(1 / 1.6) }, "−"),
      h("button", { type: "button", onclick: showRange }, "Reset"),
    ),
  ];
  main.append(
    h("div.heading", {}, h("h1", {}, pair), h("span.summary", {}, venue), simulated, freshness),
    figures.element,
    h("section.card", { "aria-label": "Chart" }, h("div.controls", {}, controls), readout, problem, place, legend),
    ...[h("h2", {}, "Alerts of this pair"), firing, h("h2", {}, "Candles"), h("div.tall", {}, table.element)],
  );

  /** @param {import("./chart.js").Found | null} found */
  const onCursor = (found) => {
    if (!found) return setText(readout, IDLE);
    const parts = Object.entries(found.texts).map(([key, text]) => {
      return h("span", {}, `${key.replace("_", " ")} `, h("b", {}, decimal(text)));
    });
    fill(readout, h("b", {}, clock(found.at)), parts, found.marker && h("span.bad", {}, `▼ ${visible(found.marker.message)}`));
  };

  const loading = repeat(
    problem,
    async (signal) => {
      const { range, interval } = choice;
      const [Bokeh, quotes, candles, risk] = await Promise.all([
        loadBokeh(),
        get("/api/quotes", { venue, pair, range, points: 1200 }, signal),
        get("/api/candles", { venue, pair, interval, range }, signal),
        get("/api/risk", { venue, pair, range }, signal),
      ]);
      if (signal.aborted) return;
      chart ??= new MarketChart(Bokeh, place, onCursor);
      const points = quotes.points.map((/** @type {any[]} */ values) => toPoint(quotes.columns, values));
      const width = INTERVALS[/** @type {"1m"} */ (interval)] * MINUTE_MS;
      const drawn = candles.candles.filter((/** @type {any} */ candle) => candle.open !== null);
      const volatility = risk.series?.columns.indexOf("volatility") ?? -1;
      const known = (risk.series?.points ?? []).filter((/** @type {any[]} */ values) => values[volatility] !== null);
      chart.show({
        points,
        candles: drawn.map((/** @type {any} */ candle) => toCandle(candle, width)),
        volatility: known.map((/** @type {any[]} */ values) => [values[0], 100 * values[volatility]]),
        runs: quotes.labels.map((/** @type {any} */ run) => ({ ...run, from: Date.parse(run.since), until: Date.parse(run.until) })),
        markers: quotes.alerts.map((/** @type {any} */ alert) => ({ ...alert, at: Date.parse(alert.fired_at) })),
      });
      newest = points.at(-1)?.at ?? 0;
      if (shownRange !== range) showRange();
      shownRange = range;
      setKind(choice.kind);
      table.update(candles.candles.slice(-MAX_CANDLES));
      const labels = [...new Set(quotes.labels.map((/** @type {any} */ run) => run.label))];
      const hatched = labels.filter((label) => label !== "simulated").map(labelText).join(", ");
      const lines = "Band: bid to ask. Line: mid. Dashed: highest bid. Dotted: lowest ask. ▼: an alert. Drag to move, Ctrl and wheel to zoom.";
      setText(legend, hatched ? `${lines} Hatched: ${hatched}.` : lines);
    },
    60,
  );

  const paint = () => {
    const row = pairs.get(market);
    const text = row ? `quote ${age(ageOf(row))} old${isStale(row) ? ": stale" : ""}` : "no quotes";
    setText(freshness, now.isKnown ? text : "");
    freshness.classList.toggle("bad", now.isKnown && (!row || isStale(row)));
    if (!row) return;
    simulated.hidden = !row.simulated;
    figures.show(row);
    const own = now.alerts.filter((alert) => alert.venue === venue && alert.pair === pair);
    const lines = own.map((alert) => `${visible(alert.rule)}: ${visible(alert.message)}`);
    if (firing.textContent !== (lines.join("") || "None.")) fill(firing, (lines.length ? lines : ["None."]).map((line) => h("li", {}, line)));
  };
  const stop = onChange(({ changed, startsAnew }) => {
    if (startsAnew && newest) loading.again(); // what was missed is in the history
    const row = changed.has(market) ? pairs.get(market) : undefined;
    const at = Date.parse(row?.timestamp ?? "");
    if (row && newest && at > newest) {
      const names = [...QUOTE, ...EXTREMES];
      if (at - newest > STALE_S * 1000) chart?.append(toPoint(["timestamp"], [newest + 1000]));
      newest = at;
      chart?.append(toPoint(["timestamp", ...names], [at, ...names.map((name) => row[name])]));
    }
    if (row) paint();
  });
  const onTheme = () => {
    chart?.destroy();
    chart = null;
    shownRange = "";
    loading.again();
  };
  const timer = setInterval(paint, 1000);
  addEventListener("themechange", onTheme);
  paint();
  return () => {
    clearInterval(timer);
    removeEventListener("themechange", onTheme);
    stop();
    loading.stop();
    chart?.destroy();
  };
}

/** @param {string[]} names @param {any[]} values @returns {import("./chart.js").Point} */
function toPoint(names, values) {
  const of = (/** @type {string} */ name) => values[names.indexOf(name)] ?? null;
  const [bid, ask, mid, spread, high, low] = [...QUOTE, ...EXTREMES].map((name) => (of(name) === null ? NaN : Number(of(name))));
  const texts = Object.fromEntries(QUOTE.map((name) => [name, of(name) === null ? null : String(of(name))]));
  return { at: values[0], bid, ask, mid, spread, high, low, texts };
}

/** @param {any} candle @param {number} width in ms @returns {import("./chart.js").Candle} */
function toCandle({ start, open, high, low, close }, width) {
  const [first, top, bottom, last] = [open, high, low, close].map(Number);
  const texts = { open, high, low, close };
  return { at: Date.parse(start) + width / 2, width: 0.7 * width, open: first, high: top, low: bottom, close: last, texts };
}
