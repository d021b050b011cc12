/** The chart of a pair: price, spread and volatility below each other, with one cursor. */

import { fitY, palette, timePanel } from "./bokeh.js";

const ROLLOVER = 5000; // points kept while the stream appends
const HATCHES = { gap: "/", unverified: "\\", imported: "-" };
const MAX_RUNS = 200; // hatched runs: more cannot be told apart on a screen
const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity };
const POINT = /** @type {const} */ (["at", "bid", "ask", "mid", "spread", "high", "low"]);
const EDGES = ["bottom", "top", "above", "zero"]; // of the areas
const CANDLE = /** @type {const} */ (["at", "open", "high", "low", "close", "width"]);

/**
 * Times are in ms; prices are floats for the eye, and exact text for the cursor.
 * @typedef {Record<string, string | null>} Texts
 * @typedef {Record<typeof POINT[number], number> & {texts: Texts}} Point NaN: not known
 * @typedef {Record<typeof CANDLE[number], number> & {texts: Texts}} Candle
 * @typedef {{from: number, until: number, label: string}} Run
 * @typedef {{at: number, message: string}} Marker
 * @typedef {{at: number, texts: Texts, marker: Marker | undefined}} Found what is below the cursor
 */

export class MarketChart {
  /** @type {Point[]} */ points = [];
  /** @type {Candle[]} */ candles = [];
  /** @type {[at: number, value: number][]} */ volatility = [];
  /** @type {Marker[]} */ markers = [];
  /** @type {any[]} */ boxes = [];
  isCandles = false;
  cursor = -1;
  frame = 0;
  shown = { start: 0, end: 1 };

