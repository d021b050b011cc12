/** The newest state of the market as the stream tells it, and who wants to hear of changes. */

/**
 * A row of /api/pairs. Prices and sizes are exact text; what cannot be known is null.
 * @typedef {Record<string, any>} PairRow
 */

/** @type {Map<string, PairRow>} rows by market: "coinbase BTC-USD" */
export const pairs = new Map();
/** The rest of the newest snapshot. */
export const now = {
  /** @type {any[]} */ alerts: [],
  /** @type {any[]} */ portfolios: [],
  /** @type {any} */ pipeline: null,
  group: "",
  /** Whether a snapshot has arrived. */
  isKnown: false,
  /** Whether the stream runs. */
  live: false,
  /** "ok", or since when the server has no database. */
  database: "ok",
};

/** @param {PairRow} row */
export const marketOf = (row) => `${row.venue} ${row.pair}`;

/** @typedef {{changed: Set<string>, startsAnew: boolean}} Change */
/** @type {Set<(change: Change) => void>} */
const listeners = new Set();
let clockOffset = 0;

/**
 * Call a function after each event of the stream.
 * @param {(change: Change) => void} listener
 * @returns {() => void} ends it
 */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @returns {number} milliseconds since 1970 by the database's clock: ages must not depend on this computer's */
export function serverNow() {
  return Date.now() + clockOffset;
}

/** @param {string | null | undefined} iso @returns {number | null} seconds since then */
export function secondsSince(iso) {
  const at = iso ? Date.parse(iso) : NaN;
  return Number.isNaN(at) ? null : (serverNow() - at) / 1000;
}

/**
 * Take in an event of the stream.
 * @param {string} name
 * @param {any} data
 */
export function take(name, data) {
  if (data.as_of) clockOffset = Date.parse(data.as_of) - Date.now();
  const changed = new Set();
  if (name === "snapshot") pairs.clear();
  now.isKnown ||= name === "snapshot";
  for (const row of data.pairs ?? []) {
    pairs.set(marketOf(row), row);
    changed.add(marketOf(row));
  }
  for (const key of /** @type {const} */ (["alerts", "portfolios", "pipeline", "group", "database"])) {
    if (data[key] !== undefined && data[key] !== null) /** @type {any} */ (now)[key] = data[key];
  }
  notify(changed, name === "snapshot");
}

/** @param {boolean} live */
export function setLive(live) {
  now.live = live;
  notify(new Set(), false);
}

/** @param {Set<string>} changed @param {boolean} startsAnew */
function notify(changed, startsAnew) {
  for (const listener of listeners) listener({ changed, startsAnew });
}
