/** Timestamps of other systems, turned into ISO 8601 in UTC. Strict: what does not fit the pattern is refused. */

export type TimeParser = (text: string) => string | undefined;

export type TimeFormat =
  | { readonly ok: true; readonly parse: TimeParser }
  /** What is wrong with the pattern. */
  | { readonly ok: false; readonly problem: string };

/** Named formats; everything else is a pattern. */
export const TIME_FORMATS = ['iso', 'unix_s', 'unix_ms'] as const;

/** Patterns are bounded so that the expression built from one is too. */
const PATTERN_CHARACTERS_MAX = 64;

/** `YYYY`, `MM` and so on; the digits behind `.` are `S` each; `Z` is an offset such as `+02:00` or `Z`. */
const FIELDS: Readonly<Record<string, string>> = {
  YYYY: '(?<year>\\d{4})',
  MM: '(?<month>\\d{2})',
  DD: '(?<day>\\d{2})',
  HH: '(?<hour>\\d{2})',
  mm: '(?<minute>\\d{2})',
  ss: '(?<second>\\d{2})',
  Z: '(?<zone>Z|[+-]\\d{2}:?\\d{2})',
};
const TOKEN = /'[^']*'|YYYY|MM|DD|HH|mm|ss|S{1,9}|UTC|GMT|T|[A-Za-z']+|[^A-Za-z']+/g;
const ZONE = /^(?:UTC|Z|([+-])(\d{2}):?(\d{2}))$/;

/**
 * `iso` passes the text on as it is (the service checks it); `unix_s` and `unix_ms` count from 1970; a pattern is
 * made of YYYY MM DD HH mm ss S… Z, of other signs, of UTC or GMT, `T`, and of 'text in single quotes'. A pattern
 * without a zone needs `zone` (`UTC` or an offset).
 */
export function createTimeFormat(format: string, zone: string | undefined): TimeFormat {
  if (format === 'iso') return zone === undefined ? { ok: true, parse: (text) => text } : refuseZone(format);
  if (format === 'unix_s') return zone === undefined ? { ok: true, parse: parseUnixSeconds } : refuseZone(format);
  if (format === 'unix_ms') return zone === undefined ? { ok: true, parse: parseUnixMilliseconds } : refuseZone(format);
  return createPatternFormat(format, zone);
}

function refuseZone(format: string): TimeFormat {
  return { ok: false, problem: `"zone" is for patterns; ${format} knows its own` };
}

function createPatternFormat(pattern: string, zone: string | undefined): TimeFormat {
  if (pattern.length > PATTERN_CHARACTERS_MAX) {
    return { ok: false, problem: `a pattern has at most ${PATTERN_CHARACTERS_MAX} characters` };
  }
  const compiled = compilePattern(pattern);
  if ('problem' in compiled) return { ok: false, problem: compiled.problem };
  const named = compiled.names.has('zone') || compiled.fixedUtc;
  if (zone !== undefined && named)
    return { ok: false, problem: 'the pattern names the zone already: leave "zone" out' };
  if (zone === undefined && !named) {
    return { ok: false, problem: 'the pattern has no zone: end it with UTC or Z, or add "zone": "UTC"' };
  }
  const fixedMinutes = zone === undefined ? 0 : offsetMinutes(zone);
  if (fixedMinutes === undefined)
    return { ok: false, problem: `"zone" is UTC or an offset such as +02:00, not "${zone}"` };
  return { ok: true, parse: (text) => parseByPattern(compiled.expression, fixedMinutes, text) };
}

interface CompiledPattern {
  readonly expression: RegExp;
  readonly names: ReadonlySet<string>;
  readonly fixedUtc: boolean;
}

function compilePattern(pattern: string): CompiledPattern | { readonly problem: string } {
  let source = '';
  let fixedUtc = false;
  const names = new Set<string>();
  for (const [token] of pattern.matchAll(TOKEN)) {
    const field = /^S+$/.test(token) ? `(?<fraction>\\d{${token.length}})` : FIELDS[token];
    if (field !== undefined) {
      const name = field.slice(3, field.indexOf('>'));
      if (names.has(name)) return { problem: `the pattern has the ${name} twice` };
      names.add(name);
      source += field;
      continue;
    }
    if (token === 'UTC' || token === 'GMT') fixedUtc = true;
    else if (token.length > 1 && token.startsWith("'") && token.endsWith("'")) {
      source += RegExp.escape(token.slice(1, -1));
      continue;
    } else if (token !== 'T' && /[A-Za-z']/.test(token)) {
      return {
        problem: `"${token}" is no part of a pattern: use iso, unix_s, unix_ms, or YYYY MM DD HH mm ss SSS Z UTC and 'text'`,
      };
    }
    source += RegExp.escape(token);
  }
  for (const name of ['year', 'month', 'day']) {
    if (!names.has(name)) return { problem: `the pattern has no ${name}: it needs YYYY, MM and DD` };
  }
  return { expression: new RegExp(`^${source}$`), names, fixedUtc };
}

function parseByPattern(expression: RegExp, fixedMinutes: number, text: string): string | undefined {
  const groups = expression.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const zoneMinutes = groups['zone'] === undefined ? fixedMinutes : offsetMinutes(groups['zone']);
  if (zoneMinutes === undefined) return undefined;
  const part = (name: string) => Number(groups[name] ?? '0');
  const [year, month, day, hour, minute, second] = ['year', 'month', 'day', 'hour', 'minute', 'second'].map(part);
  const local = utcMs(year ?? 0, month ?? 0, day ?? 0, hour ?? 0, minute ?? 0, second ?? 0);
  if (local === undefined) return undefined;
  // Offsets are whole minutes, so the fraction of the second, however fine, is passed on as it stands.
  const fraction = (groups['fraction'] ?? '').padEnd(3, '0');
  const iso = isoOf(local - zoneMinutes * 60_000);
  return iso?.replace(/\.\d{3}Z$/, `.${fraction}Z`);
}

/** Milliseconds since 1970, or undefined for a date that no calendar has (30 February, 24:00, a leap second). */
function utcMs(year: number, month: number, day: number, hour: number, minute: number, second: number) {
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCFullYear() !== year || date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  date.setUTCHours(hour, minute, second);
  return date.getTime();
}

function offsetMinutes(zone: string): number | undefined {
  const match = ZONE.exec(zone);
  if (match === null) return undefined;
  const [, sign, hours, minutes] = match;
  if (sign === undefined) return 0;
  if (Number(hours) > 23 || Number(minutes) > 59) return undefined;
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

function parseUnixMilliseconds(text: string): string | undefined {
  return /^-?\d{1,16}$/.test(text) ? isoOf(Number(text)) : undefined;
}

function parseUnixSeconds(text: string): string | undefined {
  return /^-?\d{1,13}(\.\d{1,9})?$/.test(text) ? isoOf(Math.round(Number(text) * 1000)) : undefined;
}

function isoOf(ms: number): string | undefined {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