  /** @param {any} Bokeh @param {HTMLElement} place @param {(found: Found | null) => void} onCursor */
  constructor(Bokeh, place, onCursor) {
    Object.assign(this, { Bokeh, onCursor, place, colours: palette(), xRange: new Bokeh.Range1d() });
    const tall = Math.max(220, Math.min(460, Math.round(0.45 * innerHeight)));
    const panel = (/** @type {number} */ height, /** @type {string} */ title, isLast = false) =>
      timePanel(Bokeh, this.colours, { height, xRange: this.xRange, title, isLast });
    this.price = panel(tall, "Price"); // app.css keeps this place free
    this.spread = panel(110, "Spread, bps");
    this.risk = panel(140, "Volatility, % a year", true);
    this.figures = [this.price, this.spread, this.risk].map(({ figure }) => figure);
    this.#addGlyphs();
    const line = { line_color: this.colours.ink, line_alpha: 0.5 };
    this.spans = this.figures.map((figure) => {
      const span = new Bokeh.Span({ dimension: "height", location: 0, visible: false, line_dash: [3, 3], ...line });
      figure.add_layout(span);
      figure.add_tools(new Bokeh.CrosshairTool({ dimensions: "width", ...line }));
      figure.on_event("mousemove", (/** @type {any} */ event) => this.#pointAt(event.x));
      figure.on_event("mouseleave", () => this.hideCursor());
      return span;
    });
    this.layout = new Bokeh.Column({ children: this.figures, sizing_mode: "stretch_width", spacing: 0 });
    this.view = Bokeh.Plotting.show(this.layout, place);
    this.onKey = (/** @type {KeyboardEvent} */ event) => this.#pressed(event);
    place.addEventListener("keydown", this.onKey);
    for (const end of ["start", "end"]) this.xRange.properties[end].change.connect(() => this.#changed());
  }

  #addGlyphs() {
    const { Bokeh, colours } = this;
    const [price, spread, risk] = this.figures;
    const source = (/** @type {readonly string[]} */ names) =>
      new Bokeh.ColumnDataSource({ data: Object.fromEntries(names.map((name) => [name, []])) });
    const field = (/** @type {string} */ name) => ({ field: name });
    const at = { x: field("at") };
    const [quotes, rising, falling] = [source([...POINT, ...EDGES]), source(CANDLE), source(CANDLE)];
    this.sources = { quotes, rising, falling, risk: source(["at", "value"]), alerts: source(["at", "y"]) };
    const step = (/** @type {any} */ figure, /** @type {string} */ name, /** @type {object} */ style) =>
      figure.step({ ...at, y: field(name), source: quotes, mode: "after", ...style });
    const band = { ...at, source: quotes, step_mode: "after" };
    this.lineGlyphs = [
      price.varea_step({ ...band, y1: field("bottom"), y2: field("top"), fill_color: colours.accent, fill_alpha: 0.25 }),
      step(price, "high", { line_color: colours.bid, line_dash: [6, 4], line_width: 1.3 }),
      step(price, "low", { line_color: colours.ask, line_dash: [2, 3], line_width: 1.3 }),
      step(price, "mid", { line_color: colours.accent, line_width: 1.2 }),
    ];
    // Hollow when the price rose, filled when it fell: colour is never the only sign.
    this.candleGlyphs = [rising, falling].flatMap((source) => {
      const colour = source === rising ? colours.bid : colours.ask;
      const style = { ...at, source, line_color: colour, fill_color: source === rising ? colours.panel : colour };
      return [
        price.segment({ x0: field("at"), y0: field("low"), x1: field("at"), y1: field("high"), source, line_color: colour }),
        price.vbar({ ...style, width: field("width"), top: field("open"), bottom: field("close") }),
      ];
    });
    const marker = { marker: "inverted_triangle", size: 12, fill_color: colours.bad, line_color: colours.panel };
    price.scatter({ ...at, y: field("y"), source: this.sources.alerts, ...marker });
    spread.varea_step({ ...band, y1: field("zero"), y2: field("above"), fill_color: colours.soft, fill_alpha: 0.25 });
    step(spread, "spread", { line_color: colours.soft });
    risk.line({ ...at, y: field("value"), source: this.sources.risk, line_color: colours.warn, line_width: 1.6 });
  }

  /**
   * Show a history.
   * @param {{points: Point[], candles: Candle[], volatility: [number, number][], runs: Run[], markers: Marker[]}} history
   */
  show({ points, candles, volatility, runs, markers }) {
    Object.assign(this, { points, candles, volatility, markers });
    this.sources.quotes.data = columns(points);
    for (const isRising of [true, false]) {
      const kept = candles.filter((candle) => candle.close >= candle.open === isRising);
      const source = isRising ? this.sources.rising : this.sources.falling;
      source.data = Object.fromEntries(CANDLE.map((name) => [name, kept.map((candle) => candle[name])]));
    }
    this.sources.risk.data = { at: volatility.map(([at]) => at), value: volatility.map(([, value]) => value) };
    this.#hatch(runs.filter((run) => run.label in HATCHES).slice(-MAX_RUNS));
    this.#changed();
  }

  /** Add a point, and move along unless somebody has zoomed or panned. @param {Point} point newer than all others */
  append(point) {
    const { start, end } = this.shown;
    this.points.push(point);
    this.points.splice(0, this.points.length - ROLLOVER);
    this.sources.quotes.stream(columns([point]), ROLLOVER);
    const isUntouched = this.xRange.start === start && this.xRange.end === end;
    if (isUntouched) this.showRange(point.at - (end - start), point.at);
    else this.#changed();
  }

  /** @param {boolean} isCandles else quotes */
  setKind(isCandles) {
    this.isCandles = isCandles;
    for (const glyph of this.lineGlyphs) glyph.visible = !isCandles;
    for (const glyph of this.candleGlyphs) glyph.visible = isCandles;
    this.hideCursor();
    this.#changed();
  }

  /** @param {number} start @param {number} end */
  showRange(start, end) {
    this.shown = { start, end };
    this.xRange.setv(this.shown);
  }

  /** @param {number} factor above 1 shows less */
  zoom(factor) {
    const { start, end } = this.xRange;
    const middle = this.#marks[this.cursor]?.at ?? (start + end) / 2;
    const half = (end - start) / factor / 2;
    this.xRange.setv({ start: middle - half, end: middle + half });
  }

  hideCursor() {
    this.cursor = -1;
    for (const span of this.spans) span.visible = false;
    this.onCursor(null);
  }

  /** Remove the chart and all that it holds. */
  async destroy() {
    cancelAnimationFrame(this.frame);
    this.place.removeEventListener("keydown", this.onKey);
    const view = await this.view;
    const { documents } = this.Bokeh;
    documents.splice(documents.indexOf(this.layout.document), 1);
    view.remove();
  }

  /** @returns {(Point | Candle)[]} what the cursor moves over */
  get #marks() {
    return this.isCandles ? this.candles : this.points;
  }

