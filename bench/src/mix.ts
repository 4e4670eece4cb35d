/** What a load's events are like, and what a server has to answer to them. */
export type Encoding = 'identity' | 'gzip' | 'zstd';

export interface Mix {
  /** The share of events, in each request, whose id was acknowledged before. */
  readonly duplicates: number;
  /** The share of events, in each request, that have to be rejected. */
  readonly invalid: number;
  /** Bytes of an event's JSON, about; the smallest has 330. */
  readonly eventBytes: number;
  /** Of the request's body. */
  readonly encoding: Encoding;
}

export const PLAIN_MIX: Mix = { duplicates: 0, invalid: 0, eventBytes: 330, encoding: 'identity' };

/** As the reply to a batch says. */
export interface BatchCounts {
  readonly totalEvents: number;
  readonly successful: number;
  readonly failed: number;
  readonly duplicates: number;
}

export interface Expected {
  readonly status: number;
  /** Absent: the body is not looked at. */
  readonly counts?: BatchCounts;
}

/** How many of a request's events are duplicates, and how many are invalid: the first ones, and the last. */
export function mixCounts(mix: Mix, events: number): { readonly duplicates: number; readonly invalid: number } {
  return { duplicates: Math.round(mix.duplicates * events), invalid: Math.round(mix.invalid * events) };
}

/** What Weir has to answer to a batch. `isFirst`: none of its ids was sent before. */
export function expectedOfBatch(mix: Mix, events: number, isFirst: boolean): Expected {
  const { invalid, duplicates: later } = mixCounts(mix, events);
  const duplicates = isFirst ? 0 : later;
  const counts = { totalEvents: events, successful: events - invalid, failed: invalid, duplicates };
  const isNothingNew = duplicates + invalid === events;
  return { status: invalid > 0 ? 207 : isNothingNew ? 200 : 202, counts };
}

/** The counts in the beginning of a reply's body; NaN for what is not there. */
export function readCounts(body: string): BatchCounts {
  const read = (name: string) => Number(new RegExp(`"${name}":(\\d+)`).exec(body)?.[1] ?? Number.NaN);
  return {
    totalEvents: read('totalEvents'),
    successful: read('successful'),
    failed: read('failed'),
    duplicates: read('duplicates'),
  };
}

/** Undefined when they are the same, else both, in words. */
export function countsProblem(expected: BatchCounts, found: BatchCounts): string | undefined {
  const text = ({ totalEvents, successful, failed, duplicates }: BatchCounts) =>
    `${totalEvents} events, ${successful} successful, ${failed} failed, ${duplicates} duplicates`;
  return text(expected) === text(found)
    ? undefined
    : `a batch was answered "${text(found)}" instead of "${text(expected)}"`;
}
