/** What the chart of a pair shows: price, spread and volatility. */

import { field } from "./chart.js";

/** @typedef {import("./chart.js").Canvas} Canvas */

const HATCHES = { gap: "/", unverified: "\\", imported: "-" };
export const QUOTE = ["bid", "ask", "mid_price", "spread_bps"];
export const CANDLE = ["open", "high", "low", "close"];
export const FIELDS = {
  quotes: [...QUOTE, "highest_bid", "lowest_ask"],
  candles: ["low", "high", "middle", "height", "width", "rise"],
  ...{ volatility: ["percent"], alerts: [] },
  ...Object.fromEntries(Object.keys(HATCHES).map((label) => [label, ["from", "until"]])),
};

const x = field("timestamp");

/** Hatch the minutes that are not verified. @param {Canvas} canvas */
function hatch({ figure, colours, sources }) {
  for (const [label, hatch_pattern] of Object.entries(HATCHES)) {
    const style = { hatch_pattern, hatch_scale: 10, hatch_color: colours.warn, hatch_alpha: 0.4, line_color: null };
    const fill = { fill_color: colours.warn, fill_alpha: 0.07, level: "underlay" };
    figure.vstrip({ x0: field("from"), x1: field("until"), source: sources[label], ...style, ...fill });
  }
}

/** @param {Canvas} canvas */
function drawPrice(canvas) {
  const { figure, colours, sources, Bokeh } = canvas;
  const { quotes: source, candles, alerts } = sources;
  hatch(canvas);
  const step = (/** @type {string} */ name, /** @type {object} */ style) =>
    figure.step({ x, y: field(name), source, mode: "after", line_color: colours.accent, ...style });
  const band = { y1: field("bid.edge"), y2: field("ask.edge"), fill_color: colours.accent, fill_alpha: 0.25 };
  figure.varea_step({ x, source, step_mode: "after", ...band });
  step("highest_bid", { line_color: colours.bid, line_dash: [6, 4], line_width: 1.3 });
  step("lowest_ask", { line_color: colours.ask, line_dash: [2, 3], line_width: 1.3 });
  // Hollow when the price rose, filled when it fell: colour is never the only sign.
  const either = (/** @type {string} */ fell, /** @type {string} */ rose) => ({
    ...{ field: "rise", transform: new Bokeh.LinearColorMapper({ palette: [fell, rose], low: 0, high: 1 }) },
  });
  const look = { source: candles, line_color: either(colours.ask, colours.bid) };
  const body = { y: field("middle"), height: field("height"), width: field("width") };
  const wicks = figure.segment({ x0: x, x1: x, y0: field("low"), y1: field("high"), ...look });
  // Not vbar: bars that are out of sight would leave lines at the edge.
  figure.rect({ x, ...body, ...look, fill_color: either(colours.ask, colours.panel) });
  figure.extra_y_ranges = { share: new Bokeh.Range1d({ start: 0, end: 1 }) };
  const marker = { marker: "inverted_triangle", size: 12, fill_color: colours.bad, line_color: colours.panel };
  figure.scatter({ x, y: 0.95, source: alerts, y_range_name: "share", ...marker });
  const edges = ["bid", "ask"].map((name) => step(name, { line_alpha: 0.3 }));
  return [...edges, step("mid_price", { line_width: 1.2 }), wicks];
}

/** @param {Canvas} canvas */
function drawSpread(canvas) {
  const { figure, colours, sources } = canvas;
  hatch(canvas);
  const source = sources.quotes;
  const area = { y1: 0, y2: field("spread_bps.edge"), fill_color: colours.soft, fill_alpha: 0.25 };
  figure.varea_step({ x, source, step_mode: "after", ...area });
  return [figure.step({ x, y: field("spread_bps"), source, mode: "after", line_color: colours.soft })];
}

/** @param {Canvas} canvas */
function drawVolatility(canvas) {
  const { figure, colours, sources } = canvas;
  hatch(canvas);
  return [figure.line({ x, y: field("percent"), source: sources.volatility, line_color: colours.warn, line_width: 1.6 })];
}

export const panels = [
  { title: "Price", draw: drawPrice }, // the rest of the height
  { title: "Spread, bps", height: 110, fromZero: true, draw: drawSpread },
  { title: "Volatility, % a year", height: 140, draw: drawVolatility },
];
