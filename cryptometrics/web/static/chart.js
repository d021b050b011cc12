/** Charts over time: panels below each other with one time axis, and a cursor for the mouse and the keyboard. */

import { timeFigure } from "./bokeh.js";
import { fill, h } from "./dom.js";
import { clock, decimal } from "./format.js";
import { palette } from "./theme.js";

const MAX_ROWS = 1800; // while the stream appends: 1,200 of the history, which each minute loads anew, and 10 a second
const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity };

/**
 * The chart draws the values of a row as floats; the cursor hands the row back, whose text is exact.
 * @typedef {Record<string, any>} Row values as in the API; its `timestamp` is in ms
 * @typedef {{figure: any, colours: Record<string, string>, sources: Record<string, any>, Bokeh: any}} Canvas
 * @typedef {object} Panel
 * @property {string} title
 * @property {number} [height] else what suits the window
 * @property {boolean} [fromZero]
 * @property {(canvas: Canvas) => any[]} draw returns the glyphs that the vertical range fits
 * @typedef {object} Design
 * @property {Panel[]} panels
 * @property {Record<string, string[]>} fields of each source
 * @property {string[]} kinds sources with rows for the cursor; the first panel shows one of them
 * @property {(row: Row | null, near: number) => void} onCursor near: what is close on the screen, in ms
 */

/** @param {string} name of a column of a source */
export const field = (name) => ({ field: name });

export class TimeChart {
  /** @type {Record<string, Row[]>} */ rows = {};
  shown = { start: 0, end: 1 };
  cursor = -1;

  /** @param {any} Bokeh @param {HTMLElement} place @param {Design} design @param {AbortSignal} left */
  constructor(Bokeh, place, design, left) {
    Object.assign(this, { Bokeh, place, design, kind: design.kinds[0] });
    this.#build();
    place.addEventListener("keydown", (event) => this.#press(event), { signal: left });
    const rebuild = () => {
      this.#remove();
      this.#build();
    };
    addEventListener("themechange", rebuild, { signal: left }); // a canvas does not follow by itself
    left.addEventListener("abort", () => this.#remove());
  }

  #build() {
    const { Bokeh, design, rows } = this;
    const { start, end } = this.xRange ?? this.shown;
    const colours = palette();
    const line = { location: NaN, line_color: colours.ink, line_alpha: 0.5 };
    const sources = Object.entries(design.fields).map(([name, fields]) => {
      return [name, new Bokeh.ColumnDataSource({ data: columns(fields, rows[name] ?? []) })];
    });
    this.sources = Object.fromEntries(sources);
    this.xRange = new Bokeh.Range1d({ start, end });
    this.span = new Bokeh.Span({ dimension: "height", line_dash: [3, 3], ...line });
    this.figures = design.panels.map((panel) => {
      const figure = timeFigure(Bokeh, colours, panel, this.xRange, panel === design.panels.at(-1));
      figure.y_range.renderers = panel.draw({ figure, colours, sources: this.sources, Bokeh });
      const across = new Bokeh.Span({ dimension: "width", ...line });
      figure.add_tools(new Bokeh.CrosshairTool({ overlay: [across, this.span] }));
      figure.on_event("mousemove", (/** @type {any} */ event) => this.#pointAt(event.x));
      figure.on_event("mouseleave", () => this.hideCursor());
      return figure;
    });
    this.root = new Bokeh.Column({ children: this.figures, sizing_mode: "stretch_width", spacing: 0 });
    this.view = Bokeh.Plotting.show(this.root, this.place);
    this.choose(this.kind);
  }

  async #remove() {
    const { root, view, Bokeh } = this;
    const drawn = await view;
    Bokeh.documents.splice(Bokeh.documents.indexOf(root.document), 1);
    drawn.remove();
  }

  /** @param {Record<string, Row[]>} rows of each source, oldest first */
  show(rows) {
    this.rows = rows;
    for (const [name, fields] of Object.entries(this.design.fields)) {
      this.sources[name].data = columns(fields, rows[name] ?? []);
    }
  }

  /** Add a row. @param {string} name of the source @param {Row} row newer than all others */
  append(name, row) {
    const { start, end } = this.shown;
    this.rows[name].push(row);
    this.rows[name].splice(0, this.rows[name].length - MAX_ROWS);
    this.sources[name].stream(columns(this.design.fields[name], [row]), MAX_ROWS);
    if (this.isUntouched) this.showRange(row.timestamp - (end - start), row.timestamp);
  }

  /** Whether nobody has zoomed or panned: then the chart moves along. */
  get isUntouched() {
    return this.xRange.start === this.shown.start && this.xRange.end === this.shown.end;
  }

  /** Show one of the kinds, and let the cursor move over its rows. @param {string} kind */
  choose(kind) {
    this.kind = kind;
    const others = this.design.kinds.filter((name) => name !== kind).map((name) => this.sources[name]);
    for (const glyph of this.figures[0].renderers) glyph.visible = !others.includes(glyph.data_source);
    this.hideCursor();
  }

  /** @param {number} start @param {number} end */
  showRange(start, end) {
    this.shown = { start, end };
    this.xRange.setv(this.shown);
  }

  /** @param {number} factor above 1 shows less */
  zoom(factor) {
    const { start, end } = this.xRange;
    const middle = this.#marks[this.cursor]?.timestamp ?? (start + end) / 2;
    const half = (end - start) / factor / 2;
    this.xRange.setv({ start: middle - half, end: middle + half });
  }

  hideCursor() {
    this.cursor = -1;
    this.span.location = NaN;
    this.design.onCursor(null, 0);
  }

  /** @returns {Row[]} what the cursor moves over */
  get #marks() {
    return this.rows[this.kind] ?? [];
  }

