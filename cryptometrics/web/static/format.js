/** Format numbers and times for people. Prices, sizes and money stay the text that the server sent. */

/** What stands where a figure cannot be known. */
export const UNKNOWN = "–";

/**
 * Return an exact decimal with thousands separators and all its digits.
 * @param {string | null | undefined} text
 */
export function decimal(text) {
  if (text === null || text === undefined) return UNKNOWN;
  const [, sign, whole, rest] = /^(-?)(\d+)(.*)$/.exec(text) ?? [];
  if (whole === undefined) return text;
  return (sign && MINUS) + whole.replace(/\B(?=(\d{3})+$)/g, ",") + rest;
}

/**
 * Return money of a statistic or a valuation, rounded half up to the cent, without going through a float.
 * @param {string | null | undefined} text
 */
export function money(text) {
  if (text === null || text === undefined) return UNKNOWN;
  const [, sign, whole, rest = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (whole === undefined) return text;
  const cents = BigInt(whole + (rest + "00").slice(0, 2)) + (rest.charAt(2) >= "5" ? 1n : 0n);
  const digits = cents.toString().padStart(3, "0");
  return decimal((cents ? sign : "") + digits.slice(0, -2) + "." + digits.slice(-2));
}

/**
 * Return a number with a fixed count of digits after the point.
 * @param {number | null | undefined} value
 * @param {number} places
 */
export function fixed(value, places) {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  return decimal(value.toFixed(places));
}

/**
 * Return a fraction in per cent: 0.0123 is 1.23 %.
 * @param {number | null | undefined} fraction
 */
export function percent(fraction, places = 2) {
  if (fraction === null || fraction === undefined) return UNKNOWN;
  return `${fixed(100 * fraction, places)} %`;
}

/** @param {number | null | undefined} count */
export function integer(count) {
  return count === null || count === undefined ? UNKNOWN : decimal(String(Math.round(count)));
}

/**
 * Return an age as people read it: the two largest units at most.
 * @param {number | null | undefined} seconds
 */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/**
 * Return a moment as date and time in UTC, to the second.
 * @param {string | null | undefined} iso
 */
export function moment(iso) {
  if (!iso) return UNKNOWN;
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? iso : at.toISOString().slice(0, 19).replace("T", " ");
}

/** @param {number} ms @returns {string} time of the day in UTC, with milliseconds where there are any */
export function clock(ms) {
  const text = new Date(ms).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, text.endsWith(".000Z") ? 19 : 23)} UTC`;
}

/**
 * Compare two exact decimals without rounding them.
 * @param {string | null | undefined} a
 * @param {string | null | undefined} b
 */
export function compareDecimals(a, b) {
  const [left, right] = [scaled(a ?? "0"), scaled(b ?? "0")];
  return left < right ? -1 : left > right ? 1 : 0;
}

/**
 * Return text from outside with its control and direction characters written out, as Python writes them.
 * @param {string | null | undefined} text
 */
export function visible(text) {
  return (text ?? "").replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const MINUS = "−";
const PLACES = 18; // the most digits after the point that a price may have

/** @param {string} text @returns {bigint} */
function scaled(text) {
  const [whole, rest = ""] = text.replace(/^-/, "").split(".");
  const size = BigInt(whole + rest.padEnd(PLACES, "0").slice(0, PLACES));
  return text.startsWith("-") ? -size : size;
}
