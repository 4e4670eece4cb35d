import { expect, test } from 'bun:test';
import { Overloaded, Permanent, Retryable } from './errors.ts';
import { backoffMs, OVERLOAD_WAIT_MAX_MS, type RetryOptions, retry, sleep } from './retry.ts';

/** Waits are written down instead of waited. */
function recording(options: Partial<RetryOptions> = {}): RetryOptions & { readonly waits: number[] } {
  const waits: number[] = [];
  return {
    minMs: 100,
    maxMs: 1_000,
    signal: new AbortController().signal,
    random: () => 0,
    async sleep(ms, signal) {
      signal.throwIfAborted();
      waits.push(ms);
    },
    ...options,
    waits,
  };
}

/** Fails with each error in turn, then succeeds. */
function failing(...errors: unknown[]): (failures: number) => Promise<number> {
  return async (failures) => {
    if (failures < errors.length) throw errors[failures];
    return failures;
  };
}

const down = new Retryable('down', 'down');

test('waits double from the least to the most, half of each is random', () => {
  const limits = { minMs: 100, maxMs: 1_000 };
  const least = [1, 2, 3, 4, 5, 100, 1e9].map((failures) => backoffMs(failures, limits, () => 0));
  const most = [1, 2, 3, 4, 5, 100, 1e9].map((failures) => backoffMs(failures, limits, () => 1));
  expect(least).toEqual([50, 100, 200, 400, 500, 500, 500]);
  expect(most).toEqual([100, 200, 400, 800, 1_000, 1_000, 1_000]);
  expect(backoffMs(3, limits, () => 0.5)).toBe(300);
});

test('everything but Permanent is tried again until it succeeds, and each failure is told before its wait', async () => {
  const told: unknown[] = [];
  const options = recording({ onRetry: (error, failures, waitMs) => told.push([error, failures, waitMs]) });
  const odd = new TypeError('odd');
  expect(await retry(failing(down, odd, 'no error at all'), options)).toBe(3);
  expect(told).toEqual([
    [down, 1, 50],
    [odd, 2, 100],
    ['no error at all', 3, 200],
  ]);
  expect(options.waits).toEqual([50, 100, 200]);
});

test('a failure that comes with progress begins the waits anew', async () => {
  const some = new Retryable('rows_left', 'some are left');
  const options = recording({ isProgress: (error) => error === some });
  expect(await retry(attempts(down, down, some, down), options)).toBe(4);
  expect(options.waits).toEqual([50, 100, 50, 100]);
});

/** Like `failing`, but counts its calls itself. */
function attempts(...errors: unknown[]): () => Promise<number> {
  let calls = 0;
  return async () => {
    if (calls < errors.length) throw errors[calls++];
    return calls;
  };
}

test('Permanent, and what the caller calls final, ends the trying at once', async () => {
  const refused = new Permanent('refused', 'refused');
  const options = recording();
  expect(await retry(failing(down, refused), options).catch((error) => error)).toBe(refused);
  expect(options.waits).toEqual([50]);
  const odd = new TypeError('odd');
  const strict = recording({ isFinal: (error) => error === odd });
  expect(await retry(failing(down, odd), strict).catch((error) => error)).toBe(odd);
});

test('Overloaded is waited for as long as it asks, within bounds, and never shorter than the backoff', async () => {
  const options = recording();
  const asks = [3_000, 1, Number.POSITIVE_INFINITY, Number.NaN, -5].map((ms) => new Overloaded('busy', 'busy', ms));
  expect(await retry(failing(...asks), options)).toBe(5);
  expect(options.waits).toEqual([3_000, 100, OVERLOAD_WAIT_MAX_MS, 400, 500]);
});

test('aborting ends the wait with the reason, but not an attempt that is under way', async () => {
  const ending = new AbortController();
  const reason = new Error('enough');
  const options = recording({ signal: ending.signal, sleep, minMs: 3_600_000, maxMs: 3_600_000 });
  const waiting = retry(failing(down), options).catch((error) => error);
  ending.abort(reason);
  expect(await waiting).toBe(reason);
  expect(await retry(async () => 'done', options)).toBe('done');
  expect(await retry(failing(down), options).catch((error) => error)).toBe(reason);
});

test('the real sleep ends by time or by its signal', async () => {
  await sleep(1, new AbortController().signal);
  const reason = new Error('enough');
  expect(await sleep(3_600_000, AbortSignal.abort(reason)).catch((error) => error)).toBe(reason);
  const ending = new AbortController();
  const sleeping = sleep(3_600_000, ending.signal).catch((error) => error);
  ending.abort(reason);
  expect(await sleeping).toBe(reason);
});