  /** @param {number} at the time below the pointer: the newest row until then counts */
  #pointAt(at) {
    this.#showCursor(Math.max(0, this.#marks.findLastIndex(({ timestamp }) => timestamp <= at)));
  }

  /** @param {number} index */
  #showCursor(index) {
    if (!this.#marks.length) return;
    this.cursor = index;
    this.span.location = this.#marks[index].timestamp;
    this.design.onCursor(this.#marks[index], (this.xRange.end - this.xRange.start) / 100);
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const step = KEYS[/** @type {"End"} */ (event.key)];
    const last = this.#marks.length - 1;
    if (event.key === "Escape") this.hideCursor();
    else if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 1.5 : 1 / 1.5);
    else if (step) this.#showCursor(Math.max(0, Math.min(last, (this.cursor < 0 ? last : this.cursor) + step)));
    else return;
    event.preventDefault();
  }
}

/**
 * Return how to write the exact values of a row above a chart; without a row, what stands there now.
 * @param {HTMLElement} place
 * @param {(value: any) => string} [format]
 * @returns {(row: Row | null, names: string[], note?: string | null) => void}
 */
export function readOut(place, format = decimal) {
  const idle = place.textContent;
  return (row, names, note) => {
    if (!row) return fill(place, idle);
    const values = names.map((name) => h("span", {}, `${name.replaceAll("_", " ")} `, h("b", {}, format(row[name]))));
    fill(place, h("b", {}, clock(row.timestamp)), ...values, note && h("span.bad", {}, note));
  };
}

/**
 * Return the columns of a source. An area does not end where a value is unknown, as a line does: so that it has no
 * height there, the value is 0 in the column `….edge`.
 * @param {string[]} fields
 * @param {Row[]} rows
 */
function columns(fields, rows) {
  const valuesOf = (/** @type {string} */ name) => rows.map((row) => Number(row[name] ?? NaN));
  const lines = ["timestamp", ...fields].map((name) => [name, valuesOf(name)]);
  const edges = fields.map((name) => [`${name}.edge`, valuesOf(name).map((value) => value || 0)]);
  return Object.fromEntries([...lines, ...edges]);
}
