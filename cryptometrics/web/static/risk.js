/** The page Risk: what is held and what it could lose, its limits, and how the pairs move together. */

import { get } from "./api.js";
import { fill, h, setText } from "./dom.js";
import { age, fixed, money, UNKNOWN, visible } from "./format.js";
import { secondsSince } from "./live.js";
import { choices, figures, showTemplate } from "./parts.js";
import { portfolioChart } from "./portfolio_chart.js";
import { everySecond, repeat } from "./refresh.js";
import { Table } from "./table.js";

/** @typedef {import("./table.js").Row} Row */

const STATES = { ok: "ok", warn: "near the limit", breach: "breached", unknown: "not known" };

/** Return a position with what is shown beside its values. @param {Row} row */
function positionView(row) {
  const trouble = ["marked", "par"].includes(row.state) ? "" : row.state;
  return { ...row, source: row.pair ?? "at par", trouble, mark_state: row.mark === null ? "bad" : "" };
}

/** Return a limit with what is shown beside its values. @param {Row} row */
function limitView(row) {
  const title = row.name.replace(/^limit\./, "").replace(/_pct$/, "").replaceAll("_", " ");
  const perCent = (/** @type {any} */ value) => (value === null ? UNKNOWN : `${fixed(Number(value), 2)} %`);
  const text = row.name.endsWith("gross") ? money : perCent;
  const words = STATES[/** @type {"ok"} */ (row.state)] ?? row.state;
  return { ...row, title, words, value_text: text(row.value), limit_text: text(row.limit) };
}

/** Draw a bar that is full where the whole limit is used. @param {HTMLElement} place @param {Row} row */
function drawBar(place, { use }) {
  if (!place.firstChild) place.append(h("span.bar", { "aria-hidden": "true" }, h("i")));
  const bar = /** @type {HTMLElement} */ (place.querySelector("i"));
  bar.style.width = `${Math.max(0, Math.min(100, 100 * (use ?? 0)))}%`;
}

/** @type {import("./router.js").Page} */
export function show(main, left) {
  const part = showTemplate(main, "risk");
  const showTotals = figures(part("totals"));
  const positions = new Table(part("positions"));
  const limits = new Table(part("limits"), { bar: drawBar });
  const stress = new Table(part("stress"));
  const choosePortfolio = portfolioChart(part, left);

  let [name, known] = ["", ""];
  /** @type {any} */ let found = null;
  choices(part("portfolios"), (chosen) => {
    name = chosen;
    load();
  });
  const load = repeat(part("problem"), 5, left, async (signal) => {
    const { portfolios: names } = await get("/api/portfolio", {}, signal);
    part("nothing").hidden = names.length > 0;
    part("book").hidden = names.length === 0;
    if (!names.includes(name)) name = names[0] ?? "";
    const buttonOf = (/** @type {string} */ each) => h("button", { type: "button", "aria-pressed": String(each === name) }, each);
    if (known !== names.join()) fill(part("portfolios"), ...(names.length > 1 ? names.map(buttonOf) : []));
    known = names.join();
    choosePortfolio(name);
    if (!name) return;
    ({ portfolio: found } = await get("/api/portfolio", { name }, signal));
    showTotals(found);
    positions.update(found.positions.map(positionView));
    limits.update(found.limits.map(limitView));
    stress.update(found.stress);
    fill(part("notes"), ...found.assumptions.map((/** @type {string} */ note) => h("li", {}, visible(note))));
  });
  const paintAge = () => setText(part("facts"), found ? `in ${found.currency}, as of ${age(secondsSince(found.as_of))} ago` : "");
  everySecond(paintAge, left);
  repeat(part("matrix-problem"), 60, left, async (signal) => {
    const { correlation } = await get("/api/risk", {}, signal);
    const isKnown = correlation?.pairs.length > 1;
    fill(part("matrix"), isKnown ? matrixTable(correlation) : h("p.empty", {}, "This needs two pairs with risk figures."));
  });
}

/** @param {{pairs: string[], matrix: (number | null)[][]}} correlation */
function matrixTable({ pairs, matrix }) {
  const cell = (/** @type {number | null} */ value) => {
    const element = h(`td.number.${(value ?? 0) < 0 ? "against" : "with"}`, {}, fixed(value, 2));
    element.style.setProperty("--share", `${Math.round(45 * Math.abs(value ?? 0))}%`);
    return element;
  };
  const heads = pairs.map((pair) => h("th.number", { scope: "col" }, pair));
  const lines = pairs.map((pair, i) => h("tr", {}, h("th", { scope: "row" }, pair), ...matrix[i].map(cell)));
  const caption = h("caption", {}, "Correlation matrix");
  return h("table.matrix", {}, caption, h("thead", {}, h("tr", {}, h("td"), ...heads)), h("tbody", {}, ...lines));
}
