/** The chart of a portfolio: its value, and its profit and loss with what it could still lose. */

import { get, toRows } from "./api.js";
import { loadBokeh } from "./bokeh.js";
import { field, readOut, TimeChart } from "./chart.js";
import { duration, money } from "./format.js";
import { onChange, serverNow } from "./live.js";
import { choices } from "./parts.js";
import { repeat } from "./refresh.js";

/** @typedef {import("./chart.js").Canvas} Canvas */

const MONEY = ["value", "profit_and_loss", "value_at_risk"];
const MIN_MS = 600_000; // shown of a portfolio that is new
const x = field("timestamp");

/** @param {Canvas} canvas */
function drawValue({ figure, colours, sources: { history: source } }) {
  return [figure.step({ x, y: field("value"), source, mode: "after", line_color: colours.accent, line_width: 1.6 })];
}

/** @param {Canvas} canvas */
function drawGain({ figure, colours, sources: { history: source } }) {
  const band = { y1: field("best.edge"), y2: field("worst.edge"), fill_color: colours.bad, fill_alpha: 0.2 };
  figure.varea_step({ x, source, step_mode: "after", ...band }); // a slope would begin and end as a wedge
  const step = (/** @type {string} */ name, /** @type {object} */ style) =>
    figure.step({ x, y: field(name), source, mode: "after", ...style });
  const gain = step("profit_and_loss", { line_color: colours.bid, line_width: 1.6 });
  return [gain, step("worst", { line_color: colours.bad, line_dash: [2, 3] })];
}

/** Add the edges of the band, which ends where the value at risk is not known. @param {import("./chart.js").Row} row */
function withBand(row) {
  const { profit_and_loss: gain, value_at_risk: risk } = row;
  return gain === null || risk === null ? row : { ...row, best: gain, worst: gain - risk };
}

const panels = [
  { title: "Value", height: 140, draw: drawValue },
  { title: "Profit and loss", height: 190, draw: drawGain },
];
const fields = { history: ["value", "profit_and_loss", "best", "worst"] };

/**
 * Show the chart in its parts of the page; return how to choose the portfolio.
 * @param {(name: string) => HTMLElement} part
 * @param {AbortSignal} left
 */
export function portfolioChart(part, left) {
  let [portfolio, range, shown] = ["", "24h", ""];
  /** @type {TimeChart | null} */ let chart = null;
  const readout = readOut(part("readout"), money);
  /** @type {import("./chart.js").Design["onCursor"]} */
  const onCursor = (row) => readout(row, MONEY);
  const load = repeat(part("chart-problem"), 60, left, async (signal) => {
    if (!portfolio) return;
    const asked = get("/api/portfolio", { name: portfolio, range, points: 1200 }, signal);
    const [Bokeh, { series }] = await Promise.all([loadBokeh(), asked]);
    if (signal.aborted) return;
    chart ??= new TimeChart(Bokeh, part("chart"), { panels, fields, kinds: ["history"], onCursor }, left);
    const history = toRows(series).map(withBand);
    chart.show({ history });
    const [end, first] = [serverNow(), history[0]?.timestamp ?? 0];
    const start = Math.max(end - duration(range), Math.min(first, end - MIN_MS)); // no time before the first row
    if (shown !== range || chart.isUntouched) chart.showRange(start, end);
    shown = range;
  });
  choices(part("range"), (chosen) => {
    range = chosen;
    load();
  });
  onChange(({ parts }) => "portfolios" in parts && load(), left); // once a minute
  return (/** @type {string} */ name) => {
    if (name === portfolio) return;
    portfolio = name;
    load();
  };
}
