/** The page Alerts: what fires, what has fired, who knows of it, and what is silenced. */

import { get, post } from "./api.js";
import { announce, h, setText } from "./dom.js";
import { age, moment, visible } from "./format.js";
import { onChange, secondsSince } from "./live.js";
import { showTemplate } from "./parts.js";
import { repeat } from "./refresh.js";
import { Table } from "./table.js";

/** @typedef {import("./table.js").Row} Row */

const AUTHOR = "cryptometrics-author";

/** Return an alert with what is shown beside its values. @param {Row} alert */
function viewOf(alert) {
  const isFiring = alert.state === "firing";
  const since = isFiring ? `${age(secondsSince(alert.fired_at))} ago` : `until ${moment(alert.resolved_at)}`;
  return {
    ...{ ...alert, since, market: alert.pair || alert.venue || "all", reason: alert.acknowledged?.why },
    known_to: alert.acknowledged?.by ?? (isFiring ? "nobody yet" : "nobody"),
    row_state: `${isFiring ? alert.severity : ""} ${alert.silenced ? "silenced" : ""}`,
  };
}

/** @type {import("./router.js").Page} */
export function show(main, left) {
  const part = showTemplate(main, "alerts");
  const send = (/** @type {string} */ path) => (/** @type {object} */ values) => post(path, values).then(load);
  const silence = (/** @type {string} */ rule, /** @type {string} */ pair) =>
    ask("silence", { rule, pair: pair || "*" }, send("/api/silences"));
  const button = (/** @type {string} */ text, /** @type {string} */ name, /** @type {() => void} */ onclick) =>
    h("button", { type: "button", "aria-label": visible(name), onclick }, text);
  const drawActions = (/** @type {HTMLElement} */ place, /** @type {Row} */ { id, rule, pair, market, acknowledged }) => {
    if (!place.firstChild) {
      const acknowledge = () => ask("acknowledge", { subject: rule }, send(`/api/alerts/${id}/acknowledge`));
      const buttons = [
        button("Acknowledge", `Acknowledge ${rule} of ${market}`, acknowledge),
        button("Silence", `Silence ${rule} of ${market}`, () => silence(rule, pair)),
      ];
      place.append(h("span.actions", {}, ...buttons));
    }
    /** @type {HTMLElement} */ (place.querySelector("button")).hidden = !!acknowledged; // that is done once
  };
  const drawEnd = (/** @type {HTMLElement} */ place, /** @type {Row} */ { id, rule }) => {
    const end = () => ask("end_silence", { subject: rule }, send(`/api/silences/${id}/end`));
    if (!place.firstChild) place.append(button("End", `End the silence of ${rule}`, end));
  };
  const firing = new Table(part("firing"), { actions: drawActions });
  const history = new Table(part("history"));
  const silences = new Table(part("silences"), { end: drawEnd });
  history.filterBy(part("filter"));
  part("new-silence").onclick = () => silence("", "");
  const load = repeat(part("problem"), 10, left, async (signal) => {
    const found = await get("/api/alerts", { limit: 200 }, signal);
    firing.update(found.firing.map(viewOf));
    history.update(found.history.map(viewOf));
    silences.update(found.silences);
  });
  onChange(({ parts }) => "alerts" in parts && load(), left);
}

/**
 * Ask in a dialog who does something and why, and do it.
 * @param {string} id of the template
 * @param {Record<string, string>} values of its inputs, and its subject
 * @param {(values: Record<string, string>) => Promise<void>} send
 */
function ask(id, { subject = "", ...values }, send) {
  const place = document.body.appendChild(h("div"));
  const part = showTemplate(place, id);
  const dialog = /** @type {HTMLDialogElement} */ (place.querySelector("dialog"));
  const form = /** @type {HTMLFormElement} */ (place.querySelector("form"));
  const inputs = [...form.querySelectorAll("input")];
  const given = { by: localStorage.getItem(AUTHOR) ?? "", ...values };
  for (const input of inputs) input.value ||= given[/** @type {"by"} */ (input.name)] ?? "";
  if (part("subject")) setText(part("subject"), visible(subject));
  part("cancel").onclick = () => dialog.close();
  dialog.onclose = () => place.remove();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const filled = Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()]));
    localStorage.setItem(AUTHOR, filled.by);
    try {
      await send(filled);
      announce(`Done: ${form.querySelector("h2")?.textContent}`);
      dialog.close();
    } catch (error) {
      part("error").hidden = false;
      setText(part("error"), error instanceof Error ? error.message : String(error));
    }
  };
  dialog.showModal();
  (inputs.find((input) => !input.value) ?? inputs[0]).focus();
}
