/**
 * A table of live rows: sorted by its headers, filtered, with aligned decimals and cells that keep still.
 *
 * The page's template has the table with its header, which describes the columns. `data-text` and `data-sub`, for a
 * second, smaller line, are templates of a cell's text, and `data-state` is one of its class. `data-draw` names a
 * function that shows the cell instead. The table has `data-key`, `data-state` of its rows, and `data-empty`.
 */

import { fill, h, setText } from "./dom.js";
import { PLACE, render } from "./format.js";

const SORT_MS = 1000; // rows that change place more often cannot be read
const TEXTS = ["text", "moment"]; // formats; all others are of numbers
const DECIMALS = ["decimal", "money"]; // aligned at the point

/**
 * A row is an object of the API, or one with more to show.
 * @typedef {Record<string, any>} Row
 * @typedef {(place: HTMLElement, row: Row) => void} Draw
 * @typedef {{element: HTMLElement, show: (row: Row) => void}} Shown a line or a cell
 */

export class Table {
  /** @param {HTMLElement} table @param {Record<string, Draw>} [draws] */
  constructor(table, draws = {}) {
    this.table = table;
    /** @type {Row[]} */ this.rows = [];
    /** @type {Map<string, Shown>} */ this.lines = new Map();
    this.needle = "";
    this.sortedAt = 0;
    this.columns = [...table.querySelectorAll("th")].map((head, index) => new Column(head, index, draws));
    for (const { head, isSortable } of this.columns) if (isSortable) this.#makeSortable(head);
    this.body = h("tbody");
    this.note = h("p.empty", {}, "Loading …");
    const label = table.querySelector("caption")?.textContent;
    const frame = h("div.scroll", { role: "region", "aria-label": label, tabindex: 0 });
    table.replaceWith(h("div.table", {}, frame, this.note));
    table.append(this.body);
    frame.append(table);
    table.hidden = true;
  }

  /** @param {Row[]} rows all rows that there are now */
  update(rows) {
    this.rows = rows;
    const before = this.lines;
    this.lines = new Map(rows.map((row) => [this.#keyOf(row), before.get(this.#keyOf(row)) ?? line(this.columns)]));
    for (const row of rows) {
      this.#lineOf(row).show(row);
      this.#lineOf(row).element.className = render(this.table.dataset.state ?? "", row);
    }
    // Decimals stay aligned, and columns only widen: a page must not jump as digits come and go.
    for (const { index, places } of this.columns) this.table.style.setProperty(`--fraction-${index}`, String(places));
    this.#arrange(rows.length !== before.size || rows.some((row) => !before.has(this.#keyOf(row))));
  }

  /** Show only rows with all words of an input. @param {HTMLElement} input */
  filterBy(input) {
    input.addEventListener("input", () => {
      this.needle = /** @type {HTMLInputElement} */ (input).value.trim().toLowerCase();
      this.#arrange(true);
    });
  }

  /** @param {Row} row */
  #keyOf(row) {
    return render(this.table.dataset.key ?? "", row);
  }

  /** @param {Row} row */
  #lineOf(row) {
    return /** @type {Shown} */ (this.lines.get(this.#keyOf(row)));
  }

  /** @param {boolean} atOnce even while somebody points at a row */
  #arrange(atOnce) {
    const isInUse = this.body.matches(":hover, :focus-within") || Date.now() - this.sortedAt < SORT_MS;
    if (isInUse && !atOnce) return;
    this.sortedAt = Date.now();
    const words = this.needle.split(/\s+/);
    const shown = this.rows.filter((row) => {
      const text = this.#lineOf(row).element.textContent?.toLowerCase() ?? "";
      return words.every((word) => text.includes(word));
    });
    const sorted = this.columns.find(({ head }) => head.ariaSort && head.ariaSort !== "none");
    const sign = sorted?.head.ariaSort === "ascending" ? 1 : -1;
    if (sorted) shown.sort((a, b) => sign * sorted.compare(a, b));
    const wanted = shown.map((row) => this.#lineOf(row).element);
    const present = this.body.children;
    if (wanted.length !== present.length || wanted.some((row, i) => row !== present[i])) fill(this.body, ...wanted);
    this.note.hidden = shown.length > 0;
    this.table.hidden = shown.length === 0;
    setText(this.note, this.rows.length ? "Nothing matches the filter." : (this.table.dataset.empty ?? ""));
  }

  /** @param {HTMLElement} head */
  #makeSortable(head) {
    const onclick = () => {
      const direction = head.ariaSort === "ascending" ? "descending" : "ascending";
      for (const { head: each } of this.columns) each.ariaSort &&= each === head ? direction : "none";
      this.#arrange(true);
    };
    head.ariaSort ??= "none";
    fill(head, h("button", { type: "button", title: head.title, onclick }, head.textContent));
    head.removeAttribute("title");
  }
}

class Column {
  places = 0; // characters of the longest value from the point on

  /** @param {HTMLTableCellElement} head @param {number} index @param {Record<string, Draw>} draws */
  constructor(head, index, draws) {
    const { text = "", sub = "", state = "", draw = "", unsorted } = head.dataset;
    const [, format = "text", key = ""] = PLACE.exec(text) ?? [];
    Object.assign(this, { head, index, text, sub, state, key, draw: draws[draw] });
    this.isSortable = key !== "" && unsorted === undefined;
    this.isText = TEXTS.includes(format);
    this.isDecimal = DECIMALS.includes(format);
    head.scope = "col";
    head.classList.toggle("number", !this.isText);
  }

  /** Compare rows, numbers as floats; what is not known is the least. @param {Row} left @param {Row} right */
  compare(left, right) {
    const [a, b] = [left[this.key], right[this.key]];
    if (this.isText) return String(a ?? "").localeCompare(String(b ?? ""), "en", { numeric: true });
    return Number(a ?? -Infinity) - Number(b ?? -Infinity) || 0;
  }
}

/** @param {Column[]} columns @returns {Shown} */
function line(columns) {
  const cells = columns.map(cell);
  const element = h("tr", {}, cells.map((each) => each.element));
  return { element, show: (row) => cells.forEach((each) => each.show(row)) };
}

/** @param {Column} column @returns {Shown} */
function cell(column) {
  const { index, isDecimal, isText, text, sub, state, draw } = column;
  const [main, fraction, small] = [h("span.main"), h("span.fraction"), sub ? h("small") : null];
  fraction.style.minWidth = `calc(var(--fraction-${index}, 0) * 1ch)`;
  const value = isDecimal ? h("span.decimal", {}, main, fraction) : main;
  const element = h(index ? "td" : "th", { scope: index ? null : "row" }, value, small);
  const show = (/** @type {Row} */ row) => {
    element.className = `${isText ? "" : "number"} ${render(state, row)}`;
    if (small) setText(small, render(sub, row));
    if (draw) return draw(main, row);
    const shown = render(text, row);
    const point = isDecimal ? shown.indexOf(".") : -1;
    setText(main, point < 0 ? shown : shown.slice(0, point));
    setText(fraction, point < 0 ? "" : shown.slice(point));
    column.places = Math.max(column.places, point < 0 ? 0 : shown.length - point);
  };
  return { element, show };
}
