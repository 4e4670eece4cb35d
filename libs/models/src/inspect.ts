/** One bounded walk over `data` or `metadata`: depth, keys, numbers, forbidden keys, and a first look at the strings. */
import type { Problem, VerdictCode } from './codes.ts';
import { fieldPath } from './field-path.ts';
import type { EventLimits } from './limits.ts';
import { isScriptUrl } from './script-url.ts';

/** A problem while its path is still being collected, innermost segment first. */
interface Fault {
  readonly code: VerdictCode;
  readonly message: string;
  readonly path: (string | number)[];
}

export type Inspector = (container: object, name: string) => Problem | 'clean' | 'dubious';

/** From here on a double prints with an exponent, so nobody takes it for an exact integer. */
const EXACT_LOOKING_MAX = 1e21;

/** The keys through which objects reach their prototypes. */
export const FORBIDDEN_KEYS = ['__proto__', 'constructor', 'prototype'] as const;

/** True for one of `FORBIDDEN_KEYS`; written out because it is asked for every key. */
export function isForbiddenKey(key: string): boolean {
  return key === '__proto__' || key === 'constructor' || key === 'prototype';
}

/**
 * Returns a walk over values as JSON.parse makes them. It answers with the first problem, or `dubious` when a string
 * is a script URL, or `clean`. It never recurses deeper than `dataDepthMax` and gives up as soon as the
 * keys and strings alone exceed `eventBytesMax`, so hostile input costs no more than honest input of that size.
 */
export function createInspector(limits: EventLimits): Inspector {
  const { dataDepthMax, dataKeysMax, eventBytesMax } = limits;
  let keys = 0;
  let bytes = 0;
  let dubious = false;

  function inspectValue(value: unknown, depth: number): Fault | undefined {
    if (typeof value === 'string') {
      bytes += value.length;
      if (isScriptUrl(value)) dubious = true;
      return bytes > eventBytesMax ? tooLarge() : undefined;
    }
    if (typeof value === 'number') return isExactNumber(value) ? undefined : outOfRange(value);
    if (typeof value === 'boolean' || value === null) return undefined;
    if (typeof value !== 'object') return fault('invalid_type', `A ${typeof value} is no JSON value.`);
    if (depth >= dataDepthMax) return fault('too_deep', `Nesting may be at most ${dataDepthMax} levels deep.`);
    return Array.isArray(value) ? inspectArray(value, depth + 1) : inspectObject(value, depth + 1);
  }

  function inspectArray(items: readonly unknown[], depth: number): Fault | undefined {
    // Two bytes an item: the shortest is one digit and a comma.
    bytes += items.length * 2;
    if (bytes > eventBytesMax) return tooLarge();
    for (let index = 0; index < items.length; index += 1) {
      const found = inspectValue(items[index], depth);
      if (found !== undefined) return below(found, index);
    }
    return undefined;
  }

  function inspectObject(object: object, depth: number): Fault | undefined {
    for (const key in object) {
      keys += 1;
      bytes += key.length;
      if (keys > dataKeysMax)
        return fault('too_many_keys', `There may be at most ${dataKeysMax} keys, counted at every depth.`);
      if (bytes > eventBytesMax) return tooLarge();
      if (isForbiddenKey(key)) return below(forbiddenKey(), key);
      const found = inspectValue((object as Record<string, unknown>)[key], depth);
      if (found !== undefined) return below(found, key);
    }
    return undefined;
  }

  function tooLarge(): Fault {
    return fault('event_too_large', `An event may take at most ${eventBytesMax} bytes.`);
  }

  return (container, name) => {
    keys = 0;
    bytes = 0;
    dubious = false;
    const found = inspectObject(container, 1);
    if (found === undefined) return dubious ? 'dubious' : 'clean';
    // The size is a matter of the whole event, and so is the number of keys of the whole container.
    if (found.code === 'event_too_large') return { code: found.code, field: '', message: found.message };
    const path = found.code === 'too_many_keys' ? [name] : [name, ...found.path.toReversed()];
    return { code: found.code, field: fieldPath(path), message: found.message };
  };
}

export const FORBIDDEN_KEY_MESSAGE = 'The keys __proto__, constructor and prototype are not allowed.';

function forbiddenKey(): Fault {
  return fault('forbidden_key', FORBIDDEN_KEY_MESSAGE);
}

function fault(code: VerdictCode, message: string): Fault {
  return { code, message, path: [] };
}

function below(found: Fault, segment: string | number): Fault {
  found.path.push(segment);
  return found;
}

function isExactNumber(value: number): boolean {
  const size = Math.abs(value);
  // All integers and fractions up to 2^53−1 are what was sent, as far as a double goes; beyond, doubles are integers.
  return size <= Number.MAX_SAFE_INTEGER || (size >= EXACT_LOOKING_MAX && size !== Number.POSITIVE_INFINITY);
}

function outOfRange(value: number): Fault {
  const message = Number.isFinite(value)
    ? 'Integers beyond ±9007199254740991 would lose digits: send it as a string.'
    : 'The number is too large for a double: send it as a string.';
  return fault('number_out_of_range', message);
}
