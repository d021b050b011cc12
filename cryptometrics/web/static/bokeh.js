/** BokehJS from this server, loaded when the first chart is shown, and figures in the colours of the page. */

import { h } from "./dom.js";

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

const tall = () => Math.max(220, Math.min(460, Math.round(0.45 * innerHeight))); // app.css keeps the place free

/**
 * Return an empty figure over time, whose vertical range fits what is visible.
 * @param {any} Bokeh
 * @param {Record<string, string>} colours
 * @param {{title: string, height?: number, fromZero?: boolean}} panel
 * @param {any} xRange
 * @param {boolean} isLast it shows the times
 */
export function timeFigure(Bokeh, colours, { title, height = tall(), fromZero }, xRange, isLast) {
  // With Ctrl, so that the wheel alone still scrolls the page.
  const wheel = new Bokeh.WheelZoomTool({ dimensions: "width", modifiers: { ctrl: true } });
  const yRange = new Bokeh.DataRange1d({ only_visible: true, range_padding: 0.3, ...(fromZero && { start: 0 }) });
  const formatter = new Bokeh.NumeralTickFormatter();
  const figure = Bokeh.Plotting.figure({
    ...{ height, sizing_mode: "stretch_width", toolbar_location: null, title: null, window_axis: "x" },
    ...{ x_axis_type: "datetime", y_axis_location: "right", x_range: xRange, y_range: yRange },
    tools: [new Bokeh.PanTool({ dimensions: "width" }), wheel],
    ...{ background_fill_color: colours.panel, border_fill_color: colours.panel, outline_line_color: colours.line },
    // Fixed, so that the panels stay exactly below each other.
    ...{ min_border_right: 86, min_border_left: 4, min_border_top: 5, min_border_bottom: isLast ? 26 : 5 },
  });
  figure.toolbar.active_scroll = wheel;
  for (const axis of [figure.xaxis, figure.yaxis]) {
    axis.major_label_text_color = colours.soft;
    axis.major_label_text_font = FONT;
    axis.major_label_text_font_size = "12px";
    axis.axis_line_color = axis.major_tick_line_color = colours.line;
    axis.minor_tick_line_color = null;
  }
  figure.yaxis.formatter = formatter;
  figure.xaxis.visible = isLast;
  figure.xgrid.grid_line_color = figure.ygrid.grid_line_color = colours.line;
  yRange.change.connect(() => {
    const { start, end } = yRange;
    if (end - start === yRange.default_span) yRange.default_span = Math.abs(start + end) / 1000 || 1; // a flat line
    const places = Math.min(MAX_PLACES, Math.max(0, Math.ceil(1 - Math.log10(end - start))));
    formatter.format = places ? `0,0.${"0".repeat(places)}` : "0,0";
  });
  const corner = { x: 8, y: 6, x_units: "screen", y_units: "screen", level: "overlay" };
  const text = { text: title, text_color: colours.soft, text_font: FONT, text_font_size: "12px" };
  figure.add_layout(new Bokeh.Label({ ...corner, ...text, background_fill_color: colours.panel, background_fill_alpha: 0.8 }));
  return figure;
}
