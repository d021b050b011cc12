/** Requests to the server's JSON API. An error is an `ApiError` with the sentence that the server gave. */

const NO_CONTENT = 204; // such an answer may still name a type

class ApiError extends Error {
  /** @param {string} message @param {number} status 0: the server was not reached */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} path such as "/api/quotes"
 * @param {Record<string, string | number | null | undefined>} [parameters] those without a value are left out
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function get(path, parameters = {}, signal) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return request(query ? `${path}?${query}` : path, { signal });
}

/**
 * Send a change. The token is of one start of the server: after a restart the page fetches the new one.
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
export async function post(path, body) {
  const send = (/** @type {string} */ token) =>
    request(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Cryptometrics-Token": token },
      body: JSON.stringify(body),
    });
  try {
    return await send(tokenOf(document));
  } catch (error) {
    if (!(error instanceof ApiError && (error.status === 401 || error.status === 403))) throw error;
    const text = await (await fetch("/", { cache: "no-store" })).text();
    const token = tokenOf(new DOMParser().parseFromString(text, "text/html"));
    if (token === tokenOf(document)) throw error;
    document.querySelector(TOKEN)?.setAttribute("content", token);
    return send(token);
  }
}

const TOKEN = 'meta[name="cryptometrics-token"]';

/** @param {Document} page */
const tokenOf = (page) => page.querySelector(TOKEN)?.getAttribute("content") ?? "";

/** @param {string} address @param {RequestInit} options */
async function request(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("The server does not answer.", 0);
  }
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
  const content = isJson && response.status !== NO_CONTENT ? await response.json() : null;
  if (!response.ok) {
    const detail = content?.detail ?? content?.title;
    throw new ApiError(typeof detail === "string" ? detail : `The server answers ${response.status}.`, response.status);
  }
  return content;
}
