/** A table of live rows: sorted by its headers, filtered, with aligned decimals and cells that keep still. */

import { fill, h, setText } from "./dom.js";
import { compareDecimals, decimal, UNKNOWN } from "./format.js";

const SORT_MS = 1000; // rows that change place more often cannot be read

/**
 * A row is an object of the API.
 * @typedef {Record<string, any>} Row
 * @typedef {object} Column
 * @property {string} label
 * @property {(row: Row) => string} text
 * @property {string} [title] what the figure means
 * @property {"text" | "number" | "decimal"} [kind] decimals are aligned at the point; text is the default
 * @property {(place: HTMLElement, row: Row) => void} [draw] shows the cell in place of the text
 * @property {(row: Row) => string} [sub] a second, smaller line
 * @property {(row: Row) => string} [state] class of the cell, such as "warn"
 * @property {((a: Row, b: Row) => number) | null} [compare] without it the column cannot be sorted
 */

/** @param {string} label @param {Column["text"]} text @param {Partial<Column>} [more] @returns {Column} */
export const textColumn = (label, text, more) => ({
  ...{ label, text, compare: (a, b) => text(a).localeCompare(text(b)) },
  ...more,
});

/**
 * A column of numbers; one that is not known is less than all others.
 * @param {string} label
 * @param {(row: Row) => number | null | undefined} value
 * @param {(value: number | null | undefined) => string} format
 * @param {Partial<Column>} [more]
 * @returns {Column}
 */
export const numberColumn = (label, value, format, more) => ({
  ...{ label, kind: "number", text: (row) => format(value(row)) },
  ...{ compare: (a, b) => (value(a) ?? -Infinity) - (value(b) ?? -Infinity) || 0 },
  ...more,
});

/**
 * A column of exact decimals.
 * @param {string} label
 * @param {string} key
 * @param {Partial<Column>} [more]
 * @param {(text: string | null) => string} [format]
 * @returns {Column}
 */
export const decimalColumn = (label, key, more, format = decimal) => ({
  ...{ label, kind: "decimal", text: (row) => format(row[key]), compare: (a, b) => compareDecimals(a[key], b[key]) },
  ...more,
});

/**
 * @typedef {object} Options
 * @property {string} caption
 * @property {Column[]} columns the first one names the row
 * @property {(row: Row) => string} key
 * @property {string} empty the sentence that replaces an empty table
 * @property {(row: Row) => string} [rowState] class of the row, such as "stale"
 * @property {[column: number, direction: "ascending" | "descending"]} [sort]
 */

export class Table {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    [this.sorted, this.direction] = options.sort ?? [-1, "ascending"];
    /** @type {Row[]} */ this.rows = [];
    /** @type {Map<string, {element: HTMLElement, cells: Cell[]}>} */ this.lines = new Map();
    this.needle = "";
    this.sortedAt = 0;
    this.body = h("tbody");
    this.heads = options.columns.map((column, index) => this.#head(column, index));
    const caption = h("caption.visually-hidden", {}, options.caption);
    this.table = h("table", {}, caption, h("thead", {}, h("tr", {}, this.heads)), this.body);
    this.note = h("p.empty", {}, "Loading …");
    const frame = h("div.scroll", { role: "region", "aria-label": options.caption, tabindex: 0 }, this.table);
    this.element = h("div.table", {}, frame, this.note);
    this.table.hidden = true;
  }

  /** @param {Row[]} rows all rows that there are now */
  update(rows) {
    this.rows = rows;
    const { columns, key, rowState } = this.options;
    const before = [...this.lines.keys()];
    const keys = new Set(rows.map(key));
    for (const gone of before.filter((each) => !keys.has(each))) this.lines.delete(gone);
    const widths = columns.map(() => 0);
    for (const row of rows) {
      let line = this.lines.get(key(row));
      if (!line) {
        const cells = columns.map((column, index) => new Cell(column, index));
        line = { element: h("tr", {}, cells.map((cell) => cell.element)), cells };
        this.lines.set(key(row), line);
      }
      line.element.className = rowState?.(row) ?? "";
      line.cells.forEach((cell, index) => (widths[index] = Math.max(widths[index], cell.show(row))));
    }
    // Decimals stay aligned, and columns only widen: a page must not jump as digits come and go.
    widths.forEach((width, index) => {
      const name = `--fraction-${index}`;
      if (width > Number(this.table.style.getPropertyValue(name))) this.table.style.setProperty(name, String(width));
    });
    this.#arrange(before.length !== this.lines.size || before.some((each) => !this.lines.has(each)));
  }

