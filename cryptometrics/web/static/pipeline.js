/** The page Pipeline: how far the workers are, what they rejected and why, and what the feed missed. */

import { get } from "./api.js";
import { h, setText } from "./dom.js";
import { integer, moment, visible } from "./format.js";
import { now, onChange, secondsSince } from "./live.js";
import { figures, showTemplate } from "./parts.js";
import { repeat } from "./refresh.js";
import { Table } from "./table.js";

/** @typedef {import("./table.js").Row} Row */

/** @param {HTMLElement} place @param {Row} row */
function drawRaw(place, { text, bytes, cut }) {
  if (!place.firstChild) place.append(h("pre", { tabindex: 0, role: "group", "aria-label": "Raw text" }));
  setText(/** @type {Element} */ (place.firstElementChild), visible(text) + (cut ? ` … (${integer(bytes)} bytes)` : ""));
}

/** @param {Row} row */
const partitionView = (row) => ({ ...row, reader: row.owner || "nobody", state: row.owner ? "" : "warn" });

/** @param {Row} row */
const reasonView = (row) => ({ ...row, ...row.newest, or_more: row.more ? "or more" : "", age: secondsSince(row.newest.at) });

/** @param {Row | null} last */
const verifiedText = (last) =>
  last
    ? `Every offset was last verified on ${moment(last.at)} UTC, ${last.with_topic ? "with" : "without"} the topic.`
    : "Not verified yet: cryptometrics verify --since-last does it.";

/** @type {import("./router.js").Page} */
export function show(main, left) {
  const part = showTemplate(main, "pipeline");
  const showTotals = figures(part("totals"));
  const partitions = new Table(part("partitions"));
  const rejected = new Table(part("rejected"), { raw: drawRaw });
  const gaps = new Table(part("gaps"));
  repeat(part("problem"), 2, left, async (signal) => {
    const found = await get("/api/pipeline", {}, signal);
    partitions.update(found.partitions.map(partitionView));
    rejected.update(found.rejected.map(reasonView));
    gaps.update(found.gaps);
    setText(part("verified"), verifiedText(found.verified));
  });
  const paint = () => {
    showTotals(now.pipeline ?? {});
    part("trouble").hidden = !now.pipeline?.trouble;
    setText(part("trouble"), now.pipeline?.trouble ?? "");
  };
  paint();
  onChange(paint, left);
}
