/** The page Risk: what is held and what it could lose, its limits, and how the pairs move together. */

import { get } from "./api.js";
import { fill, h, setText } from "./dom.js";
import { age, fixed, money, percent, UNKNOWN, visible } from "./format.js";
import { secondsSince } from "./live.js";
import { choiceButtons, drawBar, figureList } from "./parts.js";
import { repeat } from "./refresh.js";
import { decimalColumn, numberColumn, Table, textColumn } from "./table.js";

/** @typedef {import("./table.js").Row} Row */

const STATES = { ok: "ok", warn: "near the limit", breach: "breached", unknown: "not known" };

/** @param {number | null | undefined} value in per cent already */
const perCent = (value) => (value === null || value === undefined ? UNKNOWN : `${fixed(value, 2)} %`);
const tenths = (/** @type {number | null | undefined} */ value) => percent(value, 1);
/** @param {string} label @param {string} key @param {string} [title] */
const sum = (label, key, title) => decimalColumn(label, key, { title }, money);
/** @param {string} key @returns {[(row: Row) => string, (row: Row) => string]} */
const statistic = (key) => [(row) => money(row[key]), (row) => `${perCent(row[`${key}_pct`])} of gross`];
/** @param {Row} row @returns {string} */
const limitName = (row) => row.name.replace(/^limit\./, "").replace(/_pct$/, "").replaceAll("_", " ");
/** @param {Row} row @param {any} value */
const limitText = (row, value) => (row.name.endsWith("gross") ? money(value === null ? null : String(value)) : perCent(value === null ? null : Number(value)));

/** @param {string} caption @param {import("./table.js").Column[]} columns @param {string} [key] */
const tableOf = (caption, columns, key = "name") =>
  new Table({ caption, columns, empty: `The portfolio has no ${caption.toLowerCase()}.`, key: (row) => String(row[key]) });

