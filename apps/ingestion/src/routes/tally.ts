/** Adds up the outcomes of a batch and words its reply. Memory is bounded however long the batch is. */
import { ACK_LEVELS, type AckLevel, type Outcome } from '@libs/pipeline';
import { clip, retryAfterSeconds } from './replies.ts';

/** Items listed in `results` (a stream has no count limit; the counts stay exact). */
const RESULTS_MAX = 10_000;
/** Sentences in `errors`; as many as a JSON batch can have. */
const ERRORS_MAX = 1000;

interface ItemResult {
  readonly index: number;
  readonly eventId: string | null;
  readonly status: 'duplicate' | 'rejected' | 'retry';
  readonly code?: string;
  readonly field?: string;
  readonly message?: string;
  readonly retryAfterMs?: number;
}

export interface TallyCounts {
  readonly totalEvents: number;
  readonly successful: number;
  readonly failed: number;
  readonly duplicates: number;
}

export interface Tally {
  /** Takes the next record's outcome, in the order of the input. */
  add(eventId: string | null, outcome: Outcome): void;
  counts(): TallyCounts;
  /** The reply for everything that was added. `atomic`: nothing is stored when anything failed. */
  reply(options: { readonly requestId: string; readonly atomic: boolean }): Response;
}

export function createTally(resultsMax: number = RESULTS_MAX): Tally {
  const results: ItemResult[] = [];
  const errors: string[] = [];
  let total = 0;
  let accepted = 0;
  let duplicates = 0;
  let rejected = 0;
  let retries = 0;
  let retryAfterMs = 0;
  let firstRetry: { code: string; message: string } | undefined;
  let level: AckLevel | undefined;
  let isLocal = false;

  function add(eventId: string | null, outcome: Outcome): void {
    const index = total;
    total += 1;
    if (outcome.kind === 'accepted') {
      accepted += 1;
      level = weaker(level, outcome.level);
      if (outcome.deduplication !== undefined) isLocal = true;
      return;
    }
    if (outcome.kind === 'duplicate') {
      duplicates += 1;
      level = weaker(level, outcome.level);
      if (results.length < resultsMax) results.push({ index, eventId, status: 'duplicate' });
      return;
    }
    if (outcome.kind === 'rejected') rejected += 1;
    else {
      retries += 1;
      retryAfterMs = Math.max(retryAfterMs, outcome.afterMs);
      firstRetry ??= { code: outcome.code, message: outcome.message };
    }
    if (results.length < resultsMax) results.push(failureOf(index, eventId, outcome));
    if (errors.length < ERRORS_MAX) errors.push(sentenceOf(index, outcome));
  }

  function counts(): TallyCounts {
    return { totalEvents: total, successful: accepted + duplicates, failed: rejected + retries, duplicates };
  }

  function reply(options: { requestId: string; atomic: boolean }): Response {
    const status = statusOf({ accepted, duplicates, rejected, retries, atomic: options.atomic });
    const listed = duplicates + rejected + retries;
    const body = {
      batchId: Bun.randomUUIDv7(),
      ...counts(),
      ...(level === undefined ? {} : { durability: level }),
      ...(isLocal ? { deduplication: 'local' } : {}),
      errors,
      results,
      ...(listed > results.length ? { resultsTruncated: true } : {}),
      processedAt: new Date().toISOString(),
      ...(status >= 400 ? { ...failureOfAll(status, options.atomic), requestId: options.requestId } : {}),
    };
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (retries > 0) headers['retry-after'] = retryAfterSeconds(retryAfterMs);
    return new Response(JSON.stringify(body), { status, headers });
  }

  /** What every reply from 400 up says, so that a client can read any failure the same way. */
  function failureOfAll(status: number, atomic: boolean): { error: string; message: string } {
    if (status === 503) return { error: firstRetry?.code ?? 'overloaded', message: firstRetry?.message ?? '' };
    if (!atomic) return { error: 'batch_rejected', message: 'Every event of the batch was rejected: see results.' };
    return {
      error: 'batch_rejected',
      message: 'Nothing was stored: failOnError is set and an event was rejected: see results.',
    };
  }

  return { add, counts, reply };
}

interface StatusInput {
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: number;
  readonly retries: number;
  readonly atomic: boolean;
}

function statusOf({ accepted, duplicates, rejected, retries, atomic }: StatusInput): number {
  if (rejected + retries === 0) return accepted > 0 ? 202 : 200;
  if (atomic) return rejected > 0 ? 422 : 503;
  if (accepted + duplicates > 0) return 207;
  if (rejected > 0 && retries > 0) return 207;
  return rejected > 0 ? 422 : 503;
}

function weaker(a: AckLevel | undefined, b: AckLevel): AckLevel {
  return a !== undefined && ACK_LEVELS.indexOf(a) < ACK_LEVELS.indexOf(b) ? a : b;
}

function failureOf(
  index: number,
  eventId: string | null,
  outcome: Extract<Outcome, { kind: 'rejected' | 'retry' }>,
): ItemResult {
  const { code } = outcome;
  const message = clip(outcome.message);
  if (outcome.kind === 'retry') {
    return { index, eventId, status: 'retry', code, message, retryAfterMs: outcome.afterMs };
  }
  return { index, eventId, status: 'rejected', code, field: clip(outcome.field), message };
}

function sentenceOf(index: number, outcome: Extract<Outcome, { kind: 'rejected' | 'retry' }>): string {
  const place = outcome.kind === 'rejected' && outcome.field !== '' ? `, ${clip(outcome.field)}` : '';
  return `Event ${index}${place}: ${clip(outcome.message)} (${outcome.code})`;
}
