/** The state of the connection, said in words: in the header always, in a banner when something is wrong. */

import { announce, byId, setText } from "./dom.js";
import { age } from "./format.js";
import { now, onChange, take } from "./live.js";
import { follow } from "./stream.js";

const NOTICE_MS = 8000; // how long a passing notice stays
const ANEW = "Too much was missed: this page starts anew from the present.";
const WORDS = { connecting: "connecting", live: "live", lost: "connection lost", stale: "database away" };

/** Follow the stream and keep the header and the banner true. */
export function start() {
  let [wasLive, lostAt, noticeUntil] = [false, 0, 0];
  const show = () => {
    const { database, group, alerts } = now;
    const state = lostAt ? "lost" : !wasLive ? "connecting" : database === "ok" ? "live" : "stale";
    const since = age((Date.now() - lostAt) / 1000);
    const troubles = {
      lost: `The connection to the server is lost since ${since}: what you see is old. Trying again every second.`,
      stale: `The server cannot reach its database (${database}): what you see is old.`,
    };
    const trouble = troubles[/** @type {"lost"} */ (state)];
    const text = trouble ?? (Date.now() < noticeUntil ? ANEW : "");
    const banner = byId("banner");
    banner.dataset.kind = trouble ? "error" : "notice";
    banner.classList.toggle("shown", text !== "");
    setText(banner, text);
    document.documentElement.dataset.connection = byId("connection").dataset.state = state;
    setText(byId("connection-text"), WORDS[state]);
    setText(byId("group"), group && `group ${group}`);
    setText(byId("firing-count"), String(alerts.length));
    byId("firing-count").hidden = !alerts.length;
  };
  const onEvent = (/** @type {string} */ name, /** @type {any} */ data) => {
    if (name === "snapshot" && wasLive) noticeUntil = Date.now() + NOTICE_MS;
    if (lostAt) announce("Connected again.");
    [wasLive, lostAt] = [true, 0];
    take(name, data);
  };
  const onLost = () => {
    if (!lostAt) announce("The connection to the server is lost.");
    lostAt ||= Date.now();
    show();
  };
  onChange(show);
  setInterval(show, 500);
  follow(onEvent, onLost);
}
