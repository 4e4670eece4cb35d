/**
 * Event time. The text that was sent is what is stored, so it must mean one instant to every parser: a full ISO 8601
 * date and time with seconds, `T`, and `Z` or an offset of hours and minutes.
 */

const DATE =
  '(?:(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29' +
  '|\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8])))';
const TIME = '(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?';
const OFFSET = '(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)';

/** Only real dates and times: no 30 February, no 24:00, no leap second. */
export const TIMESTAMP_PATTERN: RegExp = new RegExp(`^${DATE}T${TIME}${OFFSET}$`);

/** 1970-01-01T00:00:00Z: earlier dates are clamped to it by ClickHouse's Date. */
export const TIMESTAMP_MIN_MS = 0;
/** The first millisecond of 2200 in UTC, not included. */
export const TIMESTAMP_END_MS = 7_258_118_400_000;

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/**
 * Milliseconds since 1970 of a text that matches `TIMESTAMP_PATTERN`, finer digits cut off. Reads the digits where the
 * pattern puts them: 25 ns, where Date.parse takes 170.
 */
export function timestampMs(text: string): number {
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2);
  const days = daysSinceEpoch(year, twoDigits(text, 5), twoDigits(text, 8));
  const minutes = twoDigits(text, 11) * 60 + twoDigits(text, 14);
  const local = days * DAY_MS + minutes * MINUTE_MS + twoDigits(text, 17) * 1_000 + fractionMs(text);
  const end = text.length;
  if (text.charCodeAt(end - 1) === 0x5a /* Z */) return local;
  const offset = (twoDigits(text, end - 5) * 60 + twoDigits(text, end - 2)) * MINUTE_MS;
  return text.charCodeAt(end - 6) === 0x2d /* - */ ? local + offset : local - offset;
}

function twoDigits(text: string, at: number): number {
  return text.charCodeAt(at) * 10 + text.charCodeAt(at + 1) - 528;
}

function fractionMs(text: string): number {
  if (text.charCodeAt(19) !== 0x2e /* . */) return 0;
  let ms = 0;
  let scale = 100;
  for (let at = 20; at < 23; at += 1) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) break;
    ms += digit * scale;
    scale /= 10;
  }
  return ms;
}

/** Days from 1970-01-01 in the proleptic Gregorian calendar; years are counted from March so that leap days come last. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month > 2 ? year : year - 1;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}
