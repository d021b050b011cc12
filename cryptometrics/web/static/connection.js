/** The state of the connection, said in words: in the header always, in a banner when something is wrong. */

import { announce, byId, setText } from "./dom.js";
import { age } from "./format.js";
import * as live from "./live.js";
import { follow } from "./stream.js";

const NOTICE_MS = 8000; // how long a passing notice stays

let lostAt = 0;
let wasLive = false;
let notice = "";
let noticeUntil = 0;

/** Follow the stream and keep the header and the banner true. */
export function start() {
  follow({
    onEvent(name, data) {
      if (name === "snapshot" && wasLive) {
        notice = "Too much was missed: this page starts anew from the present.";
        noticeUntil = Date.now() + NOTICE_MS;
      }
      wasLive = true;
      live.take(name, data);
    },
    onState(state) {
      if (state === "live" && lostAt) {
        announce("Connected again.");
        lostAt = 0;
      } else if (state === "lost" && !lostAt) {
        lostAt = Date.now();
        announce("The connection to the server is lost.");
      }
      if (live.now.live !== (state === "live")) live.setLive(state === "live");
    },
  });
  live.onChange(show);
  setInterval(show, 500);
}

function show() {
  const database = live.now.database;
  const isDatabaseLost = database !== "ok";
  const state = !wasLive && !lostAt ? "connecting" : lostAt ? "lost" : isDatabaseLost ? "stale" : "live";
  const words = { connecting: "connecting", live: "live", lost: "connection lost", stale: "database away" }[state];
  const banner = byId("banner");
  let text = "";
  if (lostAt) {
    text = `The connection to the server is lost since ${age((Date.now() - lostAt) / 1000)}: what you see is old. Trying again every second.`;
  } else if (isDatabaseLost) {
    text = `The server cannot reach its database (${database}): what you see is old.`;
  } else if (Date.now() < noticeUntil) {
    text = notice;
  }
  byId("connection").dataset.state = state;
  setText(byId("connection-text"), words);
  document.documentElement.dataset.connection = state;
  banner.dataset.kind = lostAt || isDatabaseLost ? "error" : "notice";
  banner.classList.toggle("shown", text !== "");
  if (text || !banner.matches(".shown")) setText(banner, text);
  setText(byId("group"), live.now.group ? `group ${live.now.group}` : "");
  const count = byId("firing-count");
  count.hidden = live.now.alerts.length === 0;
  setText(count, String(live.now.alerts.length));
}
