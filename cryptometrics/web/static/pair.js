/** The page of one pair: its figures, its chart, and the same as a table. */

import { get, toRows } from "./api.js";
import { loadBokeh } from "./bokeh.js";
import { readOut, TimeChart } from "./chart.js";
import { fill, h, setText } from "./dom.js";
import { age, duration, visible } from "./format.js";
import { now, onChange, pairs, serverNow } from "./live.js";
import { viewOf, STALE_S } from "./market.js";
import { CANDLE, FIELDS, panels, QUOTE } from "./market_chart.js";
import { choices, figures, showTemplate } from "./parts.js";
import { everySecond, repeat } from "./refresh.js";
import { Table } from "./table.js";

const LABELS = { gap: "gap", unverified: "not verified", imported: "imported", simulated: "SIMULATED" };
const MAX_CANDLES = 200; // rows of the table
const MAX_DRAWN = 1500; // candles that the server gives

/** @param {string} label */
const labelText = (label) => LABELS[/** @type {"gap"} */ (label)] ?? label ?? "not complete";

/** @type {import("./router.js").Page} */
export function show(main, left, venue, pair) {
  const part = showTemplate(main, "pair");
  const market = `${venue} ${pair}`;
  const choice = { range: "1h", interval: "1m", kind: "quotes" };
  let shownRange = "";
  let newest = 0; // ms: older points of the stream are in the chart already
  /** @type {any[]} */ let alerts = [];
  /** @type {TimeChart | null} */ let chart = null;
  setText(part("pair"), pair);
  setText(part("venue"), venue);
  const showFigures = figures(part("figures"));
  const table = new Table(part("candles"));

  const showRange = () => {
    const end = newest || serverNow();
    chart?.showRange(end - duration(choice.range), end);
  };
  const intervals = /** @type {HTMLButtonElement[]} */ ([...part("interval").children]);
  choices(part("interval"), (chosen) => {
    choice.interval = chosen;
    load();
  });
  choices(part("range"), (chosen) => {
    choice.range = chosen;
    for (const each of intervals) each.disabled = duration(chosen) / duration(each.textContent) > MAX_DRAWN;
    if (intervals.some((each) => each.disabled && each.ariaPressed === "true")) intervals.find((each) => !each.disabled)?.click();
    else load();
  });
  choices(part("kind"), (chosen) => {
    choice.kind = chosen.toLowerCase();
    chart?.choose(choice.kind);
  });
  part("zoom-in").onclick = () => chart?.zoom(1.6);
  part("zoom-out").onclick = () => chart?.zoom(1 / 1.6);
  part("reset").onclick = showRange;

  const readout = readOut(part("readout"));
  /** @type {import("./chart.js").Design["onCursor"]} */
  const onCursor = (row, near) => {
    const alert = row && alerts.find(({ timestamp }) => Math.abs(timestamp - row.timestamp) < near);
    readout(row, choice.kind === "quotes" ? QUOTE : CANDLE, alert && `▼ ${visible(alert.message)}`);
  };
  const load = repeat(part("problem"), 60, left, async (signal) => {
    const { range, interval } = choice;
    const [Bokeh, quotes, candles, risk] = await Promise.all([
      loadBokeh(),
      get("/api/quotes", { venue, pair, range, points: 1200 }, signal),
      get("/api/candles", { venue, pair, interval, range }, signal),
      get("/api/risk", { venue, pair, range }, signal),
    ]);
    if (signal.aborted) return;
    chart ??= new TimeChart(Bokeh, part("chart"), { panels, fields: FIELDS, kinds: ["quotes", "candles"], onCursor }, left);
    const rows = toRows(quotes);
    const marks = candles.candles.map((/** @type {any} */ candle) => toMark(candle, duration(interval)));
    const volatility = risk.series ? toRows(risk.series) : [];
    alerts = quotes.alerts.map((/** @type {any} */ alert) => ({ ...alert, timestamp: Date.parse(alert.at) }));
    chart.show({
      ...{ quotes: rows, candles: marks, alerts },
      volatility: volatility.map((row) => ({ ...row, percent: row.volatility && 100 * row.volatility })),
      ...Object.groupBy(quotes.labels.map(toRun), (/** @type {any} */ run) => run.label),
    });
    newest = rows.at(-1)?.timestamp ?? 0;
    if (shownRange !== range) showRange();
    shownRange = range;
    table.update(marks.slice(-MAX_CANDLES));
    const labels = new Set(quotes.labels.map((/** @type {any} */ run) => run.label));
    labels.delete("simulated");
    setText(part("hatched"), labels.size ? `Hatched: ${[...labels].map(labelText).join(", ")}.` : "");
  });

  const paint = () => {
    const stored = pairs.get(market);
    const row = stored && viewOf(stored);
    const text = row ? `quote ${age(row.age)} old${row.freshness && ": stale"}` : "no quotes";
    setText(part("freshness"), now.isKnown ? text : "");
    part("freshness").classList.toggle("bad", now.isKnown && row?.freshness !== "");
    if (!row) return;
    part("simulated").hidden = !row.simulated;
    showFigures(row);
    const own = now.alerts.filter((alert) => alert.venue === venue && alert.pair === pair);
    const lines = own.length ? own.map((alert) => visible(`${alert.rule}: ${alert.message}`)) : ["None."];
    const items = lines.map((line) => h("li", {}, line));
    if (part("firing").textContent !== lines.join("")) fill(part("firing"), items);
  };
  everySecond(paint, left);
  onChange(({ changed, startsAnew }) => {
    if (startsAnew && newest) load(); // what was missed is in the history
    const row = changed.has(market) ? pairs.get(market) : undefined;
    if (!row) return;
    paint();
    const timestamp = Date.parse(row.timestamp);
    if (!chart || timestamp <= newest) return;
    if (newest && timestamp - newest > 1000 * STALE_S) chart.append("quotes", { timestamp: newest + 1000 }); // a silence
    newest = timestamp;
    chart.append("quotes", { ...row, timestamp });
  }, left);
}

/** Return a candle with what chart and table show beside its values. @param {any} candle @param {number} length in ms */
function toMark(candle, length) {
  const [open, close] = [Number(candle.open), Number(candle.close)];
  const body = { middle: (open + close) / 2, height: Math.abs(close - open), rise: close >= open };
  const timestamp = Date.parse(candle.start) + length / 2;
  return { ...candle, ...body, timestamp, width: 0.7 * length, quality: labelText(candle.label) };
}

/** @param {any} run of minutes with one label */
const toRun = (run) => ({ ...run, from: Date.parse(run.from), until: Date.parse(run.until) });