  /** @param {Run[]} runs */
  #hatch(runs) {
    const { warn } = this.colours;
    for (const { figure, box } of this.boxes) figure.center = figure.center.filter((/** @type {any} */ each) => each !== box);
    this.boxes = runs.flatMap(({ from, until, label }) =>
      this.figures.map((figure) => {
        const hatch = { hatch_pattern: HATCHES[/** @type {"gap"} */ (label)], hatch_color: warn, hatch_alpha: 0.4 };
        const style = { ...hatch, hatch_scale: 10, fill_color: warn, fill_alpha: 0.07, line_color: null };
        const box = new this.Bokeh.BoxAnnotation({ left: from, right: until, level: "underlay", ...style });
        figure.add_layout(box);
        return { figure, box };
      }),
    );
  }

  /** @param {number} at the time below the pointer: the newest mark until then counts */
  #pointAt(at) {
    const index = this.#marks.findLastIndex((mark) => mark.at <= at);
    if (this.#marks.length) this.#showCursor(Math.max(0, index));
  }

  /** @param {number} index */
  #showCursor(index) {
    const { at, texts } = this.#marks[index];
    this.cursor = index;
    for (const span of this.spans) Object.assign(span, { location: at, visible: true });
    const near = (this.xRange.end - this.xRange.start) / 100;
    this.onCursor({ at, texts, marker: this.markers.find((marker) => Math.abs(marker.at - at) < near) });
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const step = KEYS[/** @type {"End"} */ (event.key)];
    const last = this.#marks.length - 1;
    if (event.key === "Escape") this.hideCursor();
    else if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 1.5 : 1 / 1.5);
    else if (step && last >= 0) this.#showCursor(Math.max(0, Math.min(last, (this.cursor < 0 ? last : this.cursor) + step)));
    else return;
    event.preventDefault();
  }

  /** Fit the vertical ranges to what is visible, once a frame at most. */
  #changed() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const { start, end } = this.xRange;
      const first = this.points.findLastIndex((point) => point.at < start); // a quote holds until the next one
      const points = this.points.slice(Math.max(0, first)).filter((point) => point.at <= end);
      const candles = this.candles.filter(({ at, width }) => at + width >= start && at - width <= end);
      const prices = this.isCandles
        ? candles.flatMap(({ low, high }) => [low, high])
        : points.flatMap(({ bid, ask, mid }) => [bid, ask, mid]);
      fitY(this.price, withNear(prices, this.isCandles ? [] : points.flatMap(({ high, low }) => [high, low])));
      fitY(this.spread, points.map(({ spread }) => spread), true);
      fitY(this.risk, this.volatility.filter(([at]) => at >= start && at <= end).map(([, value]) => value));
      if (!this.markers.length && !this.sources.alerts.data.at.length) return;
      const { y_range: y } = this.figures[0];
      const top = y.end - 0.04 * (y.end - y.start);
      this.sources.alerts.data = { at: this.markers.map(({ at }) => at), y: this.markers.map(() => top) };
    });
  }
}

/**
 * Return prices and those extremes that would not make the prices a flat line.
 * @param {number[]} prices
 * @param {number[]} extremes
 */
function withNear(prices, extremes) {
  const known = prices.filter(Number.isFinite);
  const [low, high] = [known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)];
  const reach = (high - low) / 2;
  return [...known, ...extremes.filter((price) => price >= low - reach && price <= high + reach)];
}

/** @param {Point[]} points */
function columns(points) {
  const column = (/** @type {typeof POINT[number]} */ name) => points.map((point) => point[name]);
  // An area does not end where a value is unknown, as a line does: there it gets no height.
  const edge = (/** @type {typeof POINT[number]} */ name) => column(name).map((value) => value || 0);
  const edges = { bottom: edge("bid"), top: edge("ask"), above: edge("spread"), zero: points.map(() => 0) };
  return { ...Object.fromEntries(POINT.map((name) => [name, column(name)])), ...edges };
}
