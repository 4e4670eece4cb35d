/**
 * 3. Errors, one class per remedy.
 *
 * A sink does not decide what to do about an error. It says what kind of error it is, by code and never by text, and
 * the runner in front of it acts:
 *
 * | thrown                  | was anything stored?     | what the runner does                            |
 * | `Retryable`             | no                       | sends the same block again after a backoff      |
 * | `Retryable` (ambiguous) | perhaps                  | the same, and tells the sink of the doubt       |
 * | `Overloaded`            | no                       | the same, but no sooner than it was asked to    |
 * | `Permanent` (`rows`)    | no                       | halves the block until the row at fault is alone|
 * | `Permanent` (`sink`)    | no                       | stops that sink loudly; a person has to look    |
 * | anything else           | perhaps                  | as if it were ambiguous                         |
 *
 * What became of single rows a sink does not throw but returns. A row that it refuses for good becomes a dead letter
 * (its bytes, the reason, the position), and counts as done only once that letter is on disk; the others are written
 * again, alone. A dead letter waits until somebody replays or deletes it.
 *
 * `retry` is the part of the runner that waits.
 */
import { expect, test } from 'bun:test';
import { Overloaded, Permanent, Retryable, retry } from '../src/index.ts';

/** A stretch of time that passes at once: what would have been waited is added up. */
function fastTime() {
  const time = { waitedMs: 0 };
  const options = {
    minMs: 100,
    maxMs: 10_000,
    signal: new AbortController().signal,
    random: () => 0.5,
    sleep: async (ms: number) => {
      time.waitedMs += ms;
    },
  };
  return { time, options };
}

test('what may pass is tried again, each time a little later', async () => {
  const { time, options } = fastTime();
  const answers = [new Retryable('connection_refused', 'nobody listens'), new Overloaded('busy', 'busy', 2_000)];
  const result = await retry(async (failures) => {
    const error = answers[failures];
    if (error !== undefined) throw error;
    return `stored after ${failures} failures`;
  }, options);
  expect(result).toBe('stored after 2 failures');
  expect(time.waitedMs).toBe(75 + 2_000);
});

test('what can never succeed is not tried again', async () => {
  const { time, options } = fastTime();
  const gone = new Permanent('no_such_table', 'the table is gone');
  const attempt = async (): Promise<never> => {
    throw gone;
  };
  expect(await retry(attempt, options).catch((error) => error)).toBe(gone);
  expect(time.waitedMs).toBe(0);
});

test('an error about rows says so; any other stops the sink instead of emptying the journal into dead letters', () => {
  expect(new Permanent('cannot_parse', 'a row is refused', { scope: 'rows' }).scope).toBe('rows');
  expect(new Permanent('schema_too_new', 'made by a later version').scope).toBe('sink');
});

test('a sink that takes some rows at a time is not made to wait longer and longer', async () => {
  const { time, options } = fastTime();
  let left = 5;
  const some = new Retryable('rows_left', 'some are left');
  await retry(
    async () => {
      if (--left > 0) throw some;
    },
    { ...options, isProgress: (error) => error === some },
  );
  expect(time.waitedMs).toBe(4 * 75);
});

test('only an error that says so proves that nothing was stored', () => {
  const lost = new Retryable('connection_lost', 'no answer came', { ambiguous: true, cause: new Error('ECONNRESET') });
  expect(lost.ambiguous).toBe(true);
  expect(lost.cause).toEqual(new Error('ECONNRESET'));
  expect(new Retryable('connection_refused', 'it was never sent').ambiguous).toBe(false);
});
