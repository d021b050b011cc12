/** Format numbers and times for people. Prices, sizes and money stay the text that the server sent. */

/** @typedef {string | null | undefined} Text null is what cannot be known */
/** @typedef {number | null | undefined} Figure */

export const UNKNOWN = "–";
const MINUS = "−";
const THOUSANDS = /(?<!\.\d*)\B(?=(\d{3})+(?!\d))/g; // the places of separators, left of the point
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const UNITS = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const CENTS = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "negative" });

/** Return an exact decimal with thousands separators and all its digits. @param {Text | number} value */
export function decimal(value) {
  return value === null || value === undefined ? UNKNOWN : String(value).replace("-", MINUS).replace(THOUSANDS, ",");
}

/** Return money rounded half up to the cent: a text is read exactly, not as a float. @param {Text} text */
export function money(text) {
  return text === null || text === undefined ? UNKNOWN : CENTS.format(/** @type {any} */ (text)).replace("-", MINUS);
}

/** Return a number with so many digits after the point. @param {Figure} value @param {number} places */
export function fixed(value, places) {
  return Number.isFinite(value) ? decimal(/** @type {number} */ (value).toFixed(places)) : UNKNOWN;
}

/** Return a fraction in per cent: 0.0123 is 1.23 %. @param {Figure} fraction */
export function percent(fraction, places = 2) {
  return Number.isFinite(fraction) ? `${fixed(100 * /** @type {number} */ (fraction), places)} %` : UNKNOWN;
}

/** @param {Figure} count */
export const integer = (count) => fixed(count, 0);

/** Return an age as people read it: the two largest units at most. @param {Figure} seconds */
export function age(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Return a moment as date and time in UTC, to the second. @param {Text} iso */
export const moment = (iso) => (iso ? new Date(iso).toISOString().slice(0, 19).replace("T", " ") : UNKNOWN);

/** Return a moment in UTC, with milliseconds where there are any. @param {number} ms since 1970 */
export const clock = (ms) => `${new Date(ms).toISOString().replace("T", " ").replace(/(\.000)?Z/, "")} UTC`;

/** Return how many milliseconds a text such as "15m" names. @param {string} text */
export const duration = (text) => parseInt(text) * UNITS[/** @type {"m"} */ (text.at(-1))];

/** Return text from outside with its control and direction characters as Python writes them. @param {any} text */
export function visible(text) {
  return String(text ?? "").replace(UNPRINTABLE, (character) => {
    const digits = character.charCodeAt(0).toString(16);
    return digits.length < 3 ? `\\x${digits.padStart(2, "0")}` : `\\u${digits.padStart(4, "0")}`;
  });
}

/** @type {Record<string, (value: any) => string>} the formats that templates name */
const FORMATS = {
  ...{ text: visible, figure: visible, decimal, money, integer, age, moment },
  ...{ tenths: (value) => fixed(value, 1), hundredths: (value) => fixed(value, 2) },
  ...{ percent0: (value) => percent(value, 0), percent1: (value) => percent(value, 1), percent2: percent },
};
/** A place in a template: "{decimal bid}", or "{rule}" for text. */
export const PLACE = /\{(?:(\w+) )?(\w+)\}/;
const PLACES = new RegExp(PLACE, "g");

/** Fill in the places of a template. @param {string} template @param {Record<string, any>} values */
export function render(template, values) {
  return template.replace(PLACES, (_, format = "text", key) => FORMATS[format](values[key]));
}