  /** Show only rows with all its words. @param {string} needle */
  filter(needle) {
    this.needle = needle.trim().toLowerCase();
    this.#arrange(true);
  }

  /** @param {boolean} atOnce even while somebody points at a row */
  #arrange(atOnce) {
    const isInUse = this.body.matches(":hover, :focus-within") || Date.now() - this.sortedAt < SORT_MS;
    if (isInUse && !atOnce) return;
    this.sortedAt = Date.now();
    const words = this.needle.split(/\s+/);
    const lineOf = (/** @type {Row} */ row) => /** @type {HTMLElement} */ (this.lines.get(this.options.key(row))?.element);
    const shown = this.rows.filter((row) => {
      const text = lineOf(row).textContent?.toLowerCase() ?? "";
      return words.every((word) => text.includes(word));
    });
    const compare = this.options.columns[this.sorted]?.compare;
    const sign = this.direction === "ascending" ? 1 : -1;
    if (compare) shown.sort((a, b) => sign * compare(a, b));
    const wanted = shown.map(lineOf);
    const present = this.body.children;
    if (wanted.length !== present.length || wanted.some((row, i) => row !== present[i])) fill(this.body, wanted);
    this.note.hidden = shown.length > 0;
    this.table.hidden = shown.length === 0;
    setText(this.note, this.rows.length ? "Nothing matches the filter." : this.options.empty);
  }

  /** @param {Column} column @param {number} index */
  #head({ label, title, kind = "text", compare }, index) {
    const sortBy = () => {
      this.direction = index === this.sorted && this.direction === "ascending" ? "descending" : "ascending";
      this.sorted = index;
      const sorted = (/** @type {number} */ i) => (i === index ? this.direction : "none");
      this.heads.forEach((head, i) => head.hasAttribute("aria-sort") && head.setAttribute("aria-sort", sorted(i)));
      this.#arrange(true);
    };
    const name = h(compare ? "button" : "span", { title, ...(compare && { type: "button", onclick: sortBy }) }, label);
    const sorted = compare ? (index === this.sorted ? this.direction : "none") : null;
    return h(kind === "text" ? "th" : "th.number", { scope: "col", "aria-sort": sorted }, name);
  }
}

class Cell {
  /** @param {Column} column @param {number} index */
  constructor(column, index) {
    this.column = column;
    this.main = h("span.main");
    this.fraction = h("span.fraction");
    this.fraction.style.minWidth = `calc(var(--fraction-${index}, 0) * 1ch)`;
    this.sub = column.sub ? h("small") : null;
    const value = column.kind === "decimal" ? h("span.decimal", {}, this.main, this.fraction) : this.main;
    this.base = (column.kind ?? "text") === "text" ? "" : "number";
    this.element = h(index ? "td" : "th", { scope: index ? null : "row", class: this.base }, value, this.sub);
  }

  /** Show a row's value; return how many characters it has from the point on. @param {Row} row @returns {number} */
  show(row) {
    const { column, main, sub } = this;
    if (sub && column.sub) setText(sub, column.sub(row));
    if (column.state) this.element.className = `${this.base} ${column.state(row)}`;
    if (column.draw) column.draw(main, row);
    const value = column.draw ? "" : column.text(row);
    const point = column.kind === "decimal" && value !== UNKNOWN ? value.indexOf(".") : -1;
    if (!column.draw) setText(main, point < 0 ? value : value.slice(0, point));
    if (column.kind === "decimal") setText(this.fraction, point < 0 ? "" : value.slice(point));
    return point < 0 ? 0 : value.length - point;
  }
}

/** Return a labelled input that filters a table. @param {Table} table @param {string} example */
export function filterBox(table, example) {
  const input = h("input", { type: "search", placeholder: example, autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => table.filter(/** @type {HTMLInputElement} */ (input).value));
  return h("label.filter", {}, h("span", {}, "Filter"), input);
}
