/** BokehJS from this server, loaded when the first chart is shown, and figures in the colours of the page. */

import { h } from "./dom.js";
import { colour } from "./theme.js";

const FILES = ["/static/bokeh/bokeh.min.js", "/static/bokeh/bokeh-api.min.js"];
const FONT = "system-ui, sans-serif";
const MAX_PLACES = 18; // the most digits after the point that a price may have
/** @type {Promise<any> | null} */
let loading = null;

/** @returns {Promise<any>} the namespace of BokehJS */
export function loadBokeh() {
  loading ??= FILES.reduce((before, file) => before.then(() => load(file)), Promise.resolve()).then(
    () => /** @type {any} */ (window).Bokeh,
  );
  loading.catch(() => (loading = null)); // the next chart tries again
  return loading;
}

/** @param {string} src @returns {Promise<void>} */
function load(src) {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error("The charts could not be loaded from the server."));
    document.head.append(h("script", { src, onload: () => resolve(), onerror: failed }));
  });
}

/** @returns {Record<string, string>} the colours of the present theme */
export function palette() {
  const names = ["ink", "soft", "line", "panel", "accent", "bid", "ask", "warn", "bad"];
  return Object.fromEntries(names.map((name) => [name, colour(`--${name}`)]));
}

/**
 * Return an empty figure over time and the formatter of its vertical axis.
 * @param {any} Bokeh
 * @param {Record<string, string>} colours
 * @param {{height: number, xRange: any, title: string, isLast: boolean}} options isLast: it shows the times
 * @returns {{figure: any, formatter: any}}
 */
export function timePanel(Bokeh, colours, { height, xRange, title, isLast }) {
  // With Ctrl, so that the wheel alone still scrolls the page.
  const wheel = new Bokeh.WheelZoomTool({ dimensions: "width", modifiers: { ctrl: true } });
  const figure = Bokeh.Plotting.figure({
    ...{ height, sizing_mode: "stretch_width", toolbar_location: null, title: null },
    ...{ x_axis_type: "datetime", y_axis_location: "right", x_range: xRange, y_range: new Bokeh.Range1d() },
    tools: [new Bokeh.PanTool({ dimensions: "width" }), wheel],
    ...{ background_fill_color: colours.panel, border_fill_color: colours.panel, outline_line_color: colours.line },
    // Fixed, so that the panels stay exactly below each other.
    ...{ min_border_right: 86, min_border_left: 4, min_border_top: 5, min_border_bottom: isLast ? 26 : 5 },
  });
  figure.toolbar.active_scroll = wheel;
  const formatter = new Bokeh.NumeralTickFormatter({ format: "0,0.00" });
  const [x, y] = [figure.xaxis, figure.yaxis];
  for (const axis of [x, y]) {
    axis.major_label_text_color = colours.soft;
    axis.major_label_text_font = FONT;
    axis.major_label_text_font_size = "12px";
    axis.axis_line_color = axis.major_tick_line_color = colours.line;
    axis.minor_tick_line_color = null;
  }
  y.formatter = formatter;
  x.visible = isLast;
  figure.xgrid.grid_line_color = figure.ygrid.grid_line_color = colours.line;
  const corner = { x: 8, y: 6, x_units: "screen", y_units: "screen", level: "overlay" };
  const text = { text: title, text_color: colours.soft, text_font: FONT, text_font_size: "12px" };
  figure.add_layout(new Bokeh.Label({ ...corner, ...text, background_fill_color: colours.panel, background_fill_alpha: 0.8 }));
  return { figure, formatter };
}

/**
 * Set the vertical range of a panel around values, with some air.
 * @param {{figure: any, formatter: any}} panel
 * @param {number[]} values
 * @param {boolean} [fromZero]
 */
export function fitY({ figure, formatter }, values, fromZero = false) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return;
  const low = known.reduce((a, b) => Math.min(a, b));
  const high = known.reduce((a, b) => Math.max(a, b));
  const air = (high - low || Math.abs(high) * 0.001 || 1) * 0.08;
  const start = fromZero ? 0 : low - air;
  figure.y_range.setv({ start, end: high + air });
  const places = Math.min(MAX_PLACES, Math.max(0, Math.ceil(1 - Math.log10(high + air - start))));
  formatter.format = places ? `0,0.${"0".repeat(places)}` : "0,0";
}
