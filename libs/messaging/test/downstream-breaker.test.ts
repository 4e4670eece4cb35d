import { describe, expect, test } from 'bun:test';
import { Overloaded } from '@libs/pipeline';
import { blockOf, createClock, repeated, sinkOf, startService, until, writeOnce } from './downstream-fixture.ts';

const breaker = { failures: 3, openMs: 1_000, openMsMax: 4_000 };

/** `random: () => 1` makes every wait as long as its bound. */
function fixture(url: string, settings: object = {}) {
  const clock = createClock();
  const made = sinkOf(url, { breaker, concurrency: 1, ...settings }, { nowMs: clock.nowMs, random: () => 1 });
  return { clock, ...made };
}

describe('the circuit breaker', () => {
  test('opens after failures in a row, says for how long, tries one, and closes', async () => {
    await using service = await startService(() => ({ status: 503 }));
    const { sink, clock, log } = fixture(service.url);
    const block = blockOf(repeated(10));
    const failures = await writeOnce(sink, block);
    expect(failures.map(({ code }) => code)).toEqual([
      ...repeated(3).map(() => 'http_503'),
      ...repeated(7).map(() => 'breaker_open'),
    ]);
    expect(service.requests).toHaveLength(3);
    expect(sink.health()).toEqual({
      state: 'unhealthy',
      lastError: 'circuit breaker open, next trial in 1000 ms; http_503: it answered 503',
    });
    const error = await writeOnce(sink, block).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Overloaded);
    expect(error).toMatchObject({ code: 'breaker_open', afterMs: 1_000 });
    expect(service.requests).toHaveLength(3);

    clock.advance(1_000);
    service.behave(() => ({ status: 200 }));
    expect(await writeOnce(sink, block)).toEqual([]);
    expect(sink.health().state).toBe('healthy');
    expect(service.taken).toHaveLength(10);
    expect(log.map(({ level, message }) => [level, message.split(': ')[1]])).toEqual([
      ['warn', 'the circuit breaker is open'],
      ['info', 'the circuit breaker is closed'],
    ]);
    expect(log[0]?.fields).toEqual({ sink: 'http:analytics', openMs: 1_000, lastError: 'http_503: it answered 503' });
  });

  test('one trial at a time; each one that fails keeps it open for longer, up to the bound', async () => {
    await using service = await startService(() => 'reset');
    const { sink, clock } = fixture(service.url, { concurrency: 8 });
    const block = blockOf(repeated(30));
    await writeOnce(sink, block);
    const before = service.requests.length;
    for (const [at, openMs] of [1_000, 2_000, 4_000, 4_000].entries()) {
      await expect(writeOnce(sink, block)).rejects.toMatchObject({ afterMs: openMs });
      clock.advance(openMs - 1);
      await expect(writeOnce(sink, block)).rejects.toMatchObject({ afterMs: 1 });
      clock.advance(1);
      const codes = (await writeOnce(sink, block)).map(({ code }) => code);
      expect(codes.filter((code) => code === 'connection_reset')).toHaveLength(1);
      expect(codes.filter((code) => code === 'breaker_open')).toHaveLength(29);
      expect(service.requests).toHaveLength(before + at + 1);
    }
  });

  test('other journals wait for the trial, and go on when it succeeds', async () => {
    await using service = await startService(() => ({ status: 500 }));
    const { sink, clock } = fixture(service.url, { concurrency: 4 });
    await writeOnce(sink, blockOf(repeated(5)));
    clock.advance(1_000);
    const { promise: answer, resolve } = Promise.withResolvers<void>();
    const before = service.requests.length;
    service.behave(async () => {
      await answer;
      return { status: 200 };
    });
    const writes = [writeOnce(sink, blockOf(repeated(5))), writeOnce(sink, blockOf(repeated(5), 100))];
    await until(() => service.requests.length === before + 1);
    expect(sink.health().state).toBe('degraded');
    resolve();
    expect(await Promise.all(writes)).toEqual([[], []]);
    expect(service.taken).toHaveLength(10);
  });

  test('a trial that is given up proves nothing: it stays open; who waited for it leaves at once', async () => {
    await using service = await startService(() => ({ status: 500 }));
    const { sink, clock } = fixture(service.url, { concurrency: 2 });
    await writeOnce(sink, blockOf(repeated(5)));
    clock.advance(1_000);
    service.behave(() => 'hang');
    const before = service.requests.length;
    const trial = new AbortController();
    const waiting = new AbortController();
    const first = writeOnce(sink, blockOf([{}]), undefined, trial.signal);
    await until(() => service.requests.length === before + 1);
    const second = writeOnce(sink, blockOf([{}], 2), undefined, waiting.signal);
    // By the next turn of the event loop it waits for the trial's outcome.
    await new Promise((resolve) => setImmediate(resolve));
    waiting.abort();
    expect((await second).map(({ code }) => code)).toEqual(['aborted']);
    trial.abort();
    expect((await first).map(({ code }) => code)).toEqual(['aborted']);
    expect(sink.health().state).toBe('unhealthy');
    await expect(writeOnce(sink, blockOf([{}]))).rejects.toMatchObject({ code: 'breaker_open', afterMs: 2_000 });
    expect(service.requests).toHaveLength(before + 1);
  });

  test('several trials must all succeed when it is told so', async () => {
    await using service = await startService(() => ({ status: 500 }));
    const { sink, clock } = fixture(service.url, { breaker: { ...breaker, halfOpenCalls: 3 } });
    await writeOnce(sink, blockOf(repeated(3)));
    clock.advance(1_000);
    service.behave(() => ({ status: 200 }));
    expect(await writeOnce(sink, blockOf(repeated(2)))).toEqual([]);
    expect(sink.health().state).toBe('degraded');
    expect(await writeOnce(sink, blockOf([{}]))).toEqual([]);
    expect(sink.health().state).toBe('healthy');
  });

  test('refusals, throttling and timeouts of one event among others do not open it', async () => {
    await using service = await startService(({ event }) => ({
      status: [422, 400, 500, 200, 500, 500, 404][event.seq % 7] ?? 200,
    }));
    const { sink } = fixture(service.url);
    const failures = await writeOnce(sink, blockOf(repeated(70)));
    expect(service.requests).toHaveLength(70);
    expect(failures.some(({ code }) => code === 'breaker_open')).toBe(false);
  });

  test('old events are given up while it is open, instead of filling the journal', async () => {
    await using service = await startService(() => ({ status: 503 }));
    const { sink } = fixture(service.url, { ageMaxMs: 60_000 });
    await writeOnce(sink, blockOf(repeated(3)));
    const block = blockOf([{ receivedAtMs: 0 }, {}, { receivedAtMs: 0 }], 10);
    const failures = await writeOnce(sink, block);
    expect(failures.map(({ seq, code, permanent }) => [seq, code, permanent])).toEqual([
      [10, 'expired', true],
      [11, 'breaker_open', false],
      [12, 'expired', true],
    ]);
    await expect(writeOnce(sink, block, new Set([11]))).rejects.toBeInstanceOf(Overloaded);
    expect(service.requests).toHaveLength(3);
  });
});
