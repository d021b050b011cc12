/** The page Alerts: what fires, what has fired, who knows of it, and what is silenced. */

import { get, post } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { age, moment, visible } from "./format.js";
import { now, onChange, secondsSince } from "./live.js";
import { repeat } from "./refresh.js";
import { filterBox, Table, textColumn } from "./table.js";

/** @typedef {import("./table.js").Row} Row */
/** @typedef {{name: string, label: string, value: string}} Field */

const AUTHOR = "cryptometrics-author";

/** @param {Row} alert */
const where = (alert) => visible(alert.pair || alert.venue || "all");
/** @param {Row} alert */
const sinceWhen = (alert) => (alert.resolved_at ? `until ${moment(alert.resolved_at)}` : `${age(secondsSince(alert.fired_at))} ago`);

/** @param {string} caption @param {string} empty @param {import("./table.js").Column[]} more */
function alertTable(caption, empty, more) {
  const columns = [
    textColumn("Rule", (row) => visible(row.rule), { sub: (row) => row.severity }),
    textColumn("Pair", where, { sub: (row) => row.venue }),
    textColumn("Message", (row) => visible(row.message), { ...{ sub: (row) => visible(row.resolved_message), compare: null, state: () => "long" } }),
    textColumn("Since, UTC", (row) => moment(row.fired_at), { sub: sinceWhen }),
    textColumn("Known to", (row) => visible(row.acknowledged?.by ?? (row.resolved_at ? "nobody" : "nobody yet")), {
      sub: (row) => visible(row.acknowledged?.why),
    }),
    ...more,
  ];
  const rowState = (/** @type {Row} */ row) => `${row.state === "firing" ? row.severity : ""} ${row.silenced ? "silenced" : ""}`;
  return new Table({ caption, empty, columns, rowState, key: (row) => String(row.id) });
}

/** Show the page; return how to leave it. @param {HTMLElement} main */
export function show(main) {
  const reload = () => loading.again();
  const acknowledge = (/** @type {Row} */ alert) =>
    ask(`Acknowledge ${visible(alert.rule)}`, "Others see that you know of it. It stays open, and its end is still sent.", [], (values) =>
      post(`/api/alerts/${alert.id}/acknowledge`, values).then(reload),
    );
  const silence = (/** @type {string} */ rule, /** @type {string} */ pair) => {
    const fields = [
      { name: "rule", label: "Rule (* stands for any text)", value: rule },
      { name: "pair", label: "Pair (* stands for any text)", value: pair || "*" },
      { name: "for", label: "For how long, such as 30m or 2h", value: "2h" },
    ];
    const meaning = "Alerts that match are stored and shown, but not sent. The silence ends by itself.";
    ask("Silence alerts", meaning, fields, (values) => post("/api/silences", values).then(reload));
  };
  const end = (/** @type {Row} */ row) =>
    ask("End the silence", "Alerts that match are sent again.", [], (values) => post(`/api/silences/${row.id}/end`, values).then(reload), false);
  const drawEnd = (/** @type {HTMLElement} */ place, /** @type {Row} */ row) => {
    const label = `End the silence of ${visible(row.rule)}`;
    if (!place.firstChild) place.append(h("button", { type: "button", "aria-label": label, onclick: () => end(row) }, "End"));
  };
  const drawActions = (/** @type {HTMLElement} */ place, /** @type {Row} */ alert) => {
    const button = (/** @type {string} */ text, /** @type {() => void} */ onclick) =>
      h("button", { type: "button", "aria-label": `${text} ${visible(alert.rule)} of ${where(alert)}`, onclick }, text);
    if (!place.firstChild) {
      const silenceIt = button("Silence", () => silence(alert.rule, alert.pair));
      place.append(h("span.actions", {}, button("Acknowledge", () => acknowledge(alert)), silenceIt));
    }
    /** @type {HTMLElement} */ (place.querySelector("button")).hidden = !!alert.acknowledged; // that is done once
  };
  const actions = { label: "Actions", text: () => "", draw: drawActions };
  const firing = alertTable("Firing alerts", "Nothing is firing.", [actions]);
  const history = alertTable("History of alerts", "No alert has been resolved yet.", []);
  const silences = new Table({
    ...{ caption: "Silences", empty: "Nothing is silenced.", key: (row) => `${row.id} ${row.until}` },
    columns: [
      textColumn("Rule", (row) => visible(row.rule)),
      textColumn("Pair", (row) => visible(row.pair ?? "*")),
      textColumn("Until, UTC", (row) => moment(row.until)),
      textColumn("By", (row) => visible(row.by), { sub: (row) => visible(row.why) }),
      { label: "Actions", text: () => "", draw: drawEnd },
    ],
  });
  const problem = h("div");
  const newSilence = h("button", { type: "button", onclick: () => silence("", "") }, "New silence");
  main.append(
    h("div.heading", {}, h("h1", {}, "Alerts"), newSilence),
    ...[problem, h("h2", {}, "Firing"), firing.element, h("h2", {}, "Silences"), silences.element],
    ...[h("div.heading", {}, h("h2", {}, "History"), filterBox(history, "rule or pair")), history.element],
  );
  const loading = repeat(
    problem,
    async (signal) => {
      const found = await get("/api/alerts", { limit: 200 }, signal);
      firing.update(found.firing);
      history.update(found.history);
      silences.update(found.silences);
    },
    10,
  );
  let known = now.alerts;
  const stop = onChange(() => {
    if (known !== now.alerts) loading.again();
    known = now.alerts;
  });
  return () => {
    stop();
    loading.stop();
  };
}

/**
 * Ask in a dialog who does something and why, and do it.
 * @param {string} title
 * @param {string} meaning
 * @param {Field[]} fields before who and why
 * @param {(values: Record<string, string>) => Promise<void>} send
 * @param {boolean} [asksWhy]
 */
function ask(title, meaning, fields, send, asksWhy = true) {
  const author = { name: "by", label: "Your name", value: localStorage.getItem(AUTHOR) ?? "" };
  const reason = asksWhy ? [{ name: "why", label: "Why", value: "" }] : [];
  const labels = [...fields, author, ...reason].map(({ name, label, value }) => {
    const options = { name, value, required: true, maxlength: name === "why" ? 1000 : 100, autocomplete: "off" };
    return h("label", {}, h("span", {}, label), h("input", options));
  });
  const error = h("p.error", { role: "alert", hidden: true });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()]));
    localStorage.setItem(AUTHOR, values.by);
    try {
      await send(values);
      dialog.close();
      announce(`Done: ${title}`);
    } catch (reason) {
      error.hidden = false;
      fill(error, reason instanceof Error ? reason.message : String(reason));
    }
  };
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const buttons = h("div.actions", {}, h("button.primary", { type: "submit" }, title.split(" ")[0]), cancel);
  const parts = [h("h2", { id: "dialog-title" }, title), h("p", {}, meaning), ...labels, error, buttons];
  const form = /** @type {HTMLFormElement} */ (h("form", { onsubmit: submit }, parts));
  const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() }, form));
  document.body.append(dialog);
  dialog.showModal();
  const inputs = [...form.querySelectorAll("input")];
  (inputs.find((input) => !input.value) ?? inputs[0]).focus();
}
