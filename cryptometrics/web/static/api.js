/** Requests to the server's JSON API. An error has the sentence that the server gave. */

const NO_CONTENT = 204; // such an answer may still name a type
const TOKEN = 'meta[name="cryptometrics-token"]';

/**
 * @param {string} path such as "/api/quotes"
 * @param {Record<string, string | number>} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function get(path, parameters = {}, signal) {
  const query = new URLSearchParams(Object.entries(parameters).map(([key, value]) => [key, String(value)]));
  return request(query.size ? `${path}?${query}` : path, { signal });
}

/**
 * Send a change. Each start of the server has a new token, so it is read anew: a page may be open for days.
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
export async function post(path, body) {
  const page = new DOMParser().parseFromString(await request("/", { cache: "no-store" }), "text/html");
  const token = page.querySelector(TOKEN)?.getAttribute("content") ?? "";
  const headers = { "Content-Type": "application/json", "X-Cryptometrics-Token": token };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/**
 * Return the points of a series as objects with the names of its columns.
 * @param {{columns: string[], points: any[][]}} series
 * @returns {Record<string, any>[]}
 */
export function toRows({ columns, points }) {
  return points.map((point) => Object.fromEntries(columns.map((name, i) => [name, point[i]])));
}

/** @param {string} address @param {RequestInit} options */
async function request(address, options) {
  const response = await fetch(address, options).catch((error) => {
    throw options.signal?.aborted ? error : new Error("The server does not answer.");
  });
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "") && response.status !== NO_CONTENT;
  const content = await (isJson ? response.json() : response.text());
  if (response.ok) return content;
  const detail = content.detail ?? content.title;
  throw new Error(typeof detail === "string" ? detail : `The server answers ${response.status}.`);
}
