/** The page Pipeline: how far the workers are, what they rejected and why, and what the feed missed. */

import { get } from "./api.js";
import { h, setText } from "./dom.js";
import { age, fixed, integer, moment, visible } from "./format.js";
import { now, onChange, secondsSince } from "./live.js";
import { figureList } from "./parts.js";
import { repeat } from "./refresh.js";
import { numberColumn, Table, textColumn } from "./table.js";

/** @param {string} key */
const count = (key, label = key[0].toUpperCase() + key.slice(1), title = "") => numberColumn(label, (row) => row[key], integer, { title });

/** @param {HTMLElement} place @param {import("./table.js").Row} row */
function drawRaw(place, row) {
  if (!place.firstChild) place.append(h("pre", { tabindex: 0, role: "group", "aria-label": "Raw text" }));
  const { text, bytes, cut } = row.newest;
  setText(/** @type {Element} */ (place.firstElementChild), visible(text) + (cut ? ` … (${integer(bytes)} bytes)` : ""));
}

/** Show the page; return how to leave it. @param {HTMLElement} main */
export function show(main) {
  const totals = figureList([
    ["Lag", (row) => integer(row.lag), () => "messages not stored yet"],
    ["Ticks per second", (row) => fixed(row.ticks_per_second, 1), () => "stored lately"],
    ["Metrics", (row) => integer(row.metrics), () => "quotes stored"],
    ["Rejected", (row) => integer(row.rejected), () => "reasons are below"],
    ["Gap records", (row) => integer(row.gaps), () => "what a feed missed"],
    ["Duplicates", (row) => integer(row.duplicates), () => "sent twice, stored once"],
  ]);
  const partitions = new Table({
    ...{ caption: "Partitions", key: (row) => `${row.topic} ${row.partition}`, empty: "The group has not read the topic yet." },
    columns: [
      numberColumn("Partition", (row) => row.partition, integer, { kind: "text", sub: (row) => row.topic }),
      count("lag", "Lag", "Messages that are not stored yet"),
      ...[count("next_offset", "Next offset"), count("end_offset", "End")],
      ...["metrics", "rejected", "gaps", "duplicates", "holes"].map((key) => count(key)),
      textColumn("Owner", (row) => visible(row.owner ?? "nobody"), { state: (row) => (row.owner ? "" : "warn") }),
    ],
  });
  const rejected = new Table({
    ...{ caption: "Rejected messages by reason", key: (row) => row.reason, empty: "No message was rejected." },
    columns: [
      textColumn("Reason", (row) => visible(row.reason), { sub: (row) => visible(row.newest.detail) }),
      count("count"),
      textColumn("Newest, UTC", (row) => moment(row.newest.at), { sub: (row) => `${age(secondsSince(row.newest.at))} ago` }),
      { label: "Its text, as it came", text: () => "", draw: drawRaw },
    ],
  });
  const gaps = new Table({
    ...{ caption: "Gaps of the feed", key: (row) => JSON.stringify(row), empty: "The feed has reported no gap." },
    columns: [
      textColumn("Pair", (row) => visible(row.pair ?? "all"), { sub: (row) => row.venue ?? "" }),
      textColumn("From, UTC", (row) => moment(row.begins_at)),
      textColumn("Until, UTC", (row) => moment(row.ends_at)),
      textColumn("Kind", (row) => visible(row.kind)),
      count("trades_missed", "Trades missed"),
    ],
  });
  const trouble = h("p.error", { hidden: true });
  const problem = h("div");
  main.append(
    ...[h("div.heading", {}, h("h1", {}, "Pipeline")), trouble, totals.element],
    ...[problem, h("h2", {}, "Partitions and their owners"), partitions.element],
    ...[h("h2", {}, "Rejected messages"), rejected.element, h("h2", {}, "Gaps of the feed"), gaps.element],
  );
  const loading = repeat(
    problem,
    async (signal) => {
      const found = await get("/api/pipeline", {}, signal);
      partitions.update(found.partitions);
      rejected.update(found.rejected);
      gaps.update(found.gaps);
    },
    2,
  );
  const paint = () => {
    totals.show(now.pipeline ?? {});
    trouble.hidden = !now.pipeline?.trouble;
    setText(trouble, now.pipeline?.trouble ?? "");
  };
  paint();
  const stop = onChange(paint);
  return () => {
    stop();
    loading.stop();
  };
}