/** Show the page; return how to leave it. @param {HTMLElement} main */
export function show(main) {
  const [problem, matrixProblem, chooser, facts] = [h("div"), h("div"), h("div"), h("span.summary")];
  const totals = figureList([
    ["Value", (row) => money(row.value), (row) => `${money(row.value_at_mid)} at mid`],
    ["Profit and loss", (row) => money(row.profit_and_loss), (row) => `${money(row.profit_and_loss_today)} today`],
    ["Gross", (row) => money(row.gross), (row) => `net ${money(row.net)}`],
    ["Value at risk", ...statistic("value_at_risk")],
    ["Expected shortfall", ...statistic("expected_shortfall")],
    ["Drawdown", (row) => money(row.drawdown), () => "below the peak"],
  ]);
  const positions = tableOf(
    "Positions",
    [
      textColumn("Asset", (row) => row.asset, { sub: (row) => row.pair ?? "at par" }),
      decimalColumn("Quantity", "quantity"),
      decimalColumn("Mark", "mark", {
        ...{ title: "Long at the bid, short at the ask", state: (row) => (row.mark === null ? "bad" : "") },
        sub: (row) => (["marked", "par"].includes(row.state) ? "" : row.state),
      }),
      ...[sum("Value", "value"), sum("P&L", "profit_and_loss")],
      numberColumn("Share", (row) => row.share, tenths, { title: "Of gross" }),
      numberColumn("Volatility", (row) => row.volatility, tenths),
      sum("VaR alone", "value_at_risk", "Value at risk of this position without the others"),
      sum("Contribution", "component_value_at_risk", "Part in the value at risk of the whole; negative where it hedges"),
    ],
    "asset",
  );
  const limits = tableOf("Limits", [
    textColumn("Limit", limitName),
    numberColumn("Value", (row) => row.value, String, { text: (row) => limitText(row, row.value) }),
    numberColumn("Limit at", (row) => Number(row.limit), String, { text: (row) => limitText(row, row.limit) }),
    numberColumn("Use", (row) => row.use, (value) => percent(value, 0)),
    textColumn("State", (row) => row.state, {
      ...{ draw: (place, row) => drawBar(place, row.use), state: (row) => row.state },
      sub: (row) => STATES[/** @type {"ok"} */ (row.state)] ?? row.state,
    }),
  ]);
  const stress = tableOf("Stress tests", [
    textColumn("Stress test", (row) => visible(row.name)),
    sum("P&L", "profit_and_loss"),
    sum("Closing", "closing_cost", "Half the present spread of each unit"),
    sum("Value after", "value"),
  ]);
  const notes = h("ul.notes");
  const section = (/** @type {string} */ title, /** @type {HTMLElement} */ part) => h("section", {}, h("h2", {}, title), part);
  const halves = h("div.halves", {}, section("Limits", limits.element), section("Stress tests", stress.element));
  const book = h("div", { hidden: true }, totals.element, section("Positions and their contributions", positions.element), halves, notes);
  const advice = "No portfolio is loaded. cryptometrics positions example prints one to begin with; positions load stores it.";
  const nothing = h("p.empty", { hidden: true }, advice);
  const matrix = h("div.scroll", { role: "region", tabindex: 0, "aria-label": "Correlation matrix" });
  main.append(
    h("div.heading", {}, h("h1", {}, "Risk"), facts, chooser),
    ...[problem, nothing, book, h("h2", {}, "Correlation of the pairs"), matrixProblem, matrix],
  );

  let [name, asOf, currency, known] = ["", "", "", ""];
  const paintAge = () => setText(facts, asOf && `in ${currency}, as of ${age(secondsSince(asOf))} ago`);
  const loading = repeat(
    problem,
    async (signal) => {
      const { portfolios: names } = await get("/api/portfolio", {}, signal);
      nothing.hidden = names.length > 0;
      book.hidden = names.length === 0;
      if (!names.includes(name)) name = names[0] ?? "";
      if (known !== names.join()) {
        const choose = (/** @type {string} */ choice) => {
          name = choice;
          loading.again();
        };
        fill(chooser, names.length > 1 && choiceButtons("Portfolio", names, name, choose));
        known = names.join();
      }
      if (!name) return;
      const { portfolio: found } = await get("/api/portfolio", { name }, signal);
      ({ as_of: asOf, currency } = found);
      totals.show(found);
      for (const [table, rows] of /** @type {const} */ ([[positions, "positions"], [limits, "limits"], [stress, "stress"]])) table.update(found[rows]);
      fill(notes, found.assumptions.map((/** @type {string} */ note) => h("li", {}, visible(note))));
      paintAge();
    },
    5,
  );
  const correlating = repeat(
    matrixProblem,
    async (signal) => {
      const { correlation } = await get("/api/risk", {}, signal);
      fill(matrix, correlation?.pairs.length > 1 ? matrixTable(correlation) : h("p.empty", {}, "This needs two pairs with risk figures."));
    },
    60,
  );
  const timer = setInterval(paintAge, 1000);
  return () => {
    clearInterval(timer);
    loading.stop();
    correlating.stop();
  };
}

/** @param {{pairs: string[], matrix: (number | null)[][]}} correlation */
function matrixTable({ pairs, matrix }) {
  const cell = (/** @type {number | null} */ value) => {
    const element = h(`td.number.${(value ?? 0) < 0 ? "against" : "with"}`, {}, fixed(value, 2));
    element.style.setProperty("--share", `${Math.round(45 * Math.abs(value ?? 0))}%`);
    return element;
  };
  return h(
    "table.matrix",
    {},
    h("caption.visually-hidden", {}, "Correlation matrix"),
    h("thead", {}, h("tr", {}, h("td"), pairs.map((pair) => h("th.number", { scope: "col" }, pair)))),
    h("tbody", {}, pairs.map((pair, i) => h("tr", {}, h("th", { scope: "row" }, pair), matrix[i].map(cell)))),
  );
}
