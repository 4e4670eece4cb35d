/** JSON whose numbers must not change on the way. */
import { RowError } from './row.ts';

/** A number that a double cannot hold (overflow, or an integer beyond ±(2^53−1) and below 10^21), as it was written. */
export class InexactNumber {
  readonly source: string;
  constructor(source: string) {
    this.source = source;
  }
  toJSON(): never {
    throw new RowError('number_out_of_range', '', `the number ${this.source} cannot be kept exactly: map it as text`);
  }
}

/** False for what the service refuses as `number_out_of_range`. */
export function isExact(value: number): boolean {
  if (!Number.isFinite(value)) return false;
  return !Number.isInteger(value) || Number.isSafeInteger(value) || Math.abs(value) >= 1e21;
}

// Only a number of 16 digits or with an exponent can be inexact; a reviver for every row would cost its parse again.
const MAY_BE_INEXACT = /\d{16}|\d[eE]/;

/** Like JSON.parse, with `InexactNumber` in the place of every number that would change. */
export function parseExactly(text: string): unknown {
  if (!MAY_BE_INEXACT.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_key, value: unknown, context?: { readonly source?: string }) => {
    if (typeof value !== 'number' || context?.source === undefined) return value;
    return isExact(value) ? value : new InexactNumber(context.source);
  });
}
