/** The newest state of the market as the stream has it, and who wants to hear of changes. */

/**
 * A row of /api/pairs. Prices and sizes are exact text; what cannot be known is null.
 * @typedef {Record<string, any>} PairRow
 * @typedef {{changed: Set<string>, parts: object, startsAnew: boolean}} Change markets and other parts that changed
 */

/** @type {Map<string, PairRow>} rows by market: "coinbase BTC-USD" */
export const pairs = new Map();
/** The rest of the newest snapshot. */
export const now = {
  /** @type {any[]} */ alerts: [],
  /** @type {any[]} */ portfolios: [],
  /** @type {any} */ pipeline: null,
  group: "",
  /** "ok", or since when the server has no database. */
  database: "ok",
  /** Whether a snapshot has arrived. */
  isKnown: false,
};
/** @type {Set<(change: Change) => void>} */
const listeners = new Set();
let clockOffset = 0;

/** @param {PairRow} row */
const marketOf = (row) => `${row.venue} ${row.pair}`;

/**
 * Call a function after each event of the stream, until the page is left.
 * @param {(change: Change) => void} listener
 * @param {AbortSignal} [left]
 */
export function onChange(listener, left) {
  listeners.add(listener);
  left?.addEventListener("abort", () => listeners.delete(listener));
}

/** @returns {number} milliseconds since 1970 by the database's clock: ages must not depend on this computer's */
export const serverNow = () => Date.now() + clockOffset;

/** @param {string | null | undefined} iso @returns {number | null} seconds since then */
export const secondsSince = (iso) => (iso ? (serverNow() - Date.parse(iso)) / 1000 : null);

/** Take in an event of the stream. @param {string} name @param {any} data */
export function take(name, data) {
  const { as_of: asOf, pairs: rows = [], ...parts } = data;
  const startsAnew = name === "snapshot";
  if (asOf) clockOffset = Date.parse(asOf) - Date.now();
  if (startsAnew) pairs.clear();
  for (const row of rows) pairs.set(marketOf(row), row);
  Object.assign(now, parts, { isKnown: now.isKnown || startsAnew });
  const changed = new Set(rows.map(marketOf));
  for (const listener of listeners) listener({ changed, parts, startsAnew });
}
